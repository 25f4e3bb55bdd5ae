//! Requests, and waits for their answers.

use super::{Client, State, closed};
use crate::error::{ErrorKind, Phase};
use crate::protocol::{Action, Stream};
use crate::update::Update;
use crate::wait::context::Watched;
use crate::{Error, Result};

/// A subscription is given up that was not answered on so many connections.
const MAX_LATE: u32 = 4;

/// Number of messages of maximum size that are kept while a request waits for its answer.
const KEPT_MESSAGES: usize = 2;
const KEPT_AT_LEAST: usize = 1 << 20;

impl Client {
    /// Sends a request without waiting. [`Client::next`] returns the answer, as [`Update::Ack`].
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn request(&mut self, action: Action, stream: &Stream) -> Result<()> {
        self.request_ticket(action, stream).map(drop)
    }

    /// Sends a request for each of the streams without waiting, together in few packets.
    /// [`Client::next`] returns the answers.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn request_all<'a>(
        &mut self,
        action: Action,
        streams: impl IntoIterator<Item = &'a Stream>,
    ) -> Result<()> {
        for stream in streams {
            self.queue_request(action, stream)?;
        }
        self.send_queued();
        Ok(())
    }

    /// Sends a request. Returns its ticket, which its [`Ack`] has.
    pub(super) fn request_ticket(&mut self, action: Action, stream: &Stream) -> Result<u64> {
        let ticket = self.queue_request(action, stream)?;
        self.send_queued();
        Ok(ticket)
    }

    fn queue_request(&mut self, action: Action, stream: &Stream) -> Result<u64> {
        if let State::Closed | State::Failed(_) = self.state {
            return Err(closed());
        }
        self.is_idle = false;
        self.forget_renewed();
        Ok(self.subscriptions.request(action, stream.clone()))
    }

    fn send_queued(&mut self) {
        // Without a connection, the next call takes them all together.
        if let State::Open(_) = self.state {
            self.send_requests();
        }
    }

    pub(super) fn ask(&mut self, action: Action, stream: &Stream) -> Result<()> {
        let mut looked_at = self.queue.len();
        let mut kept = 0;
        self.failures.unanswered_connections = 0;
        let ticket = self.request_ticket(action, stream)?;
        loop {
            let is_answer = |next: &Update| match next {
                Update::Ack(ack) => ack.ticket == ticket,
                _ => false,
            };
            self.queue
                .iter_mut()
                .skip(looked_at)
                .for_each(Update::detach);
            let mut new = self.queue.iter().skip(looked_at);
            kept += new.clone().map(Update::cost).sum::<usize>();
            if let Some(at) = new.position(is_answer)
                && let Some(Update::Ack(ack)) = self.queue.remove(looked_at + at)
            {
                return ack.outcome.map_err(|words| {
                    // The caller asks again, or does not.
                    self.subscriptions.give_up(stream, ticket);
                    let refused = match action {
                        Action::Subscribe => format!("refused {stream}"),
                        Action::Unsubscribe => format!("refused to unsubscribe {stream}"),
                    };
                    let message = format!("{} {refused}: {words}", self.peer());
                    let error = Error::new(Phase::of(action), ErrorKind::Refused, message);
                    error.refused_with(ack.status).of_stream(stream.clone())
                });
            }
            let most = self.config.max_message.saturating_mul(KEPT_MESSAGES);
            if kept > most.max(KEPT_AT_LEAST) {
                let peer = self.peer();
                let message = format!("{peer} sent more before its answer than can be kept");
                return Err(Error::new(Phase::of(action), ErrorKind::TooLong, message));
            }
            looked_at = self.queue.len();
            match self.take_event()? {
                Some(event) => self.queue.push_back(Update::Event(event)),
                None if self.queue.len() > looked_at => {}
                None => _ = self.advance(None, &Watched::default())?,
            }
            if self.failures.unanswered_connections == MAX_LATE {
                let peer = self.peer();
                let message = format!("{peer} did not answer in time to {action} {stream}");
                let late = Error::new(Phase::of(action), ErrorKind::TimedOut, message);
                return Err(late.of_stream(stream.clone()));
            }
        }
    }
}
