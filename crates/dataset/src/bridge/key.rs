//! Which columns of a package are shown, and under which names.
//!
//! A table of known columns, by the names that our packages and our users' give them. Names are
//! honest: what is estimated from bars is called a proxy.

use market::MarketError;
use market::table::WideReader;

use super::BridgeSettings;
use crate::DatasetError;
use crate::ensemble::named_like_an_outcome;

/// A column that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The column's name.
    pub(crate) column: String,
    /// What it is called in a prompt.
    pub(crate) title: String,
}

/// Titles and the columns that carry them, most telling first.
const KNOWN: [(&str, &[&str]); 24] = [
    ("return 1", &["ret_1", "returns_log_1", "log_1"]),
    ("return 5", &["ret_5"]),
    ("return 20", &["ret_20", "fx_own_return_20"]),
    ("RSI(14)", &["rsi_14", "talib_RSI_14"]),
    ("MACD", &["macd", "talib_MACD"]),
    ("MACD histogram", &["macd_hist", "talib_MACD_hist"]),
    (
        "Bollinger position",
        &["bb_position", "indicators_percent_b_20"],
    ),
    (
        "volatility",
        &["vol_20", "volatility_close_10", "volatility_close_daily_20"],
    ),
    ("ATR over price", &["natr_14", "talib_NATR_14"]),
    ("efficiency 20", &["returns_efficiency_20"]),
    ("currency strength rank", &["fx_strength_rank_20"]),
    ("VPIN proxy", &["vpin", "microstructure_bulk_vpin_50_20"]),
    (
        "Kyle's lambda proxy",
        &["kyle_lambda", "microstructure_kyle_bulk_50"],
    ),
    (
        "order-flow proxy",
        &["ofi", "microstructure_bulk_volume_20"],
    ),
    ("Alpha 1", &["alpha001", "alpha101_001"]),
    ("Alpha 6", &["alpha006", "alpha101_006"]),
    ("Alpha 12", &["alpha012", "alpha101_012"]),
    ("return 10", &["ret_10"]),
    ("volatility 50", &["vol_50"]),
    ("ADX(10)", &["adx_10", "talib_ADX_10"]),
    ("skewness 60", &["returns_skewness_60"]),
    ("breadth 20", &["fx_breadth_20"]),
    ("rank of the price 20", &["returns_price_rank_20"]),
    ("Williams %R(14)", &["willr_14", "talib_WILLR_14"]),
];

/// The fewest columns that make a prompt.
const FEWEST: usize = 3;

/// Picks the columns to show: those of the settings, else the known ones, filled up with others
/// spread over the file.
pub(crate) fn choose(
    reader: &WideReader,
    settings: &BridgeSettings,
) -> Result<Vec<Key>, DatasetError> {
    if !settings.key_features.is_empty() {
        return named(reader, settings);
    }
    let mut keys: Vec<Key> = KNOWN
        .iter()
        .filter_map(|(title, columns)| {
            let column = columns.iter().find(|name| is_number(reader, name))?;
            Some(Key {
                column: (*column).to_owned(),
                title: (*title).to_owned(),
            })
        })
        .take(settings.shown_features)
        .collect();
    let others = features(reader, settings)
        .into_iter()
        .filter(|name| keys.iter().all(|key| key.column != *name))
        .collect::<Vec<_>>();
    let missing = settings.shown_features.saturating_sub(keys.len());
    let taken = missing.min(others.len());
    keys.extend((0..taken).map(|index| {
        let name = others[index * others.len() / taken].clone();
        Key {
            title: name.clone(),
            column: name,
        }
    }));
    if keys.len() < FEWEST {
        return Err(DatasetError::Bridge {
            path: reader.path().to_owned(),
            message: format!(
                "{} columns of numbers that are no targets, expected at least {FEWEST}",
                keys.len()
            ),
        });
    }
    Ok(keys)
}

/// Columns left out that a note names.
const TOLD: usize = 8;

/// Returns the names of the feature columns: numbers that are neither time, targets nor the
/// upstream model's.
pub(crate) fn features(reader: &WideReader, settings: &BridgeSettings) -> Vec<String> {
    let time = reader.time_column();
    let upstream = [&settings.confidence_column, &settings.prediction_column];
    reader
        .columns()
        .iter()
        .enumerate()
        .filter(|(place, column)| {
            Some(*place) != time
                && column.column_type.is_number()
                && named_like_an_outcome(&column.name).is_none()
                && !upstream.contains(&&column.name)
        })
        .map(|(_, column)| column.name.clone())
        .collect()
}

/// Returns a note on the columns that are no features although their names do not say `target`.
pub(crate) fn left_out(reader: &WideReader) -> Option<String> {
    let time = reader.time_column();
    let columns = reader.columns().iter().enumerate();
    let reasons: Vec<String> = columns
        .filter(|(place, column)| Some(*place) != time && !column.name.starts_with("target_"))
        .filter_map(|(_, column)| {
            if let Some(start) = named_like_an_outcome(&column.name) {
                return Some(format!(
                    "`{}` (named like an outcome: {start})",
                    column.name
                ));
            }
            let number = column.column_type.is_number();
            (!number).then(|| format!("`{}` (no column of numbers)", column.name))
        })
        .collect();
    let more = reasons.len().saturating_sub(TOLD);
    let told = reasons[..reasons.len() - more].join(", ");
    match (reasons.is_empty(), more) {
        (true, _) => None,
        (_, 0) => Some(format!("columns left out: {told}")),
        _ => Some(format!("columns left out: {told} and {more} more")),
    }
}

fn is_number(reader: &WideReader, name: &str) -> bool {
    reader
        .column(name)
        .is_some_and(|place| reader.columns()[place].column_type.is_number())
}

fn named(reader: &WideReader, settings: &BridgeSettings) -> Result<Vec<Key>, DatasetError> {
    let picked = reader
        .select(&settings.key_features)
        .map_err(|error: MarketError| DatasetError::from(error))?;
    picked
        .columns
        .into_iter()
        .map(|place| {
            let column = reader.columns()[place].name.clone();
            if named_like_an_outcome(&column).is_some() {
                return Err(DatasetError::Setting {
                    name: "bridge.key_features",
                    value: column,
                    expected: "columns that do not look forward".to_owned(),
                });
            }
            let title = KNOWN
                .iter()
                .find(|(_, columns)| columns.contains(&column.as_str()))
                .map_or_else(|| column.clone(), |(title, _)| (*title).to_owned());
            Ok(Key { column, title })
        })
        .collect()
}
