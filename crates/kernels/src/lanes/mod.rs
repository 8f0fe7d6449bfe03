//! Sixteen f32 side by side, written once for every register width.
//!
//! Generic loops over [`Lanes`] decode stored weights and multiply without passing through memory.
//! Every operation rounds alike everywhere and sums have one order, so the register width changes
//! no bit of a result. Wide versions take their instructions from `pulp`, whose tokens prove that
//! the machine has them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;

pub(crate) use plain::{Plain, half};

/// Number of lanes.
pub(crate) const WIDTH: usize = 16;

/// Arithmetic on sixteen numbers; the token's existence says that the machine can do it.
pub(crate) trait Lanes: Copy {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen whole numbers of 32 bits.
    type I: Copy;
    /// The values of sixteen four-bit codes.
    type Table: Copy;

    fn load(self, x: &[f32; WIDTH]) -> Self::F;
    fn splat(self, x: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns a * b + c, rounded once.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Returns the sum of all lanes: halves are added to one another until one lane is left.
    fn sum(self, a: Self::F) -> f32;

    /// Widens bytes to numbers from 0 to 255.
    fn unsigned(self, bytes: &[u8; WIDTH]) -> Self::I;
    /// Widens bytes to numbers from -128 to 127.
    fn signed(self, bytes: &[u8; WIDTH]) -> Self::I;
    fn splat_whole(self, x: i32) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_whole(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts zeros in from the left; by less than 32.
    fn shift_right(self, a: Self::I, bits: u32) -> Self::I;
    /// Shifts zeros in from the right; by less than 32.
    fn shift_left(self, a: Self::I, bits: u32) -> Self::I;
    fn float(self, a: Self::I) -> Self::F;

    /// Reads half-precision numbers, which are finite.
    fn halves(self, bytes: &[u8; 2 * WIDTH]) -> Self::F;
    /// Reads bf16 numbers.
    fn brains(self, bytes: &[u8; 2 * WIDTH]) -> Self::F;
    /// Reads a finite half-precision number into all lanes.
    fn splat_half(self, bytes: [u8; 2]) -> Self::F;
    /// Reads two finite half-precision numbers, each into all lanes.
    #[inline(always)]
    fn splat_two_halves(self, [a, b, c, d]: [u8; 4]) -> [Self::F; 2] {
        [self.splat_half([a, b]), self.splat_half([c, d])]
    }

    /// Returns the values code * scale + offset, rounded after each operation, of the codes 0 to 15.
    fn table(self, scale: Self::F, offset: Self::F) -> Self::Table;
    /// Returns the values of codes, of which the low four bits count.
    fn look_up(self, table: Self::Table, codes: Self::I) -> Self::F;
}

/// Work that is compiled for every kind of [`Lanes`].
pub(crate) trait Work {
    fn run<L: Lanes>(self, lanes: L);
}

/// Runs `work` on the widest lanes of this machine.
pub(crate) fn on_widest(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(token) = pulp::x86::V4::try_new() {
            return token.vectorize(Bound(token, work));
        }
        if let Some(token) = pulp::x86::V3::try_new() {
            return token.vectorize(Bound(token, work));
        }
    }
    // Arm's instructions for four lanes are part of its baseline.
    work.run(Plain);
}

/// Work with the lanes it shall run on.
#[cfg(target_arch = "x86_64")]
struct Bound<L, W>(L, W);

#[cfg(target_arch = "x86_64")]
impl<L: Lanes, W: Work> pulp::NullaryFnOnce for Bound<L, W> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.1.run(self.0);
    }
}

#[cfg(test)]
mod tests;
