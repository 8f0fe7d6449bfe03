//! Notations other than the canonical one: their names for operators and columns,
//! and what they say in their own way.
//!
//! A notation is read into, and written from, the same trees; what an operator's
//! name leaves open (scales of ranks, warm-up) is a matter of the profile. A place
//! among the last bars is told from the oldest, as the profile `paper` does.

mod alpha101;
mod gtja;
mod qlib;
mod restate;
#[cfg(test)]
mod tests;

use super::build::{Builder, Built, Part};
use super::lexer::Span;
use super::printer::PrintError;
use super::syntax::Syntax;
use super::types::folded;
use super::{Expression, Notation};
use crate::fields;
use crate::operators::{self, Operator};

pub(super) use restate::restated;

/// What a name of a column stands for.
pub(super) enum Column {
    /// A column.
    Field(&'static str),
    /// A formula in canonical notation.
    Formula(String),
}

/// What to write for a part of a tree.
pub(super) enum Said {
    /// Nothing special: an infix operator, or the operator's name in the notation.
    Plainly,
    /// Another tree.
    As(Expression),
    /// A call of the notation's own.
    Call(&'static str, Vec<Expression>),
    /// A word.
    Word(String),
}

/// Foreign names with the canonical ones.
type Names = &'static [(&'static str, &'static str)];

fn operators_of(notation: Notation) -> Names {
    match notation {
        Notation::Foretune => &[],
        Notation::Alpha101 => alpha101::OPERATORS,
        Notation::Gtja => gtja::OPERATORS,
        Notation::Qlib => qlib::OPERATORS,
    }
}

/// Returns the operator that `name` is in a notation.
pub(super) fn operator(notation: Notation, name: &str) -> Option<&'static Operator> {
    if notation == Notation::Foretune {
        return operators::named(name);
    }
    let same = |foreign: &str| match notation {
        Notation::Qlib => foreign == name,
        _ => foreign.eq_ignore_ascii_case(name),
    };
    let names = operators_of(notation);
    let found = names.iter().find(|(foreign, _)| same(foreign));
    found.and_then(|(_, canonical)| operators::named(canonical))
}

/// Returns the name of an operator in a notation.
pub(super) fn name_of(notation: Notation, operator: &Operator) -> Option<&'static str> {
    if notation == Notation::Foretune {
        return Some(operator.name);
    }
    let names = operators_of(notation);
    let found = names
        .iter()
        .find(|(_, canonical)| *canonical == operator.name);
    found.map(|(foreign, _)| *foreign)
}

/// Returns the names that can be called in a notation.
pub(super) fn callable(notation: Notation) -> Vec<&'static str> {
    if notation == Notation::Foretune {
        let all = operators::all().iter();
        return all.map(|operator| operator.name).collect();
    }
    let own: &[&str] = match notation {
        Notation::Gtja => gtja::OWN,
        Notation::Qlib => qlib::OWN,
        _ => &[],
    };
    let names = operators_of(notation).iter().map(|(foreign, _)| *foreign);
    names.chain(own.iter().copied()).collect()
}

/// Returns what the name of a column stands for.
pub(super) fn column(notation: Notation, name: &str) -> Option<Column> {
    let field = |name: &str| fields::named(name).map(|field| Column::Field(field.name));
    match notation {
        Notation::Foretune => field(name),
        Notation::Alpha101 => alpha101::column(name).or_else(|| field(&name.to_lowercase())),
        Notation::Gtja => gtja::column(name).or_else(|| field(&name.to_lowercase())),
        Notation::Qlib => name.strip_prefix('$').and_then(field),
    }
}

/// Returns how a notation writes a column.
pub(super) fn column_of(notation: Notation, name: &str) -> String {
    match notation {
        Notation::Foretune => name.to_owned(),
        Notation::Alpha101 => alpha101::column_of(name),
        Notation::Gtja => gtja::column_of(name),
        Notation::Qlib => format!("${name}"),
    }
}

/// Reads a call that is more than another name for an operator.
pub(super) fn own_call(
    builder: &mut Builder<'_>,
    name: &str,
    arguments: &[Syntax<'_>],
    span: Span,
) -> Option<Built> {
    match builder.notation {
        Notation::Foretune => None,
        Notation::Alpha101 => alpha101::call(builder, name, arguments, span),
        Notation::Gtja => gtja::call(builder, name, arguments, span),
        Notation::Qlib => qlib::call(builder, name, arguments, span),
    }
}

/// Returns what a notation writes for `expression`.
pub(super) fn say(notation: Notation, expression: &Expression) -> Result<Said, PrintError> {
    match notation {
        Notation::Foretune => Ok(Said::Plainly),
        Notation::Alpha101 => Ok(alpha101::say(expression)),
        Notation::Gtja => gtja::say(expression),
        Notation::Qlib => Ok(qlib::say(expression)),
    }
}

/// `min(x, d)` and `max(x, d)`: over the last d bars where d is a constant and x is
/// not, of two values elsewhere.
fn extremum(
    builder: &mut Builder<'_>,
    names: [&'static str; 2],
    written: &str,
    arguments: &[Syntax<'_>],
    span: Span,
    whole: bool,
) -> Built {
    let [over_time, of_two] = names;
    let parts = builder.parts(arguments)?;
    let is_window = |part: &Part| {
        let value = folded(&part.expression);
        value.is_some_and(|value| value >= 1.0 && (!whole || value.fract() == 0.0))
    };
    let rolls = matches!(parts.as_slice(), [x, window]
        if folded(&x.expression).is_none() && is_window(window));
    let name = if rolls { over_time } else { of_two };
    match operators::named(name) {
        Some(operator) => builder.apply(operator, written, parts, span),
        None => builder.named(name, parts, span),
    }
}

/// Writes the smaller or larger of two values so that it is not taken for an
/// extremum over time: a constant stands first.
fn say_extremum(expression: &Expression) -> Option<Said> {
    let Expression::Call(operator, arguments) = expression else {
        return None;
    };
    let [x, y] = arguments.as_slice() else {
        return None;
    };
    let turned = matches!(operator.name, "min" | "max")
        && folded(x).is_none()
        && folded(y).is_some_and(|value| value >= 1.0);
    turned.then(|| {
        let arguments = vec![y.clone(), x.clone()];
        Said::As(Expression::Call(operator, arguments))
    })
}
