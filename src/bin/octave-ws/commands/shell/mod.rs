//! `shell`: a prompt, on one socket.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use octave_ws::wait::poll;
use octave_ws::{Action, Client, Config, ErrorKind, Stop, Stream, Update};

use crate::commands::shell::cut::Refused;
use crate::commands::shell::input::Input;
use crate::commands::shell::sent::{ANSWER_WITHIN, Sent};
use crate::commands::shell::shown::Shown;
use crate::exit::{End, Failure, PROTOCOL, UNAVAILABLE, USAGE};
use crate::output::Output;
use crate::output::text::TextLines;
use crate::settings::ShellSettings;
use crate::signals::{self, TerminalSignals};
use crate::status::stderr;

mod cut;
mod input;
mod line_editor;
mod sent;
mod shown;

const HELP: [&str; 6] = [
    "subscribe STREAM      subscribe to a stream, by its id or path",
    "unsubscribe STREAM    unsubscribe from a stream",
    "ping                  send a ping, print the round trip time",
    "help                  print this help",
    "quit, exit            unsubscribe, close and exit; so does end of input",
    "{...}                 send JSON unchanged; it may span several lines",
];

/// Maximum number of commands that wait for answers.
const WINDOW: usize = 64;

/// Does what is typed, and prints what comes in, until the end of either.
pub(crate) fn shell(config: Config, settings: ShellSettings, stop: &Stop) -> Result<(), Failure> {
    let is_edited = settings.is_edited;
    let config = config.stop(stop.clone()).retry_for(Duration::ZERO);
    // What is typed goes to the connection that answers it.
    let config = config.handover(false);
    // A terminal is left as it was.
    let terminal_signals = is_edited.then(|| TerminalSignals::catch(stop)).transpose();
    let terminal_signals = terminal_signals.map_err(Failure::signals)?;
    let end = run(&config, settings);
    if let Some(terminal_signals) = terminal_signals {
        terminal_signals.end();
    }
    match end {
        Err(End::Failed(failure)) => Err(failure),
        _ => Ok(()),
    }
}

fn run(config: &Config, settings: ShellSettings) -> Result<(), End> {
    let ShellSettings {
        streams,
        is_edited,
        text,
    } = settings;
    let output = Output::stdout()?;
    let mut client = Client::connect(config).map_err(|error| match error.kind() {
        ErrorKind::Stopped => Failure::no_session(),
        _ => error.into(),
    })?;
    log::info!("connected to {}", client.peer());
    let suspensions = is_edited.then(signals::suspensions).transpose();
    let text = text.map(|style| TextLines::new(0, style));
    let mut shell = Shell {
        shown: Shown::new(output, text, io::stdout().is_terminal()),
        streams: streams.into(),
        suspensions: suspensions.map_err(Failure::signals)?,
        typed: Input::new(is_edited).map_err(Failure::input)?,
        is_watched: None,
        asked: 0,
        pinged_at: None,
        sent: Sent::default(),
        refused: 0,
        not_done: None,
        leave_by: None,
    };
    client.watch_hangup(shell.shown.output.reader().map_err(Failure::input)?);
    let end = shell.run(&mut client);
    shell.typed.leave();
    stderr::status("");
    let end = end.and(shell.shown.output.flush());
    for stream in shell.sent.subscribed() {
        // Where the connection is gone, that has been said.
        let _ = client.request(Action::Unsubscribe, stream);
    }
    let closed = client.close();
    if let (Ok(()), Err(error)) = (&end, closed) {
        log::warn!("{}", Failure::from(error));
    }
    end
}

struct Shell {
    shown: Shown,
    /// Streams to subscribe to before anything else.
    streams: VecDeque<Stream>,
    typed: Input,
    /// Readable when the process is to be stopped for a while.
    suspensions: Option<OwnedFd>,
    /// Whether the client looks for what is typed, once that has been decided.
    is_watched: Option<bool>,
    /// Number of commands that wait for an answer.
    asked: usize,
    pinged_at: Option<Instant>,
    sent: Sent,
    /// The number of requests that the service has refused.
    refused: usize,
    /// Why a command of the input was not done.
    not_done: Option<Refused>,
    /// Set at the end of input: when to wait for answers no longer.
    leave_by: Option<Instant>,
}

