//! Suspends a plugin version in a chain where it failed over and over: from then on it is not run there, and
//! deliveries take its entry's failure policy at once. Calls count, not tries: a failure that was kept and answers a
//! retry is no other one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::directory::{AppView, ChainView, EndpointView};
use super::plan::Called;
use crate::domain::{Clock, Digest, PluginId, Suspension};
use crate::events::{Events, What};
use crate::metrics::Metrics;
use crate::sandbox::{StepOutcome, StepReport};
use crate::store::records::{self, ChainOwner, SuspensionRecord};
use crate::store::{COMMIT_TRIES, Store, StoreError};

/// Entries that failed last and are counted. Chosen: some MB; beyond it all counts begin anew, so that a plugin is
/// suspended later, never one that works.
const FAILING: usize = 10_000;

/// Suspends plugin versions.
#[derive(Debug)]
pub(super) struct Suspensions {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) streaks: Streaks,
}

/// Failures in a row of the entries that failed last.
#[derive(Debug)]
pub(super) struct Streaks {
    /// So many suspend; zero: none do.
    after: u32,
    of: Mutex<HashMap<Entry, u32>>,
    /// As many as are in the map, so that a call that goes well takes no lock while none fails.
    failing: AtomicUsize,
}

/// An entry of one revision of a chain, with the version that ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    owner: Arc<str>,
    revision: u64,
    position: usize,
    version: Digest,
}

/// An entry that failed too often.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tripped {
    plugin: PluginId,
    name: String,
    version: Digest,
    position: usize,
    failures: u32,
    reason: String,
}

impl Streaks {
    pub(super) fn new(after: u32) -> Self {
        Self {
            after,
            of: Mutex::default(),
            failing: AtomicUsize::new(0),
        }
    }

    /// A call of an entry ended so.
    pub(super) fn note(
        &self,
        chain: &ChainView,
        called: &Called,
        report: &StepReport,
    ) -> Option<Tripped> {
        let failed = matches!(
            report.outcome,
            StepOutcome::Error | StepOutcome::Trap | StepOutcome::Limit
        );
        // A count that is added meanwhile belongs to a call that is as good as later.
        if self.after == 0 || !failed && self.failing.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let entry = Entry {
            owner: Arc::clone(&chain.owner),
            revision: chain.revision,
            position: called.position,
            version: report.version,
        };
        let failures = self.count(entry, failed);
        (failed && failures >= self.after).then(|| Tripped {
            plugin: called.plugin,
            name: report.plugin.to_string(),
            version: report.version,
            position: called.position,
            failures,
            reason: report.reason.clone().unwrap_or_default(),
        })
    }

    fn count(&self, entry: Entry, failed: bool) -> u32 {
        let mut of = self.of.lock();
        let failures = if failed {
            if of.len() >= FAILING && !of.contains_key(&entry) {
                of.clear();
            }
            let failures = of.entry(entry).or_default();
            *failures = failures.saturating_add(1);
            *failures
        } else {
            of.remove(&entry);
            0
        };
        self.failing.store(of.len(), Ordering::Relaxed);
        failures
    }

    fn forget(&self, chain: &ChainView, position: usize) {
        let mut of = self.of.lock();
        of.retain(|entry, _| entry.owner != chain.owner || entry.position != position);
        self.failing.store(of.len(), Ordering::Relaxed);
    }
}

