//! Reads the rows out of sled's log without sled, which gives up on a log that one byte is wrong in: for
//! looking at a store that is not open, damaged or not. Nothing is changed.
//!
//! The log is a row of segments, each with a header and messages, every one with a checksum (sled 0.34.7,
//! `pagecache`). A message says what a whole page holds, or what one key of a page is set to. Taken in the
//! order of their numbers they give the rows: a page that is written anew says everything about its range of
//! keys. A message that cannot be read is passed over, and what older ones said of its keys stays.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sled::IVec;

use super::codec::Rows;
use super::keys::SEGMENT_BYTES;
use super::marker::failed;
use crate::store::StoreError;

/// Bytes of a segment's header: checksum, number of its first byte, highest number known to be on disk.
const SEGMENT_HEAD: usize = 20;
/// No message begins in the last bytes of a segment.
const LONGEST_HEAD: usize = 32;
/// Kinds of messages.
const CAP: u8 = 2;
const BATCH: u8 = 3;
const NODE: u8 = 8;
const LINK: u8 = 10;
const LAST_KIND: u8 = 11;
/// Pages before this one are sled's own.
const FIRST_PAGE: u64 = 2;

/// Where a value lies in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
}

/// The rows of a log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    rows: BTreeMap<Vec<u8>, Place>,
    /// Stretches that could not be read. A segment that was about to be used again may hold one as well.
    pub(super) unreadable: usize,
}

impl Log {
    /// Reads `db`, sled's directory.
    pub(super) fn read(db: &Path) -> Result<Self, StoreError> {
        let file = File::open(db.join("db")).map_err(failed)?;
        let mut replay = Replay::default();
        for (number, offset) in segments(&file)? {
            replay.segment(&read_segment(&file, offset)?, number, offset);
        }
        Ok(Self {
            file,
            rows: replay.rows,
            unreadable: replay.unreadable,
        })
    }

    /// All rows whose keys begin with this byte, in order.
    pub(super) fn of_kind(
        &self,
        kind: u8,
    ) -> impl Iterator<Item = Result<(&[u8], IVec), StoreError>> {
        let range = self.rows.range(vec![kind]..vec![kind + 1]);
        range.map(|(key, place)| Ok((&key[..], self.value(*place)?)))
    }

    /// Their keys.
    pub(super) fn keys_of_kind(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let range = self.rows.range(vec![kind]..vec![kind + 1]);
        range.map(|(key, _)| &key[..])
    }

    fn value(&self, place: Place) -> Result<IVec, StoreError> {
        let mut value = vec![0; place.len];
        self.file
            .read_exact_at(&mut value, place.offset)
            .map_err(failed)?;
        Ok(value.into())
    }
}

impl Rows for Log {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.rows
            .get(key)
            .map(|place| self.value(*place))
            .transpose()
    }
}

/// The segments by number, with their places.
fn segments(file: &File) -> Result<BTreeMap<u64, u64>, StoreError> {
    let len = file.metadata().map_err(failed)?.len();
    let mut segments = BTreeMap::new();
    for offset in (0..len).step_by(SEGMENT_BYTES) {
        let segment = read_segment(file, offset)?;
        // With a damaged header its messages still know the number.
        let first = || Message::read(&segment, SEGMENT_HEAD, None).map(|first| first.segment);
        if let Some(number) = number_in_head(&segment).or_else(first) {
            segments.insert(number, offset);
        }
    }
    Ok(segments)
}

