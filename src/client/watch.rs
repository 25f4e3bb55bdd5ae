//! Watches descriptors of the caller.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Client;

impl Client {
    /// Lets [`Client::next`] wait for these descriptors, too, in place of earlier ones, for a program
    /// that has nowhere else to wait for both. While one of them is readable or at its end,
    /// [`Client::next`] returns [`Update::FdReady`](crate::Update::FdReady) in turn with what arrives
    /// from the service. It interrupts an attempt to connect, which is repeated a second later, unless
    /// the attempt is made in the [background](crate::Config::connect_in_background).
    ///
    /// ```no_run
    /// # fn watch(client: &mut octave_ws::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::os::fd::AsFd;
    ///
    /// client.watch([std::io::stdin().as_fd().try_clone_to_owned()?]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&mut self, readable: impl IntoIterator<Item = OwnedFd>) {
        self.watch_state.watched.readable = readable.into_iter().collect();
    }

    /// Lets [`Client::next`] watch a descriptor that is written to: once it has no reader any more,
    /// [`Client::next`] returns [`Update::FdReady`](crate::Update::FdReady).
    pub fn watch_hangup(&mut self, written: Option<OwnedFd>) {
        self.watch_state.watched.hangup = written.map(Arc::new);
    }
}
