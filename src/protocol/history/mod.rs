//! The REST API's history of a stream, and the proof that nothing of it is missing.

mod fill;
mod outcome;
mod page;
mod query;

pub(crate) use fill::Fill;
pub use outcome::Why;
pub(crate) use outcome::{Hole, Next, Taken};
pub(crate) use page::{NoPage, page};
pub(crate) use query::{Entry, Query};
