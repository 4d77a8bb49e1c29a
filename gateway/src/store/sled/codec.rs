//! Values: a version byte, a mode byte, then postcard. A value longer than [`INLINE_BYTES`] is cut into
//! chunk rows and its own row only points at them, so that no row can grow into a file of its own.
//! Encoding runs in the caller's task, not on the writer.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::IVec;

use super::keys::{self, CHUNK_BYTES, INLINE_BYTES};
use crate::domain::{
    Attempt, AttemptId, AttemptStatus, DeliveryKey, DeliveryRow, DeliveryState, Message,
    NewMessage, Seq, Timestamp,
};
use crate::store::{IdempotencyRecord, Outcome, StoreError};

/// Version of every value's encoding.
const VERSION: u8 = 1;
/// The value follows.
const INLINE: u8 = 0;
/// The value lies in chunks: their owner's number and the length follow.
const SPILLED: u8 = 1;
/// A message whose header follows and whose payload lies in chunks.
const SPLIT: u8 = 2;
/// A message whose header and payload lie in chunks: length of the header follows.
const WHOLE: u8 = 3;

/// Where rows are read from: the tree, or a group that is not committed yet over it.
pub(super) trait Rows {
    /// The value of this row.
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError>;
}

impl Rows for sled::Tree {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        sled::Tree::get(self, key).map_err(fault)
    }
}

/// What a failure of sled means for the caller.
pub(super) fn fault(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => StoreError::Damaged {
            what: error.to_string(),
        },
        other => StoreError::Backend(other.into()),
    }
}

pub(super) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: what.into() }
}

/// A value ready to be put into the tree.
#[derive(Debug)]
pub(super) enum Cell {
    /// In one row.
    Inline(IVec),
    /// In chunks.
    Spilled {
        /// Bytes of all of them.
        len: u32,
        /// In order.
        chunks: Vec<IVec>,
    },
}

impl Cell {
    pub(super) fn of<T: Serialize>(value: &T) -> Result<Self, StoreError> {
        let bytes = encode(value, vec![VERSION, INLINE])?;
        if bytes.len() - 2 <= INLINE_BYTES {
            return Ok(Cell::Inline(bytes.into()));
        }
        let body = &bytes[2..];
        Ok(Cell::Spilled {
            len: length(body.len())?,
            chunks: cut(body),
        })
    }
}

fn encode<T: Serialize + ?Sized>(value: &T, start: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, start).map_err(|source| StoreError::Backend(source.into()))
}

fn length(len: usize) -> Result<u32, StoreError> {
    u32::try_from(len).map_err(|source| StoreError::Backend(source.into()))
}

fn cut(body: &[u8]) -> Vec<IVec> {
    body.chunks(CHUNK_BYTES).map(IVec::from).collect()
}

/// The row that points at chunks.
pub(super) fn pointer(owner: u64, len: u32) -> IVec {
    let mut row = [0; 14];
    row[0] = VERSION;
    row[1] = SPILLED;
    row[2..10].copy_from_slice(&owner.to_be_bytes());
    row[10..].copy_from_slice(&len.to_be_bytes());
    IVec::from(&row[..])
}

/// Owner and number of the chunks of a value; none if it has none.
pub(super) fn chunks_of(value: &[u8]) -> Option<(u64, usize)> {
    let (owner, len) = read_pointer(value)?;
    Some((owner, len.div_ceil(CHUNK_BYTES)))
}

fn read_pointer(value: &[u8]) -> Option<(u64, usize)> {
    if value.get(..2)? != [VERSION, SPILLED] {
        return None;
    }
    let owner = keys::read_seq(value, 2)?.0;
    let len = u32::from_be_bytes(value.get(10..14)?.try_into().ok()?);
    Some((owner, len as usize))
}

/// Puts chunks together again.
fn gather(rows: &impl Rows, owner: u64, len: usize) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::with_capacity(len);
    for n in 0..len.div_ceil(CHUNK_BYTES) {
        let chunk = rows
            .get(&keys::chunk(owner, n))?
            .ok_or_else(|| damaged(format!("chunk {n} of {owner} is missing")))?;
        body.extend_from_slice(&chunk);
    }
    if body.len() == len {
        Ok(body)
    } else {
        Err(damaged(format!(
            "the chunks of {owner} have another length"
        )))
    }
}

