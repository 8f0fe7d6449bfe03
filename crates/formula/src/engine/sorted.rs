//! Quantiles of a moving window, kept sorted for all lanes at once: the value that
//! leaves is shifted out and the new one bubbled in without a branch.

use crate::profile::WarmUp;

use super::fold::Known;
use super::history::Past;
use super::kernel::ByRow;
use super::lanes::{Lanes, blocks, blocks_mut};

/// A quantile, linear between the nearest two values (numpy's default, type 7 of
/// Hyndman and Fan 1996).
pub(crate) struct Quantile {
    past: Past,
    known: Known,
    window: usize,
    /// For each block of lanes `window` ascending values; unknown ones stand last
    /// as infinities.
    sorted: Vec<Lanes>,
    share: f64,
}

impl Quantile {
    pub(crate) fn new(lanes: usize, window: usize, quantile: f64, warm_up: WarmUp) -> Self {
        Self {
            past: Past::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            window,
            sorted: vec![Lanes::of(f64::INFINITY); window * lanes / 8],
            share: quantile,
        }
    }

    /// Takes a value out and another in. A value that moves past the place of the
    /// one that left shifts by one; the new one is carried upwards until it fits.
    #[inline(always)]
    fn replace(sorted: &mut [Lanes], leaving: Lanes, coming: Lanes) {
        let last = Lanes::of(f64::INFINITY);
        let leaving = leaving.known_or(leaving, last);
        let mut carry = coming.known_or(coming, last);
        // 1 once the value that leaves was met: from there on its successor stands here.
        let mut met = Lanes::ZERO;
        for place in 0..sorted.len() {
            let here = sorted[place];
            let next = if place + 1 < sorted.len() {
                sorted[place + 1]
            } else {
                last
            };
            met = here.equal(leaving, Lanes::of(1.0), met);
            let stays = Lanes::ZERO.less(met, next, here);
            let low = carry.less(stays, carry, stays);
            carry = carry.less(stays, stays, carry);
            sorted[place] = low;
        }
    }
}

impl ByRow<1> for Quantile {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.past.begin_row();
        let (window, share) = (self.window, self.share);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            let leaving = self.past.put(block, x);
            let sorted = &mut self.sorted[block * window..][..window];
            Self::replace(sorted, leaving, x);
            for lane in 0..8 {
                let n = count.0[lane];
                if n.is_nan() {
                    output[lane] = f64::NAN;
                    continue;
                }
                let place = share * (n - 1.0);
                let below = place.floor() as usize;
                let low = sorted[below].0[lane];
                let high = sorted[(below + 1).min(n as usize - 1)].0[lane];
                output[lane] = low + (high - low) * (place - place.floor());
            }
        }
        self.known.end_row();
    }
}
