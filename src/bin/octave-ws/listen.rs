//! `listen`: from the settings to printed events.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind::BrokenPipe};
use std::time::{Duration, Instant};

use octave_ws::{Ack, Action, Client, ErrorKind, Next, Stop};

use crate::exit::{Failure, REFUSED, UNAVAILABLE};
use crate::output::Output;
use crate::report;
use crate::setup::Setup;

/// As good as for ever: with no deadline of its own, a wait is as long as the connection's.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Prints events until there were enough of them, time is up, or it is stopped.
pub(crate) fn listen(setup: &Setup, stop: &Stop) -> Result<(), Failure> {
    let mut output = Output::stdout().map_err(|error| Failure::output(&error))?;
    let mut client = match Client::connect(&setup.config.clone().stop(stop.clone())) {
        Err(error) if error.kind() == ErrorKind::Stopped => return Ok(()),
        done => done?,
    };
    report::note(&format!("connected to {}", client.peer()));
    let mut run = Run {
        client: &mut client,
        output: &mut output,
        setup,
        events: 0,
        until: None,
        skipped: BTreeSet::new(),
    };
    let end = run.run();
    let events = run.events;
    // Whatever the end was: what has come in is not lost.
    let flushed = output.flush();
    let closed = client.close();
    if let Err(End::ReaderGone) = end {
        return Ok(());
    }
    match flushed {
        Err(error) if error.kind() == BrokenPipe => return Ok(()),
        Err(error) => return Err(Failure::output(&error)),
        Ok(()) => {}
    }
    if let Err(End::Failed(failure)) = end {
        return Err(failure);
    }
    if let Err(error) = closed {
        report::warning(&Failure::from(error).message);
    }
    report::note(&format!("closed, events: {events}"));
    Ok(())
}

struct Run<'a> {
    client: &'a mut Client,
    output: &'a mut Output,
    setup: &'a Setup,
    events: u64,
    /// When time is up, once every stream is subscribed.
    until: Option<Instant>,
    /// What kinds of messages have been warned of.
    skipped: BTreeSet<String>,
}

/// An end that was not asked for.
enum End {
    ReaderGone,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(Failure::output(&error)),
        }
    }
}

impl Run<'_> {
    fn run(&mut self) -> Result<(), End> {
        for stream in &self.setup.streams {
            let asked = self.client.request(Action::Subscribe, stream);
            match asked {
                Err(error) if error.kind() == ErrorKind::Stopped => return Ok(()),
                done => done.map_err(Failure::from)?,
            }
        }
        let mut waiting = self.setup.streams.len();
        loop {
            let left = self.until.map_or(FOREVER, |until| {
                until.saturating_duration_since(Instant::now())
            });
            // First what has come in already, so that lines go out together while there are more.
            let next = match self.client.next(Duration::ZERO) {
                Ok(Next::TimedOut) => {
                    self.output.flush()?;
                    self.client.next(left)
                }
                found => found,
            };
            match next {
                Ok(Next::Event(event)) => {
                    self.output.write(event.value())?;
                    self.events += 1;
                    if self.setup.count == Some(self.events) {
                        return Ok(());
                    }
                }
                Ok(Next::Ack(ack)) => {
                    self.subscribed(ack)?;
                    waiting -= 1;
                    if waiting == 0 {
                        let duration = self.setup.duration;
                        self.until = duration.and_then(|d| Instant::now().checked_add(d));
                    }
                }
                Ok(Next::Unknown(unknown)) => {
                    if self.skipped.insert(unknown.reason().to_owned()) {
                        let reason = unknown.reason();
                        report::warning(&format!("a message was skipped: {reason}"));
                    }
                }
                Ok(Next::TimedOut) => {}
                Ok(_) => {
                    let closed = "socket: the connection is closed";
                    return Err(Failure::new(UNAVAILABLE, closed).into());
                }
                Err(error) if error.kind() == ErrorKind::Stopped => return Ok(()),
                Err(error) => return Err(Failure::from(error).into()),
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                return Ok(());
            }
        }
    }

    fn subscribed(&self, ack: Ack) -> Result<(), Failure> {
        let stream = ack.stream;
        match ack.outcome {
            Ok(()) => {
                report::note(&format!("subscribed to {stream}"));
                Ok(())
            }
            Err(words) => {
                let peer = self.client.peer();
                let message = format!("subscribe: {peer} refused {stream}: {words}");
                Err(Failure::new(REFUSED, message))
            }
        }
    }
}
