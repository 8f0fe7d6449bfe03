//! The ensemble as a whole: what it finds, what it must not find, and what it must not see.

#![allow(clippy::unwrap_used, reason = "what cannot be made fails its test")]

use std::ops::ControlFlow;

use dataset::ensemble::{
    ColumnSource, Ensemble, EnsembleError, EnsembleModel, EnsembleSettings, MemorySource, Row,
    Target, fit,
};
use dataset::{DatasetError, Decision};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BAR: i64 = 900_000;
const HORIZON: i64 = 8;

/// A way to hide an outcome.
type Disguise = fn(f32) -> f32;

/// A world of some instruments: `edge` times the first feature is in each bar's return, and the
/// outcome is the return of the next bars, so labels overlap.
fn world(instruments: u32, bars: i64, edge: f32, seed: u64) -> MemorySource {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = move || -> f32 { (0..4).map(|_| random.random_range(-1.0_f32..1.0)).sum() };
    let mut rows = Vec::new();
    let names = ["signal", "walk", "noise", "gappy", "curve"];
    let mut columns: Vec<Vec<f32>> = vec![Vec::new(); names.len()];
    for instrument in 0..instruments {
        let (mut signal, mut walk) = (0.0_f32, 0.0_f32);
        let mut returns = Vec::new();
        for bar in 0..bars + HORIZON {
            signal = 0.97 * signal + 0.2 * draw();
            walk += draw();
            returns.push(edge * signal + draw());
            if bar < bars {
                columns[0].push(signal);
                columns[1].push(walk);
                columns[2].push(draw());
                columns[3].push(if bar % 5 == 0 {
                    f32::NAN
                } else {
                    signal + 3.0 * draw()
                });
                columns[4].push(signal.abs());
            }
        }
        for bar in 0..bars {
            let ahead = bar as usize + 1..(bar + 1 + HORIZON) as usize;
            rows.push(Row {
                instrument,
                decision: bar * BAR,
                end: (bar + HORIZON) * BAR,
                target: returns[ahead].iter().sum::<f32>() * 1e-3,
                weight: 1.0,
            });
        }
    }
    MemorySource {
        rows,
        target: Target::Return,
        names: names.map(str::to_owned).to_vec(),
        columns,
    }
}

fn settings() -> EnsembleSettings {
    EnsembleSettings {
        folds: 3,
        trees: 30,
        min_leaf_rows: 30.0,
        embargo: 2 * BAR,
        ..Default::default()
    }
}

