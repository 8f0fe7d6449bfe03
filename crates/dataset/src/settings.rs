//! What a data set is made of: horizon, label, split, balance, views and templates.
//!
//! Every value here changes the data set, and all of them are written into its manifest. How
//! many threads build it is not among them.

use std::fmt;
use std::path::PathBuf;

use formula::Gaps;
use market::{Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{DatasetError, LabelRule};

const HOUR: i64 = 3_600_000;
/// The longest horizon, embargo or lag that is taken for a meant value: ten years.
const LONGEST_HOURS: u32 = 10 * 366 * 24;
/// More examples per class than any file of this kind should hold.
const LARGEST_PER_CLASS: usize = 10_000_000;

/// The settings of [`crate::build`]. The default is the `crypto-12h` preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetSettings {
    /// The length of the interval after a decision over which its outcome is measured, hours.
    pub horizon_hours: u32,
    /// How what the price did becomes a label.
    pub label: LabelRule,
    /// The fractions of time of the three parts.
    pub split: SplitFractions,
    /// How long after a boundary no example may start, hours; the horizon by default.
    pub embargo_hours: Option<u32>,
    /// A decision every so many bars. Decisions fall on multiples of this many bars since the
    /// Unix epoch, so they are at the same instants for all instruments.
    pub decision_stride_bars: u32,
    /// Training examples wanted of each class.
    pub per_class: usize,
    /// The seed of the choice of training examples and of completion templates.
    pub seed: u64,
    /// The timeframe of the bars, then the longer ones whose trend is shown.
    pub timeframes: Vec<Timeframe>,
    /// The longest hole that counts as a closed market, hours: indicators go on after it. Zero for
    /// markets that never close; 60 lets them see past the weekends of foreign exchange. Labels
    /// never cross a hole, whatever its length.
    pub market_closed_hours: u32,
    /// How long after its day the Fear & Greed index is published, hours.
    pub fear_greed_lag_hours: u32,
    /// How old a Fear & Greed reading may be, counted from its publication, hours. An older one
    /// is treated as missing.
    pub fear_greed_max_age_hours: u32,
    /// How long after its stamp a headline is known, minutes.
    pub headlines_lag_minutes: u32,
    /// How old a shown headline may be, hours.
    pub headlines_max_age_hours: u32,
    /// Whether the 24 h change is named in words (`up`, `flat`, `down`) as well.
    pub change_zone: bool,
    /// A prompt template to use instead of the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_template: Option<PathBuf>,
    /// A file of completion templates to use instead of the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_templates: Option<PathBuf>,
}

/// The fractions of time given to the three parts; together 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFractions {
    /// The part that is learned from.
    pub train: f64,
    /// The part on which choices are made.
    pub validation: f64,
    /// The part that is scored.
    pub test: f64,
}

impl Default for SplitFractions {
    fn default() -> Self {
        Self {
            train: 0.70,
            validation: 0.15,
            test: 0.15,
        }
    }
}

impl Default for DatasetSettings {
    fn default() -> Self {
        Self {
            horizon_hours: 12,
            label: LabelRule::default(),
            split: SplitFractions::default(),
            embargo_hours: None,
            decision_stride_bars: 1,
            per_class: 1000,
            seed: 17,
            timeframes: vec![Timeframe::HOUR, Timeframe::FOUR_HOURS, Timeframe::DAY],
            market_closed_hours: 0,
            fear_greed_lag_hours: 24,
            fear_greed_max_age_hours: 72,
            headlines_lag_minutes: 15,
            headlines_max_age_hours: 24,
            change_zone: true,
            prompt_template: None,
            completion_templates: None,
        }
    }
}

