//! The commands, one module each.

pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod listen;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod status;
