//! A formula as a tree: numbers, columns of the panel and operators.

use std::fmt;

use crate::operators::{Kind, Operator};

/// A formula. Every notation parses into this tree and is printed from it;
/// names are canonical ([`Operator::name`], lower-case fields).
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A constant.
    Number(f64),
    /// A column of the panel by its canonical name, for example `close`.
    Field(String),
    /// An operator applied to its arguments, in the order of its parameters.
    /// Defaults are filled in: there are as many arguments as parameters.
    Call(&'static Operator, Vec<Expression>),
}

impl Expression {
    /// Returns the tree of a column.
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// Returns what the formula gives: [`Kind::Values`] or [`Kind::Condition`] for
    /// each instrument and bar, [`Kind::Scalar`] for a whole return series (a
    /// condition on it too), [`Kind::Constant`] if it has no columns.
    pub fn kind(&self) -> Kind {
        super::types::Type::of(self).whole_kind()
    }

    /// Returns this node and all nodes below it, parents before children.
    pub fn nodes(&self) -> Vec<&Expression> {
        let mut nodes = vec![self];
        let mut next = 0;
        while next < nodes.len() {
            if let Self::Call(_, arguments) = nodes[next] {
                nodes.extend(arguments);
            }
            next += 1;
        }
        nodes
    }

    /// Returns the columns that the formula reads, sorted, each once.
    pub fn fields(&self) -> Vec<&str> {
        let mut fields: Vec<&str> = self
            .nodes()
            .into_iter()
            .filter_map(|node| match node {
                Self::Field(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Returns the operators that the formula uses, sorted by name, each once.
    pub fn operators(&self) -> Vec<&'static Operator> {
        let mut operators: Vec<&'static Operator> = self
            .nodes()
            .into_iter()
            .filter_map(|node| match node {
                Self::Call(operator, _) => Some(*operator),
                _ => None,
            })
            .collect();
        operators.sort_unstable_by_key(|operator| operator.name);
        operators.dedup_by_key(|operator| operator.name);
        operators
    }
}

impl fmt::Display for Expression {
    /// Writes the canonical notation.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&super::printer::canonical(self))
    }
}
