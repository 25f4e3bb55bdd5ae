//! Replaces a connection before the service ends it.

use std::mem;
use std::time::{Duration, Instant};

use super::old::Old;
use super::{Client, State};
use crate::Error;
use crate::connection::Connection;
use crate::connection::close::Patience;
use crate::error::{ErrorKind, Phase};
use crate::logger::record;
use crate::protocol::{Ack, Action};

/// The answers of a service that allows one connection.
const REFUSALS: [u16; 3] = [403, 409, 429];

impl Client {
    /// Returns when to replace the connection, if at all.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.renew_at.filter(|_| self.config.handover)
    }

    /// Plans the end of a connection that has just been opened.
    pub(super) fn plan_renewal(&mut self, random: u32) {
        let now = Instant::now();
        self.opened_at = now;
        self.renew_at = self.renewal.due(now, random);
    }

    /// Replaces the connection if it is time: keeps it until the next one is subscribed. Returns whether
    /// it does.
    pub(super) fn renew(&mut self) -> bool {
        let now = Instant::now();
        if self.renew_at().is_none_or(|at| at > now) {
            return false;
        }
        if self.has_old() || self.loss.is_some() || !self.subscriptions.is_at_rest() {
            self.renew_at = Some(now + self.renewal.pause());
            return false;
        }
        if self.config.in_background {
            self.renew_at = None;
            if let Err(error) = self.begin_renewal() {
                self.renewal_failed(&error);
            }
            return true;
        }
        match mem::replace(&mut self.state, State::Waiting(now)) {
            State::Open(connection) => {
                self.replace(connection);
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// Takes the outcome of an attempt in the background to replace the connection. Returns whether there
    /// is one.
    pub(super) fn take_renewal(&mut self) -> bool {
        match self.renewal_outcome() {
            None => return false,
            Some(Err(error)) => self.renewal_failed(&error),
            Some(Ok(new)) => {
                let is_at_rest = !self.has_old() && self.loss.is_none();
                if !is_at_rest || !self.subscriptions.is_at_rest() {
                    new.close_in_background(Vec::new(), Patience::default());
                    self.renew_at = Some(Instant::now() + self.renewal.pause());
                } else if let State::Open(old) = mem::replace(&mut self.state, State::Open(new)) {
                    self.replace(old);
                    self.open_is_new();
                }
            }
        }
        true
    }

    /// Puts a connection aside that is replaced.
    fn replace(&mut self, old: Connection) {
        record!(self.config.logger, Debug, "the connection is replaced");
        let from = old.complete_at().past_date();
        let subscriptions = self.subscriptions.clone();
        self.put_aside(old, from, Some(subscriptions));
    }

    fn renewal_failed(&mut self, error: &Error) {
        self.renew_at = Some(Instant::now() + self.renewal.failed());
        self.kept(error);
    }

    /// Says why the connection is kept.
    fn kept(&mut self, error: &Error) {
        if is_refusal(error) {
            self.hand_over_no_more("refuses a second connection");
        } else {
            record!(self.config.logger, Info, "{error}; the connection is kept");
        }
    }

    /// Returns the connection that is being replaced.
    pub(super) fn renewed(&self) -> Option<&Connection> {
        let old = self.old()?;
        old.renewed.as_ref().map(|_| &old.connection)
    }

    /// Replaces the connection in any case: something else is subscribed on the next one.
    pub(super) fn forget_renewed(&mut self) {
        if let Some(old) = self.old_mut() {
            old.renewed = None;
            old.has_other_streams = true;
        }
    }

    /// Keeps the connection that was to be replaced, since that cannot be done. Returns whether there is
    /// one.
    pub(super) fn keep_renewed(&mut self) -> bool {
        let Some(handing_over) = &mut self.handing_over else {
            return false;
        };
        let renewed = handing_over.old.take_if(|old| old.renewed.is_some());
        let Some(Old {
            mut connection,
            opened_at,
            renewed: Some(subscriptions),
            ..
        }) = renewed
        else {
            return false;
        };
        connection.take_back();
        for event in handing_over.go_back() {
            self.pushed(event);
        }
        self.subscriptions = subscriptions;
        self.opened_at = opened_at;
        self.renew_at = Some(Instant::now() + self.renewal.failed());
        let new = mem::replace(&mut self.state, State::Open(connection));
        if let State::Open(new) = new {
            let at_once = Patience::new(Duration::ZERO, Duration::ZERO);
            let _ = new.close([], &at_once, |_| {});
        }
        self.end_overlap();
        true
    }

    /// Takes the failure of an attempt to replace a connection. Returns whether it was one.
    pub(super) fn failed_to_renew(&mut self, error: &Error) -> bool {
        let is_kept = self.keep_renewed();
        if is_kept {
            self.kept(error);
        }
        is_kept
    }

    /// Takes the refusal of a stream on the new connection, which is subscribed on the one that is to be
    /// replaced. Returns whether that is kept.
    pub(super) fn refused_to_renew(&mut self, ack: &Ack) -> bool {
        let is_refused = ack.action == Action::Subscribe && ack.outcome.is_err();
        if !is_refused || !self.keep_renewed() {
            return false;
        }
        self.hand_over_no_more("refuses streams on a second connection");
        true
    }

    /// Returns whether this is the answer of a service that allows one connection.
    pub(super) fn is_second_refused(&self, error: &Error) -> bool {
        self.has_old() && is_refusal(error)
    }

    /// Ends handovers for good, with the reason.
    pub(super) fn hand_over_no_more(&mut self, what: &str) {
        self.config.handover = false;
        let peer = self.peer();
        let then = "from now on, connections are not handed over";
        record!(self.config.logger, Warn, "{peer} {what}; {then}");
    }

    /// Learns from the end of a connection.
    pub(super) fn learn(&mut self, error: &Error) {
        let is_end = error.phase() == Phase::Socket && error.kind() == ErrorKind::Disconnected;
        let age = self.opened_at.elapsed();
        if let Some((lifetime, every)) = self.renewal.ended(age, is_end)
            && self.config.handover
        {
            let [lifetime, every] =
                [lifetime, every].map(|time| Duration::from_secs(time.as_secs()));
            record!(
                self.config.logger,
                Warn,
                "{} ends each connection after {}; from now on, each is replaced after {} \
                 (see --renew)",
                self.peer(),
                humantime::format_duration(lifetime),
                humantime::format_duration(every),
            );
        }
    }
}

/// Returns whether this may be the answer of a service that allows one connection.
fn is_refusal(error: &Error) -> bool {
    let status = error.status();
    let is_of_service = matches!(error.phase(), Phase::Session | Phase::Upgrade);
    is_of_service && status.is_some_and(|status| REFUSALS.contains(&status))
}
