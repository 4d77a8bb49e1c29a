//! One lane of a gateway that crashes, over a store and beside workers that do whatever they may at any moment.
//! Whatever happens, the lane keeps its order, and everything is settled in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::delivery::pending::Pending;
use crate::delivery::scheduler::{
    Action, CircuitLimits, Feedback, Input, LaneSpec, Limits, OpenCircuit, Refill, Refilled,
    Scheduler, SilenceLimits, Start,
};
use crate::delivery::ticket::Ticket;
use crate::domain::{ApplicationId, EndpointId, OrganizationId};

const SECOND: Duration = Duration::from_secs(1);

/// Failed tries after which a delivery fails for good.
const MOST_TRIES: u16 = 5;

/// How old some may grow.
const MOST_AGE: Duration = Duration::from_secs(20);

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Success,
    Failure,
    Overloaded,
    /// A plugin failed.
    NotSent,
    /// A plugin dropped it.
    Dropped,
    /// Not made at all.
    Postponed,
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    /// A message is accepted; none before so many seconds have passed.
    Post(u64),
    /// Fan-out hands the next one over, or the one after it: both were accepted at the same moment.
    HandOver { second: bool },
    /// An attempt under way ends.
    End(End),
    /// The recorder's next rows reach the disk.
    Commit(usize),
    /// The lane is told the next thing, or the one after it.
    Tell { second: bool },
    /// The store answers the next read, or fails to.
    Read { fails: bool },
    /// So many seconds pass.
    Wait(u64),
    /// Paused or resumed.
    Pause(bool),
    /// Disabled or enabled.
    Disable(bool),
    /// The order is changed.
    Order(DeliveryOrder),
    /// Somebody asks for one more try.
    Resend(u64),
    /// A chain was mended: what failed is due.
    Heal,
    /// Its owner changed the endpoint, so that its circuit probes.
    Mend,
    /// Killed and started again.
    Crash,
}

/// What really happened to a message, whatever a crash made the gateway forget.
#[derive(Debug, Default)]
struct Truth {
    deliver_at: Option<Timestamp>,
    /// Too old from then on.
    expires: Option<Timestamp>,
    /// Fan-out has handed it to the lane as it stands.
    handed: bool,
    /// It once succeeded, failed for good or was dropped.
    settled: bool,
    /// Most failed tries at any time.
    tries: u16,
    /// It was handed over, and then overtaken as it may be.
    skipped: bool,
}

/// The gateway and all around its one lane.
struct World {
    limits: Limits,
    scheduler: Scheduler,
    pending: Arc<Pending>,
    /// How many the lane may count twice for a while: a try by hand was asked for before fan-out came to the
    /// delivery, or something happened before the lane was opened.
    early: i64,
    now: Timestamp,
    spec: LaneSpec,
    truth: BTreeMap<Seq, Truth>,
    // On disk.
    outbox: Vec<Seq>,
    rows: BTreeMap<Seq, DeliveryRow>,
    // In the process.
    fan_out: VecDeque<Option<Seq>>,
    running: Vec<Item>,
    /// Attempts that the lane believes to be under way.
    in_flight: usize,
    recorder: VecDeque<(DeliveryRow, Option<Arc<Ticket>>)>,
    told: VecDeque<Input>,
    reads: VecDeque<Refill>,
    circuit: Option<OpenCircuit>,
}

fn limits(window: usize) -> Limits {
    Limits {
        gateway: 8,
        organization: 8,
        application: 8,
        bytes: 64 << 20,
        lane_start: 3,
        lane_max: 4,
        window,
        total: usize::MAX,
        idle_lanes: 0,
        refills: 1,
        slow_down_floor: 2 * SECOND,
        silence: SilenceLimits {
            silence: 1_000_000 * SECOND,
            failures: u32::MAX,
            spread: SECOND,
        },
        circuit: CircuitLimits {
            failures: 2,
            first_probe: 2 * SECOND,
            longest_probe: 20 * SECOND,
        },
    }
}

