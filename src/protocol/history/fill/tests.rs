use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::protocol::Stream;
use crate::seed::{Random, property};

/// A service: a stream with a capacity, events that are committed late, and a limit that is capped.
struct Service {
    random: Random,
    now: i64,
    capacity: usize,
    most_per_page: usize,
    is_late: bool,
    /// Number of events, and percentage of pages, for those that are published between two pages.
    haste: usize,
    stored: Vec<(i64, usize)>,
    published: usize,
    /// The pushed events, while the client is subscribed.
    pushed: Vec<(i64, usize)>,
    is_subscribed: bool,
    /// Whether nothing more is published.
    is_over: bool,
}

fn id(n: usize) -> EventId {
    EventId::new(&n.to_string())
}

fn entry(&(date, n): &(i64, usize)) -> Entry {
    Entry {
        id: id(n),
        date,
        value: n..n,
    }
}

impl Service {
    fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.random.below(usize::try_from(n).unwrap())).unwrap()
    }

    fn is_so(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn publish(&mut self, count: usize, is_burst: bool) {
        for _ in 0..count {
            let mut date = self.now;
            if self.is_late && self.is_so(10) {
                date -= self.below(OVERLAP);
            }
            let event = (date, self.published);
            self.published += 1;
            self.stored.push(event);
            // The one that was inserted first goes.
            let over = self.stored.len().saturating_sub(self.capacity);
            self.stored.drain(..over);
            if self.is_subscribed {
                self.pushed.push(event);
            }
            if !is_burst {
                self.now += self.below(30);
            }
        }
    }

    fn get(&mut self, query: Query) -> Vec<Entry> {
        let is_in = |(date, _): &&(i64, usize)| query.since.is_none_or(|since| *date >= since);
        let mut found: Vec<_> = self.stored.iter().filter(is_in).copied().collect();
        // Those of one date come in any order.
        for at in (1..found.len()).rev() {
            found.swap(at, self.random.below(at + 1));
        }
        found.sort_by_key(|(date, _)| *date);
        if query.is_descending {
            found.reverse();
        }
        let limit = query.limit.min(self.most_per_page);
        found
            .iter()
            .skip(query.start)
            .take(limit)
            .map(entry)
            .collect()
    }
}

#[derive(Default)]
struct Client {
    position: Option<Position>,
    /// The events that were written, and the number of times.
    written: HashMap<usize, usize>,
    /// Number of events published when events were last told to be missing.
    told_at: usize,
    /// Ids of the last fill, which may be pushed, too.
    filled: HashSet<EventId>,
}

impl Client {
    fn write(&mut self, (date, n): (i64, usize)) {
        *self.written.entry(n).or_default() += 1;
        let position = self.position.as_mut().unwrap();
        position.know(id(n), date);
    }

    fn run(&mut self, service: &mut Service, mut fill: Fill) {
        self.filled.clear();
        for asked in 0.. {
            assert!(asked < 1000, "{fill:?}");
            let page = service.get(fill.query());
            if service.is_so(service.haste) && asked < 20 && !service.is_over {
                let count = service.random.below(1 + service.haste);
                service.publish(count, false);
                service.now += service.below(200);
            }
            let waiting: Vec<_> = service
                .pushed
                .iter()
                .map(|(date, n)| (id(*n), *date))
                .collect();
            let position = self.position.get_or_insert_default();
            let taken = fill.take(&page, position, &waiting, Some(service.now));
            for at in taken.new {
                self.filled.insert(page[at].id.clone());
                self.write((page[at].date, page[at].value.start));
            }
            // Of a stream that has shown no event, nothing can be known.
            let is_empty = service.capacity == 0 && self.position == Some(Position::default());
            if !taken.holes.is_empty() || is_empty {
                self.told_at = service.published;
            }
            match taken.next {
                Next::Ask => {}
                Next::AskIn(delay) => service.now += i64::try_from(delay.as_millis()).unwrap(),
                Next::Over => break,
            }
        }
    }

