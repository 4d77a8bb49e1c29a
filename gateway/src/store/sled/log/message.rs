//! One message of sled's log, and what it does to the rows.
//!
//! | a message holds | |
//! |---|---|
//! | 4 bytes | CRC-32 of all the rest, the body first, all bits turned |
//! | 1 byte | its kind |
//! | a number | length of the body |
//! | a number | its segment, so that what a segment held before it was used again is not taken for new |
//! | a number | its page |
//! | the body | by kind |
//!
//! A number takes one to nine bytes, and bytes of any length have it before them. The kinds that count here: a page
//! that is written anew (`NODE`), one key of a page that is set or removed (`LINK`), a page that is no more (`FREE`),
//! the beginning of a batch with the number of its last byte (`BATCH`), the end of a segment (`CAP`).
//!
//! Source: sled 0.34.7, `pagecache/logger.rs` (`MessageHeader`), `pagecache/mod.rs` (`MessageKind`), `serialization.rs`,
//! `node.rs`.

use super::Place;

/// Kinds of messages.
const CAP: u8 = 2;
const BATCH: u8 = 3;
const FREE: u8 = 4;
const NODE: u8 = 8;
const LINK: u8 = 10;
const LAST_KIND: u8 = 11;
/// Pages before this one are sled's own.
const FIRST_PAGE: u64 = 2;

/// One message.
pub(super) struct Message<'a> {
    kind: u8,
    pub(super) segment: u64,
    page: u64,
    /// In its segment.
    body_at: usize,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The whole message at this place of a segment, if there is one, and of this segment.
    pub(super) fn read(segment: &'a [u8], at: usize, number: Option<u64>) -> Option<Self> {
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

    /// The byte behind it in its segment.
    pub(super) fn end(&self) -> usize {
        self.body_at + self.body.len()
    }

    /// Whether nothing more is in its segment.
    pub(super) fn is_cap(&self) -> bool {
        self.kind == CAP
    }

    /// If a batch begins with it, the number of the batch's last byte.
    pub(super) fn batch(&self) -> Option<u64> {
        let last = (self.kind == BATCH).then(|| self.body.try_into());
        last?.ok().map(u64::from_le_bytes)
    }

    /// What it does to the rows, if its segment begins at this byte of the file. None for pages that hold no rows,
    /// and for what is not understood.
    pub(super) fn step(&self, segment_at: u64) -> Option<Step> {
        let body_at = segment_at + self.body_at as u64;
        match self.kind {
            _ if self.page < FIRST_PAGE => None,
            NODE => self.node(body_at),
            LINK => self.link(body_at),
            FREE => Some(Step::Free(self.page)),
            _ => None,
        }
    }

    fn node(&self, body_at: u64) -> Option<Step> {
        let mut body = Bytes::new(self.body);
        let (_next, _merging_child) = (body.number()?, body.number()?);
        let (_merging, prefix) = (body.take(1)?, usize::from(body.take(1)?[0]));
        let (lo, hi) = (body.bytes()?.to_vec(), body.bytes()?.to_vec());
        // Otherwise its values are pages.
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
        let range = Range { lo, hi, prefix };
        Some(Step::Page(self.page, range, rows))
    }

    fn link(&self, body_at: u64) -> Option<Step> {
        let mut body = Bytes::new(self.body);
        match body.take(1)? {
            [0] => {
                let key = body.bytes()?.to_vec();
                Some(Step::Set(self.page, key, body.place(body_at)?))
            }
            [1] => Some(Step::Delete(self.page, body.bytes()?.to_vec())),
            _ => None,
        }
    }
}

/// What a message does to the rows. Single keys are without what those of their page have in common.
pub(super) enum Step {
    /// A page was written anew: these are all rows of its range.
    Page(u64, Range, Vec<(Vec<u8>, Place)>),
    Set(u64, Vec<u8>, Place),
    Delete(u64, Vec<u8>),
    Free(u64),
}

/// The keys that belong to a page: from `lo` to before `hi`, or to the last one if `hi` is empty.
pub(super) struct Range {
    pub(super) lo: Vec<u8>,
    pub(super) hi: Vec<u8>,
    /// How many bytes of `lo` they have in common.
    pub(super) prefix: usize,
}

impl Range {
    /// The whole of a key without what is in common; none if it can not be one of this range.
    pub(super) fn whole(&self, key: &[u8]) -> Option<Vec<u8>> {
        let whole = [self.lo.get(..self.prefix)?, key].concat();
        self.holds(&whole).then_some(whole)
    }

    pub(super) fn holds(&self, key: &[u8]) -> bool {
        key >= &self.lo[..] && (self.hi.is_empty() || key < &self.hi[..])
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
