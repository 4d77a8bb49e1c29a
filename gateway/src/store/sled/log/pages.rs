//! What a log's messages make of the rows, page by page.
//!
//! The pages of a whole tree share all keys among them. Of a damaged log some may overlap: sled passes over what it
//! cannot read where an older page does as well, and that page then claims keys that others were split off with, and
//! may in turn be split from them once more, with rows as they were long ago. sled finds a page by the greatest key
//! below which one begins, and of two that begin at the same the first one (`node.rs`, `parent_split`), so that is
//! whose rows count here.
//!
//! Where no page is left that claims a key, its own having been lost, what older ones said of it stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::Place;
use super::message::{Range, Step};

type Rows = BTreeMap<Vec<u8>, Place>;

/// The pages as they are after some of the messages.
#[derive(Default)]
pub(super) struct Pages {
    pages: HashMap<u64, Page>,
    /// How many have begun.
    begun: usize,
    /// Rows of pages that gave them up.
    given_up: Rows,
}

struct Page {
    range: Range,
    rows: Rows,
    /// How many had begun before it.
    age: usize,
}

impl Pages {
    pub(super) fn apply(&mut self, step: Step) {
        match step {
            Step::Page(number, range, rows) => self.write(number, range, rows),
            Step::Set(number, key, place) => {
                if let Some((page, key)) = self.page(number, &key) {
                    page.rows.insert(key, place);
                }
            }
            Step::Delete(number, key) => {
                if let Some((page, key)) = self.page(number, &key) {
                    page.rows.remove(&key);
                }
            }
            Step::Free(number) => {
                if let Some(page) = self.pages.remove(&number) {
                    self.given_up.extend(page.rows);
                }
            }
        }
    }

    fn write(&mut self, number: u64, range: Range, rows: Vec<(Vec<u8>, Place)>) {
        let rows = rows.into_iter().collect();
        let Some(page) = self.pages.get_mut(&number) else {
            let age = self.begun;
            self.begun += 1;
            self.pages.insert(number, Page { range, rows, age });
            return;
        };
        let before = std::mem::replace(&mut page.rows, rows);
        let outside = before.into_iter().filter(|(key, _)| !range.holds(key));
        self.given_up.extend(outside);
        page.range = range;
    }

    /// None if it cannot be a key of this page, or the page is not known: then its last writing was lost.
    fn page(&mut self, number: u64, key: &[u8]) -> Option<(&mut Page, Vec<u8>)> {
        let page = self.pages.get_mut(&number)?;
        let key = page.range.whole(key)?;
        Some((page, key))
    }

    /// The row of this key.
    pub(super) fn row(&self, key: &[u8]) -> Option<Place> {
        let claims = self.pages.values().filter(|page| page.range.holds(key));
        let rows = claims
            .max_by(|one, other| one.rank().cmp(&other.rank()))
            .map_or(&self.given_up, |page| &page.rows);
        rows.get(key).copied()
    }

    /// All rows.
    pub(super) fn into_rows(self) -> Rows {
        let mut rows = self.given_up;
        let mut pages: Vec<_> = self.pages.into_values().collect();
        pages.sort_by(|one, other| one.rank().cmp(&other.rank()));
        for page in pages {
            clear(&mut rows, &page.range);
            rows.extend(page.rows);
        }
        rows
    }
}

impl Page {
    /// Of two pages that claim a key, the one with the higher rank has it.
    fn rank(&self) -> (&[u8], Reverse<usize>) {
        (&self.range.lo, Reverse(self.age))
    }
}

fn clear(rows: &mut Rows, Range { lo, hi, .. }: &Range) {
    let end = match &hi[..] {
        [] => Bound::Unbounded,
        hi if &lo[..] < hi => Bound::Excluded(hi),
        // Of a range that can not be there is nothing.
        _ => return,
    };
    let range = rows.range::<[u8], _>((Bound::Included(&lo[..]), end));
    let before: Vec<_> = range.map(|(key, _)| key.clone()).collect();
    for key in before {
        rows.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &[u8] = b"";

    fn place(offset: u64) -> Place {
        Place { offset, len: 1 }
    }

    fn write(page: u64, lo: &[u8], hi: &[u8], rows: &[(&str, u64)]) -> Step {
        let rows = rows
            .iter()
            .map(|(key, at)| (key.as_bytes().to_vec(), place(*at)));
        let range = Range {
            lo: lo.to_vec(),
            hi: hi.to_vec(),
            prefix: 0,
        };
        Step::Page(page, range, rows.collect())
    }

    fn set(page: u64, key: &str, at: u64) -> Step {
        Step::Set(page, key.as_bytes().to_vec(), place(at))
    }

    /// What the steps come to, as text.
    fn rows(steps: impl IntoIterator<Item = Step>) -> String {
        let mut pages = Pages::default();
        for step in steps {
            pages.apply(step);
        }
        let keys = ["a", "b", "c", "d", "e"].map(|key| pages.row(key.as_bytes()));
        let rows = pages.into_rows();
        let all = ["a", "b", "c", "d", "e"].map(|key| rows.get(key.as_bytes()).copied());
        assert_eq!(keys, all, "one by one and all together");
        let text = rows
            .iter()
            .map(|(key, row)| format!("{}{} ", key[0] as char, row.offset));
        text.collect()
    }

    #[test]
    fn a_split_and_a_merge_lose_nothing() {
        let split = || {
            [
                write(2, b"", END, &[("a", 1), ("b", 2), ("c", 3)]),
                write(3, b"c", END, &[("c", 3)]),
                write(2, b"", b"c", &[("a", 1), ("b", 2)]),
                set(3, "d", 4),
                Step::Delete(2, b"b".to_vec()),
            ]
        };
        assert_eq!(rows(split()), "a1 c3 d4 ");
        let merge = [
            write(2, b"", END, &[("a", 1), ("c", 3), ("d", 4)]),
            Step::Free(3),
        ];
        assert_eq!(rows(split().into_iter().chain(merge)), "a1 c3 d4 ");
    }

    #[test]
    fn an_old_page_that_is_split_once_more_takes_no_row_from_those_it_gave_up() {
        let steps = [
            write(2, b"", END, &[("a", 1), ("b", 2), ("c", 3)]),
            write(3, b"c", END, &[("c", 3)]),
            // Lost: page 2, up to "c".
            set(3, "c", 5),
            set(3, "d", 6),
            write(4, b"d", END, &[("d", 6)]),
            write(3, b"c", b"d", &[("c", 5)]),
            // sled splits page 2 again, as it has it.
            write(9, b"c", END, &[("c", 3)]),
            write(2, b"", b"c", &[("a", 1), ("b", 7)]),
            set(4, "e", 8),
        ];
        assert_eq!(rows(steps), "a1 b7 c5 d6 e8 ");
    }

    #[test]
    fn of_a_page_that_was_lost_the_older_rows_stay() {
        let split = [
            write(2, b"", END, &[("a", 1), ("b", 2), ("c", 3)]),
            // Lost: page 3, from "c".
            write(2, b"", b"c", &[("a", 1), ("b", 2)]),
            set(3, "d", 4),
        ];
        assert_eq!(rows(split), "a1 b2 c3 ");
        let merge = [
            write(2, b"", b"c", &[("a", 1)]),
            write(3, b"c", END, &[("c", 3)]),
            // Lost: page 2 with all rows.
            Step::Free(3),
        ];
        assert_eq!(rows(merge), "a1 c3 ");
    }
}
