//! The notation of Guotai Junan's 191 factors (research series 93 of 2017, page
//! 31). Names are read whatever their case.

use std::sync::LazyLock;

use super::super::build::{Builder, Built};
use super::super::lexer::Span;
use super::super::printer::PrintError;
use super::super::syntax::{Form, Syntax};
use super::super::{Notation, parse};
use super::{Column, Expression, Names, Said, extremum, say_extremum};
use crate::operators;

pub(super) const OPERATORS: Names = &[
    ("RANK", "cs_rank"),
    ("DELAY", "ts_delay"),
    ("DELTA", "ts_delta"),
    ("CORR", "ts_corr"),
    ("COVIANCE", "ts_cov"),
    ("COVARIANCE", "ts_cov"),
    ("TSRANK", "ts_rank"),
    ("TSMAX", "ts_max"),
    ("TSMIN", "ts_min"),
    ("SMA", "ts_sma"),
    ("DECAYLINEAR", "ts_decay_linear"),
    ("STD", "ts_std"),
    ("SUM", "ts_sum"),
    ("MEAN", "ts_mean"),
    ("COUNT", "ts_count"),
    ("PROD", "ts_product"),
    ("REGBETA", "ts_beta"),
    ("REGRESI", "ts_beta_resid"),
    ("SUMAC", "ts_cumsum"),
    ("ABS", "abs"),
    ("SIGN", "sign"),
    ("LOG", "log"),
    ("MIN", "min"),
    ("MAX", "max"),
];

/// Calls that are more than another name.
pub(super) const OWN: &[&str] = &["WMA", "SUMIF", "FILTER", "HIGHDAY", "LOWDAY"];

/// The weight of a bar against the one after it in `WMA`.
const FADING: f64 = 0.9;

/// Names that the report defines by a formula, and its index, which is here the
/// one that gains the mean return of all instruments.
const DEFINED: [(&str, &str); 8] = [
    (
        "DTM",
        "open <= ts_delay(open, 1) ? 0 : max(high - open, open - ts_delay(open, 1))",
    ),
    (
        "DBM",
        "open >= ts_delay(open, 1) ? 0 : max(open - low, open - ts_delay(open, 1))",
    ),
    (
        "TR",
        "max(max(high - low, abs(high - ts_delay(close, 1))), abs(low - ts_delay(close, 1)))",
    ),
    ("HD", "high - ts_delay(high, 1)"),
    ("LD", "ts_delay(low, 1) - low"),
    ("BANCHMARKINDEXCLOSE", INDEX_CLOSE),
    (
        "BANCHMARKINDEXOPEN",
        "ts_cumprod(1 + market) / cs_mean(close / open)",
    ),
    ("BENCHMARKINDEXCLOSE", INDEX_CLOSE),
];
const INDEX_CLOSE: &str = "ts_cumprod(1 + market)";

pub(super) fn column(name: &str) -> Option<Column> {
    let name = name.to_ascii_uppercase();
    if name == "RET" {
        return Some(Column::Field("returns"));
    }
    let spelt = match name.as_str() {
        "BENCHMARKINDEXOPEN" => "BANCHMARKINDEXOPEN",
        name => name,
    };
    let defined = DEFINED.iter().find(|(known, _)| *known == spelt);
    defined.map(|(_, formula)| Column::Formula((*formula).to_owned()))
}

pub(super) fn column_of(name: &str) -> String {
    match name {
        "returns" => "RET".to_owned(),
        _ => name.to_ascii_uppercase(),
    }
}

