//! Who runs events through the gateway. Nothing is shared across organizations.

use serde::{Deserialize, Serialize};

use super::{OrganizationId, Timestamp};

/// Exists from its first token or request on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its identifier, the `sub` of its tokens.
    pub id: OrganizationId,
    /// When it was first seen.
    pub created_at: Timestamp,
}
