//! Calibration of class logits: one temperature and one bias per class, fitted
//! on a slice of time later than what the classifier was trained on.
//!
//! `p = softmax(z / temperature + bias)`. Guo et al. 2017 (section 4.2) call
//! the variant with a scale *per class* vector scaling; with a single
//! temperature (Alexandari et al. 2020, "bias-corrected temperature scaling")
//! the order of classes can be shifted but a class can never be turned upside
//! down, which suits calibration slices of a few hundred overlapping rows.

use serde::{Deserialize, Serialize};

use crate::error::{check_classes, check_matrix, check_penalty, check_weights};
use crate::logistic::log_softmax_loss;
use crate::optimise::minimise;
use crate::{StatsError, softmax};

/// See `logistic`; the problem is tiny, so the bound can be tight.
const GRADIENT_TOLERANCE: f64 = 1e-10;

/// The highest temperature a fit gives. Logits that say nothing or the
/// opposite of the truth end here: as good as ignored, never inverted.
pub const MAX_TEMPERATURE: f64 = 100.0;

/// A fitted calibration of K classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// What logits are divided by, in `(0, MAX_TEMPERATURE]`; above 1 for an
    /// overconfident classifier.
    pub temperature: f64,
    /// What is added to the logit of each class afterwards, [K].
    pub bias: Vec<f64>,
}

impl Scaling {
    /// Returns the calibration of `classes` classes that changes nothing.
    pub fn identity(classes: usize) -> Self {
        Self {
            temperature: 1.0,
            bias: vec![0.0; classes],
        }
    }

    /// Returns calibrated probabilities, [K], of one row of logits, [K].
    ///
    /// # Panics
    /// If the row does not have K logits.
    pub fn apply(&self, logits: &[f64]) -> Vec<f64> {
        assert_eq!(logits.len(), self.bias.len(), "logits of the row");
        let scaled: Vec<f64> = logits
            .iter()
            .zip(&self.bias)
            .map(|(z, b)| z / self.temperature + b)
            .collect();
        softmax(&scaled)
    }
}

/// Returns the calibration that minimises, over rows of `logits`, [N][K], with
/// true classes `y`, `sum_i -ln p_i[y_i] + l2 / 2 * ((1 / temperature - 1)^2 +
/// sum of squared biases)`. The penalty pulls towards the identity, so that few
/// rows change little; it also keeps the biases summing to zero. The function
/// is convex in `1 / temperature` and the biases, so the answer is unique.
///
/// # Errors
/// See [`fit_weighted`].
pub fn fit(logits: &[Vec<f64>], y: &[usize], l2: f64) -> Result<Scaling, StatsError> {
    fit_weighted(logits, y, &vec![1.0; logits.len()], l2)
}

/// Returns the calibration of [`fit`] with the loss of row `i` multiplied by
/// `weights[i]`, such as its [`crate::uniqueness`].
///
/// # Errors
/// No rows, ragged rows, a logit that is not finite, a class without a logit,
/// unusable weights or penalty; [`StatsError::NotConverged`] if the best answer
/// lies at infinity, which needs `l2` of 0.
pub fn fit_weighted(
    logits: &[Vec<f64>],
    y: &[usize],
    weights: &[f64],
    l2: f64,
) -> Result<Scaling, StatsError> {
    let k = check_matrix("logits", logits)?;
    check_classes(logits.len(), y, k)?;
    check_weights(logits.len(), weights)?;
    check_penalty(l2)?;

    // Only differences between the logits of a row matter. Without the shared
    // part, a multiple of them does not lose digits.
    let rows: Vec<f64> = logits.iter().flat_map(|row| centred(row)).collect();
    let data = Data {
        rows: &rows,
        y,
        weights,
        k,
        l2,
    };
    let mut start = vec![0.0; k + 1];
    start[0] = 1.0;
    let free = minimise(start.clone(), GRADIENT_TOLERANCE, |theta, g| {
        data.loss(theta, g)
    })?;
    let lowest = 1.0 / MAX_TEMPERATURE;
    let solution = if free[0] >= lowest {
        free
    } else {
        // The function is convex, so with the bound the best scale is the bound.
        start[0] = lowest;
        minimise(start, GRADIENT_TOLERANCE, |theta, g| {
            let loss = data.loss(theta, g);
            g[0] = 0.0;
            loss
        })?
    };
    Ok(Scaling {
        temperature: 1.0 / solution[0],
        bias: solution[1..].to_vec(),
    })
}

