//! Bars of worlds in which nothing known at a decision tells where the price goes.
//!
//! All keep the instants of the source, its holes and the shape of its bars, and take its drift
//! out.
//!
//! * *random walk*: Gaussian steps of one size, the same for all instruments, so that neither the
//!   instrument nor its volatility tells anything.
//! * *shuffled blocks*: the source's own bars, block by block in another order. Blocks end at
//!   decisions, so what comes after a decision never comes from the block before it, whatever
//!   happens within blocks.
//! * *drawn phases*: the sizes of moves keep their distribution and the spectrum of their
//!   logarithm, so quiet and lively times alternate as in the source; signs are tossed. (Drawing
//!   the phases of the returns themselves keeps their autocorrelation, which is an edge and not a
//!   null world.)

use market::Bars;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fourier::phases_drawn_anew;

/// A kind of null world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    RandomWalk,
    ShuffledBlocks,
    DrawnPhases,
}

impl World {
    pub(super) const ALL: [Self; 3] = [Self::RandomWalk, Self::ShuffledBlocks, Self::DrawnPhases];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RandomWalk => "random walk",
            Self::ShuffledBlocks => "shuffled blocks",
            Self::DrawnPhases => "drawn phases",
        }
    }
}

/// One bar against the close before it, in logarithms.
#[derive(Debug, Clone, Copy)]
struct Shape {
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
}

/// Returns null bars of each source. `block` is in milliseconds; decisions fall on its multiples.
pub(super) fn bars(world: World, sources: &[Bars], block: i64, seed: u64) -> Vec<Bars> {
    let sizes: Vec<f64> = sources
        .iter()
        .map(|bars| deviation(&shapes(bars)))
        .collect();
    let size = sizes.iter().sum::<f64>() / sizes.len().max(1) as f64;
    let made = sources.iter().enumerate().map(|(index, source)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // One stream an instrument, so that one more does not change the others.
        random.set_stream(index as u64);
        let mut shapes = shapes(source);
        let drift = shapes.iter().map(|shape| shape.close).sum::<f64>() / shapes.len() as f64;
        match world {
            World::RandomWalk => walk(&mut shapes, size, &mut random),
            World::ShuffledBlocks => {
                shapes = shuffled(source, &shapes, block, &mut random);
                for shape in &mut shapes {
                    shape.close -= drift;
                }
            }
            World::DrawnPhases => {
                return rows(source, &drawn(shapes, &mut random));
            }
        }
        rows(source, &shapes)
    });
    made.collect()
}

fn shapes(bars: &Bars) -> Vec<Shape> {
    let shape = |row: usize| {
        let before = if row == 0 {
            bars.open[0]
        } else {
            bars.close[row - 1]
        };
        let against = |price: f64| (price / before).ln();
        Shape {
            open: against(bars.open[row]),
            high: against(bars.high[row]),
            low: against(bars.low[row]),
            close: against(bars.close[row]),
            volume: bars.volume[row],
        }
    };
    (0..bars.len()).map(shape).collect()
}

fn deviation(shapes: &[Shape]) -> f64 {
    let n = shapes.len().max(1) as f64;
    let mean = shapes.iter().map(|shape| shape.close).sum::<f64>() / n;
    let squares: f64 = shapes
        .iter()
        .map(|shape| (shape.close - mean).powi(2))
        .sum();
    (squares / n).sqrt()
}

fn walk(shapes: &mut [Shape], size: f64, random: &mut impl Rng) {
    for shape in shapes {
        let close = size * normal(random);
        let wick = |random: &mut dyn FnMut() -> f64| 0.5 * size * random().abs();
        let mut draw = || normal(random);
        *shape = Shape {
            open: 0.0,
            high: close.max(0.0) + wick(&mut draw),
            low: close.min(0.0) - wick(&mut draw),
            close,
            volume: shape.volume,
        };
    }
}

/// A normal variate (Box and Muller 1958).
fn normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// Puts whole blocks into another order; rows of blocks with holes stay where they are.
fn shuffled(source: &Bars, shapes: &[Shape], block: i64, random: &mut impl Rng) -> Vec<Shape> {
    let full = (block / source.timeframe.milliseconds()).max(1) as usize;
    // A bar belongs to the block that its close lies in or ends.
    let number = |row: usize| (source.close_time(row) - 1).div_euclid(block);
    let mut starts = Vec::new();
    let mut row = 0;
    while row < shapes.len() {
        let end = (row..shapes.len())
            .find(|&other| number(other) != number(row))
            .unwrap_or(shapes.len());
        if end - row == full {
            starts.push(row);
        }
        row = end;
    }
    let mut order = starts.clone();
    order.shuffle(random);
    let mut out = shapes.to_vec();
    for (&to, &from) in starts.iter().zip(&order) {
        out[to..to + full].copy_from_slice(&shapes[from..from + full]);
    }
    out
}

