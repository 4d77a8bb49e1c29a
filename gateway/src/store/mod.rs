//! What the gateway keeps, in domain words. The rest of the crate knows this trait and no database.
//!
//! Two halves. **Records** are configuration (applications, endpoints, plugins, chains …): few, read often,
//! changed with a revision check; [`records`] gives them types. **Event life** is the outbox: a message is
//! accepted once, its deliveries settle or are parked, attempts are appended.
//!
//! The outbox rule: while all goes well a delivery has no row of its own, the outbox entry of its message
//! covers a crash. The entry goes in the very batch that settles or parks the message's last delivery.
//! Whatever a call answers with `Ok` is on disk.

#[cfg(test)]
pub(crate) mod between;
#[cfg(test)]
mod conformance;
mod error;
mod event_life;
mod lease;
mod lease_table;
pub mod memory;
mod page;
pub mod records;
pub mod sled;
pub mod vault;

use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::StoreError;
pub use event_life::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, IdempotencyRecord,
    MessageFilter, OutboxEntry, Outcome, Shaped,
};
pub use lease::{Lease, Shard, ShardSet};
pub use page::{Direction, Found, Order, PASSED_OVER, PageRequest};
pub use records::{Change, Kind, Record, Resource, Stored, Write};

use crate::domain::{
    ApplicationId, Attempt, AttemptId, DeliveryKey, DeliveryRow, EndpointId, Message, Seq,
    Timestamp,
};

/// How often who read, decided and committed does so in all, when others change the records meanwhile. Chosen:
/// each time somebody else got on, so this many in a row mean a storm.
pub const COMMIT_TRIES: usize = 8;

/// Called with every committed change of a record, before the commit is answered. Must not block.
pub type Observer = Box<dyn Fn(&Change) + Send + Sync>;

