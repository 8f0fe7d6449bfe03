//! Runs a plan over a panel, block of rows after block of rows.
//!
//! Memory does not grow with the number of rows: a block's results are handed on
//! as soon as they are there, and buffers are used again once nobody reads them.

use std::ops::Range;

use chrono::{DateTime, Datelike, Utc};

use crate::operators::Axis;
use crate::panel::Panel;

use super::kernel::{Input, Kernel};
use super::plan::{Node, Plan, kernel};

/// Rows computed at a time: a column of a block stays in the first cache levels.
const ROWS: usize = 64;

/// A plan with the past of every operator in it.
pub struct Evaluator {
    steps: Vec<Step>,
    lanes: usize,
    /// Blocks of values, shared by nodes whose lives do not overlap.
    buffers: Vec<Vec<f64>>,
    /// For each node that is a formula: which ones.
    answers: Vec<Vec<usize>>,
    /// The next row of the panel.
    next: usize,
}

/// One node at work.
struct Step {
    node: Node,
    kernel: Option<Box<dyn Kernel>>,
    /// Where its block is, for nodes that fill one.
    buffer: usize,
}

const NO_BUFFER: usize = usize::MAX;

impl Evaluator {
    /// Returns an evaluator of `plan` that has seen nothing yet. Memory grows with
    /// the windows of the plan.
    pub fn new(plan: &Plan, panel: &Panel) -> Self {
        Self::of_formulas(plan, panel, 0..plan.roots.len())
    }

    /// Returns an evaluator of some formulas of a plan.
    pub fn of_formulas(plan: &Plan, panel: &Panel, formulas: Range<usize>) -> Self {
        let needed = needed(plan, &formulas);
        let (places, count) = places(plan, &needed, &formulas);
        let mut answers = vec![Vec::new(); plan.nodes.len()];
        for formula in formulas {
            answers[plan.roots[formula]].push(formula);
        }
        let steps = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| Step {
                node: node.clone(),
                kernel: if needed[index] {
                    kernel(node, panel)
                } else {
                    None
                },
                buffer: places[index],
            })
            .collect();
        Self {
            steps,
            lanes: panel.lanes(),
            buffers: vec![Vec::new(); count],
            answers,
            next: 0,
        }
    }

    /// Evaluates the rows of the panel that were not evaluated yet and hands each
    /// formula's block on: the formula's index, the first row of the block and
    /// `rows * lanes` values. Formulas come in the order of the graph, blocks in
    /// the order of time.
    pub fn advance(&mut self, panel: &Panel, give: impl FnMut(usize, usize, &[f64])) {
        self.advance_to(panel, panel.rows(), give);
    }

    /// The same up to a row of the panel, which is not included.
    pub fn advance_to(
        &mut self,
        panel: &Panel,
        end: usize,
        mut give: impl FnMut(usize, usize, &[f64]),
    ) {
        let end = end.min(panel.rows());
        while self.next < end {
            let rows = self.next..end.min(self.next + ROWS);
            self.block(panel, rows.clone(), &mut give);
            self.next = rows.end;
        }
    }

    fn block(
        &mut self,
        panel: &Panel,
        rows: Range<usize>,
        give: &mut impl FnMut(usize, usize, &[f64]),
    ) {
        let size = rows.len() * self.lanes;
        for index in 0..self.steps.len() {
            let (before, after) = self.steps.split_at_mut(index);
            let step = &mut after[0];
            if step.buffer == NO_BUFFER {
                if let Node::Column(name) = &step.node {
                    for &formula in &self.answers[index] {
                        give(formula, rows.start, column(panel, name, &rows));
                    }
                }
                continue;
            }
            let mut output = std::mem::take(&mut self.buffers[step.buffer]);
            output.resize(size, f64::NAN);
            match &step.node {
                Node::Operator {
                    operator, inputs, ..
                } => {
                    let whole = operator.axis != Axis::Element;
                    let mut arguments = [Input::Constant(f64::NAN); MAX_INPUTS];
                    for (argument, &input) in arguments.iter_mut().zip(inputs) {
                        *argument = match &before[input].node {
                            Node::Column(name) => Input::Rows(column(panel, name, &rows)),
                            Node::Group(name) => Input::Lanes(panel.groups(name).unwrap_or(&[])),
                            Node::Constant(value) if !whole => Input::Constant(*value),
                            _ => Input::Rows(&self.buffers[before[input].buffer][..size]),
                        };
                    }
                    if let Some(kernel) = &mut step.kernel {
                        kernel.run(&arguments[..inputs.len()], &mut output);
                    }
                }
                Node::Clock(name) => clock(panel, name, &rows, self.lanes, &mut output),
                Node::Constant(value) => output.fill(*value),
                Node::Column(_) | Node::Group(_) => {}
            }
            for &formula in &self.answers[index] {
                give(formula, rows.start, &output);
            }
            self.buffers[step.buffer] = output;
        }
    }
}

