//! The beginning of a stream, or of one whose history is not what it was.

use super::Fill;
use crate::protocol::history::outcome::{Next, Taken};
use crate::protocol::history::query::Entry;
use crate::protocol::position::Position;

impl Fill {
    /// Takes the newest events of the stream.
    pub(super) fn take_newest(&mut self, page: &[Entry], position: &mut Position) -> Taken {
        let newest = page.first().map(|entry| entry.date);
        let is_before = newest < position.from();
        if !self.is_beginning && !is_before && !page.is_empty() {
            // They have come just now.
            self.skips_join_check = true;
            self.go_to(position.from());
            return Taken::then(Next::Ask);
        }
        if !self.is_beginning && page.is_empty() {
            return Taken::then(Next::Over);
        }
        // The clock of the cloud was set back, or what was delivered has been deleted.
        *position = Position::default();
        for entry in page.iter().rev() {
            self.known.insert(entry.id.clone());
            position.know(entry.id.clone(), entry.date);
        }
        let oldest = page.last().map(|entry| entry.date);
        if page.len() < self.query().limit || oldest < position.from() {
            return Taken::then(Next::Over);
        }
        // There may be more within the time that the next fill asks for.
        self.is_beginning = true;
        self.until = newest;
        self.go_to(position.from());
        Taken::then(Next::Ask)
    }
}
