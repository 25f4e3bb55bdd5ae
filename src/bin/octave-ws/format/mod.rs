//! The formats of a line of output.

use crate::format::template::Template;

pub(crate) mod field;
pub(crate) mod template;

/// The format of a line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Event,
    Message,
    Record,
    Text,
    Template(Template),
}

/// The names of formats.
pub(crate) const NAMES: [&str; 4] = ["event", "message", "record", "text"];

/// Reads the value of `--format`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Format, String> {
    Ok(match text {
        "event" => Format::Event,
        "message" => Format::Message,
        "record" => Format::Record,
        "text" => Format::Text,
        _ if text.contains(['{', '}']) => Format::Template(Template::parse(text)?),
        _ => {
            let names = NAMES.join(", ");
            return Err(format!(
                "give {names}, or a text with members in braces: {{path}}"
            ));
        }
    })
}