    fn take_pushed(&mut self, service: &mut Service) {
        for (date, n) in service.pushed.split_off(0) {
            if !self.filled.contains(&id(n)) && !self.position.as_ref().unwrap().knows_id(&id(n)) {
                self.write((date, n));
            }
        }
    }
}

/// The events of a run that were lost silently, written more than once without a crash, or written
/// although they are older than the beginning.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    lost: Vec<usize>,
    twice: Vec<usize>,
    early: Vec<usize>,
}

fn run(
    seed: u64,
    capacity: usize,
    most_per_page: usize,
    is_late: bool,
    haste: usize,
    crashes: usize,
) -> Outcome {
    let mut service = Service {
        random: Random::new(seed),
        now: 1_000_000,
        capacity,
        most_per_page,
        is_late,
        haste,
        stored: Vec::new(),
        published: 0,
        pushed: Vec::new(),
        is_subscribed: false,
        is_over: false,
    };
    let mut client = Client::default();
    let mut saved = None;
    let mut begun_at = None;
    let mut lost_in_crashes = BTreeSet::new();
    let mut told = 0;
    if service.is_so(90) {
        let count = 1 + service.random.below(60);
        service.publish(count, false);
        service.now += 60_000;
    }
    let connections = 3 + service.random.below(6);
    for connection in 0..connections {
        let is_new = client.position.is_none();
        if is_new {
            begun_at.get_or_insert(service.published);
            client.run(&mut service, Fill::beginning());
            // Committed before anything is written.
            saved = client.position.clone();
        }
        service.is_subscribed = true;
        service.pushed.clear();
        let count = service.random.below(5);
        service.publish(count, false);
        let position = client.position.as_ref().unwrap();
        let mut fill = Fill::new(position, []);
        if is_new && position.from().is_none() {
            fill = fill.without_join_check();
        }
        client.run(&mut service, fill);
        client.take_pushed(&mut service);
        for _ in 0..service.random.below(6) {
            let count = service.random.below(40);
            let is_burst = service.is_so(30);
            service.publish(count, is_burst);
            service.now += service.below(4000);
            if service.is_so(80) {
                client.take_pushed(&mut service);
            }
        }
        if connection + 1 == connections || service.is_so(80) {
            client.take_pushed(&mut service);
        }
        service.is_subscribed = false;
        told = told.max(client.told_at);
        if service.is_so(crashes) {
            lost_in_crashes.extend(client.written.keys().copied());
            client.position.clone_from(&saved);
        } else {
            saved.clone_from(&client.position);
        }
        for _ in 0..service.random.below(4) {
            let count = [0, 1, 3, 60, 300][service.random.below(5)];
            let is_burst = service.is_so(30);
            service.publish(count, is_burst);
            service.now += service.below(60_000);
        }
    }
    // The last one: all is shown by then.
    service.now += 100_000;
    service.is_over = true;
    service.pushed.clear();
    let fill = Fill::new(client.position.as_ref().unwrap(), []);
    client.run(&mut service, fill);
    let told = told.max(client.told_at);
    let begun_at = begun_at.unwrap();
    let is_twice = |(n, times): &(&usize, &usize)| **times > 1 && !lost_in_crashes.contains(n);
    let written = client.written.keys().copied();
    Outcome {
        lost: (begun_at..service.published)
            .filter(|n| *n >= told && !client.written.contains_key(n))
            .collect(),
        twice: client
            .written
            .iter()
            .filter(is_twice)
            .map(|(n, _)| *n)
            .collect(),
        early: written.filter(|n| *n < begun_at).collect(),
    }
}

proptest! {
    #![proptest_config(property(500))]

    #[test]
    fn nothing_is_lost_silently_or_delivered_twice(
        seed in any::<u64>(),
        capacity in prop::sample::select(vec![0, 1, 5, 50, 1000]),
        most_per_page in prop::sample::select(vec![20, 100, MOST_LIMIT]),
        is_late in any::<bool>(),
        haste in prop::sample::select(vec![30_usize, 100]),
        crashes in prop::sample::select(vec![0_usize, 30]),
    ) {
        let outcome = run(seed, capacity, most_per_page, is_late, haste, crashes);
        prop_assert_eq!(outcome, Outcome::default());
    }
}

