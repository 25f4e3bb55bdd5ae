use std::borrow::Cow;
use std::fmt;

use serde_core::Deserialize;
use serde_core::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object by the given names, unparsed; of duplicates the last.
///
/// The whole text is checked to be one JSON document. Depth costs no stack.
pub(super) fn members<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> serde_json::Result<[Option<&'a RawValue>; N]> {
    struct Members<'n, const N: usize>([&'n str; N]);

    impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
        type Value = [Option<&'de RawValue>; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = [None; N];
            while let Some(Key(index)) = map.next_key_seed(KeyOf(&self.0))? {
                match index {
                    Some(index) => found[index] = Some(map.next_value()?),
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(found)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_map(Members(names))?;
    deserializer.end()?;
    // Keys were read as bytes, in which it would let control characters pass as they are. Few
    // messages have any, between their tokens.
    if json.bytes().any(|b| b < b' ') {
        serde_json::from_str::<IgnoredAny>(json)?;
    }
    Ok(found)
}

/// Which of the wanted names a key is.
struct Key(Option<usize>);

struct KeyOf<'n>(&'n [&'n str]);

impl<'de> serde_core::de::DeserializeSeed<'de> for KeyOf<'_> {
    type Value = Key;

    // As bytes, since a key with a lone surrogate is well-formed JSON and no Rust string.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeyOf<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Key, E> {
        Ok(Key(self.0.iter().position(|name| name.as_bytes() == key)))
    }
}

/// A JSON string, whose escapes may be such that no Rust string holds them: then `None`.
pub(super) fn string(json: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<JsonStr<'_>>(json.get())
        .ok()
        .map(|string| string.0)
}

/// A JSON string, borrowed where it holds no escape.
pub(super) struct JsonStr<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Str;

        impl<'de> Visitor<'de> for Str {
            type Value = JsonStr<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Str)
    }
}

/// A list of errors in one line, `None` where there is none.
pub(super) fn words(errors: &RawValue) -> Option<String> {
    if let Some(one) = beginning(errors) {
        return (!one.is_empty()).then(|| one.into_owned());
    }
    let list: Words = serde_json::from_str(errors.get()).ok()?;
    list.0
}

/// As much of an answer's words is looked at. Far less of it is shown.
const MAX_WORDS: usize = 64 << 10;

/// The beginning of a JSON string, and all of it where it is not too long.
fn beginning(json: &RawValue) -> Option<Cow<'_, str>> {
    let text = json.get();
    if text.len() <= MAX_WORDS || !text.starts_with('"') {
        return string(json);
    }
    // Not within an escape, the longest of which is a pair of surrogates.
    let ends = (MAX_WORDS - 12..=MAX_WORDS).rev();
    let cut = |end| Some(format!("{}\"", text.get(..end)?));
    { ends }.find_map(|end| {
        let cut = cut(end)?;
        let words = serde_json::from_str::<JsonStr<'_>>(&cut).ok()?;
        Some(Cow::Owned(words.0.into_owned()))
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
            let item = beginning(item).unwrap_or_else(|| {
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