/// Decodes a value.
pub(super) fn open<T: DeserializeOwned>(rows: &impl Rows, value: &[u8]) -> Result<T, StoreError> {
    let body = match value {
        [VERSION, INLINE, body @ ..] => Cow::Borrowed(body),
        _ => {
            let (owner, len) =
                read_pointer(value).ok_or_else(|| damaged("a value has an unknown form"))?;
            Cow::Owned(gather(rows, owner, len)?)
        }
    };
    decode(&body).map(|(value, _)| value)
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<(T, &[u8]), StoreError> {
    postcard::take_from_bytes(body)
        .map_err(|source| damaged(format!("a value does not decode: {source}")))
}

/// A message ready to be accepted.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) message: Message,
    pub(super) value: IVec,
    pub(super) chunks: Vec<IVec>,
    pub(super) key: Option<NewKey>,
}

impl NewRow {
    pub(super) fn of(
        new: NewMessage,
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Self, StoreError> {
        let NewMessage { message, payload } = new;
        let mut value = Vec::with_capacity(256 + payload.len().min(INLINE_BYTES));
        value.extend_from_slice(&[VERSION, INLINE]);
        let mut value = encode(&message, value)?;
        let header = value.len() - 2;
        let chunks = if header + payload.len() <= INLINE_BYTES {
            value.extend_from_slice(&payload);
            Vec::new()
        } else if header <= INLINE_BYTES {
            value[1] = SPLIT;
            cut(&payload)
        } else {
            let mut body = value.split_off(2);
            value[1] = WHOLE;
            value.extend_from_slice(&length(header)?.to_be_bytes());
            body.extend_from_slice(&payload);
            cut(&body)
        };
        Ok(Self {
            message,
            value: value.into(),
            chunks,
            key: idempotency.map(NewKey::of).transpose()?,
        })
    }
}

/// The message in this row.
pub(super) fn message(rows: &impl Rows, seq: Seq, value: &[u8]) -> Result<Message, StoreError> {
    let (message, _) = parts(rows, seq, value, false)?;
    Ok(Message { seq, ..message })
}

/// The payload of the message in this row.
pub(super) fn payload(rows: &impl Rows, seq: Seq, value: &[u8]) -> Result<Bytes, StoreError> {
    parts(rows, seq, value, true).map(|(_, payload)| payload)
}

fn parts(
    rows: &impl Rows,
    seq: Seq,
    value: &[u8],
    with_payload: bool,
) -> Result<(Message, Bytes), StoreError> {
    match value {
        [VERSION, INLINE, body @ ..] => {
            let (message, payload) = decode(body)?;
            let payload = if with_payload { payload } else { &[] };
            Ok((message, Bytes::copy_from_slice(payload)))
        }
        [VERSION, SPLIT, header @ ..] => {
            let (message, _): (Message, _) = decode(header)?;
            let len = if with_payload { message.payload_len } else { 0 };
            let payload = gather(rows, seq.0, len as usize)?;
            Ok((message, payload.into()))
        }
        [VERSION, WHOLE, header @ ..] => {
            let header = header
                .first_chunk::<4>()
                .map(|len| u32::from_be_bytes(*len));
            let header = header.ok_or_else(|| damaged("a message row is cut short"))? as usize;
            whole(rows, seq, header)
        }
        _ => Err(damaged(format!("message {} has an unknown form", seq.0))),
    }
}

/// A message with a header so long that it lies in chunks too. The first chunks hold the payload's length.
fn whole(rows: &impl Rows, seq: Seq, header: usize) -> Result<(Message, Bytes), StoreError> {
    let mut body = Vec::new();
    let mut total = header;
    let mut n = 0;
    let mut message: Option<Message> = None;
    while body.len() < total {
        let chunk = rows
            .get(&keys::chunk(seq.0, n))?
            .ok_or_else(|| damaged(format!("chunk {n} of {} is missing", seq.0)))?;
        body.extend_from_slice(&chunk);
        n += 1;
        if message.is_none() && body.len() >= header {
            let (read, _): (Message, _) = decode(&body[..header])?;
            total = header + read.payload_len as usize;
            message = Some(read);
        }
    }
    let message = message.ok_or_else(|| damaged("a message has no header"))?;
    Ok((message, Bytes::from(body).slice(header..)))
}

/// How many chunks lie under the number of this message.
pub(super) fn message_chunks(message: &Message, value: &[u8]) -> usize {
    let payload = message.payload_len as usize;
    match value {
        [VERSION, SPLIT, ..] => payload.div_ceil(CHUNK_BYTES),
        [VERSION, WHOLE, header @ ..] => {
            let header = header
                .first_chunk::<4>()
                .map_or(0, |len| u32::from_be_bytes(*len));
            (header as usize + payload).div_ceil(CHUNK_BYTES)
        }
        _ => 0,
    }
}

/// An idempotency record ready to be kept.
#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) row: [u8; 33],
    pub(super) cell: Cell,
    pub(super) expires_at: Timestamp,
}

