//! L-BFGS for smooth convex functions (Nocedal and Wright, "Numerical
//! Optimization", 2nd edition, algorithms 7.4 and 7.5).
//!
//! The line search looks at slopes first: close to the minimum the function
//! value no longer changes in double precision, the slope still does (the
//! "approximate Wolfe" test of Hager and Zhang 2005, section 4). It
//! relies on convexity and is not meant for anything else.

use crate::StatsError;

/// Corrections kept. Ten is the customary choice for small problems.
const MEMORY: usize = 10;
/// Iterations before giving up.
const MAX_ITERATIONS: usize = 2_000;
/// Function evaluations of one line search.
const MAX_TRIALS: usize = 60;
/// The slope at an accepted point is at least this fraction of the first slope.
const CURVATURE: f64 = 0.9;
/// The slope at an accepted point is at most this fraction of the first, with
/// the sign turned.
const OVERSHOOT: f64 = 0.8;
/// An accepted point may be higher than the start by this times the value there.
const ROUNDING: f64 = 1e-12;

/// Returns the minimiser of a convex function, starting at `x`.
/// `value_and_gradient` writes the gradient into its second argument. Stops
/// when no entry of the gradient exceeds `tolerance`.
///
/// # Errors
/// [`StatsError::NotConverged`] if the gradient does not vanish, as when the
/// minimum lies at infinity.
pub(crate) fn minimise(
    mut x: Vec<f64>,
    tolerance: f64,
    mut value_and_gradient: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Result<Vec<f64>, StatsError> {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = value_and_gradient(&x, &mut gradient);
    let mut corrections: Vec<Correction> = Vec::with_capacity(MEMORY);
    let mut trial = vec![0.0; n];
    let mut trial_gradient = vec![0.0; n];

    for iteration in 0..MAX_ITERATIONS {
        let norm = largest(&gradient);
        if norm <= tolerance {
            return Ok(x);
        }
        let mut direction = descent(&gradient, &corrections);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 {
            // The corrections no longer describe the function: start afresh.
            corrections.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let first = if corrections.is_empty() {
            1.0 / norm.max(1.0)
        } else {
            1.0
        };

        let (mut step, mut low, mut high) = (first, 0.0, f64::INFINITY);
        let mut accepted = false;
        for _ in 0..MAX_TRIALS {
            for i in 0..n {
                trial[i] = x[i] + step * direction[i];
            }
            let trial_value = value_and_gradient(&trial, &mut trial_gradient);
            let trial_slope = dot(&trial_gradient, &direction);
            let higher = trial_value > value + ROUNDING * value.abs();
            if !trial_value.is_finite() || higher || trial_slope > -OVERSHOOT * slope {
                high = step;
            } else if trial_slope < CURVATURE * slope {
                low = step;
            } else {
                value = trial_value;
                accepted = true;
                break;
            }
            step = if high.is_finite() {
                f64::midpoint(low, high)
            } else {
                2.0 * step
            };
        }
        if !accepted {
            return Err(StatsError::NotConverged {
                iterations: iteration,
                gradient_norm: norm,
                tolerance,
            });
        }

        let s: Vec<f64> = trial.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = trial_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot(&s, &y);
        if curvature > f64::EPSILON * dot(&y, &y) {
            if corrections.len() == MEMORY {
                corrections.remove(0);
            }
            corrections.push(Correction { s, y, curvature });
        }
        std::mem::swap(&mut x, &mut trial);
        std::mem::swap(&mut gradient, &mut trial_gradient);
    }
    Err(StatsError::NotConverged {
        iterations: MAX_ITERATIONS,
        gradient_norm: largest(&gradient),
        tolerance,
    })
}

/// A step `s`, the change `y` of the gradient along it, and their product.
struct Correction {
    s: Vec<f64>,
    y: Vec<f64>,
    curvature: f64,
}

/// Returns minus the approximate inverse Hessian times the gradient (the
/// two-loop recursion).
fn descent(gradient: &[f64], corrections: &[Correction]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = vec![0.0; corrections.len()];
    for (alpha, c) in alphas.iter_mut().zip(corrections).rev() {
        *alpha = dot(&c.s, &q) / c.curvature;
        add_scaled(&mut q, -*alpha, &c.y);
    }
    if let Some(last) = corrections.last() {
        let scale = last.curvature / dot(&last.y, &last.y);
        for value in &mut q {
            *value *= scale;
        }
    }
    for (alpha, c) in alphas.iter().zip(corrections) {
        let beta = dot(&c.y, &q) / c.curvature;
        add_scaled(&mut q, alpha - beta, &c.s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add_scaled(target: &mut [f64], factor: f64, values: &[f64]) {
    for (t, v) in target.iter_mut().zip(values) {
        *t += factor * v;
    }
}

fn largest(values: &[f64]) -> f64 {
    // NaN must not look like convergence.
    if values.iter().any(|v| v.is_nan()) {
        return f64::INFINITY;
    }
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_an_ill_conditioned_bowl() {
        let centre = [3.0, -2.0, 0.5];
        let stiffness = [1.0, 1e4, 1e-2];
        let found = minimise(vec![0.0; 3], 1e-10, |x, g| {
            let mut value = 0.0;
            for i in 0..3 {
                let d = x[i] - centre[i];
                g[i] = stiffness[i] * d;
                value += 0.5 * stiffness[i] * d * d;
            }
            value
        });
        for (got, expected) in found.unwrap().iter().zip(centre) {
            assert!((got - expected).abs() < 1e-7, "{got} {expected}");
        }
    }

    #[test]
    fn a_minimum_at_infinity_is_an_error() {
        let result = minimise(vec![0.0], 1e-12, |x, g| {
            g[0] = -1.0;
            -x[0]
        });
        assert!(matches!(result, Err(StatsError::NotConverged { .. })));
    }

    #[test]
    fn nan_is_an_error() {
        let result = minimise(vec![0.0], 1e-12, |_, g| {
            g[0] = f64::NAN;
            f64::NAN
        });
        assert!(matches!(result, Err(StatsError::NotConverged { .. })));
    }
}
