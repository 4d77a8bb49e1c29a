//! One group: what the waiting items change, gathered before it is applied at once. Later items see what
//! earlier ones of the same group change; nothing is visible outside before the whole group is on disk.

use std::collections::{BTreeMap, HashMap};

use sled::IVec;

use super::codec::{
    self, Cell, DeliveryValue, Expiring, NewKey, NewOutcome, NewRow, Rows, damaged,
};
use super::keys;
use super::runs::{Entry, Runs};
use super::tally::{self, Tally};
use super::turns::{self, Turns};
use crate::domain::{
    AttemptId, DeliveryKey, DeliveryRow, DeliveryState, Message, MessageId, Seq, Timestamp,
};
use crate::store::{AcceptRefusal, Change, IdempotencyRecord, StoreError};

/// Rows of a group of some fifty messages and as many outcomes. Chosen: so that few groups grow the table.
const USUAL_ROWS: usize = 256;

/// Most entries of one expiry row: 64 keys of 33 bytes stay below [`keys::INLINE_BYTES`].
pub(super) const EXPIRY_LIST: usize = 64;

/// The changes of one group over the tree.
pub(super) struct Group<'a> {
    pub(super) tree: &'a sled::Tree,
    staged: HashMap<IVec, Option<IVec>>,
    /// What `staged` held before, while a commit that may be refused is under way.
    journal: Option<Vec<(IVec, Option<Option<IVec>>)>>,
    first_seq: u64,
    pub(super) seq: u64,
    pub(super) runs: Runs,
    pub(super) turns: Turns,
    expiring: BTreeMap<u32, Vec<Expiring>>,
    pub(super) changes: Vec<Change>,
    /// Numbers of groups that failed in this process: their rows may be there.
    pub(super) doubtful: Option<(Seq, Seq)>,
    /// Rows may be put that are there already although their key is given once: an import repeats rows.
    pub(super) repeats: bool,
    /// Of all rows before this group.
    pub(super) tally: Tally,
}

/// All rows of a group: a value to put, or none to remove.
pub(super) type StagedRows = Vec<(IVec, Option<IVec>)>;

/// A group that is ready to be applied.
pub(super) struct StagedGroup {
    pub(super) rows: StagedRows,
    /// The highest number given.
    pub(super) seq: u64,
    /// Of all rows with this group.
    pub(super) tally: Tally,
}

impl Rows for Group<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.staged.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => self.tree.get(key).map_err(codec::fault),
        }
    }
}

impl<'a> Group<'a> {
    pub(super) fn over(tree: &'a sled::Tree, seq: u64, tally: Tally) -> Self {
        Self {
            tree,
            staged: HashMap::with_capacity(USUAL_ROWS),
            journal: None,
            first_seq: seq,
            seq,
            runs: Runs::default(),
            turns: Turns::default(),
            expiring: BTreeMap::new(),
            changes: Vec::new(),
            doubtful: None,
            repeats: false,
            tally,
        }
    }

