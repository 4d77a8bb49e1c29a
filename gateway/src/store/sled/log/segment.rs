//! The segments of sled's log: where each lies in the file, and what its header says.
//!
//! The file is a row of segments of one size. One that holds nothing of worth any more is written anew, so it is not
//! their places but their numbers that say which comes first. The log's own numbers count its bytes, as if no segment
//! were ever used again; a segment's number is that of its first byte over the size of a segment.
//!
//! | bytes of a header | hold |
//! |---|---|
//! | 4 | CRC-32 of the others, all bits turned |
//! | 8 | number of the segment's first byte, so turned round that zeros are none |
//! | 8 | number up to which all was on disk when the segment was begun, turned round as well |
//!
//! Source: sled 0.34.7, `pagecache/logger.rs` (`SegmentHeader`), `constants.rs`, `snapshot.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::message::Message;
use crate::store::StoreError;
use crate::store::sled::keys::SEGMENT_BYTES;
use crate::store::sled::marker::failed;

/// Bytes of a header.
const HEAD: usize = 20;
/// No message begins behind this byte: it would have no room for the longest head of one, 32 bytes.
const LAST_START: usize = SEGMENT_BYTES - 32;

/// Where a segment lies in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    /// Whether its header could be read.
    has_head: bool,
}

/// The segments of a log.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    file: &'a File,
    /// By number.
    places: BTreeMap<u64, Place>,
    /// The first one that was not known to be on disk as a whole.
    pub(super) tail: u64,
}

impl<'a> Segments<'a> {
    /// Finds those of `file`, which lies in the directory `db`.
    pub(super) fn find(file: &'a File, db: &Path) -> Result<Self, StoreError> {
        let len = file.metadata().map_err(failed)?.len();
        let mut places = BTreeMap::new();
        let mut on_disk = last_snapshot(db)?;
        for offset in (0..len).step_by(SEGMENT_BYTES) {
            let bytes = read(file, offset)?;
            let head = Head::read(&bytes);
            // With a damaged header its messages still know the number.
            let first = || Message::read(&bytes, HEAD, None).map(|first| first.segment);
            if let Some(number) = head.as_ref().map(|head| head.number).or_else(first) {
                let has_head = head.is_some();
                places.insert(number, Place { offset, has_head });
            }
            on_disk = on_disk.max(head.map_or(0, |head| head.on_disk));
        }
        Ok(Self {
            file,
            places,
            tail: on_disk / SEGMENT_BYTES as u64,
        })
    }

    /// One after the other, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<Segment, StoreError>> {
        self.places.iter().map(|(number, place)| {
            Ok(Segment {
                number: *number,
                offset: place.offset,
                has_head: place.has_head,
                bytes: read(self.file, place.offset)?,
            })
        })
    }
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// In the file.
    pub(super) offset: u64,
    pub(super) has_head: bool,
    /// The last one of the file may be shorter than the others.
    bytes: Vec<u8>,
}

impl Segment {
    /// Where messages may begin.
    pub(super) const STARTS: std::ops::RangeInclusive<usize> = HEAD..=LAST_START;

    /// The whole message that begins at this byte of it, if there is one.
    pub(super) fn message(&self, at: usize) -> Option<Message<'_>> {
        Message::read(&self.bytes, at, Some(self.number))
    }

    /// Number of one of its bytes in the log.
    pub(super) fn number_of(&self, at: usize) -> u64 {
        self.number * SEGMENT_BYTES as u64 + at as u64
    }
}

struct Head {
    number: u64,
    on_disk: u64,
}

impl Head {
    fn read(segment: &[u8]) -> Option<Self> {
        let (sum, rest) = segment.get(..HEAD)?.split_first_chunk()?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*sum) ^ u32::MAX {
            return None;
        }
        let (first, on_disk) = rest.split_first_chunk()?;
        let turn = |bytes: [u8; 8]| i64::from_le_bytes(bytes) ^ i64::MAX;
        Some(Self {
            number: u64::try_from(turn(*first)).ok()? / SEGMENT_BYTES as u64,
            // -1 as long as nothing was.
            on_disk: u64::try_from(turn(on_disk.try_into().ok()?)).unwrap_or(0),
        })
    }
}

/// The number up to which the last snapshot goes, as its name says (`snap.` and sixteen digits): all of that was on
/// disk. Segments before it may be gone, since what they held counted no more. 0 if there is none.
fn last_snapshot(db: &Path) -> Result<u64, StoreError> {
    let mut last = 0;
    for entry in fs::read_dir(db).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("snap."));
        // One that was being written has more to its name.
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

fn read(file: &File, offset: u64) -> Result<Vec<u8>, StoreError> {
    let mut segment = vec![0; SEGMENT_BYTES];
    let mut filled = 0;
    while filled < segment.len() {
        match file.read_at(&mut segment[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    segment.truncate(filled);
    Ok(segment)
}
