//! Receivers that hold their places, and those that do not.

use super::*;

/// So long that nothing of it ends while a test looks.
const FOR_EVER: u64 = 1_000_000_000;

impl Sim {
    /// Lanes of these applications whose receivers hold what they get, each with as much as its lane starts with.
    fn hold(&mut self, lanes: impl Iterator<Item = LaneSpec>, bytes: u32) {
        for spec in lanes {
            self.receiver(&spec, FOR_EVER, Feedback::Success);
            for _ in 0..limits().lane_start {
                self.deliver_of(&spec, bytes);
            }
        }
    }

    fn deliver_of(&mut self, spec: &LaneSpec, bytes: u32) {
        self.next_message += 1;
        let message = Seq(self.next_message);
        let ticket = Arc::new(Ticket::new(message, 1));
        let item = Item::first(message, self.now, bytes, ticket);
        self.input(Input::Deliver(spec.clone(), item));
    }

    /// A lane whose receiver has answered once, in no time.
    fn known(&mut self, spec: &LaneSpec) {
        self.receiver(spec, 5, Feedback::Success);
        self.deliver(spec, 1);
        self.run_for(Duration::from_secs(1));
        assert_eq!(self.starts_of(spec), 1);
    }

    fn all_start(&mut self, spec: &LaneSpec, messages: u64, bytes: u32) {
        let before = self.starts_of(spec);
        for _ in 0..messages {
            self.deliver_of(spec, bytes);
        }
        self.run_for(Duration::from_secs(60));
        let started = u64::try_from(self.starts_of(spec) - before).unwrap();
        assert_eq!(started, messages, "{spec:?}");
    }

    fn held(&self) -> u32 {
        self.under_way.values().sum()
    }
}

#[test]
fn receivers_that_hold_their_places_leave_some_to_the_quick() {
    // In one application, in many of one organization, and in many organizations.
    let scenes: [fn(u32) -> LaneSpec; 3] = [
        |n| spec(1, 1, 100 + n),
        |n| spec(1, 100 + n, 100 + n),
        |n| spec(100 + n, 100 + n, 100 + n),
    ];
    for scene in scenes {
        let mut sim = Sim::new(limits());
        let quick = [spec(1, 1, 1), spec(1, 2, 2), spec(2, 3, 3)];
        for spec in &quick {
            sim.known(spec);
        }
        sim.hold((0..100).map(scene), 1_000);
        let held = sim.held();
        for spec in &quick {
            sim.all_start(spec, 100, 1_000);
        }
        assert_eq!(sim.held(), held, "slow ones take no place of the quick");
    }
}

#[test]
fn a_new_lane_waits_for_one_try_of_others_like_it_and_not_for_the_slow() {
    let mut sim = Sim::new(limits());
    let slow: Vec<_> = (0..100).map(|n| spec(1, 100 + n, 100 + n)).collect();
    for spec in &slow {
        sim.receiver(spec, 15_000, Feedback::Failure);
        sim.deliver(spec, 20);
    }
    let new = spec(1, 1, 1);
    sim.receiver(&new, 5, Feedback::Success);
    sim.deliver(&new, 10);
    assert_eq!(sim.starts_of(&new), 0, "no place is left");
    // The first six lanes have the 42 places. Half of those that come free every 15 s go to the other 94.
    sim.run_for(Duration::from_secs(76));
    assert_eq!(sim.starts_of(&new), 10);

    // All of these are known by now, and still busy.
    sim.run_for(Duration::from_secs(60));
    let newer = spec(1, 2, 2);
    sim.receiver(&newer, 5, Feedback::Success);
    sim.deliver(&newer, 1);
    assert_eq!(sim.starts_of(&newer), 1, "at once");
}

#[test]
fn payloads_of_the_slow_leave_memory_to_the_quick() {
    let mut sim = Sim::new(Limits {
        gateway: 10_000,
        organization: 10_000,
        application: 10_000,
        bytes: 64 << 20,
        ..limits()
    });
    let quick = [spec(1, 1, 1), spec(1, 2, 2), spec(2, 3, 3)];
    for spec in &quick {
        sim.known(spec);
    }
    const MIB: u32 = 1 << 20;
    for scene in [1, 50, 100] {
        sim.hold((0..50).map(|n| spec(scene, scene, 100 * scene + n)), MIB);
    }
    // An eighth of everything is kept.
    assert_eq!(sim.held(), 56);
    for spec in &quick {
        sim.all_start(spec, 20, MIB);
    }
}

#[test]
fn a_payload_above_every_bound_goes_alone() {
    let mut sim = Sim::new(Limits {
        bytes: 1_000,
        ..limits()
    });
    let large = spec(1, 1, 1);
    sim.receiver(&large, 5, Feedback::Success);
    sim.all_start(&large, 3, 1 << 20);
    assert_eq!(sim.most_under_way[&large.endpoint], 1);
}

#[test]
fn a_parked_payload_that_turns_out_large_comes_back_for_a_place_of_its_size() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, FOR_EVER, Feedback::Success);
    sim.deliver(&lane, 1);
    let (_, id, message) = sim.started[0];
    let ticket = Arc::new(Ticket::new(message, 1));
    let larger = Item::first(message, sim.now, 1 << 20, ticket);
    *sim.under_way.get_mut(&id).unwrap() -= 1;
    sim.input(Input::Postponed(id, larger, Duration::ZERO));
    assert_eq!(sim.starts_of(&lane), 2, "at once, since there is room");
}

#[test]
fn a_place_comes_back_from_a_lane_that_was_forgotten_meanwhile() {
    let mut sim = Sim::new(Limits {
        gateway: 1,
        idle_lanes: 0,
        ..limits()
    });
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, FOR_EVER, Feedback::Success);
    sim.deliver(&lane, 1);
    let (_, id, message) = sim.started[0];
    // The record overtakes the end of its attempt, and with it the lane has nothing left.
    let ticket = Arc::new(Ticket::new(message, 1));
    let row = Item::first(message, sim.now, 1, ticket).row(id, DeliveryState::Success);
    sim.input(Input::Recorded(row));
    sim.input(Input::Finished(id, message, Feedback::Success));
    let next = spec(1, 1, 2);
    sim.receiver(&next, 5, Feedback::Success);
    sim.all_start(&next, 1, 1);
}
