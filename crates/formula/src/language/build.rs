//! From names and calls as written to a checked tree of operators and columns.

use std::collections::BTreeMap;

use super::dialect::Column;
use super::error::{ParseError, Problem, suggestion};
use super::lexer::Span;
use super::syntax::{Form, Formula, MOST_LEVELS, Syntax};
use super::types::{Type, check, check_domains, check_whole, constant};
use super::{Expression, Notation, dialect, syntax};
use crate::fields::{self, FIELDS};
use crate::operators::{self, Kind, Operator};

/// Parts of a tree at most, names replaced by what they stand for.
pub(super) const MOST_PARTS: usize = 10_000;

/// A checked part of a formula.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) expression: Expression,
    pub(super) is: Type,
    /// Where it is written.
    pub(super) span: Span,
    size: usize,
    levels: usize,
}

/// What a further name stands for.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    pub(super) expression: Expression,
    pub(super) is: Type,
}

struct Bound {
    part: Part,
    used: bool,
    given: bool,
}

/// Builds the tree of one text.
pub(super) struct Builder<'a> {
    pub(super) text: &'a str,
    pub(super) notation: Notation,
    names: BTreeMap<String, Bound>,
}

pub(super) type Built = Result<Part, ParseError>;

/// Builds and checks the tree of a whole formula.
pub(super) fn build(
    text: &str,
    notation: Notation,
    formula: &Formula<'_>,
    given: &BTreeMap<String, Meaning>,
) -> Built {
    let start = Span { start: 0, end: 0 };
    let names = given.iter().map(|(name, meaning)| {
        let part = Part {
            expression: meaning.expression.clone(),
            is: meaning.is,
            span: start,
            size: 1,
            levels: 1,
        };
        let (used, given) = (true, true);
        (name.clone(), Bound { part, used, given })
    });
    let mut builder = Builder {
        text,
        notation,
        names: names.collect(),
    };
    for (name, span, part) in &formula.bindings {
        builder.bind(name, *span, part)?;
    }
    let whole = builder.part(&formula.body)?;
    for (name, span, _) in &formula.bindings {
        if builder.names.get(*name).is_some_and(|bound| !bound.used) {
            let name = (*name).to_owned();
            return Err(span.error(Problem::Unused { name }, text));
        }
    }
    Ok(whole)
}

/// Checks that `whole` can stand alone.
pub(super) fn check_formula(whole: &Part, text: &str) -> Result<(), ParseError> {
    check_whole(whole.is).map_err(|problem| whole.span.error(problem, text))
}

