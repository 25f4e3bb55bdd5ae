//! The events that the streams keep.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;

use super::history_fault::HistoryFault;
use super::query::Query;
use super::stream::Stream;
use crate::protocol::{Incoming, Text};

/// The lag between a push and the history, whichever is behind.
pub(super) const LAG: Duration = Duration::from_secs(2);

/// Maximum number of events of a page, where a fault caps it.
const CAP: usize = 20;

/// The events that each stream keeps, by its id.
pub(super) struct Store {
    capacity: usize,
    streams: HashMap<String, VecDeque<Stored>>,
}

struct Stored {
    /// The dates, in milliseconds since the Unix epoch.
    created: i64,
    generated: i64,
    /// The Event object, as it is pushed.
    value: String,
    at: Instant,
}

impl Store {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            streams: HashMap::new(),
        }
    }

    /// Keeps an event, and removes the oldest ones beyond the capacity.
    pub(super) fn keep(&mut self, stream: &Stream, value: &str) {
        let message = Text::from(format!(r#"{{"value":{value}}}"#));
        let Incoming::Event(event) = Incoming::parse(message) else {
            return;
        };
        let Some(created) = event.creation_date() else {
            return;
        };
        let stored = self.streams.entry(stream.id.clone()).or_default();
        stored.push_back(Stored {
            created,
            generated: event.generated_date().unwrap_or(created),
            value: value.to_owned(),
            at: Instant::now(),
        });
        let over = stored.len().saturating_sub(self.capacity);
        stored.drain(..over);
    }

    /// Returns the Event objects that are asked for.
    pub(super) fn select(
        &self,
        stream: &Stream,
        query: &Query,
        has: impl Fn(HistoryFault) -> bool,
    ) -> Vec<String> {
        let stored = self.streams.get(&stream.id).into_iter().flatten();
        let mut found: Vec<&Stored> = stored
            .filter(|event| {
                has(HistoryFault::Unfiltered) || query.admits(event.created, event.generated)
            })
            .filter(|event| !has(HistoryFault::Behind) || event.at.elapsed() >= LAG)
            .collect();
        found.sort_by_key(|event| query.key(event.created, event.generated));
        if query.is_descending || has(HistoryFault::Descending) {
            found.reverse();
        }
        let limit = if has(HistoryFault::Capped) {
            query.limit.min(CAP)
        } else {
            query.limit
        };
        let found = found.into_iter().skip(query.start).take(limit);
        let mut values: Vec<String> = found.map(|event| as_shown(&event.value)).collect();
        if has(HistoryFault::Doubled) {
            values = values
                .into_iter()
                .flat_map(|value| [value.clone(), value])
                .collect();
        }
        if has(HistoryFault::Foreign)
            && let Some(last) = values.last_mut()
        {
            *last = last.replace(&stream.id, "s65f0c1a24b5a8d2c0c3affff");
        }
        values
    }

    /// Removes the older half of the events of a stream.
    pub(super) fn evict(&mut self, stream: &Stream) {
        if let Some(stored) = self.streams.get_mut(&stream.id) {
            stored.drain(..stored.len().div_ceil(2));
        }
    }
}

/// Returns an Event object as the REST API has it: without null members, and with a version.
fn as_shown(value: &str) -> String {
    let members: Result<BTreeMap<Cow<'_, str>, &RawValue>, _> = serde_json::from_str(value);
    let Ok(members) = members else {
        return value.to_owned();
    };
    let members = members.iter().filter(|(_, json)| json.get() != "null");
    let members: Vec<_> = members
        .map(|(name, json)| format!("{}:{json}", Value::from(name.as_ref())))
        .collect();
    format!(r#"{{{},"version":0}}"#, members.join(","))
}
