//! The allocator of a plugin inside the sandbox: an arena that is there from the start, then the standard
//! library's allocator (dlmalloc) beyond it. Compiled for `wasm32` only, switched off with the feature `arena`.
//!
//! Growing a memory takes a lock that all instances of the gateway's process share; a call that never
//! grows it is faster and scales with the cores. The arena is a zeroed static, so it adds nothing to the
//! module's size and needs no linker flag: the module's initial memory already covers it.
#![allow(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; the arithmetic is in arena.rs, each block says why it holds"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

use crate::arena::{ALIGNMENT, Arena};

#[cfg(target_feature = "atomics")]
compile_error!(
    "the arena is for a single thread: switch the feature `arena` off for a build with atomics"
);

/// Chosen: an event of 100 KiB, its parsed value and its answer fit (measured: 50,000 integers through a
/// `serde_json::Value` grow nothing), and no more than what the gateway clears instead of giving back.
const SIZE: usize = 2 * 1024 * 1024;

#[repr(C, align(16))]
struct Memory(UnsafeCell<[u8; SIZE]>);

const _: () = assert!(align_of::<Memory>() == ALIGNMENT);

// SAFETY: a wasm32 module without atomics runs on one thread (checked above).
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; SIZE]));

struct ArenaFirst(UnsafeCell<Arena>);

// SAFETY: as for `Memory`.
unsafe impl Sync for ArenaFirst {}

#[global_allocator]
static ALLOCATOR: ArenaFirst = ArenaFirst(UnsafeCell::new(Arena::new(SIZE)));

impl ArenaFirst {
    /// Runs `change` on the arena.
    fn arena<T>(&self, change: impl FnOnce(&mut Arena) -> T) -> T {
        // SAFETY: one thread, and no caller's `change` allocates, so there is never a second reference.
        change(unsafe { &mut *self.0.get() })
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let start = self.arena(|arena| arena.take(layout.size(), layout.align()))?;
        // SAFETY: the arena gives only blocks that end within SIZE.
        Some(unsafe { base().add(start) })
    }
}

fn base() -> *mut u8 {
    MEMORY.0.get().cast()
}

/// Where in the arena a block starts; `None` if it came from the fallback.
fn offset(block: *mut u8) -> Option<usize> {
    let offset = block.addr().checked_sub(base().addr())?;
    (offset < SIZE).then_some(offset)
}

// SAFETY: blocks of the arena are aligned, within `MEMORY` and disjoint while in use (arena.rs); all others
// come from `System` and go back to it, told apart by their address. Nothing here panics.
unsafe impl GlobalAlloc for ArenaFirst {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promise about `layout` is handed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => {
                // SAFETY: a new block of that size; it may have been used before, so it is not zero by itself.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: the caller's promise about `layout` is handed on.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match offset(block) {
            Some(start) => self.arena(|arena| arena.give_back(start, layout.size())),
            // SAFETY: a block outside the arena came from `System` with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(start) = offset(block) else {
            // SAFETY: a block outside the arena came from `System` with this layout.
            return unsafe { System.realloc(block, layout, new_size) };
        };
        if self.arena(|arena| arena.resize(start, layout.size(), new_size)) {
            return block;
        }
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: `new_size` is not zero, by the caller's promise.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both blocks hold at least the old size (a smaller size was handled in place), and the
            // new one is not the old one.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size()) };
            self.arena(|arena| arena.give_back(start, layout.size()));
        }
        new
    }
}
