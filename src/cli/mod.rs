//! Code that both programs share. No part of the public API.

pub mod completions;
pub mod help;
pub mod normalize;
pub mod signals;
