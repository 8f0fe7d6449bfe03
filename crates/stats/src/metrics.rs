//! Scores of decisions and of decision probabilities.
//!
//! The order of arguments is always truth first. Scores of no rows are NaN.
//! Intervals are not computed here: pass any of these functions, applied to
//! resampled rows, to [`crate::bootstrap::block_bootstrap`].

use serde::Serialize;

use crate::quantile_sorted;

/// The smallest probability that [`log_loss`] gives to what happened: a
/// forecast is never scored as surer than one in a million, so one row costs at
/// most 13.8 nats and a single certain mistake does not decide a comparison.
pub const PROBABILITY_FLOOR: f64 = 1e-6;

/// Returns the fraction of rows with `truth == predicted`, in `[0, 1]`.
///
/// # Panics
/// If the lengths differ.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> f64 {
    agreement(truth, predicted)
}

/// Returns the fraction of rows on which two arms decide alike, in `[0, 1]`.
///
/// # Panics
/// If the lengths differ.
pub fn agreement(a: &[usize], b: &[usize]) -> f64 {
    assert_eq!(a.len(), b.len(), "two arms with different rows");
    let equal = a.iter().zip(b).filter(|(x, y)| x == y).count();
    equal as f64 / a.len() as f64
}

/// Returns the counts `[truth][predicted]`, a `classes` by `classes` table.
///
/// # Panics
/// If the lengths differ or a class is not below `classes`.
pub fn confusion(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<Vec<usize>> {
    assert_eq!(truth.len(), predicted.len(), "truth and predictions differ");
    let mut table = vec![vec![0; classes]; classes];
    for (&t, &p) in truth.iter().zip(predicted) {
        table[t][p] += 1;
    }
    table
}

/// Returns the mean over the classes *present in `truth`* of the fraction of
/// their rows that is predicted right. Always predicting one class scores
/// `1 / (classes present)`.
///
/// # Panics
/// If the lengths differ or a class is not below `classes`.
pub fn balanced_accuracy(truth: &[usize], predicted: &[usize], classes: usize) -> f64 {
    let table = confusion(truth, predicted, classes);
    let mut sum = 0.0;
    let mut present = 0;
    for (class, row) in table.iter().enumerate() {
        let rows: usize = row.iter().sum();
        if rows > 0 {
            sum += row[class] as f64 / rows as f64;
            present += 1;
        }
    }
    sum / f64::from(present)
}

/// Returns the mean of `-ln max(p[truth], PROBABILITY_FLOOR)` in nats. Rows of
/// `probabilities` have one entry per class.
///
/// # Panics
/// If the lengths differ or a class has no column.
pub fn log_loss<P: AsRef<[f64]>>(truth: &[usize], probabilities: &[P]) -> f64 {
    mean_over_rows(truth, probabilities, |t, p| {
        -p[t].max(PROBABILITY_FLOOR).ln()
    })
}

/// Returns the multiclass Brier score in Brier's original form (1950, eq. 2):
/// the mean over rows of `sum_k (p[k] - [truth == k])^2`, in `[0, 2]`. Uniform
/// forecasts over three classes score 2/3. For two classes it is twice the
/// one-sided score that many libraries call by the same name.
///
/// # Panics
/// If the lengths differ or a class has no column.
pub fn brier<P: AsRef<[f64]>>(truth: &[usize], probabilities: &[P]) -> f64 {
    mean_over_rows(truth, probabilities, |t, p| {
        let square = |(k, &x): (usize, &f64)| (x - f64::from(u8::from(k == t))).powi(2);
        assert!(t < p.len(), "class {t} has no probability");
        p.iter().enumerate().map(square).sum()
    })
}

fn mean_over_rows<P: AsRef<[f64]>>(
    truth: &[usize],
    probabilities: &[P],
    score: impl Fn(usize, &[f64]) -> f64,
) -> f64 {
    assert_eq!(truth.len(), probabilities.len(), "truth and rows differ");
    let rows = truth.iter().zip(probabilities);
    rows.map(|(&t, p)| score(t, p.as_ref())).sum::<f64>() / truth.len() as f64
}

/// Returns for each row whether its decision differs from the previous one of
/// the same group (instrument); `None` for the first row of a group. Rows are in
/// time order, groups may be interleaved. The group `g` may be any number.
///
/// # Panics
/// If the lengths differ.
pub fn flips(groups: &[usize], decisions: &[usize]) -> Vec<Option<bool>> {
    assert_eq!(groups.len(), decisions.len(), "groups and decisions differ");
    let mut last = std::collections::BTreeMap::new();
    let pairs = groups.iter().zip(decisions);
    pairs
        .map(|(group, &decision)| {
            last.insert(group, decision)
                .map(|before| before != decision)
        })
        .collect()
}

/// Returns the fraction of decisions that differ from the one before, for one
/// series in time order. NaN for fewer than two decisions.
pub fn flip_rate(decisions: &[usize]) -> f64 {
    let changes = decisions.windows(2).filter(|w| w[0] != w[1]).count();
    changes as f64 / decisions.len().saturating_sub(1) as f64
}

/// Returns the flip rate over all groups together, each decision compared with
/// the one before of its own group; see [`flips`].
///
/// # Panics
/// If the lengths differ.
pub fn flip_rate_by(groups: &[usize], decisions: &[usize]) -> f64 {
    let known: Vec<bool> = flips(groups, decisions).into_iter().flatten().collect();
    known.iter().filter(|&&flip| flip).count() as f64 / known.len() as f64
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// The smallest forecast in the bin.
    pub low: f64,
    /// The largest forecast in the bin.
    pub high: f64,
    /// The mean forecast.
    pub mean_predicted: f64,
    /// The fraction of rows in which the event happened.
    pub observed: f64,
    /// The number of rows.
    pub count: usize,
}

/// Returns equal-mass reliability bins in ascending order: the edges are the
/// quantiles of the forecasts, a forecast on an edge belongs to the bin below
/// it, equal forecasts share a bin, and empty bins are left out. This is the
/// `quantile` strategy of scikit-learn's `calibration_curve`.
///
/// # Panics
/// If the lengths differ, `bins` is 0 or a forecast is NaN.
pub fn reliability(forecast: &[f64], happened: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    assert_eq!(
        forecast.len(),
        happened.len(),
        "forecasts and events differ"
    );
    assert!(bins > 0, "a reliability diagram needs at least one bin");
    assert!(!forecast.iter().any(|p| p.is_nan()), "a forecast is NaN");
    let mut order: Vec<usize> = (0..forecast.len()).collect();
    order.sort_by(|&a, &b| forecast[a].total_cmp(&forecast[b]));
    let ascending: Vec<f64> = order.iter().map(|&row| forecast[row]).collect();

    let mut result = Vec::with_capacity(bins);
    let mut start = 0;
    for bin in 1..=bins {
        let end = if bin == bins {
            ascending.len()
        } else {
            let edge = quantile_sorted(&ascending, bin as f64 / bins as f64);
            ascending.partition_point(|&p| p <= edge)
        };
        if end > start {
            let rows = &order[start..end];
            let events = rows.iter().filter(|&&row| happened[row]).count();
            result.push(ReliabilityBin {
                low: ascending[start],
                high: ascending[end - 1],
                mean_predicted: ascending[start..end].iter().sum::<f64>() / rows.len() as f64,
                observed: events as f64 / rows.len() as f64,
                count: rows.len(),
            });
            start = end;
        }
    }
    result
}

/// Returns the expected calibration error: the mean over rows of
/// `|mean_predicted - observed|` of their bin. It is biased upwards (a perfect
/// forecaster scores above 0), so show it only beside
/// [`squared_calibration_error`].
pub fn ece(bins: &[ReliabilityBin]) -> f64 {
    weighted_mean(bins, |b| (b.mean_predicted - b.observed).abs())
}

/// Returns the debiased squared calibration error: the mean over rows of
/// `(mean_predicted - observed)^2 - observed (1 - observed) / (count - 1)` of
/// their bin (Kumar, Liang and Ma 2019, section 5). It is about 0 for a
/// perfect forecaster and may be slightly negative. Bins of one row are left
/// out.
pub fn squared_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let usable: Vec<ReliabilityBin> = bins.iter().filter(|b| b.count > 1).copied().collect();
    weighted_mean(&usable, |b| {
        let noise = b.observed * (1.0 - b.observed) / (b.count - 1) as f64;
        (b.mean_predicted - b.observed).powi(2) - noise
    })
}

