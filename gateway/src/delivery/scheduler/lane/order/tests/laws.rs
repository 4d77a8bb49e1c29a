//! The order holds, whatever happens.

use proptest::prelude::*;

use super::events::{event, fifo, rare_event};
use super::*;

fn play(window: usize, order: DeliveryOrder, events: Vec<Event>) {
    let mut world = World::new(window, order);
    for event in events {
        world.happens(event);
    }
    world.settle_all();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_order_holds_whatever_happens(
        window in 2..9_usize,
        order in fifo(),
        events in proptest::collection::vec(event(), 0..250),
    ) {
        play(window, order, events);
    }

    #[test]
    fn it_holds_from_the_moment_it_is_asked_for(
        window in 2..9_usize,
        order in fifo(),
        events in proptest::collection::vec(rare_event(), 0..250),
    ) {
        play(window, order, events);
    }
}
