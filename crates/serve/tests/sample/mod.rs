//! A made-up report: noise from fixed formulas, marked SAMPLE, for looking at the page.

use std::collections::BTreeMap;

use market::{Instrument, Timestamp};
use serde_json::json;
use serve::class::{self, ByClass};
use serve::evaluation::{self, ArmDecisions, Row, Settings};
use serve::report::{
    Check, Data, DataSpan, Dataset, FileEntry, HistoryPoint, PageData, PriceSeries, Report, SCHEMA,
    Sample, Splits, Timing, Train, World,
};

const HOUR: i64 = 3_600_000;
/// 2019-03-10T00:00:00Z.
const START: i64 = 1_552_176_000_000;
const HORIZON: usize = 12;
/// Hours between decisions.
const STRIDE: usize = 3;

/// Deterministic noise in 0..1.
pub(crate) fn noise(i: usize, salt: u64) -> f64 {
    let mut x =
        (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn walk(hours: usize, start: f64, volatility: f64, salt: u64) -> Vec<f64> {
    let mut log_price = start.ln();
    (0..hours)
        .map(|i| {
            let shock: f64 = (0..4).map(|k| noise(i * 4 + k, salt) - 0.5).sum::<f64>() * 1.7;
            let calm = 0.6 + 0.8 * ((i as f64 / 900.0).sin().powi(2));
            log_price += shock * volatility * calm;
            log_price.exp()
        })
        .collect()
}

/// Rows and prices of two instruments over `hours`.
fn market_rows(hours: usize) -> (Vec<Row>, Vec<PriceSeries>) {
    let mut rows = Vec::new();
    let mut prices = Vec::new();
    for (name, start, volatility, threshold, salt) in [
        ("BTC/USD", 3_920.0, 0.0065, 0.02, 11),
        ("EUR/USD", 1.1235, 0.0011, 0.0035, 12),
    ] {
        let instrument = Instrument::new(name).unwrap();
        let close = walk(hours + HORIZON, start, volatility, salt);
        let times: Vec<i64> = (0..hours).map(|i| START + i as i64 * HOUR).collect();
        for i in (0..hours).step_by(STRIDE) {
            let outcome_return = close[i + HORIZON] / close[i] - 1.0;
            let label = if outcome_return > threshold {
                class::BUY
            } else if outcome_return < -threshold {
                class::SELL
            } else {
                class::HOLD
            };
            rows.push(Row {
                instrument: instrument.clone(),
                decision_time: Timestamp(times[i]),
                price: close[i],
                label,
                outcome_return,
            });
        }
        prices.push(PriceSeries {
            instrument,
            close: close[..hours].to_vec(),
            times,
        });
    }
    (rows, prices)
}

/// An arm that knows the label in a share `skill` of the rows and is as sure as `sure`.
fn arm(name: &str, rows: &[Row], skill: f64, sure: f64, salt: u64) -> ArmDecisions {
    let mut probabilities = Vec::new();
    let mut decisions = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        // Decisions persist for a few rows, as a model's do on slowly moving inputs.
        let guess = match noise(i / 4, salt) {
            u if u < 0.17 => class::BUY,
            u if u < 0.33 => class::SELL,
            _ => class::HOLD,
        };
        let decision = if noise(i, salt + 1) < skill {
            row.label
        } else {
            guess
        };
        let top = (0.36 + sure * noise(i, salt + 2)).min(0.98);
        let rest = noise(i, salt + 3) * 0.4 + 0.3;
        let mut p = [0.0; class::COUNT];
        p[decision] = top;
        p[(decision + 1) % 3] = (1.0 - top) * rest;
        p[(decision + 2) % 3] = (1.0 - top) * (1.0 - rest);
        decisions.push(decision);
        probabilities.push(p);
    }
    ArmDecisions {
        name: name.to_owned(),
        raw_decisions: (name == "adapter" || name == "base").then(|| {
            (0..rows.len())
                .map(|i| (noise(i, salt + 4) * 3.0) as usize)
                .collect()
        }),
        decisions,
        probabilities: Some(probabilities),
    }
}

/// Answers HOLD but for a few rows, on which it is right as often as HOLD is.
fn unskilled(rows: &[Row]) -> Vec<usize> {
    let decide = |(i, row): (usize, &Row)| match (noise(i, 90) < 0.04, noise(i, 91) < 0.66) {
        (false, _) => class::HOLD,
        (true, true) => row.label,
        (true, false) => (row.label + 1) % class::COUNT,
    };
    rows.iter().enumerate().map(decide).collect()
}

/// A report and its page data. `skill` is the share of rows the adapter knows;
/// at zero it is as good as the majority class.
pub(crate) fn report(skill: f64, world: Option<World>) -> (Report, PageData) {
    let (rows, prices) = market_rows(24 * 190);
    let mut majority = arm("majority", &rows, 0.0, 0.0, 50);
    majority.decisions = vec![class::HOLD; rows.len()];
    majority.probabilities = Some(vec![[0.19, 0.18, 0.63]; rows.len()]);
    let mut adapter = arm("adapter", &rows, skill, 0.45, 30);
    if skill == 0.0 {
        adapter.decisions = unskilled(&rows);
    }
    let arms = [
        arm("base", &rows, 0.0, 0.35, 20),
        adapter,
        majority,
        arm("persistence", &rows, 0.05, 0.2, 60),
        arm("logistic", &rows, 0.12, 0.4, 70),
    ];
    let settings = Settings {
        replicates: 400,
        bayes_accuracy: world.as_ref().and_then(|w| w.bayes_accuracy),
        calibration_decisions: 800,
        ..Settings::default()
    };
    let evaluation = evaluation::evaluate(&rows, &arms, &settings).unwrap();
    let span =
        |from: i64, to: i64| Some([Timestamp(START + from * HOUR), Timestamp(START + to * HOUR)]);
    let labels: Vec<usize> = rows.iter().map(|row| row.label).collect();
    let report = Report {
        schema: SCHEMA,
        command: "foretune quickstart --data examples/data --seed 7".to_owned(),
        created: Some(Timestamp(START + 300 * 24 * HOUR)),
        data: data(),
        dataset: Dataset {
            counts: Splits {
                train: ByClass::from_array([1000, 1000, 1000]),
                validation: ByClass::from_array([148, 131, 521]),
                test: ByClass::count(&labels),
            },
            effective_n: Splits { train: 612.0, validation: 141.0, test: 388.0 },
            spans: Splits {
                train: span(-14_000, -2_400),
                validation: span(-2_300, -60),
                test: span(0, 24 * 190),
            },
            label_rule: "return over the next 12 hours; BUY above +2 %, SELL below -2 %, HOLD between.".to_owned(),
            settings: BTreeMap::from([
                ("calibration".to_owned(), json!({
                    "adapter": {"temperature": 1.834_561_234_567_89, "bias": [-0.512_345_678_9, -0.401_234_567_8, 0.913_580_246_7]},
                    "base": {"temperature": 100.0, "bias": [-0.412_345_678_9, -0.471_234_567_8, 0.883_580_246_7]},
                })),
                ("embargo".to_owned(), json!("24 h")),
                ("horizon".to_owned(), json!("12 h")),
                ("template".to_owned(), json!("decision-v1")),
            ]),
        },
        train: Some(train()),
        world,
        check: Some(Check {
            prompts: 16,
            exact: 15,
            tie: 1,
            mismatch: 0,
            rule: "answers must be equal token by token until the two best tokens of either engine are within 0.01 nats".to_owned(),
            form_rate: 1.0,
            client: "llama.cpp (SAMPLE)".to_owned(),
        }),
        evaluation,
        trials: None,
        warnings: vec![
            "BTC/USD: 9 gaps, 31 candles missing; no example looks across a gap.".to_owned(),
            "EUR/USD has 6,225 candles only: its classes are short in training.".to_owned(),
        ],
        files: ["report.json", "adapter/adapter_model.safetensors", "adapter.gguf"]
            .into_iter()
            .enumerate()
            .map(|(i, path)| FileEntry {
                path: path.to_owned(),
                what: ["the numbers of this page", "adapter, PEFT layout", "adapter for llama.cpp"][i].to_owned(),
                bytes: [48_211, 1_853_000, 1_849_120][i],
                sha256: Some("5a".repeat(32)),
            })
            .collect(),
        timings: [("read candles", 0.4), ("make examples", 3.1), ("train", 331.0), ("export and check", 25.0), ("evaluate", 140.0)]
            .map(|(stage, seconds)| Timing { stage: stage.to_owned(), seconds })
            .to_vec(),
        versions: BTreeMap::from([
            ("base model".to_owned(), "SmolLM2-135M-Instruct Q4_1".to_owned()),
            ("foretune".to_owned(), "0.1.0".to_owned()),
        ]),
    };
    let page = page_data(&rows, prices, &arms);
    (report, page)
}

fn data() -> Data {
    let entry = |name: &str, bars: usize, missing_bars: usize| DataSpan {
        instrument: Instrument::new(name).unwrap(),
        timeframe: "1h".parse().unwrap(),
        bars,
        from: Timestamp(START - 14_400 * HOUR),
        to: Timestamp(START + 24 * 190 * HOUR),
        missing_bars,
        source: Some("SAMPLE: made up by a formula".to_owned()),
        sha256: Some("c3".repeat(32)),
    };
    Data {
        instruments: vec![entry("BTC/USD", 20_111, 31), entry("EUR/USD", 6_225, 0)],
    }
}

fn train() -> Train {
    let history = (0..=375_u64)
        .map(|step| {
            let s = step as f64;
            let measured = step % 50 == 0 || step == 375;
            HistoryPoint {
                step,
                loss: (step > 0).then(|| {
                    0.42 + 2.1 * (-s / 30.0).exp() + 0.16 * (noise(step as usize, 80) - 0.5)
                }),
                learning_rate: Some(1e-3 * (1.0 - s / 375.0)),
                validation_loss: measured.then(|| 0.47 + 2.0 * (-s / 31.0).exp() + s * 1e-4),
                validation_decision_accuracy: measured.then(|| {
                    0.36 + 0.2 * (1.0 - (-s / 120.0).exp()) + 0.02 * noise(step as usize, 81)
                }),
            }
        })
        .collect();
    Train {
        tokens_per_second: 1_177.0,
        peak_memory_bytes: 1_240_000_000,
        wall_seconds: 331.0,
        examples_used: Some(208),
        history,
        settings: BTreeMap::from([
            ("alpha".to_owned(), json!(16)),
            ("batch".to_owned(), json!(8)),
            ("dropout".to_owned(), json!(0.05)),
            ("learning_rate".to_owned(), json!(1e-3)),
            ("rank".to_owned(), json!(8)),
            ("targets".to_owned(), json!(["q_proj", "v_proj"])),
        ]),
    }
}

fn page_data(rows: &[Row], prices: Vec<PriceSeries>, arms: &[ArmDecisions]) -> PageData {
    let samples = [3, 40, 77, 1210]
        .into_iter()
        .map(|i| Sample {
            instrument: rows[i].instrument.clone(),
            decision_time: rows[i].decision_time,
            prompt: format!(
                "Asset: {}\nPrice: {:.4}\n24h change: +1.8 %\nRSI(14): 28.3 (oversold)\nMACD: -12.4, signal -9.9 (below)\nEMA(9/21/50/200): 3,912 / 3,930 / 3,951 / 3,870\nFear & Greed: 38 (fear)\n\nDecide: BUY, SELL or HOLD.",
                rows[i].instrument, rows[i].price
            ),
            label: rows[i].label,
            base: Some("I'm not able to give financial advice, but here are some things to consider...".to_owned()),
            adapter: Some(format!(
                "DECISION: {} - RSI at 28.3 is oversold while price holds above EMA(200).",
                class::name(arms[1].decisions[i])
            )),
        })
        .collect();
    PageData {
        banner: Some("SAMPLE \u{2013} every number on this page is made up".to_owned()),
        prices,
        rows: rows.to_vec(),
        decisions: arms
            .iter()
            .map(|arm| (arm.name.clone(), arm.decisions.clone()))
            .collect(),
        samples,
    }
}
