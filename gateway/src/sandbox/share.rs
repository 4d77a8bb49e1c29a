//! How much of the machine's CPU an application's guests may use: a share of one core's time, kept by a bucket that
//! a run may overdraw. Pure: moments come from the caller, counted from any fixed one.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::{PluginLimit, PluginLimits};

/// Time that guests may hold threads, in percent of one core's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) percent: NonZeroU32,
}

/// What one application has used of its share, as the moment at which it will be whole again.
#[derive(Debug, Default)]
pub(super) struct Used {
    whole_at: Duration,
}

/// What can be saved up: the share of so long. Chosen: a burst of events is answered at full speed, and a plugin
/// that loops has the machine for half a second at most.
const SAVED: Duration = Duration::from_secs(1);

impl Share {
    /// What a tenant was given, if anything was said of it.
    pub(super) fn of(tenant: &PluginLimits) -> Option<Self> {
        let percent = tenant.get(PluginLimit::CpuPercent)?;
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        NonZeroU32::new(percent).map(|percent| Self { percent })
    }

    /// How long it takes until this share has made so much.
    fn makes(self, used: Duration) -> Duration {
        used.saturating_mul(100) / self.percent.get()
    }
}

impl Used {
    /// A run is taken to cost so much.
    pub(super) fn charge(&mut self, share: Share, cost: Duration, now: Duration) {
        self.whole_at = self.whole_at.max(now).saturating_add(share.makes(cost));
    }

    /// A run that was charged so much has used this instead.
    pub(super) fn correct(
        &mut self,
        share: Share,
        charged: Duration,
        used: Duration,
        now: Duration,
    ) {
        match used.checked_sub(charged) {
            Some(more) => self.charge(share, more, now),
            None => {
                let less = share.makes(charged - used);
                self.whole_at = self.whole_at.saturating_sub(less);
            }
        }
    }

    /// The moment from which on there is some of it left, if that lies ahead.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        let at = self.whole_at.saturating_sub(SAVED);
        (at > now).then_some(at)
    }

    /// Whether nothing is lost if it is forgotten.
    pub(super) fn is_whole(&self, now: Duration) -> bool {
        self.whole_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Share = Share {
        percent: NonZeroU32::new(50).unwrap(),
    };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_seconds_worth_is_saved_and_no_more() {
        for now in [ms(0), ms(5_000), ms(1_000_000)] {
            let mut used = Used::default();
            used.charge(HALF, ms(500), now);
            assert_eq!(used.wait(now), None, "just used up, and not overdrawn");
            used.charge(HALF, ms(50), now);
            assert_eq!(used.wait(now), Some(now + ms(100)));
            assert_eq!(used.wait(now + ms(100)), None);
            assert!(!used.is_whole(now + ms(1_099)) && used.is_whole(now + ms(1_100)));
        }
    }

    #[test]
    fn what_was_charged_too_much_or_too_little_is_corrected() {
        let mut used = Used::default();
        used.charge(HALF, ms(600), ms(0));
        used.correct(HALF, ms(600), ms(520), ms(10));
        assert_eq!(used.wait(ms(10)), Some(ms(40)));
        used.correct(HALF, ms(20), ms(30), ms(10));
        assert_eq!(used.wait(ms(10)), Some(ms(60)));
        used.correct(HALF, ms(10_000), ms(0), ms(10));
        assert!(used.is_whole(ms(10)));
    }

    #[test]
    fn no_figure_is_too_large() {
        let least = Share {
            percent: NonZeroU32::MIN,
        };
        let mut used = Used::default();
        used.charge(least, Duration::MAX, Duration::MAX);
        used.correct(least, Duration::ZERO, Duration::MAX, ms(1));
        assert!(used.wait(ms(1)).is_some());
    }
}
