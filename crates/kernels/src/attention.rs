//! Causal grouped-query attention over segments, forward and backward, in tiles of query rows.
//!
//! A batch is a flat list of rows. A [`Segment`] is a run of query rows together with the key rows
//! it may look at: some earlier rows in full (its context, such as a prompt prefix shared by many
//! examples) and its own rows causally. The same form serves packing without cross-contamination
//! (no context), a shared prompt prefix in training, and a key/value cache in decoding (few query
//! rows, a long context). With a window, a row sees no more than the last keys of those. No T x T matrix is kept: a tile of scores lives while it is used, and the
//! backward pass recomputes it from the saved log-sum-exp.

use crate::cross_entropy::maximum;
use crate::exp::exp;
use crate::lane_sum;
use crate::matmul::{Mat, MatMut, Write, matmul};
use crate::widest::widest;
use rayon::prelude::*;
use std::ops::Range;

/// Query rows per tile.
const TILE: usize = 64;

/// A run of query rows and the key rows visible to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Rows in the query, output and gradient matrices.
    pub rows: Range<usize>,
    /// Key rows visible in full to every query row, in order.
    pub context: Vec<Range<usize>>,
    /// The segment's own key rows; query row i sees the first i + 1 of them. Same length as `rows`.
    pub own: Range<usize>,
}

impl Segment {
    fn context_len(&self) -> usize {
        self.context.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Head counts and width of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads (H).
    pub query: usize,
    /// Key/value heads (G); divides H.
    pub key_value: usize,
    /// Width of a head (D).
    pub width: usize,
    /// Keys that a row sees at most, the last ones, its own among them; none for all.
    pub window: Option<usize>,
}

impl Heads {
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    fn group(self) -> usize {
        self.query / self.key_value
    }

    /// Returns which of a segment's keys, counted from the first of its context, its row `row` sees.
    fn seen(self, segment: &Segment, row: usize) -> Range<usize> {
        let end = segment.context_len() + row + 1;
        end - self.window.map_or(end, |window| window.min(end))..end
    }

