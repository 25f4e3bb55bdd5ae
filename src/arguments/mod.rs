//! What both programs do with their arguments. It is no part of the API of the library.

pub mod completions;
pub mod help;
pub mod normalize;
