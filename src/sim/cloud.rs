use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use serde_json::Value;

use super::event;
use super::history_fault::HistoryFault;
use super::kept::{Kept, SECRET};
use super::query::Query;
use super::script::{self, Script};
use super::store::{LAG, Store};
use super::stream::{DEMO, Stream};
use super::subscriber::{Order, Subscriber};

/// Lifetime of a session without a socket.
const SESSION_LIFE: Duration = Duration::from_secs(60);

/// The company: who may come in, what streams it has, who listens to them.
pub(super) struct Cloud {
    pub(super) user: String,
    pub(super) company: String,
    /// Good together with the user.
    pub(super) token: String,
    /// Good without a user.
    pub(super) restricted_token: String,
    any_stream: bool,
    script: Option<Script>,
    state: Mutex<State>,
}

struct State {
    streams: Vec<Stream>,
    /// Positions in `streams`, by id and by path.
    names: HashMap<String, usize>,
    sessions: HashMap<String, Instant>,
    subscribers: Vec<Arc<Subscriber>>,
    events: u64,
    /// The samples of each stream, by its id.
    samples: HashMap<String, Samples>,
    store: Store,
    /// The date of the first event, in milliseconds since the Unix epoch.
    first_date: Option<u64>,
}

#[derive(Default)]
struct Samples {
    /// Whether the stream was ever subscribed.
    has_begun: bool,
    count: u64,
    /// Position of the next line of the script.
    position: usize,
}

/// The three headers of a session request.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) company: Option<String>,
    pub(super) token: Option<String>,
}

