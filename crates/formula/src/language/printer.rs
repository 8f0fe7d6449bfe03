//! Trees written back: infix with the fewest parentheses, numbers as short as they
//! can be to read back the same.

use thiserror::Error;

use super::dialect::{Said, column_of, name_of, restated, say};
use super::{Expression, Notation};
use crate::operators::Operator;

const TERNARY: u8 = 0;
const COMPARISON: u8 = 3;
const UNARY: u8 = 6;
const POWER: u8 = 7;
const PRIMARY: u8 = 8;

/// A formula that a notation cannot say.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the `{notation}` notation has nothing for `{operator}`")]
pub struct PrintError {
    /// The operator in the way.
    pub operator: String,
    /// The notation's name.
    pub notation: &'static str,
}

/// Returns the symbol and level of a binary infix operator.
fn infix(name: &str) -> Option<(&'static str, u8)> {
    Some(match name {
        "or" => ("||", 1),
        "and" => ("&&", 2),
        "less" => ("<", COMPARISON),
        "less_equal" => ("<=", COMPARISON),
        "greater" => (">", COMPARISON),
        "greater_equal" => (">=", COMPARISON),
        "equal" => ("==", COMPARISON),
        "not_equal" => ("!=", COMPARISON),
        "add" => ("+", 4),
        "subtract" => ("-", 4),
        "multiply" => ("*", 5),
        "divide" => ("/", 5),
        "modulo" => ("%", 5),
        _ => return None,
    })
}

/// Writes `expression` in canonical notation, which says everything.
pub(super) fn canonical(expression: &Expression) -> String {
    print(expression, Notation::Foretune).unwrap_or_else(|error| error.to_string())
}

/// Writes `expression` in `notation`.
pub(super) fn print(expression: &Expression, notation: Notation) -> Result<String, PrintError> {
    let mut printer = Printer {
        notation,
        text: String::new(),
    };
    printer.write(expression, TERNARY)?;
    Ok(printer.text)
}

/// Returns a number as the notations write it.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-5..1e15).contains(&size) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

fn level_of(expression: &Expression) -> u8 {
    match expression {
        Expression::Number(value) if value.is_sign_negative() => UNARY,
        Expression::Number(_) | Expression::Field(_) => PRIMARY,
        Expression::Call(operator, arguments) => match operator.name {
            "if_else" => TERNARY,
            "power" => POWER,
            "not" => UNARY,
            "negate" if !is_number(arguments.first()) => UNARY,
            name => infix(name).map_or(PRIMARY, |(_, level)| level),
        },
    }
}

/// A minus before a number is part of the number, so that the negation of a
/// number is written as a call.
fn is_number(argument: Option<&Expression>) -> bool {
    matches!(argument, Some(Expression::Number(_)))
}

struct Printer {
    notation: Notation,
    text: String,
}

type Written = Result<(), PrintError>;

impl Printer {
    /// Writes `expression` where something of at least `level` must stand.
    fn write(&mut self, expression: &Expression, level: u8) -> Written {
        match say(self.notation, expression)? {
            Said::As(other) => return self.write(&other, level),
            Said::Word(word) => {
                self.text.push_str(&word);
                return Ok(());
            }
            Said::Call(name, arguments) => return self.function(name, &arguments),
            Said::Plainly => {}
        }
        if let Expression::Call(operator, arguments) = expression
            && let Some(other) = self.restated(operator, arguments)?
        {
            // What cannot be said is the operator asked for, not one of its parts.
            return self.write(&other, level).map_err(|_| self.lacks(operator));
        }
        let own = level_of(expression);
        if own < level {
            self.text.push('(');
        }
        match expression {
            Expression::Number(value) => self.text.push_str(&number(*value)),
            Expression::Field(name) => self.text.push_str(&column_of(self.notation, name)),
            Expression::Call(operator, arguments) => self.call(operator, arguments)?,
        }
        if own < level {
            self.text.push(')');
        }
        Ok(())
    }

    /// Returns the same said otherwise where the notation has no word for it.
    fn restated(
        &self,
        operator: &'static Operator,
        arguments: &[Expression],
    ) -> Result<Option<Expression>, PrintError> {
        if self.has_infix(operator, arguments) || name_of(self.notation, operator).is_some() {
            return Ok(None);
        }
        match restated(operator, arguments) {
            Some(other) => Ok(Some(other)),
            None => Err(self.lacks(operator)),
        }
    }

    fn has_infix(&self, operator: &Operator, arguments: &[Expression]) -> bool {
        match operator.name {
            "modulo" => self.notation == Notation::Foretune,
            "if_else" | "power" | "not" => true,
            "negate" => !is_number(arguments.first()),
            name => infix(name).is_some(),
        }
    }

    fn lacks(&self, operator: &Operator) -> PrintError {
        PrintError {
            operator: operator.name.to_owned(),
            notation: self.notation.name(),
        }
    }

    fn call(&mut self, operator: &Operator, arguments: &[Expression]) -> Written {
        match (operator.name, arguments) {
            ("if_else", [condition, yes, no]) => {
                self.write(condition, TERNARY + 1)?;
                self.text.push_str(" ? ");
                self.write(yes, TERNARY)?;
                self.text.push_str(" : ");
                self.write(no, TERNARY)
            }
            ("power", [base, exponent]) => {
                self.write(base, PRIMARY)?;
                self.text.push_str(" ^ ");
                self.write(exponent, UNARY)
            }
            ("not", [x]) => {
                self.text.push('!');
                self.write(x, UNARY)
            }
            ("negate", [x]) if !is_number(Some(x)) => {
                self.text.push('-');
                self.write(x, UNARY)
            }
            (name, [left, right]) if infix(name).is_some() => {
                let (symbol, level) = infix(name).unwrap_or_default();
                self.write(left, level + u8::from(level == COMPARISON))?;
                self.text.push_str(&format!(" {symbol} "));
                self.write(right, level + 1)
            }
            _ => {
                let name = name_of(self.notation, operator).unwrap_or(operator.name);
                self.function(name, without_defaults(operator, arguments))
            }
        }
    }

    fn function(&mut self, name: &str, arguments: &[Expression]) -> Written {
        self.text.push_str(name);
        self.text.push('(');
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.text.push_str(", ");
            }
            self.write(argument, TERNARY)?;
        }
        self.text.push(')');
        Ok(())
    }
}

/// Returns the arguments up to the last one that is not its parameter's default.
fn without_defaults<'a>(operator: &Operator, arguments: &'a [Expression]) -> &'a [Expression] {
    let is_default = |index: usize| {
        let default = operator.parameters.get(index).and_then(|p| p.default);
        matches!((&arguments[index], default),
            (Expression::Number(value), Some(default)) if *value == default)
    };
    let mut count = arguments.len();
    while count > 0 && is_default(count - 1) {
        count -= 1;
    }
    &arguments[..count]
}
