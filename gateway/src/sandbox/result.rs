//! What goes into a chain and what comes out of it. Plain data, kept with attempts and sent to callers.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::host::{LogLevel, LogLine};
use crate::domain::{Digest, OnFailure, PluginReport};

/// The last line of a report whose logs are not all of them.
const CUT: &str = "[the rest was cut]";

/// One run of a chain over one event.
#[derive(Debug, Clone)]
pub struct ChainRun {
    /// The application: guests run fairly between applications.
    pub tenant: Arc<str>,
    /// Under which the result is kept for the next try; none for a preview.
    pub memo_key: Option<MemoKey>,
    /// The plugins in order.
    pub steps: Arc<[Step]>,
    /// What the first plugin sees.
    pub event: Event,
}

/// What a result is kept under. A changed chain has another revision, and with it other results.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoKey {
    /// The message's id.
    pub message: Arc<str>,
    /// The id of the endpoint or application that owns the chain.
    pub owner: Arc<str>,
    /// The chain's revision.
    pub revision: u64,
}

/// One plugin of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub plugin_name: Arc<str>,
    pub version: Digest,
    /// JSON that fits the version's schema.
    pub config: Arc<str>,
    pub on_failure: OnFailure,
}

/// An event as plugins see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub event_type: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    pub channels: Vec<String>,
    pub application_id: String,
    pub application_uid: Option<String>,
    /// None in an application's chain.
    pub endpoint_id: Option<String>,
    /// Set so far by the source and by plugins; never credentials or the endpoint's own.
    pub headers: Vec<(String, String)>,
    pub content_type: String,
    pub payload: Bytes,
}

/// What a chain made of an event, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainResult {
    pub outcome: ChainOutcome,
    /// One report for each plugin that was called.
    pub steps: Vec<StepReport>,
}

/// What a chain made of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainOutcome {
    /// Nothing was touched: send the bytes that arrived.
    Pass,
    /// Send this.
    Deliver {
        content_type: String,
        headers: Vec<(String, String)>,
        payload: Bytes,
    },
    /// Do not deliver: canceled.
    Drop { plugin: Arc<str>, reason: String },
    /// Do not deliver: failed for good.
    Reject { plugin: Arc<str>, reason: String },
    /// The chain could not be run to its end. A deterministic failure happens again until the chain changes.
    Failed {
        plugin: Arc<str>,
        error: String,
        deterministic: bool,
    },
    /// The sandbox is too busy, and the plugins are not to blame: try again soon.
    Unavailable,
}

/// What one plugin did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub plugin: Arc<str>,
    pub version: Digest,
    pub outcome: StepOutcome,
    /// The reason or error, if it gave one.
    pub reason: Option<String>,
    /// Microseconds for which it held a thread.
    pub micros: u64,
    /// Bytes of memory at its largest.
    pub memory_peak: u64,
    pub logs: Vec<LogLine>,
    /// There were more logs than are kept.
    pub logs_truncated: bool,
}

/// How one plugin's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    Pass,
    Deliver,
    Drop,
    Reject,
    /// It answered with an error, or with what it may not deliver.
    Error,
    /// It crashed.
    Trap,
    /// It met a limit of time or memory.
    Limit,
}

impl StepOutcome {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Deliver => "deliver",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Limit => "limit",
        }
    }
}

impl From<&StepReport> for PluginReport {
    fn from(step: &StepReport) -> Self {
        let cut = step.logs_truncated.then_some((LogLevel::Warn, CUT));
        let lines = step.logs.iter().map(|line| (line.level, &*line.text));
        let logs = lines
            .chain(cut)
            .map(|(level, text)| (level.as_str().to_owned(), text.to_owned()));
        Self {
            plugin: step.plugin.to_string(),
            version: step.version,
            outcome: step.outcome.as_str().to_owned(),
            detail: step.reason.clone().unwrap_or_default(),
            micros: step.micros,
            memory_peak: step.memory_peak,
            logs: logs.collect(),
        }
    }
}
