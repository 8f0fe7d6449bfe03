//! Takes out examples that say nearly the same as one before them.
//!
//! Two examples are near-duplicates if they share at least [`NEAR_DUPLICATE`] of
//! their runs of three words (Jaccard, question and answer together, letters in
//! lower case). Candidates are found by MinHash signatures in bands (Broder 1997),
//! each is then measured exactly.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::KnowledgeExample;

/// The share of common word triples from which two examples count as the same.
pub const NEAR_DUPLICATE: f64 = 0.9;

/// Hashes of a signature, in bands of [`ROWS`]: pairs above 0.9 are missed with
/// probability (1 - 0.9^8)^16 = 0.0001.
const BANDS: usize = 16;
const ROWS: usize = 8;

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removed {
    /// The measure, in words.
    pub measure: String,
    /// Examples taken out.
    pub examples: usize,
    /// Examples before.
    pub of: usize,
}

/// Texts that were kept so far, as word triples, to hold the next ones against.
#[derive(Default)]
struct Sieve {
    kept: Vec<HashSet<u64>>,
    bands: HashMap<(usize, u64), Vec<usize>>,
}

impl Sieve {
    /// Keeps a text unless it is a near-duplicate of one before it; returns whether it is kept.
    fn keeps(&mut self, triples: HashSet<u64>) -> bool {
        let keys = keys(&triples);
        let mut twins = keys
            .iter()
            .flat_map(|key| self.bands.get(key).into_iter().flatten());
        if twins.any(|&other| jaccard(&triples, &self.kept[other]) >= NEAR_DUPLICATE) {
            return false;
        }
        for key in keys {
            self.bands.entry(key).or_default().push(self.kept.len());
        }
        self.kept.push(triples);
        true
    }
}

/// Returns the examples that are no near-duplicates of earlier ones.
pub(crate) fn without_near_duplicates(
    mut examples: Vec<KnowledgeExample>,
) -> (Vec<KnowledgeExample>, Removed) {
    let of = examples.len();
    let mut sieve = Sieve::default();
    examples.retain(|example| sieve.keeps(triples(example)));
    let removed = Removed {
        measure: format!(
            "Jaccard of word triples of question and answer, lower case, at least {NEAR_DUPLICATE}"
        ),
        examples: of - examples.len(),
        of,
    };
    (examples, removed)
}

/// Returns the share of texts that are near-duplicates of an earlier one; 0 of none.
pub(crate) fn near_duplicate_rate<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    let mut sieve = Sieve::default();
    let (mut of, mut near) = (0_usize, 0_usize);
    for text in texts {
        of += 1;
        near += usize::from(!sieve.keeps(triples_of(&text.to_lowercase())));
    }
    near as f64 / of.max(1) as f64
}

/// Returns the hashes of all runs of three words of a question and its answer.
fn triples(example: &KnowledgeExample) -> HashSet<u64> {
    let text: Vec<String> = example
        .messages
        .iter()
        .map(|message| message.content.to_lowercase())
        .collect();
    triples_of(&text.join(" "))
}

fn triples_of(text: &str) -> HashSet<u64> {
    let words: Vec<u64> = text
        .split(|letter: char| !letter.is_alphanumeric() && letter != '.' && letter != '-')
        .filter(|word| !word.is_empty())
        .map(word_hash)
        .collect();
    words
        .windows(3)
        .map(|three| mix(mix(mix(17, three[0]), three[1]), three[2]))
        .collect()
}

fn word_hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// SplitMix64's finaliser over both.
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(29) ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn keys(triples: &HashSet<u64>) -> Vec<(usize, u64)> {
    (0..BANDS)
        .map(|band| {
            let key = (0..ROWS).fold(0, |key, row| {
                let salt = (band * ROWS + row) as u64;
                let least = triples.iter().map(|triple| mix(salt, *triple)).min();
                mix(key, least.unwrap_or(0))
            });
            (band, key)
        })
        .collect()
}

fn jaccard(a: &HashSet<u64>, b: &HashSet<u64>) -> f64 {
    let both = a.intersection(b).count();
    let either = a.len() + b.len() - both;
    if either == 0 {
        1.0
    } else {
        both as f64 / either as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use crate::knowledge::Kind;

    fn example(text: &str) -> KnowledgeExample {
        KnowledgeExample {
            messages: vec![Message {
                role: "user".to_owned(),
                content: text.to_owned(),
            }],
            id: text.to_owned(),
            kind: Kind::Definition,
            formula: "x.y".to_owned(),
            family: "x".to_owned(),
            instrument: None,
            open_time: None,
        }
    }

    #[test]
    fn only_near_duplicates_go() {
        let words: Vec<String> = (0..60).map(|word| format!("w{word}")).collect();
        let long = words.join(" ");
        let nearly = format!("{long} and");
        let half = words[..30].join(" ") + " " + &words[..30].join(" z ");
        let (kept, removed) = without_near_duplicates(vec![
            example(&long),
            example(&nearly),
            example(&half),
            example(&long.to_uppercase()),
        ]);
        assert_eq!(kept.len(), 2);
        assert_eq!((removed.examples, removed.of), (2, 4));
        assert_eq!(kept[1].id, half);
    }
}