impl World {
    fn new(window: usize, order: DeliveryOrder) -> Self {
        let limits = limits(window);
        let pending = Arc::<Pending>::default();
        Self {
            scheduler: Scheduler::new(limits.clone()).counting(Arc::clone(&pending)),
            pending,
            early: 0,
            limits,
            now: Timestamp::from_millis(1_000_000),
            spec: LaneSpec {
                endpoint: EndpointId::from_bytes([1; 20]),
                app: ApplicationId::from_bytes([2; 20]),
                org: OrganizationId::from_bytes([3; 20]),
                rate: None,
                order,
                paused: false,
                disabled: false,
                failing_since: None,
                changed_at: Timestamp::default(),
                revision: 1,
            },
            truth: BTreeMap::new(),
            outbox: Vec::new(),
            rows: BTreeMap::new(),
            fan_out: VecDeque::from([None]),
            running: Vec::new(),
            in_flight: 0,
            recorder: VecDeque::new(),
            told: VecDeque::new(),
            reads: VecDeque::new(),
            circuit: None,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Post(later) => self.post(later),
            Event::HandOver { second } => self.hand_over(second),
            Event::End(end) => self.end(end),
            Event::Commit(count) => self.commit(count),
            Event::Tell { second } => {
                if second && self.told.len() > 1 {
                    self.told.swap(0, 1);
                }
                if let Some(input) = self.told.pop_front() {
                    self.tell(input);
                }
            }
            Event::Read { fails } => self.read(fails),
            Event::Wait(seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.advance();
            }
            Event::Pause(paused) => self.change(|spec| spec.paused = paused),
            Event::Disable(disabled) => self.change(|spec| spec.disabled = disabled),
            Event::Order(order) => self.change(|spec| spec.order = order),
            Event::Resend(which) => self.resend(which),
            Event::Heal => self.heal(),
            Event::Mend => {
                let now = self.now;
                self.change(|spec| spec.changed_at = now);
            }
            Event::Crash => self.crash(),
        }
    }

    fn post(&mut self, later: u64) {
        let seq = Seq(self.truth.len() as u64 + 1);
        let deliver_at = (later > 0).then(|| self.now.after(Duration::from_secs(later)));
        let truth = Truth {
            deliver_at,
            // Every third one.
            expires: seq.0.is_multiple_of(3).then(|| self.now.after(MOST_AGE)),
            ..Truth::default()
        };
        self.truth.insert(seq, truth);
        if self.spec.disabled {
            // Fan-out passes it by.
            self.truth.get_mut(&seq).unwrap().settled = true;
            return;
        }
        self.outbox.push(seq);
        self.fan_out.push_back(Some(seq));
    }

    fn hand_over(&mut self, second: bool) {
        if second
            && let (Some(Some(_)), Some(Some(_))) = (self.fan_out.front(), self.fan_out.get(1))
        {
            self.fan_out.swap(0, 1);
        }
        match self.fan_out.pop_front() {
            Some(Some(seq)) => {
                let truth = self.truth.get_mut(&seq).unwrap();
                truth.handed = true;
                let due = truth.deliver_at.unwrap_or(self.now).max(self.now);
                let mut item = Item::first(seq, due, 1, Arc::new(Ticket::new(seq, 1)));
                item.expires = truth.expires;
                self.pending.of(self.spec.org).add(1);
                self.tell(Input::Deliver(self.spec.clone(), item));
            }
            Some(None) => self.tell(Input::CaughtUp),
            None => {}
        }
    }

