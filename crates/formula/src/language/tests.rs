//! The canonical notation: what it reads, what it refuses and how, and that
//! whatever is printed reads back the same.

use proptest::prelude::*;

use super::*;
use crate::operators::{self, Axis, Kind, Operator};

fn read(text: &str) -> Expression {
    match parse(text, Notation::Foretune) {
        Ok(expression) => expression,
        Err(error) => panic!("{text}: {error}\n{}", error.caret()),
    }
}

fn refused(text: &str) -> ParseError {
    parse(text, Notation::Foretune).unwrap_err()
}

/// Checks that `text` means what `plain`, written with calls only, means.
fn means(text: &str, plain: &str) {
    assert_eq!(read(text), read(plain), "{text}");
}

#[test]
fn precedence() {
    means("open + close * 2", "add(open, multiply(close, 2))");
    means("open - close - 2", "subtract(subtract(open, close), 2)");
    means("-open ^ 2", "negate(power(open, 2))");
    means("open ^ -2 ^ low", "power(open, negate(power(2, low)))");
    means("open ^ 2 ^ low", "power(open, power(2, low))");
    means("2 * -3", "multiply(2, -3)");
    means(
        "open < 1 && close > 2 || !(low == 3)",
        "or(and(less(open, 1), greater(close, 2)), not(equal(low, 3)))",
    );
    means(
        "open > 0 ? 1 : low >= 2 ? 2 : 3",
        "if_else(greater(open, 0), 1, if_else(greater_equal(low, 2), 2, 3))",
    );
    means("high % 2 != 0", "not_equal(modulo(high, 2), 0)");
}

#[test]
fn names_bound_by_where_are_replaced_left_to_right() {
    means(
        "m - 2 * s where n = 10 + 10, m = ts_mean(close, n), s = ts_std(close - m, n)",
        "ts_mean(close, 20) - 2 * ts_std(close - ts_mean(close, 20), 20)",
    );
    assert_eq!(
        *refused("m where m = open, m = close").problem,
        Problem::Bound {
            name: "m".into(),
            already: "bound"
        }
    );
    assert_eq!(
        *refused("close where close = open").problem,
        Problem::Bound {
            name: "close".into(),
            already: "a column"
        }
    );
    let unused = refused("close where m = open");
    assert_eq!(*unused.problem, Problem::Unused { name: "m".into() });
    assert_eq!(unused.offset, 12);
}

#[test]
fn templates_take_trees_and_windows() {
    let bindings = BTreeMap::from([
        ("x".to_owned(), read("open - close")),
        ("window".to_owned(), Expression::Number(20.0)),
    ]);
    let text = "(x - ts_mean(x, window)) / ts_std(x, window + 1)";
    let expanded = parse_with(text, Notation::Foretune, &bindings).unwrap();
    let by_hand = "(open - close - ts_mean(open - close, 20)) / ts_std(open - close, 21)";
    assert_eq!(expanded, read(by_hand));
}

#[test]
fn defaults_are_filled_in_and_left_out_again() {
    let scaled = read("cs_scale(close)");
    assert_eq!(scaled, read("cs_scale(close, 1)"));
    assert_eq!(scaled.to_string(), "cs_scale(close)");
    assert_eq!(read("cs_scale(close, 2)").to_string(), "cs_scale(close, 2)");
}

#[test]
fn a_lag_of_nothing_is_nothing() {
    means("ts_delay(close, 0) + 1", "close + 1");
}

/// Checks the message, the column and the hint of what `text` is refused for.
fn check(text: &str, message: &str, column: usize, hint: &str) {
    let error = refused(text);
    assert_eq!(error.problem.to_string(), message, "{text}");
    assert_eq!(error.column, column, "{text}");
    assert_eq!(error.hint().unwrap_or_default(), hint, "{text}");
}

#[test]
fn unknown_names() {
    check(
        "1 + ts_maen(close, 20)",
        "unknown operator `ts_maen`",
        5,
        "did you mean `ts_mean`?",
    );
    check(
        "1 + Close",
        "unknown column `Close`",
        5,
        "did you mean `close`?",
    );
    check(
        "adv * 2",
        "unknown column `adv`",
        1,
        "it is an operator: write `adv(window)`",
    );
    check(
        "close(1)",
        "unknown operator `close`",
        1,
        "it is a column: write it without parentheses",
    );
    check("zzzzq", "unknown column `zzzzq`", 1, "");
}

