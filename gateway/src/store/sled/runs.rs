//! Lists of numbers: the messages of an application, the attempts at an endpoint, the outbox. A row holds a run of
//! them, all that one group added to the list, since a row costs its microseconds whatever its length: measured,
//! each row fewer in the plain life of a message is a tenth less work for sled.
//!
//! The key is the list's prefix and the first number that the run had when it was written; numbers only ever leave.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use sled::{IVec, Tree};

use super::codec::{self, Rows, damaged, fault};
use super::group::Group;
use super::keys;
use crate::domain::Seq;
use crate::store::StoreError;

/// Most entries of a run: at twelve bytes each they stay well below [`keys::INLINE_BYTES`].
const LONGEST: usize = 128;

/// One number of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    /// A number that goes along: the message of an attempt. Not above `seq`; the same where there is none.
    pub(super) of: Seq,
}

impl Entry {
    /// A number that stands for itself.
    pub(super) fn of(seq: Seq) -> Self {
        Self { seq, of: seq }
    }
}

/// What a group changes about lists.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// New ends, by prefix.
    added: HashMap<Vec<u8>, Vec<Entry>>,
    /// Runs of the tree that entries leave, by key.
    touched: BTreeMap<IVec, Touched>,
}

#[derive(Debug)]
struct Touched {
    left: Vec<Entry>,
    /// Its last number as it stands in the tree: what lies between is not in the list.
    last: Seq,
}

impl Group<'_> {
    /// Puts a number at the end of a list.
    pub(super) fn list(&mut self, prefix: &[u8], entry: Entry) {
        match self.runs.added.get_mut(prefix) {
            Some(run) => run.push(entry),
            None => drop(self.runs.added.insert(prefix.to_vec(), vec![entry])),
        }
    }

    /// Takes a number out of a list if it is in it.
    pub(super) fn unlist(&mut self, prefix: &[u8], seq: Seq) -> Result<(), StoreError> {
        if let Some(run) = self.runs.added.get_mut(prefix)
            && let Ok(place) = place_of(run, seq)
        {
            run.remove(place);
        }
        if let Some(Touched { left, .. }) = self.touch(prefix, seq)?
            && let Ok(place) = place_of(left, seq)
        {
            left.remove(place);
        }
        Ok(())
    }

    /// Whether a number is in a list of the tree.
    pub(super) fn is_listed(&mut self, prefix: &[u8], seq: Seq) -> Result<bool, StoreError> {
        let run = self.touch(prefix, seq)?;
        Ok(run.is_some_and(|run| place_of(&run.left, seq).is_ok()))
    }

    /// Takes a whole run out, by its key.
    pub(super) fn drop_run(&mut self, key: IVec) {
        self.runs.touched.remove(&key);
        self.delete(key);
    }

    /// The run that has this number if any has.
    fn touch(&mut self, prefix: &[u8], seq: Seq) -> Result<Option<&mut Touched>, StoreError> {
        let place = keys::numbered_in(prefix, seq);
        let known = self.runs.touched.range(..=place.clone()).next_back();
        let known = known.filter(|(key, run)| key.starts_with(prefix) && seq <= run.last);
        let key = match known {
            Some((key, _)) => key.clone(),
            None => match self.read_run(prefix, seq)? {
                Some((key, run)) => {
                    self.runs.touched.entry(key.clone()).or_insert(run);
                    key
                }
                None => return Ok(None),
            },
        };
        Ok(self.runs.touched.get_mut(&key))
    }

    fn read_run(&self, prefix: &[u8], seq: Seq) -> Result<Option<(IVec, Touched)>, StoreError> {
        let Some(key) = key_at(self.tree, prefix, seq)? else {
            return Ok(None);
        };
        let Some(value) = self.get(&key)? else {
            return Ok(None);
        };
        let left = decode(self, prefix, &key, &value)?;
        let last = left.last().map_or(Seq(0), |entry| entry.seq);
        Ok((seq <= last).then_some((key, Touched { left, last })))
    }

    /// Stages the rows of all lists.
    pub(super) fn write_runs(&mut self) -> Result<(), StoreError> {
        let Runs { added, touched } = std::mem::take(&mut self.runs);
        for (key, run) in touched {
            match encode(&run.left)? {
                Some(value) => self.put(key, value),
                None => self.delete(key),
            }
        }
        for (prefix, entries) in added {
            for (key, value) in rows(&prefix, &entries)? {
                self.put(key, value);
            }
        }
        Ok(())
    }
}

