//! What is read from the tree. Plain functions over rows that are committed; they block, so they run on
//! blocking threads. A range may show half of a group that is being applied, so a row that an index names and
//! that is not there (yet, or any more) is passed over.

use std::collections::BTreeMap;

use bytes::Bytes;
use sled::{IVec, Tree};

use super::codec::{self, DeliveryValue, Rows, damaged, fault};
use super::runs::{self, Entry};
use super::shared::Committed;
use super::{keys, records, turns};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, DeliveryKey, DeliveryRow, DeliveryState, EndpointId,
    Message, MessageId, Seq, Timestamp, Uid,
};
use crate::store::{
    AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord, Kind, MessageFilter, OutboxEntry,
    Record, Shaped, Shard, ShardSet, StoreError,
};

type Row = (IVec, IVec);

/// The rows of a page whose keys are a prefix and a number, in the order of scanning.
fn rows_of<T>(
    tree: &Tree,
    prefix: &[u8],
    page: Committed,
    read: impl Fn(Seq, Row) -> Result<T, StoreError>,
) -> impl Iterator<Item = Result<T, StoreError>> {
    let Committed { page, newest } = page;
    let span = page.span().filter(|(first, _)| *first <= newest);
    let mut rows = span.map(|(first, last)| {
        let (first, last) = keys::numbers(prefix, first, last.min(newest));
        tree.range(first..=last)
    });
    let next = move || match (&mut rows, page.scans_upwards()) {
        (Some(rows), true) => rows.next(),
        (Some(rows), false) => rows.next_back(),
        (None, _) => None,
    };
    std::iter::from_fn(next).map(move |row| {
        let row = row.map_err(fault)?;
        let seq = keys::read_seq(&row.0, prefix.len());
        read(seq.ok_or_else(|| damaged("a list row is cut short"))?, row)
    })
}

/// The entries of a list that a page may show, in the order of scanning.
fn listed(
    tree: &Tree,
    prefix: &[u8],
    page: Committed,
) -> Result<impl Iterator<Item = Result<Entry, StoreError>> + use<>, StoreError> {
    let Committed { page, newest } = page;
    let span = page.span().filter(|(first, _)| *first <= newest);
    let entries = span.map(|(first, last)| {
        runs::entries(tree, prefix, first..=last.min(newest), page.scans_upwards())
    });
    Ok(entries.transpose()?.into_iter().flatten())
}

/// One page of them.
fn page_of<T>(
    tree: &Tree,
    prefix: &[u8],
    page: Committed,
    read: impl Fn(Seq, Row) -> Result<Option<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    page.page.collect(rows_of(tree, prefix, page, read))
}

/// One page of them, of which few may fit.
fn find<T>(
    tree: &Tree,
    prefix: &[u8],
    page: Committed,
    read: impl Fn(Seq, Row) -> Result<Option<T>, StoreError>,
) -> Result<Found<T>, StoreError> {
    let read = |seq, row| Ok((seq, read(seq, row)?));
    page.page.find(rows_of(tree, prefix, page, read))
}

pub(super) fn records_of(
    tree: &Tree,
    kind: Kind,
    parent: &str,
    page: Committed,
) -> Result<Vec<Record>, StoreError> {
    let prefix = keys::records_of(kind, parent);
    page_of(tree, &prefix, page, |_, (_, id)| {
        records::by_id(tree, kind, records::id_of(&id)?)
    })
}

