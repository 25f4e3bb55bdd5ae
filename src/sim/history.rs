//! The REST API that shows past events.

use std::io::{self, Read as _};

use flate2::Compression;
use flate2::bufread::GzEncoder;
use serde_json::Value;

use super::cloud::Credentials;
use super::history_fault::HistoryFault;
use super::http::Request;
use super::log::ClientAction;
use super::query::Query;
use super::shared::{Log, Shared, refusal};

/// An answer to a request for events.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<&'static str>,
    pub(super) body: Vec<u8>,
    /// Number of bytes of the body after which the connection ends.
    pub(super) torn: Option<usize>,
}

/// Answers a request for events of a company's stream. Returns `None` where a fault does not.
pub(super) fn answer(
    request: &Request,
    company: &str,
    id: Option<&str>,
    shared: &Shared,
    log: &Log<'_>,
) -> io::Result<Option<Answer>> {
    let has = |fault| shared.has_of_history(fault);
    if has(HistoryFault::Silent) {
        return Ok(None);
    }
    let (status, body) = match select(request, company, id, shared) {
        Ok((stream, values)) => {
            let events = values.len();
            log.saw(ClientAction::History { stream, events });
            let head = r#"{"status":200,"ok":true,"messages":[],"errors":[],"references":{}}"#;
            let values = values.join(",");
            (200, format!(r#"{{"head":{head},"body":[{values}]}}"#))
        }
        Err((status, error)) => {
            let request = format!("{} /{company}/event", request.method());
            log.saw(ClientAction::Refused { request, status });
            (status, refusal(&Value::Null, status, error))
        }
    };
    let mut body = body.into_bytes();
    let mut headers = Vec::new();
    if status == 429 {
        headers.push("Retry-After: 1");
    }
    if has(HistoryFault::Html) {
        body = b"<html><title>Log in</title></html>".to_vec();
    } else if request.has("accept-encoding", "gzip") {
        let mut coded = Vec::new();
        GzEncoder::new(&body[..], Compression::default()).read_to_end(&mut coded)?;
        body = coded;
        headers.push("Content-Encoding: gzip");
    }
    let half = body.len() / 2;
    Ok(Some(Answer {
        status,
        headers,
        body,
        torn: has(HistoryFault::Torn).then_some(half),
    }))
}

type Refusal = (u16, &'static str);

/// Returns the name of the stream, and the events of the answer.
fn select(
    request: &Request,
    company: &str,
    id: Option<&str>,
    shared: &Shared,
) -> Result<(String, Vec<String>), Refusal> {
    let header = |name| request.header(name).map(str::to_owned);
    let credentials = Credentials {
        user: header("x-auth-user"),
        company: Some(company.to_owned()),
        token: header("x-auth-token"),
    };
    if request.method() != "GET" {
        return Err((405, "events are read by a GET"));
    }
    if let Some(status) = shared.history_status() {
        return Err((status, "a fault"));
    }
    if !shared.cloud.knows(&credentials) {
        return Err((401, "invalid credentials"));
    }
    let query = Query::parse(request.query()).map_err(|what| (400, what))?;
    let name = id.map(str::to_owned).or(query.path.clone());
    let name = name.ok_or((400, "give a stream"))?;
    let stream = shared.cloud.find(&name).ok_or((404, "no such stream"))?;
    let has = |fault| shared.has_of_history(fault);
    Ok((name, shared.cloud.history(&stream, &query, has)))
}