/// A fill, and what it has delivered and told.
struct Filling {
    fill: Fill,
    position: Position,
    waiting: Vec<(EventId, i64)>,
    new: Vec<usize>,
    holes: Vec<Hole>,
}

impl Filling {
    /// Begins behind these events.
    fn after(events: &[(i64, usize)]) -> Self {
        let known = events.iter().map(|(date, n)| (*date, id(*n)));
        let position = Position::restored(None, known);
        Self {
            fill: Fill::new(&position, []),
            position,
            waiting: Vec::new(),
            new: Vec::new(),
            holes: Vec::new(),
        }
    }

    /// Answers with these events, at this date.
    fn answer(&mut self, date: i64, events: &[(i64, usize)]) -> Next {
        let page: Vec<Entry> = events.iter().map(entry).collect();
        let taken = self
            .fill
            .take(&page, &mut self.position, &self.waiting, Some(date));
        self.took(taken, &page)
    }

    fn took(&mut self, taken: Taken, page: &[Entry]) -> Next {
        self.new
            .extend(taken.new.iter().map(|at| page[*at].value.start));
        self.holes.extend(taken.holes);
        taken.next
    }

    fn asked(&self) -> (Option<i64>, usize, usize) {
        let query = self.fill.query();
        (query.since, query.start, query.limit)
    }
}

fn hole(why: Why, from: Option<i64>, to: Option<i64>) -> Vec<Hole> {
    vec![Hole { why, from, to }]
}

#[test]
fn a_history_without_end_takes_little() {
    let mut filling = Filling::after(&[(0, 0)]);
    let mut most = 0;
    let event = |n: usize| (i64::try_from(n).unwrap() * 100, n);
    let mut published = 1000;
    loop {
        let (since, start, limit) = filling.asked();
        let first = usize::try_from(since.unwrap().max(0))
            .unwrap()
            .div_ceil(100);
        let page: Vec<_> = (first..published)
            .skip(start)
            .take(limit)
            .map(event)
            .collect();
        match filling.answer(0, &page) {
            // More comes than is asked for.
            Next::Ask if published < 100_000 => published += 2000,
            Next::Over => break,
            _ => {}
        }
        most = most.max(filling.fill.seen.len());
    }
    assert_eq!(filling.new, (1..published).collect::<Vec<_>>());
    assert!(most < 4000, "{most}");
}

#[test]
fn a_request_names_the_stream_and_what_is_wanted() {
    let by_path: Stream = "/demo/devices/gw 1/t&é".parse().unwrap();
    let query = Fill::beginning().query();
    assert_eq!(
        query.target("de mo", &by_path),
        "/de%20mo/event?path=/demo/devices/gw%201/t%26%C3%A9&sort=creationDate&order=desc&limit=20"
    );
    let by_id: Stream = "s53b1d1600cf27b75148de0ac".parse().unwrap();
    let query = Query {
        since: Some(1_587_387_677_625),
        start: 3,
        ..Filling::after(&[]).fill.query()
    };
    assert_eq!(
        query.target("demo", &by_id),
        "/demo/event/s53b1d1600cf27b75148de0ac?filter=creationDate%3E%3D1587387677625\
         &sort=creationDate&order=asc&limit=100&start=3"
    );
}

#[test]
fn what_was_pushed_is_waited_for() {
    let mut filling = Filling::after(&[(10_000, 1)]);
    filling.waiting = vec![(id(3), 10_200)];
    for _ in 0..4 {
        assert_eq!(filling.answer(11_000, &[(10_000, 1)]), Next::AskIn(WAIT));
    }
    assert_eq!(
        filling.answer(11_000, &[(10_000, 1), (10_100, 2), (10_200, 3)]),
        Next::Over
    );
    assert_eq!((filling.new, filling.holes), (vec![2, 3], vec![]));

    let mut filling = Filling::after(&[(10_000, 1)]);
    filling.waiting = vec![(id(3), 10_200)];
    for _ in 0..MOST_WAITS {
        assert_eq!(filling.answer(11_000, &[(10_000, 1)]), Next::AskIn(WAIT));
    }
    assert_eq!(
        filling.answer(11_000, &[(10_000, 1), (10_100, 2)]),
        Next::Over
    );
    assert_eq!(filling.new, [2]);
    assert_eq!(filling.holes, hole(Why::Behind, Some(10_100), Some(10_200)));
}

