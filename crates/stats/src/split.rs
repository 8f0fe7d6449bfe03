//! Train, validation and test as contiguous spans of time, purged and
//! embargoed, cut at the same instants for every instrument.
//!
//! An example spans `[decision time, decision time + horizon]`. It belongs to a
//! part only if its whole span lies inside it: spans across a boundary are
//! purged. After each boundary the embargo keeps out the first examples of the
//! later part, so that features with a memory do not reach back into labels of
//! the earlier one. With an embargo of 0 spans still never touch.
//!
//! Random splits are deliberately absent: with overlapping labels they leak.

use serde::{Deserialize, Serialize};

use crate::StatsError;

/// The boundaries of the three parts, in the unit of the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSplit {
    /// Training spans end at or before this instant.
    pub train_end: i64,
    /// Validation spans start at or after this instant.
    pub validation_start: i64,
    /// Validation spans end at or before this instant.
    pub validation_end: i64,
    /// Test spans start at or after this instant.
    pub test_start: i64,
}

/// Where an example goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// The part that is learned from.
    Train,
    /// The part on which choices and calibration are made.
    Validation,
    /// The part that is scored once.
    Test,
    /// Left out: its span crosses a boundary.
    Purged,
    /// Left out: it starts too soon after a boundary.
    Embargoed,
}

impl TimeSplit {
    /// Returns the split whose training part ends at `train_end` and whose
    /// validation part ends at `validation_end`.
    ///
    /// # Errors
    /// [`StatsError::InvalidSetting`] for a negative embargo,
    /// [`StatsError::SpanTooShort`] if the validation part would be empty.
    pub fn at_instants(
        train_end: i64,
        validation_end: i64,
        embargo: i64,
    ) -> Result<Self, StatsError> {
        check_embargo(embargo)?;
        // At least one unit, so that a span ending on the boundary and one
        // starting on it do not meet.
        let gap = embargo.max(1);
        let split = Self {
            train_end,
            validation_start: train_end.saturating_add(gap),
            validation_end,
            test_start: validation_end.saturating_add(gap),
        };
        if split.validation_start >= split.validation_end || split.test_start <= validation_end {
            return Err(StatsError::SpanTooShort {
                start: train_end,
                end: validation_end,
                embargo,
            });
        }
        Ok(split)
    }

    /// Returns the split of the time covered by `spans` (those of all
    /// instruments together, in any order): the training part takes the first
    /// `train` of it, the validation part the next `validation`, the test part
    /// the rest. Fractions are of time, not of rows.
    ///
    /// # Errors
    /// [`StatsError::Empty`] for no spans, [`StatsError::InvalidSetting`] for
    /// fractions that are not positive or leave nothing for the test part or a
    /// negative embargo, [`StatsError::SpanTooShort`] if a part would be empty.
    pub fn by_fractions(
        spans: &[(i64, i64)],
        train: f64,
        validation: f64,
        embargo: i64,
    ) -> Result<Self, StatsError> {
        check_fraction("train_fraction", train)?;
        check_fraction("validation_fraction", validation)?;
        if train + validation >= 1.0 {
            return Err(StatsError::InvalidSetting {
                name: "train_fraction + validation_fraction",
                value: (train + validation).to_string(),
                expected: "less than 1, so that time is left for the test part",
            });
        }
        check_embargo(embargo)?;
        let empty = StatsError::Empty { what: "spans" };
        let start = spans.iter().map(|span| span.0).min().ok_or(empty.clone())?;
        let end = spans.iter().map(|span| span.1).max().ok_or(empty)?;
        let too_short = StatsError::SpanTooShort {
            start,
            end,
            embargo,
        };
        let length = end.checked_sub(start).ok_or(too_short.clone())? as f64;
        let cut = |fraction: f64| start + (length * fraction).floor() as i64;
        match Self::at_instants(cut(train), cut(train + validation), embargo) {
            Ok(split) if split.train_end > start && split.test_start < end => Ok(split),
            _ => Err(too_short),
        }
    }

    /// Returns where an example with this span `(start, end)` goes.
    pub fn assign(&self, (start, end): (i64, i64)) -> Assignment {
        if start >= self.test_start {
            Assignment::Test
        } else if start > self.validation_end {
            Assignment::Embargoed
        } else if start >= self.validation_start {
            if end <= self.validation_end {
                Assignment::Validation
            } else {
                Assignment::Purged
            }
        } else if start > self.train_end {
            Assignment::Embargoed
        } else if end <= self.train_end {
            Assignment::Train
        } else {
            Assignment::Purged
        }
    }
}

fn check_fraction(name: &'static str, fraction: f64) -> Result<(), StatsError> {
    if fraction > 0.0 && fraction < 1.0 {
        return Ok(());
    }
    Err(StatsError::InvalidSetting {
        name,
        value: fraction.to_string(),
        expected: "a fraction between 0 and 1",
    })
}

