//! The layout: one tree, the first byte of a key says what kind of row it is. All numbers are big-endian, so
//! that rows lie in their order. Knows no value; those are `codec`'s.
//!
//! | kind | key after the kind byte | value | written |
//! |---|---|---|---|
//! | `META` | name | by name | once a group: the highest sequence number, the tally of all rows |
//! | `MESSAGE` | seq | header, and the payload if it is small | accept |
//! | `MESSAGE_LIST` | application, seq | a run of seqs | one row a group |
//! | `MESSAGE_ID` | time in the message id, seq | a run of seqs | one row for each four milliseconds of a group |
//! | `EVENT_ID` | application, event id | seq, message id | accept, if given |
//! | `OUTBOX` | seq | a run of seqs | one row a group; a seq leaves with its last outcome |
//! | `CHUNK` | owner number, n | up to [`CHUNK_BYTES`] of a long value | with its owner |
//! | `DELIVERY` | message seq, endpoint | state | when parked, and settled later; else its attempt tells |
//! | `DUE` | shard, endpoint, due ms, message seq | nothing | while parked |
//! | `TURN` | shard, endpoint, message seq | many such keys | while parked before the first try, instead of both |
//! | `TURN_OF` | message seq, endpoint | many such keys | along with that |
//! | `SHAPED` | message seq, endpoint | what the chain made | while parked |
//! | `ATTEMPT` | message seq, attempt seq | the attempt | record |
//! | `ATTEMPT_AT` | endpoint, attempt seq | a run of attempt seqs, each with its message's | one row a group |
//! | `RECORD` | record kind, id | the record | commit |
//! | `RECORD_UID` | record kind, parent, uid | id | commit |
//! | `RECORD_LIST` | record kind, parent, seq | id | commit |
//! | `TOMBSTONE` | record kind, id | nothing | a removed owner that is not swept yet |
//! | `IDEMPOTENCY` | SHA-256 of scope and key | the stored answer | with its request |
//! | `EXPIRY` | hour, seq | list of what expires in that hour | one row a group and hour |
//!
//! A plain life is two row writes, one to accept and one to record, and its share of five rows a group.
//!
//! Segment and chunk sizes were chosen by CPU time a life (accept, read, record; 64 callers, a shared machine
//! of two cores on which only CPU time is comparable, two runs; `measure` repeats it). No blobs in any run.
//!
//! | segment, chunk | 1 KiB message | 16 KiB | 1 MiB | bytes on disk per byte, 16 KiB |
//! |---|---|---|---|---|
//! | 512 KiB, 4 KiB | 30 us | 72-81 us | 5.4-5.5 ms | 1.6 |
//! | 4 MiB, 16 KiB | 25-28 us | 131 us | 7.7 ms | 1.8 |
//! | 16 MiB, 64 KiB | 30-34 us | 122-173 us | 5.5-7.1 ms | 1.9 |
//!
//! A row of the tree is rewritten with its leaf, so long rows are copied again for each neighbour.

use sled::IVec;

use crate::domain::{ApplicationId, DeliveryKey, EndpointId, MessageId, Seq, Timestamp};
use crate::store::{IdempotencyRecord, Kind, Shard};

pub(super) const META: u8 = 0x01;
pub(super) const MESSAGE: u8 = 0x10;
pub(super) const MESSAGE_LIST: u8 = 0x11;
pub(super) const MESSAGE_ID: u8 = 0x12;
pub(super) const EVENT_ID: u8 = 0x13;
pub(super) const OUTBOX: u8 = 0x14;
pub(super) const CHUNK: u8 = 0x15;
pub(super) const DELIVERY: u8 = 0x20;
pub(super) const DUE: u8 = 0x21;
pub(super) const SHAPED: u8 = 0x22;
pub(super) const TURN: u8 = 0x23;
pub(super) const TURN_OF: u8 = 0x24;
pub(super) const ATTEMPT: u8 = 0x30;
pub(super) const ATTEMPT_AT: u8 = 0x31;
pub(super) const RECORD: u8 = 0x40;
pub(super) const RECORD_UID: u8 = 0x41;
pub(super) const RECORD_LIST: u8 = 0x42;
pub(super) const TOMBSTONE: u8 = 0x43;
pub(super) const IDEMPOTENCY: u8 = 0x50;
pub(super) const EXPIRY: u8 = 0x51;

