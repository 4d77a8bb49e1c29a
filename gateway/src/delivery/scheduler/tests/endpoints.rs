//! What is paused, disabled or silent for long.

use super::*;

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
