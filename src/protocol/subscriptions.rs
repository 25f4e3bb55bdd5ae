use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Stream;
use super::exchange::Ack;
use super::message::{Action, Text};

/// The account of what is wanted, what is subscribed, and what has yet to be asked for, from one
/// connection to the next. What the caller asked for last is what holds.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Requests that have not been sent on this connection.
    requests: VecDeque<(Action, Stream)>,
    /// The caller's requests that await their acks, for each stream in order.
    asked: BTreeMap<Stream, Vec<Action>>,
    /// Streams that have been acknowledged, on whatever connection.
    subscribed: BTreeSet<Stream>,
    /// Those of them whose ack on this connection is awaited.
    again: BTreeSet<Stream>,
}

impl Subscriptions {
    /// Takes a request of the caller's.
    pub(crate) fn request(&mut self, action: Action, stream: Stream) {
        self.asked.entry(stream.clone()).or_default().push(action);
        self.requests.push_back((action, stream));
    }

    /// The next request to send.
    pub(crate) fn next_request(&mut self) -> Option<(Action, Stream)> {
        self.requests.pop_front()
    }

    /// There is a new connection, on which everything has to be asked for.
    pub(crate) fn connected(&mut self) {
        let is_asked = |stream: &&Stream| self.asked.contains_key(*stream);
        let again = self.subscribed.iter().filter(|stream| !is_asked(stream));
        self.again = again.cloned().collect();
        let wanted = self.again.iter().chain(self.asked.keys());
        let requests = wanted.map(|stream| (Action::Subscribe, stream.clone()));
        self.requests = requests.collect();
    }

    /// There is no connection: what is not connected is not subscribed either. Returns the acks
    /// that this makes up for.
    pub(crate) fn disconnected(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        self.asked.retain(|stream, actions| {
            let is_wanted = actions.last() == Some(&Action::Subscribe);
            let before = actions.len();
            actions.retain(|action| *action == Action::Subscribe);
            if actions.len() < before {
                self.subscribed.remove(stream);
                self.again.remove(stream);
                acks.push(Ack {
                    action: Action::Unsubscribe,
                    stream: stream.clone(),
                    outcome: Ok(()),
                    status: None,
                    text: Text::default(),
                });
            }
            // On the next connection one request stands for them all.
            actions.truncate(usize::from(is_wanted));
            is_wanted
        });
        acks
    }

    /// Takes an ack. Returns whether it is news to the caller: not where it only restores what
    /// there was before.
    pub(crate) fn acknowledged(&mut self, ack: &Ack) -> bool {
        let stream = &ack.stream;
        match (ack.action, &ack.outcome) {
            (Action::Subscribe, outcome) => {
                // What restores was sent before all that the caller has asked for since.
                let is_again = self.again.remove(stream);
                let was_asked = !is_again && self.answer(stream, Action::Subscribe);
                let has_changed = match outcome {
                    Ok(()) => self.subscribed.insert(stream.clone()),
                    Err(_) => self.subscribed.remove(stream),
                };
                has_changed || was_asked
            }
            (Action::Unsubscribe, outcome) => {
                self.answer(stream, Action::Unsubscribe);
                if outcome.is_ok() {
                    self.subscribed.remove(stream);
                    self.again.remove(stream);
                }
                true
            }
        }
    }

    /// Whether the stream was granted before, and only that is to be restored.
    pub(crate) fn is_restored(&self, stream: &Stream) -> bool {
        self.again.contains(stream) && !self.asked.contains_key(stream)
    }

    /// Asks for a stream once more that is to be restored, unless it has been given up since.
    pub(crate) fn restore(&mut self, stream: Stream) {
        if self.is_restored(&stream) {
            self.requests.push_back((Action::Subscribe, stream));
        }
    }

    /// The first of the caller's requests of this kind has its answer, if there is one.
    fn answer(&mut self, stream: &Stream, action: Action) -> bool {
        let Some(actions) = self.asked.get_mut(stream) else {
            return false;
        };
        let at = actions.iter().position(|asked| *asked == action);
        at.map(|at| actions.remove(at));
        if actions.is_empty() {
            self.asked.remove(stream);
        }
        at.is_some()
    }

