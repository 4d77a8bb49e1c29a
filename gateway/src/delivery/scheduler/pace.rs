//! Whether a receiver gives the places of its attempts back soon. Pure.
//!
//! Who is slow may hold a part of the places only, and who has not shown yet what it is a little more; the rest is kept
//! for those that are quick, so that receivers that hold their connections can not stop those that answer.

use std::time::Duration;

/// An attempt that ends within this is quick, however it ends. Chosen: most receivers answer in a tenth of it, and
/// what holds a place fifteen times as long is a time-out.
const QUICK: Duration = Duration::from_secs(1);

/// Quick ends in a row after which a receiver that was slow counts as quick again. Chosen: one that answers every
/// other time hardly ever gets there.
const REGAIN: u8 = 8;

/// Which of the places a lane takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// All.
    Quick,
    /// Those that are not kept for the quick.
    New,
    /// Those that are not kept for the quick and the new.
    Slow,
}

/// What a lane's attempts have shown.
#[derive(Debug, Default)]
pub(super) enum Pace {
    /// Nothing yet.
    #[default]
    New,
    /// So many quick ends are missing before it counts as quick.
    Known { missing: u8 },
}

impl Share {
    pub(super) const ALL: [Self; 3] = [Self::Quick, Self::New, Self::Slow];
}

impl Pace {
    /// An attempt gave its place back after so long.
    pub(super) fn ended(&mut self, after: Duration) {
        let missing = match self {
            _ if after > QUICK => REGAIN,
            Pace::New => 0,
            Pace::Known { missing } => missing.saturating_sub(1),
        };
        *self = Pace::Known { missing };
    }

    pub(super) fn share(&self) -> Share {
        match self {
            Pace::New => Share::New,
            Pace::Known { missing: 0 } => Share::Quick,
            Pace::Known { .. } => Share::Slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_receiver_is_quick_after_one_answer_and_a_slow_one_after_several() {
        let mut pace = Pace::default();
        assert_eq!(pace.share(), Share::New);
        pace.ended(Duration::from_millis(5));
        assert_eq!(pace.share(), Share::Quick);
        pace.ended(Duration::from_secs(15));
        for _ in 1..REGAIN {
            pace.ended(Duration::from_millis(5));
            assert_eq!(pace.share(), Share::Slow);
        }
        pace.ended(Duration::from_millis(5));
        assert_eq!(pace.share(), Share::Quick);
    }
}
