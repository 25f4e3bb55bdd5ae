//! Rows of columns: CSV and TSV.

use octave_ws::settings::Members;
use octave_ws::{Event, Printable};
use serde_core::de::IgnoredAny;

use super::field::{Arrived, Field, Value, push_in_one_line};
use super::header::Header;
use super::template::KNOWN;

/// A table, one row an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    kind: Kind,
    /// Empty until they are known.
    columns: Vec<Column>,
    /// Whether the output has a header.
    is_headed: bool,
    header: Header,
    /// Whether controls are escaped, for a terminal.
    is_for_eyes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RFC 4180, with LF at the end of lines.
    Csv,
    /// Tabs, line breaks and backslashes are escaped.
    Tsv,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    field: Field,
}

/// The columns of `--fields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns(Vec<Column>);

/// Maximum number of columns that an event suggests.
const MOST_CHOSEN: usize = 100;

/// Reads the value of `--fields`.
///
/// # Errors
/// Names the wrong field, and its place.
pub(crate) fn parse_columns(text: &str) -> Result<Columns, String> {
    let column = |(at, name): (usize, &str)| match Field::parse(name) {
        Ok(field) => {
            let name = name.to_owned();
            Ok(Column { name, field })
        }
        Err(unknown) => {
            let at = at + 1;
            Err(format!("unknown member {unknown:?} in field {at}: {KNOWN}"))
        }
    };
    let columns = text.split(',').enumerate().map(column);
    columns.collect::<Result<_, _>>().map(Columns)
}