/// Returns the calibration of [`fit`] with the temperature alone: every bias
/// stays 0, so that no decision changes, only how sure it is (Guo et al. 2017,
/// section 4.2).
///
/// # Errors
/// See [`fit_weighted`].
pub fn fit_temperature(logits: &[Vec<f64>], y: &[usize], l2: f64) -> Result<Scaling, StatsError> {
    let k = check_matrix("logits", logits)?;
    check_classes(logits.len(), y, k)?;
    check_penalty(l2)?;
    let rows: Vec<f64> = logits.iter().flat_map(|row| centred(row)).collect();
    let data = Data {
        rows: &rows,
        y,
        weights: &vec![1.0; logits.len()],
        k,
        l2,
    };
    let mut start = vec![0.0; k + 1];
    start[0] = 1.0;
    let solution = minimise(start, GRADIENT_TOLERANCE, |theta, g| {
        let loss = data.loss(theta, g);
        g[1..].fill(0.0);
        loss
    })?;
    Ok(Scaling {
        temperature: 1.0 / solution[0].max(1.0 / MAX_TEMPERATURE),
        bias: vec![0.0; k],
    })
}

fn centred(row: &[f64]) -> impl Iterator<Item = f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(move |z| z - mean)
}

struct Data<'a> {
    rows: &'a [f64],
    y: &'a [usize],
    weights: &'a [f64],
    k: usize,
    l2: f64,
}

