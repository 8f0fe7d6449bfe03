//! How far above chance a probe scores, with a bound that knows that outcomes overlap in time.

use stats::bootstrap::block_bootstrap;

/// The confidence of the interval: one false alarm in a thousand at its lower end.
const LEVEL: f64 = 0.998;
/// Resamples: some ten of them lie beyond each end.
const REPLICATES: usize = 5_000;
/// The quantile of the normal distribution at that end.
const QUANTILE: f64 = 3.09;
/// Rows of each class, and blocks of time, without which nothing is said.
const FEWEST_OF_CLASS: usize = 10;
const FEWEST_BLOCKS: usize = 20;
/// Pairs of classes that are the two sides of one question.
const SIDES: [(&str, &str); 6] = [
    ("BUY", "SELL"),
    ("LONG", "SHORT"),
    ("UP", "DOWN"),
    ("APPROVE", "VETO"),
    ("BULLISH", "BEARISH"),
    ("1", "0"),
];

/// What a probe said about rows it did not learn from.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// The classes by index.
    pub(super) classes: Vec<String>,
    /// The class of each row.
    pub(super) truth: Vec<usize>,
    /// The probability of each class, by row.
    pub(super) probabilities: Vec<Vec<f64>>,
    /// The block of time of each row.
    pub(super) blocks: Vec<usize>,
}

/// One score: the mean over classes of the share that is answered right. Giving one answer always,
/// such as the majority's, scores exactly `chance`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    /// `all classes` or `BUY against SELL`.
    pub(super) what: String,
    pub(super) value: f64,
    /// The lower end of the interval.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) chance: f64,
    pub(super) rows: usize,
    pub(super) blocks: usize,
}

impl Score {
    /// Reports whether the score is more than `edge` above chance beyond doubt.
    pub(super) fn beats_chance_by(&self, edge: f64) -> bool {
        self.low > self.chance + edge
    }

    /// Returns the score in words.
    pub(super) fn words(&self) -> String {
        format!(
            "{}: {:.1} % right, each class counted alike [{:.1}, {:.1}], chance {:.1} % ({} rows, \
             {} blocks of time)",
            self.what,
            self.value * 100.0,
            self.low * 100.0,
            self.high * 100.0,
            self.chance * 100.0,
            self.rows,
            self.blocks
        )
    }
}

impl Answers {
    /// Scores all classes that occur; none for too few rows or blocks.
    pub(super) fn all_classes(&self, seed: u64) -> Option<Score> {
        let every: Vec<usize> = (0..self.classes.len()).collect();
        self.among(&every, "all classes", seed)
    }

    /// Scores the two sides against each other on the rows that are one of them, which volatility
    /// does not tell; none where the classes have no two sides.
    pub(super) fn sides(&self, seed: u64) -> Option<Score> {
        let find = |name: &str| {
            let mut classes = self.classes.iter();
            classes.position(|class| class.eq_ignore_ascii_case(name))
        };
        let (name, pair) = SIDES.iter().find_map(|(one, other)| {
            let pair = vec![find(one)?, find(other)?];
            Some((format!("{one} against {other}"), pair))
        })?;
        self.among(&pair, &name, seed)
    }

