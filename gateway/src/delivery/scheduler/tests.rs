//! A simulation: receivers that take their time and answer as told, a store of parked deliveries, a clock that
//! jumps from one thing that happens to the next.

mod circuits;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use std::sync::Arc;

use tokio::sync::oneshot;

use super::*;
use crate::delivery::ticket::Ticket;
use crate::domain::{
    ApplicationId, DeliveryOrder, DeliveryRow, DeliveryState, OrganizationId, Trigger,
};

mod fairness;

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

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn organizations_applications_and_lanes_share_fairly_whatever_their_traffic() {
    let mut sim = Sim::new(Limits {
        window: 100_000,
        gateway: 8,
        ..limits()
    });
    // One organization with a flood in one lane; one whose two applications have one and three lanes.
    let flood = spec(1, 1, 1);
    let lonely = spec(2, 2, 2);
    let trio = [spec(2, 3, 3), spec(2, 3, 4), spec(2, 3, 5)];
    let all = [&flood, &lonely, &trio[0], &trio[1], &trio[2]];
    for lane in all {
        sim.receiver(lane, 10, Feedback::Success);
    }
    sim.deliver(&flood, 50_000);
    for lane in [&lonely, &trio[0], &trio[1], &trio[2]] {
        sim.deliver(lane, 1_000);
    }
    sim.run_for(Duration::from_millis(2_000));
    let starts = all.map(|lane| sim.starts_of(lane) as f64);
    let total: f64 = starts.iter().sum();
    let shares = starts.map(|count| count / total);
    for (share, fair) in shares.iter().zip([0.5, 0.25, 0.0833, 0.0833, 0.0833]) {
        assert!((share - fair).abs() < 0.03, "{shares:?}");
    }
}

#[test]
fn a_hundredfold_neighbour_costs_a_small_tenant_almost_nothing() {
    let mut sim = Sim::new(Limits {
        window: 100_000,
        ..limits()
    });
    let (loud, quiet) = (spec(1, 1, 1), spec(2, 2, 2));
    sim.receiver(&loud, 20, Feedback::Success);
    sim.receiver(&quiet, 20, Feedback::Success);
    sim.deliver(&loud, 10_000);
    for _ in 0..100 {
        let came = sim.now;
        let before = sim.starts_of(&quiet);
        sim.deliver(&quiet, 1);
        sim.run_for(Duration::from_millis(30));
        assert_eq!(sim.starts_of(&quiet), before + 1);
        let (at, ..) = *sim
            .started
            .iter()
            .rfind(|(_, lane, _)| *lane == quiet.endpoint)
            .unwrap();
        assert!(
            at.since(came) <= Duration::from_millis(20),
            "{:?}",
            at.since(came)
        );
    }
}

#[test]
fn limits_hold_at_every_level() {
    let mut sim = Sim::new(Limits {
        gateway: 10,
        organization: 7,
        application: 4,
        lane_start: 3,
        lane_max: 3,
        window: 1_000,
        ..limits()
    });
    let lanes: Vec<_> = [
        (1, 1, 1),
        (1, 1, 2),
        (1, 2, 3),
        (1, 2, 4),
        (2, 3, 5),
        (2, 3, 6),
    ]
    .map(|(org, app, lane)| spec(org, app, lane))
    .into();
    for lane in &lanes {
        sim.receiver(lane, 50, Feedback::Success);
        sim.deliver(lane, 200);
    }
    let until = sim.now.after(SECOND);
    while sim.step(until) {
        let sum = |of: &dyn Fn(&LaneSpec) -> bool| -> u32 {
            let lanes = lanes.iter().filter(|lane| of(lane));
            lanes
                .filter_map(|lane| sim.under_way.get(&lane.endpoint))
                .sum()
        };
        assert!(sum(&|_| true) <= 10);
        for lane in &lanes {
            assert!(sum(&|other| other.org == lane.org) <= 7);
            assert!(sum(&|other| other.app == lane.app) <= 4);
            assert!(sum(&|other| other.endpoint == lane.endpoint) <= 3);
        }
    }
    assert!(
        sim.started.len() > 150,
        "{} of 200 possible",
        sim.started.len()
    );
}

