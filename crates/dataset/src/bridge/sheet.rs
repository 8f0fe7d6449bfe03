//! What a bridge's files hold: `datasheet.json`.

use std::collections::BTreeMap;

use market::{Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use super::pool::History;
use super::sources::JoinedSource;
use super::table::Source;
use super::{BridgeExample, BridgePair, BridgeSettings, Kind};
use crate::ensemble::{EnsembleReport, EnsembleSettings};

/// The version of the layout.
pub(crate) const SCHEMA: u32 = 1;

/// What became of one pair's rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairCounts {
    /// Rows of the training part.
    pub rows: usize,
    /// Infinite values, taken as unknown.
    pub infinite: u64,
    /// Rows that could become examples.
    pub candidates: usize,
    /// Examples made, by kind.
    pub made: BTreeMap<Kind, usize>,
}

/// One kind of example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindSheet {
    /// Examples.
    pub n: usize,
    /// Their summed uniqueness among the candidate rows.
    pub effective_n: f64,
    /// Right answers.
    pub labels: BTreeMap<String, usize>,
    /// First decision.
    pub first: Timestamp,
    /// Last end of an outcome.
    pub last: Timestamp,
}

/// How certainty was calibrated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSheet {
    /// What the certainty is.
    pub definition: String,
    /// Rows whose outcomes fed it.
    pub sampled: usize,
    /// Rows judged by an earlier calibration.
    pub judged: usize,
    /// Mean squared error of the calibrated certainty.
    pub brier_calibrated: f64,
    /// Of the raw certainty.
    pub brier_raw: f64,
    /// Of the rate of payment until then.
    pub brier_rate: f64,
    /// Share of conformal sets that missed the direction; aimed at 0.2.
    pub conformal_miss_rate: f64,
    /// By tenths of certainty: mean certainty, share that paid, rows.
    pub reliability: Vec<(f64, f64, usize)>,
}

/// What a bridge holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSheet {
    /// The version of this layout.
    pub schema: u32,
    /// The span of a bar.
    pub timeframe: Timeframe,
    /// Bars ahead of an outcome.
    pub horizon_bars: usize,
    /// Instruments.
    pub pairs: usize,
    /// Feature columns of the package.
    pub features: usize,
    /// Rows of the package, all parts.
    pub rows: u64,
    /// The columns shown, with their titles.
    pub shown: BTreeMap<String, String>,
    /// Whose signal is judged.
    pub signal: String,
    /// The ensemble's report, fold by fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<serde_json::Value>,
    /// The ensemble's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble_settings: Option<EnsembleSettings>,
    /// How certainty was calibrated.
    pub calibration: CalibrationSheet,
    /// Training examples by kind.
    pub kinds: BTreeMap<Kind, KindSheet>,
    /// Held-out scenarios: `validation`, `test`.
    pub held_out: BTreeMap<String, KindSheet>,
    /// Pairs and what became of their rows.
    pub instruments: BTreeMap<String, PairCounts>,
    /// Formula questions that go with them.
    #[serde(default)]
    pub formulas: usize,
    /// Further sources, joined as they are.
    #[serde(default)]
    pub sources: Vec<JoinedSource>,
    /// The share of answers that say nearly the same as an earlier one of their kind.
    #[serde(default)]
    pub near_duplicates: BTreeMap<String, f64>,
    /// What the leak audit said: counts of its checks, or `skipped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// What deserves to be known.
    pub notes: Vec<String>,
}

