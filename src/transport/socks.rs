use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

/// A user and a password, RFC 1929: secrets. `Debug` is redacted.
#[derive(Clone)]
pub(crate) struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

/// Maximum length of a user, a password and a host name, which is sent in one byte.
pub(crate) const MAX_LENGTH: usize = 255;

/// The target of a proxy's connection.
pub(crate) enum Target<'a> {
    Name(&'a str, u16),
    Addr(SocketAddr),
}

/// Why a proxy does not.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    /// The peer does not speak SOCKS 5.
    Malformed,
    /// The proxy requires a user and a password, or other ones.
    Login,
    /// The code of its reply, RFC 1928 §6.
    Reply(u8),
}

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NO_ACCEPTABLE_METHODS: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

impl Login {
    /// Returns `None` where one is empty or too long.
    pub(crate) fn new(user: Vec<u8>, password: Vec<u8>) -> Option<Self> {
        let fits = |bytes: &[u8]| (1..=MAX_LENGTH).contains(&bytes.len());
        (fits(&user) && fits(&password)).then_some(Self { user, password })
    }
}

/// Has a proxy connect to a target (RFC 1928). What follows on the stream is the target's.
pub(crate) fn connect(
    stream: &mut (impl Read + Write),
    login: Option<&Login>,
    to: &Target<'_>,
) -> Result<(), Failure> {
    let methods = match login {
        None => &[NO_LOGIN][..],
        Some(_) => &[NO_LOGIN, LOGIN],
    };
    stream.write_all(&encode(&[VERSION], methods))?;
    stream.flush()?;
    match (answer(stream)?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, LOGIN], Some(login)) => log_in(stream, login)?,
        ([VERSION, NO_ACCEPTABLE_METHODS], _) => return Err(Failure::Login),
        _ => return Err(Failure::Malformed),
    }
    stream.write_all(&request(to))?;
    stream.flush()?;
    let [version, code, _, kind] = answer(stream)?;
    if version != VERSION {
        return Err(Failure::Malformed);
    }
    if code != 0 {
        return Err(Failure::Reply(code));
    }
    // The address of the proxy's own socket does not matter.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = answer(stream)?;
            length.into()
        }
        _ => return Err(Failure::Malformed),
    };
    let mut bound = [0; MAX_LENGTH + 2];
    stream.read_exact(&mut bound[..length + 2])?;
    Ok(())
}

fn log_in(stream: &mut (impl Read + Write), login: &Login) -> Result<(), Failure> {
    let user = encode(&[LOGIN_VERSION], &login.user);
    stream.write_all(&encode(&user, &login.password))?;
    stream.flush()?;
    match answer(stream)? {
        [LOGIN_VERSION, 0] => Ok(()),
        [LOGIN_VERSION, _] => Err(Failure::Login),
        _ => Err(Failure::Malformed),
    }
}

fn request(to: &Target<'_>) -> Vec<u8> {
    let head = [VERSION, CONNECT, 0];
    let (mut request, port) = match to {
        Target::Name(name, port) => {
            let head = [&head[..], &[NAME]].concat();
            (encode(&head, name.as_bytes()), *port)
        }
        Target::Addr(addr) => match addr.ip() {
            IpAddr::V4(ip) => ([&head[..], &[IPV4], &ip.octets()].concat(), addr.port()),
            IpAddr::V6(ip) => ([&head[..], &[IPV6], &ip.octets()].concat(), addr.port()),
        },
    };
    request.extend(port.to_be_bytes());
    request
}

/// Encodes a message: the bytes before, then bytes preceded by their length.
fn encode(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    // Longer values do not occur: see `MAX_LENGTH`.
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [before, &[length], &bytes[..length.into()]].concat()
}

fn answer<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(redacted)")
    }
}