/// Prefix of the outbox.
pub(super) const OUTBOX_LIST: &[u8] = &[OUTBOX];
/// Every kind whose rows are counted, with its name for people. A new kind is one more line.
pub(super) const KINDS: [(u8, &str); 19] = [
    (MESSAGE, "messages"),
    (MESSAGE_LIST, "runs of messages"),
    (MESSAGE_ID, "runs of identifiers"),
    (EVENT_ID, "event ids"),
    (OUTBOX, "runs of the outbox"),
    (CHUNK, "pieces of long values"),
    (DELIVERY, "deliveries"),
    (DUE, "due times"),
    (SHAPED, "shaped payloads"),
    (TURN, "turns of lanes"),
    (TURN_OF, "turns of messages"),
    (ATTEMPT, "attempts"),
    (ATTEMPT_AT, "runs of attempts"),
    (RECORD, "records"),
    (RECORD_UID, "names of records"),
    (RECORD_LIST, "places of records"),
    (TOMBSTONE, "tombstones"),
    (IDEMPOTENCY, "idempotency keys"),
    (EXPIRY, "lists of what expires"),
];

/// The value of a row whose key says it all.
pub(super) const NOTHING: &[u8] = &[];

/// Names the store; the marker file beside it has the same name.
pub(super) const META_ID: &[u8] = &[META, b'i'];
/// How often the store was opened.
pub(super) const META_BOOT: &[u8] = &[META, b'b'];
/// The highest sequence number given.
pub(super) const META_SEQ: &[u8] = &[META, b's'];
/// What all other rows add up to.
pub(super) const META_TALLY: &[u8] = &[META, b't'];
/// There while an import is not complete.
pub(super) const META_IMPORTING: &[u8] = &[META, b'm'];

/// Segment size of sled's log; fixed when a store is made.
pub(super) const SEGMENT_BYTES: usize = 512 << 10;
/// Longest piece of a long value. A message of sled's log is a whole leaf page, and one over a quarter of a
/// segment becomes a file of its own that is never synced: measured, none at 4 KiB and 512 KiB segments.
pub(super) const CHUNK_BYTES: usize = 4 << 10;
/// Longest value in one row; beyond it the value is cut into chunks.
pub(super) const INLINE_BYTES: usize = 3_584;

/// Puts a key together.
struct Key(Vec<u8>);

impl Key {
    fn of(kind: u8, len: usize) -> Self {
        let mut bytes = Vec::with_capacity(1 + len);
        bytes.push(kind);
        Self(bytes)
    }

    fn then(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(part);
        self
    }

    /// A text that is not the key's last part: its length first, so that no two pairs read the same.
    fn text(self, text: &str) -> Self {
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.then(&len.to_be_bytes()).then(text.as_bytes())
    }
}

/// A kind byte and a number: small enough to need no allocation.
fn numbered(kind: u8, seq: Seq) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

pub(super) fn message(seq: Seq) -> [u8; 9] {
    numbered(MESSAGE, seq)
}

pub(super) fn messages_of(app: ApplicationId) -> Vec<u8> {
    Key::of(MESSAGE_LIST, 28).then(app.as_bytes()).0
}

/// Of all messages whose identifiers are of the same four milliseconds: with the time in their first five bytes.
pub(super) fn messages_made_with(id: MessageId) -> [u8; 6] {
    let mut key = [MESSAGE_ID; 6];
    key[1..].copy_from_slice(&id.as_bytes()[..5]);
    key
}

pub(super) fn event_id(app: ApplicationId, event_id: &str) -> Vec<u8> {
    Key::of(EVENT_ID, 20 + event_id.len())
        .then(app.as_bytes())
        .then(event_id.as_bytes())
        .0
}

pub(super) fn chunk(owner: u64, n: usize) -> [u8; 11] {
    let mut key = [CHUNK; 11];
    key[1..9].copy_from_slice(&owner.to_be_bytes());
    // 65,536 chunks are 256 MiB, far above any limit of a value.
    let n = u16::try_from(n).unwrap_or(u16::MAX);
    key[9..].copy_from_slice(&n.to_be_bytes());
    key
}

pub(super) fn delivery(key: DeliveryKey) -> [u8; 29] {
    placed(DELIVERY, key)
}

pub(super) fn shaped(key: DeliveryKey) -> [u8; 29] {
    placed(SHAPED, key)
}

/// The delivery's place among those of its lane that wait for their turn.
pub(super) fn turn(at: DeliveryKey) -> [u8; 30] {
    let mut key = [TURN; 30];
    key[1] = Shard::of(at.endpoint).0;
    key[2..22].copy_from_slice(at.endpoint.as_bytes());
    key[22..].copy_from_slice(&at.message.0.to_be_bytes());
    key
}

pub(super) fn turns_at(endpoint: EndpointId) -> [u8; 22] {
    let mut key = lane(endpoint);
    key[0] = TURN;
    key
}

/// The delivery's place among those of its message that wait for their turn.
pub(super) fn turn_of(at: DeliveryKey) -> [u8; 29] {
    placed(TURN_OF, at)
}

pub(super) fn turns_of(message: Seq) -> [u8; 9] {
    numbered(TURN_OF, message)
}

fn placed(kind: u8, at: DeliveryKey) -> [u8; 29] {
    let mut key = [kind; 29];
    key[1..9].copy_from_slice(&at.message.0.to_be_bytes());
    key[9..].copy_from_slice(at.endpoint.as_bytes());
    key
}

