//! Blocks of 32 values with one scale, or a scale and a minimum.

use super::{half_bytes, inverse};

/// Values of a block.
const N: usize = 32;

/// 4 bits: the value furthest from 0 becomes -8.
#[inline(always)]
pub(super) fn q4_0(x: &[f32; N]) -> [u8; 18] {
    let d = extreme(x) / -8.0;
    let id = inverse(d);
    let mut out = [0; 18];
    out[..2].copy_from_slice(&half_bytes(d));
    for j in 0..N / 2 {
        let level = |value: f32| ((value * id + 8.5) as i8 as u8).min(15);
        out[2 + j] = level(x[j]) | level(x[N / 2 + j]) << 4;
    }
    out
}

/// 4 bits above the minimum.
#[inline(always)]
pub(super) fn q4_1(x: &[f32; N]) -> [u8; 20] {
    let (low, high) = range(x);
    let d = (high - low) / 15.0;
    let id = inverse(d);
    let mut out = [0; 20];
    out[..2].copy_from_slice(&half_bytes(d));
    out[2..4].copy_from_slice(&half_bytes(low));
    for j in 0..N / 2 {
        let level = |value: f32| (((value - low) * id + 0.5) as i8 as u8).min(15);
        out[4 + j] = level(x[j]) | level(x[N / 2 + j]) << 4;
    }
    out
}

/// 5 bits: the value furthest from 0 becomes -16.
#[inline(always)]
pub(super) fn q5_0(x: &[f32; N]) -> [u8; 22] {
    let d = extreme(x) / -16.0;
    let id = inverse(d);
    let mut out = [0; 22];
    out[..2].copy_from_slice(&half_bytes(d));
    let levels = x.map(|value| ((value * id + 16.5) as i8 as u8).min(31));
    five_bits(&levels, &mut out[2..]);
    out
}

/// 5 bits above the minimum.
#[inline(always)]
pub(super) fn q5_1(x: &[f32; N]) -> [u8; 24] {
    let (low, high) = range(x);
    let d = (high - low) / 31.0;
    let id = inverse(d);
    let mut out = [0; 24];
    out[..2].copy_from_slice(&half_bytes(d));
    out[2..4].copy_from_slice(&half_bytes(low));
    let levels = x.map(|value| ((value - low) * id + 0.5) as u8);
    five_bits(&levels, &mut out[4..]);
    out
}

/// 8 bits, symmetric about 0; halves are rounded away from it.
#[inline(always)]
pub(super) fn q8_0(x: &[f32; N]) -> [u8; 34] {
    let d = extreme(x).abs() / 127.0;
    let id = inverse(d);
    let mut out = [0; 34];
    out[..2].copy_from_slice(&half_bytes(d));
    for (out, value) in out[2..].iter_mut().zip(x) {
        *out = ((value * id).round() as i8).cast_unsigned();
    }
    out
}

/// Writes the fifth bits, then the low nibbles.
#[inline(always)]
fn five_bits(levels: &[u8; N], out: &mut [u8]) {
    let mut high = 0u32;
    for (j, level) in levels.iter().enumerate() {
        high |= u32::from(level >> 4 & 1) << j;
    }
    out[..4].copy_from_slice(&high.to_le_bytes());
    for j in 0..N / 2 {
        out[4 + j] = levels[j] & 15 | (levels[N / 2 + j] & 15) << 4;
    }
}

/// Returns the first value that is furthest from 0, with its sign.
#[inline(always)]
fn extreme(x: &[f32; N]) -> f32 {
    let mut furthest = 0.0f32;
    for value in x {
        if furthest.abs() < value.abs() {
            furthest = *value;
        }
    }
    furthest
}

#[inline(always)]
fn range(x: &[f32; N]) -> (f32, f32) {
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    for value in x {
        low = if *value < low { *value } else { low };
        high = if *value > high { *value } else { high };
    }
    (low, high)
}
