//! The grammar: tokens to a tree of names, calls and infix operators, before
//! anyone asks what the names mean.
//!
//! All notations share it. Text is untrusted: its length, the nesting and the
//! depth of the tree are bounded, so that no text can exhaust the stack.

use super::Notation;
use super::error::{ParseError, Problem};
use super::lexer::{Span, Token, tokens};

/// Bytes of text that are read at most.
pub(super) const MOST_BYTES: usize = 20_000;
/// Levels of the tree at most.
pub(super) const MOST_LEVELS: usize = 200;
/// Levels of parentheses and signs at most: every tree that is allowed can be
/// written.
const MOST_NESTING: usize = 2 * MOST_LEVELS;

/// A part of a formula as written.
#[derive(Debug, Clone)]
pub(super) struct Syntax<'a> {
    pub(super) span: Span,
    pub(super) form: Form<'a>,
    /// Whether it stands in parentheses.
    enclosed: bool,
    levels: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Form<'a> {
    Number(f64),
    Name(&'a str),
    Call(&'a str, Vec<Syntax<'a>>),
    /// An infix, prefix or ternary operator by its canonical name.
    Infix(&'static str, Vec<Syntax<'a>>),
}

/// A whole text: `formula where name = part, ...`.
#[derive(Debug)]
pub(super) struct Formula<'a> {
    pub(super) body: Syntax<'a>,
    pub(super) bindings: Vec<(&'a str, Span, Syntax<'a>)>,
}

/// Reads `text`.
pub(super) fn read(text: &str, notation: Notation) -> Result<Formula<'_>, ParseError> {
    if text.len() > MOST_BYTES {
        let problem = Problem::TooLong {
            bytes: text.len(),
            most: MOST_BYTES,
        };
        return Err(ParseError::new(problem, "", 0, 0));
    }
    let mut parser = Parser {
        text,
        notation,
        tokens: tokens(text, notation)?,
        at: 0,
        nesting: 0,
    };
    parser.formula()
}

struct Parser<'a> {
    text: &'a str,
    notation: Notation,
    tokens: Vec<(Token<'a>, Span)>,
    at: usize,
    nesting: usize,
}

type Parsed<'a> = Result<Syntax<'a>, ParseError>;

/// Levels of infix operators, loosest first.
const OR: usize = 1;
const AND: usize = 2;
const COMPARISON: usize = 3;
const SUM: usize = 4;
const PRODUCT: usize = 5;
const LOOSE: [&str; 6] = [
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
];

