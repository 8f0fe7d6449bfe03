//! Multinomial logistic regression with an L2 penalty: the plain baseline that
//! every language model here has to be shown beside.
//!
//! Features are standardised inside, so the penalty treats them alike whatever
//! their units. Interactions, missing values and feature selection are left to
//! the caller.

use serde::{Deserialize, Serialize};

use crate::error::{check_classes, check_matrix, check_penalty, check_weights};
use crate::optimise::minimise;
use crate::{StatsError, softmax};

/// The largest entry of the gradient, per unit of weight, at which a fit counts
/// as converged: far above rounding for a million rows, and small enough for
/// coefficients good to about eight digits.
const GRADIENT_TOLERANCE: f64 = 1e-9;

/// A fitted classifier: K classes, D features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The mean of each feature over the training rows, [D].
    pub mean: Vec<f64>,
    /// The population standard deviation of each feature, [D]; 1 for a feature
    /// that does not vary.
    pub scale: Vec<f64>,
    /// The coefficients of the standardised features, [K][D].
    pub coefficients: Vec<Vec<f64>>,
    /// The intercepts, [K], summing to zero.
    pub intercepts: Vec<f64>,
}

impl Model {
    /// Returns the logit of each class, [K], for one row of raw features, [D].
    ///
    /// # Panics
    /// If the row does not have D features.
    pub fn logits(&self, row: &[f64]) -> Vec<f64> {
        assert_eq!(row.len(), self.mean.len(), "features of the row");
        let standard: Vec<f64> = (0..row.len())
            .map(|j| (row[j] - self.mean[j]) / self.scale[j])
            .collect();
        let classes = self.coefficients.iter().zip(&self.intercepts);
        classes
            .map(|(c, b)| b + c.iter().zip(&standard).map(|(c, x)| c * x).sum::<f64>())
            .collect()
    }

    /// Returns the probability of each class, [K], for one row of raw features.
    ///
    /// # Panics
    /// If the row does not have D features.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        softmax(&self.logits(row))
    }
}

/// Returns the model that minimises
/// `sum_i -ln p_i[y_i] + l2 / 2 * sum of squared coefficients` over rows `x`,
/// [N][D], with classes `y` below `classes`. Coefficients are those of
/// standardised features; intercepts are not penalised. `l2` is `1 / C` of
/// scikit-learn. A class that does not occur gets a vanishing probability.
///
/// # Errors
/// See [`fit_weighted`].
pub fn fit(x: &[Vec<f64>], y: &[usize], classes: usize, l2: f64) -> Result<Model, StatsError> {
    fit_weighted(x, y, &vec![1.0; x.len()], classes, l2)
}

