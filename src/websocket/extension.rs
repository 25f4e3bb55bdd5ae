//! The extension permessage-deflate, RFC 7692 §7.1, as a client negotiates it.

/// The client's own messages are short, and go as they are.
pub(super) const OFFER: &str = "permessage-deflate; client_no_context_takeover";

/// The part of an answer that the offer does not allow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unoffered {
    Extension,
    Parameter,
}

/// Returns whether the server has accepted the offer, by the comma-separated values of its
/// `Sec-WebSocket-Extensions`.
pub(super) fn is_accepted<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<bool, Unoffered> {
    // Some servers send an empty one, which says nothing.
    let mut extensions = values.filter(|extension| !extension.is_empty());
    let Some(extension) = extensions.next() else {
        return Ok(false);
    };
    let mut parts = extension
        .split(|&byte| byte == b';')
        .map(<[u8]>::trim_ascii);
    let is_known = parts
        .next()
        .is_some_and(|name| name == b"permessage-deflate");
    let mut seen = Vec::new();
    let are_allowed = parts.all(|parameter| {
        let name = split(parameter).0;
        let is_repeated = seen.contains(&name);
        seen.push(name);
        is_allowed(parameter) && !is_repeated
    });
    if !is_known || extensions.next().is_some() {
        Err(Unoffered::Extension)
    } else if !are_allowed {
        Err(Unoffered::Parameter)
    } else {
        Ok(true)
    }
}

/// Returns whether a parameter may be in the answer. `client_max_window_bits` is not among them,
/// since it was not offered.
fn is_allowed(parameter: &[u8]) -> bool {
    match split(parameter) {
        (b"server_no_context_takeover" | b"client_no_context_takeover", None) => true,
        (b"server_max_window_bits", Some(bits)) => {
            let quoted = bits
                .strip_prefix(b"\"")
                .and_then(|bits| bits.strip_suffix(b"\""));
            let bits = quoted.unwrap_or(bits);
            matches!(bits, b"8" | b"9") || matches!(bits, [b'1', b'0'..=b'5'])
        }
        _ => false,
    }
}

/// Returns the name of a parameter, and its value.
fn split(parameter: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = parameter
        .splitn(2, |&byte| byte == b'=')
        .map(<[u8]>::trim_ascii);
    (parts.next().unwrap_or_default(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_part_of_the_offer_or_refused() {
        let check = |values: &[&str], wanted: &Result<bool, Unoffered>| {
            let list = values.iter().flat_map(|value| value.split(','));
            let bytes = list.map(|value| value.trim().as_bytes());
            assert_eq!(is_accepted(bytes), *wanted, "{values:?}");
        };
        for values in [&[][..], &[""], &["", " ,"]] {
            check(values, &Ok(false));
        }
        check(&["", "permessage-deflate"], &Ok(true));
        for parameters in [
            "",
            "; server_no_context_takeover",
            ";client_no_context_takeover ; server_max_window_bits=8",
            "; server_max_window_bits=15",
            "; server_max_window_bits = \"10\"",
        ] {
            check(&[&format!("permessage-deflate{parameters}")], &Ok(true));
        }
        for parameters in [
            "; server_max_window_bits",
            "; server_max_window_bits=7",
            "; server_max_window_bits=16",
            "; server_max_window_bits=08",
            "; server_max_window_bits=1x",
            "; client_max_window_bits",
            "; client_max_window_bits=15",
            "; server_no_context_takeover=1",
            "; server_no_context_takeover; server_no_context_takeover",
            ";",
            "; x",
        ] {
            let answer = format!("permessage-deflate{parameters}");
            check(&[&answer], &Err(Unoffered::Parameter));
        }
        for values in [
            &["permessage-deflate, permessage-deflate"][..],
            &["permessage-deflate", "x"],
            &["x-webkit-deflate-frame"],
        ] {
            check(values, &Err(Unoffered::Extension));
        }
    }
}
