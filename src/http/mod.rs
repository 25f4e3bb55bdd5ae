//! Parts of HTTP: heads, bodies and cookies.

pub(crate) mod body;
pub(crate) mod cookies;
pub(crate) mod head;
