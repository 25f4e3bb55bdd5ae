//! The README, `--help` and the program say the same.

use std::collections::BTreeSet;
use std::process::Command;

use super::{octave_ws, start, stderr, text};

const README: &str = include_str!("../../README.md");

const SIM: &str = env!("CARGO_BIN_EXE_octave-sim");

fn help(args: &[&str]) -> String {
    help_of(env!("CARGO_BIN_EXE_octave-ws"), args)
}

fn help_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    text(&output.stdout).to_owned()
}

/// Words that begin with `start` and continue with letters, hyphens and underscores.
fn words<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).map(move |(at, _)| {
        let is_part = |c: char| c.is_ascii_alphabetic() || "-_".contains(c);
        let rest = &text[at..];
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The rows of the README's tables below a heading, by their columns.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = README.split_once(&format!("# {heading}\n")).unwrap().1;
    let section = section.split("\n#").next().unwrap();
    let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---");
    let rows = section.lines().filter(is_row).skip(1);
    rows.map(|row| row.split('|').skip(1).map(str::trim).collect())
        .collect()
}

#[test]
fn each_option_of_help_is_in_the_readme_and_the_other_way_about() {
    for (heading, args) in [
        ("Print events: listen", vec!["listen", "-h"]),
        ("Settings", vec!["-h"]),
        ("Try it: octave-sim", vec![SIM, "-h"]),
    ] {
        let help = match args[..] {
            [SIM, ..] => help_of(SIM, &args[1..]),
            _ => help(&args),
        };
        let options = help.split_once("Options:").unwrap().1;
        let options = options.split("\n\n").next().unwrap();
        let is_option = |line: &&str| line.trim_start().starts_with('-');
        let offered: BTreeSet<&str> = options
            .lines()
            .filter(is_option)
            .filter_map(|line| words(line, "--").next())
            .filter(|option| *option != "--help")
            .collect();
        let told: BTreeSet<&str> = rows(heading)
            .iter()
            .filter_map(|row| words(row[0], "--").next())
            .collect();
        assert_eq!(offered, told, "{heading}");
    }
    for (command, option) in [("session", "--url"), ("doctor", "--json")] {
        assert!(help(&[command, "-h"]).contains(&format!(" {option} ")));
        assert!(README.contains(option), "{option}");
    }
    for args in [
        &["-h"][..],
        &["listen", "-h"],
        &["capture", "-h"],
        &["history", "-h"],
        &["session", "-h"],
        &["shell", "-h"],
        &["doctor", "-h"],
        &["completions", "-h"],
    ] {
        let help = help(args);
        let fits = |line: &str| line.chars().count() <= 80;
        assert!(help.lines().all(fits), "{help}");
    }
}

#[test]
fn each_variable_of_help_is_in_the_readme() {
    for variable in words(&help(&["-h"]), "OCTAVE_") {
        let row = format!("`{variable}`");
        assert!(README.contains(&row), "{variable}");
    }
}

#[test]
fn each_config_key_is_in_the_readme_and_the_other_way_about() {
    let (sim, _seen) = start(0.0);
    let config = super::file(&sim, "config.json", r#"{"none": ""}"#);
    let mut command = octave_ws(&sim, &["listen", "/a", "--config"]);
    let output = command.arg(config).output().unwrap();
    let (_, keys) = stderr(&output).split_once("the keys are ").unwrap();
    let told: BTreeSet<&str> = rows("Settings")
        .iter()
        .map(|row| row[2].trim_matches('`'))
        .filter(|key| !key.is_empty())
        .collect();
    assert_eq!(keys.trim().split(", ").collect::<BTreeSet<_>>(), told);
}

#[test]
fn help_has_commands_first_and_the_exit_codes_of_the_readme() {
    let help = help(&["-h"]);
    let (commands, options) = (help.find("\nCommands:\n"), help.find("\nOptions:\n"));
    assert!(commands.is_some() && commands < options, "{help}");
    let codes = help.split_once("Error codes:\n").unwrap().1;
    let offered: Vec<&str> = codes
        .lines()
        .map(|line| line.trim().split(' ').next().unwrap())
        .collect();
    let told: Vec<&str> = rows("Exit codes").iter().map(|row| row[0]).collect();
    assert_eq!(offered, told);
}
