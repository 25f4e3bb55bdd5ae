//! Content codings, RFC 9110 §8.4.1.

use std::io::{self, ErrorKind};

use zlib_rs::crc32::crc32;
use zlib_rs::{Inflate, InflateFlush, Status};

/// Undoes content codings. What it takes for that is made once, however many bodies it decodes.
#[derive(Default)]
pub(crate) struct Decoder {
    inflate: Option<Inflate>,
}

/// Of a gzip header, RFC 1952 §2.3: its length without optional fields, and the flags of those.
const HEADER: usize = 10;
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

impl Decoder {
    /// Decodes a body.
    ///
    /// # Errors
    /// `FileTooLarge` for more than `most` bytes; `Unsupported` for a coding that is not known;
    /// `InvalidData` and `UnexpectedEof` for a body that is not so coded.
    pub(crate) fn decode(
        &mut self,
        body: Vec<u8>,
        coding: &[u8],
        most: usize,
    ) -> Result<Vec<u8>, (io::Error, Vec<u8>)> {
        let decoded = match &coding.to_ascii_lowercase()[..] {
            b"identity" if body.len() <= most => return Ok(body),
            b"identity" => Err(ErrorKind::FileTooLarge.into()),
            b"gzip" | b"x-gzip" => self.gunzip(&body, most),
            b"deflate" => {
                let mut plain = Vec::new();
                let inflated = self.inflate(&body, true, most, &mut plain);
                inflated.map(|_| plain)
            }
            _ => Err(ErrorKind::Unsupported.into()),
        };
        decoded.map_err(|error| (error, body))
    }

    /// Decodes the members of a gzip file.
    fn gunzip(&mut self, mut body: &[u8], most: usize) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        loop {
            let begin = plain.len();
            body = self.inflate(behind_header(body)?, false, most, &mut plain)?;
            let (trailer, rest) = body.split_at_checked(8).ok_or(ErrorKind::UnexpectedEof)?;
            let member = &plain[begin..];
            // The size modulo 2^32.
            let size = u32::try_from(member.len() & 0xffff_ffff).unwrap_or_default();
            let wanted = [crc32(0, member).to_le_bytes(), size.to_le_bytes()];
            if trailer != wanted.as_flattened() {
                return Err(ErrorKind::InvalidData.into());
            }
            if rest.is_empty() {
                return Ok(plain);
            }
            body = rest;
        }
    }

    /// Inflates a DEFLATE stream, in the zlib format or raw, and returns what is behind it.
    fn inflate<'a>(
        &mut self,
        mut input: &'a [u8],
        is_zlib: bool,
        most: usize,
        plain: &mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        let inflate = self.inflate.get_or_insert_with(|| Inflate::new(false, 15));
        inflate.reset(is_zlib);
        let mut chunk = [0; 4096];
        loop {
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, &mut chunk, InflateFlush::NoFlush);
            let status = status.map_err(|_| ErrorKind::InvalidData)?;
            // No more than the input, and the chunk.
            let [read, written] = [inflate.total_in() - read, inflate.total_out() - written]
                .map(|bytes| usize::try_from(bytes).unwrap_or_default());
            input = &input[read..];
            plain.extend_from_slice(&chunk[..written]);
            if plain.len() > most {
                return Err(ErrorKind::FileTooLarge.into());
            }
            if status == Status::StreamEnd {
                return Ok(input);
            }
            if read == 0 && written == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Returns what is behind the header of a gzip member.
fn behind_header(member: &[u8]) -> io::Result<&[u8]> {
    let (header, mut rest) = member
        .split_at_checked(HEADER)
        .ok_or(ErrorKind::UnexpectedEof)?;
    let flags = header[3];
    if !header.starts_with(&[0x1f, 0x8b, 8]) || flags >= 0x20 {
        return Err(ErrorKind::InvalidData.into());
    }
    if flags & EXTRA != 0 {
        let size = rest.first_chunk().ok_or(ErrorKind::UnexpectedEof)?;
        rest = behind(rest, 2 + usize::from(u16::from_le_bytes(*size)))?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&b| b == 0);
            rest = behind(rest, end.ok_or(ErrorKind::UnexpectedEof)? + 1)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = behind(rest, 2)?;
    }
    Ok(rest)
}

