//! What an open circuit does to a lane, in the simulation.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn with_circuit() -> Limits {
    Limits {
        circuit: CircuitLimits {
            failures: 10,
            first_probe: Duration::from_secs(5),
            longest_probe: Duration::from_secs(300),
        },
        ..limits()
    }
}

impl Sim {
    /// The tries made of each message of this lane.
    fn tries(&self, spec: &LaneSpec) -> HashMap<Seq, usize> {
        let mut tries = HashMap::new();
        for (_, lane, message) in &self.started {
            if *lane == spec.endpoint {
                *tries.entry(*message).or_default() += 1;
            }
        }
        tries
    }

    fn is_open(&self, spec: &LaneSpec) -> bool {
        self.circuits
            .get(&spec.endpoint)
            .copied()
            .flatten()
            .is_some()
    }
}

#[test]
fn a_dead_receiver_is_probed_and_its_backlog_waits_without_using_tries() {
    let mut sim = Sim::new(with_circuit());
    let (dead, healthy) = (spec(1, 1, 1), spec(1, 1, 2));
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.receiver(&healthy, 5, Feedback::Success);
    sim.deliver(&dead, 200);
    sim.deliver(&healthy, 200);
    sim.run_for(HOUR);
    assert!(sim.is_open(&dead) && !sim.is_open(&healthy));
    assert_eq!(sim.starts_of(&healthy), 200);
    // Those under way when it opened, then 5 s, 10 s … 300 s, and one each five minutes.
    let starts = sim.starts_of(&dead);
    assert!((20..=40).contains(&starts), "{starts} tries in an hour");
    sim.receiver(&dead, 5, Feedback::Success);
    sim.most_under_way.clear();
    sim.run_for(5 * MINUTE);
    assert!(!sim.is_open(&dead));
    sim.run_for(HOUR);
    let tries = sim.tries(&dead);
    assert_eq!(tries.len(), 200, "each arrives");
    assert_eq!(sim.settled.len(), 400);
    assert!(tries.values().filter(|tries| **tries == 1).count() > 160);
    assert!(sim.most_under_way[&dead.endpoint] > 8, "it grew again");
}

#[test]
fn what_waits_behind_an_open_circuit_lies_in_the_store() {
    let mut sim = Sim::new(Limits {
        window: 1_000,
        ..with_circuit()
    });
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.deliver(&dead, 900);
    sim.run_for(SECOND);
    assert!(sim.is_open(&dead));
    let (waiting, _) = sim.scheduler.backlog();
    assert!(waiting <= 16, "{waiting} in memory");
    sim.deliver(&dead, 100);
    sim.run_for(SECOND);
    assert!(sim.scheduler.backlog().0 <= 16);
    assert!(sim.parked[&dead.endpoint].len() >= 980);
    sim.receiver(&dead, 5, Feedback::Success);
    sim.run_for(HOUR);
    assert_eq!(sim.settled.len(), 1_000);
}

#[test]
fn nothing_polls_between_probes() {
    let mut sim = Sim::new(with_circuit());
    for n in 0..1_000 {
        let dead = spec(1, 1, n);
        sim.receiver(&dead, 5, Feedback::Failure);
        sim.deliver(&dead, 30);
    }
    sim.run_for(2 * HOUR);
    let before = sim.started.len();
    let steps = sim.run_for(HOUR);
    let probes = sim.started.len() - before;
    assert!(probes <= 1_000 * 13, "{probes} probes");
    assert!(steps <= probes * 6, "{steps} steps for {probes} probes");
}

#[test]
fn probes_alone_end_in_disabling() {
    let mut sim = Sim::new(with_circuit());
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Overloaded(None));
    sim.deliver(&dead, 5_000);
    sim.run_for(119 * HOUR);
    assert!(sim.is_open(&dead));
    let silent = |sim: &Sim| {
        let silent = |change: &HealthChange| matches!(change, HealthChange::Silent(_));
        sim.health.iter().any(silent)
    };
    assert!(!silent(&sim));
    sim.run_for(2 * HOUR);
    assert!(silent(&sim));
}