impl DatasetSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for the first value out of its range, naming it.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let hours = [
            ("horizon_hours", self.horizon_hours, 1),
            (
                "embargo_hours",
                self.embargo_hours.unwrap_or(self.horizon_hours),
                0,
            ),
            ("market_closed_hours", self.market_closed_hours, 0),
            ("fear_greed_lag_hours", self.fear_greed_lag_hours, 0),
            ("fear_greed_max_age_hours", self.fear_greed_max_age_hours, 0),
            ("headlines_max_age_hours", self.headlines_max_age_hours, 0),
            (
                "headlines_lag_minutes",
                self.headlines_lag_minutes.div_ceil(60),
                0,
            ),
        ];
        for (name, value, least) in hours {
            if !(least..=LONGEST_HOURS).contains(&value) {
                return Err(setting(
                    name,
                    &value,
                    format!("{least} to {LONGEST_HOURS} hours"),
                ));
            }
        }
        self.label.validate()?;
        self.validate_split()?;
        if self.decision_stride_bars == 0 {
            return Err(setting("decision_stride_bars", &0, "1 or more"));
        }
        if !(1..=LARGEST_PER_CLASS).contains(&self.per_class) {
            let expected = format!("1 to {LARGEST_PER_CLASS}");
            return Err(setting("per_class", &self.per_class, expected));
        }
        if i64::try_from(self.seed).is_err() {
            return Err(setting(
                "seed",
                &self.seed,
                "less than 2^63, so that a settings file can hold it",
            ));
        }
        self.validate_timeframes()
    }

    fn validate_split(&self) -> Result<(), DatasetError> {
        let SplitFractions {
            train,
            validation,
            test,
        } = self.split;
        let parts = [
            ("split.train", train),
            ("split.validation", validation),
            ("split.test", test),
        ];
        for (name, value) in parts {
            if !(value > 0.0 && value < 1.0) {
                return Err(setting(name, &value, "a fraction between 0 and 1"));
            }
        }
        let total = train + validation + test;
        if (total - 1.0).abs() > 1e-9 {
            let expected = "three fractions that add up to 1";
            return Err(setting("split", &total, expected));
        }
        Ok(())
    }

    fn validate_timeframes(&self) -> Result<(), DatasetError> {
        let Some(&base) = self.timeframes.first() else {
            return Err(setting("timeframes", &"[]", "at least the bars' own"));
        };
        if base.is_calendar() || (i64::from(self.horizon_hours) * HOUR) % base.milliseconds() != 0 {
            let expected = format!("a whole number of `{base}` bars");
            return Err(setting("horizon_hours", &self.horizon_hours, expected));
        }
        for pair in self.timeframes.windows(2) {
            if pair[1].milliseconds() <= pair[0].milliseconds() || !base.divides(pair[1]) {
                let expected = format!(
                    "ascending timeframes, each a whole number of `{base}` bars and longer than `{}`",
                    pair[0]
                );
                return Err(setting("timeframes", &pair[1], expected));
            }
        }
        Ok(())
    }

    /// Returns the timeframe of the bars on which decisions are made.
    ///
    /// # Panics
    /// Where there is none; [`DatasetSettings::validate`] refuses that.
    pub fn base_timeframe(&self) -> Timeframe {
        self.timeframes[0]
    }

    /// Returns the horizon in milliseconds.
    pub fn horizon(&self) -> i64 {
        i64::from(self.horizon_hours) * HOUR
    }

    /// Returns the horizon in bars of the base timeframe.
    pub fn horizon_bars(&self) -> usize {
        (self.horizon() / self.base_timeframe().milliseconds()) as usize
    }

    /// Returns the embargo in milliseconds.
    pub fn embargo(&self) -> i64 {
        i64::from(self.embargo_hours.unwrap_or(self.horizon_hours)) * HOUR
    }

    /// Returns what a hole in the bars means to indicators.
    pub(crate) fn gaps(&self) -> Gaps {
        match self.market_closed_hours {
            0 => Gaps::Restart,
            hours => Gaps::ClosedUpTo(i64::from(hours) * HOUR),
        }
    }

    /// Returns the publication lag of the Fear & Greed index in milliseconds.
    pub fn fear_greed_lag(&self) -> i64 {
        i64::from(self.fear_greed_lag_hours) * HOUR
    }

    /// Returns the age from which a Fear & Greed reading counts as missing, in milliseconds.
    pub fn fear_greed_max_age(&self) -> i64 {
        i64::from(self.fear_greed_max_age_hours) * HOUR
    }

    /// Returns the lag of headlines in milliseconds.
    pub fn headlines_lag(&self) -> i64 {
        i64::from(self.headlines_lag_minutes) * 60_000
    }

    /// Returns the age from which a headline is left out, in milliseconds.
    pub fn headlines_max_age(&self) -> i64 {
        i64::from(self.headlines_max_age_hours) * HOUR
    }

    /// Returns how long after their stamps facts besides bars are known.
    pub fn lags(&self) -> market::Lags {
        market::Lags {
            fear_greed: self.fear_greed_lag(),
            headlines: self.headlines_lag(),
        }
    }

    /// Reports whether the model is asked at this instant.
    pub fn is_decision_time(&self, time: Timestamp) -> bool {
        let stride = i64::from(self.decision_stride_bars) * self.base_timeframe().milliseconds();
        time.0.rem_euclid(stride) == 0
    }
}