fn read_segment(file: &File, offset: u64) -> Result<Vec<u8>, StoreError> {
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

fn number_in_head(segment: &[u8]) -> Option<u64> {
    let head = segment.get(..SEGMENT_HEAD)?;
    let sum = u32::from_le_bytes(head[..4].try_into().ok()?) ^ u32::MAX;
    if crc32fast::hash(&head[4..]) != sum {
        return None;
    }
    // Turned round, so that a zeroed header is none.
    let lsn = u64::from_le_bytes(head[4..12].try_into().ok()?) ^ (u64::MAX >> 1);
    Some(lsn / SEGMENT_BYTES as u64)
}

/// One message of the log.
struct Message<'a> {
    kind: u8,
    segment: u64,
    page: u64,
    /// In its segment.
    body_at: usize,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The whole message at this place, if there is one, of this segment.
    fn read(segment: &'a [u8], at: usize, number: Option<u64>) -> Option<Self> {
        let mut head = Bytes::new(segment.get(at..)?);
        let sum = u32::from_le_bytes(head.take(4)?.try_into().ok()?) ^ u32::MAX;
        let kind = head.take(1)?[0];
        let len = usize::try_from(head.number()?).ok()?;
        let of = head.number()?;
        let page = head.number()?;
        // Before the checksum, which is dear when it is tried at every byte.
        if !(1..=LAST_KIND).contains(&kind) || number.is_some_and(|number| number != of) {
            return None;
        }
        let body_at = at + head.at;
        let body = segment.get(body_at..body_at.checked_add(len)?)?;
        let mut hash = crc32fast::Hasher::new();
        hash.update(body);
        hash.update(&segment[at + 4..body_at]);
        (hash.finalize() == sum).then_some(Self {
            kind,
            segment: of,
            page,
            body_at,
            body,
        })
    }

    fn end(&self) -> usize {
        self.body_at + self.body.len()
    }
}

/// What a message does to the rows.
enum Step {
    /// A page was written anew: these are all rows from `lo` to `hi`.
    Page {
        page: u64,
        lo: Vec<u8>,
        hi: Vec<u8>,
        prefix: usize,
        rows: Vec<(Vec<u8>, Place)>,
    },
    Set(u64, Vec<u8>, Place),
    Delete(u64, Vec<u8>),
}

/// Keys of a page without what they have in common, and the range they lie in.
struct Range {
    lo: Vec<u8>,
    hi: Vec<u8>,
    prefix: usize,
}

#[derive(Default)]
struct Replay {
    rows: BTreeMap<Vec<u8>, Place>,
    pages: HashMap<u64, Range>,
    /// Of a batch that is not complete yet, and the number it is complete with.
    held: Vec<Step>,
    until: Option<u64>,
    /// Something of this batch could not be read.
    gap: bool,
    unreadable: usize,
}

impl Replay {
    fn segment(&mut self, segment: &[u8], number: u64, offset: u64) {
        // The last segment ends with its last message, which may be shorter than a head can be.
        let end = segment.len().min(SEGMENT_BYTES - LONGEST_HEAD + 1);
        let mut at = SEGMENT_HEAD;
        while at < end {
            let Some(message) = Message::read(segment, at, Some(number)) else {
                // Where the next one is that can be read. None: nothing more was written here, or nothing
                // more of it is left.
                let rest = at + 1..end;
                let next = rest
                    .into_iter()
                    .find(|at| Message::read(segment, *at, Some(number)).is_some());
                let Some(next) = next else { return };
                self.unreadable += 1;
                self.gap = self.until.is_some();
                at = next;
                continue;
            };
            if message.kind == CAP {
                return;
            }
            at = message.end();
            let last_byte = number * SEGMENT_BYTES as u64 + at as u64 - 1;
            self.message(&message, offset, last_byte);
        }
    }

    fn message(&mut self, message: &Message<'_>, offset: u64, last_byte: u64) {
        if self.until.is_some_and(|until| last_byte > until) {
            self.apply_held();
        }
        if message.kind == BATCH {
            let until = message.body.try_into().map(u64::from_le_bytes);
            self.until = until.ok();
            return;
        }
        if message.page >= FIRST_PAGE
            && let Some(step) = read_step(message, offset + message.body_at as u64)
        {
            self.held.push(step);
        }
        // A batch counts whole or not at all. One with a gap was damaged later if something comes after it, and
        // was never completed if nothing does.
        if self
            .until
            .is_none_or(|until| last_byte >= until && !self.gap)
        {
            self.apply_held();
        }
    }

