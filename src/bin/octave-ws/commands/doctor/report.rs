//! The report of `doctor`: a line for each stage, as soon as the stage is over.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use octave_ws::Printable;
use serde_json::{Value, json};

use crate::exit::{Failure, PROTOCOL, UNAVAILABLE};
use crate::output;
use crate::wait::terminal;

#[derive(Clone)]
pub(crate) struct Report(Arc<Mutex<Inner>>);

struct Inner {
    is_json: bool,
    width: usize,
    stage: &'static str,
    since: Instant,
    /// The failure to write a line.
    failure: Option<Failure>,
}

/// The columns before the words.
const MARGIN: usize = 28;

/// Width of a terminal that does not report its width.
const WIDTH: usize = 80;

/// The fewest for the words, however narrow it is.
const MIN_WORDS: usize = 12;

impl Report {
    pub(crate) fn new(is_json: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            is_json,
            // Lines for a program are not folded.
            width: if terminal::is_stdout_terminal() {
                terminal::stdout_columns().unwrap_or(WIDTH)
            } else {
                usize::MAX
            },
            stage: "config",
            since: Instant::now(),
            failure: None,
        })))
    }

    /// Sets the stage of the next line. It began with the end of the previous one.
    pub(crate) fn at(&self, stage: &'static str) {
        self.inner().stage = stage;
    }

    pub(crate) fn passed(&self, words: &[String], facts: Value) {
        self.inner().line("ok", words, facts);
    }

    pub(crate) fn left_out(&self, why: &str) {
        self.inner()
            .line("--", &[why.to_owned()], json!({ "left_out": why }));
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        let general = match failure.code {
            UNAVAILABLE | PROTOCOL => Some("try again later".to_owned()),
            // The messages of other failures say what to do.
            _ => None,
        };
        let advice = failure.advice.clone().or(general);
        let facts = json!({
            "message": failure.message,
            "advice": advice,
            "exit": failure.code,
        });
        let told = match &advice {
            Some(advice) => format!("{} ({advice})", failure.message),
            None => failure.message.clone(),
        };
        self.inner().line("FAIL", &[told], facts);
    }

    /// Fails if a line was not written.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.inner().failure.take().map_or(Ok(()), Err)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn line(&mut self, mark: &str, words: &[String], facts: Value) {
        let ms = self.since.elapsed().as_secs_f64() * 1000.0;
        let line = if self.is_json {
            json_line(self.stage, mark, ms, facts)
        } else {
            format!(
                "{mark:<5} {:<9}{ms:>8.1} ms  {}",
                self.stage,
                wrapped(words, self.width)
            )
        };
        if let Err(failure) = output::print(&line) {
            self.failure.get_or_insert(failure);
        }
        self.since = Instant::now();
    }
}

fn json_line(stage: &str, mark: &str, ms: f64, mut facts: Value) -> String {
    let is_ok = mark != "FAIL";
    let members = facts
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let mut line = format!(r#"{{"stage":"{stage}","ok":{is_ok},"ms":{ms:.1}"#);
    for (name, value) in members {
        // Writing to a string cannot fail.
        let _ = write!(line, r#","{name}":{value}"#);
    }
    line + "}"
}

/// Returns the words, with commas, in the columns that are left for them. What is longer than a
/// line continues in the next.
fn wrapped(words: &[String], width: usize) -> String {
    let text = Printable(&words.join(", ")).to_string();
    let most = width.saturating_sub(MARGIN).max(MIN_WORDS);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        match lines.last_mut() {
            Some(line) if line.is_empty() => {}
            Some(line) if line.chars().count() + 1 + rest.len() <= most => line.push(' '),
            _ => lines.push(String::new()),
        }
        while !rest.is_empty() {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let part: String = rest.drain(..rest.len().min(most - line)).collect();
            if let Some(line) = lines.last_mut() {
                line.push_str(&part);
            }
            if !rest.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines.join(&format!("\n{:MARGIN$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_the_width_whatever_it_is() {
        let words = ["a word".to_owned(), "x".repeat(100)];
        for width in [0, 1, 40, 41, 80, 200] {
            let text = format!("{:MARGIN$}{}", "", wrapped(&words, width));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.max(MARGIN + MIN_WORDS)), "{text}");
            let letters: String = text.split_whitespace().collect();
            assert_eq!(letters, "aword,".to_owned() + &words[1]);
        }
    }
}
