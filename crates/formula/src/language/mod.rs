//! The formula language: text to tree, tree to text, and what a formula is
//! allowed to be.

mod expression;

pub use expression::Expression;

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

/// Writes a formula in a notation. (The printer proper is on its way.)
pub fn print(expression: &Expression, _notation: Notation) -> String {
    format!("{expression:?}")
}
