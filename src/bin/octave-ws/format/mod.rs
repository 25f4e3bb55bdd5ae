//! The formats of a line of output.

use crate::format::header::Header;
use crate::format::table::{Kind, Table};
use crate::format::template::Template;

pub(crate) mod field;
pub(crate) mod header;
pub(crate) mod table;
pub(crate) mod template;

/// The format of a line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Event,
    Message,
    Record,
    Text,
    Template(Template),
    Table(Table),
    /// Lines go elsewhere.
    Nothing,
}

impl Format {
    /// Returns the same format for another output, whose columns may be others.
    pub(crate) fn apart(&self) -> Self {
        match self {
            Self::Table(table) => Self::Table(table.apart()),
            other => other.clone(),
        }
    }

    /// Returns the line with which each file begins. It may be known later.
    pub(crate) fn header(&self) -> Header {
        match self {
            Self::Table(table) => table.shared_header(),
            _ => Header::default(),
        }
    }

    /// Returns the table, if lines are its rows.
    pub(crate) fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// The names of formats.
pub(crate) const NAMES: [&str; 6] = ["event", "message", "record", "text", "csv", "tsv"];

/// Reads the value of `--format`.
///
/// # Errors
/// Names the wrong part, and its place.
pub(crate) fn parse(text: &str) -> Result<Format, String> {
    Ok(match text {
        "event" => Format::Event,
        "message" => Format::Message,
        "record" => Format::Record,
        "text" => Format::Text,
        "csv" => Format::Table(Table::new(Kind::Csv)),
        "tsv" => Format::Table(Table::new(Kind::Tsv)),
        _ if text.contains(['{', '}']) => Format::Template(Template::parse(text)?),
        _ => {
            let names = NAMES.join(", ");
            return Err(format!(
                "give {names}, or a text with members in braces: {{path}}"
            ));
        }
    })
}