/// Where a number is in a run, or where it would be: they are in order.
fn place_of(run: &[Entry], seq: Seq) -> Result<usize, usize> {
    run.binary_search_by_key(&seq, |entry| entry.seq)
}

/// The entries of a list with these numbers, from low to high or from high to low.
pub(super) fn entries(
    tree: &Tree,
    prefix: &[u8],
    numbers: RangeInclusive<Seq>,
    upwards: bool,
) -> Result<impl Iterator<Item = Result<Entry, StoreError>> + use<>, StoreError> {
    let first = key_at(tree, prefix, *numbers.start())?;
    let first = first.unwrap_or_else(|| keys::numbered_in(prefix, *numbers.start()));
    let mut rows = tree.range(first..=keys::numbered_in(prefix, *numbers.end()));
    let next = move || {
        if upwards {
            rows.next()
        } else {
            rows.next_back()
        }
    };
    let tree = tree.clone();
    let prefix = prefix.to_vec();
    let runs = std::iter::from_fn(next).map(move |row| {
        let (key, value) = row.map_err(fault)?;
        let mut run = decode(&tree, &prefix, &key, &value)?;
        run.retain(|entry| numbers.contains(&entry.seq));
        if !upwards {
            run.reverse();
        }
        Ok(run)
    });
    Ok(runs.flat_map(|run| match run {
        Ok(run) => run.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }))
}

/// The key of the last run that begins at this number or before it.
fn key_at(tree: &Tree, prefix: &[u8], seq: Seq) -> Result<Option<IVec>, StoreError> {
    let behind = keys::numbered_in(prefix, Seq(seq.0.saturating_add(1)));
    let row = tree.get_lt(behind).map_err(fault)?;
    Ok(row
        .map(|(key, _)| key)
        .filter(|key| key.len() == prefix.len() + 8 && key.starts_with(prefix)))
}

/// The rows of a new list, or of a list's new end.
pub(super) fn rows(prefix: &[u8], entries: &[Entry]) -> Result<Vec<(IVec, IVec)>, StoreError> {
    let runs = entries.chunks(LONGEST).map(|run| {
        let key = keys::numbered_in(prefix, run[0].seq);
        Ok(encode(run)?.map(|value| (key, value)))
    });
    runs.filter_map(Result::transpose).collect()
}

/// Each number as its distance from the first one, and the other as its distance from that.
fn encode(run: &[Entry]) -> Result<Option<IVec>, StoreError> {
    let Some(first) = run.first() else {
        return Ok(None);
    };
    let distances: Vec<(u64, u64)> = run
        .iter()
        .map(|entry| (entry.seq.0 - first.seq.0, entry.seq.0 - entry.of.0))
        .collect();
    codec::row(&(first.seq, distances)).map(Some)
}

pub(super) fn decode(
    rows: &impl Rows,
    prefix: &[u8],
    key: &[u8],
    value: &[u8],
) -> Result<Vec<Entry>, StoreError> {
    if keys::read_seq(key, prefix.len()).is_none() {
        return Err(damaged("a run's key is cut short"));
    }
    let (first, distances): (Seq, Vec<(u64, u64)>) = codec::open(rows, value)?;
    let entry = |(distance, back): (u64, u64)| {
        let seq = first.0.checked_add(distance)?;
        let of = Seq(seq.checked_sub(back)?);
        Some(Entry { seq: Seq(seq), of })
    };
    let run: Option<Vec<Entry>> = distances.into_iter().map(entry).collect();
    run.ok_or_else(|| damaged("a run counts beyond its numbers"))
}
