use std::error;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::HeaderValue;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::config::{Config, Credentials, Endpoint};
use crate::dial::{Link, Route};
use crate::error::{ErrorKind, Phase};
use crate::head;
use crate::protocol::session_answer;
use crate::secret::Quote;
use crate::step::Step;
use crate::{Error, Result, SessionId};

/// The longest head, and the longest body, of an answer.
const MAX_ANSWER: usize = 64 << 10;

const USER_AGENT: &str = concat!("octave-ws/", env!("CARGO_PKG_VERSION"));

impl SessionId {
    /// Asks the service for a session, to be used with another WebSocket client. It expires if
    /// none connects before long.
    ///
    /// # Errors
    /// Those of [`Client::connect`](crate::Client::connect).
    pub fn request(config: &Config) -> Result<Self> {
        let route = Route::new(config)?;
        let link = route.dial(config.phase_deadline())?;
        let (id, link) = open(link, &route, &config.credentials, config.phase_deadline())?;
        if let Some(mut link) = link {
            link.shut();
        }
        Ok(id)
    }

    /// The address of the session's WebSocket, the id in it: a secret as much as that.
    ///
    /// # Errors
    /// `Config`.
    pub fn url(&self, config: &Config) -> Result<String> {
        let endpoint = config.check()?;
        let scheme = if endpoint.tls { "wss" } else { "ws" };
        let path = endpoint.socket_path(self);
        Ok(format!("{scheme}://{}{path}", endpoint.authority))
    }
}

/// Asks for a session over a link, by the deadline. Returns its id, and the link unless the
/// service has ended it.
///
/// # Errors
/// `Refused` for the credentials, `Status` for what else is no success, `UnusableId` and
/// `Malformed` for a success that is none, and those of the connection.
pub(crate) fn open(
    mut link: Link,
    route: &Route,
    credentials: &Credentials,
    deadline: Instant,
) -> Result<(SessionId, Option<Link>)> {
    let Route {
        endpoint,
        attention,
        ..
    } = route;
    link.wire().set_deadline(Some(deadline));
    let lender = Lender::new(link);
    let answer = post(&lender, endpoint, credentials).map_err(|error| {
        if attention.is_stopped() {
            return Error::stopped(Phase::Session);
        }
        if Instant::now() >= deadline {
            let message = format!("no answer from {endpoint} in time");
            return Error::new(Phase::Session, ErrorKind::TimedOut, message);
        }
        if !endpoint.tls && is_invalid(&error) {
            let message = format!("{endpoint} speaks TLS: give https:// in the endpoint");
            return Error::new(Phase::Session, ErrorKind::Untrusted, message);
        }
        let message = format!("the answer of {endpoint} did not come whole");
        Error::new(Phase::Session, ErrorKind::Disconnected, message).because(error)
    })?;
    let id = judge(&answer, endpoint, credentials)
        .map_err(|error| error.not_before(answer.retry_after))?;
    let link = lender.take();
    route.observer.tell(&Step::SessionOpened {
        date: answer.date,
        is_kept: link.is_some(),
    });
    Ok((id, link))
}

/// Makes an id of an answer.
fn judge(answer: &Answer, endpoint: &Endpoint, credentials: &Credentials) -> Result<SessionId> {
    let Answer { status, body, .. } = answer;
    let failed = |kind, words: &str| {
        let location = answer.location.as_deref();
        let mut message = head::status_of(&endpoint.to_string(), *status, location);
        let words = Quote::new(&credentials.token).quote(words);
        if !words.is_empty() {
            message = format!("{message}: {words}");
        }
        let error = Error::new(Phase::Session, kind, message);
        error.refused_with(Some(*status).filter(|_| kind == ErrorKind::Refused))
    };
    let text = String::from_utf8_lossy(body);
    let answer = session_answer(&text);
    if !(200..300).contains(status) {
        let kind = match status {
            400 | 401 | 403 => ErrorKind::Refused,
            _ => ErrorKind::Status(*status),
        };
        let words = match &answer {
            Ok(Err(words)) => words,
            _ => text.as_ref(),
        };
        return Err(failed(kind, words));
    }
    match answer {
        Ok(Ok(id)) => SessionId::new(id)
            .ok_or_else(|| failed(ErrorKind::UnusableId, "its session id is not a usable one")),
        Ok(Err(words)) => Err(failed(ErrorKind::Refused, &words)),
        Err(what) => Err(failed(ErrorKind::Malformed, what)),
    }
}

struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    date: Option<SystemTime>,
    location: Option<Vec<u8>>,
    body: Vec<u8>,
}

/// Whether it is what [`Lent`] makes of bytes that are no HTTP.
fn is_invalid(error: &AnyError) -> bool {
    match error.downcast_ref() {
        Some(ureq::Error::Io(error)) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

type AnyError = Box<dyn error::Error + Send + Sync>;

fn post(
    lender: &Lender,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<Answer, AnyError> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_response_header_size(MAX_ANSWER)
        .proxy(None)
        .user_agent(USER_AGENT)
        .build();
    let agent = ureq::Agent::with_parts(config, lender.clone(), Resolved);
    let Endpoint {
        authority, prefix, ..
    } = endpoint;
    let scheme = if endpoint.tls { "https" } else { "http" };
    let mut request = agent.post(format!("{scheme}://{authority}{prefix}/session"));
    if let Some(user) = &credentials.user {
        request = request.header("X-Auth-User", HeaderValue::from_bytes(user.as_bytes())?);
    }
    let company = HeaderValue::from_bytes(credentials.company.as_bytes())?;
    let mut token = HeaderValue::from_bytes(credentials.token.expose_secret().as_bytes())?;
    token.set_sensitive(true);
    let mut answer = request
        .header("X-Auth-Company", company)
        .header("X-Auth-Token", token)
        .send_empty()?;
    let status = answer.status().as_u16();
    let header = |name| answer.headers().get(name).map(HeaderValue::as_bytes);
    let retry_after = header("retry-after").and_then(head::retry_after);
    let date = header("date").and_then(head::date);
    let location = header("location").map(<[u8]>::to_vec);
    let body = answer.body_mut().with_config().limit(MAX_ANSWER as u64);
    Ok(Answer {
        status,
        retry_after,
        date,
        location,
        body: body.read_to_vec()?,
    })
}

/// Lends a link to ureq, which then neither dials nor knows TLS, and has it back when ureq is
/// done with it.
#[derive(Clone)]
struct Lender(Arc<Mutex<Option<Link>>>);

impl Lender {
    fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(Some(link))))
    }

    fn take(&self) -> Option<Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, link: Link) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }
}

impl Connector for Lender {
    type Out = Lent;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> std::result::Result<Option<Lent>, ureq::Error> {
        Ok(self.take().map(|link| Lent {
            link: Some(link),
            lender: self.clone(),
            buffers: LazyBuffers::new(MAX_ANSWER, 16 << 10),
        }))
    }
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lender")
    }
}

/// A link while ureq has it.
struct Lent {
    link: Option<Link>,
    lender: Lender,
    buffers: LazyBuffers,
}

impl Transport for Lent {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        _: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        let link = self.link.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        link.write_all(&self.buffers.output()[..amount])?;
        Ok(link.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        let link = self.link.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        let n = link.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(n);
        // A record of an alert or of a handshake (RFC 8446 §5.1), where HTTP was asked for.
        if let [0x15 | 0x16, 3, ..] = self.buffers.input() {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        Ok(n > 0)
    }

    /// ureq asks only when the answer was read whole and the server keeps the connection: the
    /// moment to give the link back, unless bytes that nobody asked for came with the answer.
    /// "No" makes ureq drop this transport instead of keeping it.
    fn is_open(&mut self) -> bool {
        if let Some(link) = self.link.take()
            && self.buffers.input().is_empty()
        {
            self.lender.put(link);
        }
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent")
    }
}

/// ureq resolves before it connects; the link is connected already.
#[derive(Debug)]
struct Resolved;

impl Resolver for Resolved {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addrs = self.empty();
        addrs.push(([0, 0, 0, 0], 0).into());
        Ok(addrs)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::{Fault, Options, Sim};
    use crate::{Stop, Token};

    const LONG: Duration = Duration::from_secs(10);

    fn sim(fault: Option<Fault>) -> Sim {
        Sim::start_with(Options {
            faults: fault.into_iter().collect(),
            ..Options::default()
        })
        .unwrap()
    }

    fn ask(
        sim: &Sim,
        credentials: &Credentials,
        stop: &Stop,
        timeout: Duration,
    ) -> Result<(SessionId, Option<Link>)> {
        let config = Config::new(credentials.clone())
            .endpoint(sim.endpoint())
            .ca_pem(sim.ca_pem());
        let route = Route::new(&config.stop(stop.clone()))?;
        let link = route.dial(Instant::now() + LONG)?;
        open(link, &route, credentials, Instant::now() + timeout)
    }

