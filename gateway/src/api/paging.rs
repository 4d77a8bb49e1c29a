//! Pages. An iterator is the sequence number of the row where a page ended and the way to go on from there, in
//! a form that callers can not mistake for something to build themselves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::query::QueryParams;
use crate::domain::Seq;
use crate::store::{Direction, Found, Order, PageRequest, Resource, Store, StoreError, Stored};

/// Rows of a page unless asked for otherwise, and at most (Svix v1).
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 250;

/// One page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    data: Vec<T>,
    done: bool,
    iterator: Option<String>,
    #[serde(rename = "prevIterator")]
    prev_iterator: Option<String>,
}

/// Where a page ends, in the direction it was read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// There is nothing behind it.
    done: bool,
    /// The row where it ends, if that is not a row of the page.
    at: Option<Seq>,
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paging {
    cursor: Option<Seq>,
    direction: Direction,
    limit: usize,
    order: Order,
}

impl Paging {
    /// Reads `limit` and `iterator`; the newest rows come first.
    pub(crate) fn read(query: &mut QueryParams) -> Self {
        let limit = query.read("limit", |text| match text.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(format!("must be from 1 to {MAX_LIMIT}")),
        });
        let cursor = query.read("iterator", |text| {
            decode(text).ok_or_else(|| "is not an iterator of this list".to_owned())
        });
        Self {
            cursor: cursor.map(|(_, seq)| seq),
            direction: cursor.map_or(Direction::Forward, |(direction, _)| direction),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            order: Order::Descending,
        }
    }

    /// Reads `order` as well.
    pub(crate) fn read_ordered(query: &mut QueryParams) -> Self {
        let order = query.read("order", |text| match text {
            "ascending" => Ok(Order::Ascending),
            "descending" => Ok(Order::Descending),
            _ => Err("must be ascending or descending".to_owned()),
        });
        Self {
            order: order.unwrap_or_default(),
            ..Self::read(query)
        }
    }

    /// What to ask the store for: one row more than the page has, which says whether there is another page.
    pub(crate) fn request(&self) -> PageRequest {
        PageRequest {
            cursor: self.cursor,
            direction: self.direction,
            limit: self.limit + 1,
            order: self.order,
        }
    }

    /// The rows of [`Self::request`] that `keep` takes, for lists whose filter the store does not know.
    pub(crate) async fn filtered<T: Resource>(
        &self,
        store: &dyn Store,
        parent: &str,
        keep: impl Fn(&Stored<T>) -> bool,
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let mut kept = Vec::new();
        let mut request = self.request();
        loop {
            let rows: Vec<Stored<T>> = store.list(parent, request).await?;
            let exhausted = rows.len() < request.limit;
            let farthest = match self.direction {
                Direction::Forward => rows.last(),
                Direction::Backward => rows.first(),
            };
            request.cursor = farthest.map(|row| row.seq).or(request.cursor);
            let mut rows: Vec<_> = rows.into_iter().filter(&keep).collect();
            if self.direction == Direction::Backward {
                std::mem::swap(&mut rows, &mut kept);
            }
            kept.extend(rows);
            if exhausted || kept.len() > self.limit {
                break;
            }
        }
        self.keep_nearest(&mut kept, self.limit + 1);
        Ok(kept)
    }

    /// The page, from the rows that [`Self::request`] gave.
    pub(crate) fn page<R, T>(
        &self,
        rows: Vec<R>,
        seq: impl Fn(&R) -> Seq,
        show: impl FnMut(R) -> T,
    ) -> Page<T> {
        let (rows, done) = self.trim(rows);
        self.page_of(rows, End { done, at: None }, seq, show)
    }

    /// The rows of the page, without the one too many, and whether they are the last.
    pub(crate) fn trim<R>(&self, mut rows: Vec<R>) -> (Vec<R>, bool) {
        let done = rows.len() <= self.limit;
        self.keep_nearest(&mut rows, self.limit);
        (rows, done)
    }

    /// Like [`Self::trim`], and at most as many rows as weigh `most` together, but one at least: a page of
    /// large rows is shorter.
    pub(crate) fn trim_heavy<R>(
        &self,
        found: Found<R>,
        weight: impl Fn(&R) -> usize,
        most: usize,
    ) -> (Vec<R>, End) {
        let (mut rows, done) = self.trim(found.rows);
        let mut sum = 0usize;
        let mut light = |row: &R| {
            sum = sum.saturating_add(weight(row));
            sum <= most
        };
        let fits = match self.direction {
            Direction::Forward => rows.iter().take_while(|row| light(row)).count(),
            Direction::Backward => rows.iter().rev().take_while(|row| light(row)).count(),
        };
        let whole = fits >= rows.len();
        self.keep_nearest(&mut rows, fits.max(1));
        // A page that was cut ends at a row of its own.
        let at = found.looked_to.filter(|_| done && whole);
        let done = done && whole && at.is_none();
        (rows, End { done, at })
    }

    /// The page of rows that [`Self::trim_heavy`] gave.
    pub(crate) fn page_of<R, T>(
        &self,
        rows: Vec<R>,
        end: End,
        seq: impl Fn(&R) -> Seq,
        show: impl FnMut(R) -> T,
    ) -> Page<T> {
        let (mut first, mut last) = match (rows.first(), rows.last(), self.cursor) {
            (Some(first), Some(last), _) => (Some(seq(first)), Some(seq(last))),
            (_, _, Some(cursor)) => self.around(cursor),
            _ => (None, None),
        };
        match self.direction {
            Direction::Forward => last = end.at.or(last),
            Direction::Backward => first = end.at.or(first),
        }
        Page {
            data: rows.into_iter().map(show).collect(),
            done: end.done,
            iterator: last.map(|seq| encode(Direction::Forward, seq)),
            prev_iterator: first.map(|seq| encode(Direction::Backward, seq)),
        }
    }

    /// The `count` rows nearest to the cursor.
    fn keep_nearest<R>(&self, rows: &mut Vec<R>, count: usize) {
        match self.direction {
            Direction::Forward => rows.truncate(count),
            Direction::Backward => drop(rows.drain(..rows.len().saturating_sub(count))),
        }
    }

    /// Cursors of an empty page: one stays where the page began, to wait for rows there, the other must not
    /// step over the row at the cursor, which neither would show otherwise.
    fn around(&self, cursor: Seq) -> (Option<Seq>, Option<Seq>) {
        let ascending = self.order == Order::Ascending;
        let next = Seq(if ascending {
            cursor.0.saturating_add(1)
        } else {
            cursor.0.saturating_sub(1)
        });
        let last = Seq(if ascending {
            cursor.0.saturating_sub(1)
        } else {
            cursor.0.saturating_add(1)
        });
        match self.direction {
            Direction::Forward => (Some(next), Some(cursor)),
            Direction::Backward => (Some(cursor), Some(last)),
        }
    }
}

