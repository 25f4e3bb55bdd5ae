//! `shell`: a prompt, on one socket.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use octave_ws::{Action, Client, Config, ErrorKind, Next, Stop, Stream};
use serde_json::value::RawValue;

use crate::exit::{End, Failure, UNAVAILABLE};
use crate::output::Output;
use crate::printable::Printable;
use crate::report;
use crate::typed::{Sent, Typed};

const HELP: [&str; 6] = [
    "subscribe STREAM      be sent the events of a stream: its id or its path",
    "unsubscribe STREAM    be sent them no longer",
    "ping                  see how long a pong takes",
    "help                  see this",
    "quit                  unsubscribe and close, as at the end of input",
    "{...                  is sent as it stands",
];

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Does what is typed, and prints what comes in, until the end of either.
pub(crate) fn shell(config: Config, is_edited: bool, stop: &Stop) -> Result<(), Failure> {
    let config = config.stop(stop.clone()).retry_for(Duration::ZERO);
    match converse(&config, is_edited) {
        Err(End::Failed(failure)) => Err(failure),
        _ => Ok(()),
    }
}

fn converse(config: &Config, is_edited: bool) -> Result<(), End> {
    let output = Output::stdout()?;
    let mut client = Client::connect(config).map_err(|error| match error.kind() {
        ErrorKind::Stopped => Failure::no_session(),
        _ => error.into(),
    })?;
    log::info!("connected to {}", client.peer());
    let mut shell = Shell {
        output,
        typed: Typed::new(is_edited).map_err(Failure::input)?,
        is_seen: io::stdout().is_terminal(),
        asked: 0,
        is_pinged: false,
        sent: Sent::default(),
        leave_by: None,
    };
    client.watch(Some(shell.typed.watched().map_err(Failure::input)?));
    client.watch_hangup(shell.output.reader().map_err(Failure::input)?);
    let end = shell.run(&mut client);
    shell.typed.leave();
    report::status("");
    let end = end.and(shell.output.flush());
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
    output: Output,
    typed: Typed,
    /// Whether what comes in is for eyes.
    is_seen: bool,
    /// How many commands wait for an answer.
    asked: usize,
    is_pinged: bool,
    sent: Sent,
    /// Set at the end of input: when to wait for answers no longer.
    leave_by: Option<Instant>,
}

impl Shell {
    fn run(&mut self, client: &mut Client) -> Result<(), End> {
        loop {
            // Between any two messages: they may come in without a pause.
            if self.leave_by.is_none() && self.typed.is_ready() {
                self.read(client)?;
            }
            if let Some(by) = self.leave_by
                && (self.is_answered() || by <= Instant::now())
            {
                return Ok(());
            }
            let next = match client.next(Duration::ZERO) {
                Ok(Next::TimedOut) => {
                    self.output.flush()?;
                    if let Some(prompt) = self.typed.prompt() {
                        report::status(&prompt);
                    }
                    let now = Instant::now();
                    let left = self.leave_by.map(|by| by.saturating_duration_since(now));
                    client.next(left.unwrap_or(Duration::MAX))
                }
                found => found,
            };
            match next? {
                Next::Event(event) => self.print(event.message())?,
                Next::Ack(ack) => {
                    self.asked = self.asked.saturating_sub(1);
                    self.print(ack.message())?;
                }
                Next::Unknown(unknown) => {
                    self.sent.answered(unknown.text());
                    self.print(unknown.text())?;
                }
                Next::Pong(time) => {
                    self.is_pinged = false;
                    log::info!("pong after {:.1} ms", time.as_secs_f64() * 1000.0);
                }
                Next::Closed => {
                    let closed = "socket: the connection is closed";
                    return Err(Failure::new(UNAVAILABLE, closed).into());
                }
                Next::Readable if self.output.is_left() => return Err(End::ReaderGone),
                _ => {}
            }
        }
    }

    fn is_answered(&self) -> bool {
        self.asked == 0 && !self.is_pinged && self.sent.is_answered()
    }

    /// Does what has been typed meanwhile.
    fn read(&mut self, client: &mut Client) -> Result<(), End> {
        self.typed.read().map_err(Failure::input)?;
        let mut is_over = false;
        while !is_over && let Some(line) = self.typed.line() {
            is_over = self.act(line.trim(), client)?;
        }
        if is_over || self.typed.is_over() {
            client.watch(None);
            self.typed.leave();
            report::status("");
            self.leave_by = Some(Instant::now() + LAST_ANSWERS);
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
                self.is_pinged = true;
                client.ping()
            }
            ("help", "") => {
                for line in HELP {
                    report::say(line);
                }
                Ok(())
            }
            ("quit", "") => return Ok(true),
            _ => {
                report::say(&format!("{line:?} is no command: help lists them"));
                Ok(())
            }
        };
        done?;
        Ok(false)
    }

    fn ask(&mut self, action: Action, stream: &str, client: &mut Client) -> octave_ws::Result<()> {
        match stream.parse::<Stream>() {
            Err(error) => {
                report::say(&error.to_string());
                Ok(())
            }
            Ok(stream) => {
                self.asked += 1;
                client.request(action, &stream)
            }
        }
    }

    /// One message of the service, as it came.
    fn print(&mut self, text: &str) -> Result<(), End> {
        let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
        if self.is_seen {
            report::status("");
            let line = if is_json {
                text.replace(['\n', '\r'], "")
            } else {
                text.to_owned()
            };
            self.output.write(&format!("< {}", Printable(&line)))
        } else if is_json {
            self.output.write(text)
        } else {
            log::warn!("a message came in that is not JSON: {text}");
            Ok(())
        }
    }
}
