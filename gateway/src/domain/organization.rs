//! Who runs events through the gateway. Nothing is shared across organizations.

use serde::{Deserialize, Serialize};

use super::{ApplicationId, OrganizationId, PluginLimits, RetryPolicy, Timestamp};

/// Exists from its first request on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its identifier, the `sub` of its tokens.
    pub id: OrganizationId,
    /// Messages per second accepted for it; none: no limit of its own.
    #[serde(default)]
    pub throttle_rate: Option<u32>,
    /// Deliveries that may be neither settled nor canceled before new messages are refused; none: any number.
    #[serde(default)]
    pub max_pending: Option<u64>,
    /// The retry policy of its endpoints that have none of their own; none: the gateway's.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// What its plugins may use, where it differs from everybody's. Set by an administrator.
    #[serde(default)]
    pub plugin_limits: PluginLimits,
    /// The application whose messages are its operational events; none: none were asked for.
    #[serde(default)]
    pub management_app: Option<ApplicationId>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Timestamp,
}

impl Organization {
    /// One without limits of its own.
    pub fn new(id: OrganizationId, now: Timestamp) -> Self {
        Self {
            id,
            throttle_rate: None,
            max_pending: None,
            retry: None,
            plugin_limits: PluginLimits::default(),
            management_app: None,
            created_at: now,
            updated_at: now,
        }
    }
}
