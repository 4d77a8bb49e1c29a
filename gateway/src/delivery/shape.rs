//! Runs the chains over a delivery: the application's once per message, then the endpoint's. Both results are
//! kept by the sandbox per message and revision, so the deliveries of one message share the application's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::directory::{AppView, ChainView, EndpointView};
use super::payloads::Event;
use super::plan::SUSPENDED;
use super::suspension::{Suspensions, Tripped};
use crate::domain::{Attempt, PluginLimits, PluginReport};
use crate::metrics::Metrics;
use crate::sandbox::{self, ChainOutcome, ChainResult, ChainRun, MemoKey, Sandbox};
use crate::store::Shaped;

/// How reports name a plugin that failed of itself or could not be called.
const ERROR: &str = "error";

/// What the chains made of a delivery, and what each plugin did.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) outcome: ShapeOutcome,
    pub(super) plugins: Vec<PluginReport>,
}

#[derive(Debug)]
pub(super) enum ShapeOutcome {
    /// Send this.
    Send(ToSend),
    /// Canceled, with the reason.
    Drop(String),
    /// Failed for good, with the reason.
    Reject(String),
    /// The attempt has failed.
    Failed(String),
    /// The sandbox is busy; nobody's fault.
    Unavailable,
}

/// What goes out, before it is signed.
#[derive(Debug, Clone)]
pub(super) struct ToSend {
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Bytes,
    /// A plugin delivered: the payload is not the message's own.
    pub(super) touched: bool,
    /// The store has it already, from an earlier attempt.
    pub(super) kept: bool,
}

/// Runs chains over deliveries, and notes what their plugins did.
#[derive(Debug)]
pub(super) struct Shaper {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) suspensions: Suspensions,
}

impl Shaper {
    /// Runs the chains as they stand.
    pub(super) async fn shape(
        &self,
        (app, limits): (&AppView, &PluginLimits),
        endpoint: &EndpointView,
        event: &Event,
    ) -> Shape {
        let mut shape = Shape {
            outcome: ShapeOutcome::Send(ToSend::untouched(event)),
            plugins: Vec::new(),
        };
        // The endpoint's chain works on what the application's made, so its result belongs to both.
        let (mut below, mut variant) = (0, told_apart(limits));
        for (chain, of) in [(&app.chain, None), (&endpoint.chain, Some(endpoint))] {
            let (Some(chain), ShapeOutcome::Send(send)) = (chain, &shape.outcome) else {
                continue;
            };
            variant += &chain.plan.variant;
            let key = MemoKey {
                message: event.message.id.to_string().into(),
                owner: kept_under(&chain.owner, &variant),
                revision: chain.revision | below << 32,
            };
            below = chain.revision;
            let run = chain_run(app, chain, of, event, send, key);
            let mut tripped = Vec::new();
            let note = |result: &ChainResult| tripped = self.note(chain, result);
            let result = self.sandbox.run_chain_noting(run, limits, note).await;
            shape.take(chain, result);
            for tripped in tripped {
                self.suspensions.suspend(app, of, chain, tripped).await;
            }
        }
        shape
    }

    /// Counts the calls that were made. What failed too often.
    fn note(&self, chain: &ChainView, result: &ChainResult) -> Vec<Tripped> {
        let mut tripped = Vec::new();
        for (index, report) in result.steps.iter().enumerate() {
            let took = Duration::from_micros(report.micros);
            self.metrics.plugin_called(report.outcome.as_str(), took);
            if let Some(called) = chain.plan.called.get(index) {
                called.stats.note(report);
                let streaks = &self.suspensions.streaks;
                tripped.extend(streaks.note(chain, called, report));
            }
        }
        tripped
    }
}

/// Other limits may make another result of the same chain.
fn told_apart(limits: &PluginLimits) -> String {
    let figures = limits.iter();
    figures
        .map(|(limit, figure)| format!("|{}={figure}", limit.field()))
        .collect()
}

/// Where nothing is suspended and no limit is set there is nothing to tell apart.
fn kept_under(owner: &Arc<str>, variant: &str) -> Arc<str> {
    if variant.is_empty() {
        Arc::clone(owner)
    } else {
        format!("{owner}{variant}").into()
    }
}