#[test]
fn a_window_overflows_into_the_store_and_everything_arrives_once() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Success);
    sim.deliver(&lane, 5_000);
    assert!(
        sim.scheduler.backlog().0 <= limits().window,
        "memory is bounded"
    );
    sim.run_for(HOUR);
    let mut delivered: Vec<u64> = sim.started.iter().map(|(.., seq)| seq.0).collect();
    assert_eq!(delivered.len(), 5_000);
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), 5_000, "each once");
    assert_eq!(sim.settled.len(), 5_000);
    assert_eq!(sim.scheduler.next_wake(), None);
}

#[test]
fn overflow_under_steady_traffic_ends_once_the_receiver_keeps_up() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Success);
    sim.deliver(&lane, 500);
    for _ in 0..1_000 {
        sim.deliver(&lane, 1);
        sim.run_for(Duration::from_millis(2));
    }
    let parked: usize = sim.parked.values().map(BTreeMap::len).sum();
    assert!(parked <= limits().window, "{parked} still parked");
    sim.run_for(HOUR);
    assert_eq!(sim.started.len(), 1_500);
    assert_eq!(sim.settled.len(), 1_500);
}

#[test]
fn retries_come_back_when_due_and_nothing_polls_in_between() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Failure);
    sim.deliver(&lane, 100);
    sim.run_for(Duration::from_secs(200));
    assert_eq!(sim.started.len(), 100);
    let due = sim.scheduler.next_wake().unwrap();
    assert_eq!(
        due,
        *sim.parked[&lane.endpoint]
            .keys()
            .map(|(due, _)| due)
            .min()
            .unwrap()
    );
    assert_eq!(sim.run_for(Duration::from_secs(99)), 0, "no wake-up before");
    sim.receiver(&lane, 10, Feedback::Success);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.started.len(), 200);
    assert_eq!(sim.settled.len(), 100);
    assert_eq!(sim.scheduler.next_wake(), None);
}

#[test]
fn ten_thousand_dead_lanes_cost_nothing_while_they_wait() {
    let mut sim = Sim::new(limits());
    for n in 0..10_000 {
        let lane = spec(n % 10, n % 100, n);
        sim.receiver(&lane, 5, Feedback::Failure);
        sim.deliver(&lane, 1);
    }
    sim.run_for(Duration::from_secs(200));
    assert_eq!(sim.started.len(), 10_000);
    assert_eq!(sim.run_for(Duration::from_secs(90)), 0);
    assert_eq!(sim.scheduler.timers.len(), 10_000);
}

#[test]
fn first_tries_go_before_retries_without_starving_them() {
    let mut sim = Sim::new(Limits {
        lane_start: 1,
        lane_max: 1,
        window: 100,
        ..limits()
    });
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 1, Feedback::Failure);
    sim.deliver(&lane, 40);
    sim.run_for(sim.retry_in + Duration::from_millis(500));
    let retried = sim.started.len();
    assert_eq!(retried, 80);
    // Due again, all at once, beside new ones.
    sim.receiver(&lane, 100, Feedback::Success);
    sim.run_for(sim.retry_in - Duration::from_millis(600));
    sim.deliver(&lane, 40);
    sim.run_for(Duration::from_secs(5));
    let next: Vec<bool> = sim.started[retried..]
        .iter()
        .skip(5)
        .take(40)
        .map(|(.., seq)| seq.0 > 40)
        .collect();
    let first_tries = next.iter().filter(|first| **first).count();
    assert!((30..=36).contains(&first_tries), "{first_tries} of 40");
}

#[test]
fn a_new_delivery_does_not_wait_for_a_backlog_of_retries() {
    let mut sim = Sim::new(Limits {
        lane_start: 1,
        lane_max: 1,
        ..limits()
    });
    let lane = spec(1, 1, 1);
    // Twenty windows full.
    sim.receiver(&lane, 1, Feedback::Failure);
    sim.deliver(&lane, 400);
    sim.run_for(sim.retry_in - SECOND);
    assert_eq!(sim.started.len(), 400);
    sim.receiver(&lane, 100, Feedback::Success);
    sim.run_for(Duration::from_secs(3));
    for _ in 0..20 {
        let before = sim.started.len();
        sim.deliver(&lane, 1);
        sim.run_for(SECOND);
        let newest = Seq(sim.next_message);
        let others = sim.started[before..]
            .iter()
            .position(|(.., seq)| *seq == newest);
        assert!(others.is_some_and(|others| others <= 1), "{others:?}");
    }
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 420);
}

