//! The streams whose subscription waits for its answer.

use std::collections::{BTreeMap, BTreeSet};

use octave_ws::Stream;

#[derive(Default)]
pub(super) struct Unanswered {
    waiting: BTreeSet<Stream>,
    /// How many answers are to come, those for streams that are gone included.
    requests: BTreeMap<Stream, u32>,
    /// Those that are not wanted any more.
    gone: BTreeSet<Stream>,
}

impl Unanswered {
    pub(super) fn of(streams: &[Stream]) -> Self {
        let mut unanswered = Self::default();
        for stream in streams {
            unanswered.add(stream);
        }
        unanswered
    }

    pub(super) fn add(&mut self, stream: &Stream) {
        self.gone.remove(stream);
        self.waiting.insert(stream.clone());
        *self.requests.entry(stream.clone()).or_default() += 1;
    }

    /// Forgets a stream that is not wanted any more. Its answers may still come.
    pub(super) fn remove(&mut self, stream: &Stream) {
        self.waiting.remove(stream);
        self.gone.insert(stream.clone());
    }

    /// Notes an answer. Returns whether it counts: for a stream that is wanted it is the last one, or
    /// that to a request which the client makes by itself after a loss.
    pub(super) fn answered(&mut self, stream: &Stream) -> bool {
        if let Some(requests) = self.requests.get_mut(stream) {
            *requests -= 1;
            if *requests > 0 {
                return false;
            }
            self.requests.remove(stream);
        }
        self.waiting.remove(stream);
        !self.gone.contains(stream)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
