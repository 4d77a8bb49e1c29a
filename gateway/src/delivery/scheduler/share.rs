//! How much of the memory for waiting deliveries a lane gets: a part of what is free, in proportion to what its
//! receiver takes at once. So a few lanes may fill their windows, ten thousand that stand still hold a handful
//! each, and there is always room for one that moves: whoever fills memory shrinks his own share first. Pure.

use super::Limits;

/// A lane that may have one delivery under way gets one in so many of the free places. Chosen: with 64 under
/// way a lane may hold 10,000 of 160,000 free places, and ten thousand lanes that stand still leave one place in
/// eighty free.
const PARTS: usize = 1024;

/// What a lane may hold however many others there are, so that a start needs no read. Chosen: as many as are
/// under way at once before anything is known about a receiver.
const LEAST: usize = 8;

/// Deliveries that a lane may hold with so many places free and so many of its own under way at most.
pub(super) fn window(limits: &Limits, free: usize, concurrency: u32) -> usize {
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
    fn alone_a_fast_lane_fills_its_window() {
        assert_eq!(window(&big(), 200_000, 64), 10_000);
    }

    #[test]
    fn lanes_that_stand_still_never_fill_memory() {
        let limits = big();
        let (mut held, mut waiting) = (vec![0; 10_000], 0);
        // Each takes what it may, over and over.
        for _ in 0..100 {
            for lane in &mut held {
                let may = window(&limits, limits.total - waiting, 8);
                waiting += may.saturating_sub(*lane);
                *lane = may.max(*lane);
            }
        }
        assert!(waiting < limits.total, "{waiting}");
        // A lane that moves still gets far more than theirs.
        assert!(window(&limits, limits.total - waiting, 64) > 64);
    }

    #[test]
    fn a_full_memory_leaves_each_lane_a_little() {
        assert_eq!(window(&big(), 0, 64), LEAST);
    }
}
