//! Agreement with scipy, arch, statsmodels, skfolio, confseq and comparecast on
//! the values written by `python/reference/evidence.py`.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

use serde::Deserialize;
use serde::de::DeserializeOwned;
use stats::beta::Beta;
use stats::betting::{ConfidenceSequence, EProcess};
use stats::conformal::AdaptiveConformal;
use stats::cross_validation::{combinatorial, paths};
use stats::sharpe::ReturnMoments;
use stats::{
    beta, calibration, comparison, e_value, mcnemar, metrics, normal, overfitting, reliability,
    sharpe, stationary, superior,
};

/// Sums of a few hundred terms in another order.
const ROUNDING: f64 = 1e-12;

/// The relative error of tails and quantiles: both sides sum other expansions
/// and keep about 13 digits; with parameters in the millions scipy itself keeps
/// about 11.
const SPECIAL_FUNCTIONS: f64 = 1e-10;

fn fixture<T: DeserializeOwned>(part: &str) -> T {
    let text = include_str!("fixtures/evidence.json");
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(document[part].clone()).unwrap()
}

#[track_caller]
fn check(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "{got:e}, expected {expected:e}"
    );
}

/// As `check`, relative to the expected value.
#[track_caller]
fn check_relative(got: f64, expected: f64, tolerance: f64) {
    check(got, expected, tolerance * expected.abs());
}

#[derive(Deserialize)]
struct Normal {
    x: Vec<f64>,
    cumulative: Vec<f64>,
    p: Vec<f64>,
    quantile: Vec<f64>,
}

#[test]
fn the_normal_distribution_agrees_with_scipy() {
    let f: Normal = fixture("normal");
    for (x, expected) in f.x.iter().zip(f.cumulative) {
        check_relative(normal::cumulative(*x), expected, SPECIAL_FUNCTIONS);
    }
    for (p, expected) in f.p.iter().zip(f.quantile) {
        check(normal::quantile(*p), expected, SPECIAL_FUNCTIONS);
    }
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<f64>>,
}

#[test]
fn the_beta_distribution_agrees_with_scipy() {
    for row in fixture::<Rows>("beta").rows {
        let [a, b, p, quantile, cumulative] = row[..] else {
            panic!("{row:?}")
        };
        // One unit in the last place of x near 1 is not a small part of 1 - x.
        let slope = f64::EPSILON * (a + b).max(1.0 / (1.0 - quantile));
        let allowed = SPECIAL_FUNCTIONS * cumulative + slope;
        check(beta::incomplete_beta(quantile, a, b), cumulative, allowed);
        check_relative(beta::beta_quantile(p, a, b), quantile, SPECIAL_FUNCTIONS);
    }
}

#[test]
fn credible_bounds_agree_with_scipy() {
    for row in fixture::<Rows>("posterior").rows {
        let [wins, trials, a, b, level, lower, upper, mean] = row[..] else {
            panic!("{row:?}")
        };
        let posterior = Beta { a, b }.after(wins, trials);
        check_relative(posterior.lower(level), lower, SPECIAL_FUNCTIONS);
        check_relative(posterior.upper(level), upper, SPECIAL_FUNCTIONS);
        check(posterior.mean(), mean, ROUNDING);
    }
}

#[derive(Deserialize)]
struct Blocks {
    series: Vec<f64>,
    stationary: f64,
    circular: f64,
}

#[test]
fn block_lengths_agree_with_arch() {
    for case in fixture::<Vec<Blocks>>("block_length") {
        let length = stationary::optimal_block_length(&case.series);
        // arch gives lengths below 1 as they are.
        check_relative(length.stationary, case.stationary.max(1.0), 1e-9);
        check_relative(length.circular, case.circular.max(1.0), 1e-9);
    }
}

#[derive(Deserialize)]
struct MeanAbove {
    series: Vec<f64>,
    threshold: f64,
    length: f64,
    p_value: f64,
}

/// Two estimates of one probability from 20,000 resamples each: four standard
/// errors where they are largest, at one half.
const RESAMPLING: f64 = 0.02;

#[test]
fn p_values_of_a_mean_agree_with_arch() {
    for case in fixture::<Vec<MeanAbove>>("mean_above") {
        let length = Some(case.length);
        let test = stationary::mean_above(&case.series, case.threshold, length, 20_000, 5);
        check(test.p_value, case.p_value, RESAMPLING);
    }
}

