//! Where the program's memory comes from.
//!
//! A training step takes and gives back gigabytes in pieces of megabytes. The system's allocator returns many of them to
//! the kernel, which clears each page again at its next first use; mimalloc keeps them for a second, longer than most
//! steps take.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
