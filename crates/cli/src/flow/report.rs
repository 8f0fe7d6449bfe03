//! Everything a run knows, put into the shape of `report.json` and its page.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dataset::{Dataset, Decision, LabelRule, Split};
use market::Timestamp;
use serde_json::{Value, json};
use serve::class::ByClass;
use serve::evaluation::{ArmDecisions, Evaluation};
use serve::report::{
    Check, Data, DataSpan, Dataset as DatasetSection, FileEntry, HistoryPoint, PageData,
    PriceSeries, Report, SCHEMA, Sample, Splits, Timing, Train, World as WorldSection,
};
use serve::trials::Standing;

use super::arms::Scored;
use super::examples::World;
use super::llama;
use crate::run::{Run, sha256_of};
use crate::settings::Settings;

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Its data set.
    pub(crate) dataset: &'a Dataset,
    /// The truth, for a synthetic world.
    pub(crate) world: Option<&'a World>,
    /// The comparison with llama.cpp, if it was made.
    pub(crate) check: Option<&'a llama::Outcome>,
    /// What the reader should know.
    pub(crate) warnings: &'a [String],
    /// The arms.
    pub(crate) scored: &'a Scored<'a>,
    /// Where the time went.
    pub(crate) timings: Vec<Timing>,
    /// What the adapter is worth beside everything that was tried.
    pub(crate) trials: Option<Standing>,
}

/// Puts a report and its page's data together.
///
/// # Errors
/// When a file of the run cannot be read.
pub(crate) fn assemble(
    settings: &Settings,
    parts: &Parts<'_>,
    evaluation: Evaluation,
    decided: Vec<ArmDecisions>,
    samples: Vec<Sample>,
) -> anyhow::Result<(Report, PageData)> {
    let page = PageData {
        banner: parts.world.map(banner),
        prices: prices(parts.dataset),
        rows: parts.scored.rows.clone(),
        decisions: decided
            .into_iter()
            .map(|arm| (arm.name, arm.decisions))
            .collect(),
        samples,
    };
    let mut warnings = parts.warnings.to_vec();
    warnings.extend(parts.dataset.datasheet.warnings.iter().cloned());
    warnings.extend(peak_warning(parts.run));
    let report = Report {
        schema: SCHEMA,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        created: now(),
        data: data(parts.dataset),
        dataset: dataset_section(settings, parts),
        train: Some(train(settings, parts.run, parts.dataset)?),
        world: parts.world.map(|world| WorldSection {
            name: world.name.clone(),
            rule: world.rule.clone(),
            bayes_accuracy: world.bayes_accuracy,
        }),
        check: parts.check.map(check),
        evaluation,
        trials: parts.trials.clone(),
        warnings,
        files: files(&parts.run.folder)?,
        timings: parts.timings.clone(),
        versions: versions(parts),
    };
    Ok((report, page))
}

fn banner(world: &World) -> String {
    match (&world.rule, world.bayes_accuracy) {
        (Some(rule), Some(best)) => format!(
            "A made-up world, no market: the planted rule is \u{201c}{rule}\u{201d}. Nothing can be right more often than {:.0} %.",
            best * 100.0
        ),
        _ => "A made-up world, no market: prices are a random walk, there is nothing to learn."
            .to_owned(),
    }
}

fn now() -> Option<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    // Whole seconds: nothing here is known more precisely.
    Some(Timestamp(i64::try_from(since.as_secs()).ok()? * 1000))
}

fn data(dataset: &Dataset) -> Data {
    let spans = dataset
        .datasheet
        .instruments
        .iter()
        .map(|(instrument, sheet)| DataSpan {
            instrument: instrument.clone(),
            timeframe: sheet.timeframe,
            bars: sheet.rows,
            from: sheet.first,
            to: sheet.last,
            missing_bars: sheet.missing_bars,
            source: None,
            sha256: Some(sheet.bars_sha256.clone()),
        });
    Data {
        instruments: spans.collect(),
    }
}

