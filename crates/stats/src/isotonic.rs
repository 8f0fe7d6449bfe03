//! Isotonic regression: the best fit that never falls, by pooling adjacent violators.
//!
//! Barlow, Bartholomew, Bremner and Brunk, "Statistical Inference under Order Restrictions"
//! (1972), section 1.2. As a calibration it maps scores to frequencies without assuming a form,
//! and it can never turn a score upside down. With few rows its steps are noise: group rows or
//! add prior rows before fitting.
//!
//! Rows of equal `x` count as one with their weighted mean, and between the fitted points the
//! answer is a straight line; outside it is that of the nearest end. This is what scikit-learn's
//! `IsotonicRegression(out_of_bounds="clip")` does.

use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::error::check_weights;

/// A fitted line that never falls: K points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isotonic {
    /// Where the points are, [K], ascending.
    pub x: Vec<f64>,
    /// The values there, [K], not falling.
    pub y: Vec<f64>,
}

impl Isotonic {
    /// Returns the value at `x`; NaN for NaN.
    pub fn at(&self, x: f64) -> f64 {
        let right = self.x.partition_point(|point| *point < x);
        if x.is_nan() || self.x.is_empty() {
            return f64::NAN;
        }
        if right == self.x.len() {
            return self.y[right - 1];
        }
        if right == 0 || self.x[right] == x {
            return self.y[right];
        }
        let (x0, x1) = (self.x[right - 1], self.x[right]);
        let (y0, y1) = (self.y[right - 1], self.y[right]);
        // Halves first, so that the width of two distant points does not overflow.
        let share = (0.5 * x - 0.5 * x0) / (0.5 * x1 - 0.5 * x0);
        (y0 + (y1 - y0) * share).clamp(y0, y1)
    }

    /// Returns whether the points ascend, the values never fall, and all are finite numbers; so
    /// that a line from a file can be trusted.
    pub fn is_sound(&self) -> bool {
        !self.x.is_empty()
            && self.x.len() == self.y.len()
            && self.x.iter().chain(&self.y).all(|value| value.is_finite())
            && self.x.windows(2).all(|pair| pair[0] < pair[1])
            && self.y.windows(2).all(|pair| pair[0] <= pair[1])
    }
}

/// Returns the line that minimises `sum_i weights[i] * (y[i] - f(x[i]))^2` among those that never
/// fall. Rows of weight 0 do not count. Takes `O(n log n)`.
///
/// # Errors
/// No rows, lengths that differ, a number that is not finite, or weights that are negative or all
/// 0.
pub fn fit(x: &[f64], y: &[f64], weights: &[f64]) -> Result<Isotonic, StatsError> {
    check(x, y, weights)?;
    let mut order: Vec<usize> = (0..x.len()).filter(|&row| weights[row] > 0.0).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));

    // Points of distinct x: place, weighted sum, weight.
    let mut points: Vec<(f64, f64, f64)> = Vec::new();
    for row in order {
        match points.last_mut() {
            Some(last) if last.0 == x[row] => {
                last.1 += weights[row] * y[row];
                last.2 += weights[row];
            }
            _ => points.push((x[row], weights[row] * y[row], weights[row])),
        }
    }
    let values = pool(&points);
    let mut line = Isotonic {
        x: Vec::new(),
        y: Vec::new(),
    };
    // Points inside a level stretch say nothing that its ends do not.
    for (place, point) in points.iter().enumerate() {
        let ends = [place.checked_sub(1), Some(place + 1)];
        let inside = ends.into_iter().all(|neighbour| {
            let neighbour = neighbour.and_then(|place| values.get(place));
            neighbour == Some(&values[place])
        });
        if !inside {
            line.x.push(point.0);
            line.y.push(values[place]);
        }
    }
    Ok(line)
}