#[test]
fn arguments() {
    check(
        "ts_mean(close)",
        "`ts_mean` takes 2 arguments, given 1",
        1,
        "write `ts_mean(x, window)`",
    );
    check(
        "cs_scale(close, 1, 2)",
        "`cs_scale` takes 1 to 2 arguments, given 3",
        1,
        "write `cs_scale(x, total = 1)`",
    );
    let window = "a constant whole number from 1 to 100000";
    for found in ["0", "2.5", "100001", "open", "1 / 0", "-3"] {
        check(
            &format!("ts_mean(close, {found})"),
            &format!("`ts_mean` needs {window} as `window`, found `{found}`"),
            16,
            "",
        );
    }
    check(
        "ts_ewm(close, log(0))",
        "`ts_ewm` needs a constant number as `weight`, found `log(0)`",
        15,
        "",
    );
}

#[test]
fn the_future() {
    for operator in ["ts_delay", "ts_delta", "ts_returns"] {
        check(
            &format!("{operator}(close, 2 - 3)"),
            &format!("`{operator}` by -1 reads the future, refused outside labels"),
            operator.len() + 9,
            "a lag is at least 0",
        );
    }
}

#[test]
fn kinds() {
    check(
        "close ? 1 : 2",
        "`if_else` needs a condition as `condition`, found `close`, which differs from bar to bar",
        1,
        "compare it: `close > 0`",
    );
    check(
        "ts_mean(1 + 2, 20)",
        "`ts_mean` needs values that differ from bar to bar as `x`, found the constant `1 + 2`",
        9,
        "an operator along time or across instruments needs a column",
    );
    check(
        "group_mean(close, open)",
        "`group_mean` needs a group as `group`, found `open`, which differs from bar to bar",
        19,
        "groups are `sector`, `industry`, `subindustry`",
    );
    check(
        "sector + 1",
        "`add` needs values as `x`, found the group `sector`",
        1,
        "a group stands only as the last argument of `group_` operators",
    );
    check(
        "sector",
        "the formula gives a group, which is not a value",
        1,
        "use it within a `group_` operator",
    );
    check(
        "r - 1",
        "the formula gives a series of returns, not one number",
        1,
        "bring it to one number with a `series_` operator",
    );
    for mixed in ["close + r", "cs_rank(r)"] {
        assert!(matches!(*refused(mixed).problem, Problem::Mixed { .. }));
    }
    assert_eq!(
        read("ts_count(ts_delay(close > open, 1), 5)").kind(),
        Kind::Values
    );
    assert_eq!(read("close > open && 1").kind(), Kind::Condition);
    assert_eq!(read("1 + 2").kind(), Kind::Constant);
    let scalar = "series_mean(r) > 0 ? series_mean(r - series_mean(r)) : 0";
    for text in [scalar, "series_mean(r) > 0", "series_mean(r) / 2"] {
        assert_eq!(read(text).kind(), Kind::Scalar, "{text}");
    }
}

#[test]
fn grammar() {
    check(
        "ts_mean(close, 20",
        "expected an operator, `,` or `)`, found the end of the formula",
        18,
        "a parenthesis is not closed",
    );
    check(
        "close > 1 & open > 2",
        "expected an operator or the end, found `&`",
        11,
        "write `&&`",
    );
    check(
        "1 < close < 2",
        "expected one comparison, found `<`",
        11,
        "compare twice: `a < b && b < c`",
    );
    check("close # 1", "unexpected character `#`", 7, "");
    check(
        "$close",
        "unexpected character `$`",
        1,
        "only the Qlib notation writes columns as `$close`",
    );
    check("1e999", "`1e999` is not a finite number", 1, "");
    check("", "expected a value, found the end of the formula", 1, "");
    check(
        "open > 1 ? 2",
        "expected `:` of `condition ? yes : no`, found the end of the formula",
        13,
        "",
    );
}

#[test]
fn the_place_in_a_text_of_several_lines() {
    let error = refused("close +\n  ts_maen(é)");
    assert_eq!((error.line, error.column), (2, 11));
    let error = refused("close +\n  ts_maen(open, 20)\n  + 1");
    assert_eq!((error.line, error.column, error.offset), (2, 3, 10));
    assert_eq!(error.caret().to_string(), "  ts_maen(open, 20)\n  ^^^^^^^");
    assert_eq!(
        error.to_string(),
        "unknown operator `ts_maen`, at column 3 of line 2"
    );
}

