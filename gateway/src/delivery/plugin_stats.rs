//! What each plugin version did since the gateway's start: its calls by outcome, how long they held a thread, the
//! most memory that one had. In memory only, for a bounded number of versions; noting a call is a few atomic
//! additions and takes no lock. A result that was kept from an earlier call is no call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::domain::{Digest, PluginId};
use crate::sandbox::{StepOutcome, StepReport};

/// Versions whose figures are kept; those looked up longest ago go first. Chosen: some 7 MB.
const VERSIONS: usize = 4_096;

/// Parts of each doubling of the time that are told apart, as a power of two: a percentile is an eighth too high at
/// most.
const PARTS: u32 = 3;

/// Doublings beyond the first eight microseconds: up to 8 s, more than a chain may take.
const DOUBLINGS: u32 = 20;

const BUCKETS: usize = ((DOUBLINGS + 1) << PARTS) as usize;

/// Every outcome, in the order of the counters.
const OUTCOMES: [StepOutcome; 7] = [
    StepOutcome::Pass,
    StepOutcome::Deliver,
    StepOutcome::Drop,
    StepOutcome::Reject,
    StepOutcome::Error,
    StepOutcome::Trap,
    StepOutcome::Limit,
];

/// The figures of all versions. Two plugins of the same bytes have figures of their own.
#[derive(Debug)]
pub(super) struct PluginStats {
    versions: Cache<(PluginId, Digest), Arc<VersionStats>>,
}

/// The figures of one version.
#[derive(Debug)]
pub(super) struct VersionStats {
    outcomes: [AtomicU64; OUTCOMES.len()],
    micros: [AtomicU64; BUCKETS],
    memory_peak: AtomicU64,
}

/// The figures of one version at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFigures {
    /// Calls by outcome, every outcome once.
    pub outcomes: Vec<(StepOutcome, u64)>,
    /// Microseconds that half of the calls needed at most, an eighth too high at most; none without a call.
    pub p50_micros: Option<u64>,
    /// The same of 99 in a hundred.
    pub p99_micros: Option<u64>,
    /// Bytes of memory of the call that had most; none without a call.
    pub memory_peak: Option<u64>,
}

impl Default for PluginStats {
    fn default() -> Self {
        Self {
            versions: Cache::new(VERSIONS),
        }
    }
}

impl PluginStats {
    /// Where the calls of a version are noted.
    pub(super) fn of(&self, plugin: PluginId, version: Digest) -> Arc<VersionStats> {
        let key = (plugin, version);
        if let Some(known) = self.versions.get(&key) {
            return known;
        }
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(VersionStats::default()));
        match self.versions.get_or_insert_with(&key, new) {
            Ok(stats) => stats,
            Err(never) => match never {},
        }
    }

    /// The figures of a version; all zero if it was not called.
    pub(super) fn figures(&self, plugin: PluginId, version: Digest) -> VersionFigures {
        match self.versions.get(&(plugin, version)) {
            Some(stats) => stats.figures(),
            None => VersionStats::default().figures(),
        }
    }
}

impl Default for VersionStats {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            micros: [const { AtomicU64::new(0) }; BUCKETS],
            memory_peak: AtomicU64::new(0),
        }
    }
}

impl VersionStats {
    /// One call.
    pub(super) fn note(&self, report: &StepReport) {
        // Nothing hangs on the order in which they are seen.
        let order = Ordering::Relaxed;
        self.outcomes[place(report.outcome)].fetch_add(1, order);
        self.micros[bucket(report.micros)].fetch_add(1, order);
        // Most calls have had as much before, and a look is cheaper than a write.
        if report.memory_peak > self.memory_peak.load(order) {
            self.memory_peak.fetch_max(report.memory_peak, order);
        }
    }

    fn figures(&self) -> VersionFigures {
        let counts = |counters: &[AtomicU64]| -> Vec<u64> {
            let counters = counters.iter();
            counters
                .map(|count| count.load(Ordering::Relaxed))
                .collect()
        };
        let micros = counts(&self.micros);
        let called = micros.iter().any(|count| *count > 0);
        let outcomes = OUTCOMES.into_iter().zip(counts(&self.outcomes));
        VersionFigures {
            outcomes: outcomes.collect(),
            p50_micros: percentile(&micros, 50),
            p99_micros: percentile(&micros, 99),
            memory_peak: called.then(|| self.memory_peak.load(Ordering::Relaxed)),
        }
    }
}

