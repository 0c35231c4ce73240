//! Where the program's memory comes from.
//!
//! A training step takes and gives back gigabytes in pieces of megabytes. What goes back to the kernel is cleared by it,
//! page by page, before it comes again: a fifth of the time of a step. So the memory comes from mimalloc, which is told
//! to keep what it once had.

/// What a program's `#[global_allocator]` is to be.
pub use mimalloc::MiMalloc as Allocator;

/// mimalloc's `mi_option_purge_delay`, which `libmimalloc-sys` names only in words.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keep freed memory for the next use instead of giving it back to the system. Call it once, at the start.
#[expect(
    unsafe_code,
    reason = "a foreign function: it stores a number, and is safe to call at any time"
)]
pub fn keep_pages() {
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The option's number could change with mimalloc's version; its default is a second.
    #[test]
    #[expect(unsafe_code, reason = "a foreign function that reads a number")]
    fn the_option_is_the_purge_delay() {
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000);
        keep_pages();
        assert_eq!(delay(), -1);
    }
}