/// Returns the value at each point, pooling neighbours that fall.
fn pool(points: &[(f64, f64, f64)]) -> Vec<f64> {
    // Blocks: weighted sum, weight, points.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for &(_, sum, weight) in points {
        let mut block = (sum, weight, 1);
        while let Some(&last) = blocks.last() {
            if last.0 / last.1 < block.0 / block.1 {
                break;
            }
            block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let levels = blocks.iter();
    levels
        .flat_map(|&(sum, weight, count)| std::iter::repeat_n(sum / weight, count))
        .collect()
}

fn check(x: &[f64], y: &[f64], weights: &[f64]) -> Result<(), StatsError> {
    if x.is_empty() {
        return Err(StatsError::Empty { what: "x" });
    }
    if y.len() != x.len() {
        return Err(StatsError::LengthMismatch {
            what: "y",
            expected: x.len(),
            found: y.len(),
        });
    }
    check_weights(x.len(), weights)?;
    for (what, values) in [("x", x), ("y", y)] {
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            return Err(StatsError::NotFinite {
                what,
                row,
                column: 0,
                value: values[row],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_that_fall_share_their_mean() {
        let line = fit(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0], &[1.0; 4]).unwrap();
        assert_eq!(line.x, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(line.y, [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(line.at(1.5), 1.75);
        assert_eq!((line.at(-9.0), line.at(9.0)), (1.0, 4.0));
        assert!(line.at(f64::NAN).is_nan());
        assert!(line.is_sound());
    }

    #[test]
    fn a_level_stretch_keeps_its_ends() {
        let x: Vec<f64> = (0..9).map(f64::from).collect();
        let line = fit(&x, &[5.0; 9], &[1.0; 9]).unwrap();
        assert_eq!((line.x, line.y), (vec![0.0, 8.0], vec![5.0, 5.0]));
        let line = fit(&[2.0, 2.0], &[0.0, 1.0], &[3.0, 1.0]).unwrap();
        assert_eq!((line.x, line.y), (vec![2.0], vec![0.25]));
    }

    #[test]
    fn bad_input_is_located() {
        assert_eq!(fit(&[], &[], &[]), Err(StatsError::Empty { what: "x" }));
        assert!(matches!(
            fit(&[1.0], &[], &[1.0]),
            Err(StatsError::LengthMismatch { what: "y", .. })
        ));
        assert!(matches!(
            fit(&[1.0, f64::NAN], &[0.0; 2], &[1.0; 2]),
            Err(StatsError::NotFinite {
                what: "x",
                row: 1,
                ..
            })
        ));
        assert!(matches!(
            fit(&[1.0], &[1.0], &[0.0]),
            Err(StatsError::InvalidSetting {
                name: "weights",
                ..
            })
        ));
    }

    #[test]
    fn lines_that_fall_are_not_sound() {
        let line = |x: &[f64], y: &[f64]| Isotonic {
            x: x.to_vec(),
            y: y.to_vec(),
        };
        assert!(!line(&[], &[]).is_sound());
        assert!(!line(&[1.0], &[]).is_sound());
        assert!(!line(&[1.0, 1.0], &[0.0, 1.0]).is_sound());
        assert!(!line(&[1.0, 2.0], &[1.0, 0.0]).is_sound());
        assert!(!line(&[1.0, f64::INFINITY], &[0.0, 1.0]).is_sound());
    }

    proptest! {
        /// It never falls, keeps the weighted mean, and no level step can be split to gain.
        #[test]
        fn it_is_the_projection(
            rows in prop::collection::vec((0u8..20, -5.0f64..5.0, 0.1f64..3.0), 1..60),
        ) {
            let x: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let y: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let w: Vec<f64> = rows.iter().map(|row| row.2).collect();
            let line = fit(&x, &y, &w).unwrap();
            prop_assert!(line.is_sound());
            let fitted: Vec<f64> = x.iter().map(|x| line.at(*x)).collect();
            // The conditions of the projection onto the cone: residuals are orthogonal to the
            // fit, and no upward step at any place improves it.
            let residual: Vec<f64> = (0..x.len()).map(|i| w[i] * (y[i] - fitted[i])).collect();
            let along: f64 = residual.iter().zip(&fitted).map(|(r, f)| r * f).sum();
            prop_assert!(along.abs() < 1e-8, "{along}");
            prop_assert!(residual.iter().sum::<f64>().abs() < 1e-8);
            for step in 0..20 {
                let above = (0..x.len()).filter(|&i| x[i] >= f64::from(step));
                prop_assert!(above.map(|i| residual[i]).sum::<f64>() < 1e-8);
            }
        }
    }
}
