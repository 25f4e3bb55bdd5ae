use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use serde_json::{Value, json};

use super::kept::{Kept, SECRET};
use super::script::{self, Script};
use super::stream::{DEMO, Stream};

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

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    /// Positions in `streams`, by id and by path.
    names: HashMap<String, usize>,
    sessions: HashMap<String, Instant>,
    subscribers: Vec<Arc<Subscriber>>,
    events: u64,
    /// The samples of each stream, by its id.
    samples: HashMap<String, Samples>,
}

#[derive(Default)]
struct Samples {
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
    pub(super) fn demo(any_stream: bool, script: Option<Script>, kept: &Kept) -> io::Result<Self> {
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
        let mut state = State::default();
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
        let token = match given.user.as_deref() {
            Some(user) if user != self.user => return Ok(None),
            Some(_) => &self.token,
            None => &self.restricted_token,
        };
        if given.company.as_ref() != Some(&self.company) || given.token.as_ref() != Some(token) {
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
    pub(super) fn publish(&self, stream: &Stream, elems: &[Value]) -> usize {
        let mut state = self.state();
        let messages = elems.iter();
        let messages = messages.map(|elems| state.event(stream, &elems.to_string()));
        let messages: Vec<String> = messages.collect();
        state.deliver(stream, &messages)
    }

    /// Sends a text to everybody; to how many that was.
    pub(super) fn send(&self, text: &str) -> usize {
        let state = self.state();
        let everybody = state.subscribers.iter();
        everybody.map(|subscriber| subscriber.send(&[text])).count()
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

    /// Sends an event, of the script or made up, to each stream that somebody is subscribed to,
    /// `count` of them to each at most.
    pub(super) fn publish_samples(&self, count: Option<u64>) {
        for stream in self.streams() {
            let mut state = self.state();
            let is_heard = state.subscribers.iter().any(|s| s.hears(&stream));
            let samples = state.samples.entry(stream.id.clone()).or_default();
            if !is_heard || count.is_some_and(|count| samples.count >= count) {
                continue;
            }
            let made_up = || sample(&stream.path, samples.count).to_string();
            let message = match &self.script {
                None => {
                    let elems = made_up();
                    samples.count += 1;
                    state.event(&stream, &elems)
                }
                Some(script) => {
                    let Some((line, next)) = script.next(&stream, samples.position) else {
                        continue;
                    };
                    samples.position = next;
                    samples.count += 1;
                    if script::is_whole(line) {
                        message(&stream, line.value())
                    } else {
                        state.event(&stream, line.value())
                    }
                }
            };
            state.deliver(&stream, &[message]);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, id: String, path: String) -> Stream {
        let at = self.streams.len();
        self.names.extend([(id.clone(), at), (path.clone(), at)]);
        let stream = Stream { id, path };
        self.streams.push(stream.clone());
        stream
    }

    /// Returns the message of an event, shaped like the documented one.
    fn event(&mut self, stream: &Stream, elems: &str) -> String {
        self.events += 1;
        let n = self.events;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let editor = "i65f0c1a24b5a8d2c0c3a5001";
        let value = json!({
            "creationDate": at,
            "creatorId": editor,
            "elems": null,
            "generatedDate": at,
            "hash": null,
            "id": format!("e{:08x}{n:016x}", now.as_secs()),
            "lastEditDate": at,
            "lastEditorId": editor,
            "location": null,
            "metadata": null,
            "path": stream.path,
            "streamId": stream.id,
            "tags": {},
        });
        // Put in as they are, since no `Value` holds every number.
        let value = value.to_string();
        let value = value.replacen(r#""elems":null"#, &format!(r#""elems":{elems}"#), 1);
        message(stream, &value)
    }

    fn deliver(&self, stream: &Stream, messages: &[String]) -> usize {
        let listeners = self.subscribers.iter();
        let listeners = listeners.filter(|subscriber| subscriber.hears(stream));
        listeners.map(|listener| listener.send(messages)).count()
    }
}

fn message(stream: &Stream, value: &str) -> String {
    let id = &stream.id;
    format!(r#"{{"type":"message","resource":"{id}","value":{value}}}"#)
}

/// Returns a plausible measurement.
fn sample(path: &str, n: u64) -> Value {
    // Up and down within a hundred steps, which every float holds.
    let step = (n % 200).abs_diff(100);
    let step = f64::from(u8::try_from(step).unwrap_or_default());
    match path.rsplit('/').next() {
        Some("temperature") => json!({ "temperature": (200.0 + step) / 10.0 }),
        Some("humidity") => json!({ "humidity": (200.0 + step) / 5.0 }),
        Some("location") => json!({ "latitude": (48_800.0 + step) / 1000.0, "longitude": 2.3 }),
        _ => json!({ "value": step }),
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

/// An action on a client's socket.
pub(super) enum Order {
    Send(String),
    /// Raw bytes, below the WebSocket.
    SendRaw(Vec<u8>),
    Close(u16),
    Drop,
}

/// A client's socket: its subscriptions, and its queued actions.
pub(super) struct Subscriber {
    streams: Mutex<BTreeSet<String>>,
    queue: Mutex<VecDeque<Order>>,
    waker: UnixStream,
    wake: UnixStream,
}

impl Subscriber {
    fn new() -> io::Result<Self> {
        let (waker, wake) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok(Self {
            streams: Mutex::default(),
            queue: Mutex::default(),
            waker,
            wake,
        })
    }

    pub(super) fn subscribe(&self, stream: &Stream) {
        lock(&self.streams).insert(stream.id.clone());
    }

    /// False where it was not subscribed.
    pub(super) fn unsubscribe(&self, stream: &Stream) -> bool {
        lock(&self.streams).remove(&stream.id)
    }

    fn hears(&self, stream: &Stream) -> bool {
        lock(&self.streams).contains(&stream.id)
    }

    fn send(&self, messages: &[impl ToString]) {
        self.order(
            messages
                .iter()
                .map(|message| Order::Send(message.to_string())),
        );
    }

    pub(super) fn hang_up(&self, code: Option<u16>) {
        self.order([code.map_or(Order::Drop, Order::Close)]);
    }

    fn order(&self, orders: impl IntoIterator<Item = Order>) {
        lock(&self.queue).extend(orders);
        // The one way to fail is a pipe full of earlier wake-ups.
        let _ = (&self.waker).write(&[1]);
    }

    /// Returns the queued actions. The descriptor is readable again once there are more.
    pub(super) fn take(&self) -> VecDeque<Order> {
        let _ = (&self.wake).read(&mut [0; 256]);
        std::mem::take(&mut lock(&self.queue))
    }
}

/// Readable when there is something to take.
impl AsFd for Subscriber {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
