//! What of a chain is run: all of it but what is suspended there, which takes its entry's failure policy without
//! being called.

use std::sync::Arc;

use super::plugin_stats::{PluginStats, VersionStats};
use crate::domain::{Chain, ChainEntry, OnFailure, PluginId, PluginReport, Suspension};
use crate::sandbox::{ChainOutcome, ChainResult};

/// How reports name a plugin that was not called since it is suspended.
pub(super) const SUSPENDED: &str = "suspended";

/// What of a chain is run.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What is called, in order.
    pub(super) called: Vec<Called>,
    /// Reports of what is suspended, by their place in the chain.
    suspended: Vec<(usize, PluginReport)>,
    /// Where the chain ends before its end.
    pub(super) halt: Option<Halt>,
    /// Tells results of this plan from those of another one for the same revision; empty if nothing is suspended.
    pub(super) variant: String,
}

/// An entry that is called.
#[derive(Debug)]
pub(super) struct Called {
    /// Its place in the chain.
    pub(super) position: usize,
    pub(super) plugin: PluginId,
    /// Where its calls are noted.
    pub(super) stats: Arc<VersionStats>,
}

/// A suspended entry behind which nothing is run.
#[derive(Debug)]
pub(super) struct Halt {
    /// Whether the delivery is canceled; else the attempt has failed.
    pub(super) drops: bool,
    pub(super) reason: String,
}

impl Plan {
    pub(super) fn of(chain: &Chain, suspended: &[Suspension], stats: &PluginStats) -> Self {
        let mut plan = Self::default();
        for (position, entry) in chain.entries.iter().enumerate() {
            let is_this = |one: &&Suspension| one.is_of(chain.revision, position, entry.version);
            let Some(suspension) = suspended.iter().find(is_this) else {
                plan.called.push(Called {
                    position,
                    plugin: entry.plugin,
                    stats: stats.of(entry.plugin, entry.version),
                });
                continue;
            };
            let reason = reason(suspension);
            let report = report(entry, reason.clone());
            plan.suspended.push((position, report));
            plan.variant += &format!("/{position}@{}", suspension.since.millis());
            if entry.on_failure != OnFailure::Pass {
                let drops = entry.on_failure == OnFailure::Drop;
                plan.halt = Some(Halt { drops, reason });
                break;
            }
        }
        plan
    }

    /// Whether the entry at this place is called.
    pub(super) fn calls(&self, position: usize) -> bool {
        self.called.iter().any(|called| called.position == position)
    }

    /// Whether nothing is called, and nothing is said of anything.
    pub(super) fn is_empty(&self) -> bool {
        self.called.is_empty() && self.suspended.is_empty()
    }

    /// The reports of a run, with those of what is suspended in their places.
    pub(super) fn reports(&self, result: &ChainResult) -> Vec<PluginReport> {
        let mut suspended = self.suspended.iter().peekable();
        let mut reports = Vec::with_capacity(result.steps.len() + self.suspended.len());
        for (index, step) in result.steps.iter().enumerate() {
            let at = self.called.get(index).map_or(usize::MAX, |c| c.position);
            while let Some((_, report)) = suspended.next_if(|(position, _)| *position < at) {
                reports.push(report.clone());
            }
            reports.push(PluginReport::from(step));
        }
        // A plugin that ended the chain leaves nothing to say of those behind it.
        if matches!(
            result.outcome,
            ChainOutcome::Pass | ChainOutcome::Deliver { .. }
        ) {
            reports.extend(suspended.map(|(_, report)| report.clone()));
        }
        reports
    }
}

fn reason(suspension: &Suspension) -> String {
    let Suspension {
        name,
        since,
        failures,
        reason,
        ..
    } = suspension;
    format!(
        "the plugin {name} is suspended since {since}: it failed {failures} times in a row, at last: {reason}"
    )
}

