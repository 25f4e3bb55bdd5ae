//! Rewrites arguments as people type them into the form that argh parses.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

/// The arguments, or what they ask for instead of a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Normalized {
    /// For argh: one value or switch a word, the program's own options before the command.
    Run(Vec<String>),
    /// For argh, which then has the help text.
    Help(Vec<String>),
    Version,
    /// There is no command.
    Nothing,
}

/// argh knows neither `--option=value` nor `-C5` nor `-vv`, and wants the program's own options
/// before the command and the command's after it. Here they may stand anywhere before a `--`.
///
/// # Errors
/// In one line, what cannot be understood.
pub fn normalize(
    info: &CommandInfoWithArgs,
    typed: impl IntoIterator<Item = String>,
) -> Result<Normalized, String> {
    let mut words = typed.into_iter();
    let mut sorted = Sorted::default();
    let mut help = false;
    while let Some(word) = words.next() {
        if word == "--" {
            if sorted.command.is_none()
                && let Some(word) = words.next()
            {
                sorted.begin(info, word)?;
            }
            sorted.positional.extend(words.by_ref());
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "help" => help = true,
                "version" => return Ok(Normalized::Version),
                _ => {
                    let flag = Flag::find(info, |flag| flag.long.trim_start_matches('-') == name)
                        .ok_or_else(|| no_option(info, name))?;
                    sorted.push(&flag, value, &mut words)?;
                }
            }
        } else if word.len() > 1 && word.starts_with('-') {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                match letter {
                    'h' => help = true,
                    'V' => return Ok(Normalized::Version),
                    _ => {
                        let flag = Flag::find(info, |flag| flag.short == Some(letter))
                            .ok_or_else(|| format!("no option -{letter}"))?;
                        let rest = letters.as_str();
                        let attached = flag.takes_value && !rest.is_empty();
                        let value = attached.then(|| rest.to_owned());
                        sorted.push(&flag, value, &mut words)?;
                        if attached {
                            break;
                        }
                    }
                }
            }
        } else if sorted.command.is_none() && word == "help" && !help {
            help = true;
        } else if sorted.command.is_none() && word == "version" {
            return Ok(Normalized::Version);
        } else {
            sorted.begin(info, word)?;
        }
    }
    if help {
        let command = sorted.command.into_iter();
        return Ok(Normalized::Help(
            command.chain(["--help".to_owned()]).collect(),
        ));
    }
    if sorted.command.is_none() && !info.commands.is_empty() {
        return Ok(Normalized::Nothing);
    }
    Ok(Normalized::Run(sorted.into_words()))
}

fn no_command(info: &CommandInfoWithArgs, word: &str) -> String {
    let names: Vec<&str> = info.commands.iter().map(|command| command.name).collect();
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("no command {word:?}: did you mean {name}?"),
        None => format!("no command {word:?}: the commands are {}", names.join(", ")),
    }
}

fn no_option(info: &CommandInfoWithArgs, name: &str) -> String {
    let commands = info.commands.iter();
    let flags = commands.flat_map(|command| command.command.flags);
    let flags = info.flags.iter().chain(flags);
    let names: Vec<_> = flags
        .map(|flag| flag.long.trim_start_matches('-'))
        .collect();
    let longer = || {
        let longer = names
            .iter()
            .find(|other| other.starts_with(&format!("{name}-")));
        longer.copied()
    };
    match nearest(name, names.iter().copied()).or_else(longer) {
        Some(meant) => format!("no option --{name}: did you mean --{meant}?"),
        None => format!("no option --{name}"),
    }
}

/// Returns the name that was probably meant: of three letters one may be wrong.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names = names.map(|name| (strsim::damerau_levenshtein(word, name), name));
    let (distance, name) = names.min()?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

#[derive(Default)]
struct Sorted {
    own: Vec<(String, Option<String>)>,
    command: Option<String>,
    options: Vec<(String, Option<String>)>,
    positional: Vec<String>,
}

impl Sorted {
    /// Takes the command, or a positional argument behind it.
    fn begin(&mut self, info: &CommandInfoWithArgs, word: String) -> Result<(), String> {
        if self.command.is_some() || info.commands.is_empty() {
            self.positional.push(word);
        } else if info.commands.iter().any(|command| command.name == word) {
            self.command = Some(word);
        } else {
            return Err(no_command(info, &word));
        }
        Ok(())
    }

    fn push(
        &mut self,
        flag: &Flag,
        value: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let place = if flag.is_own {
            &mut self.own
        } else {
            &mut self.options
        };
        let name = &flag.name;
        let value = match value {
            Some(_) if !flag.takes_value => return Err(format!("{name} takes no value")),
            None if flag.takes_value => {
                let value = words.next();
                Some(value.ok_or_else(|| format!("{name} takes a value"))?)
            }
            value => value,
        };
        // A value that is given again counts as it was given last; a switch may be counted.
        if value.is_some() && !flag.is_list {
            place.retain(|(other, _)| other != name);
        }
        place.push((name.clone(), value));
        Ok(())
    }

    fn into_words(self) -> Vec<String> {
        let words = |options: Vec<(String, Option<String>)>| {
            let words = options.into_iter();
            words.flat_map(|(name, value)| [Some(name), value].into_iter().flatten())
        };
        let own = words(self.own).chain(self.command);
        let mut words: Vec<String> = own.chain(words(self.options)).collect();
        if !self.positional.is_empty() {
            words.push("--".to_owned());
            words.extend(self.positional);
        }
        words
    }
}

/// An option, of the program itself or of one of its commands.
struct Flag {
    name: String,
    takes_value: bool,
    /// Whether each of its values counts.
    is_list: bool,
    is_own: bool,
}

impl Flag {
    fn find(info: &CommandInfoWithArgs, is_it: impl Fn(&FlagInfo<'_>) -> bool) -> Option<Self> {
        let own = info.flags.iter().map(|flag| (flag, true));
        let of_commands = info
            .commands
            .iter()
            .flat_map(|command| command.command.flags);
        let mut all = own.chain(of_commands.map(|flag| (flag, false)));
        let (flag, is_own) = all.find(|(flag, _)| is_it(flag))?;
        Some(Self {
            name: format!("--{}", flag.long.trim_start_matches('-')),
            takes_value: matches!(flag.kind, FlagInfoKind::Option { .. }),
            is_list: flag.optionality == Optionality::Repeating,
            is_own,
        })
    }
}
