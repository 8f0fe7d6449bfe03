//! Prompts as columns of numbers: hashed n-grams of words, the numbers behind words, and features.
//!
//! Columns are chosen on the rows that are learned from and on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::{Slot, slots};
use super::record::AuditRecord;

/// Words of the longest n-gram.
const LONGEST: usize = 3;
/// Buckets that n-grams are hashed into.
const BUCKETS: u64 = 1 << 20;
/// N-grams kept: those whose presence goes most with the class.
const MOST_GRAMS: usize = 160;
/// Numbers kept: those that most prompts have.
const MOST_SLOTS: usize = 40;
/// Rows that an n-gram has to be in, and to be missing from, to be looked at.
const FEWEST_ROWS: usize = 4;
/// Bytes of a prompt that are looked at.
const LONGEST_PROMPT: usize = 1 << 16;

/// How prompts become columns.
pub(super) struct Columns {
    /// Bucket and, for the reader, one of its n-grams.
    grams: Vec<(u64, String)>,
    /// The words before a number, and its mean over the rows learned from.
    slots: Vec<(String, f64)>,
    /// A feature and its mean.
    features: Vec<(String, f64)>,
}

/// What is looked up in one prompt.
pub(super) struct Read<'a> {
    grams: BTreeSet<u64>,
    slots: BTreeMap<String, f64>,
    features: &'a BTreeMap<String, f64>,
}

/// Reads a record once.
pub(super) fn read(record: &AuditRecord) -> Read<'_> {
    let mut grams = BTreeSet::new();
    each_gram(&record.prompt, |bucket, _| {
        grams.insert(bucket);
    });
    let of_slot = |slot: Slot<'_>| (slot.key, squashed(slot.number.value));
    Read {
        grams,
        slots: slots(bounded(&record.prompt))
            .into_iter()
            .map(of_slot)
            .collect(),
        features: &record.features,
    }
}

impl Columns {
    /// Chooses columns from rows and their classes.
    pub(super) fn choose(
        records: &[&AuditRecord],
        rows: &[Read<'_>],
        labels: &[usize],
        classes: usize,
    ) -> Self {
        Self {
            grams: choose_grams(records, rows, labels, classes),
            slots: means(rows, |row| &row.slots, MOST_SLOTS),
            features: means(rows, |row| row.features, usize::MAX),
        }
    }

    /// Returns a row of numbers, all finite: a number that is missing has its mean.
    pub(super) fn row(&self, read: &Read<'_>) -> Vec<f64> {
        let grams = self.grams.iter();
        let grams = grams.map(|(bucket, _)| f64::from(u8::from(read.grams.contains(bucket))));
        let slots = self.slots.iter();
        let slots = slots.map(|(key, mean)| finite(read.slots.get(key), *mean));
        let features = self.features.iter();
        let features = features.map(|(key, mean)| finite(read.features.get(key), *mean));
        grams.chain(slots).chain(features).collect()
    }

    /// Returns what a column looks at, for the reader.
    pub(super) fn name(&self, column: usize) -> String {
        let (grams, slots) = (self.grams.len(), self.slots.len());
        if column < grams {
            format!("the words `{}`", self.grams[column].1)
        } else if column < grams + slots {
            format!("the number behind `{}`", self.slots[column - grams].0)
        } else {
            format!("feature `{}`", self.features[column - grams - slots].0)
        }
    }

    /// Returns the number of columns.
    pub(super) fn len(&self) -> usize {
        self.grams.len() + self.slots.len() + self.features.len()
    }
}

fn finite(value: Option<&f64>, mean: f64) -> f64 {
    value
        .copied()
        .filter(|value| value.is_finite())
        .unwrap_or(mean)
}

/// A number on a scale on which prices and percentages both fit.
fn squashed(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

/// Returns the names that most rows have, in alphabetical order, with their means.
fn means<'a>(
    rows: &'a [Read<'a>],
    of: impl Fn(&'a Read<'a>) -> &'a BTreeMap<String, f64>,
    most: usize,
) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for row in rows {
        for (name, value) in of(row).iter().filter(|(_, value)| value.is_finite()) {
            let (count, sum) = sums.entry(name).or_default();
            *count += 1;
            *sum += value;
        }
    }
    let mut kept: Vec<(&str, usize, f64)> = sums
        .into_iter()
        .filter(|(_, (count, _))| *count >= FEWEST_ROWS)
        .map(|(name, (count, sum))| (name, count, sum / count as f64))
        .collect();
    kept.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    kept.truncate(most);
    kept.sort_by_key(|(name, _, _)| *name);
    kept.into_iter()
        .map(|(name, _, mean)| (name.to_owned(), mean))
        .collect()
}

