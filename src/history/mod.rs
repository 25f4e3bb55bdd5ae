//! Past events of streams, by the REST API.

mod api;
mod filler;
mod reader;

pub(crate) use api::Api;
pub(crate) use filler::{Begin, Filler, Outcome, Task, Undelivered};
pub use reader::{History, Probe, Since};
