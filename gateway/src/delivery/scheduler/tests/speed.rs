//! How fast a receiver gets its deliveries: its rate, and how many it takes at once.

use super::*;

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
