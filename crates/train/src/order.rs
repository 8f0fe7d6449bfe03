//! The order in which examples are seen.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Returns the examples of the first `seen` positions of a training over `len` examples, counted
/// over all epochs: what [`crate::sft`] and [`crate::dpo`](fn@crate::dpo) see, for whoever has to
/// repeat it elsewhere. Empty without examples.
pub fn order(len: usize, seed: u64, seen: usize) -> Vec<usize> {
    if len == 0 {
        return Vec::new();
    }
    let mut order = Order::new(len, seed);
    (0..seen).map(|position| order.at(position)).collect()
}

/// The order in which examples are seen: every epoch a fresh seeded permutation.
pub(crate) struct Order {
    len: usize,
    seed: u64,
    epoch: usize,
    permutation: Vec<usize>,
}

impl Order {
    pub(crate) fn new(len: usize, seed: u64) -> Self {
        let mut order = Self {
            len,
            seed,
            epoch: 0,
            permutation: Vec::new(),
        };
        order.shuffle(0);
        order
    }

    /// Returns the example at `position`, counted over all epochs; positions must not decrease.
    pub(crate) fn at(&mut self, position: usize) -> usize {
        let epoch = position / self.len;
        if epoch != self.epoch {
            self.shuffle(epoch);
        }
        self.permutation[position % self.len]
    }

    /// Draws the permutation of an epoch (Fisher-Yates).
    fn shuffle(&mut self, epoch: usize) {
        self.epoch = epoch;
        self.permutation = (0..self.len).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64 + 1);
        for i in (1..self.len).rev() {
            let bound = i as u64 + 1;
            // A 64-bit draw modulo a small bound: the bias is below 2^-40.
            let j = (rng.next_u64() % bound) as usize;
            self.permutation.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn every_epoch_is_another_permutation() {
        let seen = order(10, 3, 25);
        let sorted = |range: std::ops::Range<usize>| {
            let mut part = seen[range].to_vec();
            part.sort_unstable();
            part
        };
        assert_eq!(sorted(0..10), (0..10).collect::<Vec<_>>());
        assert_eq!(sorted(10..20), (0..10).collect::<Vec<_>>());
        assert_ne!(seen[..10], seen[10..20]);
        assert_ne!(seen[..10], order(10, 4, 10));
        assert!(order(0, 3, 5).is_empty());
    }
}
