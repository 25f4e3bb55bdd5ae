//! Reads the fields of a certificate to show (X.509, RFC 5280). Trust has been decided elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// Formats a time as RFC 3339, in UTC and seconds.
    pub(crate) not_before: String,
    pub(crate) not_after: String,
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The subject alternative name's own name, 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

impl Certificate {
    /// Reads the DER of one.
    pub(crate) fn read(mut der: &[u8]) -> Option<Self> {
        let mut certificate = take(&mut der, SEQUENCE)?;
        let mut signed = take(&mut certificate, SEQUENCE)?;
        if signed.first() == Some(&VERSION) {
            next(&mut signed)?;
        }
        // The serial number, the algorithm and the issuer.
        for _ in 0..3 {
            next(&mut signed)?;
        }
        let mut validity = take(&mut signed, SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let mut names = Vec::new();
        while let Some((tag, mut content)) = next(&mut signed) {
            if tag == EXTENSIONS {
                let mut extensions = take(&mut content, SEQUENCE)?;
                while let Some((SEQUENCE, extension)) = next(&mut extensions) {
                    names.extend(subject_names(extension).unwrap_or_default());
                }
            }
        }
        Some(Self {
            names,
            not_before,
            not_after,
        })
    }
}

/// Returns the names of an extension, if it is the one for them.
fn subject_names(mut extension: &[u8]) -> Option<Vec<String>> {
    if take(&mut extension, OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
        return None;
    }
    let mut value = next(&mut extension)?;
    if value.0 != OCTET_STRING {
        // Whether it is critical.
        value = next(&mut extension)?;
    }
    let mut list = value.1;
    let mut names = take(&mut list, SEQUENCE)?;
    let mut found = Vec::new();
    while let Some((tag, name)) = next(&mut names) {
        match tag {
            DNS_NAME => found.push(str::from_utf8(name).ok()?.to_owned()),
            IP_ADDRESS => found.extend(address(name)),
            _ => {}
        }
    }
    Some(found)
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
    }
}

/// Returns a time in UTC, of which RFC 5280 §4.1.2.5 leaves one form each.
fn time(der: &mut &[u8]) -> Option<String> {
    let (tag, content) = next(der)?;
    let text = str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| &digits[from..to];
    let date = [part(0, 4), part(4, 6), part(6, 8)].join("-");
    let time = [part(8, 10), part(10, 12), part(12, 14)].join(":");
    Some(format!("{date}T{time}Z"))
}

fn take<'a>(der: &mut &'a [u8], expected: u8) -> Option<&'a [u8]> {
    let (tag, content) = next(der)?;
    (tag == expected).then_some(content)
}

/// Returns the next element: its tag and its content.
fn next<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut rest) = der.split_first_chunk()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        // No certificate is longer than two bytes can say.
        0x81 | 0x82 => {
            let (bytes, behind) = rest.split_at_checked(usize::from(first - 0x80))?;
            rest = behind;
            bytes
                .iter()
                .fold(0, |length, &b| length << 8 | usize::from(b))
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    *der = behind;
    Some((tag, content))
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use octave_ws::sim::Sim;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn own() -> Vec<u8> {
        let sim = Sim::start().unwrap();
        CertificateDer::from_pem_slice(sim.ca_pem().as_bytes())
            .unwrap()
            .to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let read = Certificate::read(&own()).unwrap();
        assert!(read.not_before < read.not_after, "{read:?}");
        for time in [&read.not_before, &read.not_after] {
            humantime::parse_rfc3339(time).unwrap();
        }
    }

    #[test]
    fn times_are_of_two_centuries() {
        let time = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            super::time(&mut &[&[tag, length], text.as_bytes()].concat()[..])
        };
        assert_eq!(
            time(UTC_TIME, "491231235959Z").unwrap(),
            "2049-12-31T23:59:59Z"
        );
        assert_eq!(
            time(UTC_TIME, "500101000000Z").unwrap(),
            "1950-01-01T00:00:00Z"
        );
        assert_eq!(
            time(GENERALIZED_TIME, "20500101000000Z").unwrap(),
            "2050-01-01T00:00:00Z"
        );
        for wrong in ["", "Z", "4912312359Z", "49123123595\u{e9}Z", "491231235959"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// A CA can write any bytes into a certificate.
            #[test]
            fn any_bytes_are_read_or_not(at in 0_usize..2000, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
                let mut der = own();
                let at = at.min(der.len());
                let end = (at + bytes.len()).min(der.len());
                der.splice(at..end, bytes);
                Certificate::read(&der);
            }
        }
    }
}
