//! Reads commands from the prompt or a script.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use octave_ws::wait::poll;
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::commands::shell::cut::{Commands, Refused};
use crate::commands::shell::line_editor::{Editor, KeyEvent};
use crate::status::stderr;
use crate::wait::source;

/// Commands of standard input, without waiting for one.
pub(crate) struct Input {
    file: File,
    source: Source,
    is_terminal: bool,
    commands: Commands,
    is_over: bool,
    /// Whether the input ended with unfinished JSON.
    is_torn: bool,
}

enum Source {
    Pipe,
    Terminal {
        editor: Editor,
        /// Raw mode, while it is set.
        raw: Option<Raw>,
    },
}

impl Input {
    /// At a terminal the line is edited here, since what comes in meanwhile stands above it.
    pub(crate) fn new(is_edited: bool) -> io::Result<Self> {
        let file = source::stdin()?;
        let source = if is_edited {
            Source::Terminal {
                editor: Editor::default(),
                raw: Some(Raw::enter(&file)?),
            }
        } else {
            Source::Pipe
        };
        Ok(Self {
            file,
            source,
            is_terminal: is_edited,
            commands: Commands::default(),
            is_over: false,
            is_torn: false,
        })
    }

    /// Returns the line that is being typed, with its prompt, for a terminal to show.
    pub(crate) fn prompt(&self) -> Option<String> {
        let Source::Terminal { editor, .. } = &self.source else {
            return None;
        };
        let prompt = self.marker();
        let size = tcgetwinsize(&self.file).map_or(0, |size| usize::from(size.ws_col));
        let columns = if size == 0 { 80 } else { size };
        let (line, behind) = editor.window(columns.saturating_sub(PROMPT.len() + 1).max(1));
        Some(match behind {
            0 => format!("{prompt}{line}"),
            behind => format!("{prompt}{line}\x1b[{behind}D"),
        })
    }

    /// Restores the terminal: nothing more is read.
    pub(crate) fn leave(&mut self) {
        self.source = Source::Pipe;
    }

    /// Gives the terminal back, for a while.
    pub(crate) fn suspend(&mut self) {
        if let Source::Terminal { raw, .. } = &mut self.source {
            *raw = None;
        }
    }

    /// Has it again.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        if let Source::Terminal { raw, .. } = &mut self.source {
            *raw = Some(Raw::enter(&self.file)?);
        }
        self.watch_interrupt()
    }

    /// Returns whether it is somebody who types, and sees what comes of it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns a descriptor that is readable when [`Input::read`] has something to read.
    pub(crate) fn watched(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Returns whether a read does not have to wait.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_over && poll::is_readable(&self.file)
    }

    /// Takes in what has been typed.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let bytes = match rustix::io::read(&self.file, &mut bytes) {
            Ok(n) => &bytes[..n],
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.is_over = bytes.is_empty();
        match &mut self.source {
            Source::Terminal { editor, .. } => {
                for pressed in editor.press(bytes) {
                    match pressed {
                        KeyEvent::Line(line) => {
                            // The line stays where it was typed.
                            stderr::line(&format!("{}{line}", self.marker()));
                            self.commands.take(line.as_bytes());
                            self.commands.end_line();
                        }
                        KeyEvent::GivenUp(line) => {
                            stderr::line(&format!("{}{line}^C", self.marker()));
                            self.commands.give_up();
                        }
                        KeyEvent::End => {
                            self.is_over = true;
                            break;
                        }
                    }
                }
            }
            Source::Pipe => {
                for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                    let whole = line.strip_suffix(b"\n");
                    self.commands.take(whole.unwrap_or(line));
                    if whole.is_some() {
                        self.commands.end_line();
                    }
                }
                if self.is_over {
                    self.commands.end_line();
                }
            }
        }
        self.is_torn = self.is_over && self.commands.is_json_open();
        self.watch_interrupt()
    }

    /// ^C gives up what is half typed, and ends the program where nothing is.
    fn watch_interrupt(&mut self) -> io::Result<()> {
        if let Source::Terminal {
            editor,
            raw: Some(raw),
        } = &mut self.source
        {
            raw.keep_interrupt(!editor.is_empty() || self.commands.is_json_open())?;
        }
        Ok(())
    }

    /// Returns the prompt of the current line.
    fn marker(&self) -> &'static str {
        if self.commands.is_json_open() {
            CONTINUATION_PROMPT
        } else {
            PROMPT
        }
    }

    /// Returns the next complete command.
    pub(crate) fn command(&mut self) -> Option<Result<String, Refused>> {
        self.commands.pop()
    }

    /// Returns whether a command is complete.
    pub(crate) fn has_command(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Returns whether the input ended with unfinished JSON, which is not sent.
    pub(crate) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Returns whether the input is at its end and every command was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over && self.commands.is_empty()
    }
}

const PROMPT: &str = "> ";
/// The prompt of the later lines of JSON.
const CONTINUATION_PROMPT: &str = ". ";

/// A terminal in raw mode: it passes each key without echo. Keys that send signals still do.
struct Raw {
    terminal: File,
    before: Termios,
    own: Termios,
}

/// Disables a control character: POSIX, `_POSIX_VDISABLE`.
const VDISABLE: u8 = 0;

impl Raw {
    fn enter(terminal: &File) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self {
            terminal,
            before,
            own: raw,
        })
    }

    /// Whether ^C is a key, instead of a signal.
    fn keep_interrupt(&mut self, is_kept: bool) -> io::Result<()> {
        let signal = self.before.special_codes[SpecialCodeIndex::VINTR];
        let code = if is_kept { VDISABLE } else { signal };
        let current = &mut self.own.special_codes[SpecialCodeIndex::VINTR];
        if *current != code {
            *current = code;
            tcsetattr(&self.terminal, OptionalActions::Now, &self.own)?;
        }
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no care, and one that is stopped is not waited for.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
