//! How likely the best configuration on paper is a lucky one: the probability
//! of backtest overfitting by combinatorially symmetric cross-validation.
//!
//! Bailey, Borwein, Lopez de Prado and Zhu (2017). Time is cut into an even
//! number of parts. Each half of the parts serves once for choosing; the chosen
//! configuration is then ranked among all on the other half. A choice that means
//! nothing lands below the median half of the time.

use serde::Serialize;

use crate::StatsError;

/// The most parts accepted: 20 parts give 184,756 ways to halve them.
const MAX_PARTS: usize = 20;

/// What choosing by past performance is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overfitting {
    /// The fraction of halvings in which the best configuration of one half was
    /// at or below the median of the other.
    pub probability: f64,
    /// The logit of the relative rank on the other half, one per halving.
    pub logits: Vec<f64>,
}

/// Returns the probability of backtest overfitting of `returns`,
/// [periods][configurations], cut into `parts` (even) runs of equal length in
/// order of time; the periods left over at the end are not used. Configurations
/// are compared by mean over standard deviation; equal ones share the mean of
/// their ranks, and the first of equally good ones is chosen.
///
/// # Errors
/// Fewer than two configurations, ragged or non-finite rows, an odd or extreme
/// number of parts, or fewer than two periods per part.
pub fn probability(returns: &[Vec<f64>], parts: usize) -> Result<Overfitting, StatsError> {
    let columns = crate::error::check_matrix("returns", returns)?;
    if columns < 2 {
        return Err(invalid("configurations", columns, "at least 2"));
    }
    if parts < 2 || parts % 2 == 1 || parts > MAX_PARTS {
        return Err(invalid("parts", parts, "an even number from 2 to 20"));
    }
    let length = returns.len() / parts;
    if length < 2 {
        let expected = "at least two periods in each part";
        return Err(invalid("periods", returns.len(), expected));
    }
    let sums = part_sums(returns, parts, length, columns);
    let halves = (0_u32..1 << parts).filter(|mask| mask.count_ones() as usize == parts / 2);
    let logits: Vec<f64> = halves
        .map(|mask| {
            let chosen = crate::argmax(&performance(&sums, mask, length, columns));
            let other = performance(&sums, !mask, length, columns);
            let relative = mean_rank(&other, chosen) / (columns + 1) as f64;
            (relative / (1.0 - relative)).ln()
        })
        .collect();
    let low = logits.iter().filter(|&&logit| logit <= 0.0).count();
    Ok(Overfitting {
        probability: low as f64 / logits.len() as f64,
        logits,
    })
}

/// Sum and sum of squares around a common centre, [parts][configurations].
fn part_sums(
    returns: &[Vec<f64>],
    parts: usize,
    length: usize,
    columns: usize,
) -> Vec<Vec<(f64, f64)>> {
    let used = &returns[..parts * length];
    // Without the mean over everything, squares do not lose digits.
    let centre: Vec<f64> = (0..columns)
        .map(|k| used.iter().map(|row| row[k]).sum::<f64>() / used.len() as f64)
        .collect();
    used.chunks(length)
        .map(|part| {
            let of = |k: usize| {
                part.iter().fold((0.0, 0.0), |(sum, squares), row| {
                    let x = row[k] - centre[k];
                    (sum + row[k], squares + x * x)
                })
            };
            (0..columns).map(of).collect()
        })
        .collect()
}

/// The ratio of mean to standard deviation of each configuration over the parts
/// whose bits are set; minus infinity for one that does not vary and loses,
/// infinity for one that does not vary and gains.
fn performance(sums: &[Vec<(f64, f64)>], mask: u32, length: usize, columns: usize) -> Vec<f64> {
    let chosen = || (0..sums.len()).filter(move |part| mask >> part & 1 == 1);
    let n = (chosen().count() * length) as f64;
    let all = (sums.len() * length) as f64;
    (0..columns)
        .map(|k| {
            let sum: f64 = chosen().map(|part| sums[part][k].0).sum();
            let squares: f64 = chosen().map(|part| sums[part][k].1).sum();
            let centre = sums.iter().map(|part| part[k].0).sum::<f64>() / all;
            let mean = sum / n;
            let variance = (squares - n * (mean - centre).powi(2)).max(0.0) / (n - 1.0);
            let ratio = mean / variance.sqrt();
            if ratio.is_nan() { 0.0 } else { ratio }
        })
        .collect()
}

/// The rank of one value among all, from 1; equal values share their mean rank.
fn mean_rank(values: &[f64], index: usize) -> f64 {
    let below = values.iter().filter(|&&v| v < values[index]).count();
    let equal = values.iter().filter(|&&v| v == values[index]).count();
    below as f64 + (equal + 1) as f64 / 2.0
}

fn invalid(name: &'static str, value: usize, expected: &'static str) -> StatsError {
    StatsError::InvalidSetting {
        name,
        value: value.to_string(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn noise(periods: usize, columns: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut row = || {
            (0..columns)
                .map(|_| random.random_range(-1.0..1.0))
                .collect()
        };
        (0..periods).map(|_| row()).collect()
    }

    #[test]
    fn noise_is_overfitted_and_skill_is_not() {
        let worlds = 20;
        let mean = (0..worlds)
            .map(|seed| probability(&noise(160, 12, seed), 8).unwrap().probability)
            .sum::<f64>()
            / worlds as f64;
        // On noise, choosing is worth nothing or (as the parts share a mean)
        // less than nothing.
        assert!(mean > 0.4, "{mean}");
        let mut skilled = noise(160, 12, 99);
        for row in &mut skilled {
            row[7] += 0.5;
        }
        let found = probability(&skilled, 8).unwrap();
        assert_eq!(found.logits.len(), 70);
        assert!(found.probability < 0.05, "{}", found.probability);
    }

    #[test]
    fn bad_settings_are_named() {
        let data = noise(40, 3, 1);
        for (rows, parts) in [(40, 3), (40, 0), (40, 22), (7, 4)] {
            let result = probability(&data[..rows], parts);
            assert!(
                matches!(result, Err(StatsError::InvalidSetting { .. })),
                "{parts}"
            );
        }
        assert!(probability(&noise(40, 1, 1), 4).is_err());
        assert!(probability(&[], 4).is_err());
    }
}
