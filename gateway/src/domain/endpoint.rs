//! A subscription: where messages of an application go, which of them, and signed with what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ApplicationId, EndpointId, OrganizationId, RetryPolicy, Sealed, Timestamp, Uid};

/// One subscription of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identifier.
    pub id: EndpointId,
    /// The application it belongs to.
    pub app: ApplicationId,
    /// The organization of that application.
    pub org: OrganizationId,
    /// The user's own identifier, unique in the application.
    pub uid: Option<Uid>,
    /// Where to post; judged at registration and again before every attempt.
    pub url: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Event types it wants; none: all.
    #[serde(default)]
    pub event_types: Option<Vec<Uid>>,
    /// Channels it wants; none: all.
    #[serde(default)]
    pub channels: Option<Vec<Uid>>,
    /// Disabled: nothing is delivered, waiting deliveries fail and can be recovered.
    #[serde(default)]
    pub disabled: bool,
    /// Why the gateway disabled it by itself (410, days of failures); none if a user did.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// Paused: nothing is delivered, the queue is kept.
    #[serde(default)]
    pub pause: PauseState,
    /// Deliveries per second; none: no limit.
    #[serde(default)]
    pub throttle_rate: Option<u16>,
    /// Whether one delivery waits for the one before.
    #[serde(default)]
    pub order: DeliveryOrder,
    /// Free key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Signing secrets, the newest first; older ones sign along until they expire.
    pub secrets: Vec<EndpointSecret>,
    /// Static headers of every attempt, sealed as one JSON object of strings; none: no headers.
    #[serde(default)]
    pub headers: Option<Sealed>,
    /// Its own retry policy; none: the organization's, else the gateway's.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Start of the present run of failures; none after a success.
    #[serde(default)]
    pub failing_since: Option<Timestamp>,
}

/// One signing secret of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSecret {
    /// The secret's text form (`whsec_…` or `whsk_…`), sealed.
    pub sealed: Sealed,
    /// Signs no more from then on; none for the newest.
    pub expires_at: Option<Timestamp>,
}

/// In which order an endpoint gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "mode")]
pub enum DeliveryOrder {
    /// Several at once; one that fails is overtaken by those behind it.
    #[default]
    Free,
    /// One after the other, in the order of acceptance.
    #[serde(rename_all = "camelCase")]
    Fifo {
        /// After so many failed tries the next one goes first, and the failed one is tried again out of order; none:
        /// it blocks those behind it until it is settled.
        skip_after: Option<u16>,
    },
}

/// Whether deliveries of an endpoint are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PauseState {
    /// Deliveries flow.
    #[default]
    Running,
    /// Deliveries wait.
    Paused,
}

impl Endpoint {
    /// At most this many old secrets sign along with the newest (Svix v1).
    pub const MAX_OLD_SECRETS: usize = 5;

    /// Whether a message of this type and these channels is for this endpoint. An endpoint with
    /// channels wants only messages that carry one of them; one without wants messages of any channel.
    pub fn wants(&self, event_type: &str, channels: &[Uid]) -> bool {
        let type_fits = self
            .event_types
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|name| name.as_str() == event_type));
        let channel_fits = self
            .channels
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|name| channels.contains(name)));
        type_fits && channel_fits
    }
}

impl EndpointSecret {
    /// Whether it signs at this moment.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}