fn check_embargo(embargo: i64) -> Result<(), StatsError> {
    if embargo >= 0 {
        return Ok(());
    }
    Err(StatsError::InvalidSetting {
        name: "embargo",
        value: embargo.to_string(),
        expected: "a length of time of at least 0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hourly(n: i64, horizon: i64) -> Vec<(i64, i64)> {
        (0..n).map(|t| (t, t + horizon)).collect()
    }

    #[test]
    fn spans_across_a_boundary_are_purged_and_the_next_embargoed() {
        let split = TimeSplit::at_instants(100, 200, 24).unwrap();
        let check = |span, expect| assert_eq!(split.assign(span), expect, "{span:?}");
        check((88, 100), Assignment::Train);
        check((89, 101), Assignment::Purged);
        check((100, 112), Assignment::Purged);
        check((101, 113), Assignment::Embargoed);
        check((123, 135), Assignment::Embargoed);
        check((124, 136), Assignment::Validation);
        check((188, 200), Assignment::Validation);
        check((189, 201), Assignment::Purged);
        check((223, 235), Assignment::Embargoed);
        check((224, 236), Assignment::Test);
        check((50, 500), Assignment::Purged);
    }

    #[test]
    fn without_embargo_spans_still_do_not_touch() {
        let split = TimeSplit::at_instants(100, 200, 0).unwrap();
        assert_eq!(split.assign((88, 100)), Assignment::Train);
        assert_eq!(split.assign((100, 112)), Assignment::Purged);
        assert_eq!(split.assign((101, 113)), Assignment::Validation);
        assert_eq!(split.assign((200, 212)), Assignment::Purged);
        assert_eq!(split.assign((201, 213)), Assignment::Test);
    }

    #[test]
    fn fractions_are_of_time() {
        let split = TimeSplit::by_fractions(&hourly(1000, 12), 0.7, 0.15, 12).unwrap();
        assert_eq!((split.train_end, split.validation_end), (707, 859));
        assert_eq!((split.validation_start, split.test_start), (719, 871));
    }

    #[test]
    fn bad_settings_are_named() {
        let spans = hourly(100, 5);
        let invalid = |result: Result<TimeSplit, StatsError>| match result {
            Err(StatsError::InvalidSetting { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        let of = |train, validation, embargo| {
            invalid(TimeSplit::by_fractions(&spans, train, validation, embargo))
        };
        assert_eq!(of(0.0, 0.2, 0), "train_fraction");
        assert_eq!(of(0.5, f64::NAN, 0), "validation_fraction");
        assert_eq!(of(0.8, 0.2, 0), "train_fraction + validation_fraction");
        assert_eq!(of(0.6, 0.2, -1), "embargo");
        assert_eq!(invalid(TimeSplit::at_instants(0, 9, -1)), "embargo");
        let empty = TimeSplit::by_fractions(&[], 0.6, 0.2, 0);
        assert_eq!(empty, Err(StatsError::Empty { what: "spans" }));
        let short = TimeSplit::by_fractions(&spans, 0.6, 0.2, 90);
        assert!(matches!(short, Err(StatsError::SpanTooShort { .. })));
        let backward = TimeSplit::at_instants(100, 90, 0);
        assert!(matches!(backward, Err(StatsError::SpanTooShort { .. })));
        let endless = TimeSplit::by_fractions(&[(i64::MIN, i64::MAX)], 0.6, 0.2, 0);
        assert!(matches!(endless, Err(StatsError::SpanTooShort { .. })));
    }

    proptest! {
        /// No earlier span meets a later part's span, and the embargo holds.
        #[test]
        fn parts_never_meet(
            spans in prop::collection::vec((0i64..5_000, 0i64..300), 2..200),
            train in 0.1f64..0.8,
            validation in 0.05f64..0.4,
            embargo in 0i64..200,
        ) {
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(s, l)| (s, s + l)).collect();
            let Ok(split) = TimeSplit::by_fractions(&spans, train, validation, embargo) else {
                return Ok(());
            };
            let of = |wanted: Assignment| {
                let rows = spans.iter().copied();
                rows.filter(move |&span| split.assign(span) == wanted).collect::<Vec<_>>()
            };
            let parts = [Assignment::Train, Assignment::Validation, Assignment::Test].map(of);
            for (earlier, later) in [(0, 1), (0, 2), (1, 2)] {
                for a in &parts[earlier] {
                    for b in &parts[later] {
                        prop_assert!(b.0 - a.1 >= embargo.max(1), "{a:?} {b:?}");
                    }
                }
            }
        }

        /// Every span lands somewhere, and only for its reason.
        #[test]
        fn left_out_rows_have_a_reason(start in 0i64..1_000, length in 0i64..100) {
            let split = TimeSplit::at_instants(400, 700, 50).unwrap();
            let span = (start, start + length);
            let crosses = [400, 700].iter().any(|&cut| span.0 <= cut && cut < span.1);
            let soon = [400, 700].iter().any(|&cut| cut < span.0 && span.0 < cut + 50);
            match split.assign(span) {
                Assignment::Purged => prop_assert!(crosses),
                Assignment::Embargoed => prop_assert!(soon),
                Assignment::Train => prop_assert!(!crosses && span.1 <= 400),
                Assignment::Validation => prop_assert!(!crosses && !soon && span.1 <= 700),
                Assignment::Test => prop_assert!(!soon && span.0 >= 750),
            }
        }
    }
}
