//! Records in a group: the revision check, unique names, and the rows that find a record.

use super::codec::{self, Cell, NewKey, Rows, damaged};
use super::group::Group;
use super::keys;
use crate::domain::{Seq, Timestamp};
use crate::store::{Change, Kind, Record, StoreError, Write};

impl Group<'_> {
    /// All writes with their idempotency record, or none.
    pub(super) fn commit(
        &mut self,
        writes: Vec<Write>,
        key: Option<NewKey>,
        now: Timestamp,
    ) -> Result<Vec<Record>, StoreError> {
        self.all_or_nothing(|group| {
            if let Some(key) = key {
                group
                    .keep_key(key, now)?
                    .map_err(StoreError::IdempotencyKeyTaken)?;
            }
            writes.into_iter().map(|write| group.write(write)).collect()
        })
    }

    fn write(&mut self, write: Write) -> Result<Record, StoreError> {
        match write {
            Write::Insert(record) => self.insert(record),
            Write::Update(record) => self.update(record),
            Write::Remove { kind, id } => self
                .remove(kind, &id)?
                .ok_or(StoreError::NoSuchRecord { kind, id }),
        }
    }

    fn insert(&mut self, new: Record) -> Result<Record, StoreError> {
        if self.get(&keys::record(new.kind, &new.id))?.is_some() {
            return Err(StoreError::Exists {
                kind: new.kind,
                name: new.id,
            });
        }
        let record = Record {
            seq: self.next_seq(),
            revision: 1,
            ..new
        };
        self.take_uid(&record)?;
        let place = keys::record_list(record.kind, &record.parent, record.seq);
        self.put(place, record.id.as_bytes());
        self.put_record(&record)?;
        Ok(record)
    }

    fn update(&mut self, new: Record) -> Result<Record, StoreError> {
        let Some((old, value)) = self.read_record(new.kind, &new.id)? else {
            return Err(StoreError::NoSuchRecord {
                kind: new.kind,
                id: new.id,
            });
        };
        if old.revision != new.revision {
            return Err(StoreError::Stale {
                kind: new.kind,
                id: new.id,
            });
        }
        let record = Record {
            parent: old.parent.clone(),
            seq: old.seq,
            revision: old.revision + 1,
            ..new
        };
        if record.uid != old.uid {
            self.take_uid(&record)?;
            self.free_uid(&old);
        }
        self.drop_chunks(&value);
        self.put_record(&record)?;
        Ok(record)
    }

    /// Removes a record if it is there, and leaves a tombstone where something belongs to it.
    pub(super) fn remove(&mut self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        let Some((record, value)) = self.read_record(kind, id)? else {
            return Ok(None);
        };
        self.free_uid(&record);
        self.delete(keys::record_list(kind, &record.parent, record.seq));
        self.displace(keys::record(kind, id), &value);
        if kind.owns() {
            self.put(keys::tombstone(kind, id), keys::NOTHING);
        }
        self.note(&record, true);
        Ok(Some(record))
    }

    fn read_record(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<(Record, sled::IVec)>, StoreError> {
        let Some(value) = self.get(&keys::record(kind, id))? else {
            return Ok(None);
        };
        Ok(Some((codec::open(self, &value)?, value)))
    }

    fn put_record(&mut self, record: &Record) -> Result<(), StoreError> {
        let owner = self.next_seq();
        let key = keys::record(record.kind, &record.id);
        self.place(key, Cell::of(record)?, owner);
        self.note(record, false);
        Ok(())
    }

    fn take_uid(&mut self, record: &Record) -> Result<(), StoreError> {
        let Some(uid) = &record.uid else {
            return Ok(());
        };
        let key = keys::record_uid(record.kind, &record.parent, uid);
        if self.get(&key)?.is_some() {
            return Err(StoreError::Exists {
                kind: record.kind,
                name: uid.clone(),
            });
        }
        self.put(key, record.id.as_bytes());
        Ok(())
    }

    fn free_uid(&mut self, record: &Record) {
        if let Some(uid) = &record.uid {
            self.delete(keys::record_uid(record.kind, &record.parent, uid));
        }
    }

    fn note(&mut self, record: &Record, removed: bool) {
        self.changes.push(Change {
            kind: record.kind,
            id: record.id.clone(),
            parent: record.parent.clone(),
            removed,
        });
    }
}

/// The identifier in a row that finds a record.
pub(super) fn id_of(value: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(value).map_err(|_| damaged("a record's identifier is not text"))
}

/// The record with this identifier.
pub(super) fn by_id(rows: &impl Rows, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
    let value = rows.get(&keys::record(kind, id))?;
    value.map(|value| codec::open(rows, &value)).transpose()
}

/// The identifier that the uid of this row stands for.
pub(super) fn named(rows: &impl Rows, key: &[u8]) -> Result<Option<String>, StoreError> {
    let id = rows.get(key)?;
    id.map(|id| id_of(&id).map(str::to_owned)).transpose()
}

/// The kind whose number this is.
pub(super) fn kind_of(number: u8) -> Option<Kind> {
    let kinds = [
        Kind::Organization,
        Kind::Application,
        Kind::Endpoint,
        Kind::EventType,
        Kind::Plugin,
        Kind::PluginVersion,
        Kind::Chain,
        Kind::DeniedToken,
        Kind::Artifact,
        Kind::RecoverTask,
        Kind::Suspension,
        Kind::Transformation,
    ];
    kinds.into_iter().find(|kind| *kind as u8 == number)
}

/// The highest sequence number that a key of this store shows.
pub(super) fn seq_in(key: &[u8]) -> Option<Seq> {
    let at = match *key.first()? {
        keys::MESSAGE => 1,
        keys::ATTEMPT => 9,
        keys::CHUNK => 1,
        keys::EXPIRY => 5,
        keys::RECORD_LIST => key.len().checked_sub(8)?,
        _ => return None,
    };
    keys::read_seq(key, at)
}
