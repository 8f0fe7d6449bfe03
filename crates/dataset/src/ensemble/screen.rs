//! Which columns are worth holding: a look at the first window of time, one column at a time.
//!
//! A column's score is a rank correlation with the outcome, measured inside each instrument and
//! averaged. Each value is ranked among its *instrument's own past* only. Ranked in the whole
//! window, a slow column (a running total, a price) would correlate with the outcome in any random
//! walk: where the window lies high was decided by the very moves it is compared with (the bias of
//! Dickey and Fuller; ranking by the past alone is the remedy of So and Shin, 1999, for ranks). The
//! outcome is not centred either: its signed ranks have no mean but its own.
//!
//! Of columns that rank the rows alike only the best is kept, else sixty copies of one indicator
//! would crowd out the rest. Only rows before the warm-up count, so no fold and no calibration has
//! a part in the choice.
//!
//! The same pass finds what says nothing (no value, one value) and what says too much (the outcome
//! itself, in any scale).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::folds::{Drawn, Walk};
use super::{ColumnSource, EnsembleError, EnsembleSettings, Target};
use crate::DatasetError;

/// A correlation with the outcome of at least `1 - LEAK_TOLERANCE` is the outcome: rounding and
/// units leave some digits, and no honest feature of a market comes near it.
pub const LEAK_TOLERANCE: f64 = 1e-3;
/// Rows of an instrument below which its correlation is not measured.
const FEWEST: usize = 8;
/// Rows that the likeness of columns is measured on, about.
const SKETCH: usize = 4096;

/// What the screening found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Screening {
    /// Columns offered.
    pub offered: usize,
    /// Rows it was done on.
    pub rows: usize,
    /// Their effective number.
    pub effective_rows: f64,
    /// The end of the last label among them, Unix milliseconds.
    pub through: i64,
    /// Columns without any value there.
    pub missing: Vec<String>,
    /// Columns with one value there.
    pub constant: Vec<String>,
    /// Columns with infinite values where they were read (all rows of the kept ones), and how many;
    /// they count as missing.
    pub infinite: Vec<(String, u64)>,
    /// The columns kept, best first.
    pub kept: Vec<Kept>,
    /// Columns passed over because a better one ranks the rows alike.
    pub alike: usize,
}

/// A column that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The correlation of its ranks among the past with the outcome's signed ranks, the mean over
    /// instruments.
    pub correlation: f64,
    /// The share of missing values.
    pub missing: f64,
}

/// A column's findings.
struct Finding {
    column: usize,
    values: usize,
    varies: bool,
    infinite: u64,
    correlation: f64,
    /// Ranks within instruments on some rows, of length 1.
    sketch: Vec<f32>,
}

