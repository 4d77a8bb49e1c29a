//! Whether an endpoint has answered at all lately, and when it has been silent long enough to be disabled.
//! Pure. Counts in memory; only transitions are written, so that a flickering endpoint costs no writes.

use std::time::Duration;

use crate::domain::Timestamp;

/// A run of failures shorter than this is not written. Chosen: long enough that a flickering endpoint never
/// writes, short beside the days after which an endpoint is disabled.
const WRITE_AFTER: Duration = Duration::from_secs(600);

/// When silence ends in disabling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SilenceLimits {
    /// Without one success.
    pub(crate) silence: Duration,
    /// With at least this many failed tries …
    pub(crate) failures: u32,
    /// … spread over at least this long.
    pub(crate) spread: Duration,
}

/// What has changed about an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthChange {
    /// It has failed since then without one success.
    Failing(Timestamp),
    /// It succeeded again.
    Healthy,
    /// It was silent for so long that it is to be disabled.
    Silent(Timestamp),
}

/// The present run of failures.
#[derive(Debug, Default)]
pub(super) struct Health {
    since: Option<Timestamp>,
    /// The start of the run is on the endpoint.
    written: bool,
    /// Since this process saw its first.
    failures: u32,
    first_seen: Timestamp,
}

impl Health {
    /// Takes over what the endpoint says.
    pub(super) fn load(&mut self, failing_since: Option<Timestamp>) {
        match failing_since {
            Some(since) => {
                self.since = Some(since);
                self.written = true;
            }
            None if self.written => *self = Self::default(),
            None => {}
        }
    }

    pub(super) fn success(&mut self) -> Option<HealthChange> {
        let was_written = self.written;
        if self.since.is_some() {
            *self = Self::default();
        }
        was_written.then_some(HealthChange::Healthy)
    }

    pub(super) fn failure(
        &mut self,
        now: Timestamp,
        limits: &SilenceLimits,
    ) -> Option<HealthChange> {
        let since = *self.since.get_or_insert(now);
        if self.failures == 0 {
            self.first_seen = now;
        }
        self.failures = self.failures.saturating_add(1);
        if now.since(since) >= limits.silence
            && self.failures >= limits.failures
            && now.since(self.first_seen) >= limits.spread
        {
            *self = Self::default();
            return Some(HealthChange::Silent(since));
        }
        if !self.written && now.since(since) >= WRITE_AFTER {
            self.written = true;
            return Some(HealthChange::Failing(since));
        }
        None
    }
}