    fn among(&self, wanted: &[usize], what: &str, seed: u64) -> Option<Score> {
        let count = |class: usize| self.truth.iter().filter(|&&t| t == class).count();
        let classes: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|&class| count(class) >= FEWEST_OF_CLASS)
            .collect();
        if classes.len() < 2 {
            return None;
        }
        let position = |class: usize| classes.iter().position(|&c| c == class);
        let mut rows: Vec<(usize, bool)> = Vec::new();
        let mut blocks = Vec::new();
        for (row, &truth) in self.truth.iter().enumerate() {
            let Some(truth) = position(truth) else {
                continue;
            };
            let of_class = |class: &usize| self.probabilities[row][*class];
            let among: Vec<f64> = classes.iter().map(of_class).collect();
            rows.push((truth, stats::argmax(&among) == truth));
            blocks.push(self.blocks[row]);
        }
        let mut distinct = blocks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < FEWEST_BLOCKS {
            return None;
        }
        let balanced = |chosen: &[usize]| {
            let mut right = vec![0_usize; classes.len()];
            let mut all = vec![0_usize; classes.len()];
            for &row in chosen {
                all[rows[row].0] += 1;
                right[rows[row].0] += usize::from(rows[row].1);
            }
            let shares = right.iter().zip(&all).map(|(&r, &n)| r as f64 / n as f64);
            // A class that a resample misses makes it not a number, which is left out.
            shares.sum::<f64>() / classes.len() as f64
        };
        let every: Vec<usize> = (0..rows.len()).collect();
        let value = balanced(&every);
        let interval = block_bootstrap(&blocks, REPLICATES, seed, LEVEL, &balanced);
        let chance = 1.0 / classes.len() as f64;
        let blocks = distinct.len() as f64;
        // Resampling rows that are all answered alike gives no width at all: one block more on
        // each side gives the least.
        let smooth = (value * blocks + 1.0) / (blocks + 2.0);
        let least = QUANTILE * (smooth * (1.0 - smooth) / rows.len() as f64).sqrt();
        // Few blocks: as the quantiles of Student's t are wider than the normal's (Fisher's
        // expansion, first term).
        let wider = 1.0 + (QUANTILE * QUANTILE + 1.0) / (4.0 * (blocks - 1.0));
        let reach = |end: f64| wider * if end.is_nan() { 1.0 } else { end.max(least) };
        let (low, high) = (value - interval.low, interval.high - value);
        Some(Score {
            what: what.to_owned(),
            value,
            low: (value - reach(low)).max(0.0),
            high: (value + reach(high)).min(1.0),
            chance,
            rows: rows.len(),
            blocks: distinct.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rows answered right with a probability, three classes, two rows a block.
    fn answers(rows: usize, right: f64, seed: u64) -> Answers {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let truth: Vec<usize> = (0..rows).map(|_| random.random_range(0..3)).collect();
        let mut say = |truth: usize| {
            let said = if random.random::<f64>() < right {
                truth
            } else {
                (truth + random.random_range(1..3)) % 3
            };
            let mut row = vec![0.1; 3];
            row[said] = 0.8;
            row
        };
        Answers {
            classes: ["BUY", "SELL", "HOLD"].map(str::to_owned).to_vec(),
            probabilities: truth.iter().map(|&t| say(t)).collect(),
            blocks: (0..rows).map(|row| row / 2).collect(),
            truth,
        }
    }

    #[test]
    fn guessing_is_chance_and_knowing_is_not() {
        let mut alarms = 0;
        for seed in 0..40 {
            let score = answers(300, 1.0 / 3.0, seed).all_classes(1).unwrap();
            alarms += usize::from(score.beats_chance_by(0.0));
        }
        assert_eq!(alarms, 0);
        let score = answers(300, 0.6, 1).all_classes(1).unwrap();
        assert!(score.beats_chance_by(0.1), "{}", score.words());
        let sides = answers(300, 0.6, 1).sides(1).unwrap();
        assert!(sides.beats_chance_by(0.05), "{}", sides.words());
        assert!((sides.chance, sides.rows < 300) == (0.5, true));
    }

    #[test]
    fn always_the_same_answer_is_exactly_chance() {
        let mut one = answers(200, 1.0, 3);
        one.probabilities = vec![vec![0.2, 0.3, 0.5]; 200];
        let score = one.all_classes(1).unwrap();
        assert_eq!(score.value, 1.0 / 3.0);
        assert!(!score.beats_chance_by(0.0));
    }

    #[test]
    fn too_little_says_nothing() {
        assert!(answers(20, 0.9, 1).all_classes(1).is_none());
        let mut narrow = answers(300, 0.9, 1);
        narrow.blocks = vec![0; 300];
        assert!(narrow.all_classes(1).is_none());
        let mut others = answers(300, 0.9, 1);
        others.classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert!(others.sides(1).is_none());
    }
}