    pub(super) fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        Seq(self.seq)
    }

    pub(super) fn put(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.stage(key.into(), Some(value.into()));
    }

    pub(super) fn delete(&mut self, key: impl Into<IVec>) {
        self.stage(key.into(), None);
    }

    pub(super) fn stage(&mut self, key: IVec, value: Option<IVec>) {
        match &mut self.journal {
            None => drop(self.staged.insert(key, value)),
            Some(journal) => {
                let before = self.staged.insert(key.clone(), value);
                journal.push((key, before));
            }
        }
    }

    /// Runs `act`; what it staged is taken back if it fails.
    pub(super) fn all_or_nothing<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let changes = self.changes.len();
        self.journal = Some(Vec::new());
        let answer = act(self);
        let journal = self.journal.take().unwrap_or_default();
        if answer.is_err() {
            self.changes.truncate(changes);
            for (key, before) in journal.into_iter().rev() {
                match before {
                    Some(value) => drop(self.staged.insert(key, value)),
                    None => drop(self.staged.remove(&key)),
                }
            }
        }
        answer
    }

    /// Puts a value, in chunks if it is long. `owner` numbers the chunks and is given to nothing else.
    pub(super) fn place(&mut self, key: impl Into<IVec>, cell: Cell, owner: Seq) {
        match cell {
            Cell::Inline(value) => self.put(key, value),
            Cell::Spilled { len, chunks } => {
                for (n, chunk) in chunks.into_iter().enumerate() {
                    self.put(&keys::chunk(owner.0, n)[..], chunk);
                }
                self.put(key, codec::pointer(owner.0, len));
            }
        }
    }

    /// Removes a value that was read from this row, with its chunks.
    pub(super) fn displace(&mut self, key: impl Into<IVec>, value: &[u8]) {
        self.drop_chunks(value);
        self.delete(key);
    }

    pub(super) fn drop_chunks(&mut self, value: &[u8]) {
        if let Some((owner, count)) = codec::chunks_of(value) {
            for n in 0..count {
                self.delete(&keys::chunk(owner, n)[..]);
            }
        }
    }

    /// Refuses a key that is taken, and keeps a free one.
    pub(super) fn keep_key(
        &mut self,
        new: NewKey,
        now: Timestamp,
    ) -> Result<Result<(), Box<IdempotencyRecord>>, StoreError> {
        if let Some(value) = self.get(&new.row)? {
            let kept: IdempotencyRecord = codec::open(self, &value)?;
            if kept.expires_at > now {
                return Ok(Err(Box::new(kept)));
            }
            self.drop_chunks(&value);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&new.row[1..]);
        self.expire(new.expires_at, Expiring::Idempotency(hash));
        let owner = self.next_seq();
        self.place(&new.row[..], new.cell, owner);
        Ok(Ok(()))
    }

    pub(super) fn expire(&mut self, at: Timestamp, what: Expiring) {
        self.expire_in(keys::hour(at), what);
    }

    pub(super) fn expire_in(&mut self, hour: u32, what: Expiring) {
        self.expiring.entry(hour).or_default().push(what);
    }

    /// Accepts one message, or says why not.
    pub(super) fn accept(
        &mut self,
        new: NewRow,
        now: Timestamp,
    ) -> Result<Result<Message, AcceptRefusal>, StoreError> {
        let NewRow {
            mut message,
            value,
            chunks,
            key,
            ..
        } = new;
        let event_key = message
            .event_id
            .as_ref()
            .map(|event_id| keys::event_id(message.app, event_id.as_str()));
        if let Some(taken) = self.taken_by_event_id(event_key.as_deref(), key.as_ref(), now)? {
            return Ok(Err(taken));
        }
        if let Some(key) = key
            && let Err(taken) = self.keep_key(key, now)?
        {
            return Ok(Err(AcceptRefusal::IdempotencyKeyTaken(taken)));
        }
        let seq = self.next_seq();
        message.seq = seq;
        let number = seq.0.to_be_bytes();
        if let Some(event_key) = event_key {
            let mut entry = [0; 28];
            entry[..8].copy_from_slice(&number);
            entry[8..].copy_from_slice(message.id.as_bytes());
            self.put(event_key, &entry[..]);
        }
        for (n, chunk) in chunks.into_iter().enumerate() {
            self.put(&keys::chunk(seq.0, n)[..], chunk);
        }
        self.put(&keys::message(seq)[..], value);
        self.list(&keys::messages_of(message.app), Entry::of(seq));
        self.list(&keys::messages_made_with(message.id), Entry::of(seq));
        self.list(keys::OUTBOX_LIST, Entry::of(seq));
        self.expire(message.expires_at, Expiring::Message(seq));
        Ok(Ok(message))
    }

    /// Whether the application has a message with this event id. The twin of the very request, by its
    /// idempotency key, is left to be answered as such.
    fn taken_by_event_id(
        &self,
        event_key: Option<&[u8]>,
        key: Option<&NewKey>,
        now: Timestamp,
    ) -> Result<Option<AcceptRefusal>, StoreError> {
        let Some(entry) = event_key
            .map(|event_key| self.get(event_key))
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        if let Some(value) = key.map(|key| self.get(&key.row)).transpose()?.flatten() {
            let kept: IdempotencyRecord = codec::open(self, &value)?;
            if kept.expires_at > now {
                return Ok(Some(AcceptRefusal::IdempotencyKeyTaken(Box::new(kept))));
            }
        }
        let id = entry.get(8..28).and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| damaged("an event id row is cut short"))?;
        Ok(Some(AcceptRefusal::EventIdTaken {
            existing: MessageId::from_bytes(id),
        }))
    }

    /// Records what happened to one delivery.
    pub(super) fn record(&mut self, outcome: NewOutcome) -> Result<(), StoreError> {
        if let Some(seq) = outcome.outbox_done {
            self.unlist(keys::OUTBOX_LIST, seq)?;
        }
        let row = outcome.row.as_ref().map(|row| row.key);
        let Some(at) = row.or(outcome.attempt.as_ref().map(|(key, ..)| *key)) else {
            return Ok(());
        };
        // Deleted meanwhile: a row written now would belong to nothing.
        if self.get(&keys::message(at.message))?.is_none() {
            return Ok(());
        }
        if let Some(row) = outcome.row {
            self.put_row(row, outcome.shaped, outcome.told)?;
        }
        if let Some((DeliveryKey { endpoint, message }, id, cell)) = outcome.attempt
            && !self.is_recorded(message, id)?
        {
            let seq = self.next_seq();
            self.place(&keys::attempt(message, seq)[..], cell, seq);
            self.list(&keys::attempts_at(endpoint), Entry { seq, of: message });
        }
        Ok(())
    }

    /// Whether a group that failed left the attempt behind: it is recorded again, and must not be listed twice.
    fn is_recorded(&self, message: Seq, id: AttemptId) -> Result<bool, StoreError> {
        let Some((first, last)) = self.doubtful else {
            return Ok(false);
        };
        let keys = keys::attempt(message, first)..=keys::attempt(message, last);
        for value in self.tree.range(keys).values() {
            let value = value.map_err(codec::fault)?;
            // Only its identifier is of interest.
            if codec::attempt(self, Seq(0), &value)?.id == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `told`: the attempt beside it says the same, so a delivery that has no row needs none.
    fn put_row(
        &mut self,
        row: DeliveryRow,
        shaped: Option<Cell>,
        told: bool,
    ) -> Result<(), StoreError> {
        let key = row.key;
        let lifted = self.lift_row(key)?;
        if lifted.is_none() {
            self.leave_turn(key)?;
            if told {
                return Ok(());
            }
        }
        let had_row = lifted.is_some();
        let mut has_shaped = lifted.is_some_and(|row| row.shaped);
        if shaped.is_none() && !has_shaped && turns::says_only_that(&row) {
            if had_row {
                self.delete(&keys::delivery(key)[..]);
            }
            return self.enter_turn(key);
        }
        if let DeliveryState::Parked { due, .. } = row.state {
            self.put(
                &keys::due(key.endpoint, due, key.message)[..],
                keys::NOTHING,
            );
        }
        if has_shaped && (shaped.is_some() || row.state.is_settled()) {
            self.drop_shaped(key)?;
            has_shaped = false;
        }
        if let Some(cell) = shaped {
            let owner = self.next_seq();
            self.place(&keys::shaped(key)[..], cell, owner);
            has_shaped = true;
        }
        let value = DeliveryValue {
            state: row.state,
            tries: row.tries,
            resume_due: row.resume_due,
            shaped: has_shaped,
        };
        self.put(&keys::delivery(key)[..], value.encode()?);
        Ok(())
    }

    /// Takes the delivery's present row out of the due index.
    pub(super) fn lift_row(
        &mut self,
        key: DeliveryKey,
    ) -> Result<Option<DeliveryValue>, StoreError> {
        let Some(value) = self.get(&keys::delivery(key))? else {
            return Ok(None);
        };
        let row: DeliveryValue = codec::open(self, &value)?;
        if let DeliveryState::Parked { due, .. } = row.state {
            self.delete(&keys::due(key.endpoint, due, key.message)[..]);
        }
        Ok(Some(row))
    }

    pub(super) fn drop_shaped(&mut self, key: DeliveryKey) -> Result<(), StoreError> {
        let row = keys::shaped(key);
        if let Some(value) = self.get(&row)? {
            self.displace(&row[..], &value);
        }
        Ok(())
    }

    /// Goes on behind this number, which rows that come from elsewhere have used.
    pub(super) fn go_on_behind(&mut self, highest: &[u8]) {
        let highest = keys::read_seq(highest, 0).map_or(0, |seq| seq.0);
        self.seq = self.seq.max(highest);
    }

    /// Everything that is to be written, with the rows that belong to the group as a whole.
    pub(super) fn finish(mut self) -> Result<StagedGroup, StoreError> {
        self.write_runs()?;
        self.write_turns();
        for (hour, list) in std::mem::take(&mut self.expiring) {
            for part in list.chunks(EXPIRY_LIST) {
                let row = keys::expiry(hour, self.next_seq());
                self.put(&row[..], codec::row(part)?);
            }
        }
        if self.staged.is_empty() {
            // Numbers of what was refused: the marker would say that they were on disk.
            self.seq = self.first_seq;
        } else {
            if self.seq == self.first_seq {
                // Every group moves the highest number, so that the marker tells when the last one is lost.
                self.next_seq();
            }
            let number = self.seq.to_be_bytes();
            self.put(keys::META_SEQ, &number[..]);
            self.count()?;
            self.put(keys::META_TALLY, self.tally.encode()?);
        }
        Ok(StagedGroup {
            rows: self.staged.into_iter().collect(),
            seq: self.seq,
            tally: self.tally,
        })
    }

    /// Brings the tally up to date. Costs a look at the present row wherever there may be one: in plain lives once a
    /// group for each list, at pages that were read or written a moment ago.
    fn count(&mut self) -> Result<(), StoreError> {
        // After a fault it is not known which numbers are in use.
        let careful = self.repeats || self.doubtful.is_some();
        for (key, value) in &self.staged {
            if careful || value.is_none() || !tally::is_always_new(key) {
                let before = self.tree.get(key).map_err(codec::fault)?;
                if let Some(before) = before {
                    self.tally.take_out(key, &before);
                }
            }
            if let Some(value) = value {
                self.tally.add(key, value);
            }
        }
        Ok(())
    }
}
