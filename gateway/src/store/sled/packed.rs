//! A set of keys of one kind and length, many to a row, since a row costs its microseconds whatever its length and
//! its place in memory whatever it holds.
//!
//! A row's key is the first key that it had when it was made, its value all that it has now, in order. It has the
//! keys from there up to the next row's, so the row of any key is found by one look. Rows are cut when they grow too
//! long and go when they are empty; none ever gives keys to one before it. A reader that sees half of a group may
//! therefore meet a key twice, at the end of a row and again in the one that was cut from it, and never miss one.

use std::collections::BTreeMap;

use sled::{IVec, Tree};

use super::codec::{damaged, fault};
use super::keys::INLINE_BYTES;
use crate::store::StoreError;

/// A key with its kind byte.
pub(super) type Key<const N: usize> = [u8; N];

/// Most keys of a row. Chosen: at 30 bytes each far below [`INLINE_BYTES`], and a row is written whole for one
/// key more.
const LONGEST: usize = 64;

/// Version of the encoding.
const VERSION: u8 = 1;

/// What a group changes about a set.
#[derive(Debug)]
pub(super) struct Packed<const N: usize> {
    rows: BTreeMap<Key<N>, Row<N>>,
}

#[derive(Debug)]
struct Row<const N: usize> {
    keys: Vec<Key<N>>,
    /// Where the next one begins.
    until: Option<Key<N>>,
    changed: bool,
}

impl<const N: usize> Default for Packed<N> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
        }
    }
}

impl<const N: usize> Packed<N> {
    /// Whether the group has looked at none of its rows.
    pub(super) fn is_untouched(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a key into the set, where it may be already.
    pub(super) fn insert(&mut self, tree: &Tree, key: Key<N>) -> Result<(), StoreError> {
        let Some(row) = self.row_of(tree, &key)? else {
            let row = Row {
                keys: vec![key],
                until: row_behind(tree, &key)?,
                changed: true,
            };
            self.rows.insert(key, row);
            return Ok(());
        };
        let Err(place) = row.keys.binary_search(&key) else {
            return Ok(());
        };
        row.keys.insert(place, key);
        row.changed = true;
        if row.keys.len() > LONGEST {
            // One that grows at its end stays full.
            let at = if place == LONGEST { place } else { LONGEST / 2 };
            let keys = row.keys.split_off(at);
            let first = keys[0];
            let behind = Row {
                keys,
                until: row.until.replace(first),
                changed: true,
            };
            self.rows.insert(first, behind);
        }
        Ok(())
    }

    /// Takes a key out; whether it was there.
    pub(super) fn remove(&mut self, tree: &Tree, key: &Key<N>) -> Result<bool, StoreError> {
        let Some(row) = self.row_of(tree, key)? else {
            return Ok(false);
        };
        let Ok(place) = row.keys.binary_search(key) else {
            return Ok(false);
        };
        row.keys.remove(place);
        row.changed = true;
        Ok(true)
    }

    /// The row that has this key if the set has it.
    fn row_of(&mut self, tree: &Tree, key: &Key<N>) -> Result<Option<&mut Row<N>>, StoreError> {
        let known = self.rows.range(..=*key).next_back();
        let known = known.filter(|(_, row)| row.until.is_none_or(|until| *key < until));
        let at = match known {
            Some((at, _)) => *at,
            None => match row_at(tree, key)? {
                Some((at, value)) => {
                    let row = Row {
                        keys: decode(&at, &value)?,
                        until: row_behind(tree, &at)?,
                        changed: false,
                    };
                    self.rows.insert(at, row);
                    at
                }
                None => return Ok(None),
            },
        };
        Ok(self.rows.get_mut(&at))
    }

    /// The rows to be written: a value, or none where the row goes.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (Key<N>, Option<IVec>)> {
        let changed = self.rows.into_iter().filter(|(_, row)| row.changed);
        changed.map(|(at, row)| {
            let value = (!row.keys.is_empty()).then(|| encode(&at, &row.keys));
            (at, value)
        })
    }
}

/// Whether the set has this key.
pub(super) fn holds<const N: usize>(tree: &Tree, key: &Key<N>) -> Result<bool, StoreError> {
    let Some((at, value)) = row_at(tree, key)? else {
        return Ok(false);
    };
    Ok(decode(&at, &value)?.binary_search(key).is_ok())
}