fn dataset_section(settings: &Settings, parts: &Parts<'_>) -> DatasetSection {
    let sheet = &parts.dataset.datasheet;
    let part = |split: Split| sheet.splits.get(&split);
    let counts = |split| {
        part(split).map_or_else(ByClass::default, |part| {
            ByClass::from_array(
                Decision::ALL.map(|class| part.classes.get(&class).copied().unwrap_or(0)),
            )
        })
    };
    let effective = |split| part(split).map_or(0.0, |part| part.effective_n);
    let span = |split: Split| {
        let examples = parts.dataset.split(split);
        let (first, last) = (examples.first()?, examples.last()?);
        Some([first.decision_time, last.decision_time])
    };
    let used = &parts.dataset.settings;
    let facts = json!({
        "horizon_hours": used.horizon_hours,
        "embargo_hours": used.embargo() / 3_600_000,
        "decision_stride_bars": used.decision_stride_bars,
        "timeframes": used.timeframes,
        "seed": used.seed,
        "training_examples_per_class": sheet.balance.used_per_class,
        "training_examples_used": parts.run.record.training.examples,
        "calibration_decisions": parts.scored.calibration_decisions,
        "scored_decisions": parts.scored.test.len(),
        "scored_decisions_at_most": settings.evaluate.max_decisions,
        "calibration": parts.scored.arms.iter().filter_map(|arm| {
            let scaling = arm.scaling.as_ref()?;
            Some((arm.decided.name.clone(), json!(scaling)))
        }).collect::<BTreeMap<String, Value>>(),
    });
    DatasetSection {
        counts: by_split(counts),
        effective_n: by_split(effective),
        spans: by_split(span),
        label_rule: label_rule(used.label, used.horizon_hours),
        settings: map(facts),
    }
}

fn by_split<T>(of: impl Fn(Split) -> T) -> Splits<T> {
    Splits {
        train: of(Split::Train),
        validation: of(Split::Validation),
        test: of(Split::Test),
    }
}

fn label_rule(rule: LabelRule, hours: u32) -> String {
    match rule {
        LabelRule::Absolute {
            buy_above,
            sell_below,
        } => format!(
            "BUY above {:+} %, SELL below {:+} % over {hours} h, else HOLD",
            round(buy_above * 100.0),
            round(sell_below * 100.0)
        ),
        LabelRule::Volatility { k, window_bars } => format!(
            "BUY above, SELL below {k} typical moves over {hours} h (volatility of the last {window_bars} bars), else HOLD"
        ),
        LabelRule::TripleBarrier {
            profit_k,
            loss_k,
            window_bars,
        } => format!(
            "first touch within {hours} h: BUY {profit_k} typical moves above, SELL {loss_k} below (volatility of the last {window_bars} bars), HOLD neither"
        ),
        LabelRule::TripleBarrierAbsolute { profit, loss } => format!(
            "first touch within {hours} h: BUY {:+} %, SELL {:+} %, HOLD neither",
            round(profit * 100.0),
            round(-loss * 100.0)
        ),
    }
}

/// Takes the noise of binary fractions off a percentage.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn train(settings: &Settings, run: &Run, dataset: &Dataset) -> anyhow::Result<Train> {
    let training = &run.record.training;
    let mut points: BTreeMap<u64, HistoryPoint> = BTreeMap::new();
    for step in &training.history {
        let point = points.entry(step.step as u64).or_default();
        point.loss = Some(step.loss);
        point.learning_rate = Some(step.learning_rate);
    }
    for found in &training.validations {
        let point = points.entry(found.step as u64).or_default();
        point.validation_loss = Some(found.validation_loss);
        point.validation_decision_accuracy = Some(found.validation_decision_accuracy);
    }
    let mut stated = map(serde_json::to_value(&settings.train)?);
    stated.extend(map(json!({
        "base_model": run.record.model,
        "base_model_sha256": run.record.model_sha256,
        "trained_parameters": training.parameters,
        "examples_seen": training.examples,
        "steps": training.steps,
        "tokens": training.tokens,
        "supervised_tokens": training.supervised_tokens,
    })));
    Ok(Train {
        tokens_per_second: training.tokens_per_second,
        peak_memory_bytes: training.peak_memory_bytes.unwrap_or(0),
        wall_seconds: training.wall_seconds,
        examples_used: examples_used(run, dataset),
        history: points
            .into_iter()
            .map(|(step, point)| HistoryPoint { step, ..point })
            .collect(),
        settings: stated,
    })
}

