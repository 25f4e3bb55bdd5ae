//! The protocol, in one page.
//!
//! ```text
//!   client                                   service
//!     | POST /session, X-Auth-* headers  -->  |
//!     |  <-- 201 {"head":{..},"body":{"id":ID}}
//!     | GET /session/ID/ws, Upgrade      -->  |
//!     |  <-- 101                              |
//!     | {"msgId":"1","object":"event","type":"subscribe","path":"/a/b"}  -->
//!     |  <-- {"head":{"msgId":"1","ok":true,"errors":[],..},"body":{}}
//!     |  <-- {"type":"message","resource":"s5..","value":{ the Event }}
//! ```
//!
//! One request of one stream goes through these states. Events of the stream may come in each of
//! them: before its ack, between other acks, and after an unsubscription was asked for.
//!
//! ```text
//!   request sent ──ack, ok──────────────────► acknowledged
//!        │────────ack, ok:false or errors───► refused
//!        └────────ack deadline passed───────► the connection is not to be trusted
//! ```
//!
//! Nothing in this room reads a socket or a clock: text and instants come in as arguments.

mod backoff;
#[cfg_attr(not(test), allow(dead_code, reason = "the client asks for it next"))]
mod event_id;
mod exchange;
#[cfg_attr(not(test), allow(dead_code, reason = "the client asks for it next"))]
mod history;
mod json;
mod message;
mod overdue;
mod overlap;
#[cfg_attr(not(test), allow(dead_code, reason = "the client asks for it next"))]
mod position;
mod renewal;
mod request;
mod scanner;
mod stream;
mod subscriptions;

pub(crate) use backoff::{Backoff, Retry};
pub(crate) use event_id::EventId;
pub(crate) use exchange::{Due, Exchange, Liveness};
pub use message::{Action, Event, UnknownMessage};
pub(crate) use message::{HEARTBEAT, Incoming, Text, detach, session_answer};
pub(crate) use overdue::{Look, ON_THE_WAY, Overdue};
pub(crate) use overlap::Overlap;
pub(crate) use renewal::Renewal;
pub use request::Ack;
pub(crate) use request::{Request, is_transient};
pub use stream::{ParseStreamError, Stream};
pub(crate) use subscriptions::Subscriptions;