    fn credentials(sim: &Sim) -> Credentials {
        Credentials::new(sim.company(), Token::new(sim.token())).user(sim.user())
    }

    #[test]
    fn the_link_comes_back_where_the_service_keeps_it() {
        for (fault, kept) in [(None, true), (Some(Fault::SessionClose), false)] {
            let sim = sim(fault);
            let stop = Stop::new().unwrap();
            let (_, link) = ask(&sim, &credentials(&sim), &stop, LONG).unwrap();
            assert_eq!(link.is_some(), kept);
        }
    }

    #[test]
    fn a_restricted_token_goes_without_a_user() {
        let sim = sim(None);
        let token = Token::new(sim.restricted_token());
        let credentials = Credentials::new(sim.company(), token);
        ask(&sim, &credentials, &Stop::new().unwrap(), LONG).unwrap();
    }

    #[test]
    fn a_refusal_is_in_the_words_of_the_service() {
        let sim = sim(None);
        let wrong = Credentials::new("demo", Token::new("secret"));
        let error = ask(&sim, &wrong, &Stop::new().unwrap(), LONG)
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let peer = sim.addr();
        let text = format!("session: HTTP 400 from {peer}: invalid credentials");
        assert_eq!(error.to_string(), text);
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn silence_ends_at_the_deadline_or_with_a_stop() {
        let sim = sim(Some(Fault::SessionSilent));
        let stop = Stop::new().unwrap();
        let short = Duration::from_millis(50);
        let error = ask(&sim, &credentials(&sim), &stop, short).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let text = format!("session: no answer from {} in time", sim.addr());
        assert_eq!(error.to_string(), text);

        let stopper = stop.clone();
        let thread = std::thread::spawn(move || stopper.stop());
        let error = ask(&sim, &credentials(&sim), &stop, LONG).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        thread.join().unwrap();
    }

    #[test]
    fn an_answer_is_judged_by_status_and_body() {
        let config = Config::new(Credentials::new("demo", Token::new("hunter2")));
        let endpoint = config.check().unwrap();
        let judge = |status, body: &str| {
            let answer = Answer {
                status,
                retry_after: None,
                date: None,
                location: Some(b"https://login/?secret".to_vec()),
                body: body.as_bytes().to_vec(),
            };
            let id = super::judge(&answer, &endpoint, &config.credentials);
            id.map_err(|error| (error.kind(), error.to_string()))
        };
        let peer = "octave-ws.sierrawireless.io:443";
        let good = r#"{"head":{"ok":true},"body":{"id":"a.b"}}"#;
        assert_eq!(judge(201, good).unwrap().expose_secret(), "a.b");
        assert!(judge(200, good).is_ok());
        for (status, body, kind, words) in [
            (
                201,
                r#"{"body":{"id":"../x"}}"#,
                ErrorKind::UnusableId,
                ": its session id is not a usable one",
            ),
            (
                201,
                r#"{"body":{"id":7}}"#,
                ErrorKind::UnusableId,
                ": its session id is not a usable one",
            ),
            (
                201,
                r#"{"body":{}}"#,
                ErrorKind::Malformed,
                ": it has no body.id",
            ),
            (
                200,
                "<html>",
                ErrorKind::Malformed,
                ": its body is not a JSON object",
            ),
            (
                204,
                "",
                ErrorKind::Malformed,
                ": its body is not a JSON object",
            ),
            (
                200,
                r#"{"head":{"ok":false,"errors":["no hunter2"]}}"#,
                ErrorKind::Refused,
                ": no [redacted]",
            ),
            (
                403,
                "<b>\u{1b}[31mno</b>",
                ErrorKind::Refused,
                ": <b>\\u{1b}[31mno</b>",
            ),
            (401, "", ErrorKind::Refused, ""),
            (302, "", ErrorKind::Status(302), ", a redirect to login"),
            (
                503,
                r#"{"head":{"ok":false,"errors":["later"]}}"#,
                ErrorKind::Status(503),
                ": later",
            ),
        ] {
            let text = format!("session: HTTP {status} from {peer}{words}");
            assert_eq!(judge(status, body), Err((kind, text)));
        }
    }
}