/// Returns the buckets whose presence goes most with the class, by the chi-square of the table of
/// presence and class.
fn choose_grams(
    records: &[&AuditRecord],
    rows: &[Read<'_>],
    labels: &[usize],
    classes: usize,
) -> Vec<(u64, String)> {
    let mut counts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut of_class = vec![0_usize; classes];
    for (row, &label) in rows.iter().zip(labels) {
        of_class[label] += 1;
        for &bucket in &row.grams {
            counts.entry(bucket).or_insert_with(|| vec![0; classes])[label] += 1;
        }
    }
    let mut scored: Vec<(f64, u64)> = counts
        .iter()
        .filter(|(_, count)| {
            let with: usize = count.iter().sum();
            with >= FEWEST_ROWS && rows.len() - with >= FEWEST_ROWS
        })
        .map(|(&bucket, count)| (chi_square(count, &of_class), bucket))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    // Longer n-grams around one telling word say the same; a few of them do.
    scored.truncate(MOST_GRAMS);
    let mut wanted: BTreeMap<u64, String> = BTreeMap::new();
    let buckets: BTreeSet<u64> = scored.iter().map(|(_, bucket)| *bucket).collect();
    for record in records {
        if wanted.len() == buckets.len() {
            break;
        }
        each_gram(&record.prompt, |bucket, words| {
            if buckets.contains(&bucket) && !wanted.contains_key(&bucket) {
                wanted.insert(bucket, words.join(" "));
            }
        });
    }
    let named = |(_, bucket): (f64, u64)| {
        let words = wanted.get(&bucket).cloned().unwrap_or_default();
        (bucket, words)
    };
    scored.into_iter().map(named).collect()
}

fn chi_square(with: &[usize], of_class: &[usize]) -> f64 {
    let all: usize = of_class.iter().sum();
    let share = with.iter().sum::<usize>() as f64 / all as f64;
    let cells = with.iter().zip(of_class).filter(|(_, all)| **all > 0);
    cells
        .map(|(&with, &all)| {
            let (expected, all) = (share * all as f64, all as f64);
            let apart = (with as f64 - expected).powi(2);
            apart / expected + apart / (all - expected).max(f64::MIN_POSITIVE)
        })
        .sum()
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_PROMPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Calls `each` with the bucket and the words of every n-gram.
fn each_gram(text: &str, mut each: impl FnMut(u64, &[String])) {
    let words: Vec<String> = bounded(text)
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '%' | '+' | '-' | '_')))
        .map(|word| word.trim_matches('.').to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    for start in 0..words.len() {
        for end in start + 1..=(start + LONGEST).min(words.len()) {
            each(hash(&words[start..end]) % BUCKETS, &words[start..end]);
        }
    }
}

/// FNV-1a over the words, a zero byte between them.
fn hash(words: &[String]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    for byte in bytes {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of this hash mix least.
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The published value of the byte `a`, then the zero byte that ends the word.
        let of_a: u64 = 0xaf63_dc4c_8601_ec8c;
        let state = of_a.wrapping_mul(0x0100_0000_01b3);
        assert_eq!(hash(&["a".to_owned()]), state ^ (state >> 32));
    }

    #[test]
    fn a_word_that_goes_with_the_class_comes_first() {
        let record = |row: usize| AuditRecord {
            prompt: format!(
                "Asset: X\nNoise {}\nHint: {}",
                ["one", "two", "three"][row % 3],
                ["rise", "drop"][row % 2]
            ),
            ..AuditRecord::default()
        };
        let records: Vec<AuditRecord> = (0..60).map(record).collect();
        let references: Vec<&AuditRecord> = records.iter().collect();
        let rows: Vec<Read<'_>> = records.iter().map(read).collect();
        let labels: Vec<usize> = (0..60).map(|row| row % 2).collect();
        let columns = Columns::choose(&references, &rows, &labels, 2);
        assert!(
            columns.name(0).contains("rise") || columns.name(0).contains("drop"),
            "{}",
            columns.name(0)
        );
        let row = columns.row(&rows[0]);
        assert_eq!(row.len(), columns.len());
        assert_ne!(row[0], columns.row(&rows[1])[0]);
        // `Asset: X` is in every row and says nothing.
        assert!((0..columns.len()).all(|column| columns.name(column) != "the words `asset x`"));
    }
}
