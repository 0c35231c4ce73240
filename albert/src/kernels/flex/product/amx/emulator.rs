//! AMX in software: a handler of SIGILL emulates the instructions that the CPU does not support, so that the kernel is tested
//! on every x86-64 Linux. Where AMX may be used, no signal is raised.
#![expect(
    unsafe_code,
    reason = "a signal handler that reads and writes the registers of its thread"
)]

use std::cell::RefCell;
use std::ptr;
use std::sync::Once;

use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// The general-purpose registers, in encoding order.
const REGISTERS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

type Tile = [[u8; ROW_BYTES]; ROWS];

type Tiles = [Tile; 8];

const ZEROS: Tiles = [[[0; ROW_BYTES]; ROWS]; 8];

thread_local! {
    /// This thread's tiles. Only full-size tiles are supported.
    static TILES: RefCell<Tiles> = const { RefCell::new(ZEROS) };
}

/// Installs the handler for this process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all zeros is an action, and the handler has the type that SA_SIGINFO demands.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = emulate as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, ptr::null_mut()), 0);
        }
    });
}

/// An instruction of the kernel. All have a three-byte VEX prefix for the opcode map 0F 38.
struct Instruction {
    opcode: u8,
    /// The mandatory prefix: none, 66, F3 or F2.
    prefix: u8,
    /// The fields `reg` and `rm` of ModRM and `vvvv` of VEX, which number tiles.
    reg: usize,
    rm: usize,
    vvvv: usize,
    /// The memory operand: its address and, if it has an index register, that register's value.
    memory: Option<(usize, Option<usize>)>,
    length: i64,
}

impl Instruction {
    /// # Safety
    /// `code` must point to an instruction.
    unsafe fn decode(code: *const u8, register: impl Fn(u8) -> usize) -> Self {
        // SAFETY: instructions of this form have these bytes; any other aborts here.
        unsafe {
            let byte = |index: usize| *code.add(index);
            if byte(0) != 0xc4 || byte(1) & 0x1f != 2 {
                libc::abort();
            }
            // VEX stores the registers' high bits inverted.
            let highest = |bit: u8| (byte(1) >> bit & 1 ^ 1) << 3;
            let [mode, reg, rm] = [byte(4) >> 6, byte(4) >> 3 & 7, byte(4) & 7];
            let mut length = 5;
            let memory = (mode != 3).then(|| {
                let (mut base, mut index) = (rm, None);
                if rm == 4 {
                    let [scale, number, of_base] = [byte(5) >> 6, byte(5) >> 3 & 7, byte(5) & 7];
                    let number = number | highest(6);
                    index = (number != 4).then(|| register(number) << scale);
                    base = of_base;
                    length = 6;
                }
                let displacement = match mode {
                    0 => 0,
                    1 => isize::from(byte(length).cast_signed()),
                    _ => code.add(length).cast::<i32>().read_unaligned() as isize,
                };
                length += [0, 1, 4][usize::from(mode)];
                let base = register(base | highest(5)).wrapping_add_signed(displacement);
                (base.wrapping_add(index.unwrap_or(0)), index)
            });
            Self {
                opcode: byte(3),
                prefix: [0, 0x66, 0xf3, 0xf2][usize::from(byte(2) & 3)],
                reg: usize::from(reg),
                rm: usize::from(rm),
                vvvv: usize::from(byte(2) >> 3 & 7 ^ 7),
                memory,
                length: length as i64,
            }
        }
    }

    /// # Safety
    /// The memory operand must be valid.
    unsafe fn execute(&self, tiles: &mut Tiles) {
        let Self { reg, rm, vvvv, .. } = *self;
        match (self.opcode, self.prefix, self.memory) {
            // LDTILECFG
            (0x49, 0, Some((address, _))) => {
                // SAFETY: as the caller promises.
                let operand = unsafe { *(address as *const super::Configuration) };
                assert_eq!(operand, super::Configuration::FULL);
                *tiles = ZEROS;
            }
            // TILERELEASE
            (0x49, 0, None) => *tiles = ZEROS,
            // TILEZERO
            (0x49, 0xf2, None) => tiles[reg] = [[0; ROW_BYTES]; ROWS],
            // TILELOADD and TILESTORED, where the index register is the stride.
            (0x4b, prefix @ (0xf2 | 0xf3), Some((address, Some(stride)))) => {
                for (row, elements) in tiles[reg].iter_mut().enumerate() {
                    // The first row is at the base, without the index.
                    let memory = address.wrapping_sub(stride).wrapping_add(row * stride);
                    let memory = memory as *mut [u8; ROW_BYTES];
                    // SAFETY: as the caller promises.
                    unsafe {
                        match prefix {
                            0xf2 => *elements = *memory,
                            _ => *memory = *elements,
                        }
                    }
                }
            }
            // TDPBF16PS
            (0x5c, 0xf3, None) => {
                let (left, right) = (tiles[rm], tiles[vvvv]);
                for (sums, left) in tiles[reg].iter_mut().zip(&left) {
                    multiply_row(sums, left, &right);
                }
            }
            // SAFETY: `abort` has no preconditions.
            _ => unsafe { libc::abort() },
        }
    }
}

/// Adds a row of a product to `sums`: even and odd elements of k are summed separately, then added.
fn multiply_row(sums: &mut [u8; ROW_BYTES], left: &[u8; ROW_BYTES], right: &Tile) {
    let bf16 = |bytes: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
    let (left, _) = left.as_chunks::<2>();
    for (column, sum) in sums.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut halves = [0.0; 2];
        for (pair, right) in right.iter().enumerate() {
            let (right, _) = right.as_chunks::<2>();
            for (half, total) in halves.iter_mut().enumerate() {
                let [x, y] = [left[2 * pair + half], right[2 * column + half]].map(bf16);
                // As a fused multiply-add, because the product of two bf16 is exact.
                *total += x * y;
            }
        }
        *sum = (f32::from_le_bytes(*sum) + (halves[0] + halves[1])).to_le_bytes();
    }
}

extern "C" fn emulate(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of the thread, whose instruction pointer is at the refused instruction.
    unsafe {
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let pointer = registers[libc::REG_RIP as usize];
        let register = |number: u8| registers[REGISTERS[usize::from(number)] as usize] as usize;
        let instruction = Instruction::decode(pointer as *const u8, register);
        TILES.with_borrow_mut(|tiles| instruction.execute(tiles));
        registers[libc::REG_RIP as usize] = pointer + instruction.length;
    }
}
