//! Least squares with a few regressors, by Householder's reflections (Golub and
//! Van Loan 2013, algorithm 5.3.2).

/// A column whose part independent of the columns before is smaller than this
/// share of it says nothing of its own.
const DEPENDENT: f64 = 1e-10;

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// One coefficient per column.
    pub(crate) coefficients: Vec<f64>,
    /// The sum of the squared residuals.
    pub(crate) residual: f64,
    /// The diagonal of the inverse of X'X.
    pub(crate) inverse: Vec<f64>,
    rows: usize,
}

impl Fit {
    /// Returns the coefficient of column `index` over its standard error.
    pub(crate) fn t_statistic(&self, index: usize) -> f64 {
        let freedom = self.rows as f64 - self.coefficients.len() as f64;
        let variance = self.residual / freedom * self.inverse[index];
        self.coefficients[index] / variance.sqrt()
    }
}

/// Fits `y` on the columns; nothing if there are not more rows than columns or the
/// columns depend on each other.
pub(crate) fn fit(mut columns: Vec<Vec<f64>>, mut y: Vec<f64>) -> Option<Fit> {
    let (rows, width) = (y.len(), columns.len());
    if rows <= width {
        return None;
    }
    let norms: Vec<f64> = columns.iter().map(|column| norm(column)).collect();
    for at in 0..width {
        let length = norm(&columns[at][at..]);
        if length <= DEPENDENT * norms[at] {
            return None;
        }
        let mut reflector = columns[at][at..].to_vec();
        reflector[0] += length.copysign(reflector[0]);
        let square: f64 = reflector.iter().map(|v| v * v).sum();
        for column in columns[at..].iter_mut().chain([&mut y]) {
            let part = &mut column[at..];
            let along: f64 = part.iter().zip(&reflector).map(|(a, b)| a * b).sum();
            for (value, v) in part.iter_mut().zip(&reflector) {
                *value -= 2.0 * along / square * v;
            }
        }
    }
    let residual = y[width..].iter().map(|value| value * value).sum();
    let coefficients = solve(&columns, &y[..width]);
    let mut inverse = vec![0.0; width];
    for unit in 0..width {
        let mut side = vec![0.0; width];
        side[unit] = 1.0;
        for (sum, value) in inverse.iter_mut().zip(solve(&columns, &side)) {
            *sum += value * value;
        }
    }
    Some(Fit {
        coefficients,
        residual,
        inverse,
        rows,
    })
}

/// Solves the triangular system that the reflections left.
fn solve(columns: &[Vec<f64>], side: &[f64]) -> Vec<f64> {
    let mut solution = side.to_vec();
    for at in (0..side.len()).rev() {
        for after in at + 1..side.len() {
            solution[at] -= columns[after][at] * solution[after];
        }
        solution[at] /= columns[at][at];
    }
    solution
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|value| value * value).sum::<f64>().sqrt()
}
