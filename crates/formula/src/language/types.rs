//! What a part of a formula gives, and which operator may take it.
//!
//! A part is known by what it gives ([`Kind`]), whether it is the same on every
//! bar, and whether it is made of columns of the panel or of a return series.

use super::Expression;
use super::build::Part;
use super::error::Problem;
use crate::Profile;
use crate::engine::Input;
use crate::fields::{self, Source};
use crate::operators::{Axis, Call, Computation, Kind, Operator, Parameter};

/// Bars of the longest window.
pub const LONGEST_WINDOW: usize = 100_000;

/// Where the columns of a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    Panel,
    Series,
}

/// How often a part changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// Made of numbers alone.
    Constant,
    /// One for a whole series.
    Single,
    /// One for each bar or period.
    Each,
}

/// What a part of a formula is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) kind: Kind,
    pub(super) extent: Extent,
    pub(super) domain: Option<Domain>,
}

impl Type {
    pub(super) const NUMBER: Self = Self {
        kind: Kind::Constant,
        extent: Extent::Constant,
        domain: None,
    };

    /// The type of what a parameter of a template stands for.
    pub(super) fn parameter(kind: Kind) -> Self {
        Self {
            kind,
            extent: Extent::Each,
            domain: None,
        }
    }

    pub(super) fn column(name: &str) -> Self {
        let source = fields::named(name).map(|field| field.source);
        let (kind, domain) = match source {
            Some(Source::Group) => (Kind::Group, Domain::Panel),
            Some(Source::Series) => (Kind::Values, Domain::Series),
            _ => (Kind::Values, Domain::Panel),
        };
        Self {
            kind,
            extent: Extent::Each,
            domain: Some(domain),
        }
    }

    /// Returns the type of a finished tree.
    pub(super) fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Number(_) => Self::NUMBER,
            Expression::Field(name) => Self::column(name),
            Expression::Call(operator, arguments) => {
                let types: Vec<Self> = arguments.iter().map(Self::of).collect();
                Self::given(operator, &types)
            }
        }
    }

    /// Returns the type of `operator` applied to arguments that it may take.
    pub(super) fn given(operator: &Operator, arguments: &[Self]) -> Self {
        let widest = arguments.iter().map(|part| part.extent).max();
        let extent = match operator.axis {
            Axis::Element => widest.unwrap_or(Extent::Constant),
            Axis::Series => Extent::Single,
            _ => Extent::Each,
        };
        let domain = arguments.iter().find_map(|part| part.domain);
        Self {
            kind: result_kind(operator, arguments, extent),
            extent,
            domain: match operator.axis {
                Axis::Series => Some(Domain::Series),
                Axis::Element => domain,
                _ => domain.or(Some(Domain::Panel)),
            },
        }
    }

    /// Returns what a whole formula of this type gives.
    pub(super) fn whole_kind(self) -> Kind {
        match self.extent {
            Extent::Constant => Kind::Constant,
            Extent::Single => Kind::Scalar,
            Extent::Each => self.kind,
        }
    }

    fn in_words(self, expression: &Expression) -> String {
        let text = in_short(expression);
        match self.kind {
            _ if self.extent == Extent::Constant => format!("the constant `{text}`"),
            Kind::Condition => format!("the condition `{text}`"),
            Kind::Group => format!("the group `{text}`"),
            Kind::Scalar => format!("`{text}`, one number for the whole series"),
            _ => format!("`{text}`, which differs from bar to bar"),
        }
    }
}

