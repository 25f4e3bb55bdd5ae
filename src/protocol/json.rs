use std::borrow::Cow;
use std::fmt;

use serde_core::Deserialize;
use serde_core::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::scanner;

/// Returns a JSON string, whose escapes may be such that no Rust string holds them: then `None`.
pub(super) fn string(json: &str) -> Option<Cow<'_, str>> {
    // Checked JSON without an escape is taken as it is.
    if let Some(plain) = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
        && scanner::plain(plain.as_bytes(), 0) == plain.len()
    {
        return Some(Cow::Borrowed(plain));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// Joins a list of errors into one line; `None` for an empty list.
pub(super) fn error_text(errors: &str) -> Option<String> {
    if let Some(one) = beginning(errors) {
        return (!one.is_empty()).then(|| one.into_owned());
    }
    let list: Words = serde_json::from_str(errors).ok()?;
    list.0
}

/// Maximum length of an answer's text that is read. Far less is shown.
const MAX_WORDS: usize = 64 << 10;

/// Returns the beginning of a JSON string, and all of it where it is not too long.
fn beginning(json: &str) -> Option<Cow<'_, str>> {
    if json.len() <= MAX_WORDS || !json.starts_with('"') {
        return string(json);
    }
    // Not within an escape, the longest of which is a pair of surrogates.
    let mut ends = (MAX_WORDS - 12..=MAX_WORDS).rev();
    let cut = |end| Some(format!("{}\"", json.get(..end)?));
    ends.find_map(|end| {
        let cut = cut(end)?;
        serde_json::from_str(&cut).ok().map(Cow::Owned)
    })
}

/// The items of a list, as far as they are looked at, in one line; `None` of an empty one.
struct Words(Option<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
        let mut words: Option<String> = None;
        while let Some(item) = list.next_element::<&RawValue>()? {
            match &mut words {
                Some(words) if words.len() >= MAX_WORDS => continue,
                Some(words) => words.push_str("; "),
                None => {}
            }
            let item = beginning(item.get()).unwrap_or_else(|| {
                let text = item.get();
                let end = text.len().min(MAX_WORDS);
                let end = (0..=end).rev().find(|&end| text.is_char_boundary(end));
                Cow::Borrowed(&text[..end.unwrap_or_default()])
            });
            words.get_or_insert_default().push_str(&item);
        }
        Ok(Words(words))
    }
}