#[test]
fn a_burst_of_new_deliveries_does_not_wait_for_a_backlog_of_retries_either() {
    let mut sim = Sim::new(Limits {
        lane_start: 1,
        lane_max: 1,
        ..limits()
    });
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 1, Feedback::Failure);
    sim.deliver(&lane, 400);
    sim.run_for(sim.retry_in - SECOND);
    sim.receiver(&lane, 10, Feedback::Success);
    sim.run_for(SECOND);
    let before = sim.started.len();
    // Five windows full, so that most of them wait in the store.
    sim.deliver(&lane, 100);
    sim.run_for(Duration::from_secs(2));
    let next = &sim.started[before..];
    let first_tries = next.iter().take(130).filter(|(.., seq)| seq.0 > 400);
    assert_eq!(first_tries.count(), 100, "of {}", next.len());
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 500);
}

#[test]
fn a_rate_limit_is_smooth() {
    let mut sim = Sim::new(limits());
    let lane = LaneSpec {
        rate: Some(50),
        ..spec(1, 1, 1)
    };
    sim.receiver(&lane, 1, Feedback::Success);
    sim.deliver(&lane, 200);
    sim.run_for(Duration::from_secs(2));
    let starts = sim.starts_of(&lane);
    assert!((99..=101).contains(&starts), "{starts}");
    for window in sim.started.windows(11) {
        let spread = window[10].0.since(window[0].0);
        assert!(spread >= Duration::from_millis(190), "{spread:?}");
    }
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.starts_of(&lane), 200);
}

#[test]
fn a_high_rate_is_reached() {
    let mut sim = Sim::new(Limits {
        window: 100_000,
        ..limits()
    });
    let lane = LaneSpec {
        rate: Some(4_000),
        ..spec(1, 1, 1)
    };
    sim.receiver(&lane, 1, Feedback::Success);
    sim.deliver(&lane, 20_000);
    sim.run_for(Duration::from_secs(2));
    let starts = sim.starts_of(&lane);
    assert!((7_900..=8_100).contains(&starts), "{starts}");
}

#[test]
fn what_was_dropped_takes_no_token() {
    let mut sim = Sim::new(limits());
    let lane = LaneSpec {
        rate: Some(1),
        ..spec(1, 1, 1)
    };
    sim.receiver(&lane, 1, Feedback::NotAsked);
    sim.deliver(&lane, 20);
    sim.run_for(SECOND);
    assert_eq!(sim.starts_of(&lane), 20);
}

#[test]
fn concurrency_grows_with_success_and_halves_with_overload() {
    let mut sim = Sim::new(Limits {
        window: 10_000,
        ..limits()
    });
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 100, Feedback::Success);
    sim.deliver(&lane, 8);
    assert_eq!(sim.under_way[&lane.endpoint], 8);
    sim.deliver(&lane, 4_000);
    sim.run_for(SECOND);
    assert_eq!(sim.most_under_way[&lane.endpoint], limits().lane_max);
    sim.receiver(&lane, 100, Feedback::Overloaded(None));
    sim.run_for(Duration::from_millis(350));
    assert!(sim.under_way[&lane.endpoint] <= 16, "halved");
    sim.receiver(&lane, 100, Feedback::Success);
    sim.run_for(Duration::from_secs(2));
    assert!(sim.under_way[&lane.endpoint] > 16, "grown again");
}

#[test]
fn a_lane_overloaded_by_one_at_a_time_rests_and_then_probes() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 1_000, Feedback::Overloaded(None));
    sim.deliver(&lane, 20);
    // 8, 4, 2, 1 at a time, then none.
    sim.run_for(Duration::from_secs(10));
    let before = sim.started.len();
    assert!(before <= 8 + 4 + 2 + 1, "{before}");
    sim.run_for(Duration::from_secs(45));
    assert_eq!(sim.started.len(), before, "at rest");
    sim.run_for(Duration::from_secs(15));
    assert_eq!(sim.started.len(), before + 1, "one probe");
    sim.receiver(&lane, 10, Feedback::Success);
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 20);
}

