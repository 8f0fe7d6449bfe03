//! Patterns of a path: new phrases, peaks, runs, digits, mass.

use super::moments::{correlation, mean};
use super::order::median;

/// Returns the number of phrases that the sequence "above its median or not" is
/// made of, over the number a random one has (Lempel and Ziv 1976; scaled as in
/// Zhang et al. 2009).
pub(crate) fn lempel_ziv(x: &[f64]) -> f64 {
    let middle = median(x);
    let symbols: Vec<bool> = x.iter().map(|value| *value > middle).collect();
    let n = symbols.len();
    if n < 2 || symbols.iter().all(|symbol| *symbol == symbols[0]) {
        return f64::NAN;
    }
    let mut phrases = 0;
    let mut start = 0;
    while start < n {
        // A phrase is the shortest stretch that has not occurred before its end.
        let mut length = 1;
        while start + length <= n
            && occurs(
                &symbols[..start + length - 1],
                &symbols[start..start + length],
            )
        {
            length += 1;
        }
        phrases += 1;
        start += length;
    }
    let n = n as f64;
    f64::from(phrases) * n.log2() / n
}

fn occurs(text: &[bool], phrase: &[bool]) -> bool {
    text.windows(phrase.len()).any(|part| part == phrase)
}

/// Returns how many values are above their `support` neighbours on both sides.
pub(crate) fn peaks(x: &[f64], support: usize) -> f64 {
    if x.len() < 2 * support + 1 {
        return 0.0;
    }
    (support..x.len() - support)
        .filter(|&at| (1..=support).all(|k| x[at] > x[at - k] && x[at] > x[at + k]))
        .count() as f64
}

/// Returns the length of the longest run of values for which `holds`.
fn longest(x: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    let (mut run, mut longest) = (0, 0);
    for value in x {
        run = if holds(*value) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    f64::from(longest)
}

/// Returns the longest run of values that are not 0.
pub(crate) fn longest_run(x: &[f64]) -> f64 {
    longest(x, |value| value != 0.0)
}

/// Returns the longest run of values above their mean.
pub(crate) fn longest_above_mean(x: &[f64]) -> f64 {
    let mean = mean(x);
    longest(x, |value| value > mean)
}

/// Returns how often consecutive values stand on different sides of the mean.
pub(crate) fn mean_crossings(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.windows(2)
        .filter(|pair| (pair[0] > mean) != (pair[1] > mean))
        .count() as f64
}

/// Returns the correlation of how often 1 to 9 are first digits with Benford's law
/// (Benford 1938); NaN unless some value is not 0.
pub(crate) fn benford(x: &[f64]) -> f64 {
    let mut found = [0.0; 9];
    let mut count = 0.0;
    for value in x.iter().filter(|value| **value != 0.0) {
        // The shortest text that reads back as the value: its first digit is the
        // decimal one, which a division by a power of ten may miss.
        let text = format!("{:e}", value.abs());
        let digit = text
            .bytes()
            .next()
            .map_or(0, |byte| byte.wrapping_sub(b'1'));
        if let Some(place) = found.get_mut(usize::from(digit)) {
            *place += 1.0;
            count += 1.0;
        }
    }
    let shares = found.map(|times| times / count);
    let law: Vec<f64> = (1..=9)
        .map(|digit| (1.0 + 1.0 / f64::from(digit)).log10())
        .collect();
    correlation(&shares, &law)
}

/// Returns the share of the stretch, from the oldest value, after which `share` of
/// the sum of absolute values is reached.
pub(crate) fn mass_index(x: &[f64], share: f64) -> f64 {
    let total: f64 = x.iter().map(|value| value.abs()).sum();
    if total == 0.0 {
        return f64::NAN;
    }
    let mut sum = 0.0;
    for (place, value) in x.iter().enumerate() {
        sum += value.abs();
        if sum >= share * total {
            return (place + 1) as f64 / x.len() as f64;
        }
    }
    1.0
}
