//! The formula language: text to tree, tree to text, and what a formula is
//! allowed to be.
//!
//! `docs/formula-language.md` describes it for those who write formulas.

mod build;
mod dialect;
mod error;
mod expression;
mod identity;
mod lexer;
mod normal;
mod printer;
mod spoken;
mod syntax;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use thiserror::Error;

pub use build::signature;
pub use error::{Caret, ParseError, Problem};
pub(crate) use error::{nearest, suggestion};
pub use expression::Expression;
pub(crate) use identity::template;
pub use identity::{canonical_hash, structure_hash};
pub use printer::PrintError;
pub use spoken::{Step, explain, tree};
pub use types::LONGEST_WINDOW;

use crate::operators::Operator;
use build::Meaning;
use types::Type;

/// A way of writing formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notation {
    /// The canonical one: `ts_mean(close, 20)`, `cs_rank(x)`, infix, `?:`.
    Foretune,
    /// Kakushadze's 101 Formulaic Alphas: `ts_rank`, `Ts_ArgMax`, `SignedPower`,
    /// `decay_linear`, `IndNeutralize(x, IndClass.sector)`, `adv20`, `delay`.
    Alpha101,
    /// Guotai Junan's Alpha191: upper case, `SMA(x,n,m)`, `TSRANK`, `DELAY`.
    Gtja,
    /// Qlib: `Ref($close, 1)`, `Mean($close, 5)`, `Greater`, `Less`.
    Qlib,
}

impl Notation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Foretune, Self::Alpha101, Self::Gtja, Self::Qlib];

    /// Returns the name by which settings and the catalogue call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foretune => "foretune",
            Self::Alpha101 => "alpha101",
            Self::Gtja => "gtja",
            Self::Qlib => "qlib",
        }
    }

    /// Returns the notation called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|notation| notation.name() == name)
    }
}

/// Reads a formula: a tree with all names resolved, all defaults filled in and
/// all arguments checked.
///
/// # Errors
///
/// If the text is not a formula of the notation; the error knows the place.
pub fn parse(text: &str, notation: Notation) -> Result<Expression, ParseError> {
    parse_with(text, notation, &BTreeMap::new())
}

/// Reads a formula in which further names stand for given trees, as in the
/// templates of [`Computation::Formula`](crate::operators::Computation::Formula).
/// A name that stands for a number may be a window.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_with(
    text: &str,
    notation: Notation,
    bindings: &BTreeMap<String, Expression>,
) -> Result<Expression, ParseError> {
    let given = bindings.iter().map(|(name, expression)| {
        let meaning = Meaning {
            expression: expression.clone(),
            is: Type::of(expression),
        };
        (name.clone(), meaning)
    });
    let formula = syntax::read(text, notation)?;
    let whole = build::build(text, notation, &formula, &given.collect())?;
    if bindings.is_empty() {
        build::check_formula(&whole, text)?;
    }
    Ok(whole.expression)
}

/// Writes a formula in a notation.
///
/// # Errors
///
/// If the notation has nothing for an operator of the formula. The canonical one
/// has something for all.
pub fn print(expression: &Expression, notation: Notation) -> Result<String, PrintError> {
    printer::print(expression, notation)
}

/// Returns what a notation calls an operator, if it has a name for it.
pub fn foreign_name(operator: &Operator, notation: Notation) -> Option<&'static str> {
    dialect::name_of(notation, operator)
}

/// Why a formula cannot be said in another notation.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TranslateError {
    /// It cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It cannot be written.
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Writes a formula of one notation in another.
///
/// # Errors
///
/// As [`parse`] and [`print`].
pub fn translate(text: &str, from: Notation, to: Notation) -> Result<String, TranslateError> {
    Ok(print(&parse(text, from)?, to)?)
}
