//! A kind of event, such as `invoice.paid`, that an organization declares.

use serde::{Deserialize, Serialize};

use super::{OrganizationId, Timestamp, Uid};

/// One declared kind of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventType {
    /// Unique in the organization; also its identifier.
    pub name: Uid,
    /// The organization that declared it.
    pub org: OrganizationId,
    /// For people.
    pub description: String,
    /// Archived: hidden from lists unless asked for.
    #[serde(default)]
    pub archived: bool,
    /// Deprecated: shown, but should not be used for new endpoints.
    #[serde(default)]
    pub deprecated: bool,
    /// Shown only to those who have this flag.
    #[serde(default)]
    pub feature_flag: Option<Uid>,
    /// Groups event types for people.
    #[serde(default)]
    pub group_name: Option<String>,
    /// JSON Schemas by version label.
    #[serde(default)]
    pub schemas: Option<serde_json::Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