/// Returns the model of [`fit`] with the loss of row `i` multiplied by
/// `weights[i]`, such as its [`crate::uniqueness`]. Standardisation is not
/// weighted.
///
/// # Errors
/// No rows, ragged rows, a number that is not finite, a class out of range,
/// unusable weights or penalty; [`StatsError::NotConverged`] if classes are
/// separable and `l2` is 0.
pub fn fit_weighted(
    x: &[Vec<f64>],
    y: &[usize],
    weights: &[f64],
    classes: usize,
    l2: f64,
) -> Result<Model, StatsError> {
    let d = check_matrix("x", x)?;
    check_classes(x.len(), y, classes)?;
    check_weights(x.len(), weights)?;
    check_penalty(l2)?;

    let (mean, scale) = standardisation(x, d);
    let total: f64 = weights.iter().sum();
    // The optimiser sees coefficients divided by `shrink`, so that a heavy
    // penalty does not give them another curvature than the intercepts.
    let shrink = (1.0 + l2 / total).sqrt().recip();
    let rows: Vec<f64> = x
        .iter()
        .flat_map(|row| row.iter().zip(&mean).zip(&scale))
        .map(|((value, mean), scale)| shrink * (value - mean) / scale)
        .collect();
    let penalty = l2 * shrink * shrink;
    // A class without rows would push its intercept to minus infinity.
    let present: Vec<bool> = (0..classes)
        .map(|k| y.iter().zip(weights).any(|(&c, &w)| c == k && w > 0.0))
        .collect();

    // Parameters per class: D coefficients, then the intercept.
    let width = d + 1;
    let mut probabilities = vec![0.0; classes];
    let solution = minimise(
        vec![0.0; classes * width],
        GRADIENT_TOLERANCE,
        |theta, g| {
            g.fill(0.0);
            let mut loss = 0.0;
            for (i, (&class, &weight)) in y.iter().zip(weights).enumerate() {
                let row = &rows[i * d..(i + 1) * d];
                for (k, p) in probabilities.iter_mut().enumerate() {
                    let own = &theta[k * width..(k + 1) * width];
                    let sum: f64 = own[..d].iter().zip(row).map(|(c, v)| c * v).sum();
                    *p = if present[k] {
                        sum + own[d]
                    } else {
                        f64::NEG_INFINITY
                    };
                }
                loss += weight * log_softmax_loss(&mut probabilities, class);
                for (k, p) in probabilities.iter().enumerate() {
                    let error = weight * (p - f64::from(u8::from(k == class)));
                    let own = &mut g[k * width..(k + 1) * width];
                    for (slot, v) in own[..d].iter_mut().zip(row) {
                        *slot += error * v;
                    }
                    own[d] += error;
                }
            }
            for k in 0..classes {
                for j in k * width..k * width + d {
                    loss += 0.5 * penalty * theta[j] * theta[j];
                    g[j] += penalty * theta[j];
                }
            }
            for slot in g.iter_mut() {
                *slot /= total;
            }
            loss / total
        },
    )?;

    let class = |k: usize| &solution[k * width..(k + 1) * width];
    Ok(Model {
        mean,
        scale,
        coefficients: (0..classes)
            .map(|k| class(k)[..d].iter().map(|c| shrink * c).collect())
            .collect(),
        intercepts: (0..classes)
            .map(|k| if present[k] { class(k)[d] } else { ABSENT })
            .collect(),
    })
}

/// The intercept of a class without rows: its probability is `e^-700`, the
/// smallest that leaves arithmetic with logits finite.
const ABSENT: f64 = -700.0;

/// Turns logits into probabilities in place and returns `-ln p[class]`.
pub(crate) fn log_softmax_loss(logits: &mut [f64], class: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = logits[class] - largest;
    let mut total = 0.0;
    for value in logits.iter_mut() {
        *value = (*value - largest).exp();
        total += *value;
    }
    for value in logits.iter_mut() {
        *value /= total;
    }
    total.ln() - own
}

