//! Whether the best of several models really beats the benchmark: White's
//! reality check (2000) and Hansen's test of superior predictive ability (2005).
//!
//! Looking at the best of many inflates its lead. Both tests bootstrap the
//! largest lead under "none is better" by the stationary bootstrap, all models
//! in the same resample. Hansen's also divides leads by their standard errors
//! and leaves out models that are clearly worse.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::StatsError;
use crate::error::check_matrix;
use crate::stationary::resample;

/// The three p-values of Hansen's test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Superiority {
    /// Worse models count as exactly equal: a lower bound of the p-value.
    pub lower: f64,
    /// Clearly worse models are left out: the one to report.
    pub consistent: f64,
    /// Every model counts as equal: an upper bound; without
    /// studentising it is White's reality check.
    pub upper: f64,
}

/// Tests `lead`, [periods][models], each the loss of the benchmark minus that of
/// the model (positive where the model is better), with runs of mean length
/// `mean_length` periods.
///
/// # Errors
/// Data that [`check_matrix`](StatsError) refuses, fewer than 3 periods, a mean
/// length below 1 or no replicates.
pub fn test(
    lead: &[Vec<f64>],
    mean_length: f64,
    studentised: bool,
    replicates: usize,
    seed: u64,
) -> Result<Superiority, StatsError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let draw = |_| {
        let mut rows = Vec::with_capacity(lead.len());
        resample(lead.len(), mean_length, &mut random, &mut rows);
        rows
    };
    check_matrix("lead", lead)?;
    check_length(mean_length)?;
    let resamples: Vec<Vec<usize>> = (0..replicates).map(draw).collect();
    with_resamples(lead, mean_length, studentised, &resamples)
}

/// Tests `lead` as [`test`] does, over resamples of row indices drawn elsewhere.
///
/// # Errors
/// See [`test`].
///
/// # Panics
/// If a resample names a row that is not there.
pub fn with_resamples(
    lead: &[Vec<f64>],
    mean_length: f64,
    studentised: bool,
    resamples: &[Vec<usize>],
) -> Result<Superiority, StatsError> {
    let models = check_matrix("lead", lead)?;
    check_length(mean_length)?;
    if lead.len() < 3 {
        return Err(StatsError::InvalidSetting {
            name: "periods",
            value: lead.len().to_string(),
            expected: "at least 3",
        });
    }
    if resamples.is_empty() {
        return Err(StatsError::Empty { what: "resamples" });
    }
    let n = lead.len() as f64;
    let column = |k: usize| lead.iter().map(move |row| row[k]);
    let mean: Vec<f64> = (0..models).map(|k| column(k).sum::<f64>() / n).collect();
    let variance: Vec<f64> = (0..models)
        .map(|k| long_run_variance(&column(k).collect::<Vec<f64>>(), mean_length))
        .collect();
    let unit: Vec<f64> = variance
        .iter()
        .map(|v| {
            if studentised && *v > 0.0 {
                v.sqrt()
            } else {
                1.0
            }
        })
        .collect();
    let relevant = |k: usize| mean[k] >= -(variance[k] / n * 2.0 * n.ln().ln()).sqrt();
    // What a resampled mean is compared with, per model and per p-value.
    let centres: Vec<[f64; 3]> = (0..models)
        .map(|k| {
            [
                mean[k].max(0.0),
                if relevant(k) { mean[k] } else { 0.0 },
                mean[k],
            ]
        })
        .collect();
    let best = (0..models)
        .map(|k| mean[k] / unit[k])
        .fold(f64::NEG_INFINITY, f64::max);

    let mut beyond = [0_usize; 3];
    for rows in resamples {
        let mut largest = [f64::NEG_INFINITY; 3];
        for k in 0..models {
            let resampled = rows.iter().map(|&row| lead[row][k]).sum::<f64>() / rows.len() as f64;
            for (slot, centre) in largest.iter_mut().zip(centres[k]) {
                *slot = slot.max((resampled - centre) / unit[k]);
            }
        }
        for (count, value) in beyond.iter_mut().zip(largest) {
            *count += usize::from(value > best);
        }
    }
    let [lower, consistent, upper] = beyond.map(|count| count as f64 / resamples.len() as f64);
    Ok(Superiority {
        lower,
        consistent,
        upper,
    })
}

/// Returns the variance of `sqrt(n)` times the mean under the stationary
/// bootstrap (Politis and Romano 1994, lemma 1).
pub fn long_run_variance(series: &[f64], mean_length: f64) -> f64 {
    let n = series.len();
    let mean = series.iter().sum::<f64>() / n as f64;
    let centred: Vec<f64> = series.iter().map(|x| x - mean).collect();
    let stay = 1.0 - 1.0 / mean_length;
    let covariance = |lag: usize| {
        let pairs = centred[lag..].iter().zip(&centred);
        pairs.map(|(late, early)| late * early).sum::<f64>() / n as f64
    };
    let weight = |lag: usize| {
        let part = lag as f64 / n as f64;
        (1.0 - part) * stay.powi(lag as i32) + part * stay.powi((n - lag) as i32)
    };
    let others = (1..n).map(|lag| 2.0 * weight(lag) * covariance(lag));
    (covariance(0) + others.sum::<f64>()).max(0.0)
}

fn check_length(mean_length: f64) -> Result<(), StatsError> {
    if mean_length >= 1.0 && mean_length.is_finite() {
        return Ok(());
    }
    Err(StatsError::InvalidSetting {
        name: "mean_length",
        value: mean_length.to_string(),
        expected: "a finite mean run length of at least 1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn leads(skill: f64, seed: u64) -> Vec<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut row = || {
            let mut row: Vec<f64> = (0..5).map(|_| random.random_range(-1.0..1.0)).collect();
            row[2] += skill;
            row
        };
        (0..200).map(|_| row()).collect()
    }

    #[test]
    fn skill_is_found_and_luck_is_not() {
        let skilled = test(&leads(0.3, 1), 3.0, true, 400, 1).unwrap();
        assert!(skilled.upper < 0.02, "{skilled:?}");
        let rejected = (0..60)
            .filter(|&seed| {
                let found = test(&leads(0.0, seed), 3.0, true, 200, seed).unwrap();
                assert!(found.lower <= found.consistent && found.consistent <= found.upper);
                found.consistent < 0.1
            })
            .count();
        // 60 worlds at 10 %: more than 15 has probability 1e-4.
        assert!(rejected <= 15, "{rejected}");
    }

    #[test]
    fn a_model_that_always_loses_helps_only_the_consistent_value() {
        let mut data = leads(0.12, 3);
        for row in &mut data {
            row.push(3.0 * row[0] - 4.0);
        }
        let found = test(&data, 1.0, false, 2_000, 3).unwrap();
        assert!(found.consistent < found.upper, "{found:?}");
    }

    #[test]
    fn bad_data_are_refused() {
        assert!(test(&[], 2.0, true, 10, 1).is_err());
        assert!(test(&leads(0.0, 1)[..2], 2.0, true, 10, 1).is_err());
        assert!(test(&leads(0.0, 1), 0.5, true, 10, 1).is_err());
        assert!(test(&leads(0.0, 1), 2.0, true, 0, 1).is_err());
    }
}
