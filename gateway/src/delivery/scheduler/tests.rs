//! A simulation: receivers that take their time and answer as told, a store of parked deliveries, a clock that
//! jumps from one thing that happens to the next.

mod by_hand;
mod circuits;
mod endpoints;
mod fairness;
mod retries;
mod speed;
mod turns;
mod window;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::delivery::ticket::Ticket;
use crate::domain::{
    ApplicationId, DeliveryOrder, DeliveryRow, DeliveryState, OrganizationId, Trigger,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const START: u64 = 1_000_000_000_000;
/// How long the simulated store takes to write or read.
const STORE_MS: u64 = 1;

pub(super) fn limits() -> Limits {
    Limits {
        gateway: 64,
        organization: 48,
        application: 32,
        bytes: 64 << 20,
        lane_start: 8,
        lane_max: 32,
        window: 20,
        total: usize::MAX,
        idle_lanes: 100,
        refills: 4,
        slow_down_floor: Duration::from_secs(60),
        silence: SilenceLimits {
            silence: Duration::from_secs(5 * 24 * 3600),
            failures: 10,
            spread: Duration::from_secs(12 * 3600),
        },
        circuit: CircuitLimits {
            failures: 0,
            first_probe: Duration::from_secs(5),
            longest_probe: Duration::from_secs(300),
        },
    }
}

fn bytes(n: u32, kind: u8) -> [u8; 20] {
    let mut bytes = [kind; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn spec(org: u32, app: u32, lane: u32) -> LaneSpec {
    LaneSpec {
        endpoint: EndpointId::from_bytes(bytes(lane, 1)),
        app: ApplicationId::from_bytes(bytes(app, 2)),
        org: OrganizationId::from_bytes(bytes(org, 3)),
        rate: None,
        order: DeliveryOrder::Free,
        paused: false,
        disabled: false,
        failing_since: None,
        changed_at: Timestamp::default(),
        revision: 1,
    }
}

/// How a receiver behaves.
#[derive(Clone, Copy)]
struct Receiver {
    takes: u64,
    says: Feedback,
}

struct Sim {
    now: Timestamp,
    scheduler: Scheduler,
    receivers: HashMap<EndpointId, Receiver>,
    /// What happens when, in order of time and then of having been caused.
    events: BinaryHeap<Reverse<(u64, u64)>>,
    inputs: HashMap<u64, Input>,
    caused: u64,
    parked: HashMap<EndpointId, BTreeMap<(Timestamp, Seq), DeliveryRow>>,
    /// When deliveries started, in order.
    started: Vec<(Timestamp, EndpointId, Seq)>,
    settled: Vec<DeliveryRow>,
    health: Vec<HealthChange>,
    circuits: HashMap<EndpointId, Option<OpenCircuit>>,
    under_way: HashMap<EndpointId, u32>,
    most_under_way: HashMap<EndpointId, u32>,
    next_message: u64,
    retry_in: Duration,
}

impl Sim {
    fn new(limits: Limits) -> Self {
        Self {
            now: Timestamp::from_millis(START),
            scheduler: Scheduler::new(limits),
            receivers: HashMap::new(),
            events: BinaryHeap::new(),
            inputs: HashMap::new(),
            caused: 0,
            parked: HashMap::new(),
            started: Vec::new(),
            settled: Vec::new(),
            health: Vec::new(),
            circuits: HashMap::new(),
            under_way: HashMap::new(),
            most_under_way: HashMap::new(),
            next_message: 0,
            retry_in: Duration::from_secs(300),
        }
    }

    fn receiver(&mut self, spec: &LaneSpec, takes: u64, says: Feedback) {
        self.receivers
            .insert(spec.endpoint, Receiver { takes, says });
    }

    /// New deliveries, one after the other, at this moment.
    fn deliver(&mut self, spec: &LaneSpec, count: u64) {
        for _ in 0..count {
            self.next_message += 1;
            let message = Seq(self.next_message);
            let ticket = Arc::new(Ticket::new(message, 1));
            let item = Item::first(message, self.now, 1_000, ticket);
            self.input(Input::Deliver(spec.clone(), item));
        }
    }

    fn input(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.scheduler.take(self.now, input, &mut actions);
        self.scheduler.advance(self.now, &mut actions);
        for action in actions {
            self.perform(action);
        }
    }

    fn cause(&mut self, after_ms: u64, input: Input) {
        self.caused += 1;
        let at = self.now.millis() + after_ms;
        self.events.push(Reverse((at, self.caused)));
        self.inputs.insert(self.caused, input);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(Start { lane, item, .. }) => {
                let Receiver { takes, says } = self.receivers[&lane];
                self.started.push((self.now, lane, item.message));
                let under_way = self.under_way.entry(lane).or_default();
                *under_way += 1;
                let most = self.most_under_way.entry(lane).or_default();
                *most = (*most).max(*under_way);
                self.cause(takes, Input::Finished(lane, item.message, says));
                let state = match says {
                    Feedback::Success => DeliveryState::Success,
                    Feedback::NotAsked => DeliveryState::Canceled,
                    Feedback::Failure | Feedback::Overloaded(_) => DeliveryState::Parked {
                        due: self.now.after(Duration::from_millis(takes) + self.retry_in),
                        trigger: Trigger::Scheduled,
                    },
                };
                let mut row = item.row(lane, state);
                row.tries += 1;
                self.cause(takes + STORE_MS, Input::Recorded(row));
            }
            Action::Write { row, reply, .. } => {
                reply.and_then(|reply| reply.send(()).ok());
                self.cause(STORE_MS, Input::Recorded(row));
            }
            Action::Refill(refill) => {
                let refilled = self.read(refill);
                self.cause(STORE_MS, Input::Refilled(refill.lane, refilled));
            }
            Action::Health(_, change) => self.health.push(change),
            Action::Circuit(lane, circuit) => {
                self.circuits.insert(lane, circuit);
            }
        }
    }

    fn read(&self, refill: Refill) -> Refilled {
        let rows = self.parked.get(&refill.lane);
        let after = refill.after.unwrap_or_default();
        let mut ahead = rows
            .into_iter()
            .flatten()
            .filter(|(place, _)| **place > after)
            .peekable();
        let mut due = Vec::new();
        while due.len() < refill.limit
            && let Some((_, row)) = ahead.next_if(|((due, _), _)| *due <= refill.until)
        {
            due.push(row.clone());
        }
        Refilled {
            full: due.len() == refill.limit,
            next_due: ahead.next().map(|((due, _), _)| *due),
            rows: due,
            expires: HashMap::new(),
        }
    }

    /// What the store has written is visible from now on.
    fn keep(&mut self, row: &DeliveryRow) {
        let rows = self.parked.entry(row.key.endpoint).or_default();
        rows.retain(|_, old| old.key != row.key);
        if let DeliveryState::Parked { due, .. } = row.state {
            rows.insert((due, row.key.message), row.clone());
        } else {
            self.settled.push(row.clone());
        }
    }

    /// Goes to the next thing that happens, if one does until then.
    fn step(&mut self, until: Timestamp) -> bool {
        let event = self.events.peek().map(|Reverse((at, _))| *at);
        let wake = self.scheduler.next_wake().map(Timestamp::millis);
        let Some(at) = event.into_iter().chain(wake).min() else {
            return false;
        };
        if at > until.millis() {
            return false;
        }
        self.now = self.now.max(Timestamp::from_millis(at));
        let mut actions = Vec::new();
        if event == Some(at)
            && let Some(Reverse((_, cause))) = self.events.pop()
            && let Some(input) = self.inputs.remove(&cause)
        {
            match &input {
                Input::Recorded(row) => self.keep(row),
                Input::Finished(lane, ..) => *self.under_way.get_mut(lane).unwrap() -= 1,
                _ => {}
            }
            self.scheduler.take(self.now, input, &mut actions);
        }
        self.scheduler.advance(self.now, &mut actions);
        for action in actions {
            self.perform(action);
        }
        true
    }

    fn run_for(&mut self, time: Duration) -> usize {
        let until = self.now.after(time);
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
        }
        self.now = until;
        steps
    }

    fn starts_of(&self, spec: &LaneSpec) -> usize {
        let lane = spec.endpoint;
        self.started.iter().filter(|(_, of, _)| *of == lane).count()
    }
}
