//! What goes in and out of the store in the life of an event.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Attempt, AttemptStatus, DeliveryRow, Digest, EndpointId, Message, MessageId, NewMessage, Seq,
    Timestamp, Uid,
};

/// One message to accept.
#[derive(Debug, Clone)]
pub struct AcceptItem {
    /// The message; the store assigns its `seq`.
    pub new: NewMessage,
    /// Committed in the same batch.
    pub idempotency: Option<IdempotencyRecord>,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptRefusal {
    /// The application has a message with this event id.
    EventIdTaken {
        /// That message.
        existing: MessageId,
    },
    /// The idempotency key was used meanwhile; this is what was answered.
    IdempotencyKeyTaken(Box<IdempotencyRecord>),
}

/// An answer kept for the twin of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The caller, so that keys of two callers never meet.
    pub scope: String,
    /// The `Idempotency-Key` as sent.
    pub key: String,
    /// Of method, path, query and body: a twin must be the same request.
    pub request: Digest,
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer.
    pub body: Bytes,
    /// Not replayed from then on.
    pub expires_at: Timestamp,
}

/// A message that is not settled or parked everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message.
    pub message: Message,
    /// Endpoints for which it has a row already.
    pub have_rows: Vec<EndpointId>,
}

/// A lane with parked deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueLane {
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The earliest due time among them.
    pub earliest: Timestamp,
}

/// What happened to one delivery, and perhaps to its message's outbox entry. Row and attempt, where both
/// are given, are of the same delivery.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The delivery's new state; replaces the row it had and that row's place in the due index.
    pub row: Option<DeliveryRow>,
    /// The attempt to append; the store assigns its `seq`.
    pub attempt: Option<Attempt>,
    /// Kept beside a parked row until the delivery settles, so that retries send identical bytes; dropped if
    /// the delivery has no parked row after this outcome.
    pub shaped: Option<Shaped>,
    /// Removes this message's outbox entry: its last delivery is settled or parked.
    pub outbox_done: Option<Seq>,
}

impl Outcome {
    /// The endpoint whose lane it happened in; none if only an outbox entry goes.
    pub(crate) fn endpoint(&self) -> Option<EndpointId> {
        let row = self.row.as_ref().map(|row| row.key);
        row.or_else(|| self.attempt.as_ref().map(|attempt| attempt.delivery))
            .map(|key| key.endpoint)
    }
}

/// What a chain made of a message for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shaped {
    /// Media type to send.
    pub content_type: String,
    /// Headers that the plugins set.
    pub headers: Vec<(String, String)>,
    /// The bytes to send; none: the message's own.
    pub payload: Option<Bytes>,
}

/// Which messages a list shows. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Accepted before this moment.
    pub before: Option<Timestamp>,
    /// Accepted after this moment.
    pub after: Option<Timestamp>,
    /// Carries this channel.
    pub channel: Option<Uid>,
    /// Carries this tag.
    pub tag: Option<String>,
    /// Has one of these event types.
    pub event_types: Option<Vec<Uid>>,
}

impl MessageFilter {
    /// Whether the list shows this message.
    pub fn matches(&self, message: &Message) -> bool {
        self.before.is_none_or(|end| message.created_at < end)
            && self.after.is_none_or(|start| message.created_at > start)
            && self
                .channel
                .as_ref()
                .is_none_or(|channel| message.channels.contains(channel))
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| message.tags.contains(tag))
            && self
                .event_types
                .as_ref()
                .is_none_or(|types| types.contains(&message.event_type))
    }
}

/// Whose attempts a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptsOf {
    /// All at this endpoint.
    Endpoint(EndpointId),
    /// All of this message.
    Message(Seq),
}

/// Which attempts a list shows. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    /// Began before this moment.
    pub before: Option<Timestamp>,
    /// Began after this moment.
    pub after: Option<Timestamp>,
    /// Ended so.
    pub status: Option<AttemptStatus>,
    /// Hundreds of the receiver's status code; 200 for 200 to 299, 0 where no answer came.
    pub status_code_class: Option<u16>,
    /// At this endpoint.
    pub endpoint: Option<EndpointId>,
    /// The message carries this channel.
    pub channel: Option<Uid>,
    /// The message carries this tag.
    pub tag: Option<Arc<str>>,
    /// The message has one of these event types.
    pub event_types: Option<Vec<Uid>>,
}

impl AttemptFilter {
    /// Whether the list shows this attempt.
    pub fn matches(&self, attempt: &Attempt) -> bool {
        let class = attempt.response_code.map_or(0, |code| code / 100 * 100);
        self.before.is_none_or(|end| attempt.at < end)
            && self.after.is_none_or(|start| attempt.at > start)
            && self.status.is_none_or(|status| attempt.status == status)
            && self.status_code_class.is_none_or(|wanted| class == wanted)
            && self
                .endpoint
                .is_none_or(|endpoint| attempt.delivery.endpoint == endpoint)
            && self
                .channel
                .as_ref()
                .is_none_or(|channel| attempt.channels.contains(channel))
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| attempt.tags.iter().any(|have| **have == **tag))
            && self
                .event_types
                .as_ref()
                .is_none_or(|types| types.contains(&attempt.event_type))
    }
}
