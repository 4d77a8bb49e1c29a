//! Whose turn it is, and how many may be under way at once.

use super::*;

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