/// Returns the meaning of a reply code, RFC 1928 §6.
pub(crate) fn reply_text(code: u8) -> String {
    let words = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("reply {code}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The input of a played connection, and its output.
    struct Script(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            // A byte at a time, as it may come.
            self.0.read(&mut out[..1])
        }
    }

    impl Write for Script {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.1.write(data)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn login() -> Login {
        Login::new(b"u".to_vec(), b"pass".to_vec()).unwrap()
    }

    /// Plays a connection. Returns what was sent, the number of bytes left, and the failure.
    fn play(login: Option<&Login>, to: &Target<'_>, answers: &[u8]) -> (Vec<u8>, usize, String) {
        let mut script = Script(io::Cursor::new(answers.to_vec()), Vec::new());
        let done = connect(&mut script, login, to);
        let read = usize::try_from(script.0.position()).unwrap();
        let failure = match done {
            Ok(()) => String::new(),
            Err(Failure::Io(error)) => format!("{:?}", error.kind()),
            Err(failure) => format!("{failure:?}"),
        };
        (script.1, answers.len() - read, failure)
    }

    #[test]
    fn a_target_is_asked_for_by_name_or_address() {
        let v4 = "127.0.0.1:443".parse().unwrap();
        let v6 = "[::1]:443".parse().unwrap();
        let v4_asked = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb";
        let v6_asked = [&b"\x05\x01\x00\x04"[..], &[0; 15], b"\x01\x01\xbb"].concat();
        let granted = b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        for (to, asked) in [
            (
                Target::Name("h.io", 443),
                &b"\x05\x01\x00\x03\x04h.io\x01\xbb"[..],
            ),
            (Target::Addr(v4), v4_asked),
            (Target::Addr(v6), &v6_asked),
        ] {
            let (sent, _, failure) = play(None, &to, granted);
            assert_eq!(failure, "");
            assert_eq!(sent, [b"\x05\x01\x00", asked].concat());
        }
    }

    #[test]
    fn a_client_that_is_asked_logs_in() {
        let login = login();
        let to = Target::Name("h", 1);
        let asked = b"\x05\x01\x00\x03\x01h\x00\x01";
        // By each kind of address, and nothing behind it is read.
        for bound in [
            &b"\x01\0\0\0\0\0\0"[..],
            &[&b"\x04"[..], &[0; 18]].concat(),
            b"\x03\x02ab\0\0",
        ] {
            let answers = [b"\x05\x02\x01\x00\x05\x00\x00", bound, b"TLS"].concat();
            let (sent, left, failure) = play(Some(&login), &to, &answers);
            assert_eq!((failure.as_str(), left), ("", 3));
            let wanted = [&b"\x05\x02\x00\x02\x01\x01u\x04pass"[..], asked].concat();
            assert_eq!(sent, wanted);
        }
        assert_eq!(format!("{login:?}"), "Login(redacted)");
        for (user, password) in [(0, 1), (1, 0), (256, 1), (1, 256)] {
            assert!(Login::new(vec![b'u'; user], vec![b'p'; password]).is_none());
        }
        assert!(Login::new(vec![b'u'; 255], vec![b'p'; 255]).is_some());
    }

    #[test]
    fn a_failing_proxy_is_told_apart() {
        let login = login();
        for (answers, failure) in [
            (&b"\x05\xff"[..], "Login"),
            (b"\x05\x02\x01\x01", "Login"),
            (b"\x05\x02\x05\x00", "Malformed"),
            (b"HTTP/1.1 400", "Malformed"),
            (b"\x05\x01", "Malformed"),
            (b"\x05\x00\x04\x00\x00\x01", "Malformed"),
            (b"\x05\x00\x05\x00\x00\x02", "Malformed"),
            (b"\x05\x00\x05\x05\x00\x01", "Reply(5)"),
            (b"\x05\x00\x05\x00\x00\x01\x00", "UnexpectedEof"),
            (b"", "UnexpectedEof"),
        ] {
            let (_, _, told) = play(Some(&login), &Target::Name("h", 1), answers);
            assert_eq!(told, failure, "{answers:?}");
        }
        // Without a user, none is said.
        let (_, _, told) = play(None, &Target::Name("h", 1), b"\x05\x02");
        assert_eq!(told, "Malformed");
        assert_eq!(reply_text(5), "connection refused");
        assert_eq!(reply_text(9), "reply 9");
    }
}