/// Everything that is kept. Object-safe; the backend is chosen in `lib`, nowhere else.
///
/// Every method is cancel-safe in this sense: a dropped future may or may not have committed, and the
/// store is consistent either way.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    // --- records -----------------------------------------------------------------------------------

    /// The record with this identifier.
    async fn record_by_id(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError>;

    /// The record of this parent with this uid.
    async fn record_by_uid(
        &self,
        kind: Kind,
        parent: &str,
        uid: &str,
    ) -> Result<Option<Record>, StoreError>;

    /// The records of this parent, in the order the page asks for, at most `page.limit` of them.
    async fn records_of(
        &self,
        kind: Kind,
        parent: &str,
        page: PageRequest,
    ) -> Result<Vec<Record>, StoreError>;

    /// Commits all writes or none, together with the idempotency record; gives the written records back
    /// in the order of the writes (a removed one as it was). Observers have run when it returns.
    async fn commit(
        &self,
        writes: Vec<Write>,
        idempotency: Option<IdempotencyRecord>,
    ) -> Result<Vec<Record>, StoreError>;

    /// Has every later change of a record shown to `observer`.
    fn observe(&self, observer: Observer);

    /// The stored answer under this key of this caller, if it has not expired at `now`.
    async fn idempotency(
        &self,
        scope: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError>;

    // --- event life --------------------------------------------------------------------------------

    /// Assigns sequence numbers and commits messages with their outbox entries. One result per item, in
    /// order: a refused item does not hold the others back.
    async fn accept(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError>;

    /// Takes the wanted shards that nobody holds, or whose lease has lapsed: after `ttl` by the store's own
    /// clock, since those of two gateways, or of two lives of one, may be hours apart. The token is higher than
    /// every one given before for any of them.
    async fn lease_shards(
        &self,
        holder: &str,
        want: ShardSet,
        ttl: Duration,
    ) -> Result<Lease, StoreError>;

    /// Lets a lease lapse `ttl` from now. [`StoreError::Fenced`] if a shard of it has been taken over.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError>;

    /// Gives the shards back.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;

    /// Outbox entries after this sequence number, oldest first: at start and take-over only.
    async fn unsettled(
        &self,
        lease: &Lease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError>;

    /// Every lane of the lease that has parked deliveries, with its earliest due time; `after` pages
    /// through them in order of endpoint id within shards. At start and take-over only.
    async fn due_lanes(
        &self,
        lease: &Lease,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<DueLane>, StoreError>;

    /// Parked deliveries of one lane that are due by `until`, by due time and then order of acceptance,
    /// after the given one.
    async fn due(
        &self,
        lease: &Lease,
        lane: EndpointId,
        until: Timestamp,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, StoreError>;

    /// The earliest due time among a lane's parked deliveries.
    async fn next_due(
        &self,
        lease: &Lease,
        lane: EndpointId,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// How many parked deliveries a lane has.
    async fn parked(&self, lease: &Lease, lane: EndpointId) -> Result<u64, StoreError>;

    /// Commits what happened to deliveries, all of it or nothing. [`StoreError::Fenced`] if a shard of an
    /// outcome is no longer this lease's: somebody else goes on with it. What concerns a message that is
    /// deleted meanwhile is dropped silently.
    async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError>;

    /// Waits for messages that are on disk although their acceptance was answered with an error, as after a
    /// fault of the disk: the numbers of what was being written. [`Store::unsettled`] shows those that are
    /// there. Each range is given to one caller only, and none is given for what the process found at start.
    /// A dropped future takes nothing.
    async fn surfaced(&self) -> RangeInclusive<Seq>;

    /// The message with this sequence number.
    async fn message(&self, seq: Seq) -> Result<Option<Message>, StoreError>;

    /// The message of this application with this identifier or event id.
    async fn message_by_id(
        &self,
        app: ApplicationId,
        id_or_event_id: &str,
    ) -> Result<Option<Message>, StoreError>;

    /// The bytes that arrived; none once they are expunged or deleted.
    async fn payload(&self, seq: Seq) -> Result<Option<Bytes>, StoreError>;

    /// Messages with the bytes that arrived, in this order, up to the first whose payload would bring them over
    /// `most` bytes. One that is deleted is left out.
    async fn events(
        &self,
        messages: Vec<Seq>,
        most: usize,
    ) -> Result<Vec<(Message, Bytes)>, StoreError>;

    /// Messages of an application that fit the filter; the page may end early, and says so.
    async fn messages(
        &self,
        app: ApplicationId,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<Found<Message>, StoreError>;

    /// Attempts at an endpoint or of a message that fit the filter; the page may end early, and says so.
    async fn attempts(
        &self,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest,
    ) -> Result<Found<Attempt>, StoreError>;

    /// One attempt of a message.
    async fn attempt(&self, message: Seq, id: AttemptId) -> Result<Option<Attempt>, StoreError>;

    /// The delivery's row; none while the outbox covers it.
    async fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError>;

    /// Every delivery of a message that has a row.
    async fn deliveries(&self, message: Seq) -> Result<Vec<DeliveryRow>, StoreError>;

    /// What the chain made of the payload when the delivery was first tried.
    async fn shaped(&self, key: DeliveryKey) -> Result<Option<Shaped>, StoreError>;

    // --- upkeep ------------------------------------------------------------------------------------

    /// Deletes about `budget` rows that have expired or whose owner is deleted (a message goes whole), never
    /// a message of a living application before the end of its deliveries; one that they held up is looked
    /// at again within two hours. Returns how many; zero: nothing left to do.
    async fn sweep(&self, now: Timestamp, budget: usize) -> Result<usize, StoreError>;

    /// Whether new messages can be taken, and if not, why.
    fn writable(&self) -> Result<(), StoreError>;

    /// A consistent copy of everything, in chunks to be fed to [`Store::import`] of an empty store of the
    /// same kind. The store goes on working meanwhile.
    async fn export(
        &self,
    ) -> Result<tokio::sync::mpsc::Receiver<Result<Bytes, StoreError>>, StoreError>;

    /// Takes in what [`Store::export`] gave. The store must be empty.
    async fn import(&self, chunks: tokio::sync::mpsc::Receiver<Bytes>) -> Result<(), StoreError>;

    /// Flushes, stops the writer and closes. Later calls answer [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}
