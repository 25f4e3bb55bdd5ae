//! Help texts, as far as argh does not make them: it shows neither the values of options nor their
//! defaults.

use argh::{FlagInfo, FlagInfoKind};

/// Width of help texts, in columns.
const WIDTH: usize = 80;

/// Replaces the options of a help text of argh's, and puts them after its commands.
pub fn with_options(text: &str, flags: &[FlagInfo<'_>], note: &str) -> String {
    const HEADING: &str = "\nOptions:\n";
    let Some((before, rest)) = text.split_once(HEADING) else {
        return text.to_owned();
    };
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let (commands, after) = match after.split_once("\n\n") {
        Some((commands, after)) if commands.starts_with("Commands:\n") => {
            (format!("\n{commands}\n"), after)
        }
        _ => (String::new(), after),
    };
    let options = options(flags);
    format!("{before}{commands}{HEADING}{options}{note}\n{after}")
}

fn options(flags: &[FlagInfo<'_>]) -> String {
    // argh's --help has no short name there.
    let flags = flags.iter().filter(|flag| flag.long != "--help");
    let mut names: Vec<(String, String)> = flags
        .map(|flag| (name(flag), plain(flag.description)))
        .collect();
    names.push(("-h, --help".to_owned(), "print this help".to_owned()));
    let width = names.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let described = |(name, description): &(String, String)| {
        let lines = wrapped(description, WIDTH - width - 4);
        let indent = format!("\n{:width$}", "", width = width + 4);
        format!("  {name:width$}  {}\n", lines.join(&indent))
    };
    names.iter().map(described).collect()
}

/// Formats the usage error of argh as one line.
pub fn in_one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // A list follows a colon.
    let line = lines.join("; ").trim_end_matches("; ").replace(":; ", ": ");
    // The errors of streams and options name them.
    if let Some(argument) = line.strip_prefix("Unrecognized argument: ") {
        return format!("unexpected argument {argument}");
    }
    let Some(rest) = line.strip_prefix("Error parsing ") else {
        return line;
    };
    let option = rest.strip_prefix("option '").and_then(|rest| {
        let (name, rest) = rest.split_once("' with value '")?;
        let (value, why) = rest.split_once("': ")?;
        Some(format!("{name} {value}: {why}"))
    });
    let positional = || {
        let rest = rest.strip_prefix("positional argument '")?;
        let (_, rest) = rest.split_once("' with value '")?;
        let (value, why) = rest.split_once("': ")?;
        let is_named = why.contains(value);
        Some(if is_named {
            why.to_owned()
        } else {
            format!("{value}: {why}")
        })
    };
    option.or_else(positional).unwrap_or(line)
}

/// Returns the text of a usage error, with a hint at `--help` unless the text has a hint.
pub fn with_hint(what: &str) -> String {
    let hint = if what.contains("(see --") {
        ""
    } else {
        " (see --help)"
    };
    format!("usage: {what}{hint}")
}

/// Returns a text without what format strings have for braces.
pub(super) fn plain(text: &str) -> String {
    text.replace("{{", "{").replace("}}", "}")
}

/// `-C, --count N`.
fn name(flag: &FlagInfo<'_>) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None => "    ".to_owned(),
    };
    let long = flag.long.trim_start_matches('-');
    match flag.kind {
        FlagInfoKind::Switch => format!("{short}--{long}"),
        FlagInfoKind::Option { arg_name } => format!("{short}--{long} {arg_name}"),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let end = lines.len() - 1;
        let line = &mut lines[end];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_between_words() {
        assert_eq!(wrapped("a bc  def\ng", 5), ["a bc", "def g"]);
        assert_eq!(wrapped("longest a", 3), ["longest", "a"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
