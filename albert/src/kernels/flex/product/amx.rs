//! The kernel of a bf16 product for CPUs with AMX, on Linux.
//!
//! AMX computes with eight *tiles* of 16 rows and 64 bytes. Four hold 32 × 32 float32 sums, the other four their factors:
//! in a step over 32 elements of k, each of the left tiles is multiplied by each of the right ones.
//!
//! Sources: Intel, *64 and IA-32 Architectures Software Developer's Manual*, volume 1, "Programming with Intel AMX", and
//! volume 2, `TDPBF16PS`, which sums even and odd elements of k separately, adds both to the result, and treats subnormal
//! numbers as zero; Linux, *Using XSTATE features in user space applications*.
#![expect(unsafe_code, reason = "AMX has no stable intrinsics")]

#[cfg(all(test, target_os = "linux"))]
pub(super) mod emulator;

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv};
use std::marker::PhantomData;
use std::sync::LazyLock;

use super::Matrix;
use super::avx512::{self, LANES};
use super::packed::{Kernel, TILE_COLUMNS, Tile, block_of_columns, block_of_rows};

/// Assembly that may change every tile. `asm!` does not take its operands from a constant.
macro_rules! tile_asm {
    ($($argument:tt)*) => {
        asm!(
            $($argument)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        )
    };
}

const ROWS: usize = 32;

/// Pairs of k in a tile of a factor.
const STEP: usize = 16;

/// The feature number of the tiles' contents in extended processor state.
const TILE_DATA: u32 = 18;

/// Whether this CPU and its operating system support the kernel.
pub(super) fn is_available() -> bool {
    static IS_AVAILABLE: LazyLock<bool> =
        LazyLock::new(|| avx512::is_available() && has_instructions() && may_use_tiles());
    *IS_AVAILABLE
}

/// Whether the CPU has the instructions and the operating system saves the tiles.
fn has_instructions() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    /// The tiles' configuration and contents.
    const STATE: u64 = 1 << (TILE_DATA - 1) | 1 << TILE_DATA;

    #[target_feature(enable = "xsave")]
    fn saved_state() -> u64 {
        // SAFETY: XCR0 can be read once the operating system has enabled XSAVE, which AVX requires.
        unsafe { _xgetbv(0) }
    }

    let (last_leaf, _) = __get_cpuid_max(0);
    let has = last_leaf >= 7 && __cpuid_count(7, 0).edx & (BF16 | TILES) == (BF16 | TILES);
    // SAFETY: the CPU supports `xgetbv`, as just checked.
    has && is_x86_feature_detected!("xsave") && unsafe { saved_state() } & STATE == STATE
}

/// Requests permission from Linux, which grants the tiles only on request, because they enlarge every thread's saved state.
fn may_use_tiles() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        // SAFETY: the call only requests a permission.
        unsafe {
            libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, libc::c_ulong::from(TILE_DATA))
                == 0
        }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// A thread's configured tiles. Dropping this releases them, so that context switches need not save them.
pub(super) struct Amx {
    /// The configuration belongs to the thread.
    not_send: PhantomData<*mut ()>,
}

/// The operand of `ldtilecfg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// All eight tiles at their full size.
    const FULL: Self = {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            (row_bytes[tile], rows[tile]) = (64, 16);
            tile += 1;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    };
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: the value exists, so AMX is available or emulated.
        unsafe {
            tile_asm!("tilerelease", options(nomem, nostack, preserves_flags),);
        }
    }
}

impl Kernel<LANES> for Amx {
    const ROWS: usize = ROWS;
    const STEP: usize = STEP;

    /// Packs 16 pairs of k at a time, of all rows: the layout of the left factor's tiles.
    #[inline(always)]
    fn pack_left(matrix: Matrix<'_>, first: usize, rows: usize, panel: &mut [[u32; LANES]]) {
        for (step, tiles) in panel.chunks_exact_mut(ROWS).enumerate() {
            for (above, tile) in (0..rows).step_by(LANES).zip(tiles.chunks_exact_mut(LANES)) {
                let rows = first + above..first + rows.min(above + LANES);
                tile.copy_from_slice(&if matrix.column_stride == 1 {
                    avx512::round(&block_of_rows(matrix, rows, step))
                } else {
                    avx512::transpose(&block_of_columns(matrix, rows, step))
                });
            }
        }
    }