fn train(source: &MemorySource) -> Ensemble {
    fit(source, &settings(), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn refused(source: &MemorySource) -> EnsembleError {
    match fit(source, &settings(), &mut |_| ControlFlow::Continue(())) {
        Err(DatasetError::Ensemble(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_planted_edge_is_found_and_its_confidence_is_a_frequency() {
    let ensemble = train(&world(4, 6000, 0.25, 1));
    let report = &ensemble.report;
    assert_eq!(report.screening.kept[0].name, "signal");
    let gain = report.brier_gain;
    assert!(gain.interval.low > 0.02, "{gain:?}");
    assert!(
        report.overall.ensemble.accuracy > 0.62,
        "{:?}",
        report.overall
    );
    assert!(report.overall.ensemble.brier < report.overall.majority.brier);
    assert!(report.overall.ensemble.log_loss < report.overall.persistence.log_loss);
    for bin in &report.reliability {
        let distance = (bin.mean_predicted - bin.observed).abs();
        assert!(distance < 0.12, "{bin:?}");
    }
    assert_eq!(report.folds.len(), 3);
    let predicted = ensemble.out_of_fold.iter().flatten().count();
    assert_eq!(predicted + report.first_window_rows, report.rows);
    let sure = ensemble.out_of_fold.iter().flatten();
    assert!(sure.clone().all(|row| row.prediction.confidence() >= 0.5));
    let sides = [Decision::Buy, Decision::Sell];
    assert!(
        sides
            .iter()
            .all(|side| sure.clone().any(|row| row.prediction.side() == *side))
    );
}

#[test]
fn null_worlds_are_at_chance() {
    let mut better = 0;
    for seed in 10..16 {
        let report = train(&world(4, 2000, 0.0, seed)).report;
        better += usize::from(report.brier_gain.interval.low > 0.0);
        let accuracy = report.overall.ensemble.accuracy;
        // About 600 effective rows are scored: three standard deviations are 0.06.
        assert!((accuracy - 0.5).abs() < 0.08, "seed {seed}: {accuracy}");
        assert!(
            report.overall.ensemble.brier < 0.26,
            "seed {seed}: {:?}",
            report.overall
        );
    }
    assert!(
        better <= 1,
        "{better} of 6 useless worlds were found better than their base rate"
    );
}

#[test]
fn a_folds_labels_and_those_after_it_have_no_part_in_its_predictions() {
    let before = world(3, 2000, 0.3, 2);
    let first = train(&before);
    let fold = &first.report.folds[1];
    let mut after = before.clone();
    for row in &mut after.rows {
        // Every label that is known only in the fold or later.
        if row.end >= fold.from {
            row.target = -row.target * 3.0;
        }
    }
    let second = train(&after);
    let mut compared = 0;
    for (row, (a, b)) in first
        .out_of_fold
        .iter()
        .zip(&second.out_of_fold)
        .enumerate()
    {
        if before.rows[row].decision <= fold.to {
            assert_eq!(a, b, "row {row}");
            compared += usize::from(a.is_some_and(|a| a.fold == fold.fold));
        }
    }
    assert_eq!(compared, fold.rows);
    // And the test can fail: the next fold's models saw the labels.
    assert_ne!(first.models[2], second.models[2]);
    assert_eq!(first.models[1], second.models[1]);
}

#[test]
fn features_after_a_fold_have_no_part_in_it_either() {
    let before = world(3, 2000, 0.3, 2);
    let first = train(&before);
    let to = first.report.folds[1].to;
    let mut after = before.clone();
    for column in &mut after.columns {
        for (value, row) in column.iter_mut().zip(&before.rows) {
            *value = if row.decision > to { -77.0 } else { *value };
        }
    }
    let second = train(&after);
    for (row, (a, b)) in before
        .rows
        .iter()
        .zip(first.out_of_fold.iter().zip(&second.out_of_fold))
    {
        assert!(row.decision > to || a == b);
    }
}

#[test]
fn models_know_nothing_that_was_not_over() {
    let source = world(3, 2000, 0.3, 3);
    let ensemble = train(&source);
    for (model, fold) in ensemble.models.iter().zip(&ensemble.report.folds) {
        assert_eq!(model.trained_through, fold.trained_through);
        assert!(fold.trained_through + settings().embargo <= fold.from);
        // The last label that could be used was, or the one before it that was drawn.
        assert!(fold.trained_through > fold.from - 20 * HORIZON * BAR);
        assert!(fold.purged > 0);
    }
    let last = source.rows.iter().map(|row| row.end).max();
    assert!(Some(ensemble.live.trained_through) == last);
    let values = vec![0.0; ensemble.live.features.len()];
    let through = ensemble.live.trained_through;
    for decision in [through - 1, through] {
        let error = ensemble.live.predict(decision, &values).unwrap_err();
        assert_eq!(
            error,
            EnsembleError::FromTheFuture {
                trained_through: through,
                decision
            }
        );
    }
    assert!(ensemble.live.predict(through + 1, &values).is_ok());
    let error = ensemble
        .live
        .predict(through + 1, &values[1..])
        .unwrap_err();
    assert!(matches!(error, EnsembleError::FeatureCount { .. }));
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let source = world(4, 2500, 0.2, 4);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| train(&source))
    };
    let (one, two) = (on(1), on(2));
    assert_eq!(one, two);
    let directory = tempfile::tempdir().unwrap();
    let write = |ensemble: &Ensemble, name: &str| {
        let files = ensemble.save(&directory.path().join(name)).unwrap();
        let bytes = files.iter().map(|(path, _)| std::fs::read(path).unwrap());
        let report = std::fs::read(directory.path().join(name).join("report.json")).unwrap();
        bytes.chain([report]).collect::<Vec<_>>()
    };
    assert_eq!(write(&one, "one"), write(&two, "two"));
}

#[test]
fn a_loaded_model_predicts_the_same_bits() {
    let source = world(3, 2000, 0.3, 5);
    let ensemble = train(&source);
    let directory = tempfile::tempdir().unwrap();
    let files = ensemble.save(directory.path()).unwrap();
    assert_eq!(files.len(), 4);
    let mut checked = 0;
    for (path, digest) in &files {
        let model = EnsembleModel::load(path).unwrap();
        assert_eq!(&model.digest(), digest);
        let columns: Vec<&Vec<f32>> = model
            .features
            .iter()
            .map(|name| &source.columns[source.names.iter().position(|n| n == name).unwrap()])
            .collect();
        for (row, out) in ensemble.out_of_fold.iter().enumerate() {
            let Some(out) = out.filter(|out| Some(out.fold) == model.fold) else {
                continue;
            };
            let values: Vec<f32> = columns.iter().map(|column| column[row]).collect();
            let prediction = model.predict(source.rows[row].decision, &values).unwrap();
            assert_eq!(prediction, out.prediction);
            checked += 1;
        }
    }
    assert_eq!(checked, ensemble.out_of_fold.iter().flatten().count());
    // An ensemble of fewer folds leaves no file of an older one behind.
    let mut fewer = ensemble;
    fewer.models.pop();
    fewer.save(directory.path()).unwrap();
    assert!(!directory.path().join("fold-3.json").exists());
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let source = world(2, 1500, 0.3, 6);
    let mut ensemble = train(&source);
    ensemble.live.features.truncate(5);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.json");
    ensemble.live.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(EnsembleModel::parse(&bytes).is_ok());
    for length in (0..bytes.len() - 2).step_by(97) {
        assert!(EnsembleModel::parse(&bytes[..length]).is_err(), "{length}");
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    for _ in 0..400 {
        let mut other = bytes.clone();
        let at = random.random_range(0..other.len() as u64) as usize;
        other[at] = random.random_range(0_u8..=255);
        // What still reads has the numbers that were written.
        if let Ok(model) = EnsembleModel::parse(&other) {
            assert_eq!(model, ensemble.live);
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let error = |text: &str| EnsembleModel::parse(text.as_bytes()).unwrap_err();
    assert!(error(&text.replace("foretune-ensemble", "pickle")).contains("pickle"));
    assert!(error(&text.replace("\"schema\":1", "\"schema\":2")).contains("layout 2"));
    let through = format!("\"trained_through\":{}", ensemble.live.trained_through);
    assert!(text.contains(&through));
    let earlier = text.replace(&through, "\"trained_through\":5");
    assert!(error(&earlier).contains("altered"));
    assert!(error(&text.replacen("\"left\":[1,", "\"left\":[0,", 1)).contains("children"));
    assert!(error(&text.replacen("\"left\":[1,", "\"left\":[4000000000,", 1)).contains("children"));
    assert!(error(&text.replacen("\"feature\":[", "\"feature\":[99,", 1)).contains("one length"));
    let error = EnsembleModel::load(&directory.path().join("none.json")).unwrap_err();
    assert!(matches!(error, DatasetError::Io { .. }));
    std::fs::write(&path, b"[[[[").unwrap();
    let error = EnsembleModel::load(&path).unwrap_err();
    assert!(error.to_string().contains("model.json"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn outcomes_among_the_features_are_refused_by_name_and_by_correlation() {
    let base = world(3, 1500, 0.1, 7);
    for name in ["target_return_5", "Future_high", "label", "fwd_ret", "y"] {
        let mut source = base.clone();
        source.names[2] = name.to_owned();
        let error = refused(&source);
        assert!(matches!(&error, EnsembleError::OutcomeByName { column, .. } if column == name));
        assert!(error.hint().unwrap().contains(name));
    }
    // In another unit, bent, with holes, or only its side.
    let disguises: [(&str, Disguise); 4] = [
        ("scaled", |r| -250.0 * r + 3.0),
        ("bent", |r| (r * 300.0).exp()),
        ("gaps", |r| if r.to_bits() % 3 == 0 { f32::NAN } else { r }),
        ("side", |r| f32::from(u8::from(r > 0.0))),
    ];
    for (name, disguise) in disguises {
        let mut source = base.clone();
        source.names[2] = name.to_owned();
        source.columns[2] = source.rows.iter().map(|row| disguise(row.target)).collect();
        let error = refused(&source);
        let found = matches!(
            &error,
            EnsembleError::OutcomeByCorrelation { column, .. } if column == name
        );
        assert!(found, "{name}: {error}");
    }
    let mut source = base.clone();
    source.names[1] = "signal".to_owned();
    assert!(matches!(
        refused(&source),
        EnsembleError::DuplicateColumn { .. }
    ));
}

#[test]
fn columns_that_say_nothing_are_listed_and_infinite_values_counted() {
    let mut source = world(3, 1500, 0.2, 8);
    let n = source.rows.len();
    let mut add = |name: &str, column: Vec<f32>| {
        source.names.push(name.to_owned());
        source.columns.push(column);
    };
    add("empty", vec![f32::NAN; n]);
    add("level", vec![4.0; n]);
    add(
        "same",
        world(3, 1500, 0.2, 8).columns[0]
            .iter()
            .map(|v| v * 2.0 + 1.0)
            .collect(),
    );
    source.columns[2][7] = f32::INFINITY;
    source.columns[2][n - 1] = f32::NEG_INFINITY;
    let screening = train(&source).report.screening;
    assert_eq!(screening.missing, ["empty"]);
    assert_eq!(screening.constant, ["level"]);
    assert_eq!(screening.alike, 1);
    assert_eq!(screening.infinite, [("noise".to_owned(), 2)]);
    assert_eq!(screening.kept.len(), 5);
    assert_eq!(screening.offered, 8);
    for column in &mut source.columns {
        column.fill(1.0);
    }
    assert!(matches!(
        refused(&source),
        EnsembleError::NoFeature { constant: 8, .. }
    ));
}

#[test]
fn labels_and_unknown_outcomes_are_taken() {
    let mut source = world(3, 1500, 0.4, 9);
    source.target = Target::Label;
    for (place, row) in source.rows.iter_mut().enumerate() {
        row.target = match place % 50 {
            0 => f32::NAN,
            _ => f32::from(u8::from(row.target > 0.0)),
        };
    }
    let ensemble = train(&source);
    assert_eq!(
        ensemble.report.labelled,
        source.rows.len() - source.rows.len() / 50
    );
    let overall = ensemble.report.overall;
    assert!(overall.ensemble.accuracy > 0.6, "{overall:?}");
    // Rows without an outcome are predicted too.
    let late = source.rows.iter().zip(&ensemble.out_of_fold).rev();
    assert!(
        late.filter(|(row, _)| row.target.is_nan())
            .any(|(_, out)| out.is_some())
    );
}

#[test]
fn rows_that_cannot_be_used_are_named() {
    let base = world(1, 1500, 0.1, 1);
    let check = |change: &dyn Fn(&mut Row), what: &str| {
        let mut source = base.clone();
        change(&mut source.rows[17]);
        let error = refused(&source);
        assert!(
            matches!(error, EnsembleError::BadRow { row: 17, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(what), "{error}");
    };
    check(&|row| row.end = row.decision - 1, "before the decision");
    check(&|row| row.weight = -1.0, "weight");
    check(&|row| row.weight = f32::NAN, "weight");
    check(&|row| row.target = f32::INFINITY, "outcome");
    check(&|row| row.end = i64::MAX, "milliseconds");
    check(&|row| row.decision -= BAR, "another row");
    let mut source = base.clone();
    source.target = Target::Label;
    assert!(refused(&source).to_string().contains("0 or 1"));
    source.rows.clear();
    assert!(matches!(
        refused(&source),
        EnsembleError::RowCount { rows: 0 }
    ));
    let mut source = base;
    source.columns[0].pop();
    assert!(refused(&source).to_string().contains("signal"));
}

#[test]
fn it_can_be_stopped() {
    let source = world(2, 1500, 0.1, 1);
    let mut steps = 0;
    let stopped = fit(&source, &settings(), &mut |_| {
        steps += 1;
        match steps {
            7 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(stopped, Err(DatasetError::Interrupted)));
    assert_eq!(steps, 7);
    assert_eq!(source.features().len(), 5);
}
