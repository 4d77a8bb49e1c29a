//! How much of the memory for waiting deliveries a lane gets: a part of what is free, in proportion to what its
//! receiver takes at once. Lanes whose receivers have not shown that they take anything share the first half of
//! memory, so that however many stand still, there is room for those that move. Pure.

use super::Limits;

/// A lane that may have one delivery under way gets one in so many of the free places. Chosen: with 64 under
/// way a lane may hold 6,000 of 200,000 free places.
const PARTS: usize = 2048;

/// What a lane may hold however many others there are, so that a start needs no read. Chosen: as many as are
/// under way at once before anything is known about a receiver.
const LEAST: usize = 8;

/// Deliveries that a lane may hold while so many wait in memory and so many of its own may be under way.
pub(super) fn window(limits: &Limits, waiting: usize, concurrency: u32) -> usize {
    let moves = concurrency > limits.lane_start;
    let places = if moves {
        limits.total
    } else {
        limits.total / 2
    };
    let free = places.saturating_sub(waiting);
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
        assert_eq!(window(&big(), 0, 64), 6_250);
    }

    #[test]
    fn lanes_that_stand_still_leave_room_for_one_that_moves() {
        let limits = big();
        let mut waiting = 0;
        // Each takes all it may before the next one comes, which is the worst order.
        for _ in 0..10_000 {
            waiting += window(&limits, waiting, limits.lane_start);
        }
        assert!(waiting < limits.total, "{waiting}");
        assert!(window(&limits, waiting, 64) > 64);
    }

    #[test]
    fn a_full_memory_leaves_each_lane_a_little() {
        let limits = big();
        assert_eq!(window(&limits, limits.total, 64), LEAST);
    }
}