pub(super) fn deliveries_of(message: Seq) -> [u8; 9] {
    numbered(DELIVERY, message)
}

/// The delivery that a [`DELIVERY`] or [`TURN_OF`] key names.
pub(super) fn read_delivery(key: &[u8]) -> Option<DeliveryKey> {
    Some(DeliveryKey {
        message: read_seq(key, 1)?,
        endpoint: EndpointId::from_bytes(key.get(9..29)?.try_into().ok()?),
    })
}

pub(super) fn lanes_of(shard: Shard) -> [u8; 2] {
    [DUE, shard.0]
}

pub(super) fn lane(endpoint: EndpointId) -> [u8; 22] {
    let mut key = [DUE; 22];
    key[1] = Shard::of(endpoint).0;
    key[2..].copy_from_slice(endpoint.as_bytes());
    key
}

pub(super) fn due(endpoint: EndpointId, due: Timestamp, message: Seq) -> [u8; 38] {
    let mut key = [DUE; 38];
    key[..22].copy_from_slice(&lane(endpoint));
    key[22..30].copy_from_slice(&due.millis().to_be_bytes());
    key[30..].copy_from_slice(&message.0.to_be_bytes());
    key
}

/// Endpoint, due time and message of a [`DUE`] key.
pub(super) fn read_due(key: &[u8]) -> Option<(EndpointId, Timestamp, Seq)> {
    Some((
        EndpointId::from_bytes(key.get(2..22)?.try_into().ok()?),
        Timestamp::from_millis(read_seq(key, 22)?.0),
        read_seq(key, 30)?,
    ))
}

pub(super) fn attempts_of(message: Seq) -> [u8; 9] {
    numbered(ATTEMPT, message)
}

pub(super) fn attempt(message: Seq, seq: Seq) -> [u8; 17] {
    let mut key = [ATTEMPT; 17];
    key[1..9].copy_from_slice(&message.0.to_be_bytes());
    key[9..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

pub(super) fn attempts_at(endpoint: EndpointId) -> Vec<u8> {
    Key::of(ATTEMPT_AT, 28).then(endpoint.as_bytes()).0
}

pub(super) fn record(kind: Kind, id: &str) -> Vec<u8> {
    Key::of(RECORD, 1 + id.len())
        .then(&[kind as u8])
        .then(id.as_bytes())
        .0
}

pub(super) fn record_uid(kind: Kind, parent: &str, uid: &str) -> Vec<u8> {
    Key::of(RECORD_UID, 3 + parent.len() + uid.len())
        .then(&[kind as u8])
        .text(parent)
        .then(uid.as_bytes())
        .0
}

pub(super) fn records_of(kind: Kind, parent: &str) -> Vec<u8> {
    Key::of(RECORD_LIST, 11 + parent.len())
        .then(&[kind as u8])
        .text(parent)
        .0
}

pub(super) fn record_list(kind: Kind, parent: &str, seq: Seq) -> Vec<u8> {
    let mut key = records_of(kind, parent);
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

pub(super) fn tombstone(kind: Kind, id: &str) -> Vec<u8> {
    Key::of(TOMBSTONE, 1 + id.len())
        .then(&[kind as u8])
        .then(id.as_bytes())
        .0
}

/// Hashed, because scope and key are the caller's and of any length.
pub(super) fn idempotency(scope: &str, key: &str) -> [u8; 33] {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update((scope.len() as u64).to_be_bytes());
    hash.update(scope.as_bytes());
    hash.update(key.as_bytes());
    let mut row = [IDEMPOTENCY; 33];
    row[1..].copy_from_slice(&hash.finalize());
    row
}

impl IdempotencyRecord {
    pub(super) fn row_key(&self) -> [u8; 33] {
        idempotency(&self.scope, &self.key)
    }
}

/// Hours since the epoch.
pub(super) fn hour(at: Timestamp) -> u32 {
    u32::try_from(at.millis() / 3_600_000).unwrap_or(u32::MAX)
}

pub(super) fn expiry(hour: u32, seq: Seq) -> [u8; 13] {
    let mut key = [EXPIRY; 13];
    key[1..5].copy_from_slice(&hour.to_be_bytes());
    key[5..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// The number that begins at this byte of a key or value.
pub(super) fn read_seq(bytes: &[u8], at: usize) -> Option<Seq> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(Seq(u64::from_be_bytes(bytes)))
}

/// A prefix followed by a number.
pub(super) fn numbered_in(prefix: &[u8], seq: Seq) -> IVec {
    let mut key = Vec::with_capacity(prefix.len() + 8);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&seq.0.to_be_bytes());
    IVec::from(key)
}

/// Key range of a prefix followed by numbers from `first` to `last`.
pub(super) fn numbers(prefix: &[u8], first: Seq, last: Seq) -> (IVec, IVec) {
    (numbered_in(prefix, first), numbered_in(prefix, last))
}