impl Builder<'_> {
    fn bind(&mut self, name: &str, span: Span, part: &Syntax<'_>) -> Result<(), ParseError> {
        let already = match self.names.get(name) {
            Some(bound) if bound.given => Some("a parameter"),
            Some(_) => Some("bound"),
            None if fields::named(name).is_some() => Some("a column"),
            None => None,
        };
        if let Some(already) = already {
            let name = name.to_owned();
            return Err(span.error(Problem::Bound { name, already }, self.text));
        }
        let bound = Bound {
            part: self.part(part)?,
            used: false,
            given: false,
        };
        self.names.insert(name.to_owned(), bound);
        Ok(())
    }

    /// Builds one part.
    pub(super) fn part(&mut self, syntax: &Syntax<'_>) -> Built {
        let span = syntax.span;
        match &syntax.form {
            Form::Number(value) => Ok(Self::number(*value, span)),
            Form::Name(name) => self.name(name, span),
            Form::Infix(name, operands) => {
                let operands = self.parts(operands)?;
                self.named(name, operands, span)
            }
            Form::Call(name, arguments) => self.call(name, arguments, span),
        }
    }

    pub(super) fn parts(&mut self, syntaxes: &[Syntax<'_>]) -> Result<Vec<Part>, ParseError> {
        syntaxes.iter().map(|syntax| self.part(syntax)).collect()
    }

    pub(super) fn number(value: f64, span: Span) -> Part {
        Part {
            expression: Expression::Number(value),
            is: Type::NUMBER,
            span,
            size: 1,
            levels: 1,
        }
    }

    pub(super) fn column(name: &str, span: Span) -> Part {
        Part {
            expression: Expression::field(name),
            is: Type::column(name),
            span,
            size: 1,
            levels: 1,
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Built {
        if let Some(bound) = self.names.get_mut(name) {
            bound.used = true;
            let mut part = bound.part.clone();
            part.span = span;
            return Ok(part);
        }
        match dialect::column(self.notation, name) {
            Some(Column::Field(field)) => Ok(Self::column(field, span)),
            Some(Column::Formula(text)) => self.defined(&text, span),
            None => Err(self.unknown_name(name, span)),
        }
    }

    /// Builds a formula in canonical notation that a name stands for.
    fn defined(&self, text: &str, span: Span) -> Built {
        let place = |error: ParseError| span.error(*error.problem, self.text);
        let notation = Notation::Foretune;
        let formula = syntax::read(text, notation).map_err(place)?;
        let mut part = build(text, notation, &formula, &BTreeMap::new()).map_err(place)?;
        part.span = span;
        Ok(part)
    }

    fn unknown_name(&self, name: &str, span: Span) -> ParseError {
        let hint = if let Some(operator) = dialect::operator(self.notation, name) {
            let called = signature(operator).replace(operator.name, name);
            Some(format!("it is an operator: write `{called}`"))
        } else {
            let columns = FIELDS.iter();
            let columns: Vec<String> = columns
                .map(|field| dialect::column_of(self.notation, field.name))
                .collect();
            let columns = columns.iter().map(String::as_str);
            suggestion(name, columns.chain(self.names.keys().map(String::as_str)))
        };
        let name = name.to_owned();
        span.error(Problem::UnknownName { name, hint }, self.text)
    }

    fn call(&mut self, name: &str, arguments: &[Syntax<'_>], span: Span) -> Built {
        if let Some(built) = dialect::own_call(self, name, arguments, span) {
            return built;
        }
        let Some(operator) = dialect::operator(self.notation, name) else {
            return Err(self.unknown_operator(name, span));
        };
        let arguments = self.parts(arguments)?;
        self.apply(operator, name, arguments, span)
    }

    fn unknown_operator(&self, name: &str, span: Span) -> ParseError {
        let hint = if dialect::column(self.notation, name).is_some() {
            Some("it is a column: write it without parentheses".to_owned())
        } else {
            suggestion(name, dialect::callable(self.notation))
        };
        let span = Span {
            start: span.start,
            end: span.start + name.len(),
        };
        let name = name.to_owned();
        span.error(Problem::UnknownOperator { name, hint }, self.text)
    }

    /// Applies the operator called `name` in canonical notation.
    pub(super) fn named(&self, name: &str, arguments: Vec<Part>, span: Span) -> Built {
        match operators::named(name) {
            Some(operator) => self.apply(operator, name, arguments, span),
            None => Err(self.unknown_operator(name, span)),
        }
    }

    /// Applies `operator`, checks its arguments and fills in its defaults.
    pub(super) fn apply(
        &self,
        operator: &'static Operator,
        written: &str,
        mut arguments: Vec<Part>,
        span: Span,
    ) -> Built {
        let given = arguments.len();
        for parameter in operator.parameters.iter().skip(given) {
            arguments.extend(parameter.default.map(|value| Self::number(value, span)));
        }
        if arguments.len() != operator.parameters.len() || given > operator.parameters.len() {
            let problem = Problem::Arity {
                operator: written.to_owned(),
                takes: takes(operator),
                given,
                signature: signature(operator).replace(operator.name, written),
            };
            return Err(span.error(problem, self.text));
        }
        for (parameter, argument) in operator.parameters.iter().zip(&mut arguments) {
            let place = argument.span;
            let error = |problem: Problem| place.error(problem, self.text);
            if matches!(parameter.kind, Kind::Window | Kind::Constant) {
                let cut = self.notation == Notation::Alpha101;
                let value = constant(operator, written, parameter, argument, cut).map_err(error)?;
                *argument = Self::number(value, place);
            } else {
                check(operator, written, parameter, argument).map_err(error)?;
            }
        }
        let types: Vec<Type> = arguments.iter().map(|argument| argument.is).collect();
        check_domains(operator, written, &types)
            .map_err(|problem| span.error(problem, self.text))?;
        if is_no_delay(operator, &arguments) {
            let mut kept = arguments.swap_remove(0);
            kept.span = span;
            return Ok(kept);
        }
        self.bounded(Part {
            is: Type::given(operator, &types),
            span,
            size: 1 + arguments.iter().map(|part| part.size).sum::<usize>(),
            levels: 1 + arguments.iter().map(|part| part.levels).max().unwrap_or(0),
            expression: Expression::Call(
                operator,
                arguments.into_iter().map(|part| part.expression).collect(),
            ),
        })
    }

    fn bounded(&self, part: Part) -> Built {
        let problem = if part.size > MOST_PARTS {
            Problem::TooLarge { most: MOST_PARTS }
        } else if part.levels > MOST_LEVELS {
            Problem::TooDeep { most: MOST_LEVELS }
        } else {
            return Ok(part);
        };
        Err(part.span.error(problem, self.text))
    }
}

/// Whether this is `ts_delay(x, 0)`, which is x.
fn is_no_delay(operator: &Operator, arguments: &[Part]) -> bool {
    operator.name == "ts_delay"
        && arguments
            .last()
            .is_some_and(|lag| lag.expression == Expression::Number(0.0))
}

/// Returns how many arguments an operator takes, in words.
fn takes(operator: &Operator) -> String {
    let most = operator.parameters.len();
    let least = operator
        .parameters
        .iter()
        .filter(|parameter| parameter.default.is_none())
        .count();
    let noun = if most == 1 { "argument" } else { "arguments" };
    if least == most {
        format!("{most} {noun}")
    } else {
        format!("{least} to {most} {noun}")
    }
}

/// Returns how an operator is called: `ts_mean(x, window)`.
pub fn signature(operator: &Operator) -> String {
    let parameters: Vec<String> = operator
        .parameters
        .iter()
        .map(|parameter| match parameter.default {
            Some(default) => format!("{} = {default}", parameter.name),
            None => parameter.name.to_owned(),
        })
        .collect();
    format!("{}({})", operator.name, parameters.join(", "))
}
