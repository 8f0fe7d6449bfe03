//! The canonical notation written back: infix with the fewest parentheses, numbers
//! as short as they can be to read back the same.

use super::Expression;
use crate::operators::Operator;

const TERNARY: u8 = 0;
const COMPARISON: u8 = 3;
const UNARY: u8 = 6;
const POWER: u8 = 7;
const PRIMARY: u8 = 8;

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

/// Writes `expression` in canonical notation.
pub(super) fn canonical(expression: &Expression) -> String {
    let mut text = String::new();
    write(expression, TERNARY, &mut text);
    text
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

/// Writes `expression` where something of at least `level` must stand.
fn write(expression: &Expression, level: u8, text: &mut String) {
    let own = level_of(expression);
    if own < level {
        text.push('(');
    }
    match expression {
        Expression::Number(value) => text.push_str(&number(*value)),
        Expression::Field(name) => text.push_str(name),
        Expression::Call(operator, arguments) => write_call(operator, arguments, text),
    }
    if own < level {
        text.push(')');
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

fn write_call(operator: &Operator, arguments: &[Expression], text: &mut String) {
    match (operator.name, arguments) {
        ("if_else", [condition, yes, no]) => {
            write(condition, TERNARY + 1, text);
            text.push_str(" ? ");
            write(yes, TERNARY, text);
            text.push_str(" : ");
            write(no, TERNARY, text);
        }
        ("power", [base, exponent]) => {
            write(base, PRIMARY, text);
            text.push_str(" ^ ");
            write(exponent, UNARY, text);
        }
        ("not", [x]) => {
            text.push('!');
            write(x, UNARY, text);
        }
        ("negate", [x]) if !is_number(Some(x)) => {
            text.push('-');
            write(x, UNARY, text);
        }
        (name, [left, right]) if infix(name).is_some() => {
            let (symbol, level) = infix(name).unwrap_or_default();
            write(left, level + u8::from(level == COMPARISON), text);
            text.push(' ');
            text.push_str(symbol);
            text.push(' ');
            write(right, level + 1, text);
        }
        _ => write_function(operator, arguments, text),
    }
}

fn write_function(operator: &Operator, arguments: &[Expression], text: &mut String) {
    let default = |(index, argument): (usize, &Expression)| {
        let default = operator.parameters.get(index).and_then(|p| p.default);
        matches!((argument, default), (Expression::Number(value), Some(default)) if *value == default)
    };
    let written = arguments.len()
        - arguments
            .iter()
            .enumerate()
            .rev()
            .take_while(|indexed| default(*indexed))
            .count();
    text.push_str(operator.name);
    text.push('(');
    for (index, argument) in arguments[..written].iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write(argument, TERNARY, text);
    }
    text.push(')');
}
