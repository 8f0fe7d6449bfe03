//! What the bridge makes of a package of features: how many examples, of which columns, at which
//! costs.
//!
//! Every value here changes the examples and is written into the manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// Examples of one kind and pair beyond which a number is taken for a slip.
const MOST_PER_PAIR: usize = 100_000;

/// The settings of [`crate::bridge::build`]. The default is the `forex-bridge` preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeSettings {
    /// The bars ahead that an outcome looks: `target_return_k` of the package.
    pub horizon_bars: usize,
    /// Readings of feature values per pair.
    pub readings_per_pair: usize,
    /// Trade scenarios per pair.
    pub scenarios_per_pair: usize,
    /// Preference pairs per pair.
    pub preferences_per_pair: usize,
    /// Certainty calculations per pair.
    pub calculations_per_pair: usize,
    /// Held-out scenarios per pair and part, from `val.parquet` and `test.parquet`.
    pub held_out_per_pair: usize,
    /// Formula questions to go with them, spread over the catalogue; 0 for none.
    pub formulas: usize,
    /// Rows of a pair before one may become an example: its own past.
    pub past_rows: usize,
    /// Columns shown, at most.
    pub shown_features: usize,
    /// Columns to show; empty for those the program knows a name for.
    pub key_features: Vec<String>,
    /// What a round trip costs as a fraction of the position, where `costs` has no entry.
    pub cost: f64,
    /// Round-trip costs by instrument (`"EUR/USD" = 0.00008`).
    pub costs: BTreeMap<String, f64>,
    /// A preference needs an outcome of so many round-trip costs, either way.
    pub preference_costs: f64,
    /// Nearest past cases looked for.
    pub analogues: usize,
    /// Level of the lower bound of the analogues' win rate, one-sided.
    pub bound_level: f64,
    /// Largest position as a fraction of equity.
    pub largest_size: f64,
    /// Where the decision stands in an answer.
    pub reasoning: Reasoning,
    /// Whose signal is judged.
    pub signal: SignalSource,
    /// The column with the upstream model's confidence, 0 to 1.
    pub confidence_column: String,
    /// The column with its side: above 0 (or 1 of 0 and 1) is BUY.
    pub prediction_column: String,
    /// States that both columns are predictions of models that had not seen the row. Without it
    /// the program's own ensemble is used.
    pub columns_are_out_of_fold: bool,
    /// States that tables without a time column are in the order of time.
    pub index_order: bool,
    /// What a stamp of the package marks.
    pub stamp: Stamp,
    /// The span of a bar where neither `metadata.json` nor the stamps tell, such as `15m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeframe: Option<market::Timeframe>,
    /// Pairs that have to be there; 0 for any number.
    pub pairs: usize,
    /// Features that have to be there; 0 for any number.
    pub features: usize,
    /// Further files of chat messages or preference pairs, joined as they are.
    pub sources: Vec<PathBuf>,
    /// The seed of every choice.
    pub seed: u64,
}

/// Where the decision stands in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// After reasons between `<think>` and `</think>`.
    #[default]
    Think,
    /// Before the reasons.
    DecisionFirst,
    /// After the reasons, without marks.
    DecisionLast,
}

/// Whose signal is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalSource {
    /// The package's columns where they are there and declared out-of-fold, else the ensemble.
    #[default]
    Auto,
    /// The program's own ensemble, out-of-fold.
    Ensemble,
    /// The package's columns.
    Columns,
}

/// What a stamp of the package marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// The opening of the bar; its values are known one bar later.
    #[default]
    Open,
    /// The instant from which its values are known.
    Close,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            horizon_bars: 20,
            readings_per_pair: 200,
            scenarios_per_pair: 100,
            preferences_per_pair: 50,
            calculations_per_pair: 50,
            held_out_per_pair: 20,
            formulas: 19_429,
            past_rows: 1_000,
            shown_features: 12,
            key_features: Vec::new(),
            cost: 0.000_1,
            costs: BTreeMap::new(),
            preference_costs: 2.0,
            analogues: 40,
            bound_level: 0.95,
            largest_size: 0.02,
            reasoning: Reasoning::default(),
            signal: SignalSource::default(),
            confidence_column: "ml_confidence".to_owned(),
            prediction_column: "ml_prediction".to_owned(),
            columns_are_out_of_fold: false,
            index_order: false,
            stamp: Stamp::default(),
            timeframe: None,
            pairs: 0,
            features: 0,
            sources: Vec::new(),
            seed: 17,
        }
    }
}

