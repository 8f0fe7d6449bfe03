//! A batch as a flat list of token rows with segments: no padding anywhere.
//!
//! Sequences that begin alike share the rows of their common prefix: it is computed once and every
//! sequence's own rows attend to it. That is exact, forward and backward, because causal attention
//! never lets a prefix see what follows it.

use kernels::attention::Segment;
use kernels::elementwise::mix64;

/// One forward pass's worth of rows.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token id of each row.
    pub tokens: Vec<u32>,
    /// Position of each row in its sequence, counted from 0.
    pub positions: Vec<u32>,
    /// A key of each row's own for dropout masks.
    pub row_keys: Vec<u64>,
    /// Where each row's key and value go: its own row, or a row of a key/value cache.
    pub key_rows: Vec<usize>,
    /// Who may look at whom.
    pub segments: Vec<Segment>,
}

/// Where one sequence of [`Batch::with_shared_prefix`] ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Tokens of the sequence that live in the shared prefix.
    pub shared: usize,
    /// Row of the first token after the shared prefix.
    pub start: usize,
}

impl Placement {
    /// Returns the row of the token at `position`, wherever it lives.
    pub fn row(&self, position: usize) -> usize {
        if position < self.shared {
            position
        } else {
            self.start + position - self.shared
        }
    }
}

impl Batch {
    /// Returns the number of rows, T.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Appends a segment of consecutive tokens whose keys are its own rows.
    pub fn push(
        &mut self,
        tokens: &[u32],
        first_position: usize,
        context: Vec<std::ops::Range<usize>>,
        key: u64,
    ) {
        let start = self.len();
        let rows = start..start + tokens.len();
        self.tokens.extend_from_slice(tokens);
        for i in 0..tokens.len() {
            let position = first_position + i;
            self.positions.push(position as u32);
            self.row_keys.push(mix64(key ^ (position as u64) << 40));
        }
        self.key_rows.extend(rows.clone());
        self.segments.push(Segment {
            rows: rows.clone(),
            context,
            own: rows,
        });
    }

    /// Lays out sequences after their longest common prefix.
    ///
    /// `limits[i]` is the largest number of leading tokens of sequence i that may be shared (its
    /// first supervised position less one, so that every predicting row is its own); `keys[i]`
    /// seeds its dropout masks. Every sequence keeps at least one row of its own.
    pub fn with_shared_prefix(
        sequences: &[&[u32]],
        limits: &[usize],
        keys: &[u64],
    ) -> (Self, Vec<Placement>) {
        let shared = shared_prefix(sequences, limits);
        let mut batch = Self::default();
        if shared > 0 {
            batch.push(&sequences[0][..shared], 0, Vec::new(), keys[0]);
        }
        let mut placements = Vec::with_capacity(sequences.len());
        for (tokens, key) in sequences.iter().zip(keys) {
            placements.push(Placement {
                shared,
                start: batch.len(),
            });
            let context = if shared > 0 {
                vec![0..shared]
            } else {
                Vec::new()
            };
            batch.push(&tokens[shared..], shared, context, *key);
        }
        (batch, placements)
    }
}

/// Returns how many leading tokens all sequences share within their limits; 0 for one sequence.
pub fn shared_prefix(sequences: &[&[u32]], limits: &[usize]) -> usize {
    let [first, rest @ ..] = sequences else {
        return 0;
    };
    if rest.is_empty() {
        return 0;
    }
    let mut shared = first.len().saturating_sub(1);
    for (tokens, limit) in sequences.iter().zip(limits) {
        shared = shared.min(*limit).min(tokens.len().saturating_sub(1));
        shared = tokens[..shared]
            .iter()
            .zip(*first)
            .take_while(|(a, b)| a == b)
            .count();
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_the_common_prefix_within_the_limits() {
        let (a, b) = ([1, 2, 3, 4, 5], [1, 2, 3, 9]);
        let (batch, placed) = Batch::with_shared_prefix(&[&a, &b], &[4, 2], &[7, 8]);
        assert_eq!(batch.tokens, [1, 2, 3, 4, 5, 3, 9]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 4, 2, 3]);
        assert_eq!(
            placed,
            [
                Placement {
                    shared: 2,
                    start: 2
                },
                Placement {
                    shared: 2,
                    start: 5
                }
            ]
        );
        assert_eq!(
            batch.segments[2],
            Segment {
                rows: 5..7,
                context: vec![0..2],
                own: 5..7
            }
        );
        assert_eq!(placed[1].row(1), 1);
        assert_eq!(placed[1].row(3), 6);
    }

    #[test]
    fn one_sequence_or_equal_ones_keep_their_own_last_row() {
        let a = [1, 2, 3];
        assert_eq!(shared_prefix(&[&a], &[3]), 0);
        assert_eq!(shared_prefix(&[&a, &a], &[3, 3]), 2);
        assert_eq!(shared_prefix(&[], &[]), 0);
    }
}