pub(super) fn idempotency(
    tree: &Tree,
    scope: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<IdempotencyRecord>, StoreError> {
    let Some(value) = Rows::get(tree, &keys::idempotency(scope, key))? else {
        return Ok(None);
    };
    let kept: IdempotencyRecord = codec::open(tree, &value)?;
    Ok(Some(kept).filter(|kept| kept.expires_at > now))
}

pub(super) fn message(tree: &Tree, seq: Seq) -> Result<Option<Message>, StoreError> {
    let value = Rows::get(tree, &keys::message(seq))?;
    value
        .map(|value| codec::message(tree, seq, &value))
        .transpose()
}

pub(super) fn message_by_id(
    tree: &Tree,
    app: ApplicationId,
    text: &str,
) -> Result<Option<Message>, StoreError> {
    if let Ok(id) = text.parse()
        && let Some(found) = message_with(tree, id)?
        && found.app == app
    {
        return Ok(Some(found));
    }
    // Nothing else can be an event id, nor needs a key of its length.
    if Uid::parse(text).is_err() {
        return Ok(None);
    }
    match Rows::get(tree, &keys::event_id(app, text))? {
        Some(seq) => message_at(tree, &seq),
        None => Ok(None),
    }
}

/// Looks through those of the same moment: a few, but for a gateway that accepts ten thousand a second.
fn message_with(tree: &Tree, id: MessageId) -> Result<Option<Message>, StoreError> {
    let list = keys::messages_made_with(id);
    for entry in runs::entries(tree, &list, Seq(0)..=Seq(u64::MAX), true)? {
        if let Some(found) = message(tree, entry?.seq)?
            && found.id == id
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn message_at(tree: &Tree, value: &[u8]) -> Result<Option<Message>, StoreError> {
    let seq = keys::read_seq(value, 0).ok_or_else(|| damaged("an index row is cut short"))?;
    message(tree, seq)
}

pub(super) fn payload(tree: &Tree, seq: Seq) -> Result<Option<Bytes>, StoreError> {
    let value = Rows::get(tree, &keys::message(seq))?;
    value
        .map(|value| codec::payload(tree, seq, &value))
        .transpose()
}

pub(super) fn events(
    tree: &Tree,
    messages: &[Seq],
    most: usize,
) -> Result<Vec<(Message, Bytes)>, StoreError> {
    let mut events = Vec::new();
    let mut bytes = 0;
    for &seq in messages {
        let Some(value) = Rows::get(tree, &keys::message(seq))? else {
            continue;
        };
        let message = codec::message(tree, seq, &value)?;
        bytes += message.payload_len as usize;
        if bytes > most {
            break;
        }
        events.push((message, codec::payload(tree, seq, &value)?));
    }
    Ok(events)
}

pub(super) fn messages(
    tree: &Tree,
    app: ApplicationId,
    filter: &MessageFilter,
    page: Committed,
) -> Result<Found<Message>, StoreError> {
    let read = |entry: Entry| {
        let message = message(tree, entry.seq)?;
        let fits = message.filter(|message| filter.matches(message));
        Ok((entry.seq, fits))
    };
    let entries = listed(tree, &keys::messages_of(app), page)?;
    page.page.find(entries.map(|entry| read(entry?)))
}

pub(super) fn attempts(
    tree: &Tree,
    of: AttemptsOf,
    filter: &AttemptFilter,
    page: Committed,
) -> Result<Found<Attempt>, StoreError> {
    let fits = |attempt: Attempt| Some(attempt).filter(|attempt| filter.matches(attempt));
    match of {
        AttemptsOf::Message(message) => find(
            tree,
            &keys::attempts_of(message),
            page,
            |seq, (_, value)| codec::attempt(tree, seq, &value).map(fits),
        ),
        AttemptsOf::Endpoint(endpoint) => {
            let read = |Entry { seq, of }| {
                let value = Rows::get(tree, &keys::attempt(of, seq))?;
                let attempt = value.map(|value| codec::attempt(tree, seq, &value));
                Ok((seq, attempt.transpose()?.and_then(fits)))
            };
            let entries = listed(tree, &keys::attempts_at(endpoint), page)?;
            page.page.find(entries.map(|entry| read(entry?)))
        }
    }
}

pub(super) fn attempt(
    tree: &Tree,
    message: Seq,
    id: AttemptId,
) -> Result<Option<Attempt>, StoreError> {
    for row in tree.scan_prefix(keys::attempts_of(message)) {
        let (key, value) = row.map_err(fault)?;
        let seq = keys::read_seq(&key, 9).ok_or_else(|| damaged("an attempt row is cut short"))?;
        let attempt = codec::attempt(tree, seq, &value)?;
        if attempt.id == id {
            return Ok(Some(attempt));
        }
    }
    Ok(None)
}

pub(super) fn delivery(tree: &Tree, key: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError> {
    if let Some(row) = delivery_row(tree, key)? {
        return Ok(Some(row));
    }
    if let Some(row) = turns::row(tree, key)? {
        return Ok(Some(row));
    }
    let told = settled_by_attempts(tree, key.message)?;
    Ok(told.into_iter().rfind(|row| row.key == key))
}

fn delivery_row(tree: &Tree, key: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError> {
    let value = Rows::get(tree, &keys::delivery(key))?;
    value
        .map(|value| codec::open::<DeliveryValue>(tree, &value).map(|row| row.with_key(key)))
        .transpose()
}

/// What the message's attempts say about its deliveries that may have no row.
fn settled_by_attempts(tree: &Tree, message: Seq) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = tree.scan_prefix(keys::attempts_of(message)).values();
    let told = rows.map(|value| codec::told(tree, &value.map_err(fault)?));
    told.filter_map(Result::transpose).collect()
}

pub(super) fn deliveries(tree: &Tree, message: Seq) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = tree.scan_prefix(keys::deliveries_of(message)).map(|row| {
        let (key, value) = row.map_err(fault)?;
        let key = keys::read_delivery(&key).ok_or_else(|| damaged("a delivery row"))?;
        Ok((
            key,
            codec::open::<DeliveryValue>(tree, &value)?.with_key(key),
        ))
    });
    let told = settled_by_attempts(tree, message)?;
    let mut deliveries: BTreeMap<_, _> = told.into_iter().map(|row| (row.key, row)).collect();
    for row in turns::of_message(tree, message)? {
        let row = row?;
        deliveries.insert(row.key, row);
    }
    for row in rows {
        let (key, row) = row?;
        deliveries.insert(key, row);
    }
    Ok(deliveries.into_values().collect())
}

pub(super) fn shaped(tree: &Tree, key: DeliveryKey) -> Result<Option<Shaped>, StoreError> {
    let value = Rows::get(tree, &keys::shaped(key))?;
    value.map(|value| codec::open(tree, &value)).transpose()
}

pub(super) fn unsettled(tree: &Tree, page: Committed) -> Result<Vec<OutboxEntry>, StoreError> {
    let read = |Entry { seq, .. }| {
        let Some(message) = message(tree, seq)? else {
            return Ok(None);
        };
        let rows = deliveries(tree, seq)?;
        Ok(Some(OutboxEntry {
            message,
            have_rows: rows.iter().map(|row| row.key.endpoint).collect(),
        }))
    };
    let entries = listed(tree, keys::OUTBOX_LIST, page)?;
    page.page.collect(entries.map(|entry| read(entry?)))
}

pub(super) fn due_lanes(
    tree: &Tree,
    held: ShardSet,
    after: Option<EndpointId>,
    limit: usize,
) -> Result<Vec<DueLane>, StoreError> {
    let mut lanes = Vec::new();
    let passed = after.map(Shard::of);
    for shard in held
        .iter()
        .filter(|shard| passed.is_none_or(|last| *shard >= last))
    {
        let mut last = after.filter(|_| passed == Some(shard));
        let mut due = lane_due_behind(tree, shard, last)?;
        let mut in_turn = turns::lane_behind(tree, shard, last)?;
        while lanes.len() < limit {
            let next = match (due, in_turn) {
                (Some(due), Some(lane)) if due.endpoint < lane => due,
                (_, Some(endpoint)) => DueLane {
                    endpoint,
                    earliest: DeliveryState::IN_TURN,
                },
                (Some(due), None) => due,
                (None, None) => break,
            };
            last = Some(next.endpoint);
            if due.is_some_and(|due| due.endpoint == next.endpoint) {
                due = lane_due_behind(tree, shard, last)?;
            }
            if in_turn == last {
                in_turn = turns::lane_behind(tree, shard, last)?;
            }
            lanes.push(next);
        }
    }
    Ok(lanes)
}

/// The first lane of a shard behind this one that has a row in the due index; from the first on without one.
fn lane_due_behind(
    tree: &Tree,
    shard: Shard,
    lane: Option<EndpointId>,
) -> Result<Option<DueLane>, StoreError> {
    // Jumps behind the last row of a lane.
    let behind = |lane| keys::due(lane, Timestamp::from_millis(u64::MAX), Seq(u64::MAX)).to_vec();
    let from = lane.map_or_else(|| keys::lanes_of(shard).to_vec(), behind);
    let next = tree.get_gt(from).map_err(fault)?;
    let next = next.filter(|(key, _)| key.starts_with(&keys::lanes_of(shard)));
    next.map(|(key, _)| {
        let (endpoint, earliest, _) =
            keys::read_due(&key).ok_or_else(|| damaged("a due row is cut short"))?;
        Ok(DueLane { endpoint, earliest })
    })
    .transpose()
}

pub(super) fn due(
    tree: &Tree,
    lane: EndpointId,
    until: Timestamp,
    after: Option<(Timestamp, Seq)>,
    limit: usize,
) -> Result<Vec<DeliveryRow>, StoreError> {
    if after.is_some_and(|(due, _)| due > until) {
        return Ok(Vec::new());
    }
    let from = match after {
        None => Some(Seq(0)),
        Some((DeliveryState::IN_TURN, last)) => Some(Seq(last.0.saturating_add(1))),
        Some(_) => None,
    };
    let in_turn = from.map(|from| turns::of_lane(tree, lane, from));
    let in_turn = in_turn.transpose()?.into_iter().flatten();
    merged(in_turn, listed_due(tree, lane, until, after))
        .take(limit)
        .collect()
}

/// Both in one, by due time and then order of acceptance, as each is.
fn merged(
    one: impl Iterator<Item = Result<DeliveryRow, StoreError>>,
    other: impl Iterator<Item = Result<DeliveryRow, StoreError>>,
) -> impl Iterator<Item = Result<DeliveryRow, StoreError>> {
    let place = |row: &DeliveryRow| match row.state {
        DeliveryState::Parked { due, .. } => (due, row.key.message),
        _ => (DeliveryState::IN_TURN, row.key.message),
    };
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(Ok(first)), Some(Ok(second))) if place(second) < place(first) => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

/// Those of a lane that have a row in the due index.
fn listed_due(
    tree: &Tree,
    lane: EndpointId,
    until: Timestamp,
    after: Option<(Timestamp, Seq)>,
) -> impl Iterator<Item = Result<DeliveryRow, StoreError>> {
    use std::ops::Bound;
    let first = match after {
        Some((due, message)) => Bound::Excluded(keys::due(lane, due, message)),
        None => Bound::Included(keys::due(lane, Timestamp::default(), Seq(0))),
    };
    let last = keys::due(lane, until, Seq(u64::MAX));
    tree.range((first, Bound::Included(last)))
        .filter_map(move |row| {
            let read = || {
                let (key, _) = row.map_err(fault)?;
                let (endpoint, listed, message) =
                    keys::read_due(&key).ok_or_else(|| damaged("a due row is cut short"))?;
                let row = delivery_row(tree, DeliveryKey { endpoint, message })?;
                // Replaced meanwhile: another row of the index, or none, is the right one.
                Ok(row.filter(
                    |row| matches!(row.state, DeliveryState::Parked { due, .. } if due == listed),
                ))
            };
            read().transpose()
        })
}

pub(super) fn next_due(tree: &Tree, lane: EndpointId) -> Result<Option<Timestamp>, StoreError> {
    if turns::of_lane(tree, lane, Seq(0))?.next().is_some() {
        return Ok(Some(DeliveryState::IN_TURN));
    }
    let first = tree.scan_prefix(keys::lane(lane)).keys().next();
    let Some(key) = first.transpose().map_err(fault)? else {
        return Ok(None);
    };
    let (_, due, _) = keys::read_due(&key).ok_or_else(|| damaged("a due row is cut short"))?;
    Ok(Some(due))
}

pub(super) fn parked(tree: &Tree, lane: EndpointId) -> Result<u64, StoreError> {
    let due = tree.scan_prefix(keys::lane(lane)).keys();
    let due = due.map(|key| key.map_err(fault).map(|_| 1));
    let in_turn = turns::of_lane(tree, lane, Seq(0))?.map(|row| row.map(|_| 1));
    due.chain(in_turn).sum()
}
