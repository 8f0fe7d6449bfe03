//! When two formulas are the same: one hash for what a formula computes under its
//! conventions, one for its structure with all constants abstracted.

use std::collections::BTreeMap;

use super::build::{self, Meaning};
use super::normal::{self, Part, absolute, call, number, product, sum, unordered, value};
use super::types::{self, Type};
use super::{Expression, Notation, syntax};
use crate::Profile;
use crate::fields::{self, Source};
use crate::operators::{self, Computation, Kind, Operator};
use crate::profile::WarmUp;

/// Returns a number that is the same for formulas which compute the same: the
/// order of the operands of commutative operators, the way a difference is
/// written, folded constants and operators that stand for a formula make no
/// difference; conventions that change a result do.
pub fn canonical_hash(expression: &Expression, profile: &Profile) -> u128 {
    normal(expression, profile, &BTreeMap::new()).hash
}

/// Returns a number that is the same for formulas which differ in constants
/// (windows too) or conventions only.
pub fn structure_hash(expression: &Expression) -> u128 {
    normal(expression, &Profile::PAPER, &BTreeMap::new()).structure
}

/// What the placeholders of a template stand for.
type Names = BTreeMap<String, Part>;

fn normal(expression: &Expression, profile: &Profile, names: &Names) -> Part {
    match expression {
        Expression::Number(value) => number(*value),
        Expression::Field(name) => names
            .get(name)
            .cloned()
            .unwrap_or_else(|| column(name, profile)),
        Expression::Call(operator, arguments) => {
            let parts = arguments
                .iter()
                .map(|argument| normal(argument, profile, names))
                .collect();
            of_call(operator, parts, profile)
        }
    }
}

/// The returns are what they are made of; other columns may be data.
fn column(name: &str, profile: &Profile) -> Part {
    let made_of = fields::named(name).map(|field| field.source);
    if let (Some(Source::Derived(text)), "returns") = (made_of, name)
        && let Ok(expression) = super::parse(text, Notation::Foretune)
    {
        return normal(&expression, profile, &BTreeMap::new());
    }
    normal::field(name)
}

#[expect(clippy::needless_pass_by_value, reason = "the parts are made for it")]
fn of_call(operator: &'static Operator, parts: Vec<Part>, profile: &Profile) -> Part {
    let constants: Option<Vec<f64>> = parts.iter().map(value).collect();
    if let Some(folded) = constants.and_then(|constants| types::apply(operator, &constants)) {
        return number(folded);
    }
    let convention = match operator.computation {
        Computation::Formula(_) => {
            if let Some(expanded) = expanded(operator, &parts, profile) {
                return expanded;
            }
            0
        }
        Computation::Kernel { convention, .. } => convention(profile),
        Computation::Reduce(_) => 0,
    };
    arithmetic(operator.name, &parts, convention)
        .or_else(|| identity(operator.name, &parts, profile))
        .unwrap_or_else(|| call(operator.name, convention, &parts))
}

fn arithmetic(name: &str, parts: &[Part], convention: u32) -> Option<Part> {
    let one = |index: usize| (1.0, parts[index].clone());
    Some(match (name, parts) {
        ("add", [_, _]) => sum(&[one(0), one(1)]),
        ("subtract", [_, y]) => sum(&[one(0), (-1.0, y.clone())]),
        ("negate", [x]) => product(-1.0, &[(x.clone(), 1)]),
        ("multiply", [x, y]) => product(1.0, &[(x.clone(), 1), (y.clone(), 1)]),
        ("divide", [x, y]) if value(y) != Some(0.0) => {
            product(1.0, &[(x.clone(), 1), (y.clone(), -1)])
        }
        ("power", [x, y]) => power(x, value(y)?)?,
        ("sqrt", [x]) => call("power", 0, &[x.clone(), number(0.5)]),
        ("abs", [x]) => absolute(x),
        ("greater", [x, y]) => call("less", convention, &[y.clone(), x.clone()]),
        ("greater_equal", [x, y]) => call("less_equal", convention, &[y.clone(), x.clone()]),
        ("min" | "max" | "and" | "or" | "equal" | "not_equal", [_, _]) => {
            unordered(name, convention, parts.to_vec())
        }
        _ => return None,
    })
}

fn power(base: &Part, exponent: f64) -> Option<Part> {
    /// Beyond it nobody multiplies by hand.
    const MOST: f64 = 64.0;
    (exponent.fract() == 0.0 && exponent.abs() <= MOST && exponent != 0.0)
        .then(|| product(1.0, &[(base.clone(), exponent as i32)]))
}

