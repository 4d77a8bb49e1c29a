//! Paged reads: always by sequence number, so a page neither misses nor repeats a row under writes.

use crate::domain::Seq;

/// Rows that a page may pass over because they do not fit its filter. Chosen: each costs a read or two of some
/// microseconds, so a page that finds nothing ends within some tens of milliseconds.
pub const PASSED_OVER: usize = 10_000;

/// How rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

/// Which way from the cursor, seen in the page's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Rows after the cursor.
    #[default]
    Forward,
    /// Rows before the cursor: the `limit` nearest ones, still in the page's order.
    Backward,
}

/// One page of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Where the last page ended; the row itself is excluded. None: from the start (or end).
    pub cursor: Option<Seq>,
    /// Which way from there.
    pub direction: Direction,
    /// At most this many rows.
    pub limit: usize,
    /// In this order.
    pub order: Order,
}

/// One page of the rows that fit a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The rows, in the page's order.
    pub rows: Vec<T>,
    /// The last row that was looked at, if the page ends there because it had passed over
    /// [`PASSED_OVER`] rows: it is short, and there may be more behind that row.
    pub looked_to: Option<Seq>,
}

impl<T> Found<T> {
    /// Nothing, and no more to look at.
    pub(crate) fn nothing() -> Self {
        Self {
            rows: Vec::new(),
            looked_to: None,
        }
    }
}

impl PageRequest {
    /// The first page of this many rows, oldest first.
    pub fn first(limit: usize) -> Self {
        Self {
            cursor: None,
            direction: Direction::Forward,
            limit,
            order: Order::Ascending,
        }
    }

    /// The sequence numbers the page may hold, both ends included; none if the cursor leaves no room.
    pub(crate) fn span(&self) -> Option<(Seq, Seq)> {
        match (self.scans_upwards(), self.cursor) {
            (_, None) => Some((Seq(0), Seq(u64::MAX))),
            (true, Some(Seq(at))) => Some((Seq(at.checked_add(1)?), Seq(u64::MAX))),
            (false, Some(Seq(at))) => Some((Seq(0), Seq(at.checked_sub(1)?))),
        }
    }

    /// Whether the rows are met from low to high numbers when going away from the cursor.
    pub(crate) fn scans_upwards(&self) -> bool {
        matches!(
            (self.order, self.direction),
            (Order::Ascending, Direction::Forward) | (Order::Descending, Direction::Backward)
        )
    }

    /// Takes what fits from rows that come in scan order and gives them back in the page's order.
    pub(crate) fn collect<T, E>(
        &self,
        rows: impl Iterator<Item = Result<Option<T>, E>>,
    ) -> Result<Vec<T>, E> {
        let mut page = rows
            .filter_map(Result::transpose)
            .take(self.limit)
            .collect::<Result<Vec<_>, _>>()?;
        if self.direction == Direction::Backward {
            page.reverse();
        }
        Ok(page)
    }

    /// As [`Self::collect`], of rows of which few may fit: passes over so many, and then says how far it got.
    pub(crate) fn find<T, E>(
        &self,
        rows: impl Iterator<Item = Result<(Seq, Option<T>), E>>,
    ) -> Result<Found<T>, E> {
        let mut found = Found::nothing();
        let mut passed_over = 0;
        if self.limit == 0 {
            return Ok(found);
        }
        for row in rows {
            match row? {
                (_, Some(row)) => {
                    found.rows.push(row);
                    if found.rows.len() == self.limit {
                        break;
                    }
                }
                (seq, None) => {
                    passed_over += 1;
                    if passed_over == PASSED_OVER {
                        found.looked_to = Some(seq);
                        break;
                    }
                }
            }
        }
        if self.direction == Direction::Backward {
            found.rows.reverse();
        }
        Ok(found)
    }
}
