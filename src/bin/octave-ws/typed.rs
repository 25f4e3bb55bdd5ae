//! What is typed at the prompt, and what has become of it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use octave_ws::{Action, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::Value;

/// Lines of standard input, without waiting for one.
pub(crate) struct Typed {
    input: OwnedFd,
    /// The beginning of a line.
    rest: Vec<u8>,
    lines: VecDeque<String>,
}

impl Typed {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            input: io::stdin().as_fd().try_clone_to_owned()?,
            rest: Vec::new(),
            lines: VecDeque::new(),
        })
    }

    /// What is readable when there is something to [read](Typed::read).
    pub(crate) fn watched(&self) -> io::Result<OwnedFd> {
        self.input.try_clone()
    }

    /// Whether a read does not have to wait.
    pub(crate) fn is_ready(&self) -> bool {
        let mut input = [PollFd::new(&self.input, PollFlags::IN)];
        matches!(poll(&mut input, Some(&Timespec::default())), Ok(1))
    }

    /// Takes in what has been typed. True at the end of input.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let bytes = match rustix::io::read(&self.input, &mut bytes) {
            Ok(n) => &bytes[..n],
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.rest.extend_from_slice(bytes);
        let is_over = bytes.is_empty();
        if is_over && !self.rest.is_empty() {
            self.rest.push(b'\n');
        }
        if let Some(end) = self.rest.iter().rposition(|&b| b == b'\n') {
            let rest = self.rest.split_off(end + 1);
            let text = String::from_utf8_lossy(&self.rest);
            self.lines.extend(text.lines().map(str::to_owned));
            self.rest = rest;
        }
        Ok(is_over)
    }

    /// The next line that is whole.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }
}

/// The requests that were typed as they stand.
#[derive(Default)]
pub(crate) struct Sent {
    /// Those that wait for their answer, by their `msgId`.
    waiting: Vec<(String, Action, Stream)>,
    subscribed: BTreeSet<Stream>,
}

impl Sent {
    /// Takes note of a text, if it is a request.
    pub(crate) fn note(&mut self, text: &str) {
        if let Ok(message) = serde_json::from_str(text)
            && let Some(request) = request(&message)
        {
            self.waiting.push(request);
        }
    }

    /// Takes note of a message, if it answers one.
    pub(crate) fn answered(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let head = &message["head"];
        let id = id(&head["msgId"]);
        let Some(at) = self.waiting.iter().position(|(of, ..)| *of == id) else {
            return;
        };
        let (_, action, stream) = self.waiting.remove(at);
        match (action, &head["ok"]) {
            (Action::Subscribe, Value::Bool(true)) => self.subscribed.insert(stream),
            (Action::Unsubscribe, Value::Bool(true)) => self.subscribed.remove(&stream),
            _ => false,
        };
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The streams that are subscribed by it.
    pub(crate) fn subscribed(&self) -> &BTreeSet<Stream> {
        &self.subscribed
    }
}

fn request(message: &Value) -> Option<(String, Action, Stream)> {
    let action = match message["type"].as_str()? {
        "subscribe" => Action::Subscribe,
        "unsubscribe" => Action::Unsubscribe,
        _ => return None,
    };
    let stream = message.get("path").or(message.get("streamId"))?;
    let stream = stream.as_str()?.parse().ok()?;
    Some((id(&message["msgId"]), action, stream))
}

/// Services answer a number with a string and the other way about.
fn id(msg_id: &Value) -> String {
    msg_id
        .as_str()
        .map_or_else(|| msg_id.to_string(), str::to_owned)
}