impl Shell {
    /// Handles one typed line and one received message by turns, since either may come without a
    /// pause.
    fn run(&mut self, client: &mut Client) -> Result<(), End> {
        loop {
            if self.may_act() {
                self.read(client)?;
            }
            if let Some(by) = self.leave_by
                && (self.is_answered() || by <= Instant::now())
            {
                return self.outcome();
            }
            let next = match client.next(Duration::ZERO) {
                Ok(Update::TimedOut) => {
                    self.shown.output.flush()?;
                    if let Some(prompt) = self.typed.prompt() {
                        stderr::status(&prompt);
                    }
                    self.watch(client)?;
                    client.next(self.patience())
                }
                found => found,
            };
            match next? {
                Update::Event(event) => self.shown.event(&event)?,
                Update::Ack(ack) => {
                    self.asked = self.asked.saturating_sub(1);
                    self.refused += usize::from(ack.outcome.is_err());
                    self.shown.answer(&ack)?;
                }
                Update::Unknown(unknown) => {
                    self.refused += usize::from(self.sent.answered(unknown.text()));
                    self.shown.unknown(&unknown)?;
                }
                Update::Pong(time) => {
                    self.pinged_at = None;
                    log::info!("pong after {:.1} ms", time.as_secs_f64() * 1000.0);
                }
                Update::Closed => {
                    let closed = "socket: the connection is closed";
                    return Err(Failure::new(UNAVAILABLE, closed).into());
                }
                Update::FdReady(_) if self.shown.output.is_left() => return Err(End::ReaderGone),
                Update::FdReady(_) => self.suspend()?,
                _ => {}
            }
        }
    }

    /// Fails for unfinished JSON, and for refused commands and requests of a script. At a terminal, the
    /// answers were on the screen.
    fn outcome(&self) -> Result<(), End> {
        if self.typed.is_torn() {
            let message = "input: JSON at its end is not finished, and was not sent";
            return Err(Failure::new(USAGE, message).into());
        }
        if self.typed.is_terminal() {
            return Ok(());
        }
        if let Some(refused) = self.not_done {
            return Err(Failure::new(USAGE, format!("input: {}", refused.message())).into());
        }
        let unanswered = self.asked + self.sent.unanswered();
        if unanswered > 0 {
            let message = format!("shell: requests were not answered in time: {unanswered}");
            return Err(Failure::new(PROTOCOL, message).into());
        }
        if self.refused > 0 {
            let message = format!("shell: requests were refused: {}", self.refused);
            return Err(Failure::refused(message, false).into());
        }
        Ok(())
    }

    fn is_answered(&self) -> bool {
        let is_any_due = self.sent.due(Instant::now()).next().is_some();
        self.asked == 0 && self.pinged_at.is_none() && !is_any_due
    }

    /// Returns whether another line may be acted upon: not while too many wait for their answers,
    /// nor, in a script, while a ping waits for its own.
    fn may_act(&self) -> bool {
        let is_pinging = self.pong_by().is_some_and(|by| by > Instant::now());
        self.leave_by.is_none() && !self.is_window_full() && !is_pinging
    }

    fn is_window_full(&self) -> bool {
        self.asked + self.sent.due(Instant::now()).count() >= WINDOW
    }

    /// Returns until when a script waits for a pong.
    fn pong_by(&self) -> Option<Instant> {
        let pinged_at = self.pinged_at.filter(|_| !self.typed.is_terminal());
        pinged_at.map(|at| at + ANSWER_WITHIN)
    }

