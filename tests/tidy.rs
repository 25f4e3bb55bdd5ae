//! Rules of the house.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_test_that_the_table_of_faults_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let mut functions = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("fn "));
        functions.extend(names.filter_map(|name| Some(name.split_once('(')?.0.to_owned())));
    }
    let table = include_str!("faults.md");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut named = tests.split('`').skip(1).step_by(2).peekable();
        assert!(named.peek().is_some(), "no test: {row}");
        for name in named {
            let is_script = name.contains('/') && root.join(name).exists();
            assert!(is_script || functions.contains(name), "no test {name}");
        }
    }
}

#[test]
fn one_room_knows_each_library_and_few_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    for (library, rooms) in [
        (
            "tungstenite::",
            &[
                "socket.rs",
                "handshake.rs",
                "text.rs",
                "compression.rs",
                "failure.rs",
                "tests.rs",
            ][..],
        ),
        ("zlib_rs::", &["inflate.rs", "decoder.rs"]),
        (
            "ureq::",
            &["link_transport.rs", "request.rs", "endpoint.rs"],
        ),
        (
            "argh::",
            &[
                "args.rs",
                "parse.rs",
                "receivers.rs",
                "values.rs",
                "completions.rs",
                "help.rs",
                "normalize.rs",
            ],
        ),
        (
            "rustix::event::{PollFd, PollFlags, Timespec, poll}",
            &["poll.rs"],
        ),
        // Clocks of gateways are wrong, and are set: no deadline may go by them.
        ("SystemTime::now", &["clock.rs", "cloud.rs", "http.rs"]),
    ] {
        for file in &files {
            let name = file.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(file).unwrap();
            let knows = text.lines().any(|line| {
                let code = line.trim_start();
                !code.starts_with("//") && code.contains(library)
            });
            assert!(!knows || rooms.contains(&name), "{file:?} knows {library}");
        }
    }
}

/// The rooms of the library and of the program, each above all that it may know.
const LIBRARY: [&str; 27] = [
    "lib",
    "capi",
    "cli",
    "settings",
    "sim",
    "echo",
    "client",
    "connection",
    "history",
    "session",
    "exchange",
    "websocket",
    "transport",
    "http",
    "config",
    "credentials",
    "source",
    "endpoint",
    "update",
    "step",
    "logger",
    "error",
    "protocol",
    "secret",
    "printable",
    "wait",
    "clock",
];
const PROGRAM: [&str; 9] = [
    "main", "commands", "status", "output", "settings", "format", "exit", "signals", "wait",
];

#[test]
fn a_room_knows_those_below_it_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, rooms) in [("src", &LIBRARY[..]), ("src/bin/octave-ws", &PROGRAM)] {
        let folder = root.join(folder);
        let mut files = Vec::new();
        sources(&folder, &mut files);
        for file in files {
            let within = file.strip_prefix(&folder).unwrap();
            let own = within.components().next().unwrap().as_os_str();
            let own = own.to_str().unwrap().trim_end_matches(".rs");
            // Programs are no part of the library, and tests may go the other way.
            if own == "bin" || within.ends_with("tests.rs") {
                continue;
            }
            let place = |room: &str| rooms.iter().position(|known| *known == room);
            let own = place(own).unwrap_or_else(|| panic!("{within:?} is in no room"));
            let text = fs::read_to_string(&file).unwrap();
            let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for known in line.split("crate::").skip(1) {
                    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
                    let end = known.find(|c| !is_name(c)).unwrap_or(known.len());
                    let known = place(&known[..end]);
                    assert!(known.is_none_or(|known| known >= own), "{within:?}: {line}");
                }
            }
        }
    }
}

/// The modules below a folder, each with those that its code names as `crate::..` or `super::..`.
fn modules(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    sources(folder, &mut files);
    let path_of = |file: &PathBuf| {
        let within = file.strip_prefix(folder).unwrap().with_extension("");
        let path = within.to_str().unwrap().replace('/', "::");
        path.trim_end_matches("::mod").to_owned()
    };
    files.retain(|file| !path_of(file).starts_with("bin::") && !file.ends_with("tests.rs"));
    let names: BTreeSet<String> = files.iter().map(path_of).collect();
    let known = |file: &PathBuf| {
        let own = path_of(file);
        let is_folder = file.ends_with("mod.rs");
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let text = fs::read_to_string(file).unwrap();
        let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        let code = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let mut known = BTreeSet::new();
        for line in code {
            let absolute = line.split("crate::").skip(1).map(str::to_owned);
            let beside = line.split("super::").skip(1).filter(|_| !is_folder);
            let beside = beside.map(|name| format!("{parent}::{name}"));
            for path in absolute.chain(beside) {
                let is_path = |c: char| c.is_ascii_lowercase() || "_:".contains(c);
                let end = path.find(|c| !is_path(c)).unwrap_or(path.len());
                let mut path = path[..end].trim_matches(':');
                while !names.contains(path)
                    && let Some((shorter, _)) = path.rsplit_once("::")
                {
                    path = shorter;
                }
                known.extend(names.get(path).filter(|name| **name != own).cloned());
            }
        }
        (own, known)
    };
    files.iter().map(known).collect()
}

