//! The line with which each file begins.

use std::cell::OnceCell;
use std::rc::Rc;

/// The line with which each file begins, once it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header(Rc<OnceCell<String>>);

impl Header {
    /// Returns the bytes of the line with its end, or nothing.
    pub(crate) fn line(&self) -> impl Iterator<Item = u8> {
        let header = self.0.get().map_or("", String::as_str);
        let end = if header.is_empty() { "" } else { "\n" };
        header.bytes().chain(end.bytes())
    }

    /// Sets it, once.
    pub(crate) fn set(&self, header: &str) {
        self.0.get_or_init(|| header.to_owned());
    }
}