fn setting(
    name: &'static str,
    value: &dyn fmt::Display,
    expected: impl Into<String>,
) -> DatasetError {
    DatasetError::Setting {
        name,
        value: value.to_string(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut DatasetSettings)) -> &'static str {
        let mut settings = DatasetSettings::default();
        change(&mut settings);
        match settings.validate().unwrap_err() {
            DatasetError::Setting { name, .. } => name,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn default_is_valid_and_round_trips() {
        let settings = DatasetSettings::default();
        settings.validate().unwrap();
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<DatasetSettings>(&text).unwrap(), settings);
        assert_eq!(settings.horizon_bars(), 12);
        assert_eq!(settings.embargo(), settings.horizon());
    }

    #[test]
    fn partial_settings_keep_the_defaults() {
        let settings: DatasetSettings = toml::from_str(
            "horizon_hours = 24\ntimeframes = [\"4h\", \"1d\"]\n\
             [label]\nkind = \"volatility\"\nk = 1.5\nwindow_bars = 42\n",
        )
        .unwrap();
        settings.validate().unwrap();
        assert_eq!(settings.horizon_bars(), 6);
        assert_eq!(settings.per_class, 1000);
        assert!(matches!(settings.label, LabelRule::Volatility { .. }));
        let settings: DatasetSettings = toml::from_str(
            "[label]\nkind = \"triple_barrier\"\nprofit_k = 1.5\nloss_k = 1.0\nwindow_bars = 42\n",
        )
        .unwrap();
        assert_eq!(settings.label.thresholds(0.02), (0.03, -0.02));
        let settings: DatasetSettings =
            toml::from_str("[label]\nkind = \"triple_barrier_absolute\"\nprofit = 0.03\n").unwrap();
        assert_eq!(settings.label.thresholds(f64::NAN), (0.03, -0.02));
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            "horizon = 12",
            "[label]\nkind = \"absolute\"\nbuy = 0.1",
            "[label]\nkind = \"magic\"",
            "[split]\ntrain = 0.7\nvalidation = 0.15\ntest = 0.15\nextra = 0",
        ] {
            assert!(toml::from_str::<DatasetSettings>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert_eq!(refused(|s| s.horizon_hours = 0), "horizon_hours");
        assert_eq!(
            refused(|s| s.timeframes = vec![Timeframe::DAY]),
            "horizon_hours"
        );
        assert_eq!(refused(|s| s.timeframes = vec![]), "timeframes");
        assert_eq!(
            refused(|s| s.timeframes = vec![Timeframe::HOUR, Timeframe::HOUR]),
            "timeframes"
        );
        assert_eq!(
            refused(|s| {
                s.horizon_hours = 24;
                s.timeframes = vec!["3h".parse().unwrap(), Timeframe::FOUR_HOURS];
            }),
            "timeframes"
        );
        assert_eq!(
            refused(|s| s.embargo_hours = Some(u32::MAX)),
            "embargo_hours"
        );
        assert_eq!(
            refused(|s| s.market_closed_hours = u32::MAX),
            "market_closed_hours"
        );
        assert_eq!(
            refused(|s| s.decision_stride_bars = 0),
            "decision_stride_bars"
        );
        assert_eq!(refused(|s| s.per_class = 0), "per_class");
        assert_eq!(refused(|s| s.seed = u64::MAX), "seed");
        assert_eq!(refused(|s| s.split.train = 0.9), "split");
        assert_eq!(refused(|s| s.split.test = f64::NAN), "split.test");
        let never = LabelRule::Volatility {
            k: 0.0,
            window_bars: 24,
        };
        assert_eq!(refused(|s| s.label = never), "label.k");
    }

    #[test]
    fn decisions_are_aligned_to_the_epoch() {
        let settings = DatasetSettings {
            decision_stride_bars: 12,
            ..DatasetSettings::default()
        };
        assert!(settings.is_decision_time("2019-03-01T12:00:00Z".parse().unwrap()));
        assert!(!settings.is_decision_time("2019-03-01T13:00:00Z".parse().unwrap()));
    }
}
