//! Writes what can be read of a store that no gateway has open, damaged or not, in the form of an export. Only
//! rows that decode are written, and those that find them are made anew, so that the copy is whole in itself.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use sled::IVec;

use super::codec::{self, DeliveryValue, Expiring};
use super::config::SledConfig;
use super::export::Sender;
use super::group::EXPIRY_LIST;
use super::log::Log;
use super::packed;
use super::runs::{self, Entry};
use super::tally::Tally;
use super::turns::{self, TurnOfKey};
use super::{keys, marker, open, records};
use crate::domain::{DeliveryKey, DeliveryState, Seq, Timestamp};
use crate::store::{IdempotencyRecord, Record, Shaped, StoreError};

/// Kinds that nothing else can be made from. (What expires is listed anew, from what has a time.)
const KEPT: [u8; 9] = [
    keys::MESSAGE,
    keys::OUTBOX,
    keys::DELIVERY,
    keys::SHAPED,
    keys::TURN_OF,
    keys::ATTEMPT,
    keys::RECORD,
    keys::TOMBSTONE,
    keys::IDEMPOTENCY,
];

/// What was written of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Kind of rows, how many were written, and how many the store should have.
    pub kinds: Vec<(&'static str, u64, u64)>,
    /// Rows that were read and do not decode, or belong to a message that is lost.
    pub undecodable: u64,
    /// Stretches of the log that could not be read. One that holds nothing of worth counts too.
    pub unreadable: usize,
    /// Messages that are delivered again, since it is lost whether they were.
    pub redelivered: u64,
}

impl Salvaged {
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        let all = |(_, written, due): &(_, u64, u64)| written == due;
        self.undecodable == 0 && self.kinds.iter().all(all)
    }
}

/// Gives what can be read of the store of this directory to `sink`, in pieces of an export.
pub fn salvage(
    config: &SledConfig,
    sink: impl FnMut(Bytes) -> Result<(), StoreError>,
) -> Result<Salvaged, StoreError> {
    let _lock = open::lock_as_is(&config.dir)?;
    marker::format_as_is(&config.dir)?;
    let log = Log::read(&config.dir)?;
    let due = Tally::read(&log).unwrap_or_default();
    let mut salvage = Salvage {
        log: &log,
        sender: Sender::to(sink),
        written: Tally::default(),
        messages: HashSet::new(),
        under_way: HashSet::new(),
        lists: BTreeMap::new(),
        turns: Vec::new(),
        expiring: BTreeMap::new(),
        highest: 0,
        undecodable: 0,
    };
    salvage.messages()?;
    salvage.outbox()?;
    salvage.deliveries()?;
    salvage.turns()?;
    salvage.attempts()?;
    salvage.records()?;
    salvage.idempotency()?;
    // Some of them were on their way, and which is not known any more.
    let lost = due.is_some_and(|due| due.of(keys::OUTBOX) > salvage.written.of(keys::OUTBOX));
    let redelivered = if lost { salvage.redeliver() } else { 0 };
    salvage.lists()?;
    let Salvage {
        sender,
        written,
        undecodable,
        ..
    } = salvage;
    sender.end()?;
    let kinds = keys::KINDS.iter().filter(|(kind, _)| KEPT.contains(kind));
    Ok(Salvaged {
        kinds: kinds
            .map(|(kind, name)| {
                let written = written.of(*kind);
                (*name, written, due.map_or(written, |due| due.of(*kind)))
            })
            .collect(),
        undecodable,
        unreadable: log.unreadable,
        redelivered,
    })
}

struct Salvage<'a, S> {
    log: &'a Log,
    sender: Sender<S>,
    written: Tally,
    /// Those that are written.
    messages: HashSet<u64>,
    /// Those with an outbox entry or a delivery.
    under_way: HashSet<u64>,
    /// Lists by their prefix.
    lists: BTreeMap<Vec<u8>, Vec<Entry>>,
    /// Deliveries that wait for their turn.
    turns: Vec<DeliveryKey>,
    expiring: BTreeMap<u32, Vec<Expiring>>,
    /// Highest number in use.
    highest: u64,
    undecodable: u64,
}