#[test]
fn no_text_exhausts_the_stack() {
    for opening in ["(", "-", "!", "log(", "1 ? 2 : ", "2 ^ "] {
        let text = opening.repeat(syntax::MOST_BYTES / opening.len());
        let problem = refused(&text).problem;
        assert!(matches!(*problem, Problem::TooDeep { .. }), "{opening}");
    }
    let chain = format!("close{}", " + open".repeat(2_000));
    assert!(matches!(*refused(&chain).problem, Problem::TooDeep { .. }));
    let long = " ".repeat(syntax::MOST_BYTES + 1);
    assert!(matches!(*refused(&long).problem, Problem::TooLong { .. }));
    let mut doubling = "a40 where a0 = close".to_owned();
    for step in 0..40 {
        doubling.push_str(&format!(", a{} = a{step} + a{step}", step + 1));
    }
    assert!(matches!(
        *refused(&doubling).problem,
        Problem::TooLarge { .. }
    ));
    let mut deepening = "a9 where a0 = close".to_owned();
    for step in 0..9 {
        let minus = "-".repeat(50);
        deepening.push_str(&format!(", a{} = {minus}a{step}", step + 1));
    }
    assert!(matches!(
        *refused(&deepening).problem,
        Problem::TooDeep { .. }
    ));
}

/// Makes a well-typed tree out of a stream of choices.
pub(super) struct Grower<'a> {
    choices: std::iter::Copied<std::slice::Iter<'a, u32>>,
    operators: Vec<&'static Operator>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(choices: &'a [u32]) -> Self {
        let panel = |operator: &&&Operator| operator.axis != Axis::Series;
        Self {
            choices: choices.iter().copied(),
            operators: operators::all().iter().filter(panel).copied().collect(),
        }
    }

    fn choose(&mut self, most: usize) -> usize {
        self.choices.next().unwrap_or(0) as usize % most
    }

    /// Returns a tree that gives `kind`; one with a column if `column`.
    pub(super) fn tree(&mut self, kind: Kind, column: bool, levels: usize) -> Expression {
        const COLUMNS: [&str; 5] = ["open", "close", "volume", "hour", "bid"];
        const NUMBERS: [f64; 8] = [0.0, -0.0, 1.0, -2.5, 1e300, 1e-300, 0.1, 123_456.789];
        let leaf = levels == 0 || self.choose(4) == 0;
        match kind {
            Kind::Window => Expression::Number((1 + self.choose(400)) as f64),
            Kind::Constant => Expression::Number(NUMBERS[self.choose(NUMBERS.len())]),
            Kind::Group => Expression::field("sector"),
            Kind::Values if leaf && !column && self.choose(3) == 0 => {
                self.tree(Kind::Constant, false, 0)
            }
            Kind::Values if leaf => Expression::field(COLUMNS[self.choose(COLUMNS.len())]),
            _ => {
                let fit = |operator: &&&'static Operator| {
                    let same = operator.gives == kind || kind == Kind::Values;
                    let has_values = operator.parameters.iter().any(|p| p.kind == Kind::Values);
                    let conditions = operator
                        .parameters
                        .iter()
                        .any(|p| p.kind == Kind::Condition);
                    same && (has_values || !column) && !(leaf && conditions)
                };
                let fitting: Vec<_> = self.operators.iter().filter(fit).copied().collect();
                let operator = fitting[self.choose(fitting.len())];
                self.call(operator, column, levels.saturating_sub(1))
            }
        }
    }

    fn call(&mut self, operator: &'static Operator, column: bool, levels: usize) -> Expression {
        let column = column || operator.axis != Axis::Element;
        let arguments = operator
            .parameters
            .iter()
            .map(|parameter| self.tree(parameter.kind, column, levels))
            .collect();
        Expression::Call(operator, arguments)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_printed_reads_back(choices in prop::collection::vec(any::<u32>(), 1..200)) {
        let tree = Grower::new(&choices).tree(Kind::Values, false, 6);
        let text = tree.to_string();
        let again = parse(&text, Notation::Foretune).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(again, tree, "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z_(),.0-9+*/^&|<>=!?: -]{0,60}") {
        for notation in Notation::ALL {
            let _ = parse(&text, notation).map_err(|error| error.caret().to_string());
        }
    }
}
