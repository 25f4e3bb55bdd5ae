//! Parts of HTTP: heads, bodies, content codings and cookies.

pub(crate) mod body;
pub(crate) mod cookies;
pub(crate) mod decoder;
pub(crate) mod head;