#[test]
fn a_try_by_hand_is_let_through_and_closes_the_circuit() {
    let mut sim = Sim::new(with_circuit());
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.deliver(&dead, 50);
    sim.run_for(30 * MINUTE);
    let before = sim.starts_of(&dead);
    sim.receiver(&dead, 5, Feedback::Success);
    let (reply, _written) = oneshot::channel();
    let row = DeliveryRow {
        key: crate::domain::DeliveryKey {
            endpoint: dead.endpoint,
            message: Seq(10_000),
        },
        state: DeliveryState::Failed,
        tries: 10,
        resume_due: None,
    };
    sim.input(Input::Resend(dead.clone(), Seq(10_000), Some(row), reply));
    sim.run_for(SECOND);
    assert!(!sim.is_open(&dead));
    assert!(sim.starts_of(&dead) > before + 1, "the backlog flows");
}

#[test]
fn an_endpoint_known_to_fail_begins_with_a_probe() {
    let mut sim = Sim::new(with_circuit());
    let doubtful = LaneSpec {
        failing_since: Some(Timestamp::from_millis(START - 3_600_000)),
        ..spec(1, 1, 1)
    };
    sim.receiver(&doubtful, 5, Feedback::Success);
    sim.deliver(&doubtful, 20);
    assert_eq!(sim.starts_of(&doubtful), 1);
    sim.run_for(SECOND);
    assert_eq!(sim.settled.len(), 20);
    assert!(!sim.is_open(&doubtful));
}

#[test]
fn a_changed_endpoint_is_probed_at_once() {
    let mut sim = Sim::new(with_circuit());
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.deliver(&dead, 50);
    sim.run_for(30 * MINUTE);
    sim.receiver(&dead, 5, Feedback::Success);
    // What the gateway itself notes about it is no change of its owner's.
    let noted = LaneSpec {
        revision: 2,
        failing_since: Some(sim.now),
        ..dead.clone()
    };
    sim.input(Input::Changed(noted.clone()));
    assert!(sim.is_open(&dead));
    let mended = LaneSpec {
        revision: 3,
        changed_at: sim.now,
        ..noted
    };
    sim.input(Input::Changed(mended));
    sim.run_for(SECOND);
    assert!(!sim.is_open(&dead));
}

#[test]
fn what_grows_too_old_behind_an_open_circuit_is_let_out_to_fail() {
    let mut sim = Sim::new(with_circuit());
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.deliver(&dead, 10);
    sim.run_for(SECOND);
    assert!(sim.is_open(&dead));
    let end = sim.now.after(MINUTE);
    for n in 0..10 {
        let message = Seq(20_000 + n);
        let mut item = Item::first(message, sim.now, 1_000, Arc::new(Ticket::new(message, 1)));
        item.expires = Some(end);
        sim.input(Input::Deliver(dead.clone(), item));
    }
    // From then on whoever is started here is too old for the worker to ask the receiver.
    sim.run_for(59 * SECOND);
    sim.receiver(&dead, 0, Feedback::NotAsked);
    let before = sim.starts_of(&dead);
    sim.run_for(2 * SECOND);
    assert!(sim.starts_of(&dead) >= before + 6, "some were probes");
    assert!(sim.is_open(&dead), "nobody was asked");
}

#[test]
fn a_deleted_endpoint_has_no_circuit() {
    let mut sim = Sim::new(with_circuit());
    let dead = spec(1, 1, 1);
    sim.receiver(&dead, 5, Feedback::Failure);
    sim.deliver(&dead, 10);
    sim.run_for(SECOND);
    assert!(sim.is_open(&dead));
    sim.input(Input::Deleted(dead.endpoint));
    assert!(!sim.is_open(&dead));
}
