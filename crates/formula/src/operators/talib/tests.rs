use super::OPERATORS;
use crate::Profile;
use crate::engine::Input;
use crate::operators::{Call, Computation, Kind, Operator};

const LANES: usize = 8;

/// Runs an operator over columns that are the same in all lanes.
fn run(operator: &Operator, constants: &[f64], columns: &[&[f64]]) -> Vec<f64> {
    let Computation::Kernel { make, .. } = operator.computation else {
        panic!("{} has no kernel", operator.name);
    };
    let mut kernel = make(&Call {
        constants,
        profile: &Profile::TALIB,
        lanes: LANES,
        instruments: &[],
    });
    let wide: Vec<Vec<f64>> = columns
        .iter()
        .map(|column| column.iter().flat_map(|&value| [value; LANES]).collect())
        .collect();
    let inputs: Vec<Input<'_>> = wide.iter().map(|column| Input::Rows(column)).collect();
    let mut output = vec![0.0; wide[0].len()];
    kernel.run(&inputs, &mut output);
    output.into_iter().step_by(LANES).collect()
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

fn named(name: &str) -> &'static Operator {
    let found = OPERATORS.iter().find(|operator| operator.name == name);
    found.unwrap_or_else(|| panic!("no operator {name}"))
}

/// A wavy positive series; `shift` makes different ones.
fn wave(rows: usize, shift: f64) -> Vec<f64> {
    (0..rows)
        .map(|row| 100.0 + 9.0 * (row as f64 * 0.37 + shift).sin() + ((row * row) % 17) as f64)
        .collect()
}

/// Constants that suit every parameter list of the table.
fn constants(operator: &Operator) -> Vec<f64> {
    let mut windows = [5.0, 9.0].into_iter().cycle();
    let wanted = operator.parameters.iter();
    wanted
        .filter_map(|parameter| match parameter.kind {
            Kind::Window => windows.next(),
            Kind::Constant => Some(parameter.default.unwrap_or(0.2)),
            _ => None,
        })
        .collect()
}

fn columns(operator: &Operator, rows: usize) -> Vec<Vec<f64>> {
    let wanted = operator.parameters.iter();
    wanted
        .filter_map(|parameter| match parameter.name {
            "low" | "lower" => Some(wave(rows, 0.0).iter().map(|x| x - 3.0).collect()),
            "high" | "upper" => Some(wave(rows, 0.0).iter().map(|x| x + 3.0).collect()),
            "weight" if parameter.kind == Kind::Values => Some(vec![0.25; rows]),
            "condition" => Some((0..rows).map(|row| f64::from(row % 3 != 0)).collect()),
            _ => (parameter.kind == Kind::Values).then(|| wave(rows, 1.0)),
        })
        .collect()
}

#[test]
fn every_operator_begins_anew_after_an_unknown_value_and_keeps_its_warm_up() {
    for operator in OPERATORS {
        let constants = constants(operator);
        let whole = columns(operator, 160);
        let fresh: Vec<Vec<f64>> = whole.iter().map(|column| column[60..].to_vec()).collect();
        let mut broken = whole.clone();
        for column in &mut broken {
            column[59] = f64::NAN;
        }
        let expected = run(operator, &constants, &slices(&fresh));
        let got = run(operator, &constants, &slices(&broken));
        assert!(got[59].is_nan(), "{}", operator.name);
        for (row, (got, expected)) in got[60..].iter().zip(&expected).enumerate() {
            assert_eq!(got.to_bits(), expected.to_bits(), "{} {row}", operator.name);
        }
        let Computation::Kernel { warm_up, .. } = operator.computation else {
            panic!("{} has no kernel", operator.name);
        };
        let stated = warm_up(&Call {
            constants: &constants,
            profile: &Profile::TALIB,
            lanes: LANES,
            instruments: &[],
        });
        let first = expected.iter().position(|value| !value.is_nan());
        assert_eq!(first, Some(stated), "{}", operator.name);
    }
}

