//! Products of factors rounded to bf16, with sums in float32: the instructions and the rounding.
//!
//! | instructions | how |
//! |---|---|
//! | `amx` | `tdpbf16ps`, 8,192 multiply-adds: at best sixteen times the speed of float32 |
//! | `avx512` | `vdpbf16ps`, two multiply-adds per element: at best twice the speed of float32 |
//! | `fp32` | float32 products of the rounded factors, on any CPU |

use std::iter;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use super::{amx, avx512};

/// The instructions that multiply bf16 factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// Float32 multiply-adds of rounded factors.
    Fp32,
    /// AVX-512-BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AMX.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Instructions {
    /// The fastest that this CPU supports, within the limit set by the environment variable `L2SP_CPU_BF16`: `avx512`
    /// excludes AMX, `fp32` excludes AVX-512 as well.
    pub(super) fn best() -> Self {
        static BEST: LazyLock<Instructions> = LazyLock::new(|| {
            let limit = std::env::var("L2SP_CPU_BF16").ok();
            Instructions::within(limit.as_deref())
        });
        *BEST
    }

    fn within(limit: Option<&str>) -> Self {
        *Self::available(limit).last().unwrap_or(&Self::Fp32)
    }

    /// All that this CPU supports up to `limit`, slowest first.
    pub(super) fn available(limit: Option<&str>) -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let faster = [
            (Self::Avx512, limit != Some("fp32") && avx512::is_available()),
            (Self::Amx, !matches!(limit, Some("fp32" | "avx512")) && amx::is_available()),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let (faster, _): ([(Self, bool); 0], _) = ([], limit);
        let faster = faster.into_iter().filter(|(_, is_available)| *is_available);
        iter::once(Self::Fp32).chain(faster.map(|(instructions, _)| instructions)).collect()
    }
}

/// The bits of the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(in crate::kernels::flex) fn to_bits(x: f32) -> u16 {
    (rounded_bits(x) >> 16) as u16
}

/// A bf16 as float32.
#[inline(always)]
pub(in crate::kernels::flex) fn from_bits(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16, ties to even, as float32; NaN stays NaN.
#[inline(always)]
pub(in crate::kernels::flex) fn round(x: f32) -> f32 {
    f32::from_bits(rounded_bits(x))
}

/// The bits of the nearest bf16, in the upper half.
#[inline(always)]
pub(super) fn rounded_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let to_even = (bits >> 16) & 1;
    let nearest = bits.wrapping_add(0x7fff + to_even);
    // Rounding could carry a NaN to an infinity; the highest bit of the mantissa keeps it one.
    let bits = if x.is_nan() { bits | 0x0040_0000 } else { nearest };
    bits & 0xffff_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_ties_to_even() {
        // One unit in the last place of a bf16 at 1 is 2⁻⁷.
        let unit = 1.0 / 128.0;
        for (x, expected) in [
            (0.0, 0.0),
            (1.0 + 0.49 * unit, 1.0),
            (1.0 + 0.5 * unit, 1.0),
            (1.0 + 0.51 * unit, 1.0 + unit),
            (1.0 + 1.5 * unit, 1.0 + 2.0 * unit),
            (f32::MAX, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(round(x).to_bits(), f32::to_bits(expected));
            assert_eq!(from_bits(to_bits(x)), expected);
            assert_eq!(round(-x).to_bits(), f32::to_bits(-expected));
        }
        // The second's mantissa is in the lower half alone.
        assert!(round(f32::NAN).is_nan() && round(f32::from_bits(0x7f80_0001)).is_nan());
    }

    #[test]
    fn a_limit_forces_the_slower_path() {
        assert_eq!(Instructions::within(Some("fp32")), Instructions::Fp32);
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            assert_eq!(Instructions::within(Some("avx512")), Instructions::Avx512);
            let fastest =
                if amx::is_available() { Instructions::Amx } else { Instructions::Avx512 };
            for limit in [None, Some("amx")] {
                assert_eq!(Instructions::within(limit), fastest);
            }
        }
    }
}
