//! Eight instruments at a time: the arithmetic of kernels that keep much state,
//! written so that it stays in vector registers.

use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// Values of eight lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(crate) [f64; 8]);

/// Returns the blocks of a row.
#[inline(always)]
pub(crate) fn blocks(row: &[f64]) -> &[[f64; 8]] {
    row.as_chunks().0
}

/// Returns the blocks of a row to write.
#[inline(always)]
pub(crate) fn blocks_mut(row: &mut [f64]) -> &mut [[f64; 8]] {
    row.as_chunks_mut().0
}

impl Lanes {
    pub(crate) const ZERO: Self = Self::of(0.0);
    pub(crate) const UNKNOWN: Self = Self::of(f64::NAN);

    /// The same value in all lanes.
    #[inline(always)]
    pub(crate) const fn of(value: f64) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    pub(crate) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let mut result = self;
        for value in &mut result.0 {
            *value = f(*value);
        }
        result
    }

    #[inline(always)]
    pub(crate) fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut result = self;
        for lane in 0..8 {
            result.0[lane] = f(self.0[lane], other.0[lane]);
        }
        result
    }

    /// Where this value is known `yes`, elsewhere `no`.
    #[inline(always)]
    pub(crate) fn known_or(self, yes: Self, no: Self) -> Self {
        let mut result = yes;
        for lane in 0..8 {
            result.0[lane] = if self.0[lane].is_nan() {
                no.0[lane]
            } else {
                yes.0[lane]
            };
        }
        result
    }

    /// Where `self < other` this `yes`, elsewhere (also where unknown) `no`.
    #[inline(always)]
    pub(crate) fn less(self, other: Self, yes: Self, no: Self) -> Self {
        let mut result = no;
        for lane in 0..8 {
            result.0[lane] = if self.0[lane] < other.0[lane] {
                yes.0[lane]
            } else {
                no.0[lane]
            };
        }
        result
    }

    /// Where `self == other` this `yes`, elsewhere `no`.
    #[inline(always)]
    pub(crate) fn equal(self, other: Self, yes: Self, no: Self) -> Self {
        let mut result = no;
        for lane in 0..8 {
            result.0[lane] = if self.0[lane] == other.0[lane] {
                yes.0[lane]
            } else {
                no.0[lane]
            };
        }
        result
    }

    /// Not below 0.
    #[inline(always)]
    pub(crate) fn not_negative(self) -> Self {
        self.less(Self::ZERO, Self::ZERO, self)
    }

    /// Whether any lane is above 0.
    #[inline(always)]
    pub(crate) fn any(self) -> bool {
        self.0.iter().fold(false, |any, &value| any | (value > 0.0))
    }

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        self.map(f64::sqrt)
    }

    /// Infinities are unknown.
    #[inline(always)]
    pub(crate) fn known(self) -> Self {
        self.map(super::kernel::known)
    }
}

macro_rules! arithmetic {
    ($trait:ident, $method:ident, $operator:tt) => {
        impl $trait for Lanes {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.with(other, #[inline(always)] |a, b| a $operator b)
            }
        }
    };
}

arithmetic!(Add, add, +);
arithmetic!(Sub, sub, -);
arithmetic!(Mul, mul, *);
arithmetic!(Div, div, /);

impl AddAssign for Lanes {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
