//! The functions behind probabilities: the gamma and beta integrals and the
//! distributions made of them.
//!
//! Each gives NaN outside its domain.

pub(crate) use crate::normal::{cumulative as normal_below, quantile as normal_quantile};

/// Steps after which a series or fraction that has not settled is given up.
const STEPS: usize = 10_000;
/// Stands in for 0 in the continued fractions (Lentz's method).
const TINY: f64 = 1e-300;

/// Coefficients of Lanczos's approximation for g = 7 and 9 terms (Lanczos 1964;
/// the values of Godfrey 2001).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// Returns the logarithm of the gamma function at `x > 0`.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let mut sum = LANCZOS[0];
    for (index, coefficient) in LANCZOS.iter().enumerate().skip(1) {
        sum += coefficient / (x + index as f64);
    }
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

/// Returns the upper regularised gamma integral Q(a, x).
pub(crate) fn gamma_tail(a: f64, x: f64) -> f64 {
    if a.is_nan() || x.is_nan() || a <= 0.0 || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..STEPS {
            term *= x / (a + step as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for step in 1..STEPS {
        let step = step as f64;
        let a_n = -step * (step - a);
        b += 2.0;
        d = 1.0 / away_from_zero(a_n * d + b);
        c = away_from_zero(b + a_n / c);
        let change = c * d;
        fraction *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front * fraction
}

fn away_from_zero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

/// Returns the regularised beta integral `I_x(a, b)`.
pub(crate) fn beta_integral(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() || a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..STEPS {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

/// Returns the standard normal density at `x`.
pub(crate) fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Returns the probability that a chi-squared value of `k` degrees of freedom is
/// above `x`.
pub(crate) fn chi_squared_above(x: f64, k: f64) -> f64 {
    gamma_tail(0.5 * k, 0.5 * x.max(0.0))
}

/// Returns the probability that a Student value of `k` degrees of freedom is
/// above `x`.
pub(crate) fn student_above(x: f64, k: f64) -> f64 {
    let outside = 0.5 * beta_integral(k / (k + x * x), 0.5 * k, 0.5);
    if x < 0.0 { 1.0 - outside } else { outside }
}

/// Returns the value that a Student one of `k` degrees of freedom is below with
/// probability `p`.
pub(crate) fn student_quantile(p: f64, k: f64) -> f64 {
    if p.is_nan() || p <= 0.0 || p >= 1.0 {
        return f64::NAN;
    }
    if p > 0.5 {
        return -student_quantile(1.0 - p, k);
    }
    let share = beta_quantile(2.0 * p, 0.5 * k, 0.5);
    -(k * (1.0 / share - 1.0)).max(0.0).sqrt()
}

/// Returns the probability that a value of the F distribution with `k` and `n`
/// degrees of freedom is above `x`.
pub(crate) fn f_above(x: f64, k: f64, n: f64) -> f64 {
    let x = x.max(0.0);
    beta_integral(n / (n + k * x), 0.5 * n, 0.5 * k)
}

/// Returns the value that a Beta(a, b) one is below with probability `p`.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) || beta_integral(0.5, a, b).is_nan() {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, 1.0);
    // Halving until neighbours: at most 1,075 halvings exist, 100 suffice away from 0.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_integral(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Returns the probability that the largest distance of a Brownian bridge from 0
/// is above `x` (Kolmogorov 1933).
pub(crate) fn bridge_above(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x < 0.2 {
        // 1 - 1e-20 and less.
        return 1.0;
    }
    let mut sum = 0.0;
    for k in 1..=100 {
        let term = (-2.0 * f64::from(k * k) * x * x).exp();
        sum += if k % 2 == 1 { term } else { -term };
        if term < 1e-18 {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

/// Returns the p-value of a Dickey-Fuller t-statistic with a constant (MacKinnon
/// 1994, tables 3 and 4, case of one variable).
pub(crate) fn dickey_fuller_p(t: f64) -> f64 {
    if t.is_nan() {
        return f64::NAN;
    }
    if t > 2.74 {
        return 1.0;
    }
    if t < -18.83 {
        return 0.0;
    }
    normal_below(if t <= -1.61 {
        2.1659 + t * (1.4412 + t * 0.038269)
    } else {
        1.7339 + t * (0.93202 + t * (-0.12745 + t * -0.010368))
    })
}
