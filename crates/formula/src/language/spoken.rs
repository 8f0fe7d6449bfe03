//! A formula in words, step by step from the innermost part outwards, and drawn as
//! a tree.

use std::collections::BTreeMap;

use super::Expression;
use super::printer::number;
use super::types::{Type, folded};
use crate::operators::{Kind, Operator};

/// One step of computing a formula by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What the step computes.
    pub expression: Expression,
    /// The same in words; earlier steps are called `step 1`, `step 2`.
    pub sentence: String,
    /// The earlier steps that it needs, from 1, each once, in the order of the
    /// sentence.
    pub needs: Vec<usize>,
}

/// Returns the steps of a formula, innermost first, the whole formula last. A part
/// that occurs twice is one step; a formula without operators has one step.
pub fn explain(expression: &Expression) -> Vec<Step> {
    let mut walk = Walk::default();
    match expression {
        Expression::Call(..) => {
            walk.step(expression);
        }
        leaf => walk.steps.push(Step {
            expression: leaf.clone(),
            sentence: Walk::leaf(leaf).unwrap_or_default(),
            needs: Vec::new(),
        }),
    }
    walk.steps
}

#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    /// Steps by the canonical text of what they compute.
    known: BTreeMap<String, usize>,
}

impl Walk {
    /// Returns the number of the step that computes a call.
    fn step(&mut self, expression: &Expression) -> usize {
        let text = expression.to_string();
        if let Some(known) = self.known.get(&text) {
            return *known;
        }
        let mut needs = Vec::new();
        let phrase = self.phrase(expression, &mut needs);
        let is_condition = Type::of(expression).kind == Kind::Condition;
        let sentence = if is_condition && !phrase.starts_with("whether ") {
            format!("whether {phrase}")
        } else {
            phrase
        };
        self.steps.push(Step {
            expression: expression.clone(),
            sentence,
            needs,
        });
        self.known.insert(text, self.steps.len());
        self.steps.len()
    }

    /// Returns a call in words, its parts being words or steps.
    fn phrase(&mut self, expression: &Expression, needs: &mut Vec<usize>) -> String {
        let Expression::Call(operator, arguments) = expression else {
            return Self::leaf(expression).unwrap_or_default();
        };
        let words: Vec<String> = operator
            .parameters
            .iter()
            .zip(arguments)
            .map(|(parameter, argument)| self.argument(operator, parameter.kind, argument, needs))
            .collect();
        let mut phrase = String::new();
        let mut rest = operator.meaning;
        while let Some((before, after)) = rest.split_once('{') {
            phrase.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let place = operator.parameters.iter().position(|p| p.name == name);
            phrase.push_str(place.and_then(|place| words.get(place)).map_or(name, |w| w));
            rest = after;
        }
        phrase + rest
    }

    fn argument(
        &mut self,
        operator: &Operator,
        kind: Kind,
        argument: &Expression,
        needs: &mut Vec<usize>,
    ) -> String {
        if kind == Kind::Group
            && let Expression::Field(name) = argument
        {
            return name.clone();
        }
        if let Some(leaf) = Self::leaf(argument) {
            return leaf;
        }
        if kind == Kind::Condition && Type::of(argument).kind == Kind::Condition {
            let phrase = self.phrase(argument, needs);
            let phrase = phrase.strip_prefix("whether ").unwrap_or(&phrase);
            return match operator.name {
                "not" | "and" | "or" => format!("({phrase})"),
                _ => phrase.to_owned(),
            };
        }
        let step = self.step(argument);
        if !needs.contains(&step) {
            needs.push(step);
        }
        format!("step {step}")
    }

    /// Returns a number, also one that parts without columns give, or a column.
    fn leaf(expression: &Expression) -> Option<String> {
        match expression {
            Expression::Field(name) => Some(column(name)),
            _ => folded(expression).map(number),
        }
    }
}

/// Returns a column as one says it within a sentence.
fn column(name: &str) -> String {
    match name {
        "returns" => "the return".to_owned(),
        "market" => "the market's return".to_owned(),
        "vwap" => "the volume-weighted average price".to_owned(),
        "amount" => "the traded value".to_owned(),
        "cap" => "the market capitalisation".to_owned(),
        "ofi" => "the order flow imbalance".to_owned(),
        "r" => "the returns".to_owned(),
        "benchmark" => "the benchmark's returns".to_owned(),
        "trades" => "the number of trades".to_owned(),
        name => format!("the {}", name.replace('_', " ")),
    }
}