impl<S: FnMut(Bytes) -> Result<(), StoreError>> Salvage<'_, S> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let number = records::seq_in(key).map_or(0, |seq| seq.0);
        self.highest = self.highest.max(number);
        self.written.add(key, value);
        self.sender.put(key, value)
    }

    /// A row with the chunks of its value.
    fn put_whole(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if let Some((owner, count)) = codec::chunks_of(value) {
            self.put_chunks(owner, count)?;
        }
        self.put(key, value)
    }

    fn put_chunks(&mut self, owner: u64, count: usize) -> Result<(), StoreError> {
        use codec::Rows as _;
        for n in 0..count {
            let key = keys::chunk(owner, n);
            if let Some(chunk) = self.log.get(&key)? {
                self.put(&key, &chunk)?;
            }
        }
        Ok(())
    }

    /// What was read, unless it does not decode; then it is counted.
    fn decoded<T>(&mut self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Damaged { .. }) => {
                self.undecodable += 1;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn expire(&mut self, at: Timestamp, what: Expiring) {
        self.expiring.entry(keys::hour(at)).or_default().push(what);
    }

    fn messages(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::MESSAGE) {
            let (key, value) = row?;
            let Some(seq) = keys::read_seq(key, 1).filter(|_| key.len() == 9) else {
                self.undecodable += 1;
                continue;
            };
            let read = codec::payload(self.log, seq, &value)
                .and_then(|_| codec::message(self.log, seq, &value));
            let Some(message) = self.decoded(read)? else {
                continue;
            };
            self.put_chunks(seq.0, codec::message_chunks(&message, &value))?;
            self.put(key, &value)?;
            let number = seq.0.to_be_bytes();
            self.list(&keys::messages_of(message.app), Entry::of(seq));
            self.list(&keys::messages_made_with(message.id), Entry::of(seq));
            if let Some(event_id) = &message.event_id {
                let entry = [&number[..], message.id.as_bytes()].concat();
                self.put(&keys::event_id(message.app, event_id.as_str()), &entry)?;
            }
            self.expire(message.expires_at, Expiring::Message(seq));
            self.messages.insert(seq.0);
        }
        Ok(())
    }

    /// The message of a key, if the key is right for its kind and the message is written.
    fn of_message(&mut self, key: &[u8], len: usize) -> Option<Seq> {
        let seq = keys::read_seq(key, 1).filter(|_| key.len() == len);
        let seq = seq.filter(|seq| self.messages.contains(&seq.0));
        self.undecodable += u64::from(seq.is_none());
        seq
    }

    fn outbox(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::OUTBOX) {
            let (key, value) = row?;
            let read = runs::decode(self.log, keys::OUTBOX_LIST, key, &value);
            let Some(mut run) = self.decoded(read)? else {
                continue;
            };
            let all = run.len();
            run.retain(|entry| self.messages.contains(&entry.seq.0));
            self.undecodable += (all - run.len()) as u64;
            self.under_way.extend(run.iter().map(|entry| entry.seq.0));
            self.written.add(key, &value);
            for entry in run {
                self.list(keys::OUTBOX_LIST, entry);
            }
        }
        Ok(())
    }

    fn list(&mut self, prefix: &[u8], entry: Entry) {
        match self.lists.get_mut(prefix) {
            Some(list) => list.push(entry),
            None => drop(self.lists.insert(prefix.to_vec(), vec![entry])),
        }
    }

    fn deliveries(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::DELIVERY) {
            let (key, value) = row?;
            if self.of_message(key, 29).is_none() {
                continue;
            }
            let (Some(row), Some(at)) = (
                self.decoded(codec::open::<DeliveryValue>(self.log, &value))?,
                keys::read_delivery(key),
            ) else {
                continue;
            };
            self.under_way.insert(at.message.0);
            self.put(key, &value)?;
            if let DeliveryState::Parked { due, .. } = row.state {
                self.put(&keys::due(at.endpoint, due, at.message), keys::NOTHING)?;
            }
        }
        for row in self.log.of_kind(keys::SHAPED) {
            let (key, value) = row?;
            if self.of_message(key, 29).is_some()
                && let read = codec::open::<Shaped>(self.log, &value)
                && self.decoded(read)?.is_some()
            {
                self.put_whole(key, &value)?;
            }
        }
        Ok(())
    }

    fn turns(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::TURN_OF) {
            let (key, value) = row?;
            let read = packed::decode_row(key, &value).and_then(|run| {
                run.iter()
                    .map(turns::read_turn_of)
                    .collect::<Result<Vec<_>, _>>()
            });
            let Some(run) = self.decoded(read)? else {
                continue;
            };
            self.written.add(key, &value);
            for at in run {
                if self.messages.contains(&at.message.0) {
                    self.under_way.insert(at.message.0);
                    self.turns.push(at);
                } else {
                    self.undecodable += 1;
                }
            }
        }
        Ok(())
    }

    fn attempts(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::ATTEMPT) {
            let (key, value) = row?;
            let (Some(message), Some(seq)) = (self.of_message(key, 17), keys::read_seq(key, 9))
            else {
                continue;
            };
            let read = codec::attempt(self.log, seq, &value);
            if let Some(attempt) = self.decoded(read)? {
                if codec::told(self.log, &value)?.is_some() {
                    self.under_way.insert(message.0);
                }
                self.put_whole(key, &value)?;
                let prefix = keys::attempts_at(attempt.delivery.endpoint);
                self.list(&prefix, Entry { seq, of: message });
            }
        }
        Ok(())
    }

    fn records(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::RECORD) {
            let (key, value) = row?;
            let read = codec::open::<Record>(self.log, &value);
            let Some(record) = self.decoded(read)? else {
                continue;
            };
            if keys::record(record.kind, &record.id) != key {
                self.undecodable += 1;
                continue;
            }
            self.put_whole(key, &value)?;
            let id = record.id.as_bytes();
            let place = keys::record_list(record.kind, &record.parent, record.seq);
            self.put(&place, id)?;
            if let Some(uid) = &record.uid {
                self.put(&keys::record_uid(record.kind, &record.parent, uid), id)?;
            }
        }
        for row in self.log.of_kind(keys::TOMBSTONE) {
            let (key, value) = row?;
            self.put(key, &value)?;
        }
        Ok(())
    }

    fn idempotency(&mut self) -> Result<(), StoreError> {
        for row in self.log.of_kind(keys::IDEMPOTENCY) {
            let (key, value) = row?;
            let read = codec::open::<IdempotencyRecord>(self.log, &value);
            let Some(kept) = self.decoded(read)? else {
                continue;
            };
            let own = kept.row_key();
            if own != key {
                self.undecodable += 1;
                continue;
            }
            self.put_whole(key, &value)?;
            let mut hash = [0; 32];
            hash.copy_from_slice(&own[1..]);
            self.expire(kept.expires_at, Expiring::Idempotency(hash));
        }
        Ok(())
    }

    /// Puts back into the outbox every message of which nothing says how far it is.
    fn redeliver(&mut self) -> u64 {
        let silent: Vec<u64> = self.messages.difference(&self.under_way).copied().collect();
        for seq in &silent {
            self.list(keys::OUTBOX_LIST, Entry::of(Seq(*seq)));
        }
        silent.len() as u64
    }

    /// Lists of messages, of attempts and of what expires, in rows of their usual length, and the highest number.
    fn lists(&mut self) -> Result<(), StoreError> {
        for (prefix, mut entries) in std::mem::take(&mut self.lists) {
            entries.sort_unstable_by_key(|entry| entry.seq);
            for (key, value) in runs::rows(&prefix, &entries)? {
                self.sender.put(&key, &value)?;
            }
        }
        let turns = std::mem::take(&mut self.turns);
        let mut of_lanes: Vec<_> = turns.iter().map(|at| keys::turn(*at)).collect();
        let mut of_messages: Vec<TurnOfKey> = turns.iter().map(|at| keys::turn_of(*at)).collect();
        of_lanes.sort_unstable();
        of_messages.sort_unstable();
        for (key, value) in packed::rows(&of_lanes) {
            self.sender.put(&key, &value)?;
        }
        for (key, value) in packed::rows(&of_messages) {
            self.sender.put(&key, &value)?;
        }
        let chunks = self.log.keys_of_kind(keys::CHUNK);
        let highest = chunks.filter_map(records::seq_in).max();
        self.highest = self.highest.max(highest.map_or(0, |seq| seq.0));
        for (hour, list) in std::mem::take(&mut self.expiring) {
            for part in list.chunks(EXPIRY_LIST) {
                let number = Seq(self.highest + 1);
                let list: IVec = codec::row(part)?;
                self.put(&keys::expiry(hour, number), &list)?;
            }
        }
        let highest = self.highest.to_be_bytes();
        self.put(keys::META_SEQ, &highest)
    }
}
