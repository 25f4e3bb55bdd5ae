use std::fmt;

/// The cookies that came with a session, by which a balancer finds the server again that has it:
/// secrets, as the session's id is. `Debug` is redacted and there is no `Display`.
#[derive(Default)]
pub(crate) struct Cookies(Vec<(String, String)>);

/// A value that is shorter says nothing by itself.
const MIN_SECRET: usize = 4;

impl Cookies {
    /// Takes those of an HTTP head, the last of each name (RFC 6265 §5.2). They are for the one
    /// request that follows: what else is said of them, as their paths, makes no difference.
    pub(crate) fn take(&mut self, head: &[u8]) {
        for line in head.split(|&b| b == b'\n') {
            let Some((name, value)) = split(line, b':') else {
                continue;
            };
            if name.eq_ignore_ascii_case(b"set-cookie")
                && let Some((name, value)) = pair(value)
            {
                self.0.retain(|(other, _)| *other != name);
                self.0.push((name, value));
            }
        }
    }

    /// Returns the line of a request, with its end; nothing without cookies (RFC 6265 §5.4).
    pub(crate) fn line(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        match &pairs.collect::<Vec<_>>()[..] {
            [] => String::new(),
            pairs => format!("Cookie: {}\r\n", pairs.join("; ")),
        }
    }

    /// Returns the values, which must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.0.iter().map(|(_, value)| value.as_str());
        values.filter(|value| value.len() >= MIN_SECRET)
    }
}

/// Returns the name and the value of a Set-Cookie that a request may hold.
fn pair(set: &[u8]) -> Option<(String, String)> {
    let pair = set.split(|&b| b == b';').next()?;
    let (name, value) = split(pair, b'=')?;
    let is_plain = |b: &u8| (b' '..=b'~').contains(b);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let is_usable = !name.is_empty() && pair.trim_ascii().iter().all(is_plain);
    is_usable.then_some((text(name)?, text(value)?))
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == at)?;
    Some((bytes[..at].trim_ascii(), bytes[at + 1..].trim_ascii()))
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_go_into_one_line() {
        let mut cookies = Cookies::default();
        assert_eq!(cookies.line(), "");
        cookies.take(
            b"HTTP/1.1 201 Created\r\nSet-Cookie: lb=first; Path=/; Secure\r\nX: Set-Cookie: x=y\r\n\
              set-cookie:id = a=b==\nSet-Cookie: lb=second\r\nSet-Cookie: none\r\n\
              Set-Cookie: =x\r\nSet-Cookie: e=\xe9\r\nSet-Cookie: empty=;\r\n\r\n",
        );
        assert_eq!(cookies.line(), "Cookie: id=a=b==; lb=second; empty=\r\n");
        assert_eq!(cookies.secrets().collect::<Vec<_>>(), ["a=b==", "second"]);
        assert_eq!(format!("{cookies:?}"), "Cookies(redacted)");
    }
}
