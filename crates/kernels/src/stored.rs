//! Weights as model files store them, multiplied as they are: a block is decoded in registers and
//! meets every row of the left operand there.
//!
//! Forms are those of ggml (`ggml-common.h`, `ggml-quants.c`). A decoded value equals the file
//! format's definition bit for bit, and sums have the order of [`dense`], so that a weight kept as
//! stored and its f32 copy give the same product.

use crate::lanes::{Lanes, WIDTH, half};

/// Values that a step of the sum takes: two groups of lanes.
pub(crate) const STEP: usize = 2 * WIDTH;

/// Products of R left rows with each of O weight rows.
pub(crate) type Sums<const R: usize, const O: usize> = [[f32; R]; O];

/// How the bytes of a row hold its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "ggml's own names")]
pub enum Form {
    /// Single precision, at any address.
    F32,
    /// Half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Blocks of 32: scale, four-bit codes about 8.
    Q4_0,
    /// Blocks of 32: scale, minimum, four-bit codes.
    Q4_1,
    /// Blocks of 32: scale, whole numbers of eight bits.
    Q8_0,
    /// Blocks of 256: eight groups of four-bit codes with a scale and a minimum each.
    Q4_K,
    /// Blocks of 256: as [`Form::Q4_K`] with five bits.
    Q5_K,
    /// Blocks of 256: six-bit codes about 32, sixteen groups with a scale each.
    Q6_K,
}

/// Returns the products of rows `x` with weight rows `w` in memory, which are of one length.
#[inline(always)]
pub(crate) fn dense<L: Lanes, const R: usize, const O: usize>(
    l: L,
    x: [&[f32]; R],
    w: [&[f32]; O],
) -> Sums<R, O> {
    let (mut blocks, mut rest): ([&[_]; O], [&[_]; O]) = ([&[]; O], [&[]; O]);
    for o in 0..O {
        (blocks[o], rest[o]) = w[o].as_chunks::<STEP>();
    }
    let mut sums = grouped::<L, _, 1, R, O>(
        l,
        x,
        blocks,
        #[inline(always)]
        |block: &[f32; STEP], _| {
            let [first, second] = halves_of(block);
            [l.load(first), l.load(second)]
        },
    );
    for (sums, rest) in sums.iter_mut().zip(rest) {
        with_rest(x, rest, sums);
    }
    sums
}

/// Returns the products of rows `x` with stored weight rows. Left rows have their number of values.
#[inline(always)]
pub(crate) fn stored<L: Lanes, const R: usize, const O: usize>(
    l: L,
    x: [&[f32]; R],
    form: Form,
    bytes: [&[u8]; O],
) -> Sums<R, O> {
    /// Decodes blocks of so many bytes, a whole number of which makes a row.
    macro_rules! blocks {
        ($bytes:literal, $groups:literal, $decode:ident) => {{
            let mut blocks: [&[_]; O] = [&[]; O];
            for o in 0..O {
                let (whole, rest) = bytes[o].as_chunks::<$bytes>();
                assert!(rest.is_empty(), "a row is a whole number of blocks");
                blocks[o] = whole;
            }
            grouped::<L, _, $groups, R, O>(
                l,
                x,
                blocks,
                #[inline(always)]
                |block: &[u8; $bytes], group| $decode(l, block, group),
            )
        }};
    }
    match form {
        Form::F32 => each::<L, 4, 64, 128, R, O>(
            (l, x),
            bytes,
            #[inline(always)]
            |part| l.load(&floats(part)),
            f32::from_le_bytes,
        ),
        Form::F16 => each::<L, 2, 32, 64, R, O>(
            (l, x),
            bytes,
            #[inline(always)]
            |part| l.halves(part),
            half,
        ),
        Form::Bf16 => each::<L, 2, 32, 64, R, O>(
            (l, x),
            bytes,
            #[inline(always)]
            |part| l.brains(part),
            |pair| f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16),
        ),
        Form::Q4_0 => blocks!(18, 1, q4_0),
        Form::Q4_1 => blocks!(20, 1, q4_1),
        Form::Q8_0 => blocks!(34, 1, q8_0),
        Form::Q4_K => blocks!(144, 8, q4_k),
        Form::Q5_K => blocks!(176, 8, q5_k),
        Form::Q6_K => blocks!(210, 8, q6_k),
    }
}

/// Reads sixteen numbers as the file keeps them.
#[inline(always)]
fn floats(bytes: &[u8; 4 * WIDTH]) -> [f32; WIDTH] {
    let mut values: [f32; WIDTH] = pulp::cast(*bytes);
    if cfg!(target_endian = "big") {
        values = values.map(|x| f32::from_bits(x.to_bits().swap_bytes()));
    }
    values
}