#[test]
fn what_follows_a_pushed_event_is_not_asked_for() {
    let mut filling = Filling::after(&[(10_000, 0)]);
    filling.waiting = vec![(id(2), 10_100), (id(200), 30_000)];
    let page: Vec<_> = (0..100)
        .map(|n| (10_000 + 50 * i64::try_from(n).unwrap(), n))
        .collect();
    assert_eq!(filling.answer(30_000, &page), Next::Ask);
    assert_eq!(filling.asked(), (Some(14_450), 0, 200));
    let page: Vec<_> = (89..199)
        .map(|n| (10_000 + 50 * i64::try_from(n).unwrap(), n))
        .collect();
    assert_eq!(filling.answer(30_000, &page), Next::Over);
    assert_eq!((filling.new.len(), filling.holes), (198, vec![]));
}

#[test]
fn a_young_event_may_be_shown_late_and_an_old_one_is_gone() {
    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(12_000, &[]), Next::AskIn(WAIT));
    assert_eq!(filling.answer(13_000, &[(12_900, 2)]), Next::AskIn(WAIT));
    // Others may be as late.
    let mut page = vec![(10_000, 1), (12_900, 2)];
    assert_eq!(filling.answer(14_000, &page), Next::AskIn(WAIT));
    page.push((13_000, 3));
    for _ in 3..LATE_WAITS {
        assert_eq!(filling.answer(15_000, &page), Next::AskIn(WAIT));
    }
    assert_eq!(filling.answer(16_000, &page), Next::Over);
    assert_eq!((filling.new, filling.holes), (vec![2, 3], vec![]));

    // One that was pushed since shows that none is.
    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(12_000, &[]), Next::AskIn(WAIT));
    filling.waiting = vec![(id(3), 13_000)];
    assert_eq!(filling.answer(14_000, &page), Next::Over);
    assert_eq!((filling.new, filling.holes), (vec![2, 3], vec![]));

    // So long after it, it would be shown.
    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(16_000, &[(15_001, 7)]), Next::Over);
    assert_eq!(filling.new, [7]);

    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(20_000, &[(15_000, 7)]), Next::Over);
    assert_eq!(filling.new, [7]);
    assert_eq!(
        filling.holes,
        hole(Why::Evicted, Some(10_000), Some(15_000))
    );
}

#[test]
fn without_history_the_position_stays_and_behind_an_older_one_it_begins_again() {
    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(30_000, &[]), Next::Ask);
    assert_eq!(
        filling.holes,
        hole(Why::NoHistory, Some(10_000), Some(30_000))
    );
    assert!(filling.fill.query().is_descending);
    assert_eq!(filling.answer(30_000, &[]), Next::Over);
    assert_eq!(filling.position.from(), Some(5000));

    // The clock of the cloud was set back.
    let mut filling = Filling::after(&[(10_000_000, 1)]);
    assert_eq!(filling.answer(99_000_000, &[]), Next::Ask);
    assert_eq!(
        filling.answer(99_000_000, &[(20_000, 3), (18_000, 2)]),
        Next::Over
    );
    assert_eq!(
        (filling.position.from(), filling.new),
        (Some(15_000), vec![])
    );
    assert!(filling.position.knows_id(&id(2)));

    // Events have come between the two.
    let mut filling = Filling::after(&[(10_000, 1)]);
    assert_eq!(filling.answer(30_000, &[]), Next::Ask);
    assert_eq!(filling.answer(30_000, &[(29_000, 2)]), Next::Ask);
    assert_eq!(filling.asked(), (Some(5000), 0, 100));
    assert_eq!(filling.answer(30_000, &[(29_000, 2)]), Next::Over);
    assert_eq!(filling.new, [2]);
}

