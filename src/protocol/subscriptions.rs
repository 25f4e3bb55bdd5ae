use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Stream;
use super::message::Action;
use super::request::{Ack, Request};

/// The requested, the granted and the pending subscriptions, across connections. The last request
/// of a stream counts, in any order of answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions {
    /// Requests that have not been sent on this connection.
    requests: VecDeque<Request>,
    /// The requests that await their acks, for each stream in order.
    pending: BTreeMap<Stream, Vec<Pending>>,
    /// The last request of a stream whose ack has told how that stands, where others await theirs.
    decided: BTreeMap<Stream, u64>,
    /// Streams that have been acknowledged, on any connection.
    subscribed: BTreeSet<Stream>,
    last_ticket: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    ticket: u64,
    action: Action,
    /// Whether it restores what was acknowledged on an earlier connection.
    restores: bool,
    /// Whether it is repeated later, after a transient refusal.
    is_postponed: bool,
}

impl Subscriptions {
    /// Takes a request of the caller's. Returns its ticket.
    pub(crate) fn request(&mut self, action: Action, stream: Stream) -> u64 {
        let ticket = self.ticket();
        if action == Action::Unsubscribe {
            self.give_up_postponed(&stream);
        }
        let pending = self.pending.entry(stream.clone()).or_default();
        pending.push(Pending {
            ticket,
            action,
            restores: false,
            is_postponed: false,
        });
        self.requests.push_back(Request {
            action,
            stream,
            ticket,
        });
        ticket
    }

    fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Returns the next request to send.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Notes a new connection, on which everything has to be requested.
    pub(crate) fn connected(&mut self) {
        let restored: Vec<Stream> = self
            .subscribed
            .iter()
            .filter(|stream| !self.pending.contains_key(*stream))
            .cloned()
            .collect();
        for stream in restored {
            let restoring = Pending {
                ticket: self.ticket(),
                action: Action::Subscribe,
                restores: true,
                is_postponed: false,
            };
            self.pending.insert(stream, vec![restoring]);
        }
        let requests = self.pending.iter().flat_map(|(stream, pending)| {
            pending.iter().map(|pending| Request {
                action: pending.action,
                stream: stream.clone(),
                ticket: pending.ticket,
            })
        });
        self.requests = requests.collect();
    }

    /// Returns the streams that are subscribed on this connection.
    pub(crate) fn acknowledged_streams(&self) -> impl Iterator<Item = &Stream> {
        let is_acknowledged = |stream: &&Stream| !self.pending.contains_key(*stream);
        self.subscribed.iter().filter(is_acknowledged)
    }

