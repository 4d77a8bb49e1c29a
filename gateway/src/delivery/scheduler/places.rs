//! The places of attempts under way at one level, gateway, organization or application: how many, and how many bytes
//! of payload they hold. Pure.

use super::pace::Share;

/// What a payload of unknown size counts as: the size of a parked delivery's is known once it was loaded, and one that
/// is larger comes back to be counted right. Chosen: so few are larger that coming back costs nothing.
pub(crate) const UNKNOWN_BYTES: u32 = 64 * 1024;

/// Attempts, and bytes of their payloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) attempts: u32,
    pub(super) bytes: u64,
}

/// The most at one level: of each share together with those after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds([Load; Share::ALL.len()]);

/// What is under way at one level: of each share together with those after it.
#[derive(Debug, Default)]
pub(super) struct Places([Load; Share::ALL.len()]);

impl Bounds {
    /// An eighth is kept for the quick, and another for the quick and the new. Chosen: enough for them, since they give
    /// their places back soon.
    pub(super) fn new(all: Load) -> Self {
        let without = |eighths: u32| Load {
            attempts: (all.attempts - all.attempts * eighths / 8).max(1),
            bytes: all.bytes - all.bytes / 8 * u64::from(eighths),
        };
        Self([all, without(1), without(2)])
    }
}

impl Load {
    /// Whether one more fits. One alone always does: a payload larger than the bound must not wait for ever.
    fn admits(self, bound: Load, bytes: u32) -> bool {
        self.attempts == 0
            || (self.attempts < bound.attempts && self.bytes + u64::from(bytes) <= bound.bytes)
    }
}

impl Places {
    pub(super) fn admit(&self, bounds: &Bounds, share: Share, bytes: u32) -> bool {
        let mut levels = self.0.iter().zip(bounds.0).take(share as usize + 1);
        levels.all(|(load, bound)| load.admits(bound, bytes))
    }

    pub(super) fn take(&mut self, share: Share, bytes: u32) {
        for load in &mut self.0[..=share as usize] {
            load.attempts += 1;
            load.bytes += u64::from(bytes);
        }
    }

    pub(super) fn give_back(&mut self, share: Share, bytes: u32) {
        for load in &mut self.0[..=share as usize] {
            load.attempts -= 1;
            load.bytes -= u64::from(bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0[0].attempts == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_leaves_some_to_those_before_it() {
        let bounds = Bounds::new(Load {
            attempts: 8,
            bytes: 80,
        });
        let mut places = Places::default();
        for (share, fit) in [(Share::Slow, 6), (Share::New, 1), (Share::Quick, 1)] {
            for _ in 0..fit {
                assert!(places.admit(&bounds, share, 10));
                places.take(share, 10);
            }
            assert!(!places.admit(&bounds, share, 0), "{share:?}");
        }
        places.give_back(Share::Slow, 10);
        assert!(places.admit(&bounds, Share::Slow, 10));
        assert!(!places.admit(&bounds, Share::Slow, 11), "bytes count too");
    }

    #[test]
    fn one_alone_always_fits() {
        let bounds = Bounds::new(Load {
            attempts: 1,
            bytes: 1,
        });
        let mut places = Places::default();
        assert!(places.admit(&bounds, Share::Slow, 1_000));
        places.take(Share::Slow, 1_000);
        assert!(!places.admit(&bounds, Share::Quick, 0));
        places.give_back(Share::Slow, 1_000);
        assert!(places.is_empty());
    }
}
