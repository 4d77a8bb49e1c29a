//! A smooth rate with a burst of known size: a token every `1/rate` seconds instead of all of them at the
//! second's turn. The generic cell rate algorithm (ITU-T I.371) in one number; what a lane may send and what a
//! tenant may have accepted are counted by it. Pure: the moment comes from the caller.

use std::time::Duration;

use super::Timestamp;

/// When the next token is there.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    /// Between two tokens; zero: no limit. In nanoseconds, as all of these.
    interval_ns: u64,
    /// How much of the past can still be used.
    saved_ns: u64,
    /// The next token, since the epoch.
    next_ns: u64,
}

impl Rate {
    /// Takes over a changed rate, in tokens per second; none, as at first: no limit. Tokens that were not taken
    /// are kept for as long as `saved`: so many come at once after a pause, and the one of now.
    pub fn set(&mut self, per_second: Option<u32>, saved: Duration) {
        let interval = per_second.map_or(0, |rate| 1_000_000_000 / u64::from(rate.max(1)));
        if interval == 0 {
            self.next_ns = 0;
        } else if self.interval_ns != interval && self.next_ns > 0 {
            // As if the last token had been taken at the new rate.
            self.next_ns = self.next_ns.saturating_sub(self.interval_ns) + interval;
        }
        self.interval_ns = interval;
        self.saved_ns = u64::try_from(saved.as_nanos()).unwrap_or(u64::MAX);
    }

    /// The same, with as many tokens at once as come within `burst`, and at least one.
    pub fn set_with_burst(&mut self, per_second: Option<u32>, burst: Duration) {
        self.set(per_second, burst);
        self.saved_ns = self.saved_ns.saturating_sub(self.interval_ns);
    }

    /// When the next token is there, if that lies ahead.
    pub fn wait(&self, now: Timestamp) -> Option<Timestamp> {
        let ahead = self.next_ns > since_epoch(now);
        ahead.then(|| Timestamp::from_millis(self.next_ns.div_ceil(1_000_000)))
    }

    /// Takes a token.
    pub fn take(&mut self, now: Timestamp) {
        if self.interval_ns > 0 {
            self.next_ns = self.next_ns.max(self.earliest(now)) + self.interval_ns;
        }
    }

    /// Gives the token back of something that did not happen after all.
    pub fn refund(&mut self) {
        self.next_ns = self.next_ns.saturating_sub(self.interval_ns);
    }

    /// Whether it is as good as new: nothing is lost with it.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.next_ns <= self.earliest(now)
    }

    /// The oldest token that is not lost yet.
    fn earliest(&self, now: Timestamp) -> u64 {
        since_epoch(now).saturating_sub(self.saved_ns)
    }
}

fn since_epoch(now: Timestamp) -> u64 {
    now.millis().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    /// Tokens that are there at this moment; they are taken.
    fn burst(rate: &mut Rate, now: Timestamp) -> usize {
        let take = |_: &usize| {
            let free = rate.wait(now).is_none();
            if free {
                rate.take(now);
            }
            free
        };
        (0..10_000).take_while(take).count()
    }

    fn of(per_second: u32, burst: Duration) -> Rate {
        let mut rate = Rate::default();
        rate.set_with_burst(Some(per_second), burst);
        rate
    }

    #[test]
    fn a_burst_is_what_its_time_makes_and_at_least_one() {
        for (per_second, span, expected) in [
            (1, Duration::from_secs(1), 1),
            (10, Duration::from_secs(1), 10),
            (1_000, Duration::from_secs(1), 1_000),
            (10, Duration::from_millis(5), 1),
            (1_000, Duration::from_millis(5), 5),
            (10, Duration::ZERO, 1),
        ] {
            let mut rate = of(per_second, span);
            assert_eq!(
                burst(&mut rate, at(0)),
                expected,
                "{per_second} in {span:?}"
            );
            // However long nothing was taken.
            assert_eq!(burst(&mut rate, at(1_000_000)), expected);
        }
    }

    #[test]
    fn tokens_come_one_by_one_and_in_the_long_run_at_the_rate() {
        let mut rate = of(10, Duration::from_secs(1));
        burst(&mut rate, at(0));
        assert_eq!(rate.wait(at(0)), Some(at(100)));
        assert_eq!(rate.wait(at(99)), Some(at(100)));
        assert_eq!(burst(&mut rate, at(100)), 1);
        assert_eq!(burst(&mut rate, at(350)), 2);
        let mut fast = Rate::default();
        fast.set(Some(1_500), Duration::from_millis(5));
        let taken: usize = (0..10_000).map(|ms| burst(&mut fast, at(ms))).sum();
        assert_eq!(taken, 15_000 + 7, "and what five milliseconds make");
    }

    #[test]
    fn a_changed_rate_counts_at_once_and_none_is_no_limit() {
        let mut rate = of(1, Duration::ZERO);
        rate.take(at(0));
        assert_eq!(rate.wait(at(0)), Some(at(1_000)));
        rate.set(Some(100), Duration::ZERO);
        assert_eq!(rate.wait(at(0)), Some(at(10)));
        rate.set(Some(2), Duration::ZERO);
        assert_eq!(rate.wait(at(0)), Some(at(500)));
        rate.set(None, Duration::ZERO);
        assert_eq!(burst(&mut rate, at(1_000)), 10_000);
    }

    #[test]
    fn what_is_refunded_is_there_again_and_what_is_idle_can_be_forgotten() {
        let mut rate = of(2, Duration::from_secs(1));
        assert!(rate.is_idle(at(0)));
        assert_eq!(burst(&mut rate, at(0)), 2);
        rate.refund();
        assert_eq!(burst(&mut rate, at(0)), 1);
        assert!(!rate.is_idle(at(999)));
        assert!(rate.is_idle(at(1_000)));
    }
}