/// Operators that say shortly what others say.
fn identity(name: &str, parts: &[Part], profile: &Profile) -> Option<Part> {
    let of = |name: &str, parts: &[Part]| {
        let operator = operators::named(name)?;
        Some(of_call(operator, parts.to_vec(), profile))
    };
    Some(match (name, parts) {
        ("ts_delta", [x, lag]) => {
            let before = of("ts_delay", &[x.clone(), lag.clone()])?;
            sum(&[(1.0, x.clone()), (-1.0, before)])
        }
        ("ts_returns", [x, lag]) => {
            let before = of("ts_delay", &[x.clone(), lag.clone()])?;
            let ratio = product(1.0, &[(x.clone(), 1), (before, -1)]);
            sum(&[(1.0, ratio), (1.0, number(-1.0))])
        }
        ("ts_mean", [_, window]) if profile.warm_up == WarmUp::Full => {
            product(1.0, &[(of("ts_sum", parts)?, 1), (window.clone(), -1)])
        }
        ("ts_count", [_, _]) => of("ts_sum", parts)?,
        ("ts_var", [_, _]) => product(1.0, &[(of("ts_std", parts)?, 2)]),
        ("ts_beta", [_, y, window]) => {
            let spread = of("ts_std", &[y.clone(), window.clone()])?;
            product(1.0, &[(of("ts_cov", parts)?, 1), (spread, -2)])
        }
        ("ts_median", [x, window]) => of("ts_quantile", &[x.clone(), window.clone(), number(0.5)])?,
        ("signed_power", [x, y]) if value(y)? != 0.0 => {
            let size = of("power", &[absolute(x), y.clone()])?;
            product(1.0, &[(of("sign", std::slice::from_ref(x))?, 1), (size, 1)])
        }
        ("cs_demean", [x]) => sum(&[(1.0, x.clone()), (-1.0, of("cs_mean", parts)?)]),
        ("group_neutralize", [x, _]) => sum(&[(1.0, x.clone()), (-1.0, of("group_mean", parts)?)]),
        _ => return None,
    })
}

/// Returns the form of the formula that `operator` stands for.
fn expanded(operator: &'static Operator, parts: &[Part], profile: &Profile) -> Option<Part> {
    let mut names = Names::new();
    let mut constants = Vec::new();
    for (parameter, part) in operator.parameters.iter().zip(parts) {
        if is_constant(parameter.kind) {
            constants.push(value(part)?);
        } else {
            names.insert(placeholder(parameter.name), part.clone());
        }
    }
    let template = template(operator, &constants, profile).ok()?;
    Some(normal(&template, profile, &names))
}

/// No column is called this.
fn placeholder(parameter: &str) -> String {
    format!("{{{parameter}}}")
}

/// Returns the formula that `operator` stands for, its constants filled in and its
/// other parameters columns called `{x}`.
pub(crate) fn template(
    operator: &'static Operator,
    constants: &[f64],
    profile: &Profile,
) -> Result<Expression, super::ParseError> {
    match operator.computation {
        Computation::Formula(text) => of_parameters(operator, text(profile), constants),
        _ => Ok(Expression::Number(f64::NAN)),
    }
}

/// Reads a formula over the names of the parameters of `operator`.
fn of_parameters(
    operator: &'static Operator,
    text: &str,
    constants: &[f64],
) -> Result<Expression, super::ParseError> {
    let mut constants = constants.iter();
    let mut meanings = BTreeMap::new();
    for parameter in operator.parameters {
        let meaning = if is_constant(parameter.kind) {
            Meaning {
                expression: Expression::Number(*constants.next().unwrap_or(&f64::NAN)),
                is: Type::NUMBER,
            }
        } else {
            Meaning {
                expression: Expression::Field(placeholder(parameter.name)),
                is: Type::parameter(parameter.kind),
            }
        };
        meanings.insert(parameter.name.to_owned(), meaning);
    }
    let formula = syntax::read(text, Notation::Foretune)?;
    let notation = Notation::Foretune;
    build::build(text, notation, &formula, &meanings).map(|part| part.expression)
}

fn is_constant(kind: Kind) -> bool {
    matches!(kind, Kind::Window | Kind::Constant)
}

/// Returns a formula over the names of the parameters of `operator` with
/// `arguments` in their places.
pub(super) fn substituted(
    operator: &'static Operator,
    text: &str,
    arguments: &[Expression],
) -> Result<Expression, super::ParseError> {
    let mut constants = Vec::new();
    let mut names = BTreeMap::new();
    for (parameter, argument) in operator.parameters.iter().zip(arguments) {
        match argument {
            Expression::Number(value) if is_constant(parameter.kind) => constants.push(*value),
            _ => {
                names.insert(placeholder(parameter.name), argument);
            }
        }
    }
    let template = of_parameters(operator, text, &constants)?;
    Ok(filled(&template, &names))
}