    /// Returns the streams that are to be subscribed by requests that have not been sent.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = &Stream> {
        let is_subscription = |request: &&Request| request.action == Action::Subscribe;
        let requests = self.requests.iter().filter(is_subscription);
        requests.map(|request| &request.stream)
    }

    /// Returns whether there are requests that wait to be sent.
    pub(crate) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Notes that there is no connection, and so no subscription. Returns the acks that this
    /// replaces.
    pub(crate) fn disconnected(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        self.decided.clear();
        self.requests.clear();
        self.pending.retain(|stream, pending| {
            pending.retain(|pending| !pending.restores);
            let is_unsubscribed = |pending: &&Pending| pending.action == Action::Unsubscribe;
            for Pending { ticket, .. } in pending.iter().filter(is_unsubscribed) {
                self.subscribed.remove(stream);
                acks.push(Ack {
                    ticket: *ticket,
                    ..Ack::new(Action::Unsubscribe, stream.clone(), Ok(()))
                });
            }
            // An abandoned request is not repeated on the next connection.
            let given_up = pending
                .iter()
                .rposition(|pending| is_unsubscribed(&pending));
            pending.drain(..given_up.map_or(0, |at| at + 1));
            for wanted in &mut *pending {
                wanted.is_postponed = false;
            }
            !pending.is_empty()
        });
        acks
    }

    /// Takes an ack. Returns whether it is news to the caller: not where it only restores what
    /// there was before.
    pub(crate) fn acknowledged(&mut self, ack: &Ack) -> bool {
        let is_outdated = self.decided.get(&ack.stream) > Some(&ack.ticket);
        let found = self.take(&ack.stream, ack.ticket);
        let restores = found.is_some_and(|found| found.restores);
        let has_changed = match (ack.action, &ack.outcome) {
            // A refusal changes nothing.
            (Action::Unsubscribe, Err(_)) => false,
            _ if is_outdated => false,
            (Action::Subscribe, Ok(())) => {
                self.give_up_postponed(&ack.stream);
                self.decide(ack);
                self.subscribed.insert(ack.stream.clone())
            }
            (Action::Subscribe, Err(_)) | (Action::Unsubscribe, Ok(())) => {
                self.decide(ack);
                self.subscribed.remove(&ack.stream)
            }
        };
        has_changed || !restores
    }

    /// An earlier request that is answered later changes nothing.
    fn decide(&mut self, ack: &Ack) {
        if self.pending.contains_key(&ack.stream) {
            self.decided.insert(ack.stream.clone(), ack.ticket);
        }
    }

    /// Postpones a request after a transient refusal. Returns whether that is possible: not where
    /// the caller has requested something else since.
    pub(crate) fn postpone(&mut self, ack: &Ack) -> bool {
        let pending = self.pending.get_mut(&ack.stream);
        let last = pending.and_then(|pending| pending.last_mut());
        let Some(last) = last.filter(|last| last.ticket == ack.ticket) else {
            return false;
        };
        last.is_postponed = true;
        true
    }

    /// Asks for a stream once more that was postponed, unless it has been given up since.
    pub(crate) fn resume(&mut self, stream: &Stream) {
        let pending = self.pending.get_mut(stream).into_iter().flatten();
        for pending in pending.filter(|pending| pending.is_postponed) {
            pending.is_postponed = false;
            self.requests.push_back(Request {
                action: pending.action,
                stream: stream.clone(),
                ticket: pending.ticket,
            });
        }
    }

    /// Abandons a request.
    pub(crate) fn give_up(&mut self, stream: &Stream, ticket: u64) {
        self.take(stream, ticket);
    }

    fn give_up_postponed(&mut self, stream: &Stream) {
        let Some(pending) = self.pending.get_mut(stream) else {
            return;
        };
        for _ in pending.extract_if(.., |pending| pending.is_postponed) {
            self.subscribed.remove(stream);
        }
        if pending.is_empty() {
            self.pending.remove(stream);
        }
    }

    fn take(&mut self, stream: &Stream, ticket: u64) -> Option<Pending> {
        let pending = self.pending.get_mut(stream)?;
        let at = pending.iter().position(|pending| pending.ticket == ticket);
        let taken = at.map(|at| pending.remove(at));
        if pending.is_empty() {
            self.pending.remove(stream);
            self.decided.remove(stream);
        }
        taken
    }

    /// Returns whether all that is wanted is subscribed, on this connection.
    pub(crate) fn is_settled(&self) -> bool {
        let mut pending = self.pending.values().flatten();
        !pending.any(|pending| pending.action == Action::Subscribe)
    }

    /// Returns whether streams are subscribed, and nothing else is wanted.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.is_empty() && !self.subscribed.is_empty()
    }

    pub(crate) fn subscribed(&self) -> &BTreeSet<Stream> {
        &self.subscribed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            last_ticket: self.last_ticket,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn ack(request: &Request, is_granted: bool) -> Ack {
        let outcome = if is_granted {
            Ok(())
        } else {
            Err("no".to_owned())
        };
        Ack {
            ticket: request.ticket,
            ..Ack::new(request.action, request.stream.clone(), outcome)
        }
    }

    /// Returns the next request, which is one to subscribe.
    fn subscription(account: &mut Subscriptions) -> Request {
        let request = account.next_request().unwrap();
        assert_eq!(request.action, Action::Subscribe);
        request
    }

    #[test]
    fn a_loss_makes_up_for_unsubscriptions_alone() {
        let stream: Stream = "/a".parse().unwrap();
        let mut account = Subscriptions::default();
        account.connected();
        account.request(Action::Subscribe, stream.clone());
        subscription(&mut account);
        assert!(!account.is_settled());
        assert_eq!(account.disconnected(), []);
        account.connected();
        let request = subscription(&mut account);
        assert!(account.acknowledged(&ack(&request, true)));
        account.request(Action::Unsubscribe, stream.clone());
        let request = account.next_request().unwrap();
        assert_eq!(account.disconnected(), [ack(&request, true)]);
        account.connected();
        assert!(account.is_settled());
        assert_eq!(account.next_request(), None);
    }

    #[test]
    fn a_transient_refusal_is_retried_until_it_is_abandoned() {
        let stream: Stream = "/a".parse().unwrap();
        for is_restored in [false, true] {
            let mut account = Subscriptions::default();
            account.request(Action::Subscribe, stream.clone());
            let mut request = subscription(&mut account);
            if is_restored {
                account.acknowledged(&ack(&request, true));
                account.disconnected();
                account.connected();
                request = subscription(&mut account);
            }
            for _ in 0..3 {
                assert!(account.postpone(&ack(&request, false)));
                assert!(!account.is_settled());
                account.resume(&stream);
                assert_eq!(account.next_request().as_ref(), Some(&request));
            }
            // The caller wants something else since.
            assert!(account.postpone(&ack(&request, false)));
            account.request(Action::Unsubscribe, stream.clone());
            account.resume(&stream);
            let other = account.next_request().unwrap();
            assert_eq!(other.action, Action::Unsubscribe);
            assert!(account.acknowledged(&ack(&other, false)));
            assert!(account.is_settled() && account.subscribed().is_empty());
            assert_eq!(account.next_request(), None);
            assert!(!account.postpone(&ack(&request, false)));
        }
    }

    #[test]
    fn restored_subscriptions_are_no_acks_and_refused_ones_are() {
        let stream: Stream = "/a".parse().unwrap();
        let mut account = Subscriptions::default();
        account.request(Action::Subscribe, stream.clone());
        let request = subscription(&mut account);
        assert!(account.acknowledged(&ack(&request, true)));
        account.connected();
        assert!(!account.is_settled());
        let request = subscription(&mut account);
        assert!(!account.acknowledged(&ack(&request, true)));
        assert!(account.is_settled());
        account.disconnected();
        account.connected();
        let request = subscription(&mut account);
        assert!(account.acknowledged(&ack(&request, false)));
        assert!(account.subscribed().is_empty());
    }

    #[test]
    fn each_request_that_no_connection_has_sent_is_sent_on_the_next() {
        let mut account = Subscriptions::default();
        let stream: Stream = "/a".parse().unwrap();
        let first = account.request(Action::Subscribe, stream.clone());
        account.disconnected();
        let second = account.request(Action::Subscribe, stream);
        account.connected();
        let sent = std::iter::from_fn(|| account.next_request());
        let tickets: Vec<u64> = sent.map(|request| request.ticket).collect();
        assert_eq!(tickets, [first, second]);
        account.disconnected();
        account.connected();
        let sent = std::iter::from_fn(|| account.next_request());
        let tickets: Vec<u64> = sent.map(|request| request.ticket).collect();
        assert_eq!(tickets, [first, second]);
    }

    #[test]
    fn the_last_request_holds_in_whatever_order_answers_come() {
        let stream: Stream = "/a".parse().unwrap();
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for order in orders {
            for (first, last) in [(false, true), (true, false), (true, true), (false, false)] {
                let mut account = Subscriptions::default();
                let actions = [Action::Subscribe, Action::Unsubscribe, Action::Subscribe];
                for action in actions {
                    account.request(action, stream.clone());
                }
                let requests = [0; 3].map(|_| account.next_request().unwrap());
                for n in order {
                    let is_granted = [first, true, last][n];
                    assert!(account.acknowledged(&ack(&requests[n], is_granted)));
                }
                let is_subscribed = account.subscribed().contains(&stream);
                assert_eq!(is_subscribed, last, "{order:?} {first} {last}");
                assert!(account.is_settled() && account.decided.is_empty());
            }
        }
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// For any losses: once a connection lasts, the service and the account have exactly
            /// what the caller asked for last, and no request waits forever.
            #[test]
            fn no_stream_is_forgotten(steps in prop::collection::vec((0_u8..6, 0_usize..4), 0..60)) {
                let streams = ["/a", "/b", "/c", "/d"].map(|path| path.parse::<Stream>().unwrap());
                let mut account = Subscriptions::default();
                account.connected();
                // The requests of this connection, and the granted ones.
                let (mut sent, mut service) = (VecDeque::new(), BTreeSet::new());
                let (mut believed, mut wished) = (BTreeSet::new(), BTreeSet::new());
                let mut believe = |ack: &Ack| match (ack.action, &ack.outcome) {
                    (Action::Subscribe, Ok(())) => drop(believed.insert(ack.stream.clone())),
                    (Action::Unsubscribe, Err(_)) => {}
                    _ => drop(believed.remove(&ack.stream)),
                };
                let last = [(4, 0); 40];
                for (step, n) in steps.into_iter().chain([(5, 0)]).chain(last) {
                    match step {
                        0 | 1 => {
                            wished.insert(streams[n].clone());
                            account.request(Action::Subscribe, streams[n].clone());
                        }
                        2 => {
                            wished.remove(&streams[n]);
                            account.request(Action::Unsubscribe, streams[n].clone());
                        }
                        3 => sent.extend(account.next_request()),
                        4 => {
                            sent.extend(account.next_request());
                            if let Some(request) = sent.pop_front() {
                                match request.action {
                                    Action::Subscribe => service.insert(request.stream.clone()),
                                    Action::Unsubscribe => service.remove(&request.stream),
                                };
                                let ack = ack(&request, true);
                                if account.acknowledged(&ack) {
                                    believe(&ack);
                                }
                            }
                        }
                        _ => {
                            for ack in account.disconnected() {
                                believe(&ack);
                            }
                            sent.clear();
                            service.clear();
                            account.connected();
                        }
                    }
                }
                prop_assert!(account.is_settled());
                prop_assert_eq!(&service, account.subscribed());
                prop_assert_eq!(&service, &believed);
                prop_assert_eq!(&service, &wished);
            }
        }
    }
}
