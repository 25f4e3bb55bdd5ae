//! SIGHUP: opens the output again and reads the streams file again.

use std::collections::BTreeSet;
use std::mem;

use octave_ws::{Action, Client, Stream};

use super::Run;
use super::unanswered::Unanswered;
use crate::exit::End;
use crate::settings::Destination;

impl Run<'_> {
    pub(super) fn reload(&mut self, client: &mut Client) -> Result<(), End> {
        if let Some(notify) = &self.notify {
            notify.reloading();
        }
        // What is in the old file has been synced then.
        self.keep_now(client)?;
        if let Destination::File(_) = self.settings.output {
            self.output.reopen()?;
            self.output.begin(&mut self.lines)?;
            client.watch_hangup(self.reader()?);
        }
        if let Some(folder) = &mut self.folder {
            folder.reopen()?;
        }
        if self.settings.sources.can_change() {
            match self.settings.sources.resolve_again() {
                Ok(streams) => self.change_streams(client, streams)?,
                Err(failure) => log::warn!("{failure}; the streams stay as they were"),
            }
        }
        if let Some(notify) = &self.notify {
            notify.ready();
        }
        Ok(())
    }

    /// Subscribes to what is new, or was refused, and unsubscribes from what is gone.
    fn change_streams(&mut self, client: &mut Client, streams: Vec<Stream>) -> Result<(), End> {
        let before = mem::replace(&mut self.streams, streams);
        self.status.streams = self.streams.len();
        let known: BTreeSet<_> = before.iter().collect();
        let wanted: BTreeSet<_> = self.streams.iter().collect();
        let (added, gone) = (wanted.difference(&known), known.difference(&wanted));
        let (added, gone) = (added.count(), gone.count());
        log::info!("streams: {} ({added} new, {gone} gone)", wanted.len());
        // The first connection asks for all of them.
        if client.connections() == 0 {
            self.unanswered = Unanswered::of(&self.streams);
            return Ok(());
        }
        let mut removed = Vec::new();
        for &stream in known.difference(&wanted) {
            let was_refused = self.refusals.remove(stream);
            self.unanswered.remove(stream);
            if !was_refused {
                removed.push(stream);
            }
        }
        let mut added = Vec::new();
        for stream in &self.streams {
            let was_refused = self.refusals.remove(stream);
            if known.contains(stream) && !was_refused {
                continue;
            }
            self.unanswered.add(stream);
            added.push(stream);
        }
        client.request_all(Action::Unsubscribe, removed)?;
        client.request_all(Action::Subscribe, added)?;
        self.settle()
    }
}
