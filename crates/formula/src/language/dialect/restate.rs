//! What one operator says, said by others: for notations that lack its name.

use super::super::Expression;
use super::super::identity::substituted;
use crate::Profile;
use crate::operators::{Computation, Operator};

/// Formulas over the names of the parameters that give the same number under every
/// profile.
const RESTATEMENTS: [(&str, &str); 10] = [
    ("ts_mean", "ts_sum(x, window) / window"),
    ("ts_returns", "x / ts_delay(x, window) - 1"),
    ("ts_count", "ts_sum(condition, window)"),
    ("ts_var", "ts_std(x, window) ^ 2"),
    ("ts_median", "ts_quantile(x, window, 0.5)"),
    ("ts_beta", "ts_cov(x, y, window) / ts_var(y, window)"),
    ("cs_demean", "x - cs_mean(x)"),
    ("sqrt", "x ^ 0.5"),
    ("signed_power", "sign(x) * abs(x) ^ y"),
    ("sigmoid", "1 / (1 + exp(-x))"),
];

/// Returns the call of `operator` without it, if others can say it.
pub(in super::super) fn restated(
    operator: &'static Operator,
    arguments: &[Expression],
) -> Option<Expression> {
    let text = match operator.computation {
        Computation::Formula(text) => text(&Profile::PAPER),
        _ => {
            let known = RESTATEMENTS.iter();
            known.copied().find(|(name, _)| *name == operator.name)?.1
        }
    };
    substituted(operator, text, arguments).ok()
}