/// The rows a column is looked at on, with their outcomes.
pub(super) struct Screen<'a> {
    source: &'a dyn ColumnSource,
    drawn: &'a Drawn,
    before: i64,
    /// The rows of each instrument that has enough of them, as ranges of the drawn rows.
    groups: Vec<Range<usize>>,
    /// The outcome of each drawn row, and its side.
    outcome: Vec<f32>,
    side: Vec<f32>,
    findings: Vec<Finding>,
    buffer: Vec<f32>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(
        source: &'a dyn ColumnSource,
        walk: &Walk<'_>,
        drawn: &'a Drawn,
        before: i64,
    ) -> Self {
        let mut groups = Vec::new();
        let mut start = 0;
        for rows in walk.by_instrument(&drawn.rows) {
            if rows.len() >= FEWEST {
                groups.push(start..start + rows.len());
            }
            start += rows.len();
        }
        let outcome = |row: &u32| walk.rows[*row as usize].target;
        let side = |row: &u32| f32::from(u8::from(walk.label(*row) == Some(true)));
        Self {
            source,
            drawn,
            before,
            groups,
            outcome: drawn.rows.iter().map(outcome).collect(),
            side: drawn.rows.iter().map(side).collect(),
            findings: Vec::new(),
            buffer: vec![0.0; walk.rows.len()],
        }
    }

    /// Looks at the next column; `false` after the last.
    pub(super) fn step(&mut self) -> Result<bool, DatasetError> {
        let column = self.findings.len();
        let Some(name) = self.source.features().get(column) else {
            return Ok(false);
        };
        self.source
            .read(column, Some(self.before), &mut self.buffer)?;
        let infinite = without_infinite(&mut self.buffer);
        let value = |row: &u32| self.buffer[*row as usize];
        let values: Vec<f32> = self.drawn.rows.iter().map(value).collect();
        self.refuse_outcome(name, &values)?;
        let mut present = values.iter().filter(|value| !value.is_nan());
        let first = present.next().copied();
        let varies = first.is_some_and(|first| present.any(|value| *value != first));
        self.findings.push(Finding {
            column,
            values: values.iter().filter(|value| !value.is_nan()).count(),
            varies,
            infinite,
            correlation: self.mean(&values, &self.outcome, |a, b| {
                along(&past_ranks(a), &self.signed(b))
            }),
            sketch: if varies {
                self.sketch(&values)
            } else {
                Vec::new()
            },
        });
        Ok(true)
    }

    fn refuse_outcome(&self, name: &str, values: &[f32]) -> Result<(), EnsembleError> {
        let by_value = |a: &[f32], b: &[f32]| pearson(a, b);
        let mut found = vec![
            self.mean_size(values, &self.outcome, by_value),
            self.mean_size(values, &self.outcome, ranked),
        ];
        if self.source.target() == Target::Return {
            found.push(self.mean_size(values, &self.side, by_value));
        }
        match found.into_iter().find(|size| *size >= 1.0 - LEAK_TOLERANCE) {
            Some(correlation) => Err(EnsembleError::OutcomeByCorrelation {
                column: name.to_owned(),
                correlation,
            }),
            None => Ok(()),
        }
    }

    /// Returns the mean over instruments, by rows, of a correlation over the rows with a value.
    fn mean(&self, a: &[f32], b: &[f32], of: impl Fn(&[f32], &[f32]) -> f64) -> f64 {
        let (mut sum, mut rows) = (0.0, 0.0);
        for group in &self.groups {
            let pairs = group.clone().filter(|&row| !a[row].is_nan());
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.map(|row| (a[row], b[row])).unzip();
            if a.len() >= FEWEST {
                sum += of(&a, &b) * a.len() as f64;
                rows += a.len() as f64;
            }
        }
        if rows == 0.0 { 0.0 } else { sum / rows }
    }

    /// Returns the signed ranks of outcomes; sides count alike.
    fn signed(&self, outcome: &[f32]) -> Vec<f32> {
        if self.source.target() == Target::Label {
            return outcome.iter().map(|label| 2.0 * label - 1.0).collect();
        }
        let sizes: Vec<f32> = outcome.iter().map(|value| value.abs()).collect();
        let signed = outcome.iter().zip(ranks(&sizes));
        signed
            .map(|(value, rank)| (rank + 0.5).copysign(*value))
            .collect()
    }

    fn mean_size(&self, a: &[f32], b: &[f32], of: impl Fn(&[f32], &[f32]) -> f64) -> f64 {
        self.mean(a, b, |a, b| of(a, b).abs())
    }

    /// Returns the ranks within instruments on every so many rows, centred, of length 1; a missing
    /// value is in the middle.
    fn sketch(&self, values: &[f32]) -> Vec<f32> {
        let stride = values.len().div_ceil(SKETCH).max(1);
        let mut sketch = Vec::new();
        for group in &self.groups {
            let some: Vec<f32> = group
                .clone()
                .step_by(stride)
                .map(|row| values[row])
                .collect();
            let present: Vec<f32> = some.iter().copied().filter(|v| !v.is_nan()).collect();
            let mut ranks = ranks(&present).into_iter();
            let middle = (present.len() as f32 - 1.0) / 2.0;
            let scale = (present.len() as f32).max(1.0);
            let centred = |value: &f32| {
                let rank = if value.is_nan() { None } else { ranks.next() };
                rank.map_or(0.0, |rank| (rank - middle) / scale)
            };
            sketch.extend(some.iter().map(centred));
        }
        let length = sketch
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        if length > 0.0 {
            for value in &mut sketch {
                *value = (f64::from(*value) / length) as f32;
            }
        }
        sketch
    }

    /// Returns the columns to keep and what was found.
    pub(super) fn finish(
        self,
        settings: &EnsembleSettings,
    ) -> Result<(Vec<usize>, Screening), EnsembleError> {
        let name = |finding: &Finding| self.source.features()[finding.column].clone();
        let mut missing = Vec::new();
        let mut constant = Vec::new();
        let mut usable = Vec::new();
        for finding in &self.findings {
            if finding.values == 0 {
                missing.push(name(finding));
            } else if finding.varies {
                usable.push(finding);
            } else {
                constant.push(name(finding));
            }
        }
        if usable.is_empty() {
            return Err(EnsembleError::NoFeature {
                offered: self.findings.len(),
                missing: missing.len(),
                constant: constant.len(),
            });
        }
        // Best first; of equals the first.
        usable.sort_by(|a, b| {
            let by_size = b.correlation.abs().total_cmp(&a.correlation.abs());
            by_size.then(a.column.cmp(&b.column))
        });
        let mut kept: Vec<&Finding> = Vec::new();
        let mut alike = 0;
        for finding in usable {
            if kept.len() == settings.features {
                break;
            }
            let like = |other: &&Finding| dot(&other.sketch, &finding.sketch).abs();
            if kept
                .iter()
                .any(|other| like(other) > settings.max_correlation)
            {
                alike += 1;
            } else {
                kept.push(finding);
            }
        }
        let rows = self.drawn.rows.len();
        let infinite = self.findings.iter().filter(|finding| finding.infinite > 0);
        let screening = Screening {
            offered: self.findings.len(),
            rows,
            effective_rows: self.drawn.effective,
            through: self.drawn.through,
            missing,
            constant,
            infinite: infinite.map(|f| (name(f), f.infinite)).collect(),
            kept: kept
                .iter()
                .map(|finding| Kept {
                    name: name(finding),
                    correlation: finding.correlation,
                    missing: 1.0 - finding.values as f64 / rows as f64,
                })
                .collect(),
            alike,
        };
        Ok((
            kept.iter().map(|finding| finding.column).collect(),
            screening,
        ))
    }
}