impl<'a> Parser<'a> {
    fn formula(&mut self) -> Result<Formula<'a>, ParseError> {
        let body = self.expression()?;
        let mut bindings = Vec::new();
        if self.notation == Notation::Foretune && self.take_name("where") {
            loop {
                bindings.push(self.binding()?);
                if !self.take(",") {
                    break;
                }
            }
        }
        match self.token() {
            Token::End => Ok(Formula { body, bindings }),
            _ => Err(self.expected("an operator or the end", self.hint_after_operand())),
        }
    }

    fn binding(&mut self) -> Result<(&'a str, Span, Syntax<'a>), ParseError> {
        let span = self.span();
        let Token::Name(name) = self.token() else {
            return Err(self.expected("a name to bind", None));
        };
        self.at += 1;
        if !self.take("=") {
            return Err(self.expected("`=` after the name to bind", None));
        }
        Ok((name, span, self.expression()?))
    }

    fn expression(&mut self) -> Parsed<'a> {
        self.nest()?;
        let condition = self.binary(OR)?;
        let parsed = if self.notation != Notation::Qlib && self.take("?") {
            let yes = self.expression()?;
            if !self.take(":") {
                return Err(self.expected("`:` of `condition ? yes : no`", None));
            }
            let no = self.expression()?;
            self.infix("if_else", vec![condition, yes, no])
        } else {
            Ok(condition)
        };
        self.nesting -= 1;
        parsed
    }

    /// Operators of `level` and tighter.
    fn binary(&mut self, level: usize) -> Parsed<'a> {
        let mut left = self.unary()?;
        while let Some((name, found)) = self.infix_operator() {
            if found < level {
                break;
            }
            self.at += 1;
            let right = self.binary(found + 1)?;
            if found <= AND {
                self.check_python(&left)?;
                self.check_python(&right)?;
            }
            left = self.infix(name, vec![left, right])?;
            if found == COMPARISON
                && self
                    .infix_operator()
                    .is_some_and(|(_, next)| next == COMPARISON)
            {
                return Err(
                    self.expected("one comparison", Some("compare twice: `a < b && b < c`"))
                );
            }
        }
        Ok(left)
    }

    /// The infix operator that stands here, with its level.
    fn infix_operator(&self) -> Option<(&'static str, usize)> {
        let gtja = self.notation == Notation::Gtja;
        let qlib = self.notation == Notation::Qlib;
        let symbol = match self.token() {
            Token::Symbol(symbol) => symbol,
            Token::Name(name) if gtja && name.eq_ignore_ascii_case("and") => "&&",
            Token::Name(name) if gtja && name.eq_ignore_ascii_case("or") => "||",
            _ => return None,
        };
        Some(match symbol {
            "||" if !qlib => ("or", OR),
            "|" if gtja || qlib => ("or", OR),
            "&&" if !qlib => ("and", AND),
            "&" if gtja || qlib => ("and", AND),
            "<" => ("less", COMPARISON),
            "<=" => ("less_equal", COMPARISON),
            ">" => ("greater", COMPARISON),
            ">=" => ("greater_equal", COMPARISON),
            "==" => ("equal", COMPARISON),
            "=" if gtja => ("equal", COMPARISON),
            "!=" => ("not_equal", COMPARISON),
            "+" => ("add", SUM),
            "-" => ("subtract", SUM),
            "*" => ("multiply", PRODUCT),
            "/" => ("divide", PRODUCT),
            "%" if self.notation == Notation::Foretune => ("modulo", PRODUCT),
            _ => return None,
        })
    }

    /// In Python `&` and `|` bind tighter than comparisons.
    fn check_python(&self, operand: &Syntax<'a>) -> Result<(), ParseError> {
        let is_comparison = matches!(&operand.form, Form::Infix(name, _) if LOOSE.contains(name));
        if self.notation == Notation::Qlib && is_comparison && !operand.enclosed {
            let problem = Problem::Notation {
                message: "a comparison beside `&` or `|` stands in parentheses in Python"
                    .to_owned(),
                hint: Some("write `(a > b) & (c > d)`".to_owned()),
            };
            return Err(operand.span.error(problem, self.text));
        }
        Ok(())
    }

    fn unary(&mut self) -> Parsed<'a> {
        let start = self.span();
        let name = match self.token() {
            Token::Symbol("-") => "negate",
            Token::Symbol("+") if self.notation != Notation::Foretune => "plus",
            Token::Symbol("!") if self.notation != Notation::Qlib => "not",
            _ => return self.power(),
        };
        self.at += 1;
        self.nest()?;
        let operand = self.unary()?;
        self.nesting -= 1;
        let span = start.to(operand.span);
        match operand.form {
            _ if name == "plus" => Ok(operand),
            Form::Number(value)
                if name == "negate" && !operand.enclosed && !value.is_sign_negative() =>
            {
                Ok(Syntax {
                    span,
                    form: Form::Number(-value),
                    enclosed: false,
                    levels: 1,
                })
            }
            _ => {
                let mut parsed = self.infix(name, vec![operand])?;
                parsed.span = span;
                Ok(parsed)
            }
        }
    }

    fn power(&mut self) -> Parsed<'a> {
        let base = self.primary()?;
        let symbol = match self.notation {
            Notation::Qlib => "**",
            _ => "^",
        };
        if self.token() != Token::Symbol(symbol) {
            return Ok(base);
        }
        self.at += 1;
        self.nest()?;
        let exponent = self.unary()?;
        self.nesting -= 1;
        self.infix("power", vec![base, exponent])
    }

    fn primary(&mut self) -> Parsed<'a> {
        let span = self.span();
        let leaf = |form| {
            Ok(Syntax {
                span,
                form,
                enclosed: false,
                levels: 1,
            })
        };
        match self.token() {
            Token::Number(value) => {
                self.at += 1;
                leaf(Form::Number(value))
            }
            Token::Name("where") if self.notation == Notation::Foretune => {
                Err(self.expected("a value", Some("`where` stands after the formula")))
            }
            Token::Name(name) => {
                self.at += 1;
                if self.token() == Token::Symbol("(") {
                    self.call(name, span)
                } else {
                    leaf(Form::Name(name))
                }
            }
            Token::Symbol("(") => {
                self.at += 1;
                let mut inner = self.expression()?;
                let end = self.span();
                self.close()?;
                inner.span = span.to(end);
                inner.enclosed = true;
                Ok(inner)
            }
            _ => Err(self.expected("a value", None)),
        }
    }

    fn call(&mut self, name: &'a str, span: Span) -> Parsed<'a> {
        self.at += 1;
        let mut arguments = Vec::new();
        if self.token() != Token::Symbol(")") {
            loop {
                arguments.push(self.expression()?);
                if !self.take(",") {
                    break;
                }
            }
        }
        let end = self.span();
        self.close()?;
        self.node(Form::Call(name, arguments), span.to(end))
    }

    fn close(&mut self) -> Result<(), ParseError> {
        if self.take(")") {
            Ok(())
        } else {
            let hint = self.hint_after_operand();
            Err(self.expected("an operator, `,` or `)`", hint))
        }
    }

    fn infix(&self, name: &'static str, operands: Vec<Syntax<'a>>) -> Parsed<'a> {
        let (Some(first), Some(last)) = (operands.first(), operands.last()) else {
            return Err(self.expected("a value", None));
        };
        let span = first.span.to(last.span);
        self.node(Form::Infix(name, operands), span)
    }

    fn node(&self, form: Form<'a>, span: Span) -> Parsed<'a> {
        let below = match &form {
            Form::Call(_, parts) | Form::Infix(_, parts) => {
                parts.iter().map(|part| part.levels).max().unwrap_or(0)
            }
            _ => 0,
        };
        let levels = below + 1;
        if levels > MOST_LEVELS {
            return Err(too_deep(self.text, span));
        }
        Ok(Syntax {
            span,
            form,
            enclosed: false,
            levels,
        })
    }

    fn nest(&mut self) -> Result<(), ParseError> {
        self.nesting += 1;
        if self.nesting > MOST_NESTING {
            return Err(too_deep(self.text, self.span()));
        }
        Ok(())
    }

    fn token(&self) -> Token<'a> {
        self.tokens[self.at].0.clone()
    }

    fn span(&self) -> Span {
        self.tokens[self.at].1
    }

    fn take(&mut self, symbol: &str) -> bool {
        let there = matches!(self.token(), Token::Symbol(found) if found == symbol);
        self.at += usize::from(there);
        there
    }

    fn take_name(&mut self, name: &str) -> bool {
        let there = self.token() == Token::Name(name);
        self.at += usize::from(there);
        there
    }

    fn expected(&self, expected: &'static str, hint: Option<&'static str>) -> ParseError {
        let span = self.span();
        let found = match self.token() {
            Token::End => "the end of the formula".to_owned(),
            Token::Number(_) => format!("the number `{}`", &self.text[span.start..span.end]),
            Token::Name(name) => format!("the name `{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
        };
        let problem = Problem::Expected {
            expected,
            found,
            hint,
        };
        span.error(problem, self.text)
    }

    fn hint_after_operand(&self) -> Option<&'static str> {
        match self.token() {
            Token::Symbol("&") | Token::Name("and") => Some("write `&&`"),
            Token::Symbol("|") | Token::Name("or") => Some("write `||`"),
            Token::Symbol("**") => Some("write `^`"),
            Token::Symbol("^") if self.notation == Notation::Qlib => Some("write `**`"),
            Token::Symbol("?") => Some("write `If(condition, yes, no)`"),
            Token::Symbol("=") => Some("write `==` to compare"),
            Token::End => Some("a parenthesis is not closed"),
            _ => None,
        }
    }
}

fn too_deep(text: &str, span: Span) -> ParseError {
    span.error(Problem::TooDeep { most: MOST_LEVELS }, text)
}
