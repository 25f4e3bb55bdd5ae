//! An HTTP request over a link, and its answer.

mod link_transport;
mod request;

pub(crate) use link_transport::HttpLink;
pub(crate) use request::{Answer, Method, Request};