impl BridgeSheet {
    #[expect(
        clippy::too_many_arguments,
        reason = "it is the sum of the whole build"
    )]
    pub(crate) fn new(
        source: &Source,
        settings: &BridgeSettings,
        ensemble_settings: &EnsembleSettings,
        history: &History,
        ensemble: Option<&EnsembleReport>,
        examples: &BTreeMap<Kind, Vec<BridgeExample>>,
        pairs: &[BridgePair],
        held_out: &[Vec<BridgeExample>; 2],
        instruments: BTreeMap<String, PairCounts>,
    ) -> Self {
        let mut kinds: BTreeMap<Kind, KindSheet> = examples
            .iter()
            .filter_map(|(kind, examples)| Some((*kind, sheet(examples.iter().map(|e| &e.about))?)))
            .collect();
        if let Some(sheet) = sheet(pairs.iter().map(|pair| &pair.about)) {
            kinds.insert(Kind::Preference, sheet);
        }
        let mut notes = source.notes.clone();
        notes.extend(shortfalls(&instruments, settings));
        let infinite: u64 = instruments.values().map(|counts| counts.infinite).sum();
        if infinite > 0 {
            notes.push(format!("{infinite} infinite values are taken as unknown"));
        }
        if settings.index_order {
            notes.push(
                "tables without a time column are taken in the order of their rows, whose numbers \
                 stand for times: pairs may not really be cut at the same instants"
                    .to_owned(),
            );
        }
        let [calibrated, raw, rate] = history.brier;
        let [confidence, win_rate, factors] = super::CERTAINTY_WEIGHTS;
        Self {
            schema: SCHEMA,
            timeframe: source.timeframe,
            horizon_bars: settings.horizon_bars,
            pairs: source.package.pairs.len(),
            features: source.features.len(),
            rows: source.package.rows(),
            shown: source
                .keys
                .iter()
                .map(|key| (key.column.clone(), key.title.clone()))
                .collect(),
            signal: if source.by_columns {
                "the package's columns, declared out-of-fold".to_owned()
            } else {
                "the ensemble, out-of-fold by purged walk-forward".to_owned()
            },
            ensemble_settings: ensemble.is_some().then(|| ensemble_settings.clone()),
            ensemble: ensemble.and_then(|report| serde_json::to_value(report).ok()),
            calibration: CalibrationSheet {
                definition: format!(
                    "the share of signals that paid after costs among those with a like raw score \
                     {confidence} x confidence + {win_rate} x analogue win rate + {factors} x \
                     agreement of leaning factors (isotonic over 12 groups, pulled to the overall \
                     rate by 20 rows), from outcomes that had matured by then"
                ),
                sampled: history.sampled,
                judged: history.judged,
                brier_calibrated: calibrated,
                brier_raw: raw,
                brier_rate: rate,
                conformal_miss_rate: history.miss_rate,
                reliability: history.reliability.clone(),
            },
            kinds,
            held_out: ["validation", "test"]
                .into_iter()
                .zip(held_out)
                .filter_map(|(name, examples)| {
                    Some((name.to_owned(), sheet(examples.iter().map(|e| &e.about))?))
                })
                .collect(),
            instruments,
            formulas: 0,
            sources: Vec::new(),
            near_duplicates: BTreeMap::new(),
            audit: None,
            notes,
        }
    }

    /// Returns the training examples from market data.
    pub fn from_market(&self) -> usize {
        self.kinds.values().map(|kind| kind.n).sum()
    }

    /// Returns all training examples: from market data, about formulas, and joined.
    pub fn total(&self) -> usize {
        let joined: usize = self.sources.iter().map(|source| source.kept).sum();
        self.from_market() + self.formulas + joined
    }
}

fn sheet<'a>(examples: impl Iterator<Item = &'a super::About>) -> Option<KindSheet> {
    let mut sheet: Option<KindSheet> = None;
    for about in examples {
        let sheet = sheet.get_or_insert_with(|| KindSheet {
            n: 0,
            effective_n: 0.0,
            labels: BTreeMap::new(),
            first: about.decision_time,
            last: about.span.1,
        });
        sheet.n += 1;
        sheet.effective_n += about.weight;
        if let Some(label) = &about.label {
            *sheet.labels.entry(label.clone()).or_default() += 1;
        }
        sheet.first = sheet.first.min(about.decision_time);
        sheet.last = sheet.last.max(about.span.1);
    }
    sheet
}

/// Says which pairs gave fewer examples than asked for.
fn shortfalls(
    instruments: &BTreeMap<String, PairCounts>,
    settings: &BridgeSettings,
) -> Vec<String> {
    let wanted = [
        (Kind::Reading, settings.readings_per_pair),
        (Kind::Scenario, settings.scenarios_per_pair),
        (Kind::Preference, settings.preferences_per_pair),
        (Kind::Calculation, settings.calculations_per_pair),
    ];
    let mut notes = Vec::new();
    for (kind, wanted) in wanted {
        let short: Vec<String> = instruments
            .iter()
            .filter_map(|(name, counts)| {
                let made = counts.made.get(&kind).copied().unwrap_or(0);
                (made < wanted).then(|| format!("{name} {made}"))
            })
            .collect();
        if !short.is_empty() {
            notes.push(format!(
                "asked for {wanted} examples of kind `{}` of each pair, fewer came of {}: {}",
                kind.as_str(),
                short.len(),
                short.join(", ")
            ));
        }
    }
    notes
}
