//! Two functions for code that is specialized for Burn's flex backend: one recognizes the backend in generic code, the
//! other runs a loop with the widest vector instructions of the CPU.
//!
//! ```
//! use burn::backend::Flex;
//!
//! assert!(flex_simd::is_flex::<Flex>());
//! let mut values = [1.0_f32; 64];
//! flex_simd::vectorized(
//!     #[inline(always)]
//!     || values.iter_mut().for_each(|value| *value *= 2.0),
//! );
//! assert_eq!(values, [2.0; 64]);
//! ```

use std::any::TypeId;

use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

/// Whether the float tensors of backend `B` are those of flex, without autodiff.
pub fn is_flex<B: Backend>() -> bool {
    TypeId::of::<FloatTensor<B>>() == TypeId::of::<FlexTensor>()
}

/// Runs `f` compiled for the best instruction set of this CPU, detected at run time.
///
/// `f` is plain Rust that the compiler vectorizes. It must be `#[inline(always)]` and must not consume its captures:
/// only then is its body inlined into the function that is compiled for that instruction set.
pub fn vectorized<R>(f: impl FnMut() -> R) -> R {
    struct Inline<F>(F);
    impl<R, F: FnMut() -> R> pulp::WithSimd for Inline<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Inline(f))
}
