//! K-quants: blocks of 256 values, in groups with a scale each, the scales quantised too.
//!
//! ggml fits one group after the other and adds up in the order of its values. Here all groups
//! of a block are fitted side by side, one in each lane, so that every lane adds up in the same
//! order and the loops still run on whole registers. Values are turned round for it: `x[i][g]` is
//! value i of group g.

use half::f16;

use super::{K, half_bytes};

/// Groups of Q4_K and Q5_K, of 32 values.
const G: usize = 8;
/// Values of one of them.
const N: usize = K / G;
/// Groups of Q6_K, of 16 values.
const G6: usize = 16;
/// Values of one of them.
const N6: usize = K / G6;
/// A group whose largest magnitude is below this is all zero (`GROUP_MAX_EPS` of ggml).
const ALL_ZERO: f32 = 1e-15;

/// 4 bits, eight scales and minima of 6 bits.
#[inline(always)]
pub(super) fn q4_k(values: &[f32; K]) -> [u8; 144] {
    let x: [[f32; G]; N] = turned(values);
    let search = Search {
        most: 15,
        first: -1.0,
        steps: 20,
    };
    let (head, levels) = scale_and_minimum(&x, search);
    let mut out = [0; 144];
    out[..16].copy_from_slice(&head);
    for pair in 0..G / 2 {
        for i in 0..N {
            let (low, high) = (levels[i][2 * pair], levels[i][2 * pair + 1]);
            out[16 + pair * N + i] = (low | high << 4) as u8;
        }
    }
    out
}

/// 5 bits, eight scales and minima of 6 bits.
#[inline(always)]
pub(super) fn q5_k(values: &[f32; K]) -> [u8; 176] {
    let x: [[f32; G]; N] = turned(values);
    let search = Search {
        most: 31,
        first: -0.5,
        steps: 15,
    };
    let (head, levels) = scale_and_minimum(&x, search);
    let mut out = [0; 176];
    out[..16].copy_from_slice(&head);
    for i in 0..N {
        for g in 0..G {
            out[16 + i] |= ((levels[i][g] >> 4 & 1) as u8) << g;
        }
        for pair in 0..G / 2 {
            let (low, high) = (levels[i][2 * pair] & 15, levels[i][2 * pair + 1] & 15);
            out[48 + pair * N + i] = (low | high << 4) as u8;
        }
    }
    out
}

/// 6 bits, symmetric about 0, sixteen scales of 8 bits.
#[inline(always)]
pub(super) fn q6_k(values: &[f32; K]) -> [u8; 210] {
    let x: [[f32; G6]; N6] = turned(values);
    let (scales, mut levels) = fit_symmetric(&x);
    let mut largest = 0.0f32;
    for scale in scales {
        if scale.abs() > largest.abs() {
            largest = scale;
        }
    }
    let mut out = [0; 210];
    if largest.abs() < ALL_ZERO {
        return out;
    }
    let inverse = -128.0 / largest;
    let d = f16::from_f32(1.0 / inverse);
    let steps = scales.map(|scale| nearest(inverse * scale).min(127));
    for g in 0..G6 {
        let step = d.to_f32() * steps[g] as i8 as f32;
        if step != 0.0 {
            for i in 0..N6 {
                levels[i][g] = nearest(x[i][g] / step).clamp(-32, 31) + 32;
            }
        }
        out[192 + g] = (steps[g] as i8).cast_unsigned();
    }
    for at in 0..K {
        // Per half of 128 values: 64 bytes of low nibbles, 32 bytes of high bit pairs.
        let (half, part, j) = (at / 128, at / 32 % 4, at % 32);
        let level = levels[at % N6][at / N6] as u8;
        out[half * 64 + part % 2 * 32 + j] |= (level & 15) << (4 * (part / 2));
        out[128 + half * 32 + j] |= (level >> 4) << (2 * part);
    }
    out[208..].copy_from_slice(&d.to_le_bytes());
    out
}

/// How a scale and a minimum are searched for.
#[derive(Clone, Copy)]
struct Search {
    /// The highest level.
    most: i32,
    /// The first number added to the highest level; each further one is 0.1 more.
    first: f32,
    /// Numbers tried after the first.
    steps: i32,
}