fn report(entry: &ChainEntry, detail: String) -> PluginReport {
    PluginReport {
        plugin: entry.name.clone(),
        version: entry.version,
        outcome: SUSPENDED.to_owned(),
        detail,
        micros: 0,
        memory_peak: 0,
        logs: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Digest, Timestamp, VersionPin};
    use crate::sandbox::{StepOutcome, StepReport};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn chain(policies: &[OnFailure]) -> Chain {
        let entry = |(n, on_failure): (usize, &OnFailure)| ChainEntry {
            plugin: PluginId::generate(NOW),
            name: format!("p{n}"),
            pin: VersionPin::Latest,
            version: Digest::of(b"p"),
            config: serde_json::json!({"n": n}),
            on_failure: *on_failure,
        };
        Chain {
            revision: 7,
            entries: policies.iter().enumerate().map(entry).collect(),
            updated_at: NOW,
        }
    }

    fn suspension(chain: &Chain, position: usize, revision: u64) -> Suspension {
        let entry = &chain.entries[position];
        Suspension {
            plugin: entry.plugin,
            name: entry.name.clone(),
            version: entry.version,
            position,
            revision,
            since: NOW,
            failures: 3,
            reason: "it panicked".to_owned(),
        }
    }

    fn called(plan: &Plan) -> Vec<usize> {
        plan.called.iter().map(|called| called.position).collect()
    }

    fn result(outcome: ChainOutcome, names: &[&str]) -> ChainResult {
        let report = |name: &&str| StepReport {
            plugin: (*name).into(),
            version: Digest::of(b"p"),
            outcome: StepOutcome::Pass,
            reason: None,
            micros: 1,
            memory_peak: 1,
            logs: Vec::new(),
            logs_truncated: false,
        };
        ChainResult {
            outcome,
            steps: names.iter().map(report).collect(),
        }
    }

    fn named(reports: &[PluginReport]) -> Vec<(&str, &str)> {
        let reports = reports.iter();
        reports
            .map(|report| (report.plugin.as_str(), report.outcome.as_str()))
            .collect()
    }

    #[test]
    fn a_suspended_entry_takes_its_failure_policy_uncalled() {
        use OnFailure::{Drop, Fail, Pass};
        let stats = PluginStats::default();
        for (policy, runs, drops) in [
            (Pass, vec![0, 2], None),
            (Fail, vec![0], Some(false)),
            (Drop, vec![0], Some(true)),
        ] {
            let chain = chain(&[Fail, policy, Fail]);
            let plan = Plan::of(&chain, &[suspension(&chain, 1, 7)], &stats);
            assert_eq!(called(&plan), runs, "{policy:?}");
            assert_eq!(plan.halt.as_ref().map(|halt| halt.drops), drops);
            assert!(
                plan.halt
                    .is_none_or(|halt| halt.reason.contains("it panicked"))
            );
            assert!(!plan.variant.is_empty());
        }
    }

    #[test]
    fn it_holds_for_its_own_revision_place_and_version() {
        let stats = PluginStats::default();
        let chain = chain(&[OnFailure::Fail; 2]);
        let other = Suspension {
            version: Digest::of(b"another"),
            ..suspension(&chain, 0, 7)
        };
        let plan = Plan::of(&chain, &[suspension(&chain, 0, 6), other], &stats);
        assert_eq!(called(&plan), [0, 1]);
        assert!(plan.halt.is_none() && plan.variant.is_empty());
    }

    #[test]
    fn reports_name_what_is_suspended_in_its_place() {
        let stats = PluginStats::default();
        let chain = chain(&[OnFailure::Pass, OnFailure::Fail, OnFailure::Pass]);
        let suspended = [suspension(&chain, 0, 7), suspension(&chain, 2, 7)];
        let plan = Plan::of(&chain, &suspended, &stats);
        let reports = plan.reports(&result(ChainOutcome::Pass, &["p1"]));
        let expected = [("p0", "suspended"), ("p1", "pass"), ("p2", "suspended")];
        assert_eq!(named(&reports), expected);
        let dropped = ChainOutcome::Drop {
            plugin: "p1".into(),
            reason: "r".into(),
        };
        let reports = plan.reports(&result(dropped, &["p1"]));
        assert_eq!(named(&reports), expected[..2]);
    }
}