    /// Returns which keys the rows of a tile see together.
    fn keys(self, segment: &Segment, tile: &Range<usize>) -> Range<usize> {
        self.seen(segment, tile.start).start..self.seen(segment, tile.end - 1).end
    }
}

/// Computes attention. Shapes: q, out [T, H*D]; k, v [S, G*D] where S counts the key rows;
/// lse [T, H] receives the log-sum-exp of the scaled scores. Segments' rows must not overlap.
///
/// # Panics
/// If shapes do not fit together or a segment lies outside them.
pub fn attention_forward(
    heads: Heads,
    segments: &[Segment],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    lse: &mut [f32],
) {
    let (qw, kw, d) = (
        heads.query * heads.width,
        heads.key_value * heads.width,
        heads.width,
    );
    check(heads, segments, q.len() / qw, k.len() / kw);
    assert!(q.len() == out.len() && k.len() == v.len());
    assert_eq!(lse.len(), q.len() / qw * heads.query);
    let tasks = tile_tasks(heads, segments);
    // Each task owns one head's columns of its rows; it computes them apart and they are copied
    // in below, so no two threads ever hold the same slice.
    let results: Vec<(Vec<f32>, Vec<f32>)> = tasks
        .par_iter()
        .map(|task| {
            let segment = &segments[task.segment];
            let t = task.tile.len();
            let mut scores = Vec::new();
            let keys = score_tile(heads, segment, task, q, k, &mut scores);
            let mut row_lse = vec![0.0; t];
            softmax_tile(heads, segment, task, &mut scores, &mut row_lse);
            let mut tile_out = vec![0.0; t * d];
            let mut first = 0;
            for range in visible(segment, &keys) {
                matmul(
                    &mut MatMut::dense(&mut tile_out, t, d),
                    Write::Add,
                    1.0,
                    Mat::new(&scores[first..], t, range.len(), keys.len()),
                    head_rows(v, &range, kw, task.head / heads.group(), d),
                );
                first += range.len();
            }
            (tile_out, row_lse)
        })
        .collect();
    for (task, (tile_out, row_lse)) in tasks.iter().zip(&results) {
        let start = segments[task.segment].rows.start + task.tile.start;
        for (i, (values, l)) in tile_out.chunks_exact(d).zip(row_lse).enumerate() {
            let row = start + i;
            out[row * qw + task.head * d..][..d].copy_from_slice(values);
            lse[row * heads.query + task.head] = *l;
        }
    }
}

/// Computes the gradients. Shapes: q, out, dout, dq [T, H*D]; k, v, dk, dv [S, G*D]; lse [T, H].
/// dq is overwritten, dk and dv are added to.
///
/// # Panics
/// If shapes do not fit together or a segment lies outside them.
pub fn attention_backward(
    heads: Heads,
    segments: &[Segment],
    (q, k, v): (&[f32], &[f32], &[f32]),
    (out, lse): (&[f32], &[f32]),
    dout: &[f32],
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let (qw, kw, d) = (
        heads.query * heads.width,
        heads.key_value * heads.width,
        heads.width,
    );
    check(heads, segments, q.len() / qw, k.len() / kw);
    assert!(q.len() == out.len() && q.len() == dout.len() && q.len() == dq.len());
    assert!(k.len() == v.len() && k.len() == dk.len() && k.len() == dv.len());
    let tasks: Vec<(usize, usize)> = (0..segments.len())
        .flat_map(|segment| (0..heads.query).map(move |head| (segment, head)))
        .collect();
    let results: Vec<HeadGradients> = tasks
        .par_iter()
        .map(|&(index, head)| {
            head_backward(heads, &segments[index], head, (q, k, v), (out, lse), dout)
        })
        .collect();
    // A fixed order of additions, whatever thread finished first.
    for (&(index, head), gradients) in tasks.iter().zip(&results) {
        let segment = &segments[index];
        let group = head / heads.group();
        for (row, values) in segment.rows.clone().zip(gradients.dq.chunks_exact(d)) {
            dq[row * qw + head * d..][..d].copy_from_slice(values);
        }
        let all = 0..segment.context_len() + segment.own.len();
        let key_rows = visible(segment, &all).flatten();
        for (i, row) in key_rows.enumerate() {
            let at = row * kw + group * d;
            for j in 0..d {
                dk[at + j] += gradients.dk[i * d + j];
                dv[at + j] += gradients.dv[i * d + j];
            }
        }
    }
}

struct HeadGradients {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

fn head_backward(
    heads: Heads,
    segment: &Segment,
    head: usize,
    (q, k, v): (&[f32], &[f32], &[f32]),
    (out, lse): (&[f32], &[f32]),
    dout: &[f32],
) -> HeadGradients {
    let (qw, kw, d) = (
        heads.query * heads.width,
        heads.key_value * heads.width,
        heads.width,
    );
    let (context, own, group) = (
        segment.context_len(),
        segment.own.len(),
        head / heads.group(),
    );
    let mut gradients = HeadGradients {
        dq: vec![0.0; own * d],
        dk: vec![0.0; (context + own) * d],
        dv: vec![0.0; (context + own) * d],
    };
    let (mut p, mut dp) = (Vec::new(), Vec::new());
    for start in (0..own).step_by(TILE) {
        let tile = start..(start + TILE).min(own);
        let t = tile.len();
        let task = Task {
            segment: 0,
            head,
            tile: tile.clone(),
        };
        let keys = score_tile(heads, segment, &task, q, k, &mut p);
        let first_row = segment.rows.start + tile.start;
        let dout_tile = Mat::new(&dout[first_row * qw + head * d..], t, d, qw);
        let q_tile = Mat::new(&q[first_row * qw + head * d..], t, d, qw);
        dp.clear();
        dp.resize(t * keys.len(), 0.0);
        let mut first = 0;
        for range in visible(segment, &keys) {
            matmul(
                &mut MatMut::new(&mut dp[first..], t, range.len(), keys.len()),
                Write::Set,
                1.0,
                dout_tile,
                head_rows(v, &range, kw, group, d).t(),
            );
            first += range.len();
        }
        // p becomes the probabilities, dp the gradient of the scaled scores.
        for i in 0..t {
            let row = first_row + i;
            let seen = heads.seen(segment, tile.start + i);
            let seen = seen.start - keys.start..seen.end - keys.start;
            let l = lse[row * heads.query + head];
            let o = &out[row * qw + head * d..][..d];
            let g = &dout[row * qw + head * d..][..d];
            let delta = lane_sum(d, |j| o[j] * g[j]);
            let width = keys.len();
            let (p, dp) = (&mut p[i * width..][..width], &mut dp[i * width..][..width]);
            widest(
                #[inline(always)]
                || {
                    for (p, dp) in p[seen.clone()].iter_mut().zip(&mut dp[seen.clone()]) {
                        *p = exp(*p - l);
                        *dp = *p * (*dp - delta) * heads.scale();
                    }
                },
            );
            for values in [p, dp] {
                values[..seen.start].fill(0.0);
                values[seen.end..].fill(0.0);
            }
        }
        let mut first = 0;
        for range in visible(segment, &keys) {
            let n = range.len();
            let ds = Mat::new(&dp[first..], t, n, keys.len());
            let pt = Mat::new(&p[first..], t, n, keys.len());
            matmul(
                &mut MatMut::dense(&mut gradients.dq[tile.start * d..tile.end * d], t, d),
                Write::Add,
                1.0,
                ds,
                head_rows(k, &range, kw, group, d),
            );
            let at = (keys.start + first) * d..(keys.start + first + n) * d;
            let dk = &mut gradients.dk[at.clone()];
            matmul(
                &mut MatMut::dense(dk, n, d),
                Write::Add,
                1.0,
                ds.t(),
                q_tile,
            );
            let dv = &mut gradients.dv[at];
            matmul(
                &mut MatMut::dense(dv, n, d),
                Write::Add,
                1.0,
                pt.t(),
                dout_tile,
            );
            first += n;
        }
    }
    gradients
}

struct Task {
    segment: usize,
    head: usize,
    /// Query rows relative to the segment's first.
    tile: Range<usize>,
}

fn tile_tasks(heads: Heads, segments: &[Segment]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        for start in (0..segment.rows.len()).step_by(TILE) {
            let tile = start..(start + TILE).min(segment.rows.len());
            for head in 0..heads.query {
                tasks.push(Task {
                    segment: index,
                    head,
                    tile: tile.clone(),
                });
            }
        }
    }
    tasks
}

/// Returns the rows of a segment's keys, counted from the first of its context, range by range.
fn visible(segment: &Segment, keys: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let keys = keys.clone();
    let ranges = segment.context.iter().chain(std::iter::once(&segment.own));
    let mut before = 0;
    ranges.filter_map(move |range| {
        let first = before;
        before += range.len();
        let (from, to) = (keys.start.max(first), keys.end.min(before));
        (from < to).then(|| range.start + (from - first)..range.start + (to - first))
    })
}

fn head_rows<'a>(
    x: &'a [f32],
    rows: &Range<usize>,
    stride: usize,
    head: usize,
    d: usize,
) -> Mat<'a> {
    if rows.is_empty() {
        return Mat::new(x, 0, d, stride);
    }
    Mat::new(&x[rows.start * stride + head * d..], rows.len(), d, stride)
}