/// Turns infinite values into missing ones and returns how many there were.
pub(super) fn without_infinite(values: &mut [f32]) -> u64 {
    let mut infinite = 0;
    for value in values {
        if value.is_infinite() {
            *value = f32::NAN;
            infinite += 1;
        }
    }
    infinite
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Returns the correlation of the ranks.
fn ranked(a: &[f32], b: &[f32]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// Returns how much one goes along with the other, from -1 to 1, nothing centred.
fn along(a: &[f32], b: &[f32]) -> f64 {
    let size = (dot(a, a) * dot(b, b)).sqrt();
    if size > 0.0 { dot(a, b) / size } else { 0.0 }
}

/// Returns for each value where it lies among those before it, from -0.5 to 0.5.
fn past_ranks(values: &[f32]) -> Vec<f32> {
    let ranks = ranks(values);
    // Mean ranks are multiples of a half.
    let place = |rank: f32| (2.0 * rank) as usize + 1;
    let mut seen = vec![0_u32; 2 * values.len() + 1];
    let up_to = |seen: &[u32], mut at: usize| {
        let mut count = 0;
        while at > 0 {
            count += seen[at];
            at &= at - 1;
        }
        count
    };
    let mut past = Vec::with_capacity(values.len());
    for (before, &rank) in ranks.iter().enumerate() {
        let at = place(rank);
        let (less, not_more) = (up_to(&seen, at - 1), up_to(&seen, at));
        let middle = (less + not_more) as f32 / 2.0;
        past.push(if before == 0 {
            0.0
        } else {
            middle / before as f32 - 0.5
        });
        // A Fenwick tree: counts of the places up to each.
        let mut slot = at;
        while slot < seen.len() {
            seen[slot] += 1;
            slot += slot & slot.wrapping_neg();
        }
    }
    past
}

/// Returns the correlation; 0 where one does not vary.
fn pearson(a: &[f32], b: &[f32]) -> f64 {
    let n = a.len() as f64;
    let mean = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a) - mean_a, f64::from(*b) - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let size = (aa * bb).sqrt();
    if size > 0.0 { ab / size } else { 0.0 }
}

/// Returns the rank of each value from 0, equal values sharing their mean rank.
fn ranks(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<(f32, u32)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|a, b| a.0 == b.0) {
        let mean = start as f32 + (equal.len() as f32 - 1.0) / 2.0;
        for (_, row) in equal {
            ranks[*row as usize] = mean;
        }
        start += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        assert_eq!(ranks(&[0.0, -0.0]), [0.5, 0.5]);
        assert!(ranks(&[]).is_empty());
    }

    #[test]
    fn places_among_the_past() {
        let check = |values: &[f32]| {
            let found = past_ranks(values);
            for (row, value) in values.iter().enumerate().skip(1) {
                let past = &values[..row];
                let less = past.iter().filter(|other| *other < value).count() as f32;
                let equal = past.iter().filter(|other| *other == value).count() as f32;
                let expected = (less + equal / 2.0) / row as f32 - 0.5;
                assert!((found[row] - expected).abs() < 1e-6, "{row}");
            }
        };
        check(&[3.0, 1.0, 3.0, 2.0, 3.0, 9.0, -1.0]);
        let long: Vec<f32> = (0..500).map(|i| (i * 7919 % 101) as f32).collect();
        check(&long);
        assert!(past_ranks(&[]).is_empty());
    }

    /// Ranked in the whole window a random walk seems to foretell its own next steps.
    #[test]
    fn a_random_walk_foretells_nothing() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let (mut whole, mut past) = (0.0, 0.0);
        for _ in 0..400 {
            let steps: Vec<f32> = (0..201)
                .map(|_| random.random_range(-1.0_f32..1.0))
                .collect();
            let mut level = 0.0;
            let walk: Vec<f32> = steps[..200]
                .iter()
                .map(|step| {
                    level += step;
                    level
                })
                .collect();
            whole += ranked(&walk, &steps[1..]) / 400.0;
            past += along(&past_ranks(&walk), &steps[1..]) / 400.0;
        }
        assert!(whole < -0.04, "{whole}");
        assert!(past.abs() < 0.01, "{past}");
    }

    #[test]
    fn correlations_know_their_signs() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let cubes = [-1.0, -8.0, -27.0, -64.0];
        assert!((ranked(&a, &cubes) + 1.0).abs() < 1e-12);
        assert!((pearson(&a, &[2.0, 4.0, 6.0, 8.0]) - 1.0).abs() < 1e-12);
        assert_eq!(pearson(&a, &[5.0; 4]), 0.0);
    }
}
