//! The notation of Kakushadze's 101 Formulaic Alphas (arXiv:1601.00991, appendix
//! A.1). Names are read whatever their case; windows with a fraction are cut to
//! whole bars, as the paper says.

use super::super::build::{Builder, Built};
use super::super::lexer::Span;
use super::super::syntax::Syntax;
use super::{Column, Expression, Names, Said, extremum, say_extremum};

pub(super) const OPERATORS: Names = &[
    ("rank", "cs_rank"),
    ("delay", "ts_delay"),
    ("correlation", "ts_corr"),
    ("covariance", "ts_cov"),
    ("scale", "cs_scale"),
    ("delta", "ts_delta"),
    ("signedpower", "signed_power"),
    ("decay_linear", "ts_decay_linear"),
    ("indneutralize", "group_neutralize"),
    ("ts_min", "ts_min"),
    ("ts_max", "ts_max"),
    ("ts_argmax", "ts_argmax"),
    ("ts_argmin", "ts_argmin"),
    ("ts_rank", "ts_rank"),
    ("sum", "ts_sum"),
    ("product", "ts_product"),
    ("stddev", "ts_std"),
    ("abs", "abs"),
    ("log", "log"),
    ("sign", "sign"),
    ("min", "min"),
    ("max", "max"),
];

const CLASSES: &str = "indclass.";

pub(super) fn column(name: &str) -> Option<Column> {
    let name = name.to_ascii_lowercase();
    if let Some(class) = name.strip_prefix(CLASSES) {
        return match class {
            "sector" => Some(Column::Field("sector")),
            "industry" => Some(Column::Field("industry")),
            "subindustry" => Some(Column::Field("subindustry")),
            _ => None,
        };
    }
    let days = name.strip_prefix("adv")?;
    let is_number = !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Column::Formula(format!("adv({days})")))
}

pub(super) fn column_of(name: &str) -> String {
    match name {
        "sector" | "industry" | "subindustry" => format!("IndClass.{name}"),
        _ => name.to_owned(),
    }
}

pub(super) fn call(
    builder: &mut Builder<'_>,
    name: &str,
    arguments: &[Syntax<'_>],
    span: Span,
) -> Option<Built> {
    let names = match name.to_ascii_lowercase().as_str() {
        "min" => ["ts_min", "min"],
        "max" => ["ts_max", "max"],
        _ => return None,
    };
    Some(extremum(builder, names, name, arguments, span, false))
}

pub(super) fn say(expression: &Expression) -> Said {
    if let Expression::Call(operator, arguments) = expression
        && operator.name == "adv"
        && let [Expression::Number(days)] = arguments.as_slice()
    {
        return Said::Word(format!("adv{days}"));
    }
    say_extremum(expression).unwrap_or(Said::Plainly)
}