impl BridgeSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for the first value out of its range, naming it.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let refuse = |name: &'static str, value: String, expected: &str| {
            Err(DatasetError::Setting {
                name,
                value,
                expected: expected.to_owned(),
            })
        };
        let counts = [
            ("bridge.readings_per_pair", self.readings_per_pair),
            ("bridge.scenarios_per_pair", self.scenarios_per_pair),
            ("bridge.preferences_per_pair", self.preferences_per_pair),
            ("bridge.calculations_per_pair", self.calculations_per_pair),
            ("bridge.held_out_per_pair", self.held_out_per_pair),
        ];
        for (name, count) in counts {
            if count > MOST_PER_PAIR {
                return refuse(name, count.to_string(), "0 to 100000");
            }
        }
        if counts[..4].iter().all(|(_, count)| *count == 0) {
            let expected = "at least one kind of example above 0";
            return refuse("bridge.scenarios_per_pair", "0".to_owned(), expected);
        }
        let sizes = [
            ("bridge.horizon_bars", self.horizon_bars, 1, 100_000),
            ("bridge.past_rows", self.past_rows, 100, 10_000_000),
            ("bridge.shown_features", self.shown_features, 3, 40),
            ("bridge.analogues", self.analogues, 5, 1_000),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return refuse(name, value.to_string(), &format!("{least} to {most}"));
            }
        }
        let costs = self.costs.values().map(|cost| ("bridge.costs", cost));
        for (name, cost) in costs.chain([("bridge.cost", &self.cost)]) {
            if !(0.0..0.1).contains(cost) {
                let expected = "a fraction of the position of 0 or more, below 0.1, such as 0.0001";
                return refuse(name, cost.to_string(), expected);
            }
        }
        let fractions = [
            ("bridge.bound_level", self.bound_level, 0.5, 0.999),
            ("bridge.largest_size", self.largest_size, 0.0001, 1.0),
            ("bridge.preference_costs", self.preference_costs, 0.0, 1e6),
        ];
        for (name, value, least, most) in fractions {
            if !(least..=most).contains(&value) {
                return refuse(name, value.to_string(), &format!("{least} to {most}"));
            }
        }
        if i64::try_from(self.seed).is_err() {
            return refuse("bridge.seed", self.seed.to_string(), "less than 2^63");
        }
        Ok(())
    }

    /// Reports whether any example judges a signal, so that certainty is shown.
    pub(crate) fn judges(&self) -> bool {
        let counts = [
            self.scenarios_per_pair,
            self.preferences_per_pair,
            self.calculations_per_pair,
            self.held_out_per_pair,
        ];
        counts.iter().any(|count| *count > 0)
    }

    /// Returns what a round trip in an instrument costs, as a fraction of the position.
    pub fn cost_of(&self, instrument: &str) -> f64 {
        self.costs.get(instrument).copied().unwrap_or(self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |change: fn(&mut BridgeSettings)| {
            let mut settings = BridgeSettings::default();
            change(&mut settings);
            match settings.validate().unwrap_err() {
                DatasetError::Setting { name, .. } => name,
                other => panic!("{other}"),
            }
        };
        BridgeSettings::default().validate().unwrap();
        assert_eq!(refused(|s| s.horizon_bars = 0), "bridge.horizon_bars");
        assert_eq!(refused(|s| s.cost = f64::NAN), "bridge.cost");
        assert_eq!(
            refused(|s| {
                s.costs.insert("EUR/USD".to_owned(), -1.0);
            }),
            "bridge.costs"
        );
        assert_eq!(refused(|s| s.analogues = 1), "bridge.analogues");
        assert_eq!(refused(|s| s.bound_level = 1.0), "bridge.bound_level");
        assert_eq!(
            refused(|s| s.readings_per_pair = usize::MAX),
            "bridge.readings_per_pair"
        );
        assert_eq!(
            refused(|s| {
                s.readings_per_pair = 0;
                s.scenarios_per_pair = 0;
                s.preferences_per_pair = 0;
                s.calculations_per_pair = 0;
            }),
            "bridge.scenarios_per_pair"
        );
        assert!(toml::from_str::<BridgeSettings>("horizon = 3").is_err());
    }
}
