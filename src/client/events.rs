use crate::client::Client;
use crate::next::Next;
use crate::protocol::Event;
use crate::{Error, Result};

/// An iterator over events, returned by [`Client::events`].
#[derive(Debug)]
pub struct Events<'a> {
    client: &'a mut Client,
    is_over: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(client: &'a mut Client) -> Self {
        Self {
            client,
            is_over: false,
        }
    }

    fn wait(&mut self) -> Result<Event> {
        loop {
            match self.client.next_by(None)? {
                Next::Event(event) => return Ok(event),
                Next::Closed => return Err(super::closed()),
                _ => {}
            }
        }
    }
}

/// Waits for each. After an error, which it yields, it is over.
impl Iterator for Events<'_> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.wait();
        self.is_over = event.is_err();
        Some(event)
    }
}
