//! A lane in order whose circuit is open.

use super::*;

/// One whose receiver has failed so often that its circuit is open; the first is at the head.
fn spared() -> World {
    let mut world = World::new(100, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..60 {
        world.post(0);
    }
    while !world.is_open() {
        world.goes_on();
        if world.running.is_empty() {
            world.happens(Event::Wait(1));
        }
        world.end(End::Failure);
    }
    world.goes_on();
    world
}

#[test]
fn the_head_probes_and_the_rest_comes_back_from_the_store_in_order() {
    let mut world = spared();
    assert!(world.scheduler.backlog().0 <= 16);
    assert!(world.running.is_empty());
    world.happens(Event::Wait(10));
    assert_eq!(world.running.len(), 1);
    for seq in 1..=60 {
        assert_eq!(world.next(), Some(Seq(seq)));
    }
    assert!(!world.is_open());
}

#[test]
fn what_comes_behind_an_open_circuit_lines_up_behind_what_was_withdrawn() {
    let mut world = spared();
    for _ in 0..20 {
        world.post(0);
    }
    world.goes_on();
    assert!(world.scheduler.backlog().0 <= 16);
    world.crash();
    for seq in 1..=80 {
        world.happens(Event::Wait(20));
        assert_eq!(world.next(), Some(Seq(seq)));
    }
}

#[test]
fn only_the_head_is_let_out_when_it_has_grown_too_old() {
    let mut world = World::new(100, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..4 {
        world.post(0);
    }
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
    world.goes_on();
    for wait in [0, 3, 7, 8] {
        world.happens(Event::Wait(wait));
        assert_eq!(world.running[0].message, Seq(3));
        world.end(End::Failure);
        world.goes_on();
    }
    assert!(world.is_open() && world.running.is_empty());
    world.happens(Event::Wait(3));
    assert_eq!(world.running[0].message, Seq(3), "no probe, too old");
    world.end(End::Failure);
    world.goes_on();
    assert!(world.is_open() && world.running.is_empty());
    world.happens(Event::Wait(6));
    assert_eq!(world.next(), Some(Seq(4)));
}