impl Cloud {
    /// Returns the company `demo`, with the device `gw1`.
    pub(super) fn demo(
        any_stream: bool,
        script: Option<Script>,
        capacity: usize,
        kept: &Kept,
    ) -> io::Result<Self> {
        let token = |name| {
            let text = kept.text(name, SECRET, || Ok(format!("{}\n", random_hex(16)?)))?;
            match text.trim() {
                "" => Err(kept.unusable(name, "no token")),
                token if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    Err(kept.unusable(name, "a token is one word of ASCII"))
                }
                token => Ok(token.to_owned()),
            }
        };
        let mut state = State::new(capacity);
        for (path, id) in DEMO {
            state.add(id.to_owned(), path.to_owned());
        }
        Ok(Self {
            user: "demo_user".to_owned(),
            company: "demo".to_owned(),
            token: token("token")?,
            restricted_token: token("restricted-token")?,
            any_stream,
            script,
            state: Mutex::new(state),
        })
    }

    /// Returns a new session's id, if the credentials are good.
    pub(super) fn open_session(&self, given: &Credentials) -> io::Result<Option<String>> {
        if !self.knows(given) {
            return Ok(None);
        }
        let id = random_hex(22)?;
        let mut state = self.state();
        state
            .sessions
            .retain(|_, opened| opened.elapsed() < SESSION_LIFE);
        state.sessions.insert(id.clone(), Instant::now());
        Ok(Some(id))
    }

    /// Returns whether the credentials are good.
    pub(super) fn knows(&self, given: &Credentials) -> bool {
        let token = match given.user.as_deref() {
            Some(user) if user != self.user => return false,
            Some(_) => &self.token,
            None => &self.restricted_token,
        };
        given.company.as_ref() == Some(&self.company) && given.token.as_ref() == Some(token)
    }

    /// Returns the past events of a stream that are asked for.
    pub(super) fn history(
        &self,
        stream: &Stream,
        query: &Query,
        has: impl Fn(HistoryFault) -> bool,
    ) -> Vec<String> {
        let mut state = self.state();
        let found = state.store.select(stream, query, &has);
        if has(HistoryFault::Evicting) {
            state.store.evict(stream);
        }
        found
    }

    /// Uses a session up: it serves one socket. False where there is no such session.
    pub(super) fn take_session(&self, id: &str) -> bool {
        let opened = self.state().sessions.remove(id);
        opened.is_some_and(|opened| opened.elapsed() < SESSION_LIFE)
    }

    pub(super) fn streams(&self) -> Vec<Stream> {
        self.state().streams.clone()
    }

    /// Returns the stream by its id or its path.
    pub(super) fn find(&self, name: &str) -> Option<Stream> {
        let mut state = self.state();
        let found = state.names.get(name).copied();
        if found.is_none() && self.any_stream && name.starts_with('/') {
            let id = format!("s65f0c1a24b5a8d2c{:08x}", state.streams.len());
            return Some(state.add(id, name.to_owned()));
        }
        found.map(|at| state.streams[at].clone())
    }

    pub(super) fn join(&self) -> io::Result<Arc<Subscriber>> {
        let subscriber = Arc::new(Subscriber::new()?);
        self.state().subscribers.push(Arc::clone(&subscriber));
        Ok(subscriber)
    }

    pub(super) fn leave(&self, subscriber: &Arc<Subscriber>) {
        self.state()
            .subscribers
            .retain(|other| !Arc::ptr_eq(other, subscriber));
    }

    /// Sends events to the subscribers of the stream. Returns their number.
    pub(super) fn publish(
        &self,
        stream: &Stream,
        elems: &[Value],
        has: impl Fn(HistoryFault) -> bool,
    ) -> usize {
        let mut state = self.state();
        let values = elems.iter();
        let values = values.map(|elems| state.event(stream, &elems.to_string(), &has));
        let values: Vec<String> = values.collect();
        state.deliver(stream, &values, has)
    }

    /// Sends a text to everybody; to how many that was.
    pub(super) fn send(&self, text: &str) -> usize {
        let state = self.state();
        let everybody = state.subscribers.iter();
        everybody
            .map(|subscriber| subscriber.send(&[text], None))
            .count()
    }

    /// Sends bytes to everybody, below the WebSocket; to how many that was.
    pub(super) fn send_raw(&self, bytes: &[u8]) -> usize {
        let state = self.state();
        let everybody = state.subscribers.iter();
        everybody
            .map(|subscriber| subscriber.order([Order::SendRaw(bytes.to_vec())]))
            .count()
    }

    /// Ends everybody's socket, by a close with this code or without a word.
    pub(super) fn hang_up(&self, code: Option<u16>) -> usize {
        let state = self.state();
        let end = || code.map_or(Order::Drop, Order::Close);
        let everybody = state.subscribers.iter();
        everybody
            .map(|subscriber| subscriber.order([end()]))
            .count()
    }

    /// Publishes an event, of the script or made up, on each stream that was subscribed before, `count`
    /// of them on each at most.
    pub(super) fn publish_samples(&self, count: Option<u64>, has: impl Fn(HistoryFault) -> bool) {
        for stream in self.streams() {
            let mut state = self.state();
            let is_heard = state.subscribers.iter().any(|s| s.hears(&stream));
            let samples = state.samples.entry(stream.id.clone()).or_default();
            samples.has_begun |= is_heard;
            if !samples.has_begun || count.is_some_and(|count| samples.count >= count) {
                continue;
            }
            let made_up = || event::sample(&stream.path, samples.count).to_string();
            let value = match &self.script {
                None => {
                    let elems = made_up();
                    samples.count += 1;
                    state.event(&stream, &elems, &has)
                }
                Some(script) => {
                    let Some((line, next)) = script.next(&stream, samples.position) else {
                        continue;
                    };
                    samples.position = next;
                    samples.count += 1;
                    if script::is_whole(line) {
                        line.value().to_owned()
                    } else {
                        state.event(&stream, line.value(), &has)
                    }
                }
            };
            state.deliver(&stream, &[value], &has);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(capacity: usize) -> Self {
        Self {
            streams: Vec::new(),
            names: HashMap::new(),
            sessions: HashMap::new(),
            subscribers: Vec::new(),
            events: 0,
            samples: HashMap::new(),
            store: Store::new(capacity),
            first_date: None,
        }
    }

    fn add(&mut self, id: String, path: String) -> Stream {
        let at = self.streams.len();
        self.names.extend([(id.clone(), at), (path.clone(), at)]);
        let stream = Stream { id, path };
        self.streams.push(stream.clone());
        stream
    }

    /// Returns a new event, with these `elems`.
    fn event(
        &mut self,
        stream: &Stream,
        elems: &str,
        has: impl Fn(HistoryFault) -> bool,
    ) -> String {
        self.events += 1;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let date = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let first = *self.first_date.get_or_insert(date);
        let date = if has(HistoryFault::OneMillisecond) {
            first
        } else {
            date
        };
        event::value(stream, self.events, date, elems)
    }

    /// Keeps events, and sends them to the subscribers of the stream. Returns their number.
    fn deliver(
        &mut self,
        stream: &Stream,
        values: &[String],
        has: impl Fn(HistoryFault) -> bool,
    ) -> usize {
        for value in values {
            self.store.keep(stream, value);
        }
        let messages: Vec<_> = values
            .iter()
            .map(|value| event::message(stream, value))
            .collect();
        let at = has(HistoryFault::Ahead).then(|| Instant::now() + LAG);
        let listeners = self.subscribers.iter();
        let listeners = listeners.filter(|subscriber| subscriber.hears(stream));
        listeners
            .map(|listener| listener.send(&messages, at))
            .count()
    }
}

fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| io::Error::other("no random numbers"))?;
    Ok(random.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
