//! Rendering records again from changed inputs: what the checks of truncation, poisoning and label
//! swap ask of a kind of record.

use std::collections::BTreeMap;

use market::{Bars, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::record::AuditRecord;
use crate::DatasetError;
use crate::facts::Facts;

/// What is done to the inputs. Everything known by [`Change::after`] stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The last instant that stays: bars that close by then, readings published by then.
    pub after: Timestamp,
    /// What becomes of the rest.
    pub future: Future,
    /// The seed of the noise.
    pub seed: u64,
}

/// What becomes of the inputs after an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Future {
    /// It is gone.
    Cut,
    /// Prices and volumes are NaN.
    Nan,
    /// Prices and volumes are a thousand times as large.
    Thousandfold,
    /// Prices and volumes are noise of their own size.
    Noise,
    /// Prices are mirrored about the last one that stays: what rose falls by the same factor.
    Mirrored,
}

impl Future {
    /// Returns what it is in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut off",
            Self::Nan => "NaN",
            Self::Thousandfold => "a thousand times as large",
            Self::Noise => "noise",
            Self::Mirrored => "turned upside down",
        }
    }
}

/// What a record looks like when it is rendered again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendered {
    /// The prompt, joined as in [`AuditRecord::prompt`].
    pub prompt: String,
    /// Its features; none where the kind of record has none.
    pub features: BTreeMap<String, f64>,
    /// Its facts; none where the kind of record has none.
    pub facts: Facts,
    /// The class of its outcome under the changed inputs; none where it has no outcome any more.
    pub label: Option<String>,
}

/// Renders records again after a change of the inputs.
///
/// Implemented for closures, so that a kind of record needs no type of its own:
///
/// ```
/// use dataset::audit::{AuditRecord, Change, Rendered, Rerender};
/// use dataset::DatasetError;
///
/// let render = |records: &[&AuditRecord], change: &Change| {
///     let again = records.iter().map(|record| {
///         // From inputs of which only what was known by `change.after` may be the same.
///         assert!(record.decision_time <= change.after);
///         Some(Rendered { prompt: record.prompt.clone(), ..Rendered::default() })
///     });
///     Ok::<_, DatasetError>(again.collect())
/// };
/// let _: &dyn Rerender = &render;
/// ```
pub trait Rerender: Sync {
    /// Renders records again, in their order; none for one that cannot be made from the changed
    /// inputs, which is a finding unless the change is no fault of it. All their decisions lie at
    /// or before `change.after`, and they are of one instrument.
    ///
    /// # Errors
    /// Whatever the kind of record meets; the audit stops with it.
    fn rerender(
        &self,
        records: &[&AuditRecord],
        change: &Change,
    ) -> Result<Vec<Option<Rendered>>, DatasetError>;
}

impl<F> Rerender for F
where
    F: Fn(&[&AuditRecord], &Change) -> Result<Vec<Option<Rendered>>, DatasetError> + Sync,
{
    fn rerender(
        &self,
        records: &[&AuditRecord],
        change: &Change,
    ) -> Result<Vec<Option<Rendered>>, DatasetError> {
        self(records, change)
    }
}

/// Returns bars after a change: rows that close by [`Change::after`] are the same bits.
#[must_use]
pub fn changed_bars(bars: &Bars, change: &Change) -> Bars {
    let kept = (0..bars.len()).take_while(|&row| bars.close_time(row) <= change.after.0);
    let kept = kept.count();
    if change.future == Future::Cut {
        return bars.slice(0..kept);
    }
    let mut changed = bars.clone();
    let now = kept.checked_sub(1).map(|row| bars.close[row]);
    let mut random = ChaCha8Rng::seed_from_u64(change.seed);
    let mut other = |value: f64, is_price: bool| match change.future {
        Future::Cut => value,
        Future::Nan => f64::NAN,
        Future::Thousandfold => value * 1000.0,
        // Between a half and one and a half times the value.
        Future::Noise => value * (0.5 + random.random::<f64>()),
        Future::Mirrored => match now {
            Some(now) if is_price => now * now / value,
            _ => value,
        },
    };
    for row in kept..bars.len() {
        for (column, is_price) in [
            (&mut changed.open, true),
            (&mut changed.high, true),
            (&mut changed.low, true),
            (&mut changed.close, true),
            (&mut changed.volume, false),
        ] {
            column[row] = other(column[row], is_price);
        }
        if change.future == Future::Mirrored {
            // What was the highest is the lowest now.
            (changed.high[row], changed.low[row]) = (changed.low[row], changed.high[row]);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use market::{Instrument, Timeframe};

    use super::*;

    fn bars() -> Bars {
        let mut bars = Bars::empty(Instrument::new("A/B").unwrap(), Timeframe::HOUR);
        for row in 0..6 {
            let price = 100.0 + row as f64;
            bars.open_time.push(row * 3_600_000);
            bars.open.push(price);
            bars.high.push(price + 2.0);
            bars.low.push(price - 1.0);
            bars.close.push(price + 1.0);
            bars.volume.push(5.0);
        }
        bars
    }

    fn change(future: Future) -> Bars {
        let after = Timestamp(3 * 3_600_000);
        let seed = 1;
        changed_bars(
            &bars(),
            &Change {
                after,
                future,
                seed,
            },
        )
    }

    #[test]
    fn the_past_stays_and_the_future_does_not() {
        assert_eq!(change(Future::Cut), bars().slice(0..3));
        for future in [Future::Nan, Future::Thousandfold, Future::Noise] {
            let changed = change(future);
            assert_eq!(changed.slice(0..3), bars().slice(0..3));
            for row in 3..6 {
                assert_ne!(changed.close[row], bars().close[row], "{future:?}");
                assert_ne!(changed.volume[row], bars().volume[row], "{future:?}");
            }
        }
    }

    #[test]
    fn a_mirrored_future_falls_where_it_rose() {
        let changed = change(Future::Mirrored);
        // The last close that stays is 103; the next was 104.
        assert!((changed.close[3] - 103.0 * 103.0 / 104.0).abs() < 1e-12);
        for row in 0..6 {
            assert!(changed.low[row] <= changed.close[row]);
            assert!(changed.close[row] <= changed.high[row]);
        }
    }
}
