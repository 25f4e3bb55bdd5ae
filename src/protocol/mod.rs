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
mod event;
mod event_id;
mod exchange;
mod history;
mod json;
mod message;
mod overdue;
mod overlap;
mod position;
mod positions;
mod renewal;
mod request;
mod scanner;
mod stream;
mod subscriptions;
mod text;

pub(crate) use backoff::{Backoff, Retry};
pub use event::Event;
pub(crate) use event::Key;
pub(crate) use event_id::EventId;
pub(crate) use exchange::{Due, Exchange, Liveness};
pub use history::Why;
pub(crate) use history::{Entry, Fill, Hole, Next, NoPage, Query, Taken, page};
pub use message::{Action, UnknownMessage};
pub(crate) use message::{HEARTBEAT, Incoming, session_answer};
pub(crate) use overdue::{Look, ON_THE_WAY, Overdue};
pub(crate) use overlap::Overlap;
pub(crate) use position::Position;
pub use positions::Positions;
pub(crate) use renewal::Renewal;
pub use request::Ack;
pub(crate) use request::{Request, is_transient};
pub use stream::{ParseStreamError, Stream};
pub(crate) use subscriptions::Subscriptions;
pub(crate) use text::{Text, detach};