/// Returns the first 16 bytes of a block, two half-precision factors and the packed scales and
/// minima, and the level of every value.
#[inline(always)]
fn scale_and_minimum(x: &[[f32; G]; N], search: Search) -> ([u8; 16], [[i32; G]; N]) {
    let mut squares = [0.0f32; G];
    for row in x {
        for g in 0..G {
            squares[g] += row[g] * row[g];
        }
    }
    let spread = squares.map(|sum| (sum / N as f32).sqrt());
    let mut weights = [[0.0f32; G]; N];
    for i in 0..N {
        for g in 0..G {
            weights[i][g] = spread[g] + x[i][g].abs();
        }
    }
    let (scales, minima, mut levels) = fit(x, &weights, search);
    // Not `max`, which may prefer -0 to 0.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let largest = |values: [f32; G]| values.into_iter().fold(0.0, larger);
    let (scale, minimum) = (largest(scales), largest(minima));
    let six_bits = |values: [f32; G], largest: f32| {
        let inverse = if largest > 0.0 { 63.0 / largest } else { 0.0 };
        values.map(|value| (nearest(inverse * value) as u8).min(63))
    };
    let (s, m) = (six_bits(scales, scale), six_bits(minima, minimum));
    let (d, dm) = (f16::from_f32(scale / 63.0), f16::from_f32(minimum / 63.0));
    let step: [f32; G] = std::array::from_fn(|g| d.to_f32() * f32::from(s[g]));
    let below: [f32; G] = std::array::from_fn(|g| dm.to_f32() * f32::from(m[g]));
    for i in 0..N {
        for g in 0..G {
            let level = nearest((x[i][g] + below[g]) / step[g]).clamp(0, search.most);
            levels[i][g] = if step[g] == 0.0 { levels[i][g] } else { level };
        }
    }
    let mut head = [0; 16];
    head[..2].copy_from_slice(&half_bytes(scale / 63.0));
    head[2..4].copy_from_slice(&half_bytes(minimum / 63.0));
    for g in 0..G / 2 {
        head[4 + g] = s[g] | s[g + 4] >> 4 << 6;
        head[8 + g] = m[g] | m[g + 4] >> 4 << 6;
        head[12 + g] = s[g + 4] & 15 | (m[g + 4] & 15) << 4;
    }
    (head, levels)
}

/// Fits `x = scale * level - minimum` in every group by weighted least squares over several
/// roundings (`make_qkx2_quants` of ggml). Returns scales, minima and levels.
#[inline(always)]
fn fit(
    x: &[[f32; G]; N],
    weights: &[[f32; G]; N],
    search: Search,
) -> ([f32; G], [f32; G], [[i32; G]; N]) {
    let most = search.most as f32;
    let (mut low, mut high) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x: [f32; G] = std::array::from_fn(|g| weights[0][g] * x[0][g]);
    for i in 1..N {
        for g in 0..G {
            low[g] = if x[i][g] < low[g] { x[i][g] } else { low[g] };
            high[g] = if x[i][g] > high[g] { x[i][g] } else { high[g] };
            sum_w[g] += weights[i][g];
            sum_x[g] += weights[i][g] * x[i][g];
        }
    }
    low = low.map(|low| if low > 0.0 { 0.0 } else { low });
    let flat: [bool; G] = std::array::from_fn(|g| high[g] == low[g]);
    let inverse: [f32; G] = std::array::from_fn(|g| most / (high[g] - low[g]));
    let mut scale = inverse.map(|inverse| 1.0 / inverse);
    let mut levels = round(x, &inverse, &low, search.most);
    let mut best = error(x, weights, &levels, &scale, &low);
    for step in 0..=search.steps {
        let top = search.first + 0.1 * step as f32 + most;
        let inverse: [f32; G] = std::array::from_fn(|g| top / (high[g] - low[g]));
        let tried = round(x, &inverse, &low, search.most);
        let (sum_l, sum_l2, sum_xl) = sums(x, weights, &tried);
        let mut new_scale = [0.0f32; G];
        let mut new_low = [0.0f32; G];
        let mut solvable = [false; G];
        for g in 0..G {
            let determinant = sum_w[g] * sum_l2[g] - sum_l[g] * sum_l[g];
            solvable[g] = determinant > 0.0;
            new_scale[g] = (sum_w[g] * sum_xl[g] - sum_x[g] * sum_l[g]) / determinant;
            new_low[g] = (sum_l2[g] * sum_x[g] - sum_l[g] * sum_xl[g]) / determinant;
            if new_low[g] > 0.0 {
                new_low[g] = 0.0;
                new_scale[g] = sum_xl[g] / sum_l2[g];
            }
        }
        let found = error(x, weights, &tried, &new_scale, &new_low);
        let better: [bool; G] = std::array::from_fn(|g| solvable[g] & (found[g] < best[g]));
        if better.contains(&true) {
            for i in 0..N {
                for g in 0..G {
                    levels[i][g] = if better[g] { tried[i][g] } else { levels[i][g] };
                }
            }
            for g in 0..G {
                best[g] = if better[g] { found[g] } else { best[g] };
                scale[g] = if better[g] { new_scale[g] } else { scale[g] };
                low[g] = if better[g] { new_low[g] } else { low[g] };
            }
        }
    }
    for g in 0..G {
        if flat[g] {
            scale[g] = 0.0;
            for row in &mut levels {
                row[g] = 0;
            }
        }
    }
    (scale, low.map(|low| -low), levels)
}

