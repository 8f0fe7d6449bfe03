//! Formulas as one graph in which equal parts are computed once.
//!
//! A node is known by what it computes: the operator, its constants, the
//! conventions that matter to it and its arguments. Two formulas that share a
//! subtree share its node, also across conventions that do not touch it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::language::{self, Expression, Notation};
use crate::operators::{Axis, Call, Computation, Kind, Operator};
use crate::panel::Panel;
use crate::{FormulaError, Profile, fields};

use super::kernel::{Input, Kernel};

/// One thing to compute.
#[derive(Clone)]
pub(crate) enum Node {
    /// A column of the panel.
    Column(String),
    /// A function of the close time of a row.
    Clock(&'static str),
    /// Which group each lane belongs to.
    Group(String),
    /// A constant.
    Constant(f64),
    /// An operator over earlier nodes.
    Operator {
        operator: &'static Operator,
        constants: Vec<f64>,
        profile: Profile,
        inputs: Vec<usize>,
    },
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    name: String,
    constants: Vec<u64>,
    convention: u32,
    inputs: Vec<usize>,
}

/// A formula to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A name for errors.
    pub name: &'a str,
    /// The formula.
    pub expression: &'a Expression,
    /// Its conventions.
    pub profile: Profile,
}

/// The graph of several formulas. Nodes stand after their inputs.
#[derive(Clone)]
pub struct Plan {
    pub(crate) nodes: Vec<Node>,
    /// Rows before the first value that is known on data without holes.
    pub(crate) warm_up: Vec<usize>,
    /// The node of each formula.
    pub(crate) roots: Vec<usize>,
    /// Operators asked for, before equal ones were shared.
    asked: usize,
}

impl Plan {
    /// Returns the graph of `requests` for panels like `panel`: its instruments,
    /// columns and groups.
    ///
    /// # Errors
    /// [`FormulaError::Column`] where a formula reads what the panel does not
    /// have, [`FormulaError::Scalar`] for formulas over a whole series.
    pub fn new(requests: &[Request<'_>], panel: &Panel) -> Result<Self, FormulaError> {
        let mut builder = Builder {
            panel,
            plan: Self {
                nodes: Vec::new(),
                warm_up: Vec::new(),
                roots: Vec::new(),
                asked: 0,
            },
            known: HashMap::new(),
            definitions: HashMap::new(),
        };
        for request in requests {
            let root = builder.node(request, request.expression)?;
            builder.plan.roots.push(root);
        }
        Ok(builder.plan)
    }

    /// Returns how many rows formula `index` needs before its first value, on
    /// data without holes.
    pub fn warm_up(&self, index: usize) -> usize {
        self.warm_up[self.roots[index]]
    }

    /// Returns the columns of the panel that formula `index` reads, sorted.
    pub fn columns(&self, index: usize) -> Vec<&str> {
        let mut needed = vec![false; self.nodes.len()];
        self.mark(self.roots[index], &mut needed);
        let mut columns: Vec<&str> = self
            .nodes
            .iter()
            .zip(needed)
            .filter_map(|(node, needed)| match node {
                Node::Column(name) if needed => Some(name.as_str()),
                _ => None,
            })
            .collect();
        columns.sort_unstable();
        columns
    }

    /// Returns the number of formulas.
    pub fn formulas(&self) -> usize {
        self.roots.len()
    }

    /// Cuts the formulas into at most `count` runs of about equal work: operators
    /// not yet met in the same run.
    pub fn shares(&self, count: usize) -> Vec<Range<usize>> {
        let mut seen = vec![false; self.nodes.len()];
        let works: Vec<usize> = self
            .roots
            .iter()
            .map(|&root| 1 + self.mark(root, &mut seen))
            .collect();
        let total: usize = works.iter().sum();
        let mut shares = Vec::new();
        let (mut start, mut done) = (0, 0);
        for (formula, work) in works.iter().enumerate() {
            done += work;
            let wanted = (shares.len() + 1) * total / count.max(1);
            if done >= wanted || formula + 1 == works.len() {
                shares.push(start..formula + 1);
                start = formula + 1;
            }
        }
        shares
    }

    /// Marks a node and what it needs; returns how many were new.
    fn mark(&self, node: usize, seen: &mut [bool]) -> usize {
        if std::mem::replace(&mut seen[node], true) {
            return 0;
        }
        match &self.nodes[node] {
            Node::Operator { inputs, .. } => {
                1 + inputs
                    .iter()
                    .map(|&input| self.mark(input, seen))
                    .sum::<usize>()
            }
            _ => 0,
        }
    }

    /// Returns the number of operators to compute, and the number asked for
    /// before equal ones were shared.
    pub fn operators(&self) -> (usize, usize) {
        let shared = self
            .nodes
            .iter()
            .filter(|node| matches!(node, Node::Operator { .. }));
        (shared.count(), self.asked)
    }
}

struct Builder<'a> {
    panel: &'a Panel,
    plan: Plan,
    known: HashMap<Key, usize>,
    /// Parsed definitions of derived columns.
    definitions: HashMap<&'static str, Expression>,
}

