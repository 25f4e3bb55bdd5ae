//! `listen` and `capture`: from the settings to lines of output.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use octave_ws::{Ack, Action, Client, Config, ErrorKind, Event, Next, Stop, Stream};

use crate::args::{Format, Require};
use crate::exit::{End, Failure, INCOMPLETE, REFUSED, UNAVAILABLE};
use crate::output::Output;
use crate::setup::{Destination, Listening};
use crate::signals;

/// As good as for ever: with no deadline of its own, a wait is as long as the connection's.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes events until there were enough of them, time is up, or it is stopped.
pub(crate) fn listen(config: Config, listening: &Listening, stop: &Stop) -> Result<(), Failure> {
    match receive(&config.stop(stop.clone()), listening, stop) {
        Ok(()) | Err(End::ReaderGone) => return Ok(()),
        Err(End::Failed(failure)) => return Err(failure),
        Err(End::ReaderAsleep) => log::warn!("stopped with lines that nobody has read"),
        Err(End::Stopped) => {}
    }
    if listening.is_bounded {
        return Err(Failure::new(INCOMPLETE, "stopped before it was done"));
    }
    Ok(())
}

fn receive(config: &Config, listening: &Listening, stop: &Stop) -> Result<(), End> {
    let mut hangups = None;
    let mut output = match &listening.output {
        Destination::Stdout => Output::stdout(stop),
        Destination::File(path) => {
            hangups = Some(signals::hangups().map_err(Failure::signals)?);
            Output::appended(path, stop)
        }
        Destination::WholeFile(path) => Output::whole_file(path, stop),
    }?;
    let mut client = match Client::connect(config) {
        Ok(client) => client,
        Err(error) if error.kind() == ErrorKind::Stopped => return Err(End::Stopped),
        Err(error) if error.is_retryable() && listening.is_overdue() => {
            let message = format!("timeout: {}", Failure::from(error).message);
            return Err(Failure::new(INCOMPLETE, message).into());
        }
        Err(error) => return Err(Failure::from(error).into()),
    };
    log::info!("connected to {}", client.peer());
    if let Some(hangups) = &hangups {
        client.watch(Some(hangups.try_clone().map_err(Failure::signals)?));
    }
    let mut run = Run {
        client: &mut client,
        output: &mut output,
        hangups: hangups.as_ref(),
        listening,
        events: 0,
        unanswered: listening.streams.iter().collect(),
        refused: BTreeSet::new(),
        subscribed_at: None,
        heard_at: None,
        skipped: BTreeMap::new(),
    };
    let end = run.run();
    let events = run.events;
    for (reason, count) in run.skipped.iter().filter(|(_, count)| **count > 1) {
        log::warn!("messages were skipped, {count} times: {reason}");
    }
    // Whatever the end was: what has come in is not lost.
    let end = match (end, output.flush()) {
        (Ok(()), Ok(())) => output.finish(),
        (Ok(()) | Err(End::Stopped), Err(lost)) => Err(lost),
        (end, _) => end,
    };
    let closed = client.close();
    if let Ok(()) | Err(End::Stopped) = end {
        if let Err(error) = closed {
            log::warn!("{}", Failure::from(error).message);
        }
        log::info!("closed, events: {events}");
    }
    end
}

impl Listening {
    fn is_overdue(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }
}

struct Run<'a> {
    client: &'a mut Client,
    output: &'a mut Output,
    /// Readable when the output is to be opened again.
    hangups: Option<&'a OwnedFd>,
    listening: &'a Listening,
    events: u64,
    /// The streams that wait for their first answer.
    unanswered: BTreeSet<&'a Stream>,
    refused: BTreeSet<Stream>,
    /// When the last stream was.
    subscribed_at: Option<Instant>,
    /// When the last event came, or the last stream was subscribed.
    heard_at: Option<Instant>,
    /// How many messages of which kind. The first one of a kind has been warned of.
    skipped: BTreeMap<String, u64>,
}