/// More inputs than any operator has.
const MAX_INPUTS: usize = 8;

fn column<'a>(panel: &'a Panel, name: &str, rows: &Range<usize>) -> &'a [f64] {
    let lanes = panel.lanes();
    panel
        .column(name)
        .map_or(&[], |values| &values[rows.start * lanes..rows.end * lanes])
}

/// Returns which nodes some formulas need.
fn needed(plan: &Plan, formulas: &Range<usize>) -> Vec<bool> {
    let mut needed = vec![false; plan.nodes.len()];
    for formula in formulas.clone() {
        needed[plan.roots[formula]] = true;
    }
    for index in (0..plan.nodes.len()).rev() {
        if let (true, Node::Operator { inputs, .. }) = (needed[index], &plan.nodes[index]) {
            for &input in inputs {
                needed[input] = true;
            }
        }
    }
    needed
}

/// Gives each node a buffer such that no two that are read later share one.
/// Returns the buffers of the nodes and how many there are.
fn places(plan: &Plan, needed: &[bool], formulas: &Range<usize>) -> (Vec<usize>, usize) {
    let mut last_read: Vec<usize> = (0..plan.nodes.len()).collect();
    for (index, node) in plan.nodes.iter().enumerate() {
        if let (true, Node::Operator { inputs, .. }) = (needed[index], node) {
            for &input in inputs {
                last_read[input] = index;
            }
        }
    }
    let is_formula = |index| plan.roots[formulas.clone()].contains(&index);
    let mut free: Vec<usize> = Vec::new();
    let mut places = vec![NO_BUFFER; plan.nodes.len()];
    let mut count = 0;
    for (index, node) in plan.nodes.iter().enumerate() {
        let fills = match node {
            Node::Operator { .. } | Node::Clock(_) => true,
            Node::Constant(_) => is_formula(index) || is_read_whole(plan, needed, index),
            Node::Column(_) | Node::Group(_) => false,
        };
        if !needed[index] || !fills {
            continue;
        }
        places[index] = free.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        let Node::Operator { inputs, .. } = node else {
            continue;
        };
        let mut done: Vec<usize> = inputs.clone();
        done.sort_unstable();
        done.dedup();
        for input in done {
            if last_read[input] == index && places[input] != NO_BUFFER {
                free.push(places[input]);
            }
        }
        if last_read[index] == index {
            free.push(places[index]);
        }
    }
    (places, count)
}

/// Reports whether an operator that takes no constants reads this one.
fn is_read_whole(plan: &Plan, needed: &[bool], constant: usize) -> bool {
    plan.nodes
        .iter()
        .enumerate()
        .any(|(index, node)| match node {
            Node::Operator {
                operator, inputs, ..
            } => needed[index] && operator.axis != Axis::Element && inputs.contains(&constant),
            _ => false,
        })
}

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Writes what the clock says at the close of each row.
fn clock(panel: &Panel, name: &str, rows: &Range<usize>, lanes: usize, output: &mut [f64]) {
    let times = &panel.open_time()[rows.clone()];
    for (row, &open_time) in output.chunks_exact_mut(lanes).zip(times) {
        row.fill(clock_value(panel, name, open_time));
    }
}

fn clock_value(panel: &Panel, name: &str, open_time: i64) -> f64 {
    let close = panel.timeframe().next(open_time);
    let days = close.div_euclid(DAY);
    match name {
        "minute_of_day" => (close.rem_euclid(DAY) / MINUTE) as f64,
        "hour" => (close.rem_euclid(DAY) / (60 * MINUTE)) as f64,
        // 1970-01-01 was a Thursday.
        "weekday" => (days + 3).rem_euclid(7) as f64,
        "day_of_month" => date(close).map_or(f64::NAN, |date| f64::from(date.day())),
        "month" => date(close).map_or(f64::NAN, |date| f64::from(date.month())),
        "bars_per_day" => DAY as f64 / panel.timeframe().milliseconds() as f64,
        _ => f64::NAN,
    }
}

fn date(time: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(time)
}