    fn apply_held(&mut self) {
        self.until = None;
        self.gap = false;
        for step in std::mem::take(&mut self.held) {
            self.apply(step);
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Page {
                page,
                lo,
                hi,
                prefix,
                rows,
            } => {
                let end = match &hi[..] {
                    [] => Bound::Unbounded,
                    hi => Bound::Excluded(hi),
                };
                if hi.is_empty() || lo < hi {
                    let range = self.rows.range::<[u8], _>((Bound::Included(&lo[..]), end));
                    let before: Vec<_> = range.map(|(key, _)| key.clone()).collect();
                    for key in before {
                        self.rows.remove(&key);
                    }
                }
                self.rows.extend(rows);
                self.pages.insert(page, Range { lo, hi, prefix });
            }
            Step::Set(page, key, place) => {
                if let Some(key) = self.whole_key(page, &key) {
                    self.rows.insert(key, place);
                }
            }
            Step::Delete(page, key) => {
                if let Some(key) = self.whole_key(page, &key) {
                    self.rows.remove(&key);
                }
            }
        }
    }

    /// None if it cannot be a key of this page, or the page is not known: then its last writing was lost.
    fn whole_key(&self, page: u64, key: &[u8]) -> Option<Vec<u8>> {
        let range = self.pages.get(&page)?;
        let whole = [range.lo.get(..range.prefix)?, key].concat();
        let within = whole >= range.lo && (range.hi.is_empty() || whole < range.hi);
        within.then_some(whole)
    }
}

/// None for pages that hold no rows, and for what is not understood.
fn read_step(message: &Message<'_>, body_at: u64) -> Option<Step> {
    let mut body = Bytes::new(message.body);
    match message.kind {
        NODE => {
            let (_next, _merging_child) = (body.number()?, body.number()?);
            let (_merging, prefix) = (body.take(1)?, usize::from(body.take(1)?[0]));
            let (lo, hi) = (body.bytes()?.to_vec(), body.bytes()?.to_vec());
            if body.take(1)? != [0] {
                return None;
            }
            let count = body.number()?;
            let common = lo.get(..prefix)?;
            let mut keys = Vec::new();
            for _ in 0..count {
                keys.push([common, body.bytes()?].concat());
            }
            let mut rows = Vec::new();
            for key in keys {
                rows.push((key, body.place(body_at)?));
            }
            Some(Step::Page {
                page: message.page,
                lo,
                hi,
                prefix,
                rows,
            })
        }
        LINK => match body.take(1)? {
            [0] => {
                let key = body.bytes()?.to_vec();
                Some(Step::Set(message.page, key, body.place(body_at)?))
            }
            [1] => Some(Step::Delete(message.page, body.bytes()?.to_vec())),
            _ => None,
        },
        _ => None,
    }
}

/// Bytes that are taken from the front.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// A number of one to nine bytes, small ones in one.
    fn number(&mut self) -> Option<u64> {
        let first = self.take(1)?[0];
        let value = u64::from(first);
        match first {
            0..=240 => Some(value),
            241..=248 => Some(240 + 256 * (value - 241) + u64::from(self.take(1)?[0])),
            249 => {
                let rest = self.take(2)?;
                Some(2288 + 256 * u64::from(rest[0]) + u64::from(rest[1]))
            }
            _ => {
                let rest = self.take(usize::from(first) - 247)?;
                let mut whole = [0; 8];
                whole[..rest.len()].copy_from_slice(rest);
                Some(u64::from_le_bytes(whole))
            }
        }
    }

    /// With their length before them.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    /// The same, but only where they lie; the body begins at this byte of the file.
    fn place(&mut self, body_at: u64) -> Option<Place> {
        let len = self.bytes()?.len();
        Some(Place {
            offset: body_at + (self.at - len) as u64,
            len,
        })
    }
}
