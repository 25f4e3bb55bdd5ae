//! Past events of streams, by the REST API.

mod api;
mod filler;
mod reader;

pub use reader::{History, Since};