const FORWARD: u8 = b'n';
const BACKWARD: u8 = b'p';

fn encode(direction: Direction, seq: Seq) -> String {
    let mut bytes = [0; 9];
    bytes[0] = match direction {
        Direction::Forward => FORWARD,
        Direction::Backward => BACKWARD,
    };
    bytes[1..].copy_from_slice(&seq.0.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<(Direction, Seq)> {
    let bytes: [u8; 9] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let direction = match bytes[0] {
        FORWARD => Direction::Forward,
        BACKWARD => Direction::Backward,
        _ => return None,
    };
    let (_, seq) = bytes.split_first_chunk::<1>()?;
    Some((direction, Seq(u64::from_be_bytes(seq.try_into().ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterators_round_trip_and_others_are_refused() {
        for direction in [Direction::Forward, Direction::Backward] {
            for seq in [0, 1, u64::MAX] {
                let text = encode(direction, Seq(seq));
                assert_eq!(decode(&text), Some((direction, Seq(seq))));
                assert!(crate::domain::Uid::parse(text).is_ok());
            }
        }
        for text in ["", "app_1", "cgAAAAAAAAAA", "x", "-", "bgAAAAAAAAAAAA=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        for (text, limit) in [("limit=1", 1), ("limit=250", 250), ("", 50)] {
            let mut query = QueryParams::parse(text);
            assert_eq!(Paging::read(&mut query).limit, limit);
            assert!(query.done().is_ok());
        }
        for text in [
            "limit=0",
            "limit=251",
            "limit=-1",
            "limit=x",
            "iterator=x",
            "order=up",
        ] {
            let mut query = QueryParams::parse(text);
            Paging::read_ordered(&mut query);
            assert!(query.done().is_err(), "{text}");
        }
    }

    #[test]
    fn the_row_too_many_goes_and_says_that_there_is_more() {
        let mut query = QueryParams::parse("limit=2&order=ascending");
        let mut paging = Paging::read_ordered(&mut query);
        let page = paging.page(vec![1, 2, 3], |seq| Seq(*seq), |seq| seq);
        assert_eq!((page.data, page.done), (vec![1, 2], false));
        paging.direction = Direction::Backward;
        let page = paging.page(vec![1, 2, 3], |seq| Seq(*seq), |seq| seq);
        assert_eq!((page.data, page.done), (vec![2, 3], false));
        let page = paging.page(vec![1, 2], |seq| Seq(*seq), |seq| seq);
        assert_eq!((page.data, page.done), (vec![1, 2], true));
    }

    #[test]
    fn a_page_of_large_rows_is_shorter_but_never_empty() {
        let mut query = QueryParams::parse("limit=4");
        let mut paging = Paging::read(&mut query);
        let trim = |paging: &Paging, rows| {
            let looked_to = None;
            let (rows, end) = paging.trim_heavy(Found { rows, looked_to }, |weight| *weight, 10);
            (rows, end.done)
        };
        assert_eq!(trim(&paging, vec![5, 5, 5]), (vec![5, 5], false));
        assert_eq!(trim(&paging, vec![50, 1]), (vec![50], false));
        assert_eq!(trim(&paging, vec![1, 2, 3]), (vec![1, 2, 3], true));
        paging.direction = Direction::Backward;
        assert_eq!(trim(&paging, vec![5, 6, 1]), (vec![6, 1], false));
    }

    #[test]
    fn a_page_that_ended_early_goes_on_behind_the_last_row_looked_at() {
        let mut query = QueryParams::parse("limit=4");
        let mut paging = Paging::read(&mut query);
        let page = |paging: &Paging, rows: &[u64]| {
            let found = Found {
                rows: rows.to_vec(),
                looked_to: Some(Seq(20)),
            };
            let (rows, end) = paging.trim_heavy(found, |_| 6, 10);
            let page = paging.page_of(rows, end, |seq| Seq(*seq), |seq| seq);
            assert!(!page.done);
            let seq =
                |text: Option<String>| text.and_then(|text| decode(&text)).map(|(_, seq)| seq.0);
            (page.data, seq(page.iterator), seq(page.prev_iterator))
        };
        assert_eq!(page(&paging, &[]), (vec![], Some(20), None));
        assert_eq!(page(&paging, &[40]), (vec![40], Some(20), Some(40)));
        // Cut by its weight before that.
        assert_eq!(page(&paging, &[40, 30]), (vec![40], Some(40), Some(40)));
        paging.cursor = Some(Seq(50));
        assert_eq!(page(&paging, &[]), (vec![], Some(20), Some(49)));
        paging.direction = Direction::Backward;
        paging.cursor = Some(Seq(9));
        assert_eq!(page(&paging, &[]), (vec![], Some(10), Some(20)));
        assert_eq!(page(&paging, &[15]), (vec![15], Some(15), Some(20)));
    }
}