#[derive(Deserialize)]
struct Conformal {
    target: f64,
    step: f64,
    delay: usize,
    scores: Vec<f64>,
    levels: Vec<f64>,
}

#[test]
fn conformal_levels_follow_the_rule() {
    let f: Conformal = fixture("conformal");
    let mut conformal = AdaptiveConformal::new(f.target, f.step, f.scores.len()).unwrap();
    let mut tickets = Vec::new();
    for (t, expected) in f.levels.iter().enumerate() {
        let ticket = conformal.issue((t + f.delay) as i64);
        check(ticket.level, *expected, ROUNDING);
        tickets.push(ticket);
        if let Some(matured) = t.checked_sub(f.delay) {
            let score = f.scores[matured];
            conformal
                .settle(t as i64, &tickets[matured], score)
                .unwrap();
        }
    }
}

#[test]
fn mcnemar_agrees_with_statsmodels() {
    for row in fixture::<Rows>("mcnemar").rows {
        let test = mcnemar::exact(row[0] as usize, row[1] as usize);
        check(test.p_value, row[2], ROUNDING);
    }
}

#[derive(Deserialize)]
struct Ratio {
    returns: Vec<f64>,
    benchmark: f64,
    variance: f64,
    trials: usize,
    sharpe: f64,
    probabilistic: f64,
    luck: f64,
    deflated: f64,
}

#[test]
fn sharpe_ratios_agree_with_scipy() {
    for case in fixture::<Vec<Ratio>>("sharpe") {
        let moments = ReturnMoments::of(&case.returns);
        check(moments.sharpe, case.sharpe, ROUNDING);
        let probabilistic = moments.probabilistic(case.benchmark);
        check(probabilistic, case.probabilistic, SPECIAL_FUNCTIONS);
        let luck = sharpe::expected_maximum(case.variance, case.trials);
        check(luck, case.luck, SPECIAL_FUNCTIONS);
        let deflated = moments.deflated(case.variance, case.trials);
        check(deflated, case.deflated, SPECIAL_FUNCTIONS);
    }
}

#[derive(Deserialize)]
struct Overfitting {
    returns: Vec<Vec<f64>>,
    parts: usize,
    probability: f64,
    sorted_logits: Vec<f64>,
}

#[test]
fn the_probability_of_overfitting_is_that_of_its_definition() {
    for case in fixture::<Vec<Overfitting>>("overfitting") {
        let found = overfitting::probability(&case.returns, case.parts).unwrap();
        check(found.probability, case.probability, ROUNDING);
        let mut logits = found.logits;
        logits.sort_by(f64::total_cmp);
        assert_eq!(logits.len(), case.sorted_logits.len());
        for (got, expected) in logits.iter().zip(case.sorted_logits) {
            check(*got, expected, ROUNDING);
        }
    }
}

#[derive(Deserialize)]
struct Superior {
    lead: Vec<Vec<f64>>,
    mean_length: f64,
    resamples: Vec<Vec<usize>>,
    variance: Vec<f64>,
    plain: [f64; 3],
    studentised: [f64; 3],
}

#[test]
fn superior_ability_agrees_with_arch() {
    let f: Superior = fixture("superior");
    for (k, expected) in f.variance.iter().enumerate() {
        let column: Vec<f64> = f.lead.iter().map(|row| row[k]).collect();
        let variance = superior::long_run_variance(&column, f.mean_length);
        check(variance, *expected, ROUNDING);
    }
    for (studentised, expected) in [(false, f.plain), (true, f.studentised)] {
        let found =
            superior::with_resamples(&f.lead, f.mean_length, studentised, &f.resamples).unwrap();
        assert_eq!([found.lower, found.consistent, found.upper], expected);
    }
}

#[derive(Deserialize)]
struct Forecasts {
    forecast: Vec<f64>,
    happened: Vec<bool>,
    bins: usize,
    score: f64,
    reliability: f64,
    resolution: f64,
    uncertainty: f64,
    within_bins: f64,
    debiased_ece: f64,
}