fn behind(bytes: &[u8], n: usize) -> io::Result<&[u8]> {
    bytes.get(n..).ok_or(ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::{GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn decode(body: &[u8], coding: &[u8], most: usize) -> Result<Vec<u8>, ErrorKind> {
        let decoded = Decoder::default().decode(body.to_vec(), coding, most);
        decoded.map_err(|(error, same)| {
            assert_eq!(same, body);
            error.kind()
        })
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut gzip = Vec::new();
        let mut encoder = GzEncoder::new(plain, Compression::default());
        encoder.read_to_end(&mut gzip).unwrap();
        gzip
    }

    #[test]
    fn a_coding_is_undone_up_to_a_limit() {
        let compressed = |zeros: usize| {
            let zeros = vec![0; zeros];
            let mut zlib = Vec::new();
            let mut encoder = ZlibEncoder::new(&zeros[..], Compression::default());
            encoder.read_to_end(&mut zlib).unwrap();
            let gzip = gzip(&zeros);
            [("gzip", gzip.clone()), ("X-Gzip", gzip), ("Deflate", zlib)]
        };
        for (coding, body) in compressed(100) {
            let decode = |body: &[u8], most| decode(body, coding.as_bytes(), most);
            assert_eq!(decode(&body, 100), Ok(vec![0; 100]), "{coding}");
            assert_eq!(decode(&body, 99), Err(ErrorKind::FileTooLarge));
            for end in 0..body.len() {
                assert_eq!(decode(&body[..end], 100), Err(ErrorKind::UnexpectedEof));
            }
            assert_eq!(decode(b"{\"head\":{}}", 100), Err(ErrorKind::InvalidData));
        }
        assert_eq!(decode(b"{}", b"br", 100), Err(ErrorKind::Unsupported));
        assert_eq!(decode(b"{}", b"Identity", 2), Ok(b"{}".to_vec()));
        let long = decode(b"{}", b"identity", 1);
        assert_eq!(long, Err(ErrorKind::FileTooLarge));
        // However long it is.
        for (coding, body) in compressed(10 << 20) {
            let long = decode(&body, coding.as_bytes(), 100);
            assert_eq!(long, Err(ErrorKind::FileTooLarge));
        }
    }

    #[test]
    fn one_decoder_undoes_all_codings() {
        let mut decoder = Decoder::default();
        let mut zlib = Vec::new();
        let mut encoder = ZlibEncoder::new(&b"zlib"[..], Compression::default());
        encoder.read_to_end(&mut zlib).unwrap();
        for _ in 0..2 {
            let cut = decoder.decode(gzip(b"cut")[..12].to_vec(), b"gzip", 9);
            assert_eq!(cut.unwrap_err().0.kind(), ErrorKind::UnexpectedEof);
            assert_eq!(decoder.decode(gzip(b"gzip"), b"gzip", 9).unwrap(), b"gzip");
            let inflated = decoder.decode(zlib.clone(), b"deflate", 9).unwrap();
            assert_eq!(inflated, b"zlib");
        }
    }

    #[test]
    fn a_gzip_file_has_optional_fields_members_and_sums() {
        let builder = GzBuilder::new().filename("a").comment("b").extra("cd");
        let mut full = Vec::new();
        let mut encoder = builder.buf_read(&b"full"[..], Compression::default());
        encoder.read_to_end(&mut full).unwrap();
        let two = [full.clone(), gzip(b" and plain")].concat();
        assert_eq!(decode(&two, b"gzip", 100), Ok(b"full and plain".to_vec()));
        // With the sum of the header, which is not looked at.
        let mut summed = full.clone();
        summed[3] |= HEADER_CRC;
        let end = full.len() - 8 - b"full".len() - 2;
        summed.splice(end..end, [1, 2]);
        assert_eq!(decode(&summed, b"gzip", 100), Ok(b"full".to_vec()));
        for (at, changed) in [
            (0, 0),
            (2, 7),
            (3, 0x20),
            (full.len() - 8, 0),
            (full.len() - 1, 1),
        ] {
            let mut full = full.clone();
            full[at] = changed;
            let invalid = decode(&full, b"gzip", 100);
            assert_eq!(invalid, Err(ErrorKind::InvalidData), "{at}");
        }
        let behind = [&full[..], b"junk of ten"].concat();
        assert_eq!(decode(&behind, b"gzip", 100), Err(ErrorKind::InvalidData));
    }
}
