//! Reads the rows out of sled's log without sled, which gives up on a log that one byte is wrong in: for
//! looking at a store that is not open, damaged or not. Nothing is changed.
//!
//! The log is a row of segments (`segment`), each with a header and messages (`message`), every one with a checksum.
//! A message says what a whole page holds, or what one key of a page is set to. Taken in the order of their numbers
//! they give the pages (`order`), and these the rows (`pages`): a page that is written anew says everything about its
//! range of keys. A message that cannot be read is passed over, and what older ones said of its keys stays; but where
//! the log was being written when its process ended, it is over, as it is for sled.

mod message;
mod order;
mod pages;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sled::IVec;

use self::order::Replay;
use self::segment::Segments;
use super::codec::Rows;
use super::marker::{self, failed};
use super::open;
use crate::store::StoreError;

/// The rows of a log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    rows: BTreeMap<Vec<u8>, Place>,
    /// Stretches that could not be read. A segment that was about to be used again may hold one as well.
    pub(super) unreadable: usize,
}

impl Log {
    /// Reads the store of this directory.
    pub(super) fn read(dir: &Path) -> Result<Self, StoreError> {
        let db = open::database(dir);
        let file = File::open(db.join("db")).map_err(failed)?;
        let mark = match marker::read(dir) {
            // It tells nothing, then; the rows are worth reading.
            Err(StoreError::Damaged { .. }) => None,
            mark => mark?,
        };
        let segments = Segments::find(&file, &db)?;
        let Replay {
            pages, unreadable, ..
        } = Replay::of(&segments, &file, mark)?;
        Ok(Self {
            file,
            rows: pages.into_rows(),
            unreadable,
        })
    }

    /// All rows whose keys begin with this byte, in order.
    pub(super) fn of_kind(
        &self,
        kind: u8,
    ) -> impl Iterator<Item = Result<(&[u8], IVec), StoreError>> {
        let range = self.rows.range(vec![kind]..vec![kind + 1]);
        range.map(|(key, place)| Ok((&key[..], place.read(&self.file)?)))
    }

    /// Their keys.
    pub(super) fn keys_of_kind(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let range = self.rows.range(vec![kind]..vec![kind + 1]);
        range.map(|(key, _)| &key[..])
    }
}

impl Rows for Log {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let place = self.rows.get(key);
        place.map(|place| place.read(&self.file)).transpose()
    }
}

/// Where a value lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    len: usize,
}

impl Place {
    fn read(self, file: &File) -> Result<IVec, StoreError> {
        let mut value = vec![0; self.len];
        file.read_exact_at(&mut value, self.offset)
            .map_err(failed)?;
        Ok(value.into())
    }
}
