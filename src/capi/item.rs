//! `octave_ws_item`.

use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::code::{self, OCTAVE_WS_EREFUSED};
use crate::{Action, FdReady, Update};

/// A text of the library. It does not end with NUL: print it with "%.*s".
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct octave_ws_text {
    /// Null for an absent text.
    pub data: *const c_char,
    pub len: usize,
}

/// An event of a stream.
pub const OCTAVE_WS_EVENT: c_int = 1;
/// The answer to a subscription or its end.
pub const OCTAVE_WS_ACK: c_int = 2;
/// A connection is open. After a loss, the streams are subscribed again by the client. A state lamp goes by
/// OCTAVE_WS_CONNECTED and OCTAVE_WS_DISCONNECTED; the next three say whether events are missing.
pub const OCTAVE_WS_CONNECTED: c_int = 3;
/// Events are missed from from_ms on. Where a handover fails, this can come after OCTAVE_WS_CONNECTED.
pub const OCTAVE_WS_LOST: c_int = 4;
/// All streams are subscribed again: events may be missing from from_ms to to_ms.
pub const OCTAVE_WS_GAP: c_int = 5;
/// All streams are subscribed on a new connection, and no event is missing.
pub const OCTAVE_WS_HANDOVER: c_int = 6;
/// There is no connection: it was lost or given up, or an attempt failed. The next attempt follows after
/// after_ms.
pub const OCTAVE_WS_DISCONNECTED: c_int = 7;
/// A message that the protocol does not define.
pub const OCTAVE_WS_UNKNOWN: c_int = 8;
/// The answer to octave_ws_client_ping(), after a round trip of after_ms.
pub const OCTAVE_WS_PONG: c_int = 9;
/// A descriptor of octave_ws_client_watch() is readable: the one with this index.
pub const OCTAVE_WS_FD_READY: c_int = 10;

/// Something that came in, or a change. Members that a kind has no use for are 0 or null. The library
/// allocates it: later versions may append members, and add kinds. Ignore unknown ones.
#[repr(C)]
#[derive(Default)]
pub struct octave_ws_item {
    /// OCTAVE_WS_EVENT and so on.
    pub kind: c_int,
    /// Of an ack: OCTAVE_WS_OK or OCTAVE_WS_EREFUSED. Of the absence of a connection: why.
    pub code: c_int,
    /// Of an ack, or the absence of a connection: the status, as in HTTP, if it has one.
    pub status: c_int,
    /// Of an ack: 1 for the end of a subscription.
    pub is_unsubscribe: c_int,
    /// Of a refusal: 1 if it is temporary, and the client asks again by itself.
    pub is_retried: c_int,
    /// Of a descriptor that is ready: its index.
    pub index: c_int,
    /// Of an event: the Event object, JSON. Of all others: why.
    pub text: octave_ws_text,
    /// Of an event, an ack, or an unknown message: the whole message.
    pub message: octave_ws_text,
    /// Of an event: its resource. Of an ack: the stream as it was asked for.
    pub stream: octave_ws_text,
    /// Of an event: the path of its stream.
    pub path: octave_ws_text,
    /// Of an event: its id.
    pub id: octave_ws_text,
    /// Of an event: when the cloud received it, Unix time.
    pub created_ms: i64,
    /// Of an event: when the device generated it, Unix time.
    pub generated_ms: i64,
    /// Of a loss, a gap or a handover: Unix time.
    pub from_ms: i64,
    /// Of a gap or a handover: Unix time.
    pub to_ms: i64,
    /// Of the absence of a connection, or a pong: a duration.
    pub after_ms: i64,
    /// Of a handover: number of events that came late.
    pub events: u64,
}

fn borrowed(text: &str) -> octave_ws_text {
    octave_ws_text {
        data: text.as_ptr().cast(),
        len: text.len(),
    }
}

/// An item, and all that it points into.
pub(super) struct Current {
    update: Update,
    /// Texts that are not parts of the update.
    texts: Vec<String>,
    item: octave_ws_item,
}

// SAFETY: the pointers of the item lead into the rest of it.
unsafe impl Send for Current {}

impl Current {
    pub(super) fn new(update: Update) -> Box<Self> {
        let mut current = Box::new(Self {
            update,
            texts: Vec::new(),
            item: octave_ws_item::default(),
        });
        current.fill();
        current
    }

    pub(super) fn item(&self) -> *const octave_ws_item {
        &raw const self.item
    }

    fn fill(&mut self) {
        let Self {
            update,
            texts,
            item,
        } = self;
        let mut kept = |text: Option<Cow<'_, str>>| match text {
            None => octave_ws_text::default(),
            Some(Cow::Borrowed(text)) => borrowed(text),
            Some(Cow::Owned(text)) => {
                // Moving a string leaves its bytes where they are.
                let kept = borrowed(&text);
                texts.push(text);
                kept
            }
        };
        match update {
            Update::Event(event) => {
                item.kind = OCTAVE_WS_EVENT;
                item.text = borrowed(event.value());
                item.message = borrowed(event.message());
                item.stream = event.resource().map(borrowed).unwrap_or_default();
                item.path = kept(event.path());
                item.id = kept(event.id());
                item.created_ms = event.creation_date().unwrap_or_default();
                item.generated_ms = event.generated_date().unwrap_or_default();
            }
            Update::Ack(ack) => {
                item.kind = OCTAVE_WS_ACK;
                item.status = ack.status.map_or(0, c_int::from);
                item.is_unsubscribe = (ack.action == Action::Unsubscribe).into();
                item.is_retried = ack.is_retried().into();
                item.message = borrowed(ack.message());
                item.stream = borrowed(ack.stream.as_str());
                if let Err(reason) = &ack.outcome {
                    item.code = OCTAVE_WS_EREFUSED;
                    item.text = borrowed(reason);
                }
            }
            Update::Connected => item.kind = OCTAVE_WS_CONNECTED,
            Update::Disconnected(failed) => {
                item.kind = OCTAVE_WS_DISCONNECTED;
                item.code = code::of(&failed.error);
                item.status = failed.error.status().map_or(0, c_int::from);
                item.text = kept(Some(failed.error.report().into()));
                item.after_ms = milliseconds(failed.retry_in);
            }
            Update::Lost(loss) => {
                item.kind = OCTAVE_WS_LOST;
                item.text = borrowed(&loss.reason);
                item.from_ms = unix_time(loss.from);
            }
            Update::Gap(gap) => {
                item.kind = OCTAVE_WS_GAP;
                item.text = borrowed(&gap.reason);
                (item.from_ms, item.to_ms) = (unix_time(gap.from), unix_time(gap.to));
            }
            Update::Handover(handover) => {
                item.kind = OCTAVE_WS_HANDOVER;
                item.from_ms = unix_time(handover.from);
                item.to_ms = unix_time(handover.to);
                item.events = handover.events;
            }
            Update::Unknown(unknown) => {
                item.kind = OCTAVE_WS_UNKNOWN;
                item.text = borrowed(unknown.reason());
                item.message = borrowed(unknown.text());
            }
            Update::Pong(time) => {
                item.kind = OCTAVE_WS_PONG;
                item.after_ms = milliseconds(*time);
            }
            Update::FdReady(ready) => {
                item.kind = OCTAVE_WS_FD_READY;
                if let FdReady::Readable(index) = ready {
                    item.index = c_int::try_from(*index).unwrap_or_default();
                }
            }
            // The history is not read from C.
            Update::Begun | Update::Filled(_) | Update::TimedOut | Update::Closed => {}
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn unix_time(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => milliseconds(since),
        Err(before) => -milliseconds(before.duration()),
    }
}
