//! The streams whose subscription waits for its answer.

use std::collections::{BTreeMap, BTreeSet};

use octave_ws::Stream;

#[derive(Default)]
pub(super) struct Unanswered {
    waiting: BTreeSet<Stream>,
    /// The streams that were given up.
    gone: BTreeSet<Stream>,
    /// Number of answers to abandoned subscriptions that may still come before the answer to the
    /// unsubscription.
    outdated: BTreeMap<Stream, u32>,
}

impl Unanswered {
    pub(super) fn of(streams: &[Stream]) -> Self {
        Self {
            waiting: streams.iter().cloned().collect(),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, stream: &Stream) {
        self.gone.remove(stream);
        self.waiting.insert(stream.clone());
    }

    /// Gives a stream up.
    pub(super) fn remove(&mut self, stream: &Stream) {
        if self.waiting.remove(stream) {
            *self.outdated.entry(stream.clone()).or_default() += 1;
        }
        self.gone.insert(stream.clone());
    }

    /// Notes the answer to a subscription. Returns whether it counts.
    pub(super) fn answered(&mut self, stream: &Stream) -> bool {
        if let Some(outdated) = self.outdated.get_mut(stream).filter(|left| **left > 0) {
            *outdated -= 1;
            return false;
        }
        self.waiting.remove(stream);
        !self.gone.contains(stream)
    }

    /// Notes the answer to an unsubscription, behind which no earlier one is waited for: the loss of
    /// a connection leaves requests without an answer.
    pub(super) fn unsubscribed(&mut self, stream: &Stream) {
        self.outdated.remove(stream);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