#[test]
fn a_paused_lane_keeps_its_queue_and_goes_on() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    let paused = LaneSpec {
        paused: true,
        revision: 2,
        ..lane.clone()
    };
    let resumed = LaneSpec {
        revision: 3,
        ..lane.clone()
    };
    sim.receiver(&lane, 10, Feedback::Success);
    sim.deliver(&lane, 15);
    sim.input(Input::Changed(paused));
    sim.deliver(&lane, 100);
    sim.run_for(HOUR);
    assert_eq!(sim.started.len(), 8, "only what was under way");
    assert_eq!(sim.scheduler.next_wake(), None);
    sim.input(Input::Changed(resumed));
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 115);
}

#[test]
fn disabling_fails_what_waits_in_memory_and_store() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Failure);
    sim.deliver(&lane, 100);
    sim.run_for(SECOND);
    sim.receiver(&lane, 50, Feedback::Failure);
    sim.deliver(&lane, 100);
    sim.input(Input::Changed(LaneSpec {
        disabled: true,
        revision: 2,
        ..lane.clone()
    }));
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 200);
    assert!(
        sim.settled
            .iter()
            .all(|row| row.state == DeliveryState::Failed)
    );
    assert!(sim.parked[&lane.endpoint].is_empty());
    assert_eq!(sim.scheduler.next_wake(), None);
}

#[test]
fn silence_ends_in_disabling_only_after_days_and_enough_failures() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Failure);
    sim.retry_in = 6 * HOUR;
    sim.deliver(&lane, 1);
    sim.run_for(4 * 24 * HOUR);
    assert!(
        matches!(sim.health[..], [HealthChange::Failing(_)]),
        "{:?}",
        sim.health
    );
    sim.run_for(24 * HOUR + 7 * HOUR);
    assert!(
        matches!(sim.health[..], [HealthChange::Failing(from), HealthChange::Silent(since), ..] if from == since),
        "{:?}",
        sim.health
    );
}

#[test]
fn one_success_forgets_the_failures() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 10, Feedback::Failure);
    sim.retry_in = HOUR;
    sim.deliver(&lane, 1);
    sim.run_for(4 * 24 * HOUR);
    sim.receiver(&lane, 10, Feedback::Success);
    sim.run_for(HOUR);
    assert!(matches!(
        sim.health[..],
        [HealthChange::Failing(_), HealthChange::Healthy]
    ));
}

#[test]
fn a_flickering_receiver_writes_nothing() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    for round in 0..100 {
        let says = if round % 2 == 0 {
            Feedback::Failure
        } else {
            Feedback::Success
        };
        sim.receiver(&lane, 10, says);
        sim.deliver(&lane, 1);
        sim.run_for(SECOND);
    }
    assert!(sim.health.is_empty());
}

#[test]
fn a_twin_of_what_is_held_is_not_delivered_twice() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 100, Feedback::Success);
    sim.deliver(&lane, 1);
    sim.next_message = 0;
    sim.deliver(&lane, 1);
    sim.run_for(SECOND);
    assert_eq!(sim.started.len(), 1);
}

#[test]
fn a_resend_reaches_a_resting_lane_and_one_under_way_is_sent_again() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 1_000, Feedback::Overloaded(None));
    sim.deliver(&lane, 20);
    sim.run_for(Duration::from_secs(10));
    let before = sim.started.len();
    let last = Seq(20);
    sim.receiver(&lane, 100, Feedback::Success);
    let (reply, _answer) = oneshot::channel();
    sim.input(Input::Resend(lane.clone(), last, None, reply));
    sim.run_for(Duration::from_millis(50));
    assert_eq!(sim.started.len(), before + 1);
    assert_eq!(sim.started[before].2, last);
    let (reply, mut answer) = oneshot::channel();
    sim.input(Input::Resend(lane, last, None, reply));
    assert!(answer.try_recv().is_ok(), "answered at once");
    sim.run_for(SECOND);
    let again = sim.started.iter().filter(|(.., seq)| *seq == last).count();
    assert_eq!(again, 2);
}

