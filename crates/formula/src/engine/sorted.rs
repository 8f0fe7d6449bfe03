//! Quantiles of a moving window, kept sorted for all lanes at once: the value that
//! leaves is shifted out and the new one bubbled in without a branch.

use crate::profile::WarmUp;

use super::fold::Known;
use super::history::Ring;
use super::kernel::ByRow;

/// A quantile, linear between the nearest two values (numpy's default, type 7 of
/// Hyndman and Fan 1996).
pub(crate) struct Quantile {
    ring: Ring,
    known: Known,
    counts: Vec<f64>,
    lanes: usize,
    window: usize,
    /// `window` rows of ascending values; unknown ones stand last as infinities.
    sorted: Vec<f64>,
    carry: Vec<f64>,
    shifted: Vec<bool>,
    quantile: f64,
}

impl Quantile {
    pub(crate) fn new(lanes: usize, window: usize, quantile: f64, warm_up: WarmUp) -> Self {
        Self {
            ring: Ring::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            counts: vec![0.0; lanes],
            lanes,
            window,
            sorted: vec![f64::INFINITY; window * lanes],
            carry: vec![0.0; lanes],
            shifted: vec![false; lanes],
            quantile,
        }
    }

    #[inline(always)]
    fn replace(&mut self, x: &[f64]) {
        let lanes = self.lanes;
        self.shifted.fill(false);
        // The value that leaves: the ring has not taken the new row yet.
        let leaving = self.ring.ago(self.window - 1);
        for slot in 0..self.window {
            let (head, tail) = self.sorted.split_at_mut((slot + 1) * lanes);
            let here = &mut head[slot * lanes..];
            if tail.is_empty() {
                here.fill(f64::INFINITY);
                break;
            }
            for lane in 0..lanes {
                let leaves = if leaving[lane].is_nan() {
                    f64::INFINITY
                } else {
                    leaving[lane]
                };
                self.shifted[lane] |= here[lane] == leaves;
                here[lane] = if self.shifted[lane] {
                    tail[lane]
                } else {
                    here[lane]
                };
            }
        }
        for (carry, &x) in self.carry.iter_mut().zip(x) {
            *carry = if x.is_nan() { f64::INFINITY } else { x };
        }
        for slot in self.sorted.chunks_exact_mut(lanes) {
            for (here, carry) in slot.iter_mut().zip(&mut self.carry) {
                let (low, high) = if *carry < *here {
                    (*carry, *here)
                } else {
                    (*here, *carry)
                };
                *here = low;
                *carry = high;
            }
        }
        self.ring.push(x);
    }
}

impl ByRow<1> for Quantile {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.replace(x);
        self.known.row(x, &mut self.counts);
        for (lane, output) in output.iter_mut().enumerate() {
            let n = self.counts[lane];
            if n.is_nan() {
                *output = f64::NAN;
                continue;
            }
            let place = self.quantile * (n - 1.0);
            let below = place.floor() as usize;
            let low = self.sorted[below * self.lanes + lane];
            let above = (below + 1).min(n as usize - 1);
            let high = self.sorted[above * self.lanes + lane];
            *output = low + (high - low) * (place - place.floor());
        }
    }
}
