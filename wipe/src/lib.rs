//! An allocator that wipes what chosen threads free.
//!
//! A secret passes through many hands before it is understood: a parser, a tree, text that grows and moves. Each leaves
//! copies in memory that is free and still holds them. Only the allocator sees them all. It wipes for threads that asked
//! for it: all that those free who read the configuration; of what those free who serve clients, blocks in which a header
//! block or a field of it can stand, since wiping bodies too would cost more than a tenth of a request.
//!
//! This package is apart from the others because it is the only one with `unsafe`: Rust has no other way to write an
//! allocator. It does nothing else.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::hint::black_box;
use std::ptr;

thread_local! {
    // Without a destructor, so it is there as long as the thread frees anything.
    static WIPED: Cell<usize> = const { Cell::new(0) };
}

/// From now on, what this thread frees is wiped before it goes back to the allocator.
pub fn wipe_what_this_thread_frees() {
    WIPED.set(usize::MAX);
}

/// From now on, blocks of up to so many bytes that this thread frees are wiped before they go back to the allocator.
pub fn wipe_what_this_thread_frees_up_to(bytes: usize) {
    WIPED.set(bytes);
}

/// Writes over what calls before this one left on the stack, 64 KiB deep.
#[inline(never)]
pub fn wipe_stack() {
    black_box(&mut [0_u8; 64 << 10]);
}

/// Whether a block of this size is to be wiped. What fits into the smallest of them is no secret worth the name.
#[inline]
fn wipes(size: usize) -> bool {
    size > SHORT && size <= WIPED.get()
}

/// Bytes of blocks that are never wiped.
const SHORT: usize = 15;

/// The allocator `A`, for a thread that asked for it with wiping.
#[derive(Debug, Default)]
pub struct Wiping<A>(pub A);

// SAFETY: every block comes from `A` and goes back to `A` with the layout that it was made with.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `A` too.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wipes(layout.size()) {
            // SAFETY: the block has this size, and nobody reads it any more.
            unsafe { wipe(block, layout.size()) };
        }
        // SAFETY: as above.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !wipes(layout.size()) {
            // SAFETY: as above.
            return unsafe { self.0.realloc(block, layout, size) };
        }
        // Always into a new block: `A` would leave the old one as it is.
        // SAFETY: the caller says that `size` is not zero and fits this alignment.
        let grown = unsafe { self.0.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !grown.is_null() {
            // SAFETY: both blocks are at least as long as what is copied, and they are two.
            unsafe { ptr::copy_nonoverlapping(block, grown, layout.size().min(size)) };
            // SAFETY: the caller gives the old block up.
            unsafe { self.dealloc(block, layout) };
        }
        grown
    }
}

/// # Safety
/// `block` has `size` bytes that may be written.
#[inline]
unsafe fn wipe(block: *mut u8, size: usize) {
    // SAFETY: said above.
    unsafe { block.write_bytes(0, size) };
    // Writing to what is about to be freed looks useless to a compiler.
    black_box(block);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    /// Counts bytes that were freed with something in them.
    struct Watched(AtomicUsize);

    // SAFETY: all of it is `System`'s; only the bytes of a block that still belongs to us are read.
    unsafe impl GlobalAlloc for Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's contract.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: it was made with zeros, so all of it may be read.
            let left = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            self.0.fetch_add(left.iter().filter(|byte| **byte != 0).count(), Ordering::Relaxed);
            // SAFETY: the caller's contract.
            unsafe { System.dealloc(block, layout) }
        }
    }

    /// How many bytes of a secret of 40 bytes are left behind when its block grows and when it is freed.
    fn left_behind(asks: fn()) -> usize {
        let run = move || {
            asks();
            let allocator = Wiping(Watched(AtomicUsize::new(0)));
            let (small, large) = (Layout::array::<u8>(40), Layout::array::<u8>(100));
            let (Ok(small), Ok(large)) = (small, large) else { return usize::MAX };
            // SAFETY: the sizes are not zero, each block is freed once, with its own layout, and written within.
            unsafe {
                let block = allocator.alloc(small);
                block.write_bytes(7, 40);
                let grown = allocator.realloc(block, small, 100);
                assert_eq!((grown.read(), grown.add(39).read()), (7, 7), "what was there moves along");
                allocator.dealloc(grown, large);
            }
            allocator.0.0.load(Ordering::Relaxed)
        };
        thread::spawn(run).join().unwrap_or(usize::MAX)
    }

    #[test]
    fn a_thread_that_asked_for_it_leaves_nothing_behind() {
        assert_eq!(left_behind(wipe_what_this_thread_frees), 0);
    }

    #[test]
    fn a_thread_that_asked_for_small_blocks_leaves_nothing_behind_in_those() {
        assert_eq!(left_behind(|| wipe_what_this_thread_frees_up_to(100)), 0);
        assert_eq!(left_behind(|| wipe_what_this_thread_frees_up_to(99)), 40, "in the one of 100 bytes");
    }

    #[test]
    fn other_threads_are_left_alone() {
        assert_eq!(left_behind(|| ()), 80);
    }
}
