//! From a submission to its answer: check, take bytes from the budget, commit, answer, hand over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::config::Config;
use super::fanout::{self, Arrivals, FanOut};
use super::limits::{Admission, Limits};
use super::operational::Operational;
use crate::delivery::{Lanes, Recent};
use crate::domain::{
    Application, ApplicationId, Clock, Message, MessageId, NewMessage, OrganizationId, Seq,
    Timestamp, Uid,
};
use crate::events::Event;
use crate::metrics::Metrics;
use crate::store::{AcceptItem, AcceptRefusal, IdempotencyRecord, Store, StoreError};

/// When to come back after a refusal for want of memory or a place in a queue. Chosen: either drains within
/// a second.
const SHORTLY: Duration = Duration::from_secs(1);

/// When to come back while the disk is full or the store is being reopened. Chosen: somebody has to act.
const LATER: Duration = Duration::from_secs(10);

/// One event as it came.
#[derive(Debug, Clone)]
pub struct Submission {
    /// For whom.
    pub app: Application,
    /// Its type.
    pub event_type: Uid,
    /// Channels it is for.
    pub channels: Vec<Uid>,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// The sender's own identifier.
    pub event_id: Option<Uid>,
    /// The bytes that arrived.
    pub payload: Bytes,
    /// Their media type.
    pub content_type: String,
    /// No delivery before this moment.
    pub deliver_at: Option<Timestamp>,
    /// How long it is kept; none: the gateway's default.
    pub retention: Option<Duration>,
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message.
    pub message: Message,
}

/// Why a submission was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The payload is larger than a message may be.
    #[error("the payload has {given} bytes, more than {limit}")]
    TooLarge {
        /// Bytes it has.
        given: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// Too much is being accepted at present: come back.
    #[error("too many messages are being accepted; try again in {retry_after:?}")]
    Overloaded {
        /// When.
        retry_after: Duration,
    },
    /// The application, or its organization, sends more than it may: come back.
    #[error("the {whose} sends more messages than it may; try again in {retry_after:?}")]
    Throttled {
        /// Whose limit it is: `application` or `organization`.
        whose: &'static str,
        /// When.
        retry_after: Duration,
    },
    /// So many deliveries of the organization are unfinished that it gets no more: come back.
    #[error("the organization has {limit} unfinished deliveries; try again in {retry_after:?}")]
    TooManyPending {
        /// How many it may have.
        limit: u64,
        /// When.
        retry_after: Duration,
    },
    /// The store takes nothing at present: come back.
    #[error("no message can be stored at present; try again in {retry_after:?}")]
    Unavailable {
        /// When.
        retry_after: Duration,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The application has a message with this event id.
    #[error("the application has message {existing} with this event id")]
    EventIdTaken {
        /// That message.
        existing: MessageId,
    },
    /// The idempotency key was used meanwhile; this is what was answered.
    #[error("the idempotency key was used meanwhile")]
    IdempotencyKeyTaken(Box<IdempotencyRecord>),
    /// The store failed.
    #[error("the message can not be stored")]
    Store(#[source] StoreError),
}

/// Takes events in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    /// Bytes of payloads being accepted.
    under_way: Arc<Semaphore>,
    recent: Recent,
    arrivals: Arrivals,
}

/// What the store is about to be given.
struct UnderWay {
    item: AcceptItem,
    /// Its share of the bytes being accepted.
    permit: OwnedSemaphorePermit,
    admission: Admission,
}

/// Puts the room together: the way in, and what passes messages on to the lanes.
pub fn new(
    config: Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lanes: Lanes,
) -> (Ingest, FanOut) {
    let (recent, hand_over) = lanes.split();
    let parts = (Arc::clone(&store), Arc::clone(&clock));
    let rooms = (Arc::clone(&store), Arc::clone(&clock));
    let limits = Limits::new(rooms, hand_over.pending(), config.burst());
    let (arrivals, fan_out) = fanout::new(&config, parts, hand_over);
    let bytes = config.in_flight_bytes.min(Semaphore::MAX_PERMITS);
    let ingest = Ingest(Arc::new(Inner {
        config,
        store,
        clock,
        metrics,
        limits,
        under_way: Arc::new(Semaphore::new(bytes)),
        recent,
        arrivals,
    }));
    (ingest, fan_out)
}

/// Puts together what makes messages of these events.
pub fn operational(events: mpsc::Receiver<Event>, ingest: &Ingest) -> Operational {
    Operational::new(
        events,
        (Arc::clone(&ingest.0.store), Arc::clone(&ingest.0.clock)),
        Arc::clone(&ingest.0.metrics),
        ingest.clone(),
    )
}

impl Ingest {
    /// Bytes that a payload may have.
    pub fn payload_limit(&self) -> usize {
        self.0.config.payload_bytes
    }

    /// How long a message is kept that does not say.
    pub fn retention(&self) -> Duration {
        self.0.config.retention()
    }

    /// Whether an application's next message would be refused at present, before anything is known about it.
    /// Nothing is taken from its limits, so it may still be refused by [`Ingest::submit`].
    pub async fn may_submit(
        &self,
        org: OrganizationId,
        app: Option<ApplicationId>,
    ) -> Result<(), IngestError> {
        let free = self.0.limits.check(org, app).await;
        free.inspect_err(|_| self.0.metrics.accepted("refused"))
    }

    /// Accepts one event. When this answers `Ok`, message, outbox entry and idempotency record are on disk.
    /// `idempotency` makes the record of the answer from the message that will be in it.
    ///
    /// Cancel-safe: a dropped call may have accepted the message, which is then delivered. The same holds for
    /// one that was answered `Unavailable` because the disk took too long.
    pub async fn submit(
        &self,
        submission: Submission,
        idempotency: impl FnOnce(&Message) -> Option<IdempotencyRecord>,
    ) -> Result<Accepted, IngestError> {
        let inner = Arc::clone(&self.0);
        let admitted = inner.limits.admit(&submission.app).await;
        let prepared =
            admitted.and_then(|admission| self.prepare(submission, idempotency, admission));
        let under_way = match prepared {
            Ok(under_way) => under_way,
            Err(refused) => {
                let result = Err(refused);
                inner.count(&result);
                return result;
            }
        };
        // A sender that goes away takes its call with it. What the store has begun to write is passed on
        // all the same, so it runs in a task of its own.
        let accepting = tokio::spawn(async move {
            let result = inner.accept(under_way).await;
            inner.count(&result);
            result
        });
        let patience = self.0.config.commit_timeout();
        let Ok(ended) = tokio::time::timeout(patience, accepting).await else {
            tracing::error!(
                ?patience,
                "the disk does not answer: a message may be kept or not"
            );
            return Err(IngestError::Unavailable {
                retry_after: LATER,
                source: StoreError::Busy,
            });
        };
        match ended {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime cancels it.
                Err(_) => Err(StoreError::Closed.into()),
            },
        }
    }

    /// Everything that needs no waiting.
    fn prepare(
        &self,
        submission: Submission,
        idempotency: impl FnOnce(&Message) -> Option<IdempotencyRecord>,
        admission: Admission,
    ) -> Result<UnderWay, IngestError> {
        let inner = &self.0;
        let bytes = submission.payload.len();
        let limit = inner.config.payload_bytes;
        if bytes > limit {
            return Err(IngestError::TooLarge {
                given: bytes,
                limit,
            });
        }
        let overloaded = IngestError::Overloaded {
            retry_after: SHORTLY,
        };
        if !inner.arrivals.has_room() {
            return Err(overloaded);
        }
        let share = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let budget = Arc::clone(&inner.under_way);
        let Ok(permit) = budget.try_acquire_many_owned(share) else {
            return Err(overloaded);
        };
        inner.store.writable()?;
        let payload = submission.payload.clone();
        let message = self.message(submission);
        let idempotency = idempotency(&message);
        let new = NewMessage { message, payload };
        let item = AcceptItem { new, idempotency };
        Ok(UnderWay {
            item,
            permit,
            admission,
        })
    }

    fn message(&self, submission: Submission) -> Message {
        let now = self.0.clock.wall();
        let retention = submission.retention.unwrap_or(self.0.config.retention());
        Message {
            id: MessageId::generate(now),
            seq: Seq::default(),
            app: submission.app.id,
            org: submission.app.org,
            event_id: submission.event_id,
            event_type: submission.event_type,
            channels: submission.channels,
            tags: submission.tags,
            payload_len: u32::try_from(submission.payload.len()).unwrap_or(u32::MAX),
            content_type: submission.content_type,
            created_at: now,
            deliver_at: submission.deliver_at,
            expires_at: now.after(retention),
        }
    }
}

