//! One event accepted for one application. Immutable.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ApplicationId, MessageId, OrganizationId, Seq, Timestamp, Uid};

/// Everything about a message but its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its identifier: the idempotency key that receivers see.
    pub id: MessageId,
    /// Order of acceptance.
    pub seq: Seq,
    /// The application it was accepted for.
    pub app: ApplicationId,
    /// The organization of that application.
    pub org: OrganizationId,
    /// The sender's own identifier, unique in the application while the message is kept.
    pub event_id: Option<Uid>,
    /// Its event type.
    pub event_type: Uid,
    /// Channels it is for.
    pub channels: Vec<Uid>,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// Media type of the payload.
    pub content_type: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// No delivery before this moment; none: at once.
    pub deliver_at: Option<Timestamp>,
    /// When the sweeper may delete it.
    pub expires_at: Timestamp,
    /// Bytes of the payload.
    pub payload_len: u32,
}

impl Message {
    /// When it could be delivered first.
    pub fn first_due(&self) -> Timestamp {
        self.deliver_at
            .map_or(self.created_at, |at| at.max(self.created_at))
    }
}

/// What ingest hands to the store: everything but the sequence number.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message; its `seq` is filled in by the store.
    pub message: Message,
    /// The bytes that arrived.
    pub payload: Bytes,
}