/// Fills `scores` [t, keys] with the scaled products of a tile's queries and every key that one of
/// its rows may see; returns which keys those are.
fn score_tile(
    heads: Heads,
    segment: &Segment,
    task: &Task,
    q: &[f32],
    k: &[f32],
    scores: &mut Vec<f32>,
) -> Range<usize> {
    let (qw, kw, d) = (
        heads.query * heads.width,
        heads.key_value * heads.width,
        heads.width,
    );
    let t = task.tile.len();
    let keys = heads.keys(segment, &task.tile);
    scores.clear();
    scores.resize(t * keys.len(), 0.0);
    let first_row = segment.rows.start + task.tile.start;
    let queries = Mat::new(&q[first_row * qw + task.head * d..], t, d, qw);
    let mut first = 0;
    for range in visible(segment, &keys) {
        matmul(
            &mut MatMut::new(&mut scores[first..], t, range.len(), keys.len()),
            Write::Set,
            heads.scale(),
            queries,
            head_rows(k, &range, kw, task.head / heads.group(), d).t(),
        );
        first += range.len();
    }
    keys
}

/// Turns scores into probabilities in place, zero where a row does not see the key.
fn softmax_tile(heads: Heads, segment: &Segment, task: &Task, scores: &mut [f32], lse: &mut [f32]) {
    let keys = heads.keys(segment, &task.tile);
    for (i, (row, l)) in scores.chunks_exact_mut(keys.len()).zip(lse).enumerate() {
        let seen = heads.seen(segment, task.tile.start + i);
        let (row, later) = row.split_at_mut(seen.end - keys.start);
        let (earlier, row) = row.split_at_mut(seen.start - keys.start);
        widest(
            #[inline(always)]
            || {
                let max = maximum(row);
                for x in row.iter_mut() {
                    *x = exp(*x - max);
                }
                let sum = lane_sum(row.len(), |j| row[j]);
                let scale = 1.0 / sum;
                for x in row.iter_mut() {
                    *x *= scale;
                }
                *l = max + sum.ln();
            },
        );
        earlier.fill(0.0);
        later.fill(0.0);
    }
}