impl Data<'_> {
    /// Returns the penalised loss per unit of weight and penalty at
    /// `theta = [1 / temperature, bias...]` and writes its gradient.
    fn loss(&self, theta: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut loss = 0.0;
        let mut p = vec![0.0; self.k];
        for ((row, &class), &weight) in self.rows.chunks(self.k).zip(self.y).zip(self.weights) {
            for ((slot, z), b) in p.iter_mut().zip(row).zip(&theta[1..]) {
                *slot = theta[0] * z + b;
            }
            loss += weight * log_softmax_loss(&mut p, class);
            for (j, (p, z)) in p.iter().zip(row).enumerate() {
                let error = weight * (p - f64::from(u8::from(j == class)));
                gradient[0] += error * z;
                gradient[j + 1] += error;
            }
        }
        for (j, (slot, &value)) in gradient.iter_mut().zip(theta).enumerate() {
            let pull = value - f64::from(u8::from(j == 0));
            loss += 0.5 * self.l2 * pull * pull;
            *slot += self.l2 * pull;
        }
        let total: f64 = self.weights.iter().sum::<f64>() + self.l2;
        for slot in gradient.iter_mut() {
            *slot /= total;
        }
        loss / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::log_loss;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Rows whose truth is drawn from `softmax(z / temperature + bias)`.
    fn drawn(n: usize, temperature: f64, bias: &[f64], seed: u64) -> (Vec<Vec<f64>>, Vec<usize>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let truth = Scaling {
            temperature,
            bias: bias.to_vec(),
        };
        let mut y = Vec::new();
        let mut rows = Vec::new();
        for _ in 0..n {
            let row: Vec<f64> = bias
                .iter()
                .map(|_| random.random_range(-3.0..3.0))
                .collect();
            let mut u: f64 = random.random();
            let p = truth.apply(&row);
            let class = p.iter().position(|p| {
                u -= p;
                u < 0.0
            });
            y.push(class.unwrap_or(0));
            rows.push(row);
        }
        (rows, y)
    }

    #[test]
    fn recovers_the_distortion_that_was_planted() {
        let (rows, y) = drawn(20_000, 2.0, &[0.5, 0.0, -0.5], 1);
        let scaling = fit(&rows, &y, 1e-3).unwrap();
        assert!((scaling.temperature - 2.0).abs() < 0.1, "{scaling:?}");
        for (got, expected) in scaling.bias.iter().zip([0.5, 0.0, -0.5]) {
            assert!((got - expected).abs() < 0.06, "{scaling:?}");
        }
        let before: Vec<Vec<f64>> = rows.iter().map(|r| softmax(r)).collect();
        let after: Vec<Vec<f64>> = rows.iter().map(|r| scaling.apply(r)).collect();
        assert!(log_loss(&y, &after) < log_loss(&y, &before) - 0.01);
    }

    #[test]
    fn a_strong_pull_leaves_the_identity() {
        let (rows, y) = drawn(50, 3.0, &[1.0, 0.0, -1.0], 2);
        let scaling = fit(&rows, &y, 1e9).unwrap();
        assert!((scaling.temperature - 1.0).abs() < 1e-6);
        assert!(scaling.bias.iter().all(|b| b.abs() < 1e-6));
        let identity = Scaling::identity(3);
        assert_eq!(identity.apply(&rows[0]), softmax(&rows[0]));
    }

    #[test]
    fn inverted_logits_are_ignored_and_never_inverted_back() {
        let (mut rows, y) = drawn(2_000, 1.0, &[0.3, 0.0, -0.3], 3);
        for value in rows.iter_mut().flatten() {
            *value = -*value;
        }
        let scaling = fit(&rows, &y, 1.0).unwrap();
        assert_eq!(scaling.temperature, MAX_TEMPERATURE);
        let share = y.iter().filter(|&&c| c == 0).count() as f64 / y.len() as f64;
        assert!((scaling.apply(&[0.0; 3])[0] - share).abs() < 0.01);
    }

    #[test]
    fn a_temperature_alone_changes_no_decision() {
        let (rows, y) = drawn(5_000, 2.0, &[0.4, 0.0, -0.4], 6);
        let scaling = fit_temperature(&rows, &y, 1e-3).unwrap();
        assert_eq!(scaling.bias, vec![0.0; 3]);
        assert!((scaling.temperature - 2.0).abs() < 0.2, "{scaling:?}");
        for row in &rows {
            assert_eq!(crate::argmax(&scaling.apply(row)), crate::argmax(row));
        }
        let inverted: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.iter().map(|z| -z).collect())
            .collect();
        let ignored = fit_temperature(&inverted, &y, 1.0).unwrap();
        assert_eq!(ignored.temperature, MAX_TEMPERATURE);
    }

    #[test]
    fn a_class_without_rows_stays_finite() {
        let (rows, _) = drawn(200, 1.0, &[0.0; 3], 4);
        let scaling = fit(&rows, &[1; 200], 1.0).unwrap();
        let p = scaling.apply(&rows[0]);
        assert!(p.iter().all(|p| p.is_finite() && *p > 0.0), "{p:?}");
        assert!(scaling.temperature > 0.0);
    }

    #[test]
    fn a_shared_shift_of_logits_changes_nothing() {
        let (rows, y) = drawn(300, 1.5, &[0.2, 0.0, 0.1], 5);
        let shifted: Vec<Vec<f64>> = rows
            .iter()
            .enumerate()
            .map(|(i, r)| r.iter().map(|z| z + 1e3 * i as f64).collect())
            .collect();
        let (a, b) = (
            fit(&rows, &y, 1.0).unwrap(),
            fit(&shifted, &y, 1.0).unwrap(),
        );
        assert!((a.temperature - b.temperature).abs() < 1e-6);
    }

    #[test]
    fn bad_input_is_refused() {
        let row = vec![vec![0.0, 1.0]];
        let what = StatsError::Empty { what: "logits" };
        assert_eq!(fit(&[], &[], 1.0), Err(what));
        assert!(matches!(
            fit(&row, &[2], 1.0),
            Err(StatsError::ClassOutOfRange { classes: 2, .. })
        ));
        assert!(matches!(
            fit(&[vec![0.0, f64::INFINITY]], &[0], 1.0),
            Err(StatsError::NotFinite { column: 1, .. })
        ));
        assert!(matches!(
            fit_weighted(&row, &[0], &[1.0, 1.0], 1.0),
            Err(StatsError::LengthMismatch {
                what: "weights",
                ..
            })
        ));
        assert!(matches!(
            fit(&row, &[0], f64::INFINITY),
            Err(StatsError::InvalidSetting { name: "l2", .. })
        ));
    }
}
