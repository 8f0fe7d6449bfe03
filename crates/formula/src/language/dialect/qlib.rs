//! The notation of Qlib's expressions (qlib/data/ops.py, Qlib 0.9): Python, with
//! columns as `$close`, no ternary and no unary minus.

use super::super::build::{Builder, Built};
use super::super::error::Problem;
use super::super::lexer::Span;
use super::super::syntax::Syntax;
use super::super::types::folded;
use super::{Expression, Names, Said};
use crate::operators;

pub(super) const OPERATORS: Names = &[
    ("Ref", "ts_delay"),
    ("Mean", "ts_mean"),
    ("Sum", "ts_sum"),
    ("Std", "ts_std"),
    ("Var", "ts_var"),
    ("Max", "ts_max"),
    ("Min", "ts_min"),
    ("Quantile", "ts_quantile"),
    ("Med", "ts_median"),
    ("Mad", "ts_mad"),
    ("Rank", "ts_rank"),
    ("Skew", "ts_skew"),
    ("Kurt", "ts_kurt"),
    ("Slope", "ts_slope"),
    ("Rsquare", "ts_rsquare"),
    ("Resi", "ts_resid"),
    ("Corr", "ts_corr"),
    ("Cov", "ts_cov"),
    ("IdxMax", "ts_argmax"),
    ("IdxMin", "ts_argmin"),
    ("Delta", "ts_delta"),
    ("EMA", "ts_ema"),
    ("WMA", "ts_decay_linear"),
    ("Greater", "max"),
    ("Less", "min"),
    ("If", "if_else"),
    ("Abs", "abs"),
    ("Log", "log"),
    ("Sign", "sign"),
    ("Power", "power"),
    ("Add", "add"),
    ("Sub", "subtract"),
    ("Mul", "multiply"),
    ("Div", "divide"),
    ("Gt", "greater"),
    ("Ge", "greater_equal"),
    ("Lt", "less"),
    ("Le", "less_equal"),
    ("Eq", "equal"),
    ("Ne", "not_equal"),
    ("And", "and"),
    ("Or", "or"),
    ("Not", "not"),
    ("IsNull", "is_unknown"),
];

/// Calls that are more than another name.
pub(super) const OWN: &[&str] = &["Count"];

pub(super) fn call(
    builder: &mut Builder<'_>,
    name: &str,
    arguments: &[Syntax<'_>],
    span: Span,
) -> Option<Built> {
    match (name, arguments) {
        ("Ref", [x, lag]) => Some(reference(builder, x, lag, span)),
        ("EMA", [x, weight]) => Some(exponential(builder, x, weight, span)),
        ("Count", [x, window]) => Some(count(builder, x, window, span)),
        _ => None,
    }
}

/// `Ref(x, 0)` is the first bar of the data there, which no other notation says.
fn reference(builder: &mut Builder<'_>, x: &Syntax<'_>, lag: &Syntax<'_>, span: Span) -> Built {
    let parts = vec![builder.part(x)?, builder.part(lag)?];
    if folded(&parts[1].expression) == Some(0.0) {
        let problem = Problem::Notation {
            message: "`Ref` by 0 means the first bar of the data in Qlib".to_owned(),
            hint: Some("write the column itself for the newest bar".to_owned()),
        };
        return Err(lag.span.error(problem, builder.text));
    }
    match operators::named("ts_delay") {
        Some(operator) => builder.apply(operator, "Ref", parts, span),
        None => builder.named("ts_delay", parts, span),
    }
}

/// `EMA(x, w)` with w below 1 has that weight for the newest value.
fn exponential(
    builder: &mut Builder<'_>,
    x: &Syntax<'_>,
    weight: &Syntax<'_>,
    span: Span,
) -> Built {
    let parts = vec![builder.part(x)?, builder.part(weight)?];
    let is_weight = folded(&parts[1].expression).is_some_and(|weight| 0.0 < weight && weight < 1.0);
    builder.named(if is_weight { "ts_ewm" } else { "ts_ema" }, parts, span)
}

/// The number of known values.
fn count(builder: &mut Builder<'_>, x: &Syntax<'_>, window: &Syntax<'_>, span: Span) -> Built {
    let x = builder.part(x)?;
    let window = builder.part(window)?;
    let unknown = builder.named("is_unknown", vec![x], span)?;
    let known = builder.named("not", vec![unknown], span)?;
    builder.named("ts_count", vec![known, window], span)
}

pub(super) fn say(expression: &Expression) -> Said {
    let Expression::Call(operator, arguments) = expression else {
        return Said::Plainly;
    };
    let call = |name| Said::Call(name, arguments.clone());
    match (operator.name, arguments.as_slice()) {
        ("if_else", _) => call("If"),
        ("and", _) => call("And"),
        ("or", _) => call("Or"),
        ("not", _) => call("Not"),
        ("power", _) => call("Power"),
        ("ts_ewm", [_, Expression::Number(weight)]) if 0.0 < *weight && *weight < 1.0 => {
            call("EMA")
        }
        ("negate", [x]) => match operators::named("multiply") {
            Some(times) => {
                let parts = vec![Expression::Number(-1.0), x.clone()];
                Said::As(Expression::Call(times, parts))
            }
            None => Said::Plainly,
        },
        ("ts_count", [Expression::Call(not, inner), window]) if not.name == "not" => {
            match inner.as_slice() {
                [Expression::Call(unknown, x)] if unknown.name == "is_unknown" => {
                    let x = x.iter().cloned();
                    Said::Call("Count", x.chain([window.clone()]).collect())
                }
                _ => Said::Plainly,
            }
        }
        _ => Said::Plainly,
    }
}