#[test]
fn the_parts_of_the_brier_score_are_those_of_their_definitions() {
    for case in fixture::<Vec<Forecasts>>("reliability") {
        let parts = reliability::brier_parts(&case.forecast, &case.happened, case.bins);
        check(parts.score, case.score, ROUNDING);
        check(parts.reliability, case.reliability, ROUNDING);
        check(parts.resolution, case.resolution, ROUNDING);
        check(parts.uncertainty, case.uncertainty, ROUNDING);
        check(parts.within_bins, case.within_bins, ROUNDING);
        let bins = metrics::reliability(&case.forecast, &case.happened, case.bins);
        check(
            reliability::debiased_ece(&bins),
            case.debiased_ece,
            ROUNDING,
        );
    }
}

#[derive(Deserialize)]
struct Heated {
    logits: Vec<Vec<f64>>,
    y: Vec<usize>,
    l2: f64,
    temperature: f64,
}

/// A minimum is flat: its place is good to the root of the precision of the
/// function there.
const MINIMUM: f64 = 1e-6;

#[test]
fn the_temperature_agrees_with_scipy() {
    let f: Heated = fixture("temperature");
    let scaling = calibration::fit_temperature(&f.logits, &f.y, f.l2).unwrap();
    check(scaling.temperature, f.temperature, MINIMUM);
}

#[derive(Deserialize)]
struct CrossValidation {
    n: i64,
    groups: usize,
    tested: usize,
    horizon: i64,
    embargo: i64,
    paths: usize,
    folds: Vec<TrainAndTest>,
}

#[derive(Deserialize)]
struct TrainAndTest {
    train: Vec<usize>,
    test: Vec<usize>,
}

#[test]
fn purged_folds_agree_with_skfolio() {
    for case in fixture::<Vec<CrossValidation>>("cross_validation") {
        let spans: Vec<(i64, i64)> = (0..case.n).map(|t| (t, t + case.horizon)).collect();
        // skfolio counts rows left out beyond the purge; here the embargo is the
        // distance from the end of the last label, of which one is the purge's.
        let embargo = case.embargo + 1;
        let folds = combinatorial(&spans, case.groups, case.tested, embargo).unwrap();
        assert_eq!(folds.len(), case.folds.len());
        for (got, expected) in folds.iter().zip(&case.folds) {
            assert_eq!(got.test, expected.test);
            assert_eq!(got.train, expected.train, "tested {:?}", got.groups);
        }
        assert_eq!(paths(&folds, case.groups).len(), case.paths);
    }
}

#[derive(Deserialize)]
struct Betting {
    scores: Vec<f64>,
    clip: f64,
    log_capital: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

#[test]
fn bets_agree_with_confseq() {
    for case in fixture::<Vec<Betting>>("betting") {
        let mut process = EProcess::new(case.clip);
        let mut sequence = ConfidenceSequence::new(-case.clip, case.clip, 0.1, 50);
        for (t, &score) in case.scores.iter().enumerate() {
            process.update(score);
            check(process.log_e(), case.log_capital[t], ROUNDING);
            let interval = sequence.update(score);
            // confseq's ends are means in [0, 1].
            check(
                interval.low,
                case.clip * (2.0 * case.low[t] - 1.0),
                ROUNDING,
            );
            check(
                interval.high,
                case.clip * (2.0 * case.high[t] - 1.0),
                ROUNDING,
            );
        }
    }
}

#[derive(Deserialize)]
struct Comparison {
    differences: Vec<f64>,
    clip: f64,
    low: Vec<f64>,
    high: Vec<f64>,
    log_e: Vec<f64>,
}

/// confseq brackets the boundary to 40 bits; comparecast clips e-values at 1e7.
const BOUNDARY: f64 = 1e-9;

#[test]
fn sequential_comparison_agrees_with_comparecast() {
    for case in fixture::<Vec<Comparison>>("comparison") {
        let found = comparison::sequential(&case.differences, case.clip, 0.05, 10.0);
        for (t, row) in found.iter().enumerate() {
            check(row.interval.low, case.low[t], BOUNDARY);
            check(row.interval.high, case.high[t], BOUNDARY);
            check(row.log_e.min(1e7_f64.ln()), case.log_e[t], BOUNDARY);
        }
    }
}

#[derive(Deserialize)]
struct EBh {
    e_values: Vec<f64>,
    rejected: Vec<usize>,
}

#[test]
fn e_bh_agrees_with_statsmodels_on_inverses() {
    for case in fixture::<Vec<EBh>>("e_bh") {
        assert_eq!(
            e_value::benjamini_hochberg(&case.e_values, 0.1),
            case.rejected
        );
    }
}
