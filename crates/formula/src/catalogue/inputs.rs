//! What a formula needs: the columns it reads, also those behind other columns and
//! within operators that stand for a formula, and what these ask of the data.

use std::collections::BTreeSet;

use crate::Profile;
use crate::fields::{self, Source};
use crate::language::{self, Expression, Notation};
use crate::operators::{Axis, Computation, Kind};

/// What a formula asks of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent needs, not states"
)]
pub struct Needs {
    /// All columns read, derived ones and those they are made of.
    pub fields: BTreeSet<String>,
    /// Volume, which foreign exchange has as ticks only.
    pub volume: bool,
    /// More than one instrument.
    pub cross_section: bool,
    /// Groups of instruments.
    pub groups: bool,
    /// Quotes or trades.
    pub ticks: bool,
    /// Columns of further tables.
    pub given: BTreeSet<String>,
    /// A return series instead of bars.
    pub series: bool,
}

impl Needs {
    /// Returns what `expression` needs under `profile`.
    pub fn of(expression: &Expression, profile: &Profile) -> Self {
        let mut needs = Self::default();
        needs.add(expression, profile);
        needs
    }

    fn add(&mut self, expression: &Expression, profile: &Profile) {
        match expression {
            Expression::Number(_) => {}
            Expression::Field(name) => self.add_field(name, profile),
            Expression::Call(operator, arguments) => {
                match operator.axis {
                    Axis::CrossSection | Axis::Group => self.cross_section = true,
                    Axis::Series => self.series = true,
                    Axis::Element | Axis::Time => {}
                }
                if let Computation::Formula(_) = operator.computation {
                    let constants = operator.parameters.iter().zip(arguments);
                    let constants: Vec<f64> = constants
                        .filter(|(parameter, _)| {
                            matches!(parameter.kind, Kind::Window | Kind::Constant)
                        })
                        .map(|(_, argument)| match argument {
                            Expression::Number(value) => *value,
                            _ => f64::NAN,
                        })
                        .collect();
                    if let Ok(template) = language::template(operator, &constants, profile) {
                        self.add(&template, profile);
                    }
                }
                for argument in arguments {
                    self.add(argument, profile);
                }
            }
        }
    }

    fn add_field(&mut self, name: &str, profile: &Profile) {
        // A template's parameter is no column.
        let Some(field) = fields::named(name) else {
            return;
        };
        if !self.fields.insert(name.to_owned()) {
            return;
        }
        self.volume |= name == "volume";
        match field.source {
            Source::Bars | Source::Clock => {}
            Source::Derived(text) => {
                if let Ok(expression) = language::parse(text, Notation::Foretune) {
                    self.add(&expression, profile);
                }
            }
            Source::Ticks => self.ticks = true,
            Source::Given => {
                self.given.insert(name.to_owned());
            }
            Source::Group => self.groups = true,
            Source::Series => self.series = true,
        }
    }
}