impl Table {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            columns: Vec::new(),
            is_headed: false,
            header: Header::default(),
            is_for_eyes: false,
        }
    }

    /// Sets the columns.
    pub(crate) fn set_columns(&mut self, columns: Columns) {
        self.columns = columns.0;
    }

    /// Escapes controls from now on.
    pub(crate) fn set_for_eyes(&mut self) {
        self.is_for_eyes = true;
    }

    /// Returns the same table for another output.
    pub(super) fn apart(&self) -> Self {
        Self {
            header: Header::default(),
            ..self.clone()
        }
    }

    /// Returns the header, which is set once it is known.
    pub(super) fn shared_header(&self) -> Header {
        self.header.clone()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Checks the first line of a file, which may be torn, before anything in the file is changed.
    ///
    /// # Errors
    /// Says how the line differs.
    pub(crate) fn check(&self, first_line: &str) -> Result<(), String> {
        let found = first_line.trim_end_matches(['\n', '\r', '\0']);
        let is_torn = found.len() == first_line.len() || first_line.ends_with('\0');
        let header = self.header_line();
        let is_good = match self.columns.is_empty() {
            // Without a line, or with NULs alone after a power cut.
            _ if found.is_empty() => is_torn,
            false if is_torn => header.starts_with(found),
            false => header == found,
            true if is_torn => self.columns_of(found).is_some() || "time".starts_with(found),
            true => self.columns_of(found).is_some(),
        };
        if is_good {
            return Ok(());
        }
        let found: String = found.chars().take(80).collect();
        let found = Printable(&found);
        Err(if self.columns.is_empty() {
            format!("it begins with \"{found}\", which is not a header of this format")
        } else {
            format!(
                "it begins with \"{found}\", not with the header \"{}\"",
                Printable(&header)
            )
        })
    }

    /// Takes over an output: one without a line gets a header as soon as the columns are known, another one
    /// has it. Returns the header if it is to be written now.
    ///
    /// # Errors
    /// Says how the first line differs.
    pub(crate) fn begin(&mut self, first_line: Option<&str>) -> Result<Option<String>, String> {
        self.is_headed = first_line.is_some();
        let Some(found) = first_line else {
            self.is_headed = !self.columns.is_empty();
            return Ok(self.is_headed.then(|| self.fix_header()));
        };
        self.check(&format!("{found}\n"))?;
        if self.columns.is_empty() {
            self.columns = self.columns_of(found).unwrap_or_default();
            let names = self.names();
            log::info!("format: the columns are those of the file: --fields {names}");
        }
        self.fix_header();
        Ok(None)
    }

    /// Returns the columns of a header.
    fn columns_of(&self, header: &str) -> Option<Vec<Column>> {
        let names = match self.kind {
            Kind::Csv => cells(header)?,
            Kind::Tsv => header.split('\t').map(unescaped).collect(),
        };
        let column = |name: String| {
            let field = match (member_of_elems(&name), Field::parse(&name).ok()) {
                // `--fields` may have named several, or an event one with such a name.
                (Some(member), Some(first @ Field::First(_))) => Field::First(vec![member, first]),
                (member, field) => member.or(field)?,
            };
            Some(Column { name, field })
        };
        names.into_iter().map(column).collect()
    }

    /// Appends the row of an event, without its end, and before it the header if it is not there yet. Returns
    /// the names of the columns if they are known by this event alone.
    pub(crate) fn push(&mut self, line: &mut String, arrived: Arrived<'_>) -> Option<String> {
        let mut chosen = None;
        if !self.is_headed {
            if self.columns.is_empty() {
                self.columns = columns_by(arrived.event);
                chosen = Some(self.names());
            }
            self.is_headed = true;
            line.push_str(&self.fix_header());
            line.push('\n');
        }
        let begin = line.len();
        for (n, Column { field, .. }) in self.columns.iter().enumerate() {
            if n > 0 {
                line.push(self.separator());
            }
            match field.of(arrived) {
                Some(Value::Text(text)) => self.push_cell(line, &text),
                Some(Value::Json(json)) if json != "null" => self.push_cell(line, &json),
                Some(Value::Json(_)) | None => {}
            }
        }
        if self.kind == Kind::Csv && line.len() == begin {
            // An empty line is no row.
            line.push_str("\"\"");
        }
        chosen
    }

    /// Returns the names of the columns, as `--fields` takes them.
    fn names(&self) -> String {
        let names = self.columns.iter().map(|column| &*column.name);
        names.collect::<Vec<_>>().join(",")
    }

    fn header_line(&self) -> String {
        let mut header = String::new();
        for (n, Column { name, .. }) in self.columns.iter().enumerate() {
            if n > 0 {
                header.push(self.separator());
            }
            self.push_cell(&mut header, name);
        }
        header
    }

    /// Sets the header, which is known by now, for the files that follow. Returns it.
    fn fix_header(&self) -> String {
        let header = self.header_line();
        self.header.set(&header);
        header
    }

    fn separator(&self) -> char {
        match self.kind {
            Kind::Csv => ',',
            Kind::Tsv => '\t',
        }
    }

    fn push_cell(&self, line: &mut String, text: &str) {
        let mut escaped = String::new();
        let text = if self.is_for_eyes {
            push_in_one_line(&mut escaped, text);
            &escaped
        } else {
            text
        };
        match self.kind {
            Kind::Csv if text.contains([',', '"', '\n', '\r']) => {
                line.push('"');
                line.push_str(&text.replace('"', "\"\""));
                line.push('"');
            }
            Kind::Csv => line.push_str(text),
            Kind::Tsv => {
                for c in text.chars() {
                    match c {
                        '\t' => line.push_str("\\t"),
                        '\n' => line.push_str("\\n"),
                        '\r' => line.push_str("\\r"),
                        '\\' => line.push_str("\\\\"),
                        _ => line.push(c),
                    }
                }
            }
        }
    }
}

/// Returns the columns that an event suggests: its time, its path, and the members of its `elems`.
fn columns_by(event: &Event) -> Vec<Column> {
    let elems: Result<Members<IgnoredAny>, _> = event.elems();
    let elems = elems.map_or(Vec::new(), |Members(elems)| elems);
    let keys = elems.iter().map(|(key, _)| key);
    let mut names: Vec<String> = Vec::new();
    // A header is one line, and read again.
    for key in keys.filter(|key| !key.contains(char::is_control)) {
        let name = format!("elems.{key}");
        if names.len() < MOST_CHOSEN && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push("elems".to_owned());
    }
    let columns = ["time", "path"].map(str::to_owned).into_iter().chain(names);
    let columns = columns.filter_map(|name| {
        let field = member_of_elems(&name).or_else(|| Field::parse(&name).ok())?;
        Some(Column { name, field })
    });
    columns.collect()
}

/// Returns the field of a member of `elems` with any name.
fn member_of_elems(name: &str) -> Option<Field> {
    let key = name.strip_prefix("elems.")?;
    Some(Field::Member(vec!["elems".to_owned(), key.to_owned()]))
}