#[test]
fn averages_start_as_stated() {
    let x: Vec<f64> = vec![1.0, 2.0, 6.0, 4.0, 8.0];
    let from = run(named("ts_ewm_from"), &[0.5, 2.0, 3.0], &[&x]);
    assert_eq!(from[2..], [4.0, 4.0, 6.0]);
    let sum = run(named("ts_wilder_sum"), &[3.0, 0.0], &[&x]);
    // 1 + 2, then 3 - 1 + 6, then 8 - 8/3 + 4.
    assert_eq!(sum[1..4], [3.0, 8.0, 8.0 - 8.0 / 3.0 + 4.0]);
    let quiet = run(named("ts_wilder_sum"), &[3.0, 1.0], &[&x]);
    assert!(quiet[1].is_nan() && quiet[2] == 8.0);
    let held = vec![1.0, 0.0, 1.0, 0.0, 1.0];
    let sampled = run(named("ts_wilder_if"), &[2.0], &[&x, &held]);
    assert_eq!(sampled[1..], [0.5, 3.25, 3.25, 5.625]);
    let weights = vec![f64::NAN, f64::NAN, 0.5, 0.5, 0.25];
    let adaptive = run(named("ts_adaptive"), &[], &[&x, &weights]);
    assert_eq!(adaptive[2..], [4.0, 4.0, 5.0]);
}

#[test]
fn ties_and_ranks_are_those_of_talib() {
    let x = vec![5.0, 4.0, 4.0, 3.0, 4.0, 2.0];
    let rows = run(named("ts_max_row"), &[3.0], &[&x]);
    // When the largest leaves, the oldest of its equals counts.
    assert_eq!(rows[2..], [0.0, 1.0, 2.0, 4.0]);
    let rows = run(named("ts_max_row"), &[3.0], &[&[1.0, 4.0, 2.0, 4.0]]);
    // A new value that equals the largest takes its place.
    assert_eq!(rows[2..], [1.0, 3.0]);
    let rows = run(named("ts_min_row"), &[3.0], &[&x]);
    assert_eq!(rows[2..], [1.0, 3.0, 3.0, 5.0]);
    let below = run(named("ts_count_below"), &[2.0], &[&x]);
    assert_eq!(below[2..], [0.0, 0.0, 1.0, 0.0]);
    let median = run(named("ts_percentile"), &[4.0, 50.0], &[&x]);
    assert_eq!(median[3..], [4.0, 4.0, 3.0]);
    let lengths = vec![9.0, 9.0, 2.9, 0.0, 2.0, 3.0];
    let mean = run(named("ts_mean_by"), &[1.0, 3.0], &[&x, &lengths]);
    assert_eq!(mean[2..], [4.0, 3.0, 3.5, 3.0]);
}

#[test]
fn a_parabolic_stop_reverses_at_the_extreme() {
    // Rises, then falls through the stop.
    let high = vec![10.0, 11.0, 12.0, 12.5, 9.0, 8.0];
    let low = vec![9.0, 10.0, 11.0, 11.5, 8.0, 7.0];
    let stop = run(named("ts_sar"), &[0.02, 0.2], &[&high, &low]);
    // Long from the first low; reversal shows the highest high of the trade.
    assert_eq!(stop[1], 9.0);
    assert_eq!(stop[4], 12.5);
    let system = [0.0, 0.0, 0.02, 0.02, 0.2, 0.02, 0.02, 0.2];
    let signed = run(named("ts_sar_signed"), &system, &[&high, &low]);
    assert_eq!((signed[1], signed[4]), (9.0, -12.5));
}

#[test]
fn the_cycle_of_a_sine_is_found() {
    let x: Vec<f64> = (0..400)
        .map(|row| 100.0 + 5.0 * (row as f64 * std::f64::consts::TAU / 20.0).sin())
        .collect();
    let period = run(named("ts_cycle_period"), &[], &[&x]);
    assert!((period[399] - 20.0).abs() < 0.5, "{}", period[399]);
    let phase = run(named("ts_cycle_phase"), &[], &[&x]);
    // One bar is 18 degrees.
    let step = (phase[399] - phase[398]).rem_euclid(360.0);
    assert!((step - 18.0).abs() < 3.0, "{step}");
}
