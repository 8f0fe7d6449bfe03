//! What one operator says, said by others: for notations that lack its name.

use super::super::Expression;
use super::super::identity::substituted;
use super::super::types::folded;
use crate::Profile;
use crate::operators::{Computation, Operator};

/// Formulas over the names of the parameters that give the same number; that of a
/// mean over full windows, that of a signed power unless it is the power of 0.
const RESTATEMENTS: [(&str, &str); 8] = [
    ("ts_mean", "ts_sum(x, window) / window"),
    ("ts_returns", "x / ts_delay(x, window) - 1"),
    ("ts_count", "ts_sum(condition, window)"),
    ("ts_var", "ts_std(x, window) ^ 2"),
    ("ts_median", "ts_quantile(x, window, 0.5)"),
    ("ts_beta", "ts_cov(x, y, window) / ts_var(y, window)"),
    ("sqrt", "x ^ 0.5"),
    ("signed_power", "sign(x) * abs(x) ^ y"),
];

/// Returns the call of `operator` without it, if others can say it.
pub(in super::super) fn restated(
    operator: &'static Operator,
    arguments: &[Expression],
) -> Option<Expression> {
    if operator.name == "signed_power" && !arguments.last().is_some_and(is_power) {
        return None;
    }
    let text = if let Computation::Formula(text) = operator.computation {
        text(&Profile::PAPER)
    } else {
        let known = RESTATEMENTS.iter();
        known.copied().find(|(name, _)| *name == operator.name)?.1
    };
    substituted(operator, text, arguments).ok()
}

/// Whether it is a constant other than 0.
fn is_power(exponent: &Expression) -> bool {
    folded(exponent).is_some_and(|exponent| exponent != 0.0)
}
