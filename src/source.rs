use std::fmt;
use std::result::Result;
use std::sync::Arc;

/// Where a value can be had anew that may change, if anywhere.
#[derive(Clone)]
pub(crate) struct Source<T>(Option<Arc<Ask<T>>>);

type Ask<T> = dyn Fn() -> Result<T, String> + Send + Sync;

impl<T> Source<T> {
    pub(crate) fn new<E: fmt::Display>(
        ask: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(move || {
            ask().map_err(|error| error.to_string())
        })))
    }

    /// Returns the value of now, or why there is none. `None` where it does not change.
    pub(crate) fn ask(&self) -> Option<Result<T, String>> {
        self.0.as_ref().map(|ask| ask())
    }
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
