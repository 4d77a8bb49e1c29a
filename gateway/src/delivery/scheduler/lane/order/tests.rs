//! One lane of a gateway that crashes, over a store and beside workers that do whatever they may at any moment.
//! Whatever happens, the lane keeps its order, and everything is settled in the end.

mod events;
mod laws;
mod spared;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::delivery::pending::Pending;
use crate::delivery::scheduler::{
    Action, CircuitLimits, Feedback, Input, LaneSpec, Limits, OpenCircuit, Refill, Refilled,
    Scheduler, SilenceLimits, Start,
};
use crate::delivery::ticket::Ticket;
use crate::domain::{ApplicationId, EndpointId, OrganizationId};
use events::{End, Event};

const SECOND: Duration = Duration::from_secs(1);

/// Failed tries after which a delivery fails for good.
const MOST_TRIES: u16 = 5;

/// How old some may grow.
const MOST_AGE: Duration = Duration::from_secs(20);

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