impl Inner {
    /// Commits and hands over.
    async fn accept(&self, under_way: UnderWay) -> Result<Accepted, IngestError> {
        let UnderWay {
            item,
            permit,
            admission,
        } = under_way;
        let payload = item.new.payload.clone();
        let mut results = self.store.accept(vec![item]).await?;
        let message = match results.pop() {
            Some(Ok(message)) => message,
            Some(Err(AcceptRefusal::EventIdTaken { existing })) => {
                return Err(IngestError::EventIdTaken { existing });
            }
            Some(Err(AcceptRefusal::IdempotencyKeyTaken(record))) => {
                return Err(IngestError::IdempotencyKeyTaken(record));
            }
            None => {
                let what = "the store answered for no message".to_owned();
                return Err(IngestError::Store(StoreError::Damaged { what }));
            }
        };
        self.recent.keep(message.clone(), payload);
        self.arrivals.push(message.clone(), admission.used());
        drop(permit);
        Ok(Accepted { message })
    }

    fn count(&self, result: &Result<Accepted, IngestError>) {
        self.metrics.accepted(match result {
            Ok(_) => "accepted",
            Err(IngestError::EventIdTaken { .. } | IngestError::IdempotencyKeyTaken(_)) => {
                "duplicate"
            }
            Err(
                IngestError::TooLarge { .. }
                | IngestError::Overloaded { .. }
                | IngestError::Throttled { .. }
                | IngestError::TooManyPending { .. }
                | IngestError::Unavailable { .. },
            ) => "refused",
            Err(IngestError::Store(_)) => "error",
        });
    }
}

impl From<StoreError> for IngestError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::Busy => IngestError::Unavailable {
                retry_after: SHORTLY,
                source,
            },
            StoreError::DiskFull { .. } | StoreError::Closed => IngestError::Unavailable {
                retry_after: LATER,
                source,
            },
            StoreError::Exists { .. }
            | StoreError::NoSuchRecord { .. }
            | StoreError::Stale { .. }
            | StoreError::IdempotencyKeyTaken(_)
            | StoreError::Fenced
            | StoreError::Locked
            | StoreError::NewerFormat { .. }
            | StoreError::Damaged { .. }
            | StoreError::Backend(_) => IngestError::Store(source),
        }
    }
}