    fn end(&mut self, end: End) {
        if self.running.is_empty() {
            return;
        }
        let item = self.running.remove(0);
        let (seq, lane) = (item.message, self.spec.endpoint);
        if matches!(end, End::Postponed) {
            return self.told.push_back(Input::Postponed(lane, item, SECOND));
        }
        let by_hand = item.trigger == Trigger::Manual;
        let tries = item.tries + u16::from(!by_hand);
        let again = match by_hand {
            true => item.resume_due.map(|due| due.max(self.now)),
            false => (tries < MOST_TRIES).then(|| self.now.after(3 * SECOND)),
        };
        let failed = again.map_or(DeliveryState::Failed, |due| DeliveryState::Parked {
            due,
            trigger: Trigger::Scheduled,
        });
        let expires = self.expiry(seq).map(|(_, end)| end);
        let too_old = !by_hand && expires.is_some_and(|end| end <= self.now);
        let (state, says) = match end {
            _ if too_old => (DeliveryState::Failed, Feedback::NotAsked),
            End::Success => (DeliveryState::Success, Feedback::Success),
            End::Dropped => (DeliveryState::Canceled, Feedback::NotAsked),
            End::NotSent => (failed, Feedback::NotAsked),
            End::Overloaded => (failed, Feedback::Overloaded(None)),
            End::Failure | End::Postponed => (failed, Feedback::Failure),
        };
        let truth = self.truth.get_mut(&seq).unwrap();
        truth.settled |= state.is_settled();
        truth.tries = truth.tries.max(tries);
        let mut row = item.row(lane, state);
        row.tries = tries;
        row.resume_due = None;
        self.recorder.push_back((row, item.ticket));
        self.told.push_back(Input::Finished(lane, seq, says));
    }

    fn commit(&mut self, count: usize) {
        for _ in 0..count {
            let Some((row, ticket)) = self.recorder.pop_front() else {
                return;
            };
            let seq = row.key.message;
            if ticket.and_then(|ticket| ticket.close_one()).is_some() {
                self.outbox.retain(|other| *other != seq);
            }
            // Disabled, so that what waited failed.
            self.truth.get_mut(&seq).unwrap().settled |= row.state.is_settled();
            self.rows.insert(seq, row.clone());
            self.told.push_back(Input::Recorded(row));
        }
    }

    fn read(&mut self, fails: bool) {
        let Some(refill) = self.reads.pop_front() else {
            return;
        };
        if fails {
            return self.tell(Input::RefillFailed(refill.lane));
        }
        let mut parked: Vec<(Timestamp, Seq)> = self.rows.values().filter_map(due_of).collect();
        parked.sort_unstable();
        parked.retain(|place| refill.after.is_none_or(|after| *place > after));
        let is_due = |place: &&(Timestamp, Seq)| place.0 <= refill.until;
        let due: Vec<_> = parked
            .iter()
            .take_while(is_due)
            .take(refill.limit)
            .collect();
        let refilled = Refilled {
            full: due.len() == refill.limit,
            next_due: parked.get(due.len()).map(|place| place.0),
            rows: due
                .iter()
                .map(|place| self.rows[&place.1].clone())
                .collect(),
            expires: due
                .iter()
                .filter_map(|place| self.expiry(place.1))
                .collect(),
        };
        self.told.push_back(Input::Refilled(refill.lane, refilled));
    }

    fn expiry(&self, seq: Seq) -> Option<(Seq, Timestamp)> {
        Some((seq, self.truth[&seq].expires?))
    }

    fn change(&mut self, change: impl FnOnce(&mut LaneSpec)) {
        change(&mut self.spec);
        self.spec.revision += 1;
        self.tell(Input::Changed(self.spec.clone()));
    }

    fn resend(&mut self, which: u64) {
        if self.truth.is_empty() || self.spec.disabled {
            return;
        }
        let seq = Seq(which % self.truth.len() as u64 + 1);
        let is_early = self.fan_out.contains(&Some(seq));
        self.early = self.early.saturating_add(is_early.into());
        let row = self.rows.get(&seq).cloned();
        let (reply, _) = oneshot::channel();
        self.tell(Input::Resend(self.spec.clone(), seq, row, reply));
    }

    fn heal(&mut self) {
        let now = self.now;
        let failed = self.rows.values().filter(|row| row.tries > 0);
        let later = failed.filter(|row| due_of(row).is_some_and(|(due, _)| due > now));
        let rows = later.cloned().map(|mut row| {
            if let DeliveryState::Parked { trigger, .. } = row.state {
                row.state = DeliveryState::Parked { due: now, trigger };
            }
            row
        });
        let (reply, _) = oneshot::channel();
        let rows = rows.collect();
        self.tell(Input::Reschedule(self.spec.clone(), rows, reply));
    }