fn filled(template: &Expression, names: &BTreeMap<String, &Expression>) -> Expression {
    match template {
        Expression::Number(_) => template.clone(),
        Expression::Field(name) => names.get(name).map_or(template, |tree| *tree).clone(),
        Expression::Call(operator, parts) => {
            let parts = parts.iter().map(|part| filled(part, names)).collect();
            Expression::Call(operator, parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Expression {
        match super::super::parse(text, Notation::Foretune) {
            Ok(expression) => expression,
            Err(error) => panic!("{text}: {error}\n{}", error.caret()),
        }
    }

    fn hash(text: &str) -> u128 {
        canonical_hash(&read(text), &Profile::PAPER)
    }

    #[test]
    fn every_template_reads() {
        for operator in operators::all() {
            for profile in &Profile::ALL {
                let constants: Vec<f64> = operator.parameters.iter().map(|_| 20.0).collect();
                if let Err(error) = template(operator, &constants, profile) {
                    panic!("{operator:?}: {error}\n{}", error.caret());
                }
            }
        }
    }

    #[test]
    fn the_same_written_differently() {
        for (left, right) in [
            ("open + close", "close + open"),
            ("open * (close - low)", "(low - close) * -open"),
            ("open - close", "-(close - open)"),
            ("open - (close - low)", "low + open - close"),
            ("open / close / low", "open / (low * close)"),
            ("close / 2", "0.5 * close"),
            ("close * close", "close ^ 2"),
            ("2 * (open + close)", "close * 2 + open * 2"),
            ("(2 * open + 2 * close) / low", "2 * (open + close) / low"),
            ("open > close", "close < open"),
            ("max(open, min(close, low))", "max(min(low, close), open)"),
            ("1 + 2 * 3 + close", "close + 7"),
            ("abs(open - close)", "abs(close - open)"),
            ("close ^ 0.5", "sqrt(close)"),
            ("ts_delta(close, 3)", "close - ts_delay(close, 3)"),
            ("returns", "ts_returns(close)"),
            (
                "ts_zscore(close, 20)",
                "(close - ts_mean(close, 20)) / ts_std(close, 20)",
            ),
            ("adv(20)", "ts_mean(volume * vwap, 20)"),
            ("cs_demean(close)", "close - cs_mean(close)"),
        ] {
            assert_eq!(hash(left), hash(right), "{left} and {right}");
            let structure = |text| structure_hash(&read(text));
            assert_eq!(structure(left), structure(right), "{left} and {right}");
        }
    }

    #[test]
    fn what_differs() {
        for (left, right) in [
            ("open - close", "close - open"),
            ("open / close", "close / open"),
            ("ts_mean(close, 20)", "ts_mean(close, 21)"),
            ("close ^ 2", "close ^ 3"),
            ("sqrt(close ^ 2)", "close"),
            ("sqrt(close) * sqrt(close)", "close"),
            ("open < close", "open <= close"),
            ("if_else(open > 1, 1, 2)", "if_else(open > 1, 2, 1)"),
            ("ts_corr(open, close, 9)", "ts_corr(open, low, 9)"),
            ("abs(open - close)", "abs(open + close)"),
        ] {
            assert_ne!(hash(left), hash(right), "{left} and {right}");
        }
    }

    #[test]
    fn structures_abstract_constants_only() {
        let structure = |text| structure_hash(&read(text));
        let same = structure("2 * ts_mean(close, 20) / ts_std(close, 10) + 1");
        assert_eq!(
            same,
            structure("7 + 3 * ts_mean(close, 5) / ts_std(close, 8)")
        );
        assert_ne!(
            same,
            structure("2 * ts_mean(open, 20) / ts_std(close, 10) + 1")
        );
        assert_ne!(structure("open + close"), structure("open - close"));
        assert_ne!(structure("open / close"), structure("open * close"));
    }

    #[test]
    fn conventions_count_where_they_matter() {
        let differ = |text: &str, one: &Profile, other: &Profile| {
            canonical_hash(&read(text), one) != canonical_hash(&read(text), other)
        };
        assert!(differ("ts_std(close, 9)", &Profile::PAPER, &Profile::TALIB));
        assert!(differ("adv(9)", &Profile::PAPER, &Profile::KUNQUANT));
        assert!(!differ(
            "ts_mean(close, 9)",
            &Profile::PAPER,
            &Profile::TALIB
        ));
        assert!(!differ("close - open", &Profile::PAPER, &Profile::QLIB));
    }

    #[test]
    fn nested_templates_do_not_explode() {
        let mut text = "close".to_owned();
        for _ in 0..60 {
            text = format!("ts_zscore({text}, 20)");
        }
        assert_ne!(hash(&text), hash(&format!("ts_zscore({text}, 20)")));
    }
}
