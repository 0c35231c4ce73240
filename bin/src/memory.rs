//! The program's memory allocator.
//!
//! A training step allocates and frees gigabytes in blocks of megabytes. The kernel clears every page that it hands out
//! again, which takes a fifth of the time of a step. So the program uses mimalloc, and configures it to keep freed memory.

/// The allocator for the `#[global_allocator]` of a program.
pub use mimalloc::MiMalloc as Allocator;

/// mimalloc's `mi_option_purge_delay`, which `libmimalloc-sys` documents without a constant.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keep freed memory for the next use instead of giving it back to the system. Call this once, at startup.
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