/// Returns the cells of a line of CSV, `None` where its quotation marks do not match.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let mut cell = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (text, after) = rest.split_once('"')?;
                cell.push_str(text);
                rest = after;
                match rest.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            cell.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        cells.push(cell);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(cells),
        }
    }
}

/// Returns a cell of TSV as it was before it was escaped.
fn unescaped(cell: &str) -> String {
    let mut text = String::new();
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                next => next.unwrap_or('\\'),
            },
            c => c,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(elems: &str) -> Event {
        let value = format!(r#"{{"path":"/a","creationDate":0,"elems":{elems}}}"#);
        let message =
            format!(r#"{{"type":"message","object":"event","resource":"s1","value":{value}}}"#);
        Event::from_message(message).unwrap()
    }

    fn row(table: &mut Table, elems: &str) -> String {
        let event = &event(elems);
        let mut line = String::new();
        table.push(
            &mut line,
            Arrived {
                event,
                at: "",
                count: 1,
            },
        );
        line
    }

    #[test]
    fn columns_are_those_of_the_first_event() {
        let elems =
            r#"{"b":1.50,"c\nd":0,"a,\"":"x,\"y\"\nz","a.b":{"c": [1,2]},"b":null,"":"\t\\"}"#;
        let time = "1970-01-01T00:00:00.000Z";
        let mut csv = Table::new(Kind::Csv);
        assert_eq!(csv.begin(None), Ok(None));
        let header = "time,path,elems.b,\"elems.a,\"\"\",elems.a.b,elems.";
        let first = format!("{time},/a,,\"x,\"\"y\"\"\nz\",\"{{\"\"c\"\": [1,2]}}\",\t\\");
        assert_eq!(row(&mut csv, elems), format!("{header}\n{first}"));
        assert_eq!(row(&mut csv, "7"), format!("{time},/a,,,,"));
        let mut tsv = Table::new(Kind::Tsv);
        let first = format!("{time}\t/a\t\tx,\"y\"\\nz\t{{\"c\": [1,2]}}\t\\t\\\\");
        let text = row(&mut tsv, elems);
        assert!(text.ends_with(&format!("\n{first}")), "{text}");
        let mut other = Table::new(Kind::Csv);
        assert!(row(&mut other, "[1]").starts_with("time,path,elems\n"));
    }

    #[test]
    fn the_columns_of_a_file_are_kept() {
        for kind in [Kind::Csv, Kind::Tsv] {
            let mut first = Table::new(kind);
            let elems = r#"{"a,b":1,"c.d":2,"c":{"d":9},"e|path":3,"":4,"g\\h":5}"#;
            let lines = row(&mut first, elems);
            let (header, values) = lines.split_once('\n').unwrap();
            let mut again = Table::new(kind);
            assert_eq!(again.begin(Some(header)), Ok(None));
            assert_eq!(row(&mut again, elems), values, "{header}");
            let mut given = Table::new(kind);
            given.set_columns(parse_columns("time,path").unwrap());
            let error = given.begin(Some(header)).unwrap_err();
            assert!(
                error.ends_with("not with the header \"time,path\"") || kind == Kind::Tsv,
                "{error}"
            );
            assert_eq!(given.begin(None), Ok(Some(given.header_line())));
        }
        for strange in ["{}", "a,b", "\"time", "time,path,", "time\"x"] {
            let mut table = Table::new(Kind::Csv);
            let error = table.begin(Some(strange)).unwrap_err();
            let wanted =
                format!("it begins with \"{strange}\", which is not a header of this format");
            assert_eq!(error, wanted);
        }
    }

    #[test]
    fn a_row_is_not_an_empty_line() {
        let mut table = Table::new(Kind::Csv);
        table.set_columns(parse_columns("elems.x").unwrap());
        assert_eq!(table.begin(None), Ok(Some("elems.x".to_owned())));
        assert_eq!(row(&mut table, "{}"), "\"\"");
    }

    #[test]
    fn a_wrong_field_is_named_with_its_place() {
        let error = parse_columns("time,celsius").unwrap_err();
        assert!(
            error.starts_with("unknown member \"celsius\" in field 2: "),
            "{error}"
        );
        assert!(parse_columns("").is_err());
    }
}
