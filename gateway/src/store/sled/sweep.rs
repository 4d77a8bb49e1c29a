//! Deletes what has expired or whose owner is gone. Runs in groups of its own on the writer, a bounded number
//! of rows at a time, so that nothing changes between the look at a message and its removal.

use sled::IVec;

use super::codec::{self, DeliveryValue, Expiring, Rows, damaged, fault};
use super::group::Group;
use super::{keys, records, runs, turns};
use crate::domain::{
    ApplicationId, DeliveryKey, DeliveryState, EndpointId, Message, Seq, Timestamp,
};
use crate::store::{Kind, StoreError};

/// Rows of one step. Chosen: some 20 us each, so a step holds the writer for little more than its sync.
pub(super) const STEP: usize = 64;
/// Entries looked at in one step, most of which may be held up by their deliveries.
const LOOKS: usize = 4 * STEP;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) deleted: usize,
    /// Whether another step would find something.
    pub(super) more: bool,
}

impl Group<'_> {
    /// Deletes about `limit` rows: first what removed owners left, then what has expired.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> Result<Swept, StoreError> {
        let mut deleted = 0;
        for tombstone in self.tree.scan_prefix([keys::TOMBSTONE]) {
            let (key, _) = tombstone.map_err(fault)?;
            let (kind, id) = match &key[..] {
                [_, kind, id @ ..] => (records::kind_of(*kind), records::id_of(id)?),
                _ => (None, ""),
            };
            let kind = kind.ok_or_else(|| damaged("a tombstone of an unknown kind"))?;
            let swept = self.sweep_owner(kind, id, limit - deleted)?;
            if swept == 0 {
                self.delete(key);
            }
            deleted += swept;
            if deleted >= limit {
                return Ok(Swept {
                    deleted,
                    more: true,
                });
            }
        }
        // Children of what was deleted may have left tombstones of their own.
        let owners = deleted > 0;
        let expired = self.sweep_expired(now, limit - deleted)?;
        Ok(Swept {
            deleted: deleted + expired.deleted,
            more: owners || expired.more,
        })
    }

    fn sweep_owner(&mut self, kind: Kind, id: &str, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0;
        if let (Kind::Application, Ok(app)) = (kind, id.parse::<ApplicationId>()) {
            let list = keys::messages_of(app);
            let numbers = Seq(0)..=Seq(u64::MAX);
            let entries = runs::entries(self.tree, &list, numbers, true)?.take(limit);
            for entry in entries.collect::<Result<Vec<_>, _>>()? {
                deleted += self.drop_message(entry.seq)?;
                // In case it was an entry without a message.
                self.unlist(&list, entry.seq)?;
                deleted = deleted.max(1);
                if deleted >= limit {
                    return Ok(deleted);
                }
            }
        }
        if let (Kind::Endpoint, Ok(endpoint)) = (kind, id.parse::<EndpointId>()) {
            deleted += self.drop_lane(endpoint, limit)?;
            for kind in Kind::OF_ENDPOINT {
                deleted += usize::from(self.remove(kind, id)?.is_some());
            }
        }
        for (child, parent) in kind.children_of(id) {
            let left = limit.saturating_sub(deleted);
            let rows = self
                .tree
                .scan_prefix(keys::records_of(child, &parent))
                .take(left);
            for row in rows.collect::<Result<Vec<_>, _>>().map_err(fault)? {
                let removed = self.remove(child, records::id_of(&row.1)?)?;
                deleted += usize::from(removed.is_some());
            }
        }
        Ok(deleted)
    }

    fn keys_under(&self, prefix: &[u8], limit: usize) -> Result<Vec<IVec>, StoreError> {
        let keys = self.tree.scan_prefix(prefix).keys().take(limit);
        keys.collect::<Result<_, _>>().map_err(fault)
    }

    /// Parked deliveries and the list of attempts of an endpoint.
    fn drop_lane(&mut self, endpoint: EndpointId, limit: usize) -> Result<usize, StoreError> {
        let parked = self.keys_under(&keys::lane(endpoint), limit)?;
        for key in &parked {
            let (endpoint, _, message) =
                keys::read_due(key).ok_or_else(|| damaged("a due row is cut short"))?;
            let at = DeliveryKey { endpoint, message };
            if self.lift_row(at)?.is_some_and(|row| row.shaped) {
                self.drop_shaped(at)?;
            }
            self.delete(&keys::delivery(at)[..]);
            self.delete(key);
        }
        let mut deleted = parked.len();
        let in_turn = turns::of_lane(self.tree, endpoint, Seq(0))?;
        for row in in_turn
            .take(limit - deleted)
            .collect::<Result<Vec<_>, _>>()?
        {
            self.leave_turn(row.key)?;
            deleted += 1;
        }
        let attempts = self.keys_under(&keys::attempts_at(endpoint), limit - deleted)?;
        deleted += attempts.len();
        attempts.into_iter().for_each(|run| self.drop_run(run));
        Ok(deleted)
    }

    fn sweep_expired(&mut self, now: Timestamp, limit: usize) -> Result<Swept, StoreError> {
        let end = keys::expiry(keys::hour(now), Seq(0));
        let start = keys::expiry(0, Seq(0));
        let (mut deleted, mut looks) = (0, 0);
        for row in self.tree.range(start..end) {
            if deleted >= limit || looks >= LOOKS {
                return Ok(Swept {
                    deleted,
                    more: true,
                });
            }
            let (key, value) = row.map_err(fault)?;
            let list: Vec<Expiring> = codec::open(self, &value)?;
            let mut left = list.into_iter();
            while deleted < limit
                && let Some(what) = left.next()
            {
                looks += 1;
                deleted += self.sweep_one(what, now)?;
            }
            match left.as_slice() {
                [] => self.delete(key),
                left => self.put(key, codec::row(left)?),
            }
        }
        Ok(Swept {
            deleted,
            more: false,
        })
    }

    fn sweep_one(&mut self, what: Expiring, now: Timestamp) -> Result<usize, StoreError> {
        match what {
            Expiring::Message(seq) if self.is_under_way(seq)? => {
                // Looked at again when this hour has passed.
                self.expire_in(keys::hour(now), Expiring::Message(seq));
                Ok(0)
            }
            Expiring::Message(seq) => self.drop_message(seq),
            Expiring::Idempotency(hash) => {
                let mut key = [keys::IDEMPOTENCY; 33];
                key[1..].copy_from_slice(&hash);
                let Some(value) = self.get(&key)? else {
                    return Ok(0);
                };
                // The key may have been used again since.
                let kept: crate::store::IdempotencyRecord = codec::open(self, &value)?;
                if kept.expires_at > now {
                    return Ok(0);
                }
                self.displace(&key[..], &value);
                Ok(1)
            }
        }
    }

    /// Whether a delivery of this message may still come: one parked for an endpoint that is gone will not.
    fn is_under_way(&mut self, seq: Seq) -> Result<bool, StoreError> {
        if self.is_listed(keys::OUTBOX_LIST, seq)? {
            return Ok(true);
        }
        let mut waiting = self.turns_of(seq)?;
        let rows = self.rows_of(seq)?.into_iter();
        waiting.extend(
            rows.filter(|(_, row)| !row.state.is_settled())
                .map(|(at, _)| at),
        );
        for at in waiting {
            let endpoint = keys::record(Kind::Endpoint, &at.endpoint.to_string());
            if self.get(&endpoint)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rows_of(&self, seq: Seq) -> Result<Vec<(DeliveryKey, DeliveryValue)>, StoreError> {
        let rows = self.tree.scan_prefix(keys::deliveries_of(seq)).map(|row| {
            let (key, value) = row.map_err(fault)?;
            let at = keys::read_delivery(&key).ok_or_else(|| damaged("a delivery row"))?;
            Ok((at, codec::open(self, &value)?))
        });
        rows.collect()
    }

    fn drop_message(&mut self, seq: Seq) -> Result<usize, StoreError> {
        let key = keys::message(seq);
        let Some(value) = self.get(&key)? else {
            return Ok(0);
        };
        let message = codec::message(self, seq, &value)?;
        for n in 0..codec::message_chunks(&message, &value) {
            self.delete(&keys::chunk(seq.0, n)[..]);
        }
        self.drop_names(&message)?;
        self.delete(&key[..]);
        let (rows, turns) = (self.rows_of(seq)?, self.turns_of(seq)?);
        let mut deleted = 1 + rows.len() + turns.len();
        for at in turns {
            self.leave_turn(at)?;
        }
        for (at, row) in rows {
            if let DeliveryState::Parked { due, .. } = row.state {
                self.delete(&keys::due(at.endpoint, due, seq)[..]);
            }
            if row.shaped {
                self.drop_shaped(at)?;
            }
            self.delete(&keys::delivery(at)[..]);
        }
        for row in self.tree.scan_prefix(keys::attempts_of(seq)) {
            let (key, value) = row.map_err(fault)?;
            let number = keys::read_seq(&key, 9).ok_or_else(|| damaged("an attempt row"))?;
            let attempt = codec::attempt(self, number, &value)?;
            self.unlist(&keys::attempts_at(attempt.delivery.endpoint), number)?;
            self.displace(key, &value);
            deleted += 1;
        }
        Ok(deleted)
    }

    fn drop_names(&mut self, message: &Message) -> Result<(), StoreError> {
        self.unlist(&keys::messages_of(message.app), message.seq)?;
        self.unlist(&keys::messages_made_with(message.id), message.seq)?;
        self.unlist(keys::OUTBOX_LIST, message.seq)?;
        if let Some(event_id) = &message.event_id {
            self.delete(keys::event_id(message.app, event_id.as_str()));
        }
        Ok(())
    }
}
