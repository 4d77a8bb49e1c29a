//! Records in memory: one map by identifier, one by uid, one by parent. Knows no lock and no observer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::Seq;
use crate::store::{Change, Kind, PageRequest, Record, StoreError, Write};

/// All records.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    by_id: BTreeMap<(Kind, String), Record>,
    by_uid: BTreeMap<(Kind, String, String), String>,
    by_parent: BTreeMap<(Kind, String), BTreeMap<Seq, String>>,
    /// Removed owners whose belongings are not swept yet.
    pub(super) removed: BTreeSet<(Kind, String)>,
}

impl Records {
    pub(super) fn by_id(&self, kind: Kind, id: &str) -> Option<Record> {
        self.by_id.get(&(kind, id.to_owned())).cloned()
    }

    pub(super) fn by_uid(&self, kind: Kind, parent: &str, uid: &str) -> Option<Record> {
        let id = self
            .by_uid
            .get(&(kind, parent.to_owned(), uid.to_owned()))?;
        self.by_id(kind, id)
    }

    pub(super) fn of(
        &self,
        kind: Kind,
        parent: &str,
        page: PageRequest,
    ) -> Result<Vec<Record>, StoreError> {
        let (Some(rows), Some((first, last))) =
            (self.by_parent.get(&(kind, parent.to_owned())), page.span())
        else {
            return Ok(Vec::new());
        };
        let rows = rows.range(first..=last);
        let read = |(_, id): (&Seq, &String)| Ok(self.by_id(kind, id));
        if page.scans_upwards() {
            page.collect(rows.map(read))
        } else {
            page.collect(rows.rev().map(read))
        }
    }

    /// Applies all writes, each seeing the ones before it, or none.
    pub(super) fn apply(
        &mut self,
        writes: Vec<Write>,
        seq: &mut u64,
    ) -> Result<(Vec<Record>, Vec<Change>), StoreError> {
        let mut done: Vec<(Option<Record>, Option<Record>)> = Vec::with_capacity(writes.len());
        for write in writes {
            match self.judge(write, seq) {
                Ok((old, new)) => {
                    self.swap(old.as_ref(), new.as_ref());
                    done.push((old, new));
                }
                Err(refused) => {
                    for (old, new) in done.iter().rev() {
                        self.swap(new.as_ref(), old.as_ref());
                    }
                    return Err(refused);
                }
            }
        }
        for (old, new) in &done {
            if let (Some(old), None) = (old, new)
                && old.kind.owns()
            {
                self.removed.insert((old.kind, old.id.clone()));
            }
        }
        let written: Vec<(Record, bool)> = done
            .into_iter()
            .filter_map(|(old, new)| {
                let removed = new.is_none();
                new.or(old).map(|record| (record, removed))
            })
            .collect();
        let changes = written
            .iter()
            .map(|(record, removed)| Change {
                kind: record.kind,
                id: record.id.clone(),
                parent: record.parent.clone(),
                removed: *removed,
            })
            .collect();
        Ok((
            written.into_iter().map(|(record, _)| record).collect(),
            changes,
        ))
    }

    /// What a write replaces and by what.
    fn judge(
        &self,
        write: Write,
        seq: &mut u64,
    ) -> Result<(Option<Record>, Option<Record>), StoreError> {
        let old = |kind: Kind, id: &str| {
            self.by_id(kind, id)
                .ok_or_else(|| StoreError::NoSuchRecord {
                    kind,
                    id: id.to_owned(),
                })
        };
        match write {
            Write::Insert(new) => {
                if self.by_id.contains_key(&(new.kind, new.id.clone())) {
                    return Err(StoreError::Exists {
                        kind: new.kind,
                        name: new.id,
                    });
                }
                self.check_uid(&new)?;
                *seq += 1;
                let new = Record {
                    seq: Seq(*seq),
                    revision: 1,
                    ..new
                };
                Ok((None, Some(new)))
            }
            Write::Update(new) => {
                let old = old(new.kind, &new.id)?;
                if old.revision != new.revision {
                    return Err(StoreError::Stale {
                        kind: new.kind,
                        id: new.id,
                    });
                }
                let new = Record {
                    parent: old.parent.clone(),
                    seq: old.seq,
                    revision: old.revision + 1,
                    ..new
                };
                self.check_uid(&new)?;
                Ok((Some(old), Some(new)))
            }
            Write::Remove { kind, id } => Ok((Some(old(kind, &id)?), None)),
        }
    }

    fn check_uid(&self, new: &Record) -> Result<(), StoreError> {
        let Some(uid) = &new.uid else { return Ok(()) };
        let key = (new.kind, new.parent.clone(), uid.clone());
        match self.by_uid.get(&key) {
            Some(other) if *other != new.id => Err(StoreError::Exists {
                kind: new.kind,
                name: uid.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn swap(&mut self, old: Option<&Record>, new: Option<&Record>) {
        if let Some(old) = old {
            self.by_id.remove(&(old.kind, old.id.clone()));
            if let Some(uid) = &old.uid {
                self.by_uid
                    .remove(&(old.kind, old.parent.clone(), uid.clone()));
            }
            if let Some(siblings) = self.by_parent.get_mut(&(old.kind, old.parent.clone())) {
                siblings.remove(&old.seq);
            }
        }
        if let Some(new) = new {
            self.by_id.insert((new.kind, new.id.clone()), new.clone());
            if let Some(uid) = &new.uid {
                self.by_uid
                    .insert((new.kind, new.parent.clone(), uid.clone()), new.id.clone());
            }
            self.by_parent
                .entry((new.kind, new.parent.clone()))
                .or_default()
                .insert(new.seq, new.id.clone());
        }
    }
}
