//! The JavaScript that an endpoint's deliveries go through last, after its chain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ApplicationId, EndpointId, Timestamp};

/// The transformation of an endpoint; a change makes a new one with a higher revision. Once made it stays as long as its
/// endpoint does, so that a revision never comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transformation {
    /// Whose it is.
    pub endpoint: EndpointId,
    /// The application of that endpoint.
    pub app: ApplicationId,
    /// JavaScript with a function `handler(webhook)`.
    pub code: Option<String>,
    /// Whether deliveries go through it, if there is code.
    pub enabled: bool,
    /// What the code finds in `webhook.variables`.
    pub variables: Option<BTreeMap<String, String>>,
    /// Raised by each change; memoised results belong to one revision.
    pub revision: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Transformation {
    /// Most bytes of code. Chosen: it is parsed for every delivery, and 50 KiB take several milliseconds of the 50 that a
    /// plugin has.
    pub const MAX_CODE_BYTES: usize = 50 << 10;

    /// Most bytes of the variables' names and values. Chosen: settings, no data.
    pub const MAX_VARIABLES_BYTES: usize = 8 << 10;

    /// The code that deliveries go through.
    pub fn active_code(&self) -> Option<&str> {
        self.code.as_deref().filter(|_| self.enabled)
    }
}