impl Builder<'_> {
    fn node(
        &mut self,
        request: &Request<'_>,
        expression: &Expression,
    ) -> Result<usize, FormulaError> {
        match expression {
            Expression::Number(value) => Ok(self.constant(*value)),
            Expression::Field(name) => self.field(request, name),
            Expression::Call(operator, arguments) => self.call(request, operator, arguments),
        }
    }

    fn constant(&mut self, value: f64) -> usize {
        let key = Key {
            name: String::new(),
            constants: vec![value.to_bits()],
            convention: 0,
            inputs: Vec::new(),
        };
        self.share(key, Node::Constant(value), 0)
    }

    fn field(&mut self, request: &Request<'_>, name: &str) -> Result<usize, FormulaError> {
        let key = |name: &str| Key {
            name: name.to_owned(),
            constants: Vec::new(),
            convention: 0,
            inputs: Vec::new(),
        };
        if self.panel.column(name).is_some() {
            return Ok(self.share(key(name), Node::Column(name.to_owned()), 0));
        }
        if self.panel.groups(name).is_some() {
            return Ok(self.share(key(name), Node::Group(name.to_owned()), 0));
        }
        match fields::named(name).map(|field| (field.source, field)) {
            Some((fields::Source::Clock, field)) => {
                Ok(self.share(key(name), Node::Clock(field.name), 0))
            }
            Some((fields::Source::Derived(text), field)) => {
                let definition = match self.definitions.get(field.name) {
                    Some(definition) => definition.clone(),
                    None => parsed(field.name, text, &BTreeMap::new())?,
                };
                self.definitions.insert(field.name, definition.clone());
                // A derived column means the same under every profile.
                let paper = Request {
                    profile: Profile::PAPER,
                    ..*request
                };
                self.node(&paper, &definition)
            }
            other => Err(FormulaError::Column {
                formula: request.name.to_owned(),
                column: name.to_owned(),
                meaning: other
                    .map_or("unknown", |(_, field)| field.meaning)
                    .to_owned(),
            }),
        }
    }

    fn call(
        &mut self,
        request: &Request<'_>,
        operator: &'static Operator,
        arguments: &[Expression],
    ) -> Result<usize, FormulaError> {
        let convention = match operator.computation {
            Computation::Reduce(_) => {
                return Err(FormulaError::Scalar {
                    formula: request.name.to_owned(),
                });
            }
            Computation::Formula(text) => {
                let bindings = operator
                    .parameters
                    .iter()
                    .zip(arguments)
                    .map(|(parameter, argument)| (parameter.name.to_owned(), argument.clone()))
                    .collect();
                let definition = parsed(operator.name, text(&request.profile), &bindings)?;
                return self.node(request, &definition);
            }
            Computation::Kernel { convention, .. } => convention(&request.profile),
        };
        self.plan.asked += 1;
        let mut constants = Vec::new();
        let mut inputs = Vec::new();
        for (parameter, argument) in operator.parameters.iter().zip(arguments) {
            match (parameter.kind, argument) {
                (Kind::Window | Kind::Constant, Expression::Number(value)) => {
                    constants.push(*value);
                }
                _ => inputs.push(self.node(request, argument)?),
            }
        }
        if let Some(value) = self.folded(operator, &inputs, &request.profile) {
            return Ok(self.constant(value));
        }
        let mut ordered = inputs.clone();
        if commutes(operator.name) {
            ordered.sort_unstable();
        }
        let key = Key {
            name: operator.name.to_owned(),
            constants: constants.iter().map(|value| value.to_bits()).collect(),
            convention,
            inputs: ordered,
        };
        let warm_up = self.warm_up(operator, &constants, &request.profile, &inputs);
        let node = Node::Operator {
            operator,
            constants,
            profile: request.profile,
            inputs,
        };
        Ok(self.share(key, node, warm_up))
    }

    fn share(&mut self, key: Key, node: Node, warm_up: usize) -> usize {
        let next = self.plan.nodes.len();
        let index = *self.known.entry(key).or_insert(next);
        if index == next {
            self.plan.nodes.push(node);
            self.plan.warm_up.push(warm_up);
        }
        index
    }

    fn warm_up(
        &self,
        operator: &Operator,
        constants: &[f64],
        profile: &Profile,
        inputs: &[usize],
    ) -> usize {
        let before = inputs.iter().map(|&input| self.plan.warm_up[input]);
        let before = match operator.name {
            // Known as soon as either argument is.
            "fill" => before.min(),
            "is_unknown" => None,
            _ => before.max(),
        };
        let own = match operator.computation {
            Computation::Kernel { warm_up, .. } => warm_up(&self.call_of(constants, profile)),
            _ => 0,
        };
        before.unwrap_or(0) + own
    }

    fn call_of<'b>(&'b self, constants: &'b [f64], profile: &'b Profile) -> Call<'b> {
        Call {
            constants,
            profile,
            lanes: self.panel.lanes(),
            instruments: self.panel.instruments(),
        }
    }

    /// Returns the value of an element-wise operator whose arguments are constants.
    fn folded(&self, operator: &Operator, inputs: &[usize], profile: &Profile) -> Option<f64> {
        if operator.axis != Axis::Element || inputs.is_empty() {
            return None;
        }
        let values: Option<Vec<[f64; 1]>> = inputs
            .iter()
            .map(|&input| match self.plan.nodes[input] {
                Node::Constant(value) => Some([value]),
                _ => None,
            })
            .collect();
        let values = values?;
        let Computation::Kernel { make, .. } = operator.computation else {
            return None;
        };
        let rows: Vec<Input<'_>> = values.iter().map(|value| Input::Rows(value)).collect();
        let mut output = [f64::NAN];
        make(&self.call_of(&[], profile)).run(&rows, &mut output);
        Some(output[0])
    }
}

fn parsed(
    name: &str,
    text: &str,
    bindings: &BTreeMap<String, Expression>,
) -> Result<Expression, FormulaError> {
    language::parse_with(text, Notation::Foretune, bindings).map_err(|error| {
        FormulaError::Definition {
            name: name.to_owned(),
            reason: error.to_string(),
        }
    })
}

/// Operators whose arguments may change places without changing a bit.
fn commutes(name: &str) -> bool {
    matches!(
        name,
        "add" | "multiply" | "and" | "or" | "equal" | "not_equal"
    )
}

/// Returns the kernel of a node in its initial state.
pub(crate) fn kernel(node: &Node, panel: &Panel) -> Option<Box<dyn Kernel>> {
    let Node::Operator {
        operator,
        constants,
        profile,
        ..
    } = node
    else {
        return None;
    };
    let Computation::Kernel { make, .. } = operator.computation else {
        return None;
    };
    Some(make(&Call {
        constants,
        profile,
        lanes: panel.lanes(),
        instruments: panel.instruments(),
    }))
}
