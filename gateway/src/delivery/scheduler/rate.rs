//! Smooth rate of one lane: a token every `1/rate` seconds instead of a burst each second. Pure.

use crate::domain::Timestamp;

/// How far a lane may catch up after its driver woke late, in microseconds. Chosen: a few ticks of the
/// timer (1 ms), so that rates over 1,000/s are reached and no burst exceeds five milliseconds' worth.
const CATCH_UP_US: u64 = 5_000;

/// When the next delivery of a lane may start.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Microseconds between two starts; zero: no limit.
    interval_us: u64,
    /// The next start, in microseconds since the epoch.
    next_us: u64,
}

impl Rate {
    /// Takes over a changed rate, in deliveries per second.
    pub(super) fn set(&mut self, per_second: Option<u16>) {
        self.interval_us = match per_second {
            Some(rate) => 1_000_000 / u64::from(rate.max(1)),
            None => 0,
        };
        if self.interval_us == 0 {
            self.next_us = 0;
        }
    }

    /// When the next start is allowed, if that lies ahead.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Timestamp> {
        (self.next_us > micros(now)).then(|| Timestamp::from_millis(self.next_us.div_ceil(1000)))
    }

    /// Books a start.
    pub(super) fn take(&mut self, now: Timestamp) {
        if self.interval_us > 0 {
            let earliest = micros(now).saturating_sub(CATCH_UP_US);
            self.next_us = self.next_us.max(earliest) + self.interval_us;
        }
    }

    /// Gives the token of a start back that sent nothing.
    pub(super) fn refund(&mut self) {
        self.next_us = self.next_us.saturating_sub(self.interval_us);
    }
}

fn micros(now: Timestamp) -> u64 {
    now.millis().saturating_mul(1000)
}