/// Returns the beginning of a formula.
fn in_short(expression: &Expression) -> String {
    const MOST: usize = 48;
    let text = expression.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Operators that give a condition when all their values are conditions.
const KEEP_CONDITIONS: [&str; 10] = [
    "if_else", "fill", "min", "max", "multiply", "ts_delay", "ts_min", "ts_max", "ts_last",
    "ts_when",
];

fn result_kind(operator: &Operator, arguments: &[Type], extent: Extent) -> Kind {
    let mut values = operator
        .parameters
        .iter()
        .zip(arguments)
        .filter(|(parameter, _)| parameter.kind == Kind::Values)
        .map(|(_, argument)| argument.kind);
    let keeps = KEEP_CONDITIONS.contains(&operator.name);
    if keeps && values.all(|kind| kind == Kind::Condition) {
        return Kind::Condition;
    }
    match (operator.gives, extent) {
        (Kind::Values, Extent::Constant) => Kind::Constant,
        (Kind::Values, Extent::Single) => Kind::Scalar,
        (gives, _) => gives,
    }
}

/// Checks that `operator`, written as `written`, may take `part` as `parameter`.
/// Windows and constants are checked by [`constant`].
pub(super) fn check(
    operator: &Operator,
    written: &str,
    parameter: &Parameter,
    part: &Part,
) -> Result<(), Problem> {
    let (argument, expression) = (part.is, &part.expression);
    let refuse = |needs, hint: Option<String>| {
        Err(Problem::Kind {
            operator: written.to_owned(),
            parameter: parameter.name.to_owned(),
            needs,
            found: argument.in_words(expression),
            hint,
        })
    };
    match parameter.kind {
        Kind::Group => {
            if argument.kind == Kind::Group {
                return Ok(());
            }
            refuse(
                "a group",
                Some("groups are `sector`, `industry`, `subindustry`".to_owned()),
            )
        }
        _ if argument.kind == Kind::Group => refuse(
            "values",
            Some("a group stands only as the last argument of `group_` operators".to_owned()),
        ),
        Kind::Condition => {
            let truth = matches!(expression, Expression::Number(number) if *number == 0.0 || *number == 1.0);
            if argument.kind == Kind::Condition || truth {
                return Ok(());
            }
            refuse(
                "a condition",
                Some(format!("compare it: `{} > 0`", in_short(expression))),
            )
        }
        _ if operator.axis == Axis::Element => Ok(()),
        _ if argument.extent == Extent::Constant => refuse(
            "values that differ from bar to bar",
            Some("an operator along time or across instruments needs a column".to_owned()),
        ),
        _ if argument.extent == Extent::Single => refuse(
            "a whole series",
            Some("one number has no past and no neighbours".to_owned()),
        ),
        _ => Ok(()),
    }
}

/// Checks that the arguments go together.
pub(super) fn check_domains(
    operator: &Operator,
    written: &str,
    arguments: &[Type],
) -> Result<(), Problem> {
    let has = |domain| arguments.iter().any(|part| part.domain == Some(domain));
    let own = match operator.axis {
        Axis::Series => Some(Domain::Series),
        Axis::CrossSection | Axis::Group => Some(Domain::Panel),
        Axis::Element | Axis::Time => None,
    };
    let both = has(Domain::Panel) && has(Domain::Series);
    let against = match own {
        Some(Domain::Series) => has(Domain::Panel),
        Some(Domain::Panel) => has(Domain::Series),
        None => false,
    };
    if both || against {
        return Err(Problem::Mixed {
            operator: written.to_owned(),
        });
    }
    Ok(())
}

/// Checks what a whole formula gives.
pub(super) fn check_whole(whole: Type) -> Result<(), Problem> {
    match (whole.kind, whole.extent, whole.domain) {
        (Kind::Group, ..) => Err(Problem::Whole {
            gives: "a group, which is not a value",
            hint: "use it within a `group_` operator",
        }),
        (_, Extent::Each, Some(Domain::Series)) => Err(Problem::Whole {
            gives: "a series of returns, not one number",
            hint: "bring it to one number with a `series_` operator",
        }),
        _ => Ok(()),
    }
}

/// Whether the operator reads one bar so many bars ago.
pub(super) fn is_lag(operator: &Operator) -> bool {
    matches!(operator.name, "ts_delay" | "ts_delta" | "ts_returns")
}

/// Returns the value of a constant argument, checked: a window is a whole number
/// of bars, at least 1 and at most [`LONGEST_WINDOW`]; `ts_delay` also takes 0. A
/// fraction of a window is cut off if `cut`.
pub(super) fn constant(
    operator: &Operator,
    written: &str,
    parameter: &Parameter,
    part: &Part,
    cut: bool,
) -> Result<f64, Problem> {
    let (argument, expression) = (part.is, &part.expression);
    let window = parameter.kind == Kind::Window;
    let least = if operator.name == "ts_delay" {
        0.0
    } else {
        1.0
    };
    let refuse = |found: String| {
        let needs = if window {
            format!("a constant whole number from {least} to {LONGEST_WINDOW}")
        } else {
            "a constant number".to_owned()
        };
        Err(Problem::Window {
            operator: written.to_owned(),
            parameter: parameter.name.to_owned(),
            needs,
            found,
        })
    };
    if argument.extent != Extent::Constant {
        return refuse(in_short(expression));
    }
    let value = folded(expression).unwrap_or(f64::NAN);
    if !window {
        return if value.is_finite() {
            Ok(value)
        } else {
            refuse(in_short(expression))
        };
    }
    if value < 0.0 && is_lag(operator) {
        return Err(Problem::Future {
            operator: written.to_owned(),
            lag: value,
        });
    }
    let value = if cut { value.floor() } else { value };
    if value.fract() != 0.0 || !(least..=LONGEST_WINDOW as f64).contains(&value) {
        return refuse(in_short(expression));
    }
    Ok(value)
}

/// Returns the number that a tree without columns gives, by the operators' own
/// kernels; nothing if it has columns.
pub(super) fn folded(expression: &Expression) -> Option<f64> {
    match expression {
        Expression::Number(value) => Some(*value),
        Expression::Field(_) => None,
        Expression::Call(operator, arguments) => {
            let values: Option<Vec<f64>> = arguments.iter().map(folded).collect();
            apply(operator, &values?)
        }
    }
}

/// Returns `operator` of constants; nothing if it is not of one value at a time.
pub(super) fn apply(operator: &Operator, values: &[f64]) -> Option<f64> {
    const LANES: usize = 8;
    let Computation::Kernel { make, .. } = operator.computation else {
        return None;
    };
    if operator.axis != Axis::Element {
        return None;
    }
    let is_constant = |kind| matches!(kind, Kind::Window | Kind::Constant);
    let (mut rows, mut constants) = (Vec::new(), Vec::new());
    for (parameter, value) in operator.parameters.iter().zip(values) {
        if is_constant(parameter.kind) {
            constants.push(*value);
        } else {
            rows.push([*value; LANES]);
        }
    }
    let inputs: Vec<Input<'_>> = rows.iter().map(|row| Input::Rows(row)).collect();
    let mut output = [f64::NAN; LANES];
    let call = Call {
        constants: &constants,
        profile: &Profile::PAPER,
        lanes: LANES,
        instruments: &[],
    };
    make(&call).run(&inputs, &mut output);
    Some(output[0])
}