/// Whether an attempt ended in a plugin, before anything was sent.
pub(super) fn failed_in_plugin(attempt: &Attempt) -> bool {
    attempt.response_code.is_none() && attempt.plugins.last().is_some_and(is_failure)
}

impl ToSend {
    fn untouched(event: &Event) -> Self {
        Self {
            content_type: event.message.content_type.clone(),
            headers: Vec::new(),
            payload: event.payload.clone(),
            touched: false,
            kept: false,
        }
    }

    /// What an earlier attempt sent.
    pub(super) fn again(shaped: Shaped, event: &Event) -> Self {
        Self {
            content_type: shaped.content_type,
            headers: shaped.headers,
            touched: shaped.payload.is_some(),
            kept: true,
            payload: shaped.payload.unwrap_or_else(|| event.payload.clone()),
        }
    }

    /// As the store keeps it for later attempts.
    pub(super) fn to_keep(&self) -> Shaped {
        Shaped {
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            payload: self.touched.then(|| self.payload.clone()),
        }
    }
}

impl Shape {
    fn take(&mut self, chain: &ChainView, result: ChainResult) {
        self.plugins.extend(chain.plan.reports(&result));
        match result.outcome {
            ChainOutcome::Pass => {}
            ChainOutcome::Deliver {
                content_type,
                headers,
                payload,
            } => {
                self.outcome = ShapeOutcome::Send(ToSend {
                    content_type,
                    headers,
                    payload,
                    touched: true,
                    kept: false,
                });
            }
            ChainOutcome::Drop { reason, .. } => self.outcome = ShapeOutcome::Drop(reason),
            ChainOutcome::Reject { reason, .. } => self.outcome = ShapeOutcome::Reject(reason),
            ChainOutcome::Failed { plugin, error, .. } => {
                self.name_failure(chain, &plugin, &error);
                self.outcome = ShapeOutcome::Failed(error);
            }
            ChainOutcome::Unavailable => self.outcome = ShapeOutcome::Unavailable,
        }
        if let (ShapeOutcome::Send(_), Some(halt)) = (&self.outcome, &chain.plan.halt) {
            let reason = halt.reason.clone();
            self.outcome = if halt.drops {
                ShapeOutcome::Drop(reason)
            } else {
                ShapeOutcome::Failed(reason)
            };
        }
    }

    /// A plugin that could not be called has no report of its own; the attempt must name it all the same.
    fn name_failure(&mut self, chain: &ChainView, plugin: &Arc<str>, error: &str) {
        if self.plugins.last().is_some_and(is_failure) {
            return;
        }
        let step = chain.steps.iter().find(|step| step.plugin_name == *plugin);
        if let Some(step) = step {
            self.plugins.push(PluginReport {
                plugin: plugin.to_string(),
                version: step.version,
                outcome: ERROR.to_owned(),
                detail: error.to_owned(),
                micros: 0,
                memory_peak: 0,
                logs: Vec::new(),
            });
        }
    }
}

fn chain_run(
    app: &AppView,
    chain: &ChainView,
    endpoint: Option<&EndpointView>,
    event: &Event,
    send: &ToSend,
    key: MemoKey,
) -> ChainRun {
    let message = &event.message;
    ChainRun {
        tenant: Arc::clone(&app.tenant),
        steps: Arc::clone(&chain.steps),
        event: sandbox::Event {
            id: key.message.to_string(),
            event_type: message.event_type.to_string(),
            timestamp_ms: message.created_at.millis(),
            channels: message.channels.iter().map(ToString::to_string).collect(),
            application_id: app.tenant.to_string(),
            application_uid: app.application.uid.as_ref().map(ToString::to_string),
            endpoint_id: endpoint.map(|endpoint| endpoint.endpoint.id.to_string()),
            headers: send.headers.clone(),
            content_type: send.content_type.clone(),
            payload: send.payload.clone(),
        },
        memo_key: Some(key),
    }
}

fn is_failure(report: &PluginReport) -> bool {
    [ERROR, "trap", "limit", SUSPENDED].contains(&report.outcome.as_str())
}
