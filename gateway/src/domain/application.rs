//! A tenant of an organization: owns endpoints, messages and a plugin chain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ApplicationId, OrganizationId, PluginLimits, Timestamp, Uid};

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its identifier.
    pub id: ApplicationId,
    /// The organization it belongs to.
    pub org: OrganizationId,
    /// The user's own identifier, unique in the organization.
    pub uid: Option<Uid>,
    /// For people.
    pub name: String,
    /// Messages per second accepted for it; none: no limit of its own.
    #[serde(default)]
    pub throttle_rate: Option<u16>,
    /// What its plugins may use, where it differs from its organization's. Set by an administrator.
    #[serde(default)]
    pub plugin_limits: PluginLimits,
    /// Free key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Tokens of this application issued before this moment are refused.
    #[serde(default)]
    pub tokens_not_before: Option<Timestamp>,
    /// Its messages are the organization's operational events; it is no tenant and reached by no tenant's route.
    #[serde(default)]
    pub management: bool,
}

impl Application {
    /// The one whose messages are this organization's operational events.
    pub fn management(org: OrganizationId, now: Timestamp) -> Self {
        Self {
            id: ApplicationId::generate(now),
            org,
            uid: None,
            name: "operational webhooks".to_owned(),
            throttle_rate: None,
            plugin_limits: PluginLimits::default(),
            metadata: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            tokens_not_before: None,
            management: true,
        }
    }
}