/// As [`stored`] for values of ONE byte count each, of which a row may have any number; LANES bytes
/// fill the lanes, a step takes BOTH.
#[inline(always)]
fn each<
    L: Lanes,
    const ONE: usize,
    const LANES: usize,
    const BOTH: usize,
    const R: usize,
    const O: usize,
>(
    (l, x): (L, [&[f32]; R]),
    bytes: [&[u8]; O],
    decode: impl Fn(&[u8; LANES]) -> L::F,
    one: impl Fn([u8; ONE]) -> f32,
) -> Sums<R, O> {
    const { assert!(LANES == ONE * WIDTH) };
    let (mut blocks, mut rest): ([&[_]; O], [&[_]; O]) = ([&[]; O], [&[]; O]);
    for o in 0..O {
        (blocks[o], rest[o]) = bytes[o].as_chunks::<BOTH>();
    }
    let mut sums = grouped::<L, _, 1, R, O>(
        l,
        x,
        blocks,
        #[inline(always)]
        |block: &[u8; BOTH], _| {
            let [first, second] = halves_of(block);
            [decode(first), decode(second)]
        },
    );
    for (sums, rest) in sums.iter_mut().zip(rest) {
        let (rest, _) = rest.as_chunks::<ONE>();
        let mut tail = [0.0; STEP];
        for (value, bytes) in tail.iter_mut().zip(rest) {
            *value = one(*bytes);
        }
        with_rest(x, &tail[..rest.len()], sums);
    }
    sums
}

/// Splits an array of constant length in two.
#[inline(always)]
fn halves_of<T, const N: usize, const HALF: usize>(all: &[T; N]) -> [&[T; HALF]; 2] {
    const { assert!(2 * HALF == N) };
    let (halves, _) = all.as_chunks::<HALF>();
    [&halves[0], &halves[1]]
}

/// Returns the products of rows with weight rows in blocks of GROUPS x [`STEP`] values, which `decode`
/// gives group by group. Value i goes to lane i % 32 of two groups of lanes; these are added to one
/// another, then halves to one another.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "indices run over several arrays whose sums must stay in registers"
)]
fn grouped<L: Lanes, T, const GROUPS: usize, const R: usize, const O: usize>(
    l: L,
    x: [&[f32]; R],
    blocks: [&[T]; O],
    decode: impl Fn(&T, usize) -> [L::F; 2],
) -> Sums<R, O> {
    let count = blocks[0].len();
    let mut steps: [&[[[f32; STEP]; GROUPS]]; R] = [&[]; R];
    for r in 0..R {
        steps[r] = &x[r].as_chunks::<STEP>().0.as_chunks::<GROUPS>().0[..count];
    }
    let mut weights = blocks;
    for o in 0..O {
        weights[o] = &blocks[o][..count];
    }
    let zero = l.splat(0.0);
    let (mut first, mut second) = ([[zero; R]; O], [[zero; R]; O]);
    for index in 0..count {
        for group in 0..GROUPS {
            for o in 0..O {
                let [w, v] = decode(&weights[o][index], group);
                for r in 0..R {
                    let [a, b] = halves_of(&steps[r][index][group]);
                    first[o][r] = l.mul_add(l.load(a), w, first[o][r]);
                    second[o][r] = l.mul_add(l.load(b), v, second[o][r]);
                }
            }
        }
    }
    let mut sums = [[0.0; R]; O];
    for o in 0..O {
        for r in 0..R {
            sums[o][r] = l.sum(l.add(first[o][r], second[o][r]));
        }
    }
    sums
}

/// Adds the products of the rows' last values with `rest`, one after the other.
#[inline(always)]
fn with_rest<const R: usize>(x: [&[f32]; R], rest: &[f32], sums: &mut [f32; R]) {
    for (sum, row) in sums.iter_mut().zip(x) {
        let last = &row[row.len() - rest.len()..];
        for (x, w) in last.iter().zip(rest) {
            *sum = x.mul_add(*w, *sum);
        }
    }
}

/// Returns the half-precision number at byte `at` of a block in all lanes.
#[inline(always)]
fn half_at<L: Lanes>(l: L, block: &[u8], at: usize) -> L::F {
    l.splat_half([block[at], block[at + 1]])
}

/// Returns `N` bytes of a block from `at` on.
#[inline(always)]
fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    match block[at..].first_chunk() {
        Some(part) => part,
        None => unreachable!("parts lie inside their block"),
    }
}

