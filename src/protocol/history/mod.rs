//! The REST API's history of a stream, and the proof that nothing of it is missing.

mod fill;
mod outcome;
mod query;