#[inline(always)]
fn round(x: &[[f32; G]; N], inverse: &[f32; G], low: &[f32; G], most: i32) -> [[i32; G]; N] {
    let mut levels = [[0; G]; N];
    for i in 0..N {
        for g in 0..G {
            levels[i][g] = nearest(inverse[g] * (x[i][g] - low[g])).clamp(0, most);
        }
    }
    levels
}

/// Returns the weighted squared error of every group.
#[inline(always)]
fn error(
    x: &[[f32; G]; N],
    weights: &[[f32; G]; N],
    levels: &[[i32; G]; N],
    scale: &[f32; G],
    low: &[f32; G],
) -> [f32; G] {
    let mut sum = [0.0f32; G];
    for i in 0..N {
        for g in 0..G {
            let difference = scale[g] * levels[i][g] as f32 + low[g] - x[i][g];
            sum[g] += weights[i][g] * (difference * difference);
        }
    }
    sum
}

/// Returns the weighted sums of levels, their squares, and their products with the values.
#[inline(always)]
fn sums(
    x: &[[f32; G]; N],
    weights: &[[f32; G]; N],
    levels: &[[i32; G]; N],
) -> ([f32; G], [f32; G], [f32; G]) {
    let (mut l, mut l2, mut xl) = ([0.0f32; G], [0.0f32; G], [0.0f32; G]);
    for i in 0..N {
        for g in 0..G {
            let level = levels[i][g] as f32;
            let weighted = weights[i][g] * level;
            l[g] += weighted;
            l2[g] += weighted * level;
            xl[g] += weighted * x[i][g];
        }
    }
    (l, l2, xl)
}

/// Fits `x = scale * (level - 32)` in every group, the squares of the values as weights
/// (`make_qx_quants` of ggml). Returns scales and levels.
#[inline(always)]
fn fit_symmetric(x: &[[f32; G6]; N6]) -> ([f32; G6], [[i32; G6]; N6]) {
    let mut extreme = [0.0f32; G6];
    for row in x {
        for g in 0..G6 {
            if row[g].abs() > extreme[g].abs() {
                extreme[g] = row[g];
            }
        }
    }
    let mut scale = [0.0f32; G6];
    let mut best = [0.0f32; G6];
    let mut levels = [[0; G6]; N6];
    // The plain rounding first, then nine on either side of it.
    for step in std::iter::once(0).chain((-9..=9).filter(|step| *step != 0)) {
        let first = step == 0;
        let inverse = extreme.map(|extreme| -(32.0 + 0.1 * step as f32) / extreme);
        let mut tried = [[0; G6]; N6];
        let (mut xl, mut l2) = ([0.0f32; G6], [0.0f32; G6]);
        for i in 0..N6 {
            for g in 0..G6 {
                let level = nearest(inverse[g] * x[i][g]).clamp(-32, 31);
                tried[i][g] = level + 32;
                let weight = x[i][g] * x[i][g];
                let level = level as f32;
                xl[g] += weight * x[i][g] * level;
                l2[g] += weight * level * level;
            }
        }
        let better: [bool; G6] =
            std::array::from_fn(|g| first | ((l2[g] > 0.0) & (xl[g] * xl[g] > best[g] * l2[g])));
        for g in 0..G6 {
            let found = if l2[g] == 0.0 { 0.0 } else { xl[g] / l2[g] };
            scale[g] = if better[g] { found } else { scale[g] };
            best[g] = if better[g] { found * xl[g] } else { best[g] };
        }
        for i in 0..N6 {
            for g in 0..G6 {
                levels[i][g] = if better[g] { tried[i][g] } else { levels[i][g] };
            }
        }
    }
    for g in 0..G6 {
        if extreme[g].abs() < ALL_ZERO {
            scale[g] = 0.0;
            for row in &mut levels {
                row[g] = 0;
            }
        }
    }
    (scale, levels)
}

/// Returns the nearest integer, halves to the even one, for magnitudes below 2^22; what it
/// returns for others is not said.
#[inline(always)]
fn nearest(value: f32) -> i32 {
    // Adding 1.5 * 2^23 leaves the integer in the low bits of the sum.
    let sum = value + 12_582_912.0;
    (sum.to_bits() & 0x007f_ffff).cast_signed() - 0x0040_0000
}

#[inline(always)]
fn turned<const GROUPS: usize, const COUNT: usize>(values: &[f32; K]) -> [[f32; GROUPS]; COUNT] {
    let mut out = [[0.0; GROUPS]; COUNT];
    for g in 0..GROUPS {
        for i in 0..COUNT {
            out[i][g] = values[g * COUNT + i];
        }
    }
    out
}
