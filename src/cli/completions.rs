//! Scripts by which shells complete the arguments of a program.

use std::fmt::Write;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgValue};

use super::help::plain;

/// A shell that there is a script for.
#[derive(Clone, Copy, Debug, FromArgValue)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Returns the script. `choices` are the values that options and arguments have where there are
/// few: by the name of the value.
pub fn script(shell: Shell, info: &CommandInfoWithArgs, choices: &[(&str, &[&str])]) -> String {
    let program = Program { info, choices };
    match shell {
        Shell::Bash => program.bash(),
        Shell::Zsh => program.zsh(),
        Shell::Fish => program.fish(),
    }
}

struct Program<'a> {
    info: &'a CommandInfoWithArgs,
    choices: &'a [(&'a str, &'a [&'a str])],
}

/// The values that an option takes.
enum Values {
    File,
    OneOf(String),
    Any,
}

impl Program<'_> {
    fn values(&self, value: &str) -> Values {
        match self.choices.iter().find(|(name, _)| *name == value) {
            Some((_, choices)) => Values::OneOf(choices.join(" ")),
            None if value == "FILE" => Values::File,
            // Those in capitals are kinds of values.
            None if value.contains('|') && value != value.to_uppercase() => {
                Values::OneOf(value.replace('|', " "))
            }
            None => Values::Any,
        }
    }

    /// Returns the name of a function.
    fn function(&self) -> String {
        self.info.name.replace('-', "_")
    }

    /// Returns the names of commands; help has none of argh's.
    fn commands(&self) -> String {
        let names = self.info.commands.iter().map(|command| command.name);
        names.chain(["help"]).collect::<Vec<_>>().join(" ")
    }

    fn bash(&self) -> String {
        let mut files = Vec::new();
        let mut chosen = Vec::new();
        let mut others = Vec::new();
        let mut values = String::new();
        let mut options = String::new();
        let commands = self
            .info
            .commands
            .iter()
            .map(|command| command.command.flags);
        for flag in commands.chain([self.info.flags]).flatten() {
            let FlagInfoKind::Option { arg_name } = flag.kind else {
                continue;
            };
            let pattern = names(flag).join(" | ");
            match self.values(arg_name) {
                Values::File if !files.contains(&pattern) => files.push(pattern),
                Values::Any if !others.contains(&pattern) => others.push(pattern),
                Values::OneOf(words) if !chosen.contains(&pattern) => {
                    let _ = write!(
                        values,
                        "\n    {pattern}) mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$current\"); return ;;"
                    );
                    chosen.push(pattern);
                }
                _ => {}
            }
        }
        let function = self.function();
        let mut positionals = String::new();
        for command in &self.info.commands {
            let words = all_names(command.command.flags);
            let _ = write!(options, "\n    {}) words+=' {words}' ;;", command.name);
            for positional in command.command.positionals {
                let offer = match self.values(positional.name) {
                    Values::OneOf(choices) => format!("words='{choices}'"),
                    Values::File => format!("_{function}_files; return"),
                    Values::Any => continue,
                };
                let _ = write!(positionals, "\n    {}:*) {offer} ;;", command.name);
            }
        }
        format!(
            r#"# Completion of {name} in bash.
_{function}_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
}}
_{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    # --option=value is three words.
    if [[ $current == '=' ]]; then
        current=
    elif [[ $before == '=' ]]; then
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    COMPREPLY=()
    case $before in
    {files})
        _{function}_files
        return
        ;;{values}
    {others}) return ;;
    esac
    local word command='' is_value='' words='{own} -h --help -V --version'
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        if [[ $is_value && $word != '=' ]]; then
            is_value=
            continue
        fi
        case $word in
        {files} | {chosen} | {others}) is_value=1 ;;
        -* | =) ;;
        *) [[ $command ]] || command=$word ;;
        esac
    done
    case $command in{options}
    esac
    case $command:$current in
    *:-*) ;;
    : | :* | help:*) words='{commands}' ;;{positionals}
    *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _{function} {name}
