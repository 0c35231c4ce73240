//! How much a file may unpack to, so that a small one cannot fill the memory.
//!
//! In Parquet a few bytes repeat a value any number of times, a few bits stand for a long text, and columns may share
//! their pages. What is read is therefore counted: pages, what they decompress to, and the values, a row at a time.

/// How many times its own size a file may unpack to; the hub's files unpack to about five times.
const TIMES: usize = 64;
/// What even the smallest file may unpack to, in MiB.
const AT_LEAST: usize = 16;

/// What a file may still unpack to, in bytes.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn of_file(bytes: usize) -> Self {
        Self(bytes.saturating_mul(TIMES).saturating_add(AT_LEAST << 20))
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            format!(
                "unpacks to more than {TIMES} times the size of its file and {AT_LEAST} MiB; write the file again without compression and dictionaries"
            )
        })?;
        Ok(())
    }
}
