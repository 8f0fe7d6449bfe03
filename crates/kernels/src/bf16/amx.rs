//! Blocks of bf16 multiplied by Advanced Matrix Extensions (Intel's manual, volume 1, chapter 18).
//!
//! The intrinsics are not stable yet, so the instructions are written out. Eight tile registers of
//! 16 rows x 64 bytes: four hold sums, two a left block, two a right one.

use super::BLOCK;
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Palette 1, every tile 16 rows of 64 bytes, as `ldtilecfg` wants it.
#[repr(C, align(64))]
struct Shape([u8; 64]);

static SHAPE: Shape = Shape(shape());

const fn shape() -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    bytes
}

/// Returns whether this machine has the instructions and the system lets this process use them.
/// Asked once: the permission holds for all threads of the process.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| supported() && permitted())
}

/// CPUID leaf 7: AMX-BF16 is bit 22 of EDX, AMX-TILE bit 24. Leaf 0xd: bits 17 and 18 of EAX say
/// that the system saves the tiles.
fn supported() -> bool {
    let highest = __cpuid_count(0, 0).eax;
    if highest < 0xd {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    let saved = __cpuid_count(0xd, 0).eax;
    features >> 22 & 1 == 1 && features >> 24 & 1 == 1 && saved >> 17 & 3 == 3
}

/// Asks Linux for the tiles' memory in thread states (`arch_prctl(ARCH_REQ_XCOMP_PERM, 18)`).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: the call reads two numbers and touches no memory of ours; the kernel changes rcx
    // and r11 alone.
    #[expect(unsafe_code, reason = "a system call without pointers")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Elsewhere nobody has shown that it works.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Loads the tiles' shape on the calling thread.
pub(super) fn begin() {
    assert!(available(), "no AMX on this machine");
    // SAFETY: the instruction exists here and reads 64 bytes of a static.
    #[expect(unsafe_code, reason = "configures the tile registers")]
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) SHAPE.0.as_ptr(), options(nostack, readonly));
    }
}

/// Frees the tiles, so that thread switches need not save them.
pub(super) fn end() {
    assert!(available(), "no AMX on this machine");
    // SAFETY: the instruction exists here and touches the tiles alone.
    #[expect(unsafe_code, reason = "releases the tile registers")]
    unsafe {
        asm!("tilerelease", options(nostack, nomem));
    }
}

/// Computes c [32][32] = sum over blocks of a times b. [`begin`] was called on this thread.
///
/// # Panics
/// On a machine without the instructions.
pub(super) fn multiply(a: &[u16], b: &[u16], c: &mut [f32; BLOCK]) {
    assert!(available(), "no AMX on this machine");
    let blocks = a.len() / BLOCK;
    assert!(blocks > 0 && a.len() == blocks * BLOCK && b.len() == blocks * BLOCK);
    // SAFETY: the instructions exist here and the thread has loaded the tiles' shape. Every round
    // reads one block (2,048 bytes, rows 64 bytes apart) of each operand, and there are `blocks` of
    // both; the stores write 16 rows of 64 bytes, 128 bytes apart, in each quarter of c's 32 rows of
    // 128 bytes.
    #[expect(unsafe_code, reason = "AMX by inline assembly")]
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {row}*1]",
            "tileloadd tmm6, [{b} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {row}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {blocks}",
            "jnz 2b",
            "add {row}, 64",
            "tilestored [{c} + {row}*1], tmm0",
            "tilestored [{c} + {row}*1 + 64], tmm1",
            "tilestored [{c} + {row}*1 + 2048], tmm2",
            "tilestored [{c} + {row}*1 + 2112], tmm3",
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b.as_ptr() => _,
            c = in(reg) c.as_mut_ptr(),
            blocks = inout(reg) blocks => _,
            row = inout(reg) 64usize => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