"#,
            name = self.info.name,
            files = files.join(" | "),
            chosen = chosen.join(" | "),
            others = others.join(" | "),
            own = all_names(self.info.flags),
            commands = self.commands(),
        )
    }

    fn zsh(&self) -> String {
        let spec = |flag: &FlagInfo<'_>| {
            let about = brief(flag)
                .replace('[', r"\[")
                .replace(']', r"\]")
                .replace('\'', r"'\''");
            let value = match flag.kind {
                FlagInfoKind::Switch => String::new(),
                FlagInfoKind::Option { arg_name } => match self.values(arg_name) {
                    Values::File => ":FILE:_files".to_owned(),
                    Values::OneOf(words) => format!(":{}:({words})", flag.long.trim_matches('-')),
                    Values::Any => format!(":{arg_name}: "),
                },
            };
            let equals = if value.is_empty() { "" } else { "=" };
            let long = flag.long.trim_start_matches('-');
            match flag.short {
                Some(short) => {
                    let plus = if value.is_empty() { "" } else { "+" };
                    let exclude = format!("(-{short} --{long})");
                    format!("'{exclude}'{{-{short}{plus},--{long}{equals}}}'[{about}]{value}'")
                }
                None => format!("'--{long}{equals}[{about}]{value}'"),
            }
        };
        let specs = |flags: &[FlagInfo<'_>], indent: &str| {
            let lines = without_help(flags).map(|flag| format!("\n{indent}{}", spec(flag)));
            lines.collect::<String>()
        };
        let mut commands = String::new();
        let mut cases = String::new();
        for command in &self.info.commands {
            let about = command.command.description.replace('\'', r"'\''");
            let _ = write!(commands, "\n    '{}:{about}'", command.name);
            let _ = write!(
                cases,
                "\n  {})\n    specs+=({}",
                command.name,
                specs(command.command.flags, "      ")
            );
            for positional in command.command.positionals {
                let values = match self.values(positional.name) {
                    Values::OneOf(words) => format!("({words})"),
                    Values::File => "_files".to_owned(),
                    Values::Any => " ".to_owned(),
                };
                let _ = write!(cases, "\n      '*:{}:{values}'", positional.name);
            }
            cases += "\n    )\n    ;;";
        }
        format!(
            r"#compdef {name}
# Completion of {name} in zsh.

_{function}() {{
  local curcontext=$curcontext state line
  local -a specs commands
  specs=({own}
    '(-h --help)'{{-h,--help}}'[print help]'
    '(-V --version)'{{-V,--version}}'[print the version]'
  )
  commands=({commands}
    'help:Print the help of a command.'
  )
  _arguments -C $specs '1:command:->command' '*::argument:->argument'
  case $state in
  command)
    _describe command commands
    return
    ;;
  argument) ;;
  *) return ;;
  esac
  curcontext=${{curcontext%:*}}-$line[1]:
  case $line[1] in{cases}
  help) specs=('1:command:(({all}))') ;;
  esac
  _arguments $specs
}}

if [[ $funcstack[1] = _{name} ]]; then
  _{function}
else
  compdef _{function} {name}
fi
",
            name = self.info.name,
            function = self.function(),
            own = specs(self.info.flags, "    "),
            all = self.commands(),
        )
    }

    fn fish(&self) -> String {
        let name = self.info.name;
        let mut script = format!("# Completion of {name} in fish.\ncomplete -c {name} -f\n");
        let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
        let mut line = |condition: &str, flag: &FlagInfo<'_>| {
            let _ = write!(script, "complete -c {name}{condition}");
            if let Some(short) = flag.short {
                let _ = write!(script, " -s {short}");
            }
            let _ = write!(script, " -l {}", flag.long.trim_start_matches('-'));
            if let FlagInfoKind::Option { arg_name } = flag.kind {
                let _ = match self.values(arg_name) {
                    Values::File => write!(script, " -r -F"),
                    Values::OneOf(words) => write!(script, " -x -a '{words}'"),
                    Values::Any => write!(script, " -x"),
                };
            }
            let _ = writeln!(script, " -d '{}'", quoted(&brief(flag)));
        };
        for flag in without_help(self.info.flags) {
            line("", flag);
        }
        for command in &self.info.commands {
            let condition = format!(" -n '__fish_seen_subcommand_from {}'", command.name);
            for flag in without_help(command.command.flags) {
                line(&condition, flag);
            }
        }
        let _ = writeln!(
            script,
            "complete -c {name} -s h -l help -d 'print help'\n\
             complete -c {name} -s V -l version -d 'print the version'"
        );
        for command in &self.info.commands {
            let about = quoted(command.command.description);
            let _ = writeln!(
                script,
                "complete -c {name} -n __fish_use_subcommand -a {} -d '{about}'",
                command.name
            );
            for positional in command.command.positionals {
                let values = match self.values(positional.name) {
                    Values::OneOf(words) => format!("-a '{words}'"),
                    Values::File => "-F".to_owned(),
                    Values::Any => continue,
                };
                let condition = format!("__fish_seen_subcommand_from {}", command.name);
                let _ = writeln!(script, "complete -c {name} -n '{condition}' {values}");
            }
        }
        let _ = writeln!(
            script,
            "complete -c {name} -n __fish_use_subcommand -a help -d 'Print the help of a command.'\n\
             complete -c {name} -n '__fish_seen_subcommand_from help' -a '{}'",
            self.commands()
        );
        script
    }
}

/// `-C` and `--count`.
fn names(flag: &FlagInfo<'_>) -> Vec<String> {
    let short = flag.short.map(|short| format!("-{short}"));
    let long = format!("--{}", flag.long.trim_start_matches('-'));
    short.into_iter().chain([long]).collect()
}

fn all_names(flags: &[FlagInfo<'_>]) -> String {
    without_help(flags)
        .flat_map(names)
        .collect::<Vec<_>>()
        .join(" ")
}

/// All but the one that all commands have.
fn without_help<'a>(flags: &'a [FlagInfo<'a>]) -> impl Iterator<Item = &'a FlagInfo<'a>> {
    flags.iter().filter(|flag| flag.long != "--help")
}

/// Returns the description of a flag, shortened to a few words.
fn brief(flag: &FlagInfo<'_>) -> String {
    let text = plain(flag.description);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let ends = [": ", "; "].map(|end| text.find(end).unwrap_or(text.len()));
    let end = ends[0].min(ends[1]);
    match text.find('(') {
        // The default is in it.
        Some(bracket) if bracket < end => text,
        _ => text[..end].to_owned(),
    }
}