    fn start() -> Self {
        // Tests install an emulator.
        assert!(is_available() || cfg!(test), "this CPU lacks AMX");
        // SAFETY: as just asserted.
        unsafe {
            tile_asm!(
                "ldtilecfg [{}]",
                in(reg) &Configuration::FULL,
                options(readonly, nostack, preserves_flags),
            );
        }
        Self { not_send: PhantomData }
    }

    fn multiply(
        &self,
        left: &[[u32; LANES]],
        right: &[[u32; TILE_COLUMNS]],
        mut tile: Tile<'_>,
        adds: bool,
    ) {
        assert_eq!(left.len() * STEP, right.len() * ROWS, "the panels' lengths");
        assert!(right.len().is_multiple_of(STEP), "whole steps");
        let [rows, columns] = tile.size();
        assert!(rows <= ROWS);
        let (start, stride) = (tile.start(), tile.stride());
        if [rows, columns] == [ROWS, TILE_COLUMNS] {
            // SAFETY: the panels and the tile have this size, as just asserted; the tiles are configured.
            unsafe { multiply_panels(left, right, start, stride, adds) };
            return;
        }
        let mut sums = [[0.0; TILE_COLUMNS]; ROWS];
        let elements = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        // SAFETY: as above; the sums are as large as a whole tile, and every element accessed through `start` is in the tile.
        unsafe {
            if adds {
                elements.clone().for_each(|(i, j)| sums[i][j] = *start.add(i * stride + j));
            }
            multiply_panels(left, right, sums.as_mut_ptr().cast(), TILE_COLUMNS, adds);
            elements.for_each(|(i, j)| *start.add(i * stride + j) = sums[i][j]);
        }
    }
}

/// # Safety
/// The panels must hold the same whole number of steps, and `start` must be valid for writes of [`ROWS`] × [`TILE_COLUMNS`]
/// elements with `stride`, and if it `adds`, for reads. The tiles must be configured.
unsafe fn multiply_panels(
    left: &[[u32; LANES]],
    right: &[[u32; TILE_COLUMNS]],
    start: *mut f32,
    stride: usize,
    adds: bool,
) {
    // SAFETY: all loads and stores are within the panels and the result, as the caller promises.
    unsafe {
        tile_asm!(
            "test {adds:e}, {adds:e}",
            "jz 2f",
            "tileloadd tmm0, [{upper} + {stride}]",
            "tileloadd tmm1, [{upper} + {stride} + 64]",
            "tileloadd tmm2, [{lower} + {stride}]",
            "tileloadd tmm3, [{lower} + {stride} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "test {steps}, {steps}",
            "jz 5f",
            "4:",
            "tileloadd tmm4, [{left} + {left_stride}]",
            "tileloadd tmm6, [{right} + {right_stride}]",
            "tileloadd tmm7, [{right} + {right_stride} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{left} + {left_stride} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 4b",
            "5:",
            "tilestored [{upper} + {stride}], tmm0",
            "tilestored [{upper} + {stride} + 64], tmm1",
            "tilestored [{lower} + {stride}], tmm2",
            "tilestored [{lower} + {stride} + 64], tmm3",
            adds = in(reg) u32::from(adds),
            upper = in(reg) start,
            lower = in(reg) start.wrapping_add(ROWS / 2 * stride),
            stride = in(reg) stride * size_of::<f32>(),
            left = inout(reg) left.as_ptr() => _,
            left_stride = in(reg) size_of::<[u32; LANES]>(),
            right = inout(reg) right.as_ptr() => _,
            right_stride = in(reg) size_of::<[u32; TILE_COLUMNS]>(),
            steps = inout(reg) right.len() / STEP => _,
            options(nostack),
        );
    }
}