#[test]
fn a_millisecond_of_more_than_the_service_returns_is_told() {
    let mut filling = Filling::after(&[(10_000, 0)]);
    let crowd: Vec<_> = (0..20).map(|n| (10_000, n)).collect();
    let mut limits = Vec::new();
    while filling.fill.stage != Stage::Probing {
        assert_eq!(filling.answer(10_000, &crowd), Next::Ask);
        limits.push(filling.asked().2);
    }
    assert_eq!(filling.asked(), (Some(10_000), 20, 1));
    assert_eq!(filling.answer(10_000, &[(10_000, 20)]), Next::Ask);
    assert!(filling.holes.is_empty());
    assert_eq!(filling.asked().0, Some(10_001));
    assert_eq!(filling.answer(10_000, &[(10_007, 21)]), Next::Over);
    assert_eq!(
        filling.holes,
        hole(Why::Crowded, Some(10_000), Some(10_007))
    );
    assert_eq!(filling.new.len(), 20);
}

#[test]
fn a_long_answer_is_asked_for_in_parts_and_one_long_event_is_left_out() {
    // Of the events 0 to 4, the third one is longer than any answer, and three of the others are, too.
    let events: Vec<_> = (0..5)
        .map(|n| (10_000 + i64::try_from(n).unwrap(), n))
        .collect();
    let mut filling = Filling::after(&events[..1]);
    let mut asked = 0;
    loop {
        let (since, start, limit) = filling.asked();
        let page: Vec<_> = events
            .iter()
            .filter(|(date, _)| Some(*date) >= since)
            .collect();
        let page: Vec<_> = page.into_iter().skip(start).take(limit).copied().collect();
        let next = if page.len() > 2 || page.contains(&events[2]) {
            let taken = filling.fill.too_long();
            filling.took(taken, &[])
        } else {
            filling.answer(10_010, &page)
        };
        asked += 1;
        assert!(asked < 50);
        if next == Next::Over {
            break;
        }
    }
    assert_eq!(filling.new, [1, 3, 4]);
    assert_eq!(filling.holes, hole(Why::TooLong, Some(10_001), None));
}

#[test]
fn nothing_behind_the_last_date_is_wanted() {
    let mut filling = Filling::after(&[(10_000, 1)]);
    filling.fill = filling.fill.until(10_100);
    let page = [(10_000, 1), (10_100, 2), (10_100, 3), (10_101, 4)];
    assert_eq!(filling.answer(10_200, &page), Next::Over);
    assert_eq!(filling.new, [2, 3]);
}

#[test]
fn a_page_after_another_has_to_hold_all_of_its_last_events() {
    let page: Vec<_> = (0..100)
        .map(|n| (10_000 + i64::try_from(n).unwrap(), n))
        .collect();
    for is_known_later in [false, true] {
        let mut filling = Filling::after(&page[..1]);
        assert_eq!(filling.answer(10_200, &page), Next::Ask);
        assert_eq!(filling.asked(), (Some(10_089), 0, 200));
        if is_known_later {
            // The connection was lost meanwhile.
            for (date, n) in &page {
                filling.position.know(id(*n), *date);
            }
            filling.fill = Fill::new(&filling.position, []);
        }
        // A late one is still there, and one that came before it may have been removed.
        let next = [page[95], (10_200, 100)];
        assert_eq!(filling.answer(99_000, &next), Next::Over);
        assert_eq!(
            filling.holes,
            hole(Why::Evicted, Some(10_099), Some(10_095))
        );
        assert!(filling.new.contains(&100));
        assert!(!filling.position.is_partial);
    }
}

#[test]
fn fewer_events_are_asked_for_after_an_answer_that_did_not_come() {
    let mut fill = Fill::new(&Position::default(), []);
    let limits = [100, 25, 20, 20].map(|limit| {
        assert_eq!(fill.query().limit, limit);
        fill.too_slow();
        fill.ceiling
    });
    assert_eq!(limits, [50, 20, 20, 20]);
}
