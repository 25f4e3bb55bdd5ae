//! The man pages: made of the help texts, which they cannot differ from.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::text;

const CLIENT: &str = env!("CARGO_BIN_EXE_octave-ws");
const STAND_IN: &str = env!("CARGO_BIN_EXE_octave-sim");

const FILES: &str = ".SH FILES
The first of these that exists is read:
.TP
.I $XDG_CONFIG_HOME/octave\\-ws/config.json
.TQ
.I ~/.config/octave\\-ws/config.json
.TQ
.I /etc/octave\\-ws/config.json
The config file: a JSON object with the keys ";

const ENVIRONMENT: &str = ".TP
.BR OCTAVE_TOKEN \", \" OCTAVE_CLOUD_TOKEN
The token, unless \\-\\-token\\-file or OCTAVE_TOKEN_FILE is given.
.TP
.B CREDENTIALS_DIRECTORY
Its file octave\\-token holds the token, unless one of those above does: a credential of systemd.
.TP
.BR HTTPS_PROXY \", \" ALL_PROXY \", \" NO_PROXY
The proxy, and the hosts that need none, unless a proxy is set otherwise. Lower\\-case names work, too.
.TP
.B SSL_CERT_FILE
As \\-\\-ca\\-file, unless that is set otherwise.
";

const SIGNALS: &str = ".SH SIGNALS
.TP
.BR SIGINT \", \" SIGTERM
The run ends: it unsubscribes, closes the connection and writes what it has received, within 2 \
seconds. A second one, more than 1 second later or another signal, ends it at once, with 128 and \
its number. SIGINT is ignored if the starter ignores it.
.TP
.B SIGHUP
listen opens the file of \\-\\-output again and reads \\-\\-streams\\-file again. Without either, or if the signal comes because the terminal \
is gone, it means SIGTERM; under
.BR nohup (1)
it is ignored.
";

/// With `UPDATE_MAN_PAGES` set, they are written.
#[test]
fn the_man_pages_say_what_help_says() {
    for (program, path, files) in [(CLIENT, "octave-ws", FILES), (STAND_IN, "octave-sim", "")] {
        let page = page(path, program, files);
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("packaging/man")
            .join(path)
            .with_extension("1");
        if env::var_os("UPDATE_MAN_PAGES").is_some() {
            fs::write(&file, &page).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            page == kept,
            "{file:?} is not what --help says: set UPDATE_MAN_PAGES=1 for this test"
        );
    }
}

/// A help text.
struct Help {
    usage: String,
    about: String,
    /// By heading.
    sections: Vec<(String, String)>,
}

impl Help {
    fn of(program: &str, args: &[&str]) -> Self {
        let output = Command::new(program).args(args).output().unwrap();
        let text = text(&output.stdout);
        let (usage, rest) = text.split_once("\n\n").unwrap();
        let mut about = String::new();
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in rest.lines() {
            match line.strip_suffix(':') {
                Some(heading) if !line.starts_with(' ') => {
                    sections.push((heading.to_owned(), String::new()));
                }
                _ => {
                    let last = sections.last_mut().map_or(&mut about, |(_, text)| text);
                    *last += line;
                    *last += "\n";
                }
            }
        }
        Self {
            usage: usage.strip_prefix("Usage: ").unwrap().to_owned(),
            about,
            sections,
        }
    }

    fn section(&self, heading: &str) -> &str {
        let section = self.sections.iter().find(|(name, _)| name == heading);
        section.map_or("", |(_, text)| text)
    }

    /// The names and texts of a list: options, commands, arguments.
    fn list(&self, heading: &str) -> Vec<(String, String)> {
        let mut list: Vec<(String, String)> = Vec::new();
        for line in self
            .section(heading)
            .lines()
            .take_while(|line| line.starts_with(' '))
        {
            let line_indent = line.len() - line.trim_start().len();
            let is_name = line_indent == 2 || line.trim_start().starts_with("--");
            let line = line.trim();
            if is_name && line_indent <= 6 {
                let (name, about) = line.split_once("  ").unwrap_or((line, ""));
                list.push((name.to_owned(), about.trim().to_owned()));
            } else {
                let (_, about) = list.last_mut().unwrap();
                if !about.is_empty() {
                    *about += " ";
                }
                *about += line;
            }
        }
        list
    }
}