/// The keys from this one on that begin with `prefix`, in order.
pub(super) fn keys_from<const N: usize>(
    tree: &Tree,
    prefix: &[u8],
    from: Key<N>,
) -> Result<impl Iterator<Item = Result<Key<N>, StoreError>> + use<N>, StoreError> {
    let first = row_at(tree, &from)?.map_or(from, |(at, _)| at);
    let end = [prefix, &[0xff; N][prefix.len()..]].concat();
    let rows = tree.range(first.to_vec()..=end);
    let prefix = prefix.to_vec();
    let mut last = None;
    let runs = rows.map(|row| {
        let (at, value) = row.map_err(fault)?;
        decode_row(&at, &value)
    });
    let keys = runs.flat_map(|run| match run {
        Ok(run) => run.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Ok(keys.filter(move |key| {
        let Ok(key) = key else { return true };
        // Seen already, in the row that its own was cut from.
        let is_new = last.map_or(*key >= from, |last| *key > last);
        let fits = is_new && key.starts_with(&prefix);
        if fits {
            last = Some(*key);
        }
        fits
    }))
}

/// The rows of a whole set, whose keys are in order.
pub(super) fn rows<const N: usize>(
    keys: &[Key<N>],
) -> impl Iterator<Item = (Key<N>, IVec)> + use<'_, N> {
    let runs = keys.chunks(LONGEST);
    runs.map(|run| (run[0], encode(&run[0], run)))
}

fn key_of<const N: usize>(bytes: &[u8]) -> Result<Key<N>, StoreError> {
    let key = bytes.try_into();
    key.map_err(|_| damaged("the key of a packed row has another length"))
}

/// The last row that begins at this key or before it.
fn row_at<const N: usize>(tree: &Tree, key: &Key<N>) -> Result<Option<(Key<N>, IVec)>, StoreError> {
    let behind = [&key[..], &[0]].concat();
    let row = tree.get_lt(behind).map_err(fault)?;
    let row = row.filter(|(at, _)| at.first() == key.first());
    row.map(|(at, value)| Ok((key_of(&at)?, value))).transpose()
}

/// Where the first row behind this one begins.
fn row_behind<const N: usize>(tree: &Tree, key: &Key<N>) -> Result<Option<Key<N>>, StoreError> {
    let row = tree.get_gt(key).map_err(fault)?;
    let row = row.filter(|(at, _)| at.first() == key.first());
    row.map(|(at, _)| key_of(&at)).transpose()
}

/// Of each key, how many bytes it has in common with the one before, and the others.
fn encode<const N: usize>(at: &Key<N>, keys: &[Key<N>]) -> IVec {
    let mut value = Vec::with_capacity(INLINE_BYTES.min(1 + keys.len() * (N + 1)));
    value.push(VERSION);
    let mut before = at;
    for key in keys {
        let common = key.iter().zip(before).take_while(|(a, b)| a == b).count();
        value.push(u8::try_from(common).expect("keys are shorter than 256 bytes"));
        value.extend_from_slice(&key[common..]);
        before = key;
    }
    value.into()
}

/// The keys of a row as it is found.
pub(super) fn decode_row<const N: usize>(
    at: &[u8],
    value: &[u8],
) -> Result<Vec<Key<N>>, StoreError> {
    decode(&key_of(at)?, value)
}

fn decode<const N: usize>(at: &Key<N>, value: &[u8]) -> Result<Vec<Key<N>>, StoreError> {
    let Some((&VERSION, mut rest)) = value.split_first() else {
        return Err(damaged("a packed row has an unknown form"));
    };
    let mut keys = Vec::with_capacity(LONGEST);
    let mut key = *at;
    while let Some((&common, behind)) = rest.split_first() {
        let own = key.get_mut(usize::from(common)..);
        let own = own.filter(|own| own.len() <= behind.len());
        let own = own.ok_or_else(|| damaged("a packed row is cut short"))?;
        let (bytes, left) = behind.split_at(own.len());
        own.copy_from_slice(bytes);
        let in_order = keys.last().is_none_or(|last| *last < key) && *at <= key;
        if !in_order || at.first() != key.first() {
            return Err(damaged("the keys of a packed row are out of order"));
        }
        keys.push(key);
        rest = left;
    }
    Ok(keys)
}
