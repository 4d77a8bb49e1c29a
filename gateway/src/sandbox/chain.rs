//! Runs a chain of plugins over one event, each seeing what those before it made. Loads first, then takes a turn:
//! who waits for a disk or a compiler holds up nobody else's guests.

use std::mem;
use std::sync::Arc;

use super::aside::Aside;
use super::pool::{Loaded, Pool};
use super::result::{ChainOutcome, ChainResult, ChainRun, Event, Step, StepOutcome, StepReport};
use super::run::{Answer, Budget, Called, Failure, FailureKind, Runner};
use super::share::Share;
use super::turns::{Turn, Turns};
use super::{SandboxError, javascript};
use crate::domain::{OnFailure, PluginLimits};

/// A result, and whether the same event and chain would come to it again.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: ChainResult,
    pub(super) repeatable: bool,
}

/// What runs chains.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) pool: Pool,
    pub(super) turns: Arc<Turns>,
    pub(super) runner: Arc<Runner>,
    pub(super) aside: Aside,
}

impl Chains {
    /// Runs a chain to its end or to the first plugin that ends it.
    pub(super) async fn run(&self, run: ChainRun, tenant: &PluginLimits) -> Ran {
        let Some(first) = run.steps.first() else {
            return only(ChainOutcome::Pass);
        };
        let longest = self.runner.limits().chain_length;
        // The transformation of an endpoint stands behind its chain, and does not make it longer.
        let plugins = run
            .steps
            .iter()
            .filter(|step| !javascript::is_engine(step.version));
        if plugins.count() > longest {
            let error = format!("the chain has more than {longest} plugins");
            return only(failed(first, error, true));
        }
        let mut plugins = Vec::with_capacity(run.steps.len());
        for step in run.steps.iter() {
            match self.pool.get(step.version).await {
                Ok(plugin) => plugins.push(plugin),
                Err(error) => return only(not_loaded(step, &error)),
            }
        }
        let share = Share::of(tenant);
        let Some(turn) = self.turns.take(&run.tenant, share).await else {
            return only(ChainOutcome::Unavailable);
        };
        let budget = self.runner.budget(tenant);
        let walk = walk((self.runner.clone(), budget), run, plugins, turn);
        // Stopped only with the runtime, when nobody waits for an answer.
        self.aside
            .run(walk)
            .await
            .unwrap_or_else(|_| only(ChainOutcome::Unavailable))
    }
}

/// Calls the plugins one after the other. It waits for nothing but the guests' next tick.
async fn walk(
    (runner, mut budget): (Arc<Runner>, Budget),
    run: ChainRun,
    plugins: Vec<Arc<Loaded>>,
    mut turn: Turn,
) -> Ran {
    let mut walk = Walk {
        event: run.event,
        touched: false,
        by_chance: false,
        reports: Vec::new(),
    };
    for (step, plugin) in run.steps.iter().zip(&plugins) {
        let called = runner
            .transform(plugin, &walk.event, &step.config, &mut budget)
            .await;
        turn.used += called.busy;
        if let Some(outcome) = walk.take(step, called) {
            return walk.end(outcome);
        }
    }
    let outcome = walk.outcome();
    walk.end(outcome)
}

/// An event on its way through a chain.
struct Walk {
    event: Event,
    /// Some plugin delivered, so what is sent is not what arrived.
    touched: bool,
    /// Some plugin ran out of time, which it might not do again.
    by_chance: bool,
    reports: Vec<StepReport>,
}

impl Walk {
    /// Books what a plugin did; an outcome ends the chain.
    fn take(&mut self, step: &Step, called: Called<Answer>) -> Option<ChainOutcome> {
        let mut report = StepReport {
            plugin: step.plugin_name.clone(),
            version: step.version,
            outcome: StepOutcome::Pass,
            reason: None,
            micros: u64::try_from(called.busy.as_micros()).unwrap_or(u64::MAX),
            memory_peak: called.memory_peak,
            logs: called.log.lines,
            logs_truncated: called.log.truncated,
        };
        let plugin = step.plugin_name.clone();
        let outcome = match called.answer {
            Ok(Answer::Pass) => None,
            Ok(Answer::Deliver {
                content_type,
                headers,
                payload,
            }) => {
                report.outcome = StepOutcome::Deliver;
                self.event.content_type = content_type;
                self.event.headers = headers;
                self.event.payload = payload;
                self.touched = true;
                None
            }
            Ok(Answer::Drop(reason)) => {
                report.outcome = StepOutcome::Drop;
                report.reason = Some(reason.clone());
                Some(ChainOutcome::Drop { plugin, reason })
            }
            Ok(Answer::Reject(reason)) => {
                report.outcome = StepOutcome::Reject;
                report.reason = Some(reason.clone());
                Some(ChainOutcome::Reject { plugin, reason })
            }
            // The plugin was not called, so there is nothing to report of it.
            Err(Failure::NoSlot) => return Some(ChainOutcome::Unavailable),
            Err(Failure::Plugin { error, kind }) => {
                let deterministic = kind != FailureKind::Time;
                report.outcome = match kind {
                    FailureKind::Error => StepOutcome::Error,
                    FailureKind::Trap => StepOutcome::Trap,
                    FailureKind::Amount | FailureKind::Time => StepOutcome::Limit,
                };
                self.by_chance |= !deterministic;
                report.reason = Some(error.clone());
                match step.on_failure {
                    OnFailure::Fail => Some(ChainOutcome::Failed {
                        plugin,
                        error,
                        deterministic,
                    }),
                    OnFailure::Drop => Some(ChainOutcome::Drop {
                        plugin,
                        reason: error,
                    }),
                    OnFailure::Pass => None,
                }
            }
        };
        self.reports.push(report);
        outcome
    }

    /// What the event has become after the last plugin.
    fn outcome(&mut self) -> ChainOutcome {
        if !self.touched {
            return ChainOutcome::Pass;
        }
        ChainOutcome::Deliver {
            content_type: mem::take(&mut self.event.content_type),
            headers: mem::take(&mut self.event.headers),
            payload: mem::take(&mut self.event.payload),
        }
    }

    fn end(self, outcome: ChainOutcome) -> Ran {
        let repeatable = !self.by_chance && !matches!(outcome, ChainOutcome::Unavailable);
        Ran {
            result: ChainResult {
                outcome,
                steps: self.reports,
            },
            repeatable,
        }
    }
}

/// `onFailure` is for what plugins do; what the gateway can not load always fails the attempt.
fn not_loaded(step: &Step, error: &SandboxError) -> ChainOutcome {
    if matches!(
        error,
        SandboxError::CompileQueueFull | SandboxError::Stopped(_)
    ) {
        return ChainOutcome::Unavailable;
    }
    tracing::error!(version = %step.version, error = ?error, "a plugin version does not load");
    failed(step, error.to_string(), false)
}

fn failed(step: &Step, error: String, deterministic: bool) -> ChainOutcome {
    ChainOutcome::Failed {
        plugin: step.plugin_name.clone(),
        error,
        deterministic,
    }
}

/// An outcome that no plugin had a part in.
fn only(outcome: ChainOutcome) -> Ran {
    let repeatable = match &outcome {
        ChainOutcome::Failed { deterministic, .. } => *deterministic,
        ChainOutcome::Unavailable => false,
        _ => true,
    };
    Ran {
        result: ChainResult {
            outcome,
            steps: Vec::new(),
        },
        repeatable,
    }
}