fn page(name: &str, program: &str, files: &str) -> String {
    let help = Help::of(program, &["--help"]);
    let mut about = help.about.trim().splitn(2, "\n\n");
    let brief = one_line(about.next().unwrap());
    let brief = brief.trim_end_matches('.');
    let (first, rest) = brief.split_at(1);
    let mut page = format!(
        ".\\\" Made of octave-ws --help by tests/program/man.rs.\n\
         .TH {} 1 \"\" \"octave\\-ws {}\" \"User Commands\"\n\
         .SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n.SH DESCRIPTION\n",
        name.to_uppercase().replace('-', "\\-"),
        env!("CARGO_PKG_VERSION"),
        roff(name),
        roff(&(first.to_lowercase() + rest)),
        roff(&help.usage),
    );
    for text in about.next().into_iter().chain([help.section("Notes")]) {
        for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
            if !page.ends_with("DESCRIPTION\n") {
                page += ".PP\n";
            }
            page += &(roff(&one_line(part)) + "\n");
        }
    }
    let commands = help.list("Commands");
    if !commands.is_empty() {
        page += ".SH COMMANDS\n";
    }
    let mut before = (String::new(), Vec::new());
    for (command, _) in &commands {
        let help = Help::of(program, &["help", command]);
        let _ = write!(
            page,
            ".SS {}\n{}\n",
            roff(&help.usage),
            roff(&one_line(&help.about))
        );
        page += &definitions(&help.list("Positional Arguments"));
        let options = help.list("Options").into_iter();
        let own = options.filter(|(name, _)| name != "-h, --help");
        let own: Vec<_> = own.collect();
        // The next command may take most of them, and no other one.
        let (of, known) = &before;
        if own.is_empty() || !own.iter().all(|option| known.contains(option)) {
            page += &definitions(&own);
            before = (command.clone(), own);
        } else {
            let others = known.iter().filter(|option| !own.contains(option));
            let others: Vec<&str> = others
                .map(|(name, _)| name.split(' ').next().unwrap())
                .collect();
            let but = match others.as_slice() {
                [] => String::new(),
                others => format!(", but for {}", others.join(", ")),
            };
            let _ = write!(page, ".PP\nIt takes the options of {of}{}.\n", roff(&but));
        }
        let _ = write!(page, ".PP\n{}\n", roff(&one_line(help.section("Notes"))));
        page += &examples(&help);
    }
    page += ".SH OPTIONS\n";
    page += &definitions(&help.list("Options"));
    if !files.is_empty() {
        let settings = settings();
        page += ".SH ENVIRONMENT\n";
        for (option, variables, _) in &settings {
            if !variables.is_empty() {
                let variables = roff(&variables.join(", "));
                let _ = write!(page, ".TP\n.B {variables}\nAs {}.\n", roff(option));
            }
        }
        page += ENVIRONMENT;
        page += files;
        let keys = settings.iter().flat_map(|(_, _, keys)| keys);
        let keys: Vec<_> = keys.map(String::as_str).collect();
        page += &(roff(&keys.join(", ")) + ".\n");
        page += SIGNALS;
    }
    page += ".SH EXIT STATUS\n";
    for line in help.section("Error codes").lines() {
        let (code, about) = line.trim().split_once(' ').unwrap();
        let _ = write!(page, ".TP\n.B {code}\n{}\n", roff(about));
    }
    let examples = examples(&help);
    if !examples.is_empty() {
        page += ".SH EXAMPLES\n";
        page += examples.trim_start_matches(".PP\n");
    }
    let other = if files.is_empty() {
        "octave\\-ws"
    } else {
        "octave\\-sim"
    };
    let _ = write!(page, ".SH SEE ALSO\n.BR {other} (1)\n");
    page
}

/// The options of the README's table, the variables and the keys of the config file that stand for
/// each.
fn settings() -> Vec<(String, Vec<String>, Vec<String>)> {
    let table = include_str!("../../README.md")
        .split_once("\n| option | environment |")
        .unwrap()
        .1;
    let code = |cell: &str| {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let option: Vec<String> = code(cells.next().unwrap());
        let option = option[0].split(' ').next().unwrap().to_owned();
        (
            option,
            code(cells.next().unwrap()),
            code(cells.next().unwrap()),
        )
    };
    let rows = table.lines().skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(row)
        .collect()
}

fn definitions(list: &[(String, String)]) -> String {
    let definition =
        |(name, about): &(String, String)| format!(".TP\n.B {}\n{}\n", roff(name), roff(about));
    list.iter().map(definition).collect()
}

fn examples(help: &Help) -> String {
    let lines = help.section("Examples").lines();
    let lines = lines.filter(|line| !line.trim().is_empty());
    let example = |line: &str| format!(".PP\n.EX\n{}\n.EE\n", roff(line.trim()));
    lines.map(example).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of text, where no character means anything else.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}
