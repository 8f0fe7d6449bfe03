//! Fractal dimensions of a path: 1 for a straight line, 2 for one that fills the
//! plane.

use super::moments::slope;

/// Returns Katz's dimension (Katz 1988, eq. 6) with heights only: the length of
/// the path against its reach from the first value.
pub(crate) fn katz(x: &[f64]) -> f64 {
    let steps = (x.len() - 1) as f64;
    let length: f64 = x.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    let reach = x
        .iter()
        .map(|value| (value - x[0]).abs())
        .fold(0.0, f64::max);
    steps.log10() / (steps.log10() + (reach / length).log10())
}

/// Returns Petrosian's dimension from the turns of the path (Petrosian 1995).
pub(crate) fn petrosian(x: &[f64]) -> f64 {
    let changes: Vec<f64> = x.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let turns = changes
        .windows(2)
        .filter(|pair| (pair[0] >= 0.0) != (pair[1] >= 0.0))
        .count() as f64;
    let n = x.len() as f64;
    n.log10() / (n.log10() + (n / (n + 0.4 * turns)).log10())
}

/// Returns Higuchi's dimension from curves thinned to every 1st to `thinnest`-th
/// value (Higuchi 1988, eqs. 2 to 3).
pub(crate) fn higuchi(x: &[f64], thinnest: usize) -> f64 {
    let n = x.len();
    if thinnest < 2 || n <= 2 * thinnest {
        return f64::NAN;
    }
    let (mut scales, mut lengths) = (Vec::new(), Vec::new());
    for step in 1..=thinnest {
        let mut total = 0.0;
        for start in 0..step {
            let count = (n - 1 - start) / step;
            let sum: f64 = (1..=count)
                .map(|k| (x[start + k * step] - x[start + (k - 1) * step]).abs())
                .sum();
            total += sum * (n - 1) as f64 / (count * step * step) as f64;
        }
        scales.push((1.0 / step as f64).ln());
        lengths.push((total / step as f64).ln());
    }
    slope(&lengths, &scales)
}