fn place(outcome: StepOutcome) -> usize {
    match outcome {
        StepOutcome::Pass => 0,
        StepOutcome::Deliver => 1,
        StepOutcome::Drop => 2,
        StepOutcome::Reject => 3,
        StepOutcome::Error => 4,
        StepOutcome::Trap => 5,
        StepOutcome::Limit => 6,
    }
}

/// Where a time is counted: exactly up to eight microseconds, then in eighths of each doubling.
fn bucket(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(PARTS);
    if doublings >= DOUBLINGS {
        return BUCKETS - 1;
    }
    let part = usize::try_from(micros >> doublings).unwrap_or(usize::MAX);
    // From the first doubling on, the highest of the bits left is always set and counts the step before.
    part + ((doublings as usize) << PARTS)
}

/// The longest time that is counted there.
fn longest_in(bucket: usize) -> u64 {
    let (bucket, parts) = (bucket as u64, 1_u64 << PARTS);
    let doublings = (bucket >> PARTS).saturating_sub(1);
    let part = bucket - (doublings << PARTS);
    debug_assert!(part < 2 * parts);
    ((part + 1) << doublings) - 1
}

fn percentile(counts: &[u64], percent: u64) -> Option<u64> {
    let all: u64 = counts.iter().sum();
    let wanted = u64::try_from(u128::from(all) * u128::from(percent) / 100).unwrap_or(all);
    let mut seen = 0;
    let found = counts.iter().position(|count| {
        seen += count;
        *count > 0 && seen >= wanted.max(1)
    });
    found.map(longest_in)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::domain::Timestamp;

    fn report(outcome: StepOutcome, micros: u64, memory_peak: u64) -> StepReport {
        StepReport {
            plugin: "p".into(),
            version: Digest::of(b"p"),
            outcome,
            reason: None,
            micros,
            memory_peak,
            logs: Vec::new(),
            logs_truncated: false,
        }
    }

    #[test]
    fn every_time_lies_in_a_bucket_that_is_an_eighth_too_long_at_most() {
        let mut last = 0;
        for micros in (0..100_000).chain((100_000..8_388_608).step_by(997)) {
            let bucket = bucket(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            last = bucket;
            let longest = longest_in(bucket);
            assert!(
                longest >= micros && longest <= micros + micros / 8,
                "{micros}: {longest}"
            );
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn calls_are_counted_by_outcome_with_their_times_and_the_largest_memory() {
        let stats = PluginStats::default();
        let plugin = PluginId::generate(Timestamp::from_millis(1));
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        for n in 1..=100 {
            let outcome = if n == 100 {
                StepOutcome::Trap
            } else {
                StepOutcome::Deliver
            };
            let report = report(outcome, if n > 98 { 40_000 } else { 20 }, 1_000 - n);
            stats.of(plugin, one).note(&report);
        }
        let figures = stats.figures(plugin, one);
        let count = |outcome| {
            figures
                .outcomes
                .iter()
                .find(|(o, _)| *o == outcome)
                .unwrap()
                .1
        };
        assert_eq!(
            (count(StepOutcome::Deliver), count(StepOutcome::Trap)),
            (99, 1)
        );
        assert_eq!(figures.outcomes.iter().map(|(_, n)| n).sum::<u64>(), 100);
        assert_eq!(figures.p50_micros, Some(21));
        assert!((40_000..45_001).contains(&figures.p99_micros.unwrap()));
        assert_eq!(figures.memory_peak, Some(999));
        let none = stats.figures(plugin, other);
        assert_eq!(
            (none.p50_micros, none.p99_micros, none.memory_peak),
            (None, None, None)
        );
    }

    #[test]
    fn versions_are_bounded() {
        let stats = PluginStats::default();
        for n in 0..2 * VERSIONS as u64 {
            let plugin = PluginId::generate(Timestamp::from_millis(n));
            stats.of(plugin, Digest::of(b"p"));
        }
        assert!(stats.versions.len() <= VERSIONS);
    }

    /// Not part of a run: `cargo test --release -- --ignored noting --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn noting_costs() {
        const CALLS: u32 = 10_000_000;
        let stats = VersionStats::default();
        let report = report(StepOutcome::Deliver, 17, 2 << 20);
        let start = Instant::now();
        for _ in 0..CALLS {
            stats.note(std::hint::black_box(&report));
        }
        let each = start.elapsed() / CALLS;
        println!("{each:?} a call");
    }
}