    fn crash(&mut self) {
        self.pending = Arc::default();
        self.early = 0;
        let scheduler = Scheduler::new(self.limits.clone());
        self.scheduler = scheduler.counting(Arc::clone(&self.pending));
        self.running.clear();
        self.in_flight = 0;
        self.recorder.clear();
        self.told.clear();
        self.reads.clear();
        self.circuit = None;
        for (seq, truth) in &mut self.truth {
            truth.handed = true;
            // Asked for by hand before fan-out came: its row says no more than that.
            truth.skipped |= self.outbox.contains(seq) && self.rows.contains_key(seq);
        }
        self.outbox.retain(|seq| !self.rows.contains_key(seq));
        self.fan_out = self
            .outbox
            .iter()
            .copied()
            .map(Some)
            .chain([None])
            .collect();
        let parked = self.rows.values().filter_map(due_of);
        if let Some((earliest, _)) = parked.clone().min() {
            let open = Input::Open(self.spec.clone(), earliest, parked.count() as u64);
            self.told.push_back(open);
        }
    }

    fn tell(&mut self, mut input: Input) {
        let is_open = |input: &Input| matches!(input, Input::Open(..));
        if self.told.iter().any(is_open) {
            self.early = i64::MAX;
        }
        if let Input::Open(spec, ..) = &mut input {
            spec.clone_from(&self.spec);
        }
        if matches!(input, Input::Finished(..) | Input::Postponed(..)) {
            self.in_flight -= 1;
        }
        let mut actions = Vec::new();
        self.scheduler.take(self.now, input, &mut actions);
        self.carry_out(actions);
        self.advance();
    }

    fn advance(&mut self) {
        let mut actions = Vec::new();
        self.scheduler.advance(self.now, &mut actions);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(Start { item, .. }) => {
                    self.check(&item);
                    self.in_flight += 1;
                    self.running.push(item);
                }
                Action::Write { row, ticket, .. } => self.recorder.push_back((row, ticket)),
                Action::Refill(refill) => self.reads.push_back(refill),
                Action::Health(..) => {}
                Action::Circuit(_, circuit) => self.circuit = circuit,
            }
        }
    }

    /// The law.
    fn check(&mut self, item: &Item) {
        let DeliveryOrder::Fifo { skip_after } = self.spec.order else {
            return;
        };
        assert_eq!(self.in_flight, 0, "one at a time");
        let skips = |tries: u16| skip_after.is_some_and(|most| tries >= most);
        for truth in self.truth.values_mut() {
            truth.skipped |= skips(truth.tries);
        }
        if item.trigger == Trigger::Manual || skips(item.tries) {
            return;
        }
        for (seq, truth) in self.truth.range(..item.message) {
            let may_be_behind = truth.deliver_at.is_some() || !truth.handed;
            assert!(
                truth.settled || truth.skipped || may_be_behind,
                "{:?} starts before {seq:?}, {truth:?}",
                item.message
            );
        }
    }

    fn is_open(&self) -> bool {
        self.circuit.is_some()
    }

    /// Everything happens that needs no time and no receiver.
    fn goes_on(&mut self) {
        for _ in 0..100_000 {
            if !self.fan_out.is_empty() {
                self.hand_over(false);
            } else if !self.recorder.is_empty() {
                self.commit(1);
            } else if !self.told.is_empty() {
                self.happens(Event::Tell { second: false });
            } else if !self.reads.is_empty() {
                self.read(false);
            } else {
                return self.recount();
            }
        }
        panic!("it goes round in circles");
    }

    /// Everybody knows what is on disk.
    fn recount(&self) {
        let rows = self.rows.values().filter_map(due_of).map(|(_, seq)| seq);
        let running = self.running.iter().map(|item| item.message);
        let unfinished: BTreeSet<Seq> = rows.chain(running).chain(self.outbox.clone()).collect();
        let counted = self.pending.of(self.spec.org).get();
        let more = counted - unfinished.len() as i64;
        let range = 0..=self.early;
        assert!(range.contains(&more), "{counted}, {unfinished:?}");
    }

    /// The message under way, which succeeds.
    fn next(&mut self) -> Option<Seq> {
        self.goes_on();
        let next = self.running.first().map(|item| item.message);
        self.end(End::Success);
        next
    }

    /// Everybody behaves from now on.
    fn settle_all(&mut self) {
        self.change(|spec| (spec.paused, spec.disabled) = (false, false));
        for _ in 0..100_000 {
            self.goes_on();
            if !self.running.is_empty() {
                self.end(End::Success);
            } else if let Some(wake) = self.scheduler.next_wake() {
                self.now = self.now.max(wake);
                self.advance();
            } else {
                break;
            }
        }
        let waiting: Vec<_> = self.rows.values().filter_map(due_of).collect();
        assert!(waiting.is_empty(), "stuck: {} rows", waiting.len());
        assert!(
            self.outbox.is_empty(),
            "lost: {} entries",
            self.outbox.len()
        );
        let unsettled: Vec<_> = self
            .truth
            .iter()
            .filter(|(_, truth)| !truth.settled)
            .collect();
        assert!(unsettled.is_empty(), "lost: {}", unsettled.len());
    }
}

