//! Devices that record operations and compute them later: XLA's. On all other devices nothing here has an effect.

use burn::tensor::backend::{Backend, ExecutionError};

/// Compute what has been recorded so far.
///
/// To be called before results are read, once for all of them: a result that is read without it is computed alone, with
/// everything it depends on, and again for the next one.
pub fn compute_recorded() {
    #[cfg(feature = "xla")]
    super::xla::sync();
}

/// Wait until a device has computed everything.
///
/// # Errors
/// The device has failed.
pub fn finish<B: Backend>(device: &B::Device) -> Result<(), ExecutionError> {
    #[cfg(feature = "xla")]
    super::xla::finish();
    B::sync(device)
}

/// Set the seed of a device's random numbers.
pub(crate) fn seed<B: Backend>(device: &B::Device, seed: u64) {
    B::seed(device, seed);
    // Burn's libtorch backend does not reach XLA's generators.
    #[cfg(feature = "xla")]
    super::xla::seed(seed);
}

/// The number of graphs of recorded operations that were compiled, and the seconds it took; `None` where nothing is recorded.
pub(crate) fn compilations() -> Option<(usize, f64)> {
    #[cfg(feature = "xla")]
    return super::xla::compilations();
    #[cfg(not(feature = "xla"))]
    None
}
