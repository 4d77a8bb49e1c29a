//! The ordered plugin versions that an application or endpoint runs, each with its config.

use serde::{Deserialize, Serialize};

use super::{Digest, PluginId, Timestamp};

/// A chain as it stands; a change makes a new one with a higher revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Raised by each change, a moved `latest` included; memoised results belong to one revision.
    pub revision: u64,
    /// Run in this order.
    pub entries: Vec<ChainEntry>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One plugin of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainEntry {
    /// The plugin, resolved when the chain was set.
    pub plugin: PluginId,
    /// The name it was set by, for people.
    pub name: String,
    /// Which version was asked for.
    pub pin: VersionPin,
    /// The version that runs now: the pinned one, or the plugin's latest.
    pub version: Digest,
    /// Fits that version's schema.
    pub config: serde_json::Value,
    /// What a failing plugin means for the delivery.
    pub on_failure: OnFailure,
}

/// Which version a chain entry follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionPin {
    /// This one, for ever.
    Exact(Digest),
    /// The plugin's latest.
    Latest,
}

/// What an error, a trap or a limit in a plugin means for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The attempt failed; retried by schedule.
    #[default]
    Fail,
    /// The delivery is canceled.
    Drop,
    /// Go on as if the plugin had not been there. Only where the operator allows it: a failed redaction leaks.
    Pass,
}