impl Run<'_> {
    fn run(&mut self) -> Result<(), End> {
        for stream in &self.listening.streams {
            let asked = self.client.request(Action::Subscribe, stream);
            match asked {
                Err(error) if error.kind() == ErrorKind::Stopped => return Err(End::Stopped),
                done => done.map_err(Failure::from)?,
            }
        }
        loop {
            // First what has come in already, so that lines go out together while there are more.
            let next = match self.client.next(Duration::ZERO) {
                Ok(Next::TimedOut) => {
                    self.output.flush()?;
                    let end = self.end();
                    self.client.set_connect_deadline(end);
                    let now = Instant::now();
                    let left = end.map(|end| end.saturating_duration_since(now));
                    self.client.next(left.unwrap_or(FOREVER))
                }
                found => found,
            };
            match next {
                Ok(Next::Event(event)) => {
                    self.print(&event)?;
                    if self.listening.count == Some(self.events) {
                        return Ok(());
                    }
                }
                Ok(Next::Ack(ack)) => self.answered(ack)?,
                Ok(Next::Gap(gap)) => {
                    let [from, to] = [gap.from, gap.to].map(humantime::format_rfc3339_millis);
                    log::warn!("connected again, events may be missing from {from} to {to}");
                }
                Ok(Next::Unknown(unknown)) => {
                    let count = self.skipped.entry(unknown.reason().to_owned()).or_default();
                    *count += 1;
                    if *count == 1 {
                        log::warn!("a message was skipped: {}", unknown.reason());
                    }
                }
                Ok(Next::Readable) => {
                    self.hangups.inspect(|hangups| signals::forget(hangups));
                    self.output.reopen()?;
                }
                Ok(Next::TimedOut) => {}
                Ok(_) => {
                    let closed = "socket: the connection is closed";
                    return Err(Failure::new(UNAVAILABLE, closed).into());
                }
                Err(error) if error.kind() == ErrorKind::Stopped => return Err(End::Stopped),
                // An attempt to connect that was cut short by the end of the run.
                Err(error) if error.is_retryable() && self.is_at_end() => {}
                Err(error) => return Err(Failure::from(error).into()),
            }
            if self.listening.is_overdue() {
                let events = self.events;
                let message = format!("timeout: not done in time, events: {events}");
                return Err(Failure::new(INCOMPLETE, message).into());
            }
            if self.is_at_end() {
                return Ok(());
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.end().is_some_and(|end| end <= Instant::now())
    }

    /// When there is nothing more to wait for.
    fn end(&self) -> Option<Instant> {
        let after = |at: Option<Instant>, time: Option<Duration>| at?.checked_add(time?);
        let listening = self.listening;
        let duration = after(self.subscribed_at, listening.duration);
        let idle = after(self.heard_at, listening.idle);
        [duration, idle, listening.deadline]
            .into_iter()
            .flatten()
            .min()
    }

    fn print(&mut self, event: &Event) -> Result<(), End> {
        self.output.write(match self.listening.format {
            Format::Event => event.value(),
            Format::Message => event.message(),
        })?;
        self.events += 1;
        if self.listening.idle.is_some() && self.subscribed_at.is_some() {
            self.heard_at = Some(Instant::now());
        }
        Ok(())
    }

    fn answered(&mut self, ack: Ack) -> Result<(), Failure> {
        let stream = ack.stream;
        self.unanswered.remove(&stream);
        match ack.outcome {
            Ok(()) => log::info!("subscribed to {stream}"),
            Err(words) => {
                let peer = self.client.peer();
                let message = format!("subscribe: {peer} refused {stream}: {words}");
                self.refused.insert(stream);
                let all = self.refused.len() == self.listening.streams.len();
                if all || self.listening.require == Require::All {
                    return Err(Failure::new(REFUSED, message));
                }
                log::warn!("{message}");
            }
        }
        if self.unanswered.is_empty() && self.subscribed_at.is_none() {
            self.subscribed_at = Some(Instant::now());
            self.heard_at = self.subscribed_at;
        }
        Ok(())
    }
}
