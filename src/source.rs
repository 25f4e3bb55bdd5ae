use std::fmt;
use std::result::Result;
use std::sync::Arc;

/// A function that returns the current value of a setting that can change, if there is one.
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

    /// Returns whether there is such a function.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the current value, or the error of the function. `None` where the value cannot
    /// change.
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
