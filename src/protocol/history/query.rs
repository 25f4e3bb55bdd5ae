use std::fmt::Write as _;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::protocol::{EventId, Stream};

/// A request for events of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The first creation date, in milliseconds since the Unix epoch.
    pub(crate) since: Option<i64>,
    /// Whether the newest event comes first.
    pub(crate) is_descending: bool,
    /// Number of events to leave out.
    pub(crate) start: usize,
    /// Maximum number of events.
    pub(crate) limit: usize,
}

impl Query {
    /// Returns the path and the query of the request.
    pub(crate) fn target(&self, company: &str, stream: &Stream) -> String {
        let company = encoded(company);
        let name = encoded(stream.as_str());
        let mut target = if stream.is_path() {
            format!("/{company}/event?path={name}&")
        } else {
            format!("/{company}/event/{name}?")
        };
        // Writing to a string cannot fail.
        if let Some(since) = self.since {
            let _ = write!(target, "filter=creationDate%3E%3D{since}&");
        }
        let order = if self.is_descending { "desc" } else { "asc" };
        let limit = self.limit;
        let _ = write!(target, "sort=creationDate&order={order}&limit={limit}");
        if self.start > 0 {
            let _ = write!(target, "&start={}", self.start);
        }
        target
    }

    /// Checks an answer's dates.
    ///
    /// # Errors
    /// Fails with what is wrong.
    pub(super) fn check(&self, page: &[Entry]) -> Result<(), &'static str> {
        if let Some(since) = self.since
            && page.iter().any(|entry| entry.date < since)
        {
            return Err("an event is older than asked for");
        }
        let is_ordered = if self.is_descending {
            page.is_sorted_by(|one, next| one.date >= next.date)
        } else {
            page.is_sorted_by_key(|entry| entry.date)
        };
        if !is_ordered {
            return Err("the events are not in the order asked for");
        }
        Ok(())
    }
}

/// An event of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: EventId,
    /// The creation date, in milliseconds since the Unix epoch.
    pub(crate) date: i64,
    /// The Event object within the answer's body.
    pub(crate) value: Range<usize>,
}

/// Encodes a part of a URL (RFC 3986 §2.1), but for slashes.
fn encoded(text: &str) -> PercentEncode<'_> {
    const CODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/');
    utf8_percent_encode(text, CODED)
}
