//! Every kind of lanes computes the bits of the plain ones.

use super::{Lanes, Plain, WIDTH, half};

/// Applies every operation to the same numbers; all results as bits.
fn everything<L: Lanes>(l: L, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut floats =
        || -> [f32; WIDTH] { std::array::from_fn(|_| next() as f32 / (1u32 << 22) as f32 - 2.0) };
    let (a, b, c) = (floats(), floats(), floats());
    let bytes: [u8; WIDTH] = std::array::from_fn(|_| next() as u8);
    // Finite half-precision numbers of every magnitude: no exponent is all ones.
    let pairs: [u8; 2 * WIDTH] = std::array::from_fn(|i| {
        let byte = next() as u8;
        if i % 2 == 1 { byte & 0xbb } else { byte }
    });
    let [x, y, z] = [a, b, c].map(|x| l.load(&x));
    let (u, s) = (l.unsigned(&bytes), l.signed(&bytes));
    let table = l.table(l.splat(0.3), l.splat(-1.7));
    let [half, other] = l.splat_two_halves([0x55, 0x29, 0x01, 0x80]);
    let results = [
        half,
        other,
        l.add(x, y),
        l.mul(x, y),
        l.mul_add(x, y, z),
        l.float(u),
        l.float(s),
        l.float(l.and(u, l.splat_whole(0x5a))),
        l.float(l.or(u, l.splat_whole(0x300))),
        l.float(l.sub_whole(s, l.splat_whole(32))),
        l.float(l.shift_right(u, 3)),
        l.float(l.shift_left(u, 5)),
        l.halves(&pairs),
        l.brains(&pairs),
        l.splat_half([0x55, 0x29]),
        l.look_up(table, u),
    ];
    // Every lane of a result alone, through the sum with all others zero, then the sum of all.
    let mut bits = Vec::new();
    for result in results {
        for lane in 0..WIDTH {
            let only: [f32; WIDTH] = std::array::from_fn(|i| f32::from(u8::from(i == lane)));
            bits.push(l.sum(l.mul(result, l.load(&only))).to_bits());
        }
        bits.push(l.sum(result).to_bits());
    }
    bits
}

#[test]
fn all_kinds_agree_bit_for_bit() {
    for seed in 0..50 {
        let expected = everything(Plain, seed);
        assert!(expected.iter().any(|bits| *bits != 0));
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(token) = pulp::x86::V3::try_new() {
                assert_eq!(everything(token, seed), expected, "AVX2, seed {seed}");
            }
            if let Some(token) = pulp::x86::V4::try_new() {
                assert_eq!(everything(token, seed), expected, "AVX-512, seed {seed}");
            }
        }
    }
}

#[test]
fn half_precision_is_read_exactly() {
    // One, the least number below the normal range, the largest number, minus two, minus nothing.
    let cases = [
        (0x3c00, 1.0),
        (0x0001, 2.0f32.powi(-24)),
        (0x7bff, 65504.0),
        (0xc000, -2.0),
        (0x8000, -0.0),
    ];
    for (bits, value) in cases {
        let read = half(u16::to_le_bytes(bits));
        assert_eq!(read.to_bits(), f32::to_bits(value), "{bits:#06x}");
    }
}
