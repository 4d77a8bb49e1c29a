//! How much of the memory for waiting deliveries a lane gets: a part of what is free, in proportion to what its
//! receiver takes at once. So a few lanes may fill their windows, ten thousand that stand still hold a handful
//! each, and there is always room for one that moves: whoever fills memory shrinks his own share first. Pure.

use super::Limits;

/// A lane that may have one delivery under way gets one in so many of the free places. Chosen: with 64 under
/// way a lane may hold 6,000 of 200,000 free places.
const PARTS: usize = 2048;

/// One place in so many is for lanes that have shown that they move. Chosen: it gives each of a few such lanes a
/// thousand places beside any number that stand still.
const KEPT: usize = 4;

/// What a lane may hold however many others there are, so that a start needs no read. Chosen: as many as are
/// under way at once before anything is known about a receiver.
const LEAST: usize = 8;

/// Deliveries that a lane may hold with so many places free and so many of its own under way at most.
pub(super) fn window(limits: &Limits, free: usize, concurrency: u32) -> usize {
    let free = if concurrency > limits.lane_start {
        free
    } else {
        free.saturating_sub(limits.total / KEPT)
    };
    let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
    let share = free.saturating_mul(concurrency) / PARTS;
    share.max(LEAST).min(limits.window)
}

#[cfg(test)]
mod tests {
    use super::super::tests::limits;
    use super::*;

    fn big() -> Limits {
        Limits {
            window: 10_000,
            total: 200_000,
            ..limits()
        }
    }

    #[test]
    fn alone_a_fast_lane_gets_thousands() {
        assert_eq!(window(&big(), 200_000, 64), 6_250);
    }

    #[test]
    fn lanes_that_stand_still_leave_room_for_those_that_move() {
        let limits = big();
        let (mut held, mut waiting) = (vec![0; 5_000], 0);
        // Each takes what it may, over and over.
        for _ in 0..100 {
            for lane in &mut held {
                let may = window(&limits, limits.total.saturating_sub(waiting), 8);
                waiting += may.saturating_sub(*lane);
                *lane = may.max(*lane);
            }
        }
        assert!(waiting < limits.total, "{waiting}");
        let moving = window(&limits, limits.total - waiting, 64);
        assert!(moving > 100, "{moving}");
    }

    #[test]
    fn a_full_memory_leaves_each_lane_a_little() {
        assert_eq!(window(&big(), 0, 64), LEAST);
    }
}