fn due_of(row: &DeliveryRow) -> Option<(Timestamp, Seq)> {
    match row.state {
        DeliveryState::Parked { due, .. } => Some((due, row.key.message)),
        _ => None,
    }
}

fn fifo() -> impl Strategy<Value = DeliveryOrder> {
    prop_oneof![
        Just(DeliveryOrder::Fifo { skip_after: None }),
        (1..4_u16).prop_map(|tries| DeliveryOrder::Fifo {
            skip_after: Some(tries)
        }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Success),
        4 => Just(End::Failure),
        1 => Just(End::Overloaded),
        1 => Just(End::NotSent),
        1 => Just(End::Dropped),
        1 => Just(End::Postponed),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Post(0)),
        1 => (1..10_u64).prop_map(Event::Post),
        12 => any::<bool>().prop_map(|second| Event::HandOver { second }),
        12 => end().prop_map(Event::End),
        12 => (1..4_usize).prop_map(Event::Commit),
        16 => any::<bool>().prop_map(|second| Event::Tell { second }),
        12 => proptest::bool::weighted(0.1).prop_map(|fails| Event::Read { fails }),
        6 => (0..5_u64).prop_map(Event::Wait),
        2 => any::<bool>().prop_map(Event::Pause),
        2 => (0..1_000_u64).prop_map(Event::Resend),
        1 => Just(Event::Heal),
        1 => Just(Event::Mend),
        1 => Just(Event::Crash),
    ]
}

/// What also happens to a lane now and then.
fn rare_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => event(),
        1 => any::<bool>().prop_map(Event::Disable),
        1 => fifo().prop_map(Event::Order),
        1 => Just(Event::Order(DeliveryOrder::Free)),
    ]
}

fn play(window: usize, order: DeliveryOrder, events: Vec<Event>) {
    let mut world = World::new(window, order);
    for event in events {
        world.happens(event);
    }
    world.settle_all();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_order_holds_whatever_happens(
        window in 2..9_usize,
        order in fifo(),
        events in proptest::collection::vec(event(), 0..250),
    ) {
        play(window, order, events);
    }

    #[test]
    fn it_holds_from_the_moment_it_is_asked_for(
        window in 2..9_usize,
        order in fifo(),
        events in proptest::collection::vec(rare_event(), 0..250),
    ) {
        play(window, order, events);
    }
}

