//! The arithmetic of the arena: offsets into a block of memory of fixed size. It has no memory of its own and
//! no unsafe code, so that native tests can check it; `allocator.rs` puts memory behind it.

/// Every block starts at a multiple of this. The largest alignment that Rust asks for on wasm32 outside SIMD
/// types; what wants more goes to the fallback.
pub(crate) const ALIGNMENT: usize = 16;

/// Hands out blocks from bottom to top. Only the last block can grow, shrink or be given back;
/// a block below it stays used up. That suits one short call: no search, no headers, no lists.
#[derive(Debug)]
pub(crate) struct Arena {
    size: usize,
    top: usize,
}

impl Arena {
    pub(crate) const fn new(size: usize) -> Self {
        Self { size, top: 0 }
    }

    /// The offset of a new block, or `None` if it has no room.
    pub(crate) fn take(&mut self, size: usize, align: usize) -> Option<usize> {
        if align > ALIGNMENT {
            return None;
        }
        let start = self.top.checked_next_multiple_of(align)?;
        let end = start.checked_add(size)?;
        if end > self.size {
            return None;
        }
        self.top = end;
        Some(start)
    }

    /// Changes the size of a block without moving it; `false` if that is not possible.
    pub(crate) fn resize(&mut self, start: usize, old: usize, new: usize) -> bool {
        if start + old != self.top {
            return new <= old;
        }
        match start.checked_add(new) {
            Some(end) if end <= self.size => {
                self.top = end;
                true
            }
            _ => false,
        }
    }

    /// Gives a block back: room for the next if it was the last one.
    pub(crate) fn give_back(&mut self, start: usize, size: usize) {
        if start + size == self.top {
            self.top = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let mut arena = Arena::new(1024);
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 2), (16, 16), (5, 1), (4, 4)] {
            let start = arena.take(size, align).unwrap();
            assert_eq!(start % align, 0);
            assert!(start >= end);
            end = start + size;
        }
    }

    #[test]
    fn a_full_arena_and_a_wide_alignment_say_no() {
        let mut arena = Arena::new(64);
        assert_eq!(arena.take(64, 8), Some(0));
        assert_eq!(arena.take(1, 1), None);
        assert_eq!(Arena::new(64).take(65, 1), None);
        assert_eq!(Arena::new(64).take(usize::MAX, 1), None);
        assert_eq!(Arena::new(64).take(8, 32), None);
    }

    #[test]
    fn the_last_block_grows_shrinks_and_frees_in_place() {
        let mut arena = Arena::new(64);
        let first = arena.take(8, 8).unwrap();
        assert!(arena.resize(first, 8, 32));
        assert!(!arena.resize(first, 32, 65), "beyond the end");
        assert!(arena.resize(first, 32, 16));
        let second = arena.take(8, 8).unwrap();
        assert_eq!(second, 16);
        arena.give_back(second, 8);
        arena.give_back(first, 16);
        assert_eq!(arena.take(64, 1), Some(0), "all of it is free again");
    }

    #[test]
    fn a_block_below_the_last_stays_where_it_is() {
        let mut arena = Arena::new(64);
        let first = arena.take(8, 8).unwrap();
        let second = arena.take(8, 8).unwrap();
        assert!(
            !arena.resize(first, 8, 16),
            "it would reach into the second"
        );
        assert!(arena.resize(first, 8, 4), "smaller always fits");
        arena.give_back(first, 4);
        assert_eq!(
            arena.take(8, 8),
            Some(second + 8),
            "the first is not handed out twice"
        );
    }
}
