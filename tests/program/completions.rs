//! Completion in shells.

use std::io::Write;
use std::process::{Command, Output};

use super::{COMMANDS, text};

fn octave_ws(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octave-ws"));
    command.args(args).output().unwrap()
}

fn script(shell: &str) -> String {
    let output = octave_ws(&["completions", shell]);
    assert!(output.status.success());
    text(&output.stdout).to_owned()
}

/// What bash offers for the last of the words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = script("bash");
    let complete = r#"COMP_WORDS=(octave-ws "$@") COMP_CWORD=$#
        _octave_ws
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{script}\n{complete}"), "bash"]);
    let output = bash.args(words).output().unwrap();
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_options_values_and_files() {
    if Command::new("bash").arg("--version").output().is_err() {
        let test = "bash_offers_commands_options_values_and_files";
        let _ = writeln!(std::io::stderr(), "{test}: not run: it takes bash");
        return;
    }
    assert_eq!(offered(&["li"]), ["listen"]);
    assert_eq!(offered(&["--quiet", "li"]), ["listen"]);
    // A value is no command.
    assert_eq!(offered(&["--company", "listen", "do"]), ["doctor"]);
    assert_eq!(offered(&["--company", "=", "listen", "do"]), ["doctor"]);
    assert_eq!(offered(&["--format", "text", "li"]), ["listen"]);
    assert_eq!(offered(&["help", "ca"]), ["capture"]);
    assert_eq!(offered(&["listen", "--strea"]), ["--streams-file"]);
    // Options of the program are taken after the command, too; those of another command are not.
    assert_eq!(offered(&["listen", "--user"]), ["--user"]);
    assert_eq!(offered(&["doctor", "--js"]), ["--json"]);
    assert_eq!(offered(&["listen", "--js"]), [""]);
    let formats = ["event", "message", "record", "text", "csv", "tsv"];
    assert_eq!(offered(&["listen", "--format", ""]), formats);
    assert_eq!(offered(&["listen", "--format", "=", "te"]), ["text"]);
    assert_eq!(offered(&["listen", "--format", "="]), formats);
    assert_eq!(offered(&["capture", "--require", "a"]), ["all", "any"]);
    assert_eq!(offered(&["completions", ""]), ["bash", "zsh", "fish"]);
    assert_eq!(offered(&["--endpoint", ""]), [""]);
    assert_eq!(offered(&["listen", "/"]), [""]);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.tom");
    assert_eq!(offered(&["--config", manifest]), [format!("{manifest}l")]);
    assert_eq!(offered(&["status", manifest]), [format!("{manifest}l")]);
    assert_eq!(offered(&["--log-format", ""]), ["text", "json"]);
    assert_eq!(offered(&["history", "--since", ""]), [""]);
}

#[test]
fn each_option_of_help_is_completed() {
    let scripts = ["bash", "zsh", "fish"].map(script);
    for command in COMMANDS {
        for args in [vec!["--help"], vec![command, "--help"]] {
            let output = octave_ws(&args);
            for line in text(&output.stdout).lines() {
                let Some((_, rest)) = line.split_once("--") else {
                    continue;
                };
                if !line.starts_with("  -") && !line.starts_with("      --") {
                    continue;
                }
                let name = rest.split_whitespace().next().unwrap();
                let [bash, zsh, fish] = &scripts;
                assert!(bash.contains(&format!("--{name}")), "{name}");
                assert!(zsh.contains(&format!("--{name}")), "{name}");
                assert!(fish.contains(&format!("-l {name} ")), "{name}");
            }
        }
        let [bash, zsh, fish] = &scripts;
        assert!(bash.contains(&format!(" {command} ")) || bash.contains(&format!("'{command} ")));
        assert!(zsh.contains(&format!("'{command}:")));
        assert!(fish.contains(&format!("-a {command} ")));
    }
}

#[test]
fn an_unknown_shell_is_a_usage_error() {
    let output = octave_ws(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("tcsh"), "{output:?}");
}

#[test]
#[ignore = "needs zsh and fish"]
fn zsh_and_fish_take_their_scripts() {
    let run = |shell: &str, args: &[&str], script: &str| {
        let output = Command::new(shell).args(args).arg(script).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        text(&output.stdout).to_owned()
    };
    let load = "autoload -U compinit; compinit -D -u\n";
    let told = "\nprint $_comps[octave-ws]";
    let zsh = [load, &script("zsh"), told].concat();
    assert_eq!(run("zsh", &["-f", "-c"], &zsh), "_octave_ws\n");
    let ask = "\ncomplete -C 'octave-ws listen --format m'";
    let fish = script("fish") + ask;
    assert_eq!(
        run("fish", &["--no-config", "-c"], &fish),
        "message\toutput format\n"
    );
}
