//! The streams that were refused, and when they end a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use octave_ws::Stream;

use crate::exit::Failure;

/// The wait for another answer after a refusal, so that the error names each refused stream.
const NEXT_ANSWER: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Refusals {
    /// The refused streams, with the reasons of the service.
    refused: BTreeMap<Stream, String>,
    /// Whether the first refusal may be temporary.
    is_transient: bool,
    /// Time of the last answer since the first refusal.
    answered_at: Option<Instant>,
}

impl Refusals {
    pub(super) fn add(&mut self, stream: Stream, words: String, is_transient: bool) {
        if self.refused.is_empty() {
            self.is_transient = is_transient;
        }
        self.refused.insert(stream, words);
        self.answered();
    }

    /// Forgets a stream. Returns whether it was refused.
    pub(super) fn remove(&mut self, stream: &Stream) -> bool {
        self.refused.remove(stream).is_some()
    }

    /// Notes that another answer has come.
    pub(super) fn answered(&mut self) {
        if !self.refused.is_empty() {
            self.answered_at = Some(Instant::now());
        }
    }

    /// Returns the refused streams.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.refused.keys().map(Stream::as_str)
    }

    pub(super) fn count(&self) -> usize {
        self.refused.len()
    }

    /// Returns when no other answer is waited for any more.
    pub(super) fn due(&self) -> Option<Instant> {
        self.answered_at.map(|at| at + NEXT_ANSWER)
    }

    /// Returns the failure that names all of them.
    pub(super) fn failure(&self, peer: &str, streams: usize) -> Failure {
        let each = self.refused.iter();
        let each: Vec<_> = each
            .map(|(stream, words)| format!("{stream}: {words}"))
            .collect();
        let count = each.len();
        let what = if count == 1 {
            each.concat()
        } else {
            format!("{count} of {streams} streams: {}", each.join("; "))
        };
        let message = format!("subscribe: {peer} refused {what}");
        Failure::refused(message, self.is_transient)
    }
}
