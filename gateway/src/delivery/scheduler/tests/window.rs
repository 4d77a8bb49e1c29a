//! What lanes hold in memory, and what they leave to the store.

use super::*;

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