#[test]
fn what_a_moment_was_asked_for_takes_its_place_at_that_moment() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for later in [5, 0, 0, 0] {
        world.post(later);
    }
    assert_eq!(world.next(), Some(Seq(2)));
    assert_eq!(world.next(), Some(Seq(3)));
    world.goes_on();
    world.happens(Event::Wait(6));
    world.post(0);
    assert_eq!(world.next(), Some(Seq(4)), "under way already");
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(5)));
}

#[test]
fn a_try_by_hand_goes_first_and_a_failed_one_takes_its_place_again() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..4 {
        world.post(0);
    }
    world.goes_on();
    world.resend(2);
    world.goes_on();
    assert_eq!(world.next(), Some(Seq(1)));
    world.goes_on();
    assert_eq!(world.running[0].message, Seq(3), "by hand");
    world.end(End::Failure);
    assert_eq!(world.next(), Some(Seq(2)));
    assert_eq!(world.next(), Some(Seq(3)));
    assert_eq!(world.next(), Some(Seq(4)));
}

#[test]
fn a_mended_plugin_lets_the_head_go_at_once() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..2 {
        world.post(0);
    }
    world.goes_on();
    world.end(End::NotSent);
    world.goes_on();
    assert!(world.running.is_empty(), "it waits for its time");
    world.heal();
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
}

#[test]
fn a_success_need_not_be_on_disk_for_the_next_one_to_go() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..2 {
        world.post(0);
    }
    world.goes_on();
    world.end(End::Success);
    world.happens(Event::Tell { second: false });
    assert_eq!(world.recorder.len(), 1);
    assert_eq!(world.running[0].message, Seq(2));
    world.crash();
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
}

#[test]
fn what_was_not_looked_through_yet_fails_too_when_the_endpoint_is_disabled() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    world.post(100);
    world.goes_on();
    world.crash();
    world.happens(Event::Tell { second: false });
    world.happens(Event::Pause(true));
    world.happens(Event::Read { fails: false });
    world.happens(Event::Tell { second: false });
    world.happens(Event::Disable(true));
    world.settle_all();
}

/// One whose receiver has failed so often that its circuit is open; the first is at the head.
fn spared() -> World {
    let mut world = World::new(100, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..60 {
        world.post(0);
    }
    while !world.is_open() {
        world.goes_on();
        if world.running.is_empty() {
            world.happens(Event::Wait(1));
        }
        world.end(End::Failure);
    }
    world.goes_on();
    world
}

#[test]
fn the_head_probes_and_the_rest_comes_back_from_the_store_in_order() {
    let mut world = spared();
    assert!(world.scheduler.backlog().0 <= 16);
    assert!(world.running.is_empty());
    world.happens(Event::Wait(10));
    assert_eq!(world.running.len(), 1);
    for seq in 1..=60 {
        assert_eq!(world.next(), Some(Seq(seq)));
    }
    assert!(!world.is_open());
}

#[test]
fn what_comes_behind_an_open_circuit_lines_up_behind_what_was_withdrawn() {
    let mut world = spared();
    for _ in 0..20 {
        world.post(0);
    }
    world.goes_on();
    assert!(world.scheduler.backlog().0 <= 16);
    world.crash();
    for seq in 1..=80 {
        world.happens(Event::Wait(20));
        assert_eq!(world.next(), Some(Seq(seq)));
    }
}

#[test]
fn only_the_head_is_let_out_when_it_has_grown_too_old() {
    let mut world = World::new(100, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..4 {
        world.post(0);
    }
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
    world.goes_on();
    for wait in [0, 3, 7, 8] {
        world.happens(Event::Wait(wait));
        assert_eq!(world.running[0].message, Seq(3));
        world.end(End::Failure);
        world.goes_on();
    }
    assert!(world.is_open() && world.running.is_empty());
    world.happens(Event::Wait(3));
    assert_eq!(world.running[0].message, Seq(3), "no probe, too old");
    world.end(End::Failure);
    world.goes_on();
    assert!(world.is_open() && world.running.is_empty());
    world.happens(Event::Wait(6));
    assert_eq!(world.next(), Some(Seq(4)));
}