#[test]
fn idle_lanes_are_forgotten_past_a_number() {
    let mut sim = Sim::new(limits());
    for n in 0..500 {
        let lane = spec(1, 1, n);
        sim.receiver(&lane, 1, Feedback::Success);
        sim.deliver(&lane, 1);
        sim.run_for(Duration::from_millis(10));
    }
    assert!(
        sim.scheduler.lanes.len() <= 101,
        "{}",
        sim.scheduler.lanes.len()
    );
    assert_eq!(sim.settled.len(), 500);
}

#[test]
fn a_lane_is_remembered_while_its_rate_holds_it_back() {
    let mut sim = Sim::new(Limits {
        idle_lanes: 0,
        ..limits()
    });
    let lane = LaneSpec {
        rate: Some(1),
        ..spec(1, 1, 1)
    };
    sim.receiver(&lane, 1, Feedback::Success);
    for _ in 0..5 {
        sim.deliver(&lane, 1);
        sim.run_for(Duration::from_millis(100));
    }
    assert_eq!(sim.started.len(), 1);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.started.len(), 5);
    assert!(sim.scheduler.lanes.is_empty(), "and no longer");
}

/// One delivery in one lane, step by step.
struct Steps {
    scheduler: Scheduler,
    lane: LaneSpec,
}

impl Steps {
    const NOW: Timestamp = Timestamp::from_millis(START);

    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(limits()),
            lane: spec(1, 1, 1),
        }
    }

    fn take(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scheduler.take(Self::NOW, input, &mut actions);
        self.scheduler.advance(Self::NOW, &mut actions);
        actions
    }

    fn deliver(&mut self) -> Vec<Action> {
        let ticket = Arc::new(Ticket::new(Seq(1), 1));
        let item = Item::first(Seq(1), Self::NOW, 1, ticket);
        self.take(Input::Deliver(self.lane.clone(), item))
    }

    fn resend(&mut self) -> Vec<Action> {
        let (reply, _answer) = oneshot::channel();
        let input = Input::Resend(self.lane.clone(), Seq(1), None, reply);
        self.take(input)
    }

    fn finished(&mut self, says: Feedback) -> Vec<Action> {
        self.take(Input::Finished(self.lane.endpoint, Seq(1), says))
    }
}

/// The one row that is written, and whether the outbox entry goes with it.
fn written(actions: Vec<Action>) -> (DeliveryRow, bool) {
    let mut writes = actions.into_iter().filter_map(|action| match action {
        Action::Write { row, ticket, .. } => Some((row, ticket.is_some())),
        _ => None,
    });
    let write = writes.next().unwrap();
    assert!(writes.next().is_none());
    write
}

fn started(actions: Vec<Action>) -> Item {
    let mut starts = actions.into_iter().filter_map(|action| match action {
        Action::Start(start) => Some(start.item),
        _ => None,
    });
    starts.next().unwrap()
}

fn parked(due: Timestamp, trigger: Trigger) -> DeliveryState {
    DeliveryState::Parked { due, trigger }
}

#[test]
fn a_resend_is_kept_when_the_record_overtakes_the_end_of_its_attempt() {
    let mut steps = Steps::new();
    let item = started(steps.deliver());
    assert!(steps.resend().is_empty());
    let row = item.row(steps.lane.endpoint, DeliveryState::Success);
    let (row, _) = written(steps.take(Input::Recorded(row)));
    assert_eq!(row.state, parked(Steps::NOW, Trigger::Manual));
    assert!(steps.finished(Feedback::Success).is_empty());
}

#[test]
fn a_resend_of_what_has_ended_is_answered_once_it_is_on_disk() {
    let mut steps = Steps::new();
    let item = started(steps.deliver());
    assert!(steps.finished(Feedback::Success).is_empty());
    let mut answers = [oneshot::channel(), oneshot::channel()].map(|(reply, answer)| {
        let input = Input::Resend(steps.lane.clone(), Seq(1), None, reply);
        assert!(steps.take(input).is_empty());
        answer
    });
    let row = item.row(steps.lane.endpoint, DeliveryState::Success);
    let (manual, _) = written(steps.take(Input::Recorded(row)));
    for answer in &mut answers {
        assert!(answer.try_recv().is_err(), "a crash would lose it");
    }
    steps.take(Input::Recorded(manual));
    for answer in &mut answers {
        assert!(answer.try_recv().is_ok());
    }
}

