//! Sums for variance, covariance, correlation and regression over a moving window.
//!
//! Sums of squares are taken about a pivot near the values (the last value of the
//! block before), in blocks as in [`super::fold`], so that the usual cancellation of
//! `E[x^2] - E[x]^2` does not happen. A window whose values are all equal has a
//! deviation of exactly 0, whatever the rounding: equal neighbours are counted.
//!
//! Where the pivot turns out to be far from the values (an outlier in the block
//! before, a jump), the sums cancel after all. Such windows are recognised by how
//! small the spread is against the sum of squares and summed again from their raw
//! values.

use super::lanes::Lanes;

/// A spread below this share of the sum of squares about the pivot has lost more
/// than 4 of its 16 digits and is computed again.
const CANCELLED: f64 = 1e-4;

/// Qlib takes a standard deviation within this of 0 as 0 (`numpy.isclose(x, 0, atol=2e-5)`).
pub(super) const QLIB_FLAT: f64 = 2e-5;

/// Counts equal values in a row, in each lane; unknown values do not count.
pub(super) struct Equal {
    last: Vec<Lanes>,
    run: Vec<Lanes>,
}

impl Equal {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            last: vec![Lanes::UNKNOWN; lanes / 8],
            run: vec![Lanes::ZERO; lanes / 8],
        }
    }

    /// Takes eight lanes of a row; returns how many of the last values are equal.
    #[inline(always)]
    pub(super) fn block(&mut self, block: usize, x: Lanes) -> Lanes {
        let (last, run) = (self.last[block], self.run[block]);
        let one = Lanes::of(1.0);
        let next = x.known_or(x.equal(last, run + one, one), run);
        self.run[block] = next;
        self.last[block] = x.known_or(x, last);
        next
    }
}

/// Returns `spread`, or 0 where at least `count` equal values came last.
#[inline(always)]
pub(super) fn unless_equal(run: Lanes, count: Lanes, spread: Lanes) -> Lanes {
    run.less(count, spread, Lanes::ZERO)
}

/// Returns 1 where too many digits of the spread have cancelled: it is small against
/// the sum of squares about the pivot, and not because all values are equal.
#[inline(always)]
pub(super) fn cancelled(run: Lanes, count: Lanes, sum: Lanes, squared: Lanes) -> Lanes {
    let spread = squared - sum * sum / count;
    let least = Lanes::of(CANCELLED) * squared;
    let small = spread.less(least, Lanes::of(1.0), Lanes::ZERO);
    run.less(count, small, Lanes::ZERO)
}

/// Sums over a window of `Q` quantities that are made of raw values and pivots,
/// so that they can be made anew when the pivots move.
pub(super) struct Sums<const N: usize, const Q: usize> {
    width: usize,
    pub(super) window: usize,
    pub(super) at: usize,
    /// Raw values: `window` slots of a row. Slots behind the present one still hold
    /// the last block of time, so that all of a window is there.
    raw: Vec<[Lanes; N]>,
    /// The last block's ends, folded; slot `at + 1` belongs to the present bar.
    ends: Vec<[Lanes; Q]>,
    beginnings: Vec<[Lanes; Q]>,
    pub(super) pivots: Vec<[Lanes; N]>,
}

impl<const N: usize, const Q: usize> Sums<N, Q> {
    pub(super) fn new(lanes: usize, window: usize) -> Self {
        let width = lanes / 8;
        Self {
            width,
            window,
            at: 0,
            raw: vec![[Lanes::UNKNOWN; N]; window * width],
            ends: vec![[Lanes::ZERO; Q]; (window + 1) * width],
            beginnings: vec![[Lanes::ZERO; Q]; width],
            pivots: vec![[Lanes::UNKNOWN; N]; width],
        }
    }

