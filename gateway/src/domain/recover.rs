//! Somebody asked for everything that failed at an endpoint to be tried again.

use serde::{Deserialize, Serialize};

use super::{ApplicationId, EndpointId, Seq, TaskId, Timestamp};

/// Goes through the messages of an application, the newest first, and makes what failed at the endpoint due again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverTask {
    /// Its identifier.
    pub id: TaskId,
    /// The endpoint's application.
    pub app: ApplicationId,
    /// The endpoint; it has one task at a time.
    pub endpoint: EndpointId,
    /// Messages accepted at this moment or later …
    pub since: Timestamp,
    /// … and before this one.
    pub until: Timestamp,
    /// What was accepted from this number on is done; none: nothing is.
    #[serde(default)]
    pub before: Option<Seq>,
    /// When it got so far.
    pub updated_at: Timestamp,
}
