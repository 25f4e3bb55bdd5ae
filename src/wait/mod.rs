//! Waiting, by poll(2). The one room that calls it, for the library and the programs.

pub(crate) mod context;
pub mod ended;
pub mod poll;
pub(crate) mod sockets;
pub(crate) mod stop;
pub(crate) mod watchdog;