impl Suspensions {
    /// Suspends an entry of the application's chain, or of the endpoint's. A store that fails just then leaves it to
    /// the next failure.
    pub(super) async fn suspend(
        &self,
        app: &AppView,
        endpoint: Option<&EndpointView>,
        chain: &ChainView,
        tripped: Tripped,
    ) {
        let owner = match endpoint {
            Some(endpoint) => ChainOwner::Endpoint(endpoint.endpoint.id),
            None => ChainOwner::Application(app.application.id),
        };
        let position = tripped.position;
        let suspension = Suspension {
            plugin: tripped.plugin,
            name: tripped.name,
            version: tripped.version,
            position,
            revision: chain.revision,
            since: self.clock.wall(),
            failures: tripped.failures,
            reason: tripped.reason,
        };
        match self.keep(app, owner, &suspension).await {
            Ok(true) => {
                let Suspension { version, .. } = suspension;
                tracing::warn!(chain = %owner, plugin = suspension.name, %version,
                    failures = suspension.failures, "a plugin version is suspended");
                self.metrics.plugin_suspended();
                let endpoint = endpoint.map(|endpoint| &endpoint.endpoint);
                let what = What::PluginSuspended(suspension);
                self.events.tell_in(&app.application, endpoint, what);
            }
            // Another attempt was faster.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(chain = %owner, error = &error as &dyn std::error::Error,
                    "a plugin version can not be suspended at present");
                return;
            }
        }
        self.streaks.forget(chain, position);
    }

    /// False: it is suspended already, or the chain was changed since.
    async fn keep(
        &self,
        app: &AppView,
        owner: ChainOwner,
        new: &Suspension,
    ) -> Result<bool, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.store.get::<SuspensionRecord>(owner).await?;
            let kept = found.iter().flat_map(|found| &found.value.suspended);
            let mut kept: Vec<Suspension> = kept.cloned().collect();
            let same = |old: &Suspension| old.is_of(new.revision, new.position, new.version);
            if kept
                .iter()
                .any(|old| old.revision > new.revision || same(old))
            {
                return Ok(false);
            }
            kept.retain(|old| old.revision == new.revision);
            kept.push(new.clone());
            let record = SuspensionRecord {
                owner,
                app: app.application.id,
                suspended: kept,
            };
            let write = match found {
                Some(found) => found.update(&record)?,
                None => records::insert(&record)?,
            };
            match self.store.commit(vec![write], None).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is_conflict() && tries < COMMIT_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::super::plugin_stats::PluginStats;
    use super::*;
    use crate::domain::Timestamp;

    fn chain(revision: u64) -> ChainView {
        ChainView {
            owner: "ep_1".into(),
            revision,
            steps: Arc::new([]),
            plan: Plan::default(),
        }
    }

    fn called() -> Called {
        let plugin = PluginId::generate(Timestamp::from_millis(1));
        Called {
            position: 0,
            plugin,
            stats: PluginStats::default().of(plugin, Digest::of(b"p")),
        }
    }

    fn report(outcome: StepOutcome) -> StepReport {
        StepReport {
            plugin: "p".into(),
            version: Digest::of(b"p"),
            outcome,
            reason: Some("why".to_owned()),
            micros: 1,
            memory_peak: 1,
            logs: Vec::new(),
            logs_truncated: false,
        }
    }

    /// Failures of the one that tripped at each call.
    fn trips(streaks: &Streaks, chain: &ChainView, outcomes: &[StepOutcome]) -> Vec<Option<u32>> {
        let called = called();
        let note = |outcome: &StepOutcome| streaks.note(chain, &called, &report(*outcome));
        let trips = outcomes.iter().map(note);
        trips.map(|tripped| Some(tripped?.failures)).collect()
    }

    #[test]
    fn only_failures_in_a_row_count() {
        use StepOutcome::{Deliver, Drop, Error, Limit, Pass, Reject, Trap};
        let streaks = Streaks::new(3);
        for good in [Pass, Deliver, Drop, Reject] {
            let outcomes = [Error, Trap, good, Limit, Error];
            assert_eq!(trips(&streaks, &chain(1), &outcomes), [None; 5], "{good:?}");
            assert_eq!(trips(&streaks, &chain(1), &[Pass]), [None]);
        }
        assert_eq!(streaks.failing.load(Ordering::Relaxed), 0);
        let tripped = trips(&streaks, &chain(1), &[Error, Trap, Limit, Error]);
        // The store may have failed the first time.
        assert_eq!(tripped, [None, None, Some(3), Some(4)]);
    }

    #[test]
    fn another_revision_begins_anew_and_zero_never_ends() {
        let error = [StepOutcome::Error; 2];
        let streaks = Streaks::new(3);
        assert_eq!(trips(&streaks, &chain(1), &error), [None; 2]);
        assert_eq!(trips(&streaks, &chain(2), &error), [None; 2]);
        assert_eq!(trips(&Streaks::new(0), &chain(1), &error), [None; 2]);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let streaks = Streaks::new(3);
        for revision in 0..2 * FAILING as u64 {
            trips(&streaks, &chain(revision), &[StepOutcome::Error]);
        }
        assert!(streaks.of.lock().len() <= FAILING);
    }
}