/// Returns how many distinct examples of the data set were trained on: a
/// training sees every example it may use once before it sees one again. None
/// for a training on something else, such as pairs of answers.
fn examples_used(run: &Run, dataset: &Dataset) -> Option<usize> {
    let training = &run.record.training;
    let available = training.examples_available;
    let most = match run.record.settings.train.max_examples {
        0 => available,
        most => most.min(available),
    };
    (available == dataset.train.len()).then(|| training.examples.min(most))
}

fn peak_warning(run: &Run) -> Option<String> {
    run.record.training.peak_memory_bytes.is_none().then(|| {
        "this system does not tell the peak memory of a process: `train.peak_memory_bytes` is 0"
            .to_owned()
    })
}

fn check(outcome: &llama::Outcome) -> Check {
    Check {
        prompts: outcome.prompts,
        exact: outcome.exact,
        tie: outcome.ties,
        mismatch: outcome.mismatches,
        rule: outcome.rule.replace("`tie`", &outcome.tie.to_string()),
        form_rate: outcome.form_rate,
        client: outcome.client.clone(),
    }
}

/// Closes at the decision times of the test part, one series per instrument.
fn prices(dataset: &Dataset) -> Vec<PriceSeries> {
    let mut series: BTreeMap<_, PriceSeries> = BTreeMap::new();
    for example in &dataset.test {
        let one = series
            .entry(example.instrument.clone())
            .or_insert_with(|| PriceSeries {
                instrument: example.instrument.clone(),
                times: Vec::new(),
                close: Vec::new(),
            });
        one.times.push(example.decision_time.0);
        one.close.push(example.price);
    }
    series.into_values().collect()
}

fn files(folder: &Path) -> anyhow::Result<Vec<FileEntry>> {
    let known = [
        ("manifest.json", "what was trained on what, with digests"),
        ("settings.toml", "the settings it was trained with"),
        ("metrics.jsonl", "loss and speed by step"),
        (
            "adapter/adapter_config.json",
            "the adapter for PEFT: configuration",
        ),
        (
            "adapter/adapter_model.safetensors",
            "the adapter for PEFT: weights",
        ),
        ("adapter.gguf", "the adapter for llama.cpp"),
        ("check.json", "the comparison with llama.cpp"),
        ("decisions.jsonl", "every arm's decisions on the test span"),
        ("dataset/examples.jsonl", "the training examples"),
        ("dataset/validation.jsonl", "the validation examples"),
        ("dataset/test.jsonl", "the test examples"),
        ("dataset/datasheet.md", "what the data set holds"),
    ];
    let mut entries = Vec::new();
    for (path, what) in known {
        let full = folder.join(path);
        let Ok(metadata) = std::fs::metadata(&full) else {
            continue;
        };
        entries.push(FileEntry {
            path: path.to_owned(),
            what: what.to_owned(),
            bytes: metadata.len(),
            sha256: Some(sha256_of(&full)?),
        });
    }
    Ok(entries)
}

fn versions(parts: &Parts<'_>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("foretune".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (
            "system".to_owned(),
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
    ]);
    if let Some(check) = parts.check {
        versions.insert("llama.cpp client".to_owned(), check.client.clone());
    }
    versions
}

fn map(value: Value) -> BTreeMap<String, Value> {
    match value {
        Value::Object(entries) => entries.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}