    /// Takes eight lanes of a row and returns the sums over the window;
    /// `quantities` makes the quantities of centred values and the place in the
    /// block of time (0 for its first bar, negative for bars before it). A bar
    /// with any unknown value counts in none of them.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        block: usize,
        inputs: [Lanes; N],
        quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q],
    ) -> [Lanes; Q] {
        let slot = self.at * self.width + block;
        self.raw[slot] = inputs;
        let pivots = &mut self.pivots[block];
        for (pivot, input) in pivots.iter_mut().zip(inputs) {
            *pivot = pivot.known_or(*pivot, input);
        }
        let made = centred(inputs, *pivots, Lanes::of(self.at as f64), quantities);
        let beginnings = &mut self.beginnings[block];
        let mut sums = self.ends[slot + self.width];
        for quantity in 0..Q {
            beginnings[quantity] += made[quantity];
            sums[quantity] += beginnings[quantity];
        }
        sums
    }

    /// Begins a row: where a block of time is over, moves the pivots to its end
    /// and folds it backwards about them. Before the row rather than after it, so
    /// that the pivots belong to the sums while a row is worked on.
    #[inline(always)]
    pub(super) fn begin_row(
        &mut self,
        quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q] + Copy,
    ) {
        if self.at < self.window {
            return;
        }
        for block in 0..self.width {
            self.move_pivots(block);
            let mut sums = [Lanes::ZERO; Q];
            for slot in (0..self.window).rev() {
                let place = Lanes::of(slot as f64 - self.window as f64);
                let index = slot * self.width + block;
                let made = centred(self.raw[index], self.pivots[block], place, quantities);
                for quantity in 0..Q {
                    sums[quantity] += made[quantity];
                }
                self.ends[index] = sums;
            }
            self.beginnings[block] = [Lanes::ZERO; Q];
        }
        self.at = 0;
    }

    /// Moves the pivots to the last known values: being values themselves they keep
    /// whole numbers, ticks and 0/1 exact, and with them the ties of later ranks.
    #[inline(always)]
    fn move_pivots(&mut self, block: usize) {
        for slot in 0..self.window {
            let raw = self.raw[slot * self.width + block];
            for (pivot, raw) in self.pivots[block].iter_mut().zip(raw) {
                *pivot = raw.known_or(raw, *pivot);
            }
        }
    }

    #[inline(always)]
    pub(super) fn end_row(&mut self) {
        self.at += 1;
    }

    /// Returns the raw values of a lane's window while its row is worked on, oldest
    /// first, each with its place as `quantities` see it.
    pub(super) fn values(
        &self,
        block: usize,
        lane: usize,
    ) -> impl Iterator<Item = ([f64; N], f64)> + Clone {
        let newest = self.at;
        let oldest = newest as f64 + 1.0 - self.window as f64;
        (newest + 1..self.window)
            .chain(0..=newest)
            .map(move |slot| self.raw[slot * self.width + block].map(|input| input.0[lane]))
            .enumerate()
            .map(move |(index, values)| (values, oldest + index as f64))
    }

    /// Sums over a lane's window about its oldest known values in place of the
    /// pivots: a value of the window is never far from it on the window's scale.
    #[cold]
    pub(super) fn again(
        &self,
        block: usize,
        lane: usize,
        quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q],
    ) -> ([f64; N], [f64; Q]) {
        let known = |values: &[f64; N]| values.iter().all(|value| !value.is_nan());
        let values = self.values(block, lane);
        let values = values.filter(|(values, _)| known(values));
        let pivots = values.clone().next().map_or([0.0; N], |(first, _)| first);
        let mut sums = [0.0; Q];
        for (values, place) in values {
            let about = std::array::from_fn(|input| Lanes::of(values[input] - pivots[input]));
            for (sum, quantity) in sums.iter_mut().zip(quantities(about, Lanes::of(place))) {
                *sum += quantity.0[0];
            }
        }
        (pivots, sums)
    }
}

/// Returns the quantities of values about their pivots, 0 where one is unknown.
#[inline(always)]
fn centred<const N: usize, const Q: usize>(
    raw: [Lanes; N],
    pivots: [Lanes; N],
    place: Lanes,
    quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q],
) -> [Lanes; Q] {
    let mut values = raw;
    let mut sum = Lanes::ZERO;
    for input in 0..N {
        values[input] = raw[input] - pivots[input];
        sum += values[input];
    }
    let mut made = quantities(values, place);
    for quantity in &mut made {
        *quantity = sum.known_or(*quantity, Lanes::ZERO);
    }
    made
}