    /// Whether all that is wanted is subscribed, on this connection.
    pub(crate) fn is_settled(&self) -> bool {
        let mut asked = self.asked.values().flatten();
        self.again.is_empty() && !asked.any(|action| *action == Action::Subscribe)
    }

    pub(crate) fn subscribed(&self) -> &BTreeSet<Stream> {
        &self.subscribed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn ack(action: Action, stream: &Stream, is_granted: bool) -> Ack {
        let outcome = if is_granted {
            Ok(())
        } else {
            Err("no".to_owned())
        };
        Ack {
            action,
            stream: stream.clone(),
            outcome,
            status: None,
            text: Text::default(),
        }
    }

    #[test]
    fn a_loss_makes_up_for_unsubscriptions_alone() {
        let stream: Stream = "/a".parse().unwrap();
        let mut account = Subscriptions::default();
        account.connected();
        account.request(Action::Subscribe, stream.clone());
        assert_eq!(
            account.next_request(),
            Some((Action::Subscribe, stream.clone()))
        );
        assert!(!account.is_settled());
        assert_eq!(account.disconnected(), []);
        account.connected();
        assert_eq!(
            account.next_request(),
            Some((Action::Subscribe, stream.clone()))
        );
        assert!(account.acknowledged(&ack(Action::Subscribe, &stream, true)));
        account.request(Action::Unsubscribe, stream.clone());
        assert_eq!(
            account.disconnected(),
            [ack(Action::Unsubscribe, &stream, true)]
        );
        account.connected();
        assert!(account.is_settled());
        assert_eq!(account.next_request(), None);
    }

    #[test]
    fn what_was_granted_can_be_restored_until_it_is_given_up() {
        let stream: Stream = "/a".parse().unwrap();
        let mut account = Subscriptions::default();
        account.connected();
        account.request(Action::Subscribe, stream.clone());
        account.next_request();
        account.acknowledged(&ack(Action::Subscribe, &stream, true));
        account.disconnected();
        account.connected();
        assert_eq!(
            account.next_request(),
            Some((Action::Subscribe, stream.clone()))
        );
        assert!(account.is_restored(&stream));
        // It was refused for now.
        account.restore(stream.clone());
        assert_eq!(
            account.next_request(),
            Some((Action::Subscribe, stream.clone()))
        );
        // Since the caller asked for it anew, it is another matter.
        account.request(Action::Subscribe, stream.clone());
        assert!(!account.is_restored(&stream));
        assert!(!account.is_restored(&"/b".parse().unwrap()));
        account.clear();
        assert!(account.subscribed().is_empty() && account.is_settled());
        account.restore(stream);
        assert_eq!(account.next_request(), None);
    }

    #[test]
    fn what_is_restored_is_no_news_and_what_is_taken_away_is() {
        let stream: Stream = "/a".parse().unwrap();
        let mut account = Subscriptions::default();
        account.request(Action::Subscribe, stream.clone());
        assert!(account.acknowledged(&ack(Action::Subscribe, &stream, true)));
        account.connected();
        assert!(!account.is_settled());
        assert!(!account.acknowledged(&ack(Action::Subscribe, &stream, true)));
        assert!(account.is_settled());
        account.connected();
        assert!(account.acknowledged(&ack(Action::Subscribe, &stream, false)));
        assert!(account.subscribed().is_empty());
    }

    #[cfg(feature = "property-tests")]
    mod properties {
        use proptest::prelude::*;

        use super::*;
        use crate::seed::property;

        proptest! {
            #![proptest_config(property(256))]

            /// Whatever is lost, and whenever: once a connection lasts, the service has exactly what
            /// the caller asked for last, and believes to have, and nothing waits for ever.
            #[test]
            fn no_stream_is_forgotten(steps in prop::collection::vec((0_u8..6, 0_usize..4), 0..60)) {
                let streams = ["/a", "/b", "/c", "/d"].map(|path| path.parse::<Stream>().unwrap());
                let mut account = Subscriptions::default();
                account.connected();
                // What the service has been asked on this connection, and what it has granted.
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
                            if let Some((action, stream)) = sent.pop_front() {
                                match action {
                                    Action::Subscribe => service.insert(Stream::clone(&stream)),
                                    Action::Unsubscribe => service.remove(&stream),
                                };
                                let ack = ack(action, &stream, true);
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