/// Keeps the last rows, a power of two of them.
fn drawn(shapes: Vec<Shape>, random: &mut impl Rng) -> Vec<Shape> {
    let n = match shapes.len() {
        0 => return shapes,
        rows => 1_usize << rows.ilog2(),
    };
    let shapes = &shapes[shapes.len() - n..];
    // A bar without a move has a size far below any other, not minus infinity.
    let sizes: Vec<f64> = shapes.iter().map(|shape| shape.close.abs()).collect();
    let logs: Vec<f64> = sizes.iter().map(|size| size.max(1e-9).ln()).collect();
    let other = phases_drawn_anew(&logs, random);
    // The same sizes as before, in the order of the drawn series.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| other[a].total_cmp(&other[b]).then(a.cmp(&b)));
    let mut by_size: Vec<usize> = (0..n).collect();
    by_size.sort_by(|&a, &b| sizes[a].total_cmp(&sizes[b]).then(a.cmp(&b)));
    let mut out = shapes.to_vec();
    for (&row, &from) in order.iter().zip(&by_size) {
        let source = shapes[from];
        let sign = if random.random::<bool>() { 1.0 } else { -1.0 };
        let close = sign * sizes[from];
        out[row] = Shape {
            open: 0.0,
            high: close.max(0.0) + (source.high - source.close.max(source.open)).max(0.0),
            low: close.min(0.0) - (source.close.min(source.open) - source.low).max(0.0),
            close,
            volume: source.volume,
        };
    }
    out
}

/// Puts bars together at the instants of the source, the last ones where there are fewer.
fn rows(source: &Bars, shapes: &[Shape]) -> Bars {
    let first = source.len() - shapes.len();
    let mut bars = source.slice(first..source.len());
    let Some(mut before) = bars.open.first().map(|price| price.ln()) else {
        return bars;
    };
    for (row, shape) in shapes.iter().enumerate() {
        let high = shape.high.max(shape.open).max(shape.close);
        let low = shape.low.min(shape.open).min(shape.close);
        let price = |log: f64| (before + log).exp();
        let (open, close) = (price(shape.open), price(shape.close));
        (bars.open[row], bars.close[row]) = (open, close);
        // Rounding must not put a close above the high.
        bars.high[row] = price(high).max(open).max(close);
        bars.low[row] = price(low).min(open).min(close);
        bars.volume[row] = shape.volume;
        before += shape.close;
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;

    const BLOCK: i64 = 24 * 3_600_000;

    fn source() -> Vec<Bars> {
        world::planted(3, 100).unwrap().bars
    }

    fn returns(bars: &Bars) -> Vec<f64> {
        let steps = bars.close.windows(2);
        steps.map(|pair| (pair[1] / pair[0]).ln()).collect()
    }

    #[test]
    fn every_world_is_sound_and_another_one() {
        for world in World::ALL {
            let made = bars(world, &source(), BLOCK, 1);
            made[0].validate().unwrap();
            assert_eq!(made, bars(world, &source(), BLOCK, 1), "{world:?}");
            assert_ne!(made, bars(world, &source(), BLOCK, 2), "{world:?}");
            let kept = made[0].len();
            let first = source()[0].len() - kept;
            assert_eq!(made[0].open_time, source()[0].open_time[first..]);
            let drift = returns(&made[0]).iter().sum::<f64>() / kept as f64;
            assert!(drift.abs() < 3e-4, "{world:?} {drift}");
        }
    }

    #[test]
    fn shuffled_blocks_are_the_sources_blocks() {
        let made = bars(World::ShuffledBlocks, &source(), BLOCK, 1);
        let sorted = |bars: &Bars| {
            let mut all: Vec<f64> = returns(bars);
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            for x in &mut all {
                *x -= mean;
            }
            all.sort_by(f64::total_cmp);
            all
        };
        let (was, is) = (sorted(&source()[0]), sorted(&made[0]));
        let apart = was.iter().zip(&is).map(|(a, b)| (a - b).abs());
        // The first step and the drift taken out differ a little.
        assert!(apart.fold(0.0, f64::max) < 0.02);
    }

    #[test]
    fn drawn_phases_keep_the_sizes() {
        let made = bars(World::DrawnPhases, &source(), BLOCK, 1);
        assert!(made[0].len().is_power_of_two());
        let up = returns(&made[0]).iter().filter(|x| **x > 0.0).count() as f64;
        let share = up / made[0].len() as f64;
        assert!((share - 0.5).abs() < 0.05, "{share}");
    }
}
