//! Takes leave of the service.

use std::time::{Duration, Instant};

use super::{Arrival, Connection};
use crate::error::{ErrorKind, Phase};
use crate::protocol::{Action, Stream};
use crate::transport::attention::Watched;
use crate::{Error, Result};

/// How long it may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

impl Connection {
    /// Unsubscribes from the streams, closes with 1000 and waits for the answers to both. It takes
    /// no more than two seconds, and no stop cuts it short. Hands over what comes in before the
    /// streams are unsubscribed.
    ///
    /// # Errors
    /// Those of the connection, `TimedOut` where an answer did not come.
    pub(crate) fn close(
        mut self,
        subscribed: impl IntoIterator<Item = Stream>,
        arrived: impl FnMut(Arrival),
    ) -> Result<()> {
        log::debug!("socket: closing the connection to {}", self.socket.peer());
        self.socket.ignore_stop();
        self.watch(Watched::default());
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let half = Instant::now() + CLOSE_TIMEOUT / 2;
        let unsubscribed = self.unsubscribe(subscribed, half, arrived);
        let closed = self.socket.close(deadline);
        unsubscribed.and(closed)
    }

    fn unsubscribe(
        &mut self,
        streams: impl IntoIterator<Item = Stream>,
        deadline: Instant,
        mut arrived: impl FnMut(Arrival),
    ) -> Result<()> {
        let mut streams = streams.into_iter();
        loop {
            while self.may_request()
                && let Some(stream) = streams.next()
            {
                let action = Action::Unsubscribe;
                let text = self.exchange.request(action, stream, Instant::now());
                self.socket.send(text, deadline)?;
            }
            if self.exchange.pending() == 0 {
                return Ok(());
            }
            // Events may come in for as long as it takes: the clock is looked at here too.
            let arrival = self.read(Some(deadline))?;
            let is_nothing = arrival.is_none();
            arrival.into_iter().for_each(&mut arrived);
            if is_nothing || Instant::now() >= deadline {
                let message = format!("{} did not answer in time", self.socket.peer());
                return Err(Error::new(Phase::Subscribe, ErrorKind::TimedOut, message));
            }
        }
    }
}