fn check(heads: Heads, segments: &[Segment], query_rows: usize, key_rows: usize) {
    assert_eq!(
        heads.query % heads.key_value,
        0,
        "query heads are not a multiple of key heads"
    );
    for segment in segments {
        assert_eq!(
            segment.rows.len(),
            segment.own.len(),
            "own keys and rows differ in number"
        );
        assert!(
            segment.rows.end <= query_rows,
            "segment outside the query rows"
        );
        let ranges = segment.context.iter().chain(std::iter::once(&segment.own));
        for range in ranges {
            assert!(
                range.start <= range.end && range.end <= key_rows,
                "segment outside the keys"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 sums of at most a few hundred terms of order one.
    const TOLERANCE: f64 = 2e-5;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 1009) as f32 / 504.5 - 1.0) * 1.5)
            .collect()
    }

    /// The definition, in f64: output of one query row of one head.
    fn reference(
        heads: Heads,
        segments: &[Segment],
        q: &[f64],
        k: &[f64],
        v: &[f64],
        out: &mut [f64],
    ) {
        let (qw, kw, d) = (
            heads.query * heads.width,
            heads.key_value * heads.width,
            heads.width,
        );
        for segment in segments {
            for (i, row) in segment.rows.clone().enumerate() {
                let ranges = segment.context.iter().cloned();
                let own = segment.own.start..segment.own.start + i + 1;
                let keys: Vec<usize> = ranges.chain([own]).flatten().collect();
                let hidden = heads.window.map_or(0, |w| keys.len().saturating_sub(w));
                let keys = &keys[hidden..];
                for head in 0..heads.query {
                    let g = head / (heads.query / heads.key_value);
                    let score = |key: usize| -> f64 {
                        (0..d)
                            .map(|j| q[row * qw + head * d + j] * k[key * kw + g * d + j])
                            .sum::<f64>()
                            / (d as f64).sqrt()
                    };
                    let weights: Vec<f64> = keys.iter().map(|key| score(*key).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for j in 0..d {
                        out[row * qw + head * d + j] = keys
                            .iter()
                            .zip(&weights)
                            .map(|(key, w)| w / sum * v[key * kw + g * d + j])
                            .sum();
                    }
                }
            }
        }
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|v| f64::from(*v)).collect()
    }

    #[test]
    fn forward_and_backward_match_the_definition() {
        // A window within a tile, one that ends inside the context, one across two tiles.
        for window in [None, Some(1), Some(7), Some(66), Some(1000)] {
            check_window(window);
        }
    }

    fn check_window(window: Option<usize>) {
        let heads = Heads {
            query: 4,
            key_value: 2,
            width: 6,
            window,
        };
        // A shared prefix, two examples after it (one longer than a tile) and one on its own.
        let segments = vec![
            Segment {
                rows: 0..5,
                context: vec![],
                own: 0..5,
            },
            Segment {
                rows: 5..75,
                context: vec![0..5],
                own: 5..75,
            },
            Segment {
                rows: 75..78,
                context: vec![0..5, 20..24],
                own: 75..78,
            },
            Segment {
                rows: 78..80,
                context: vec![],
                own: 78..80,
            },
        ];
        let t = 80;
        let (q, k, v) = (values(t * 24, 1), values(t * 12, 2), values(t * 12, 3));
        let dout = values(t * 24, 4);
        let (mut out, mut lse) = (vec![0.0; t * 24], vec![0.0; t * 4]);
        attention_forward(heads, &segments, &q, &k, &v, &mut out, &mut lse);
        let mut exact = vec![0.0; t * 24];
        let (q64, k64, v64) = (wide(&q), wide(&k), wide(&v));
        reference(heads, &segments, &q64, &k64, &v64, &mut exact);
        for (a, b) in out.iter().zip(&exact) {
            assert!((f64::from(*a) - b).abs() < TOLERANCE);
        }
        let (mut dq, mut dk, mut dv) = (vec![9.0; t * 24], vec![0.0; t * 12], vec![0.0; t * 12]);
        attention_backward(
            heads,
            &segments,
            (&q, &k, &v),
            (&out, &lse),
            &dout,
            (&mut dq, &mut dk, &mut dv),
        );
        let loss = |q: &[f64], k: &[f64], v: &[f64]| {
            let mut out = vec![0.0; t * 24];
            reference(heads, &segments, q, k, v, &mut out);
            out.iter()
                .zip(&dout)
                .map(|(o, g)| o * f64::from(*g))
                .sum::<f64>()
        };
        let h = 1e-5;
        for probe in 0..60 {
            for (which, gradient) in [(0, &dq), (1, &dk), (2, &dv)] {
                let i = probe * 7919 % gradient.len();
                let mut up = [q64.clone(), k64.clone(), v64.clone()];
                let mut down = up.clone();
                up[which][i] += h;
                down[which][i] -= h;
                let numeric =
                    (loss(&up[0], &up[1], &up[2]) - loss(&down[0], &down[1], &down[2])) / (2.0 * h);
                let got = f64::from(gradient[i]);
                assert!(
                    (numeric - got).abs() < 1e-4,
                    "{which}[{i}]: {numeric} {got}"
                );
            }
        }
    }

    #[test]
    fn a_context_equals_one_long_segment() {
        let heads = Heads {
            query: 2,
            key_value: 1,
            width: 4,
            window: None,
        };
        let t = 30;
        let (q, k, v) = (values(t * 8, 5), values(t * 4, 6), values(t * 4, 7));
        let whole = [Segment {
            rows: 0..30,
            context: vec![],
            own: 0..30,
        }];
        let split = [
            Segment {
                rows: 0..11,
                context: vec![],
                own: 0..11,
            },
            Segment {
                rows: 11..30,
                context: vec![0..11],
                own: 11..30,
            },
        ];
        let run = |segments: &[Segment]| {
            let (mut out, mut lse) = (vec![0.0; t * 8], vec![0.0; t * 2]);
            attention_forward(heads, segments, &q, &k, &v, &mut out, &mut lse);
            out
        };
        for (a, b) in run(&whole).iter().zip(run(&split)) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
