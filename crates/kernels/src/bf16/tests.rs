use super::*;
use crate::matmul::{MatMut, matmul_reference};
use crate::operand::Side;
use crate::operand::tests::Hidden;

/// f32 rounding of a sum of K products of values in [-1, 1]: about K * 2^-24, with headroom for
/// units that add pairs first.
const PER_TERM: f32 = 2.5e-7;

/// Each operand moves by at most 2^-9 of its size when it is rounded, so a product by 2^-8 and a
/// little.
const PER_PRODUCT: f32 = 1.01 / 256.0;

fn values(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect()
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values
        .iter()
        .map(|x| f32::from_bits(u32::from(pack::round(*x)) << 16))
        .collect()
}

fn run(unit: Unit, c: &mut [f32], n: usize, write: Write, a: Mat<'_>, b: Right<'_>) {
    let target = Target {
        c: Shared::new(c.as_mut_ptr()),
        stride: n,
        rows: a.rows,
        cols: n,
    };
    // SAFETY: the result is borrowed exclusively and has a's rows and n columns.
    #[expect(unsafe_code, reason = "calls the product on a whole result")]
    unsafe {
        product(unit, target, write, a, b);
    }
}

/// Shapes with a remainder in every direction; the last has two depth blocks and several tasks.
const SHAPES: [(usize, usize, usize); 4] = [(1, 1, 1), (33, 47, 70), (64, 32, 96), (45, 390, 1100)];

#[test]
fn every_unit_equals_the_oracle_on_rounded_operands() {
    for unit in Unit::found() {
        for (m, n, k) in SHAPES {
            for (flip, write) in [(false, Write::Set), (true, Write::Add)] {
                let (a, w) = (values(m * k, 1), values(k * n, 2));
                let (ra, rw) = (rounded(&a), rounded(&w));
                let start = values(m * n, 3);
                let weight = Hidden {
                    values: w.clone(),
                    cols: if flip { k } else { n },
                    block: 1,
                };
                let view = |w| {
                    if flip {
                        Mat::dense(w, n, k).t()
                    } else {
                        Mat::dense(w, k, n)
                    }
                };
                let side = if flip { Side::Transposed } else { Side::Plain };
                let (mut dense, mut frozen) = (start.clone(), start.clone());
                let left = Mat::dense(&a, m, k);
                run(unit, &mut dense, n, write, left, Right::Dense(view(&w)));
                run(
                    unit,
                    &mut frozen,
                    n,
                    write,
                    left,
                    Right::Frozen(&weight, side),
                );
                assert_eq!(dense, frozen, "{unit:?} {m} {n} {k}");
                let (mut exact, mut unrounded) = (start.clone(), start);
                matmul_reference(
                    &mut MatMut::dense(&mut exact, m, n),
                    write,
                    1.0,
                    Mat::dense(&ra, m, k),
                    view(&rw),
                );
                let out = &mut MatMut::dense(&mut unrounded, m, n);
                matmul_reference(out, write, 1.0, left, view(&w));
                let sums = PER_TERM * (k as f32 + 4.0);
                for i in 0..m * n {
                    assert!((dense[i] - exact[i]).abs() <= sums, "{unit:?} {m} {n} {k}");
                    let bound = PER_PRODUCT * k as f32 + sums;
                    assert!((dense[i] - unrounded[i]).abs() <= bound);
                }
            }
        }
    }
}

#[test]
fn does_not_depend_on_the_number_of_threads() {
    let (m, n, k) = (70, 400, 300);
    let (a, w) = (values(m * k, 1), values(k * n, 2));
    let product = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let mut c = vec![0.0; m * n];
        pool.build().unwrap().install(|| {
            let b = Right::Dense(Mat::dense(&w, k, n));
            run(Unit::best(), &mut c, n, Write::Set, Mat::dense(&a, m, k), b);
        });
        c
    };
    assert_eq!(product(1), product(3));
}

#[test]
fn rounds_to_nearest_even_and_keeps_what_is_no_number() {
    let wide = |x: f32| f32::from_bits(u32::from(pack::round(x)) << 16);
    assert_eq!(wide(1.0 + 1.0 / 256.0), 1.0);
    assert_eq!(wide(1.0 + 3.0 / 256.0), 1.0 + 2.0 / 128.0);
    assert_eq!(wide(-3.0), -3.0);
    assert!(wide(f32::from_bits(0x7fff_ffff)).is_nan());
    assert_eq!(wide(f32::NEG_INFINITY), f32::NEG_INFINITY);
}

#[test]
fn the_best_unit_multiplies_correctly() {
    // On a machine with AMX or bf16 dot products this is the check that guards their use.
    assert!(Unit::best().agrees());
}
