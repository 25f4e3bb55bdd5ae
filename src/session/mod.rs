use std::time::Instant;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::exchange::{Answer, Method, Request};
use crate::http::cookies::Cookies;
use crate::http::head;
use crate::protocol::session_answer;
use crate::secret::Redactor;
use crate::step::Step;
use crate::transport::{Link, Route};
use crate::{Error, Result};

mod id;

pub use id::SessionId;

/// The longest body of an answer.
const MAX_ANSWER: usize = 64 << 10;

impl SessionId {
    /// Requests a session, for another WebSocket client. It expires if no client connects soon.
    ///
    /// # Errors
    /// As [`Client::connect`](crate::Client::connect).
    pub fn request(config: &Config) -> Result<Self> {
        let mut route = Route::new(config)?;
        let mut config = config.clone();
        config.renew_credentials()?;
        let credentials = config.credentials.as_ref().map_err(Clone::clone)?;
        let link = route.dial(config.phase_deadline())?;
        let mut redactor = Redactor::default();
        let session = open(
            link,
            &route,
            credentials,
            &mut redactor,
            config.phase_deadline(),
        )?;
        if let Some(mut link) = session.link {
            link.shut();
        }
        Ok(session.id)
    }

    /// Returns the URL of its WebSocket, which contains the id and is a secret, too.
    ///
    /// # Errors
    /// `Config`.
    pub fn url(&self, config: &Config) -> Result<String> {
        let endpoint = config.check()?;
        let scheme = if endpoint.tls { "wss" } else { "ws" };
        let path = self.path(&endpoint);
        Ok(format!("{scheme}://{}{path}", endpoint.authority))
    }
}

/// A session that the service has opened.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Cookies for its upgrade.
    pub(crate) cookies: Cookies,
    /// The link, unless the service has ended it.
    pub(crate) link: Option<Link>,
}

/// Asks for a session over a link, by the deadline.
///
/// # Errors
/// `Refused` for the credentials, `Status` for another status than success, `UnusableId` and
/// `Malformed` for an invalid success, and I/O errors of the connection.
pub(crate) fn open(
    link: Link,
    route: &Route,
    credentials: &Credentials,
    redactor: &mut Redactor,
    deadline: Instant,
) -> Result<Session> {
    let endpoint = &route.endpoint;
    redactor.hide(credentials.token.expose_secret());
    let request = Request {
        phase: Phase::Session,
        method: Method::Post,
        target: "/session",
        max_body: MAX_ANSWER,
        too_long: ErrorKind::Malformed,
    };
    let (answer, link) = request.send(link.into(), route, credentials, deadline)?;
    answer
        .cookies
        .secrets()
        .for_each(|cookie| redactor.hide(cookie));
    let id = validate(&answer, endpoint, redactor)
        .map_err(|error| error.not_before(answer.retry_after))?;
    route.observer.notify(&Step::SessionOpened {
        date: answer.date,
        is_kept: link.is_some(),
    });
    redactor.hide(id.expose_secret());
    let cookies = answer.cookies;
    let link = link.map(|http| http.link);
    Ok(Session { id, cookies, link })
}

/// Makes an id of an answer.
fn validate(answer: &Answer, endpoint: &Endpoint, redactor: &Redactor) -> Result<SessionId> {
    let Answer {
        status,
        body,
        is_encoded,
        ..
    } = answer;
    let failed = |kind, words: &str| {
        let location = answer.location.as_deref();
        let path = format!("{}/session", endpoint.prefix);
        let peer = endpoint.to_string();
        let mut message = head::status_of(&peer, *status, location, Some(&path), redactor);
        let words = redactor.redact(words);
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
            .ok_or_else(|| failed(ErrorKind::UnusableId, "its session id is not usable")),
        Ok(Err(words)) => Err(failed(ErrorKind::Refused, &words)),
        Err(_) if *is_encoded => {
            let what = "its body is in a content coding that cannot be read";
            Err(failed(ErrorKind::Malformed, what))
        }
        Err(what) => Err(failed(ErrorKind::Malformed, what)),
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sim::{Fault, Options, Sim};
    use crate::{Stop, Token};

    const LONG: Duration = Duration::from_secs(10);

    fn sim(fault: Option<Fault>) -> Sim {
        Sim::start_with(Options::default().faults(fault)).unwrap()
    }

    fn ask(
        sim: &Sim,
        credentials: &Credentials,
        stop: &Stop,
        timeout: Duration,
    ) -> Result<Session> {
        let config = Config::new(credentials.clone())
            .endpoint(sim.endpoint())
            .ca_pem(sim.ca_pem());
        let mut route = Route::new(&config.stop(stop.clone()))?;
        let link = route.dial(Instant::now() + LONG)?;
        let end = Instant::now() + timeout;
        open(link, &route, credentials, &mut Redactor::default(), end)
    }

    fn credentials(sim: &Sim) -> Credentials {
        Credentials::new(sim.company(), Token::new(sim.token())).user(sim.user())
    }

    #[test]
    fn the_link_comes_back_where_the_service_keeps_it() {
        for (fault, kept) in [(None, true), (Some(Fault::SessionClose), false)] {
            let sim = sim(fault);
            let stop = Stop::new().unwrap();
            let session = ask(&sim, &credentials(&sim), &stop, LONG).unwrap();
            assert_eq!(session.link.is_some(), kept);
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
        let text = format!(
            "session: timed out waiting for an answer from {}",
            sim.addr()
        );
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
        let validate = |status, body: &str| {
            let answer = Answer {
                status,
                retry_after: None,
                date: None,
                location: Some(b"https://login/?secret".to_vec()),
                cookies: Cookies::default(),
                is_encoded: false,
                body: body.as_bytes().to_vec(),
            };
            let mut redactor = Redactor::default();
            redactor.hide("hunter2");
            let id = super::validate(&answer, &endpoint, &redactor);
            id.map_err(|error| (error.kind(), error.to_string()))
        };
        let peer = "octave-ws.sierrawireless.io:443";
        let good = r#"{"head":{"ok":true},"body":{"id":"a.b"}}"#;
        assert_eq!(validate(201, good).unwrap().expose_secret(), "a.b");
        assert!(validate(200, good).is_ok());
        for (status, body, kind, words) in [
            (
                201,
                r#"{"body":{"id":"../x"}}"#,
                ErrorKind::UnusableId,
                ": its session id is not usable",
            ),
            (
                201,
                r#"{"body":{"id":7}}"#,
                ErrorKind::UnusableId,
                ": its session id is not usable",
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
            (
                302,
                "",
                ErrorKind::Status(302),
                ", a redirect to https://login",
            ),
            (
                503,
                r#"{"head":{"ok":false,"errors":["later"]}}"#,
                ErrorKind::Status(503),
                ": later",
            ),
        ] {
            let text = format!("session: HTTP {status} from {peer}{words}");
            assert_eq!(validate(status, body), Err((kind, text)));
        }
    }
}
