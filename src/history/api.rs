use std::time::Instant;

use crate::config::Config;
use crate::error::{ErrorKind, Phase};
use crate::exchange::{Answer, HttpLink, Method, Request};
use crate::http::head;
use crate::protocol::{Entry, NoPage, Query, Stream, is_transient, page};
use crate::secret::Redactor;
use crate::transport::Route;
use crate::{Error, Result, clock};

/// The longest answer, but for one event: that may be as long as a message.
const MAX_PAGE: usize = 1 << 20;

/// The REST API, and the link to it while it is used.
pub(crate) struct Api {
    pub(crate) route: Route,
    link: Option<HttpLink>,
}

/// An answer with events.
pub(crate) struct Page {
    pub(crate) body: String,
    pub(crate) entries: Vec<Entry>,
    /// When it was given, by the service's clock, in milliseconds since the Unix epoch.
    pub(crate) date: Option<i64>,
}

/// A request that has led to no events.
#[derive(Debug)]
pub(crate) enum NoEvents {
    /// A later request may succeed.
    Failed(Error),
    /// The stream is refused, or `is_all`, every one.
    Refused {
        error: Error,
        is_all: bool,
    },
    TooLong(Error),
    Unusable(Error),
    Stopped(Error),
}

impl Api {
    pub(crate) fn new(config: &Config, route: &Route) -> Result<Self> {
        Ok(Self {
            route: route.to_api(config)?,
            link: None,
        })
    }

    /// Asks for events of a stream. The answer has to be there by the deadline.
    pub(crate) fn get(
        &mut self,
        config: &Config,
        redactor: &mut Redactor,
        stream: &Stream,
        query: Query,
        deadline: Option<Instant>,
    ) -> Result<Page, NoEvents> {
        let phase_deadline = || {
            let end = Instant::now() + config.connect_timeout;
            deadline.map_or(end, |deadline| deadline.min(end))
        };
        let credentials = config.credentials.as_ref();
        let credentials = credentials.map_err(|error| NoEvents::Failed(error.clone()))?;
        redactor.hide(credentials.token.expose_secret());
        let request = Request {
            phase: Phase::History,
            method: Method::Get,
            target: &query.target(&credentials.company, stream),
            max_body: match query.limit {
                1 => config.max_message.max(MAX_PAGE),
                _ => MAX_PAGE,
            },
            too_long: ErrorKind::TooLong,
        };
        let kept = self.link.take();
        let was_kept = kept.is_some();
        let mut ask = |link: Option<HttpLink>| {
            let link = match link {
                Some(link) => link,
                None => self.route.dial(phase_deadline())?.into(),
            };
            request.send(link, &self.route, credentials, phase_deadline())
        };
        let sent = match ask(kept) {
            // The service may end a link that was kept.
            Err(error) if was_kept && error.kind() == ErrorKind::Disconnected => ask(None),
            sent => sent,
        };
        let (answer, link) = sent.map_err(|error| match error.kind() {
            ErrorKind::Stopped => NoEvents::Stopped(error),
            ErrorKind::TooLong => NoEvents::TooLong(error),
            _ => NoEvents::Failed(error),
        })?;
        self.link = link;
        self.read(answer, stream, query, redactor)
    }

    /// Ends the link, if there is one.
    pub(crate) fn close(&mut self) {
        if let Some(mut http) = self.link.take() {
            http.link.shut();
        }
    }

    fn read(
        &self,
        answer: Answer,
        stream: &Stream,
        query: Query,
        redactor: &Redactor,
    ) -> Result<Page, NoEvents> {
        let Answer { status, date, .. } = answer;
        let failed = |kind, words: &str| {
            let peer = self.route.endpoint.to_string();
            let location = answer.location.as_deref();
            let mut message = head::status_of(&peer, status, location, None, redactor);
            let words = redactor.redact(words);
            if !words.is_empty() {
                message = format!("{message}: {words}");
            }
            if status == 404 {
                message = format!("{stream}: {message}");
            }
            Error::new(Phase::History, kind, message)
                .of_stream(stream.clone())
                .not_before(answer.retry_after)
        };
        let refused = |status: Option<u16>, words: &str| {
            if let Some(status) = status.filter(|status| is_transient(*status)) {
                return NoEvents::Failed(failed(ErrorKind::Status(status), words));
            }
            let error = match status {
                Some(status @ 300..400) => failed(ErrorKind::Status(status), words),
                _ => failed(ErrorKind::Refused, words).refused_with(status),
            };
            let is_all = status != Some(404);
            NoEvents::Refused { error, is_all }
        };
        let is_success = (200..300).contains(&status);
        let Ok(body) = String::from_utf8(answer.body) else {
            return Err(if is_success {
                let what = if answer.is_encoded {
                    "its body is in a content coding that cannot be read"
                } else {
                    "its body is not UTF-8"
                };
                NoEvents::Failed(failed(ErrorKind::Malformed, what))
            } else {
                refused(Some(status), "")
            });
        };
        match page(&body, stream, &query) {
            Err(NoPage::Refused(_, words)) if !is_success => Err(refused(Some(status), &words)),
            Err(NoPage::Refused(status, words)) => Err(refused(status, &words)),
            _ if !is_success => Err(refused(Some(status), "")),
            Err(NoPage::Foreign(what)) => Err(NoEvents::Failed(failed(ErrorKind::Malformed, what))),
            Err(NoPage::Unusable(what)) => {
                Err(NoEvents::Unusable(failed(ErrorKind::Malformed, what)))
            }
            Ok(entries) => Ok(Page {
                entries,
                date: date.map(clock::millis),
                body,
            }),
        }
    }
}