/// Returns mean and population standard deviation per column, in two passes. A
/// column whose deviation is lost in the rounding of its mean counts as
/// constant and gets scale 1.
fn standardisation(x: &[Vec<f64>], d: usize) -> (Vec<f64>, Vec<f64>) {
    let n = x.len() as f64;
    let mean: Vec<f64> = (0..d)
        .map(|j| x.iter().map(|row| row[j]).sum::<f64>() / n)
        .collect();
    let scale = (0..d)
        .map(|j| {
            let squares: f64 = x.iter().map(|row| (row[j] - mean[j]).powi(2)).sum();
            let deviation = (squares / n).sqrt();
            let largest = x.iter().fold(0.0_f64, |m, row| m.max(row[j].abs()));
            if deviation > 1e-12 * largest {
                deviation
            } else {
                1.0
            }
        })
        .collect();
    (mean, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_clusters() -> (Vec<Vec<f64>>, Vec<usize>) {
        // A deterministic cloud: three centres, offsets on a small grid.
        let mut x = Vec::new();
        let mut y = Vec::new();
        for i in 0..90_u32 {
            let class = i as usize % 3;
            let (a, b) = (f64::from(i % 10) - 4.5, f64::from(i / 3 % 7) - 3.0);
            x.push(vec![class as f64 + 0.3 * a, 100.0 * (b + class as f64)]);
            y.push(class);
        }
        (x, y)
    }

    #[test]
    fn units_do_not_matter() {
        let (x, y) = three_clusters();
        let scaled: Vec<Vec<f64>> = x.iter().map(|r| vec![r[0] * 64.0, r[1] / 128.0]).collect();
        let a = fit(&x, &y, 3, 1.0).unwrap();
        let b = fit(&scaled, &y, 3, 1.0).unwrap();
        for (row, other) in x.iter().zip(&scaled) {
            for (p, q) in a.probabilities(row).iter().zip(b.probabilities(other)) {
                assert!((p - q).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let (mut x, mut y) = three_clusters();
        let mut weights = vec![1.0; x.len()];
        weights[4] = 2.0;
        weights[7] = 0.0;
        // Standardisation is not weighted, so its columns are fixed by a pair
        // of fits on the same rows: give the row twice with weights 1 and 1.
        x.push(x[4].clone());
        y.push(y[4]);
        let mut once = weights.clone();
        once.push(0.0);
        let mut twice = weights;
        twice[4] = 1.0;
        twice.push(1.0);
        let a = fit_weighted(&x, &y, &once, 3, 0.5).unwrap();
        let b = fit_weighted(&x, &y, &twice, 3, 0.5).unwrap();
        for (p, q) in a.intercepts.iter().zip(&b.intercepts) {
            assert!((p - q).abs() < 1e-7);
        }
    }

    #[test]
    fn without_features_it_gives_the_class_frequencies() {
        let x = vec![vec![]; 4];
        let model = fit(&x, &[0, 0, 0, 1], 3, 1.0).unwrap();
        let p = model.probabilities(&[]);
        assert!((p[0] - 0.75).abs() < 1e-8 && (p[1] - 0.25).abs() < 1e-8);
        assert!(p[2] < 1e-12 && p[2] >= 0.0);
    }

    #[test]
    fn a_constant_feature_is_harmless() {
        let (x, y) = three_clusters();
        let with: Vec<Vec<f64>> = x.iter().map(|r| vec![r[0], 0.1, r[1]]).collect();
        let a = fit(&x, &y, 3, 1.0).unwrap();
        let b = fit(&with, &y, 3, 1.0).unwrap();
        assert_eq!(b.scale[1], 1.0);
        for (row, other) in x.iter().zip(&with) {
            let (p, q) = (a.probabilities(row), b.probabilities(other));
            assert!((p[0] - q[0]).abs() < 1e-7);
        }
    }

    #[test]
    fn bad_input_is_located() {
        let (x, y) = three_clusters();
        assert_eq!(fit(&[], &[], 3, 1.0), Err(StatsError::Empty { what: "x" }));
        assert_eq!(
            fit(&x, &y[1..], 3, 1.0),
            Err(StatsError::LengthMismatch {
                what: "classes",
                expected: 90,
                found: 89
            })
        );
        assert_eq!(
            fit(&x, &y, 2, 1.0),
            Err(StatsError::ClassOutOfRange {
                row: 2,
                class: 2,
                classes: 2
            })
        );
        let mut ragged = x.clone();
        ragged[5].pop();
        assert!(matches!(
            fit(&ragged, &y, 3, 1.0),
            Err(StatsError::RaggedRow { row: 5, .. })
        ));
        let mut hole = x.clone();
        hole[6][1] = f64::NAN;
        let error = fit(&hole, &y, 3, 1.0).unwrap_err();
        assert!(matches!(
            error,
            StatsError::NotFinite {
                row: 6,
                column: 1,
                ..
            }
        ));
        assert!(error.hint().is_some());
        for l2 in [-1.0, f64::NAN] {
            let error = fit(&x, &y, 3, l2).unwrap_err();
            assert!(matches!(
                error,
                StatsError::InvalidSetting { name: "l2", .. }
            ));
        }
        let zero = fit_weighted(&x, &y, &[0.0; 90], 3, 1.0).unwrap_err();
        assert!(matches!(
            zero,
            StatsError::InvalidSetting {
                name: "weights",
                ..
            }
        ));
    }

    #[test]
    fn a_penalty_tames_separable_classes() {
        let x: Vec<Vec<f64>> = (0..10).map(|i| vec![f64::from(i)]).collect();
        let y: Vec<usize> = (0..10).map(|i| usize::from(i >= 5)).collect();
        let model = fit(&x, &y, 2, 1.0).unwrap();
        let p = model.probabilities(&[9.0]);
        assert!(p[1] > 0.9 && p[1] < 1.0, "{p:?}");
    }
}