#[test]
fn no_two_modules_need_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "src/bin/octave-ws", "src/bin/octave-sim"] {
        let mut modules = modules(&root.join(folder));
        assert!(modules.values().any(|known| !known.is_empty()), "{folder}");
        // Removes modules that need no remaining one, until none is left.
        loop {
            let left: BTreeSet<String> = modules.keys().cloned().collect();
            let before = modules.len();
            modules.retain(|_, known| !known.is_disjoint(&left));
            if modules.len() == before {
                break;
            }
        }
        assert!(
            modules.is_empty(),
            "{folder}: in a circle, or above one: {modules:?}"
        );
    }
}

/// Words that say less than the term of the field, or that a sentence with a subject does not need.
const IDIOMS: [&str; 9] = [
    "anew", "goes on", "is none", "are none", "is told", "are told", "nobody", "whoever", "may do ",
];

#[test]
fn comments_name_their_subject() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        sources(&root.join(folder), &mut files);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut is_first = true;
        for line in text.lines() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                is_first = true;
                continue;
            };
            let lower = comment.to_lowercase();
            let idiom = IDIOMS.iter().find(|idiom| lower.contains(*idiom));
            assert_eq!(idiom, None, "{file:?}: {line}");
            let is_doc = is_first && comment.starts_with(['/', '!']);
            if is_doc && file.starts_with(root.join("src")) {
                let begins = |word: &&&str| comment[1..].trim_start().starts_with(**word);
                let word = ["What ", "How ", "Who "].iter().find(begins);
                assert_eq!(word, None, "{file:?}: {line}");
            }
            is_first = false;
        }
    }
}

/// The longest that a file may be, in lines, without its tests.
const MAX_LINES: usize = 400;

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    files.retain(|file| !file.ends_with("tests.rs"));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        assert!(code.lines().count() <= MAX_LINES, "{file:?}");
    }
}

/// What waits, blocks or does so where its descriptor does.
const WAITS: [&str; 18] = [
    "poll(",
    "sleep(",
    "LockShared",
    "LockExclusive",
    "io::stdin()",
    "io::stdout()",
    "io::stderr()",
    "print!(",
    "println!(",
    "eprint!(",
    "eprintln!(",
    "File::open(",
    "OpenOptions::new()",
    "fs::read(",
    "read_to_string(io",
    "fs::read_to_string(",
    "set_write_timeout(",
    "recv_timeout(",
];

#[test]
fn the_program_waits_in_one_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/octave-ws");
    let mut files = Vec::new();
    sources(&root, &mut files);
    // What opens so that nothing blocks, regular files, locks that are only tried, and asking
    // whether a stream is a terminal.
    let allowed = [
        ("wait/mod.rs", &["poll("][..]),
        ("wait/sink.rs", &["io::stderr()", "OpenOptions::new()"]),
        ("wait/terminal.rs", &["io::stdout()", "io::stderr()"]),
        ("wait/source.rs", &["io::stdin()", "OpenOptions::new()"]),
        (
            "output/target.rs",
            &[
                "LockShared",
                "LockExclusive",
                "OpenOptions::new()",
                "File::open(",
            ],
        ),
        ("output/replace.rs", &["OpenOptions::new()"]),
        ("output/state.rs", &["OpenOptions::new()"]),
        (
            "settings/mod.rs",
            &["io::stdin()", "io::stdout()", "io::stderr()"],
        ),
        ("commands/shell/mod.rs", &["io::stdout()"]),
    ];
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        let allowed = allowed.iter().find(|(name, _)| Path::new(name) == within);
        let allowed = allowed.map_or(&[][..], |(_, allowed)| allowed);
        let text = fs::read_to_string(&file).unwrap();
        // What tests wait for does not keep the program waiting.
        let (program, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        for line in program.lines() {
            let code = line.trim_start();
            // One by one: a wait is a method of this name, too.
            let waits = |wait: &&&str| !code.starts_with("//") && code.contains(**wait);
            let found = WAITS
                .iter()
                .find(|wait| waits(wait) && !allowed.contains(wait));
            assert_eq!(found, None, "{file:?}: {line}");
        }
    }
    let target = fs::read_to_string(root.join("output/target.rs")).unwrap();
    let locks = target.matches("FlockOperation::").count();
    assert_eq!(locks, target.matches("FlockOperation::NonBlocking").count());
}

#[test]
fn the_packages_have_the_version_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    let debian = include_str!("../packaging/debian/changelog");
    assert!(debian.starts_with(&format!("octave-ws ({version}-1) ")));
    let openwrt = include_str!("../packaging/openwrt/Makefile");
    assert!(openwrt.contains(&format!("\nPKG_VERSION:={version}\n")));
}