/// Draws a formula as a tree, one line a node, for the terminal.
pub fn tree(expression: &Expression) -> String {
    let mut drawn = String::new();
    draw(expression, "", "", None, &mut drawn);
    drawn
}

fn draw(
    expression: &Expression,
    first: &str,
    others: &str,
    parameter: Option<&str>,
    drawn: &mut String,
) {
    drawn.push_str(first);
    match (expression, parameter) {
        (Expression::Number(value), Some(name)) => {
            drawn.push_str(&format!("{name} = {}", number(*value)));
        }
        (Expression::Number(value), None) => drawn.push_str(&number(*value)),
        (Expression::Field(name), _) => drawn.push_str(name),
        (Expression::Call(operator, _), _) => drawn.push_str(operator.name),
    }
    drawn.push('\n');
    let Expression::Call(operator, arguments) = expression else {
        return;
    };
    for (index, argument) in arguments.iter().enumerate() {
        let (branch, below) = if index + 1 == arguments.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let parameter = operator.parameters.get(index);
        let constant = parameter.filter(|p| matches!(p.kind, Kind::Window | Kind::Constant));
        draw(
            argument,
            &format!("{others}{branch}"),
            &format!("{others}{below}"),
            constant.map(|parameter| parameter.name),
            drawn,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Notation, parse};

    fn steps(text: &str) -> Vec<String> {
        let tree = parse(text, Notation::Foretune).unwrap();
        let steps = explain(&tree).into_iter();
        steps.map(|step| step.sentence).collect()
    }

    #[test]
    fn innermost_first() {
        assert_eq!(
            steps("(close - ts_mean(close, 20)) / ts_std(close, 2 * 10)"),
            [
                "the mean of the close over the last 20 bars",
                "the close minus step 1",
                "the standard deviation of the close over the last 20 bars",
                "step 2 divided by step 3, unknown where step 3 is 0",
            ]
        );
    }

    #[test]
    fn a_part_that_occurs_twice_is_one_step() {
        let tree = parse("ts_mean(open, 5) * ts_mean(open, 5)", Notation::Foretune).unwrap();
        let steps = explain(&tree);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1].sentence, "step 1 times step 1");
        assert_eq!(steps[1].needs, [1]);
        assert_eq!(steps[1].expression, tree);
    }

    #[test]
    fn conditions_are_said_in_place() {
        assert_eq!(
            steps("ts_count(close > open && !is_unknown(volume), 5)"),
            [
                "the number of the last 5 bars on which (the close is above the open) and (not (the volume is unknown))"
            ]
        );
        assert_eq!(
            steps("close > open ? -1 * 1 : returns"),
            ["-1 where the close is above the open, the return elsewhere"]
        );
        assert_eq!(
            steps("(close > open) * -1"),
            ["whether the close is above the open", "step 1 times -1"]
        );
        assert_eq!(
            steps("group_rank(cap, sector)"),
            ["the rank of the market capitalisation within its sector"]
        );
    }

    #[test]
    fn leaves() {
        assert_eq!(steps("minute_of_day"), ["the minute of day"]);
        assert_eq!(steps("1.5"), ["1.5"]);
    }

    /// Every sentence of the tables names its parameters as they are called.
    #[test]
    fn sentences_name_their_parameters() {
        for operator in crate::operators::all() {
            for part in operator.meaning.split('{').skip(1) {
                let name = part.split('}').next().unwrap();
                let known = operator.parameters.iter().any(|p| p.name == name);
                assert!(known, "{operator:?}: `{{{name}}}`");
            }
        }
    }

    #[test]
    fn drawn_as_a_tree() {
        let text = "cs_rank(close / ts_delay(close, 5)) - 0.5";
        let tree = super::tree(&parse(text, Notation::Foretune).unwrap());
        let expected = "\
subtract
├─ cs_rank
│  └─ divide
│     ├─ close
│     └─ ts_delay
│        ├─ close
│        └─ window = 5
└─ 0.5
";
        assert_eq!(tree, expected);
    }
}