impl NewKey {
    pub(super) fn of(record: &IdempotencyRecord) -> Result<Self, StoreError> {
        Ok(Self {
            row: record.row_key(),
            cell: Cell::of(record)?,
            expires_at: record.expires_at,
        })
    }
}

/// An outcome ready to be recorded.
#[derive(Debug)]
pub(super) struct NewOutcome {
    pub(super) row: Option<DeliveryRow>,
    /// The attempt says all that the row does.
    pub(super) told: bool,
    pub(super) attempt: Option<(DeliveryKey, AttemptId, Cell)>,
    pub(super) shaped: Option<Cell>,
    pub(super) outbox_done: Option<Seq>,
}

impl NewOutcome {
    pub(super) fn of(outcome: Outcome) -> Result<Self, StoreError> {
        let attempt = outcome.attempt.as_ref();
        let parks = |row: &DeliveryRow| !row.state.is_settled();
        let shaped = outcome
            .shaped
            .filter(|_| outcome.row.as_ref().is_some_and(parks));
        let told = attempt.is_some() && attempt.map(settled_by) == outcome.row;
        Ok(Self {
            told,
            attempt: attempt
                .map(|attempt| Ok((attempt.delivery, attempt.id, Cell::of(&(attempt, told))?)))
                .transpose()?,
            shaped: shaped.as_ref().map(Cell::of).transpose()?,
            row: outcome.row,
            outbox_done: outcome.outbox_done,
        })
    }
}

/// The attempt in this row.
pub(super) fn attempt(rows: &impl Rows, seq: Seq, value: &[u8]) -> Result<Attempt, StoreError> {
    let (attempt, _): (Attempt, bool) = open(rows, value)?;
    Ok(Attempt { seq, ..attempt })
}

/// The row that a delivery would have, if the attempt in this one was its first and settled it.
pub(super) fn told(rows: &impl Rows, value: &[u8]) -> Result<Option<DeliveryRow>, StoreError> {
    let (attempt, told): (Attempt, bool) = open(rows, value)?;
    Ok(told.then(|| settled_by(&attempt)))
}

/// What an attempt that is a delivery's first and last says about it. Most are: such a delivery has no row.
fn settled_by(attempt: &Attempt) -> DeliveryRow {
    let state = match attempt.status {
        AttemptStatus::Success => DeliveryState::Success,
        AttemptStatus::Canceled => DeliveryState::Canceled,
        AttemptStatus::Fail | AttemptStatus::Pending | AttemptStatus::Sending => {
            DeliveryState::Failed
        }
    };
    DeliveryRow {
        key: attempt.delivery,
        state,
        tries: 1,
        resume_due: None,
    }
}

/// A delivery's row without its key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeliveryValue {
    pub(super) state: DeliveryState,
    pub(super) tries: u16,
    pub(super) resume_due: Option<Timestamp>,
    /// Whether a shaped result is kept beside it.
    pub(super) shaped: bool,
}

impl DeliveryValue {
    pub(super) fn encode(&self) -> Result<IVec, StoreError> {
        row(self)
    }

    pub(super) fn with_key(self, key: DeliveryKey) -> DeliveryRow {
        DeliveryRow {
            key,
            state: self.state,
            tries: self.tries,
            resume_due: self.resume_due,
        }
    }
}

/// A value that is always short enough for one row.
pub(super) fn row<T: Serialize + ?Sized>(value: &T) -> Result<IVec, StoreError> {
    encode(value, vec![VERSION, INLINE]).map(IVec::from)
}

/// Something that an expiry row lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Expiring {
    Message(Seq),
    /// By its row's key.
    Idempotency([u8; 32]),
}
