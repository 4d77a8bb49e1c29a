//! Which goes next: cases worth naming.

use super::*;

#[test]
fn what_a_moment_was_asked_for_takes_its_place_at_that_moment() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for later in [5, 0, 0, 0] {
        world.post(later);
    }
    assert_eq!(world.next(), Some(Seq(2)));
    assert_eq!(world.next(), Some(Seq(3)));
    world.goes_on();
    world.happens(Event::Wait(6));
    world.post(0);
    assert_eq!(world.next(), Some(Seq(4)), "under way already");
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(5)));
}

#[test]
fn a_try_by_hand_goes_first_and_a_failed_one_takes_its_place_again() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..4 {
        world.post(0);
    }
    world.goes_on();
    world.resend(2);
    world.goes_on();
    assert_eq!(world.next(), Some(Seq(1)));
    world.goes_on();
    assert_eq!(world.running[0].message, Seq(3), "by hand");
    world.end(End::Failure);
    assert_eq!(world.next(), Some(Seq(2)));
    assert_eq!(world.next(), Some(Seq(3)));
    assert_eq!(world.next(), Some(Seq(4)));
}

#[test]
fn a_mended_plugin_lets_the_head_go_at_once() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..2 {
        world.post(0);
    }
    world.goes_on();
    world.end(End::NotSent);
    world.goes_on();
    assert!(world.running.is_empty(), "it waits for its time");
    world.heal();
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
}

#[test]
fn a_success_need_not_be_on_disk_for_the_next_one_to_go() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    for _ in 0..2 {
        world.post(0);
    }
    world.goes_on();
    world.end(End::Success);
    world.happens(Event::Tell { second: false });
    assert_eq!(world.recorder.len(), 1);
    assert_eq!(world.running[0].message, Seq(2));
    world.crash();
    assert_eq!(world.next(), Some(Seq(1)));
    assert_eq!(world.next(), Some(Seq(2)));
}

#[test]
fn what_was_not_looked_through_yet_fails_too_when_the_endpoint_is_disabled() {
    let mut world = World::new(8, DeliveryOrder::Fifo { skip_after: None });
    world.post(100);
    world.goes_on();
    world.crash();
    world.happens(Event::Tell { second: false });
    world.happens(Event::Pause(true));
    world.happens(Event::Read { fails: false });
    world.happens(Event::Tell { second: false });
    world.happens(Event::Disable(true));
    world.settle_all();
}
