//! What all rows of the store add up to, kept in the store itself and written with every group. sled leaves a
//! damaged stretch of its log out when it opens, without a word; then the rows do not add up any more.
//!
//! The sum is of one hash a row, so a row is added or taken out without looking at any other. Rows that are
//! written once count by their key, the others by key and value, so that a stale value shows as well.

use serde::{Deserialize, Serialize};
use sled::IVec;

use super::codec::{self, Rows, damaged};
use super::keys;
use crate::store::StoreError;

/// Rows by kind, and the sum over all of them. The rows about the database itself are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// In the order of [`keys::KINDS`].
    rows: [u64; keys::KINDS.len()],
    sum: u64,
}

/// As it is written: kinds that have no rows are left out, so a new kind does not change it.
#[derive(Serialize, Deserialize)]
struct Written {
    sum: u64,
    rows: Vec<(u8, u64)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rows: [0; keys::KINDS.len()],
            sum: 0,
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(kind) = counted(key) {
            self.rows[kind] = self.rows[kind].wrapping_add(1);
            self.sum = self.sum.wrapping_add(hash(key, value));
        }
    }

    pub(super) fn take_out(&mut self, key: &[u8], value: &[u8]) {
        if let Some(kind) = counted(key) {
            self.rows[kind] = self.rows[kind].wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(hash(key, value));
        }
    }

    /// Of these rows and others.
    pub(super) fn joined(mut self, others: Self) -> Self {
        for (rows, more) in self.rows.iter_mut().zip(others.rows) {
            *rows = rows.wrapping_add(more);
        }
        self.sum = self.sum.wrapping_add(others.sum);
        self
    }

    /// Rows by kind.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = keys::KINDS.iter().map(|(_, name)| *name);
        names.zip(self.rows)
    }

    /// Of this kind.
    pub(super) fn of(&self, kind: u8) -> u64 {
        index(kind).map_or(0, |kind| self.rows[kind])
    }

    /// What these rows differ in from those that are due; none if in nothing.
    pub(super) fn differs_from(&self, due: &Tally) -> Option<String> {
        if self == due {
            return None;
        }
        let kinds = self.kinds().zip(due.kinds());
        let differences: Vec<String> = kinds
            .filter(|((_, there), (_, due))| there != due)
            .map(|((name, there), (_, due))| format!("{there} of {due} {name}"))
            .collect();
        Some(if differences.is_empty() {
            "rows are there in an older state than they were written last".to_owned()
        } else {
            format!("not all rows are there: {}", differences.join(", "))
        })
    }

    pub(super) fn encode(&self) -> Result<IVec, StoreError> {
        let rows = keys::KINDS.iter().zip(self.rows);
        codec::row(&Written {
            sum: self.sum,
            rows: rows
                .filter(|(_, count)| *count > 0)
                .map(|((kind, _), count)| (*kind, count))
                .collect(),
        })
    }

    pub(super) fn read(rows: &impl Rows) -> Result<Option<Self>, StoreError> {
        let Some(value) = rows.get(keys::META_TALLY)? else {
            return Ok(None);
        };
        let written: Written = codec::open(rows, &value)?;
        let mut tally = Self {
            sum: written.sum,
            ..Self::default()
        };
        for (kind, count) in written.rows {
            let kind = index(kind).ok_or_else(|| damaged("rows of an unknown kind"))?;
            tally.rows[kind] = count;
        }
        Ok(Some(tally))
    }
}

fn index(kind: u8) -> Option<usize> {
    keys::KINDS.iter().position(|(known, _)| *known == kind)
}

fn counted(key: &[u8]) -> Option<usize> {
    index(*key.first()?)
}

/// Whether a key of this kind holds a number that is given once, so that it is never there when it is put.
pub(super) fn is_always_new(key: &[u8]) -> bool {
    matches!(
        key.first(),
        Some(&keys::MESSAGE | &keys::CHUNK | &keys::ATTEMPT | &keys::RECORD_LIST | &keys::EXPIRY)
    )
}

/// Whether a key of this kind may get another value.
fn changes(kind: u8) -> bool {
    matches!(
        kind,
        keys::MESSAGE_LIST
            | keys::MESSAGE_ID
            | keys::EVENT_ID
            | keys::OUTBOX
            | keys::ATTEMPT_AT
            | keys::DELIVERY
            | keys::SHAPED
            | keys::TURN
            | keys::TURN_OF
            | keys::RECORD
            | keys::RECORD_UID
            | keys::IDEMPOTENCY
    )
}

/// FNV-1a of 64 bits over key and, where it may change, value; then the last step of SplitMix64, since sums
/// of FNV alone keep much of the keys' order. Against accidents, not against forgers.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let value = if key.first().is_some_and(|kind| changes(*kind)) {
        value
    } else {
        &[]
    };
    let fnv = key.iter().chain(value).fold(
        0xcbf2_9ce4_8422_2325_u64.wrapping_add(key.len() as u64),
        |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3),
    );
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up_in_any_order_and_go_again() {
        let message = keys::message(crate::domain::Seq(7));
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.add(&message, b"a");
        one.add(&[keys::RECORD, 1], b"old");
        other.add(&[keys::RECORD, 1], b"new");
        other.add(&message, b"b");
        let stale = one.differs_from(&other).unwrap();
        assert!(stale.contains("older"), "{stale}");
        one.take_out(&[keys::RECORD, 1], b"old");
        let missing = one.differs_from(&other).unwrap();
        assert!(missing.contains("0 of 1 records"), "{missing}");
        one.add(&[keys::RECORD, 1], b"new");
        assert_eq!(one.differs_from(&other), None);
        one.add(keys::META_SEQ, b"not counted");
        assert_eq!(one, other);
    }
}
