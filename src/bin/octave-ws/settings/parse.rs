//! The arguments, read; and what is printed of them: help, completions.

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FromArgs, SubCommandInfo};
use octave_ws::cli::completions::{self, Shell};
use octave_ws::cli::help;
use octave_ws::cli::normalize::{Normalized, normalize};

use crate::format;
use crate::settings::args::Args;

/// The request of the command line.
pub(crate) enum Asked {
    Run(Box<Args>),
    /// A text to print on standard output.
    Text(String),
    /// There is no command. A text says which there are.
    Nothing(String),
}

/// The last line of the help without options.
const MORE: &str = "Run octave-ws help, or octave-ws help COMMAND, for more.";

/// The line that says where the other options are listed.
const CONNECTION_OPTIONS: &str = "
The connection options are listed by octave-ws --help.
";

impl Args {
    /// Returns a script that completes the arguments in a shell.
    pub(crate) fn completions(shell: Shell) -> String {
        let choices: [(&str, &[&str]); 2] = [
            ("FORMAT", &format::NAMES),
            ("SHELL", &["bash", "zsh", "fish"]),
        ];
        // argh does not know the name of the program.
        let info = CommandInfoWithArgs {
            name: "octave-ws",
            ..Self::get_args_info()
        };
        completions::script(shell, &info, &choices)
    }

    /// Reads the arguments, that of the program's own name excepted.
    ///
    /// # Errors
    /// In one line, what is wrong with them.
    pub(crate) fn parse(typed: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let info = Self::get_args_info();
        let words = match normalize(&info, typed)? {
            Normalized::Run(words) => words,
            Normalized::Help(words) => return Ok(Asked::Text(Self::help(&info, &words))),
            Normalized::Version => {
                let version = concat!("octave-ws ", env!("CARGO_PKG_VERSION"));
                return Ok(Asked::Text(version.to_owned()));
            }
            Normalized::Nothing => {
                let help = Self::help(&info, &["--help".to_owned()]);
                let commands = help.split("Options:\n").next().unwrap_or_default();
                return Ok(Asked::Nothing(format!("{commands}{MORE}")));
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match Self::from_args(&["octave-ws"], &words) {
            Ok(args) => Ok(Asked::Run(Box::new(args))),
            Err(EarlyExit { output, .. }) => Err(help::in_one_line(&output)),
        }
    }

    /// Returns the help text of the program, or of the command that the words name.
    fn help(info: &CommandInfoWithArgs, words: &[String]) -> String {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = match Self::from_args(&["octave-ws"], &words) {
            Err(EarlyExit { output, .. }) => output,
            Ok(_) => String::new(),
        };
        let named = |command: &&SubCommandInfo| words.contains(&command.name);
        match info.commands.iter().find(named) {
            Some(command) => help::with_options(&text, command.command.flags, CONNECTION_OPTIONS),
            None => help::with_options(&text, info.flags, ""),
        }
    }
}