#[test]
fn a_resend_before_fan_out_keeps_the_schedule_and_the_outbox_entry() {
    let mut steps = Steps::new();
    let (manual, covered) = written(steps.resend());
    assert_eq!((manual.resume_due, covered), (None, false));
    assert!(steps.deliver().is_empty());
    let (row, covered) = written(steps.take(Input::Recorded(manual)));
    assert_eq!(row.state, parked(Steps::NOW, Trigger::Manual));
    assert_eq!((row.resume_due, covered), (Some(Steps::NOW), true));
}

#[test]
fn a_try_by_hand_that_fails_under_fan_out_leaves_the_schedule_to_begin() {
    for (end, expected) in [
        (
            DeliveryState::Failed,
            parked(Steps::NOW, Trigger::Scheduled),
        ),
        (DeliveryState::Success, DeliveryState::Success),
    ] {
        let mut steps = Steps::new();
        let (manual, _) = written(steps.resend());
        let actions = steps.take(Input::Recorded(manual.clone()));
        assert!(matches!(actions[..], [Action::Refill(_)]));
        let refilled = Refilled {
            rows: vec![manual],
            expires: HashMap::new(),
            full: false,
            next_due: None,
        };
        let item = started(steps.take(Input::Refilled(steps.lane.endpoint, refilled)));
        assert!(steps.deliver().is_empty());
        assert!(steps.finished(Feedback::Failure).is_empty());
        let row = item.row(steps.lane.endpoint, end);
        let (row, covered) = written(steps.take(Input::Recorded(row)));
        assert_eq!((row.state, covered), (expected, true));
    }
}

#[test]
fn lanes_that_stand_still_leave_memory_to_one_that_moves() {
    let total = 40_000;
    let mut sim = Sim::new(Limits {
        window: 1_000,
        total,
        ..limits()
    });
    let still: Vec<_> = (0..100).map(|number| spec(1, 1, 100 + number)).collect();
    for lane in &still {
        sim.receiver(lane, 3_600_000, Feedback::Success);
        sim.deliver(lane, 200);
    }
    sim.run_for(SECOND);
    let (waiting, _) = sim.scheduler.backlog();
    assert!(waiting < total * 3 / 4, "{waiting}");
    let moving = spec(2, 2, 2);
    sim.receiver(&moving, 10, Feedback::Success);
    sim.deliver(&moving, 500);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.starts_of(&moving), 500);
    // Nothing of the others is lost: it is under way, in memory or in the store.
    for lane in &still {
        sim.receiver(lane, 1, Feedback::Success);
    }
    sim.run_for(10 * HOUR);
    assert_eq!(sim.settled.len(), 500 + 100 * 200);
    assert_eq!(sim.scheduler.backlog().0, 0);
}

#[test]
fn a_lane_in_order_counts_as_one_that_moves_once_it_has_delivered() {
    let mut sim = Sim::new(limits());
    sim.input(Input::CaughtUp);
    let lane = LaneSpec {
        order: DeliveryOrder::Fifo { skip_after: None },
        ..spec(1, 1, 1)
    };
    sim.receiver(&lane, 10, Feedback::Success);
    let big = Limits {
        window: 10_000,
        total: 200_000,
        ..limits()
    };
    let window = |sim: &Sim| {
        let shown = sim.scheduler.lanes[&lane.endpoint].shown_concurrency();
        share::window(&big, big.total / 2, shown)
    };
    sim.deliver(&lane, 100);
    assert!(window(&sim) < 10);
    sim.run_for(SECOND);
    assert!(window(&sim) > 400);
    sim.run_for(SECOND);
    assert_eq!(sim.settled.len(), 100);
    assert_eq!(sim.most_under_way[&lane.endpoint], 1);
}
