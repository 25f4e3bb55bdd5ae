//! Output that is one text.

use std::io;

use crate::exit::Failure;
use crate::wait::sink::Sink;

/// Prints a text that is all there is to print.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let text = format!("{}\n", text.trim_end());
    let written = Sink::stdout().and_then(|stdout| {
        let written = stdout.write_all(&[text.as_bytes()], false);
        written.map_err(|(error, _)| error)?;
        stdout.sync()
    });
    match written {
        // The reader may have left.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Failure::output("standard output", &error)),
    }
}