    /// Returns for how long nothing is to be done where nothing comes in.
    fn patience(&self) -> Duration {
        let has_more = self.typed.has_command() || self.typed.is_over();
        if self.may_act() && (has_more || !self.streams.is_empty()) {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let answered_by = self.sent.due(now).min().filter(|_| self.is_window_full());
        let by = [self.leave_by, self.pong_by(), answered_by];
        by.into_iter().flatten().min().map_or(Duration::MAX, |by| {
            by.saturating_duration_since(Instant::now())
        })
    }

    /// Has the client look for what is typed, as long as that may be acted upon.
    fn watch(&mut self, client: &mut Client) -> Result<(), Failure> {
        let is_watched = self.may_act();
        if self.is_watched.replace(is_watched) == Some(is_watched) {
            return Ok(());
        }
        let typed = is_watched.then(|| self.typed.watched()).transpose();
        let typed = typed.map_err(Failure::input)?;
        let suspensions = self
            .suspensions
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose();
        client.watch(
            typed
                .into_iter()
                .chain(suspensions.map_err(Failure::signals)?),
        );
        Ok(())
    }

    /// Stops for a while, if that was asked for, and leaves the terminal as it was meanwhile.
    fn suspend(&mut self) -> Result<(), Failure> {
        let Some(suspensions) = self.suspensions.as_ref().filter(|fd| poll::is_readable(fd)) else {
            return Ok(());
        };
        signals::drain(suspensions);
        stderr::status("");
        self.typed.suspend();
        signals::suspend().map_err(Failure::signals)?;
        self.typed.resume().map_err(Failure::input)
    }

    /// Subscribes to the next stream that was given, or does what the next command says that has
    /// been typed.
    fn read(&mut self, client: &mut Client) -> Result<(), End> {
        if let Some(stream) = self.streams.pop_front() {
            self.asked += 1;
            return Ok(client.request(Action::Subscribe, &stream)?);
        }
        if !self.typed.has_command() && self.typed.is_ready() {
            self.typed.read().map_err(Failure::input)?;
        }
        let is_over = match self.typed.command() {
            Some(Ok(command)) => self.act(command.trim(), client)?,
            Some(Err(refused)) => {
                stderr::line(refused.message());
                self.not_done.get_or_insert(refused);
                false
            }
            None => self.typed.is_over(),
        };
        if is_over {
            self.typed.leave();
            stderr::status("");
            self.leave_by = Some(Instant::now() + ANSWER_WITHIN);
        }
        Ok(())
    }

    /// Does what a line says. True where that is to leave.
    fn act(&mut self, line: &str, client: &mut Client) -> Result<bool, End> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let done = match (word, rest.trim()) {
            ("", _) => Ok(()),
            (word, _) if word.starts_with('{') => {
                self.sent.note(line);
                client.send(line)
            }
            ("subscribe", stream) => self.ask(Action::Subscribe, stream, client),
            ("unsubscribe", stream) => self.ask(Action::Unsubscribe, stream, client),
            ("ping", "") => {
                self.pinged_at = Some(Instant::now());
                client.ping()
            }
            ("help", "") => {
                for line in HELP {
                    stderr::line(line);
                }
                Ok(())
            }
            ("quit" | "exit", "") => return Ok(true),
            ("ping" | "help" | "quit" | "exit", _) => {
                stderr::line(&format!("{word} takes no argument"));
                Ok(())
            }
            _ => {
                stderr::line(&format!("{line:?} is not a command (see help)"));
                Ok(())
            }
        };
        done?;
        Ok(false)
    }

    fn ask(&mut self, action: Action, stream: &str, client: &mut Client) -> octave_ws::Result<()> {
        if stream.is_empty() {
            stderr::line(&format!(
                "{action} takes a STREAM, such as /my_company/devices/gw1/temperature"
            ));
            return Ok(());
        }
        match stream.parse::<Stream>() {
            Err(error) => {
                stderr::line(&error.to_string());
                Ok(())
            }
            Ok(stream) => {
                self.asked += 1;
                client.request(action, &stream)
            }
        }
    }
}