/// Looks up the low nibbles of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles<L: Lanes>(l: L, table: L::Table, bytes: &[u8; WIDTH]) -> [L::F; 2] {
    let codes = l.unsigned(bytes);
    [
        l.look_up(table, codes),
        l.look_up(table, l.shift_right(codes, 4)),
    ]
}

#[inline(always)]
fn q4_0<L: Lanes>(l: L, b: &[u8; 18], _: usize) -> [L::F; 2] {
    let d = half_at(l, b, 0);
    // d * code and d * 8 are exact, so this is d * (code - 8).
    let table = l.table(d, l.mul(d, l.splat(-8.0)));
    nibbles(l, table, part(b, 2))
}

#[inline(always)]
fn q4_1<L: Lanes>(l: L, b: &[u8; 20], _: usize) -> [L::F; 2] {
    let [d, m] = l.splat_two_halves(*part(b, 0));
    let table = l.table(d, m);
    nibbles(l, table, part(b, 4))
}

#[inline(always)]
fn q8_0<L: Lanes>(l: L, b: &[u8; 34], _: usize) -> [L::F; 2] {
    let d = half_at(l, b, 0);
    [
        l.mul(l.float(l.signed(part(b, 2))), d),
        l.mul(l.float(l.signed(part(b, 2 + WIDTH))), d),
    ]
}

/// Returns the scale and the negative minimum of a group of a K-quant block, whose six-bit numbers
/// are packed in 12 bytes from the fourth on.
#[inline(always)]
fn scale_and_offset<L: Lanes>(l: L, b: &[u8], group: usize) -> [L::F; 2] {
    let packed: &[u8; 12] = part(b, 4);
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        (
            packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        )
    };
    let [d, m] = l.splat_two_halves(*part(b, 0));
    [
        l.mul(d, l.splat(f32::from(scale))),
        l.mul(m, l.splat(-f32::from(minimum))),
    ]
}

/// Groups 2 i and 2 i + 1 share 32 bytes: low nibbles, then high ones.
#[inline(always)]
fn codes_of_group<L: Lanes>(l: L, codes: &[u8; STEP], group: usize) -> [L::I; 2] {
    let bits = 4 * (group as u32 % 2);
    let [first, second] = halves_of(codes);
    [
        l.shift_right(l.unsigned(first), bits),
        l.shift_right(l.unsigned(second), bits),
    ]
}

#[inline(always)]
fn q4_k<L: Lanes>(l: L, b: &[u8; 144], group: usize) -> [L::F; 2] {
    let [scale, offset] = scale_and_offset(l, b, group);
    let table = l.table(scale, offset);
    let [first, second] = codes_of_group(l, part(b, 16 + group / 2 * 32), group);
    [l.look_up(table, first), l.look_up(table, second)]
}

#[inline(always)]
fn q5_k<L: Lanes>(l: L, b: &[u8; 176], group: usize) -> [L::F; 2] {
    let [scale, offset] = scale_and_offset(l, b, group);
    let low = codes_of_group(l, part(b, 48 + group / 2 * 32), group);
    let high: [&[u8; WIDTH]; 2] = halves_of(part::<STEP>(b, 16));
    let mut values = [offset; 2];
    for i in 0..2 {
        let fifth = l.shift_right(l.unsigned(high[i]), group as u32);
        let fifth = l.shift_left(l.and(fifth, l.splat_whole(1)), 4);
        let code = l.or(l.and(low[i], l.splat_whole(15)), fifth);
        values[i] = l.add(l.mul(l.float(code), scale), offset);
    }
    values
}

/// Halves of 128 values: 64 bytes of low nibbles, 32 bytes of high bit pairs.
#[inline(always)]
fn q6_k<L: Lanes>(l: L, b: &[u8; 210], group: usize) -> [L::F; 2] {
    let (side, quarter) = (group / 4, group % 4);
    let low: [&[u8; WIDTH]; 2] = halves_of(part::<STEP>(b, side * 64 + quarter % 2 * 32));
    let high: [&[u8; WIDTH]; 2] = halves_of(part::<STEP>(b, 128 + side * 32));
    let d = half_at(l, b, 208);
    let mut values = [d; 2];
    for i in 0..2 {
        let four = l.shift_right(l.unsigned(low[i]), 4 * (quarter as u32 / 2));
        let two = l.shift_right(l.unsigned(high[i]), 2 * quarter as u32);
        let two = l.shift_left(l.and(two, l.splat_whole(3)), 4);
        let code = l.or(l.and(four, l.splat_whole(15)), two);
        let code = l.sub_whole(code, l.splat_whole(32));
        let scale = f32::from(b[192 + group * 2 + i].cast_signed());
        values[i] = l.mul(l.mul(d, l.splat(scale)), l.float(code));
    }
    values
}
