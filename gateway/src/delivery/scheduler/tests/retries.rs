//! Retries come back when they are due, behind what is new.

use super::*;

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
