//! What each notation reads, refuses and writes.

use proptest::prelude::*;

use super::super::tests::Grower;
use super::super::{ParseError, canonical_hash, parse, print, translate};
use super::*;
use crate::Profile;
use crate::operators::Kind;
use Notation::{Alpha101, Foretune, Gtja, Qlib};

fn canonical(text: &str, notation: Notation) -> String {
    match translate(text, notation, Foretune) {
        Ok(text) => text,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn refused(text: &str, notation: Notation) -> ParseError {
    parse(text, notation).unwrap_err()
}

fn hash(expression: &Expression) -> u128 {
    canonical_hash(expression, &Profile::PAPER)
}

#[test]
fn alpha101_reads() {
    let check = |text, expected: &str| assert_eq!(canonical(text, Alpha101), expected);
    check(
        "(rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5)) - 0.5)",
        "cs_rank(ts_argmax(signed_power(returns < 0 ? ts_std(returns, 20) : close, 2), 5)) - 0.5",
    );
    check(
        "IndNeutralize(vwap, IndClass.sector) < 1 || Scale(ADV20, 2) == 1",
        "group_neutralize(vwap, sector) < 1 || cs_scale(adv(20), 2) == 1",
    );
}

#[test]
fn windows_of_the_paper_are_cut() {
    assert_eq!(
        canonical("correlation(vwap, adv40, 9.91009)", Alpha101),
        "ts_corr(vwap, adv(40), 9)"
    );
    let error = refused("delta(close, 0.9)", Alpha101);
    assert_eq!(
        error.problem.to_string(),
        "`delta` needs a constant whole number from 1 to 100000 as `window`, found `0.9`"
    );
}

#[test]
fn extrema_roll_when_the_second_argument_is_a_constant() {
    let check = |text, notation, expected: &str| assert_eq!(canonical(text, notation), expected);
    check("max(close, 5.9)", Alpha101, "ts_max(close, 5)");
    check(
        "min(rank(open), close)",
        Alpha101,
        "min(cs_rank(open), close)",
    );
    check("MAX(CLOSE,5)", Gtja, "ts_max(close, 5)");
    check("MAX(0,CLOSE)", Gtja, "max(0, close)");
    check("MAX(CLOSE-OPEN,0)", Gtja, "max(close - open, 0)");
    check("MAX(CLOSE,1.5)", Gtja, "max(close, 1.5)");
    check("Max($close, 5)", Qlib, "ts_max(close, 5)");
    check("Greater($close, 5)", Qlib, "max(close, 5)");
    // And are written so that they read back the same.
    for notation in [Alpha101, Gtja, Qlib] {
        for text in [
            "max(close, 5)",
            "min(5, close)",
            "ts_max(close, 5)",
            "max(2, 3)",
        ] {
            let tree = parse(text, Foretune).unwrap();
            let written = print(&tree, notation).unwrap();
            assert_eq!(
                hash(&parse(&written, notation).unwrap()),
                hash(&tree),
                "{written}"
            );
        }
    }
}

#[test]
fn gtja_reads() {
    let check = |text, expected: &str| assert_eq!(canonical(text, Gtja), expected);
    check(
        "SUM((CLOSE=DELAY(CLOSE,1)?0:CLOSE-(CLOSE>DELAY(CLOSE,1)?MIN(LOW,DELAY(CLOSE,1)):MAX(HIGH,DELAY(CLOSE,1)))),6)",
        "ts_sum(close == ts_delay(close, 1) ? 0 : close - (close > ts_delay(close, 1) ? min(low, ts_delay(close, 1)) : max(high, ts_delay(close, 1))), 6)",
    );
    check(
        "REGBETA(MEAN(CLOSE,6),SEQUENCE(6))",
        "ts_slope(ts_mean(close, 6), 6)",
    );
    check("REGBETA(CLOSE,OPEN,6)", "ts_beta(close, open, 6)");
    check("REGRESI(CLOSE,SEQUENCE(9))", "ts_resid(close, 9)");
    check("SMA(RET,12,1)", "ts_sma(returns, 12, 1)");
    check(
        "SUMIF(CLOSE,20,CLOSE>OPEN)",
        "ts_sum(close > open ? close : 0, 20)",
    );
    check("FILTER(CLOSE,CLOSE>OPEN)", "close > open ? close : 0 / 0");
    check("20-HIGHDAY(HIGH,20)", "20 - (20 - ts_argmax(high, 20))");
    check("LOWDAY(LOW,5)", "5 - ts_argmin(low, 5)");
    check("SUMAC(CLOSE)", "ts_cumsum(close)");
    check(
        "HD+LD",
        "high - ts_delay(high, 1) + (ts_delay(low, 1) - low)",
    );
    check(
        "COUNT((CLOSE>OPEN&VWAP<LOW)OR(CLOSE<OPEN AND LOW>=2),20)/20",
        "ts_count(close > open && vwap < low || close < open && low >= 2, 20) / 20",
    );
    check(
        "BANCHMARKINDEXCLOSE<BENCHMARKINDEXOPEN",
        "ts_cumprod(1 + market) < ts_cumprod(1 + market) / cs_mean(close / open)",
    );
}

#[test]
fn qlib_reads() {
    let check = |text, expected: &str| assert_eq!(canonical(text, Qlib), expected);
    check("Ref($close, 5)/$close", "ts_delay(close, 5) / close");
    check(
        "If(($close>Ref($close, 1)) & ($open**2 < 3), -1, Less($open, $close))",
        "close > ts_delay(close, 1) && open ^ 2 < 3 ? -1 : min(open, close)",
    );
    check(
        "EMA($close, 0.5) + EMA($close, 5)",
        "ts_ewm(close, 0.5) + ts_ema(close, 5)",
    );
    check("Count($vwap, 9)", "ts_count(!is_unknown(vwap), 9)");
    check("Quantile($close, 20, 0.8)", "ts_quantile(close, 20, 0.8)");
}

/// Checks the problem, the column and the hint.
fn check(text: &str, notation: Notation, message: &str, column: usize, hint: &str) {
    let error = refused(text, notation);
    assert_eq!(error.problem.to_string(), message, "{text}");
    assert_eq!(error.column, column, "{text}");
    assert_eq!(error.hint().unwrap_or_default(), hint, "{text}");
}

#[test]
fn the_future_in_every_notation() {
    for (text, notation, operator) in [
        ("delay(close, -1)", Alpha101, "delay"),
        ("DELTA(CLOSE,-1)", Gtja, "DELTA"),
        ("Ref($close, -1)", Qlib, "Ref"),
        ("Ref($close, 1-2)", Qlib, "Ref"),
    ] {
        let message = format!("`{operator}` by -1 reads the future, refused outside labels");
        assert_eq!(refused(text, notation).problem.to_string(), message);
    }
}

#[test]
fn unknown_names_are_answered_in_the_notation() {
    check(
        "1 + corelation(open, close, 5)",
        Alpha101,
        "unknown operator `corelation`",
        5,
        "did you mean `correlation`?",
    );
    check(
        "DECAYLINAR(CLOSE,5)",
        Gtja,
        "unknown operator `DECAYLINAR`",
        1,
        "did you mean `DECAYLINEAR`?",
    );
    check(
        "Mean($clse, 5)",
        Qlib,
        "unknown column `$clse`",
        6,
        "did you mean `$close`?",
    );
    check(
        "Mean(close, 5)",
        Qlib,
        "unknown column `close`",
        6,
        "did you mean `$close`?",
    );
    check(
        "Mean($close)",
        Qlib,
        "`Mean` takes 2 arguments, given 1",
        1,
        "write `Mean(x, window)`",
    );
    check(
        "ts_mean(close, 5)",
        Alpha101,
        "unknown operator `ts_mean`",
        1,
        "did you mean `ts_max`?",
    );
}

#[test]
fn python_binds_otherwise() {
    check(
        "$close > 1 & $open > 2",
        Qlib,
        "a comparison beside `&` or `|` stands in parentheses in Python",
        1,
        "write `(a > b) & (c > d)`",
    );
    check(
        "$close ^ 2",
        Qlib,
        "expected an operator or the end, found `^`",
        8,
        "write `**`",
    );
    check(
        "$close > 1 ? 2 : 3",
        Qlib,
        "expected an operator or the end, found `?`",
        12,
        "write `If(condition, yes, no)`",
    );
    check(
        "Ref($close, 0)",
        Qlib,
        "`Ref` by 0 means the first bar of the data in Qlib",
        13,
        "write the column itself for the newest bar",
    );
}

#[test]
fn what_a_notation_cannot_say() {
    let check = |text, notation, expected: &str| {
        let tree = parse(text, Foretune).unwrap();
        assert_eq!(print(&tree, notation).unwrap_err().to_string(), expected);
    };
    check(
        "1 + group_neutralize(close, sector)",
        Qlib,
        "the `qlib` notation has nothing for `group_neutralize`",
    );
    check(
        "atan(close)",
        Gtja,
        "the `gtja` notation has nothing for `atan`",
    );
    check(
        "close % 2",
        Alpha101,
        "the `alpha101` notation has nothing for `modulo`",
    );
    check(
        "ts_skew(close, 5)",
        Alpha101,
        "the `alpha101` notation has nothing for `ts_skew`",
    );
}

#[test]
fn what_a_notation_says_by_other_means() {
    let check = |text, notation, expected: &str| {
        let tree = parse(text, Foretune).unwrap();
        let written = print(&tree, notation).unwrap();
        assert_eq!(written, expected);
        assert_eq!(hash(&parse(&written, notation).unwrap()), hash(&tree));
    };
    check("ts_mean(close, 5)", Alpha101, "sum(close, 5) / 5");
    check("2 / ts_mean(close, 5)", Alpha101, "2 / (sum(close, 5) / 5)");
    check(
        "ts_zscore(close, 5)",
        Qlib,
        "($close - Mean($close, 5)) / Std($close, 5)",
    );
    check("-close", Qlib, "-1 * $close");
    check(
        "close > 1 || open > 2 ? 1 : 2",
        Qlib,
        "If(Or($close > 1, $open > 2), 1, 2)",
    );
    check("close ^ 2", Qlib, "Power($close, 2)");
    check(
        "group_neutralize(adv(20), industry)",
        Alpha101,
        "indneutralize(adv20, IndClass.industry)",
    );
    check(
        "ts_argmax(close, 5) + returns",
        Gtja,
        "5 - HIGHDAY(CLOSE, 5) + RET",
    );
    check("ts_slope(close, 5)", Gtja, "REGBETA(CLOSE, SEQUENCE(5))");
    check("high - ts_delay(high, 1)", Gtja, "HD");
    check("ts_returns(close, 3)", Gtja, "CLOSE / DELAY(CLOSE, 3) - 1");
}

/// The notations differ only in names: any name that one has is read back.
#[test]
fn every_name_is_written_and_read() {
    for notation in [Alpha101, Gtja, Qlib] {
        for (foreign, name) in operators_of(notation) {
            assert!(
                operators::named(name).is_some(),
                "{foreign}: no operator `{name}`"
            );
            let found = operator(notation, foreign).map(|operator| operator.name);
            assert_eq!(found, Some(*name));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_a_notation_writes_means_the_same(choices in prop::collection::vec(any::<u32>(), 1..120)) {
        let tree = Grower::new(&choices).tree(Kind::Values, false, 4);
        for notation in [Alpha101, Gtja, Qlib] {
            let Ok(text) = print(&tree, notation) else { continue };
            let again = parse(&text, notation).map_err(|error| TestCaseError::fail(format!("{tree}\n{text}: {error}")))?;
            prop_assert_eq!(hash(&again), hash(&tree), "{}\n{}\n{}", tree, text, again);
        }
    }
}
