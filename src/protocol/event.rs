use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::Range;

use serde_core::Deserialize;

use super::json::string;
use super::scanner::members;
use super::text::{Text, detach};

/// Maximum length of a resource.
const MAX_RESOURCE: usize = 64 << 10;

/// An event of a stream, as the service sent it.
///
/// Numbers, key order, escapes, duplicate keys and unknown members are unchanged. The event refers to
/// the bytes that it was received with, often some KB: to keep many, copy [`Event::message`].
///
/// ```
/// # fn print(event: &octave_ws::Event) -> serde_json::Result<()> {
/// #[derive(serde::Deserialize)]
/// struct Elems {
///     temperature: f64,
/// }
///
/// let elems: Elems = event.elems()?;
/// println!("{:?}: {} °C", event.path(), elems.temperature);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Event {
    text: Text,
    parts: Parts,
}

/// The places of the parts of a message in its text.
#[derive(Clone)]
pub(super) struct Parts {
    message: Range<usize>,
    value: Range<usize>,
    resource: Resource,
}

/// The resource of a message, borrowed where possible. Whether the event is one of the history, which
/// always has one, takes no memory of its own.
#[derive(Clone)]
enum Resource {
    Absent,
    Plain(Range<usize>),
    Escaped(String),
    Past(Range<usize>),
    PastEscaped(Box<str>),
}

impl Event {
    #[inline]
    pub(super) fn new(text: Text, parts: Parts) -> Self {
        Self { text, parts }
    }

    /// Makes it one of the history.
    pub(super) fn set_from_history(&mut self) {
        let resource = &mut self.parts.resource;
        *resource = match mem::replace(resource, Resource::Absent) {
            Resource::Plain(range) => Resource::Past(range),
            Resource::Escaped(name) => Resource::PastEscaped(name.into()),
            other => other,
        };
    }

    /// Returns the whole message, `{"type":"message","resource":...,"value":...}`: one JSON document,
    /// which may contain line breaks between its tokens.
    pub fn message(&self) -> &str {
        &self.text[self.parts.message.clone()]
    }

    /// Returns the Event object, the `value` of the message: one JSON document, which may contain line
    /// breaks between its tokens.
    pub fn value(&self) -> &str {
        &self.text[self.parts.value.clone()]
    }

    /// Returns the `resource` of the message, which names the stream. `None` too for one over 64 KiB.
    pub fn resource(&self) -> Option<&str> {
        match &self.parts.resource {
            Resource::Absent => None,
            Resource::Plain(range) | Resource::Past(range) => Some(&self.text[range.clone()]),
            Resource::Escaped(name) => Some(name),
            Resource::PastEscaped(name) => Some(name),
        }
    }

    /// Returns whether it was read from the history instead of being pushed: its bytes may differ from
    /// those that were pushed.
    pub fn is_from_history(&self) -> bool {
        let resource = &self.parts.resource;
        matches!(resource, Resource::Past(_) | Resource::PastEscaped(_))
    }

    /// Returns the id of the event: `e` and 24 hexadecimal digits.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.string("id")
    }

    /// Returns the id of its stream.
    pub fn stream_id(&self) -> Option<Cow<'_, str>> {
        self.string("streamId")
    }

    /// Returns the path of its stream.
    pub fn path(&self) -> Option<Cow<'_, str>> {
        self.string("path")
    }

    /// Returns when the cloud received the event, in milliseconds since the Unix epoch.
    pub fn creation_date(&self) -> Option<i64> {
        self.member("creationDate")
    }

    /// Returns when the device generated the event, in milliseconds since the Unix epoch.
    pub fn generated_date(&self) -> Option<i64> {
        self.member("generatedDate")
    }

    /// Deserializes the Event object.
    ///
    /// # Errors
    /// Fails if the object does not fit the type.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.value())
    }

    /// Returns members of the Event object as raw JSON, of duplicates the last.
    pub fn members<const N: usize>(&self, names: [&str; N]) -> [Option<&str>; N] {
        members(self.value(), names).unwrap_or([None; N])
    }

    /// Returns a member within the Event object as raw JSON, by the names that lead to it: that of
    /// `["elems", "motor", "rpm"]` is a member of an object in `elems`.
    pub fn member_at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&str> {
        let mut json = self.value();
        for name in path {
            let [found] = members(json, [name]).ok()?;
            json = found?;
        }
        Some(json)
    }

    /// Deserializes the `elems` of the event; absent `elems` are `null`.
    ///
    /// # Errors
    /// Fails if `elems` do not fit the type.
    pub fn elems<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        let [elems] = self.members(["elems"]);
        serde_json::from_str(elems.unwrap_or("null"))
    }

    /// Lets go of the frame in which it came.
    pub(crate) fn detach(&mut self) {
        detach(&mut self.text);
    }

    fn string(&self, name: &str) -> Option<Cow<'_, str>> {
        let [json] = self.members([name]);
        string(json?)
    }

    fn member<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        let [member] = self.members([name]);
        serde_json::from_str(member?).ok()
    }
}

impl Parts {
    /// Locates the parts of a message, each of which was cut out of the text.
    #[inline]
    pub(super) fn new(text: &str, message: &str, value: &str, resource: Option<&str>) -> Self {
        // No stream is named so; a copy of it would take as much again.
        let resource = resource.filter(|resource| resource.len() <= MAX_RESOURCE);
        Self {
            message: range_in(message, text),
            value: range_in(value, text),
            resource: match resource.and_then(string) {
                None => Resource::Absent,
                Some(Cow::Borrowed(name)) => Resource::Plain(range_in(name, text)),
                Some(Cow::Owned(name)) => Resource::Escaped(name),
            },
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.message()).finish()
    }
}

/// The members by which an event is known again.
pub(crate) struct Key<'a> {
    pub(crate) id: Cow<'a, str>,
    /// The creation date, in milliseconds since the Unix epoch.
    pub(crate) date: i64,
    /// The names of the stream, as subscriptions may give it.
    path: Option<Cow<'a, str>>,
    stream_id: Option<Cow<'a, str>>,
    resource: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Returns `None` for an event without an id or a date.
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        let [id, date, path, stream_id] = event.members(["id", "creationDate", "path", "streamId"]);
        Some(Self {
            id: id.and_then(string)?,
            date: date?.parse().ok()?,
            path: path.and_then(string),
            stream_id: stream_id.and_then(string),
            resource: event.resource(),
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (path, stream_id) = (self.path.as_deref(), self.stream_id.as_deref());
        let is_other = |name: &&str| Some(*name) != path && Some(*name) != stream_id;
        let resource = self.resource.filter(is_other);
        path.into_iter().chain(stream_id).chain(resource)
    }
}

/// Serializes the Event object, with its own bytes where the serializer is `serde_json`'s.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Event {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_str(self.value()).map_err(serde_core::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Returns where `part`, which was cut out of `whole`, lies in it.
pub(super) fn range_in(part: &str, whole: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}