fn weighted_mean(bins: &[ReliabilityBin], value: impl Fn(&ReliabilityBin) -> f64) -> f64 {
    let rows: usize = bins.iter().map(|b| b.count).sum();
    let sum: f64 = bins.iter().map(|b| b.count as f64 * value(b)).sum();
    sum / rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_counts_only_classes_that_occur() {
        // Class 2 never occurs: the constant answer 0 scores 1/2, not 1/3.
        assert_eq!(balanced_accuracy(&[0, 0, 0, 1], &[0, 0, 0, 0], 3), 0.5);
        // A prediction of the absent class is simply wrong.
        assert_eq!(balanced_accuracy(&[0, 0, 1, 1], &[0, 2, 1, 1], 3), 0.75);
        assert!(balanced_accuracy(&[], &[], 3).is_nan());
    }

    #[test]
    fn confusion_has_truth_in_rows() {
        let table = confusion(&[0, 0, 1], &[1, 0, 1], 2);
        assert_eq!(table, vec![vec![1, 1], vec![0, 1]]);
    }

    #[test]
    fn brier_is_two_thirds_for_uniform_and_two_for_a_certain_mistake() {
        let uniform = [1.0 / 3.0; 3];
        assert!((brier(&[1], &[uniform]) - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(brier(&[1], &[[1.0, 0.0, 0.0]]), 2.0);
        assert_eq!(brier(&[1], &[[0.0, 1.0, 0.0]]), 0.0);
    }

    #[test]
    fn log_loss_clips_certain_mistakes() {
        let worst = -PROBABILITY_FLOOR.ln();
        assert_eq!(log_loss(&[0], &[vec![0.0, 1.0]]), worst);
        assert_eq!(log_loss(&[1], &[vec![0.0, 1.0]]), 0.0);
    }

    #[test]
    fn flips_are_counted_within_each_group() {
        assert_eq!(flip_rate(&[0, 0, 1, 0]), 2.0 / 3.0);
        assert!(flip_rate(&[0]).is_nan() && flip_rate(&[]).is_nan());
        let groups = [7, 3, 7, 3];
        // Interleaved, every neighbour differs; within a group nothing changes.
        assert_eq!(flip_rate_by(&groups, &[0, 1, 0, 1]), 0.0);
        assert_eq!(flip_rate_by(&groups, &[0, 1, 1, 1]), 0.5);
        assert_eq!(flips(&groups, &[0, 1, 1, 1])[..2], [None, None]);
    }

    #[test]
    fn equal_forecasts_share_a_bin() {
        let forecast = [0.5; 10];
        let happened: Vec<bool> = (0..10).map(|i| i % 2 == 0).collect();
        let bins = reliability(&forecast, &happened, 5);
        assert_eq!(bins.len(), 1);
        assert_eq!((bins[0].count, bins[0].observed), (10, 0.5));
        assert_eq!(ece(&bins), 0.0);
        assert!(reliability(&[], &[], 5).is_empty() && ece(&[]).is_nan());
    }

    #[test]
    fn the_debiased_error_subtracts_sampling_noise() {
        let bin = ReliabilityBin {
            low: 0.4,
            high: 0.6,
            mean_predicted: 0.5,
            observed: 0.6,
            count: 25,
        };
        assert!((ece(&[bin]) - 0.1).abs() < 1e-12);
        // 0.01 - 0.24 / 24 = 0: one standard deviation is no evidence.
        assert!(squared_calibration_error(&[bin]).abs() < 1e-12);
    }
}