pub(super) fn call(
    builder: &mut Builder<'_>,
    name: &str,
    arguments: &[Syntax<'_>],
    span: Span,
) -> Option<Built> {
    let upper = name.to_ascii_uppercase();
    Some(match (upper.as_str(), arguments) {
        ("MIN", _) => extremum(builder, ["ts_min", "min"], name, arguments, span, true),
        ("MAX", _) => extremum(builder, ["ts_max", "max"], name, arguments, span, true),
        ("REGBETA", [x, steps] | [x, steps, _]) => {
            on_sequence(builder, "ts_slope", x, steps, span)?
        }
        ("REGRESI", [x, steps] | [x, steps, _]) => {
            on_sequence(builder, "ts_resid", x, steps, span)?
        }
        ("SUMAC", [x, window]) => two(builder, "ts_sum", x, window, span),
        ("WMA", [x, window]) => fading(builder, x, window, span),
        ("SUMIF", [x, window, condition]) => sum_if(builder, x, window, condition, span),
        ("FILTER", [x, condition]) => filter(builder, x, condition, span),
        ("HIGHDAY", [x, window]) => days_since(builder, "ts_argmax", x, window, span),
        ("LOWDAY", [x, window]) => days_since(builder, "ts_argmin", x, window, span),
        _ => return None,
    })
}

fn two(
    builder: &mut Builder<'_>,
    operator: &str,
    x: &Syntax<'_>,
    y: &Syntax<'_>,
    span: Span,
) -> Built {
    let parts = vec![builder.part(x)?, builder.part(y)?];
    builder.named(operator, parts, span)
}

/// A regression on `SEQUENCE(n)`, the numbers 1 to n.
fn on_sequence(
    builder: &mut Builder<'_>,
    operator: &str,
    x: &Syntax<'_>,
    steps: &Syntax<'_>,
    span: Span,
) -> Option<Built> {
    match &steps.form {
        Form::Call(name, count) if name.eq_ignore_ascii_case("SEQUENCE") => {
            match count.as_slice() {
                [count] => Some(two(builder, operator, x, count, span)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn fading(builder: &mut Builder<'_>, x: &Syntax<'_>, window: &Syntax<'_>, span: Span) -> Built {
    let weight = Builder::number(FADING, span);
    let parts = vec![builder.part(x)?, builder.part(window)?, weight];
    builder.named("ts_decay_exp_window", parts, span)
}

fn sum_if(
    builder: &mut Builder<'_>,
    x: &Syntax<'_>,
    window: &Syntax<'_>,
    condition: &Syntax<'_>,
    span: Span,
) -> Built {
    let nothing = Builder::number(0.0, span);
    let parts = vec![builder.part(condition)?, builder.part(x)?, nothing];
    let chosen = builder.named("if_else", parts, span)?;
    let window = builder.part(window)?;
    builder.named("ts_sum", vec![chosen, window], span)
}

/// Unknown where the condition does not hold.
fn filter(builder: &mut Builder<'_>, x: &Syntax<'_>, condition: &Syntax<'_>, span: Span) -> Built {
    let zero = || Builder::number(0.0, span);
    let unknown = builder.named("divide", vec![zero(), zero()], span)?;
    let parts = vec![builder.part(condition)?, builder.part(x)?, unknown];
    builder.named("if_else", parts, span)
}

/// Bars since the extremum: the window less the extremum's place from the oldest.
fn days_since(
    builder: &mut Builder<'_>,
    place: &str,
    x: &Syntax<'_>,
    window: &Syntax<'_>,
    span: Span,
) -> Built {
    let place = two(builder, place, x, window, span)?;
    let window = match &place.expression {
        Expression::Call(_, arguments) => match arguments.last() {
            Some(Expression::Number(window)) => *window,
            _ => f64::NAN,
        },
        _ => f64::NAN,
    };
    let window = Builder::number(window, span);
    builder.named("subtract", vec![window, place], span)
}

/// The trees of [`DEFINED`].
static DEFINITIONS: LazyLock<Vec<(&'static str, Expression)>> = LazyLock::new(|| {
    let parsed = |(name, text): &(&'static str, &str)| {
        let expression = parse(text, Notation::Foretune).ok()?;
        Some((*name, expression))
    };
    DEFINED.iter().filter_map(parsed).collect()
});

pub(super) fn say(expression: &Expression) -> Result<Said, PrintError> {
    let Expression::Call(operator, arguments) = expression else {
        return Ok(Said::Plainly);
    };
    if let Some((name, _)) = DEFINITIONS.iter().find(|(_, tree)| tree == expression) {
        return Ok(Said::Word((*name).to_owned()));
    }
    if operator.name == "if_else"
        && let [condition, x, Expression::Call(last, zeros)] = arguments.as_slice()
        && last.name == "divide"
        && zeros.iter().all(|zero| *zero == Expression::Number(0.0))
    {
        return Ok(Said::Call("FILTER", vec![x.clone(), condition.clone()]));
    }
    Ok(match (operator.name, arguments.as_slice()) {
        ("ts_slope", [x, window]) => Said::Word(of_sequence("REGBETA", x, window)?),
        ("ts_resid", [x, window]) => Said::Word(of_sequence("REGRESI", x, window)?),
        ("ts_decay_exp_window", [x, window, weight]) if *weight == Expression::Number(FADING) => {
            Said::Call("WMA", vec![x.clone(), window.clone()])
        }
        ("subtract", [whole, Expression::Call(place, parts)])
            if parts.last() == Some(whole) && day_call(place.name).is_some() =>
        {
            Said::Call(day_call(place.name).unwrap_or_default(), parts.clone())
        }
        ("ts_argmax" | "ts_argmin", [_, window]) => {
            // n - (n - place), the inner part of which is a word of the notation.
            let subtract = |whole: &Expression, part: Expression| {
                let operator = operators::named("subtract")?;
                Some(Expression::Call(operator, vec![whole.clone(), part]))
            };
            subtract(window, expression.clone())
                .and_then(|days| subtract(window, days))
                .map_or(Said::Plainly, Said::As)
        }
        _ => say_extremum(expression).unwrap_or(Said::Plainly),
    })
}

fn day_call(place: &str) -> Option<&'static str> {
    match place {
        "ts_argmax" => Some("HIGHDAY"),
        "ts_argmin" => Some("LOWDAY"),
        _ => None,
    }
}

fn of_sequence(name: &str, x: &Expression, window: &Expression) -> Result<String, PrintError> {
    let [x, window] = [x, window].map(|part| super::super::print(part, Notation::Gtja));
    Ok(format!("{name}({}, SEQUENCE({}))", x?, window?))
}
