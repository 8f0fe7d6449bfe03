//! Copying the right operand of a product into panels: strips of columns, one row of a strip for
//! each step of the depth.

use crate::matmul::Mat;
use crate::operand::{Right, Side, Weight};
use std::cell::Cell;
use std::ops::Range;

/// Rows that are asked for ahead of their use.
const AHEAD: usize = 8;

thread_local! {
    /// The calling thread's decoded rows, kept from product to product.
    static DECODED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The strips into which a range of columns is cut.
#[derive(Clone)]
pub(crate) struct Strips {
    pub(crate) cols: Range<usize>,
    /// Columns of all strips but the last.
    pub(crate) widest: usize,
    /// A strip's columns are padded to a multiple of this.
    pub(crate) lanes: usize,
    /// Rows of a panel.
    pub(crate) height: usize,
}

impl Strips {
    /// Returns every strip's columns and its panel's padded width.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        let lanes = self.lanes;
        self.cols.clone().step_by(self.widest).map(move |left| {
            let cols = left..(left + self.widest).min(self.cols.end);
            let width = cols.len().next_multiple_of(lanes);
            (cols, width)
        })
    }

    /// Returns the number of values of all panels together.
    pub(crate) fn len(&self) -> usize {
        self.height * self.cols.len().next_multiple_of(self.lanes)
    }

    /// Copies rows `ks` of `b` into the panels from their row `top` on, zeros to the right.
    #[inline(always)]
    pub(crate) fn pack(&self, panels: &mut [f32], top: usize, b: Right<'_>, ks: &Range<usize>) {
        match b {
            Right::Dense(b) => self.pack_dense(panels, top, b, ks),
            Right::Frozen(weight, side) => {
                let mut decoded = DECODED.take();
                match side {
                    Side::Transposed => {
                        self.pack_transposed(panels, top, weight, ks, &mut decoded);
                    }
                    Side::Plain => self.pack_plain(panels, top, weight, ks, &mut decoded),
                }
                DECODED.set(decoded);
            }
        }
    }

    #[inline(always)]
    fn pack_dense(&self, panels: &mut [f32], top: usize, b: Mat<'_>, ks: &Range<usize>) {
        if b.col_stride == 1 {
            for (i, k) in ks.clone().enumerate() {
                let row = &b.data[k * b.row_stride..][..self.cols.end];
                // Rows are too short and too far apart for the machine to foresee them.
                let ahead = (k + AHEAD) * b.row_stride + self.cols.start;
                if let Some(values) = b.data.get(ahead..ahead + self.cols.len()) {
                    prefetch(values, 0);
                }
                self.put_row(panels, top + i, &row[self.cols.start..]);
            }
            return;
        }
        let mut rest = panels;
        for (cols, width) in self.iter() {
            let (panel, others) = rest.split_at_mut(self.height * width);
            let into = &mut panel[top * width..][..ks.len() * width];
            pack_columns(into, width, b, ks, &cols);
            rest = others;
        }
    }

    /// Decodes whole parts of rows, which lie across the strips.
    #[inline(always)]
    fn pack_plain(
        &self,
        panels: &mut [f32],
        top: usize,
        weight: &dyn Weight,
        ks: &Range<usize>,
        decoded: &mut Vec<f32>,
    ) {
        decoded.resize(self.cols.len(), 0.0);
        for (i, k) in ks.clone().enumerate() {
            weight.decode(k, self.cols.clone(), decoded);
            self.put_row(panels, top + i, decoded);
        }
    }

    /// Decodes the rows that become a strip's columns, then turns them.
    #[inline(always)]
    fn pack_transposed(
        &self,
        panels: &mut [f32],
        top: usize,
        weight: &dyn Weight,
        ks: &Range<usize>,
        decoded: &mut Vec<f32>,
    ) {
        decoded.resize(self.widest * ks.len(), 0.0);
        let mut rest = panels;
        for (cols, width) in self.iter() {
            let (panel, others) = rest.split_at_mut(self.height * width);
            let rows = &mut decoded[..cols.len() * ks.len()];
            for (row, col) in rows.chunks_exact_mut(ks.len()).zip(cols.clone()) {
                weight.decode(col, ks.clone(), row);
            }
            let view = Mat::dense(rows, cols.len(), ks.len()).t();
            let into = &mut panel[top * width..][..ks.len() * width];
            pack_columns(into, width, view, &(0..ks.len()), &(0..cols.len()));
            rest = others;
        }
    }

    /// Lays one row of the operand, `row` [cols], across the panels.
    #[inline(always)]
    fn put_row(&self, panels: &mut [f32], at: usize, row: &[f32]) {
        let (mut first, mut offset) = (0, 0);
        for (cols, width) in self.iter() {
            let into = &mut panels[offset + at * width..][..width];
            let from = &row[first..first + cols.len()];
            if cols.len() == width {
                // In steps of a constant length, which need no call to copy memory.
                for (into, from) in into
                    .chunks_exact_mut(self.lanes)
                    .zip(from.chunks_exact(self.lanes))
                {
                    into.copy_from_slice(from);
                }
            } else {
                into[..cols.len()].copy_from_slice(from);
                into[cols.len()..].fill(0.0);
            }
            first += cols.len();
            offset += self.height * width;
        }
    }
}

/// Asks for as much memory as `values` takes, `ahead` bytes after it, to be brought near; does nothing
/// where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(values)).step_by(64) {
        let address = values.as_ptr().cast::<i8>().wrapping_add(ahead + line);
        // SAFETY: the instruction reads nothing and never faults, whatever the address.
        #[expect(unsafe_code, reason = "a hint to the cache")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, ahead);
}

/// Copies rows `ks` and columns `cols` of `b` into `panel` [ks.len()][width], zeros to the right.
#[inline(always)]
fn pack_columns(
    panel: &mut [f32],
    width: usize,
    b: Mat<'_>,
    ks: &Range<usize>,
    cols: &Range<usize>,
) {
    if cols.len() < width {
        panel.fill(0.0);
    }
    if b.row_stride == 1 && transpose::strips(panel, width, b, ks, cols) {
        return;
    }
    for (j, col) in cols.clone().enumerate() {
        for (i, k) in ks.clone().enumerate() {
            panel[i * width + j] = b.data[k * b.row_stride + col * b.col_stride];
        }
    }
}

fn square_plainly(from: &[f32; 256], into: &mut [f32; 256]) {
    for (i, row) in from.chunks_exact(16).enumerate() {
        for (j, x) in row.iter().enumerate() {
            into[j * 16 + i] = *x;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod transpose {
    use super::{Mat, Range};
    use std::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    /// Side of a block.
    const SIDE: usize = 16;

    /// Transposes a matrix of 16 x 16.
    pub(crate) fn square(from: &[f32; SIDE * SIDE], into: &mut [f32; SIDE * SIDE]) {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was found; both hold 16 rows of 16.
            #[expect(unsafe_code, reason = "AVX-512 block transposition")]
            unsafe {
                block(from.as_ptr(), SIDE, SIDE, into.as_mut_ptr(), SIDE);
            }
            return;
        }
        super::square_plainly(from, into);
    }

    /// Transposes columns of `b` that lie densely along the depth; false when this machine has no
    /// AVX-512 or the panel is not a whole number of blocks wide, and nothing was done.
    pub(super) fn strips(
        panel: &mut [f32],
        width: usize,
        b: Mat<'_>,
        ks: &Range<usize>,
        cols: &Range<usize>,
    ) -> bool {
        if !width.is_multiple_of(SIDE) || !std::arch::is_x86_feature_detected!("avx512f") {
            return false;
        }
        let whole = ks.len() / SIDE * SIDE;
        for left in (0..cols.len()).step_by(SIDE) {
            let count = SIDE.min(cols.len() - left);
            for top in (0..whole).step_by(SIDE) {
                let from = &b.data[ks.start + top + (cols.start + left) * b.col_stride..];
                assert!(from.len() >= (count - 1) * b.col_stride + SIDE);
                let into = &mut panel[top * width + left..];
                assert!(into.len() >= (SIDE - 1) * width + SIDE);
                // SAFETY: the feature was found above; the asserts bound every read and write.
                #[expect(unsafe_code, reason = "AVX-512 block transposition")]
                unsafe {
                    block(from.as_ptr(), b.col_stride, count, into.as_mut_ptr(), width);
                }
            }
            for k in whole..ks.len() {
                for j in left..left + count {
                    panel[k * width + j] = b.data[ks.start + k + (cols.start + j) * b.col_stride];
                }
            }
        }
        true
    }

    /// Transposes `count` rows of 16 values, `stride` apart, into 16 rows of 16, `width` apart;
    /// columns past `count` become zero.
    ///
    /// # Safety
    /// The machine has AVX-512F; `from` may be read and `into` written as described.
    #[target_feature(enable = "avx512f")]
    #[expect(
        unsafe_code,
        reason = "raw rows of a block whose bounds the caller checked"
    )]
    unsafe fn block(from: *const f32, stride: usize, count: usize, into: *mut f32, width: usize) {
        let mut r: [__m512; SIDE] = [_mm512_setzero_ps(); SIDE];
        for (i, row) in r.iter_mut().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` rows of 16 values.
            *row = unsafe { _mm512_loadu_ps(from.add(i * stride)) };
        }
        // Pairs of rows, then quadruples within each quarter of 128 bits ...
        let mut s = r;
        for i in (0..SIDE).step_by(2) {
            s[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
            s[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
        for i in (0..SIDE).step_by(4) {
            let pair = |k: usize| _mm512_castps_pd(s[i + k]);
            r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(0), pair(2)));
            r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(0), pair(2)));
            r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(1), pair(3)));
            r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(1), pair(3)));
        }
        // ... then the quarters change places: r[4 g + c] holds, in quarter q, column 4 q + c of
        // rows 4 g .. 4 g + 3.
        for c in 0..4 {
            let low = _mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]);
            let high = _mm512_shuffle_f32x4::<0xdd>(r[c], r[4 + c]);
            let low2 = _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]);
            let high2 = _mm512_shuffle_f32x4::<0xdd>(r[8 + c], r[12 + c]);
            let columns = [
                (c, _mm512_shuffle_f32x4::<0x88>(low, low2)),
                (4 + c, _mm512_shuffle_f32x4::<0x88>(high, high2)),
                (8 + c, _mm512_shuffle_f32x4::<0xdd>(low, low2)),
                (12 + c, _mm512_shuffle_f32x4::<0xdd>(high, high2)),
            ];
            for (column, values) in columns {
                // SAFETY: the caller vouches for 16 rows of 16 values, `width` apart.
                unsafe { _mm512_storeu_ps(into.add(column * width), values) };
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) mod transpose {
    use super::{Mat, Range};

    /// Transposes a matrix of 16 x 16.
    pub(crate) fn square(from: &[f32; 256], into: &mut [f32; 256]) {
        super::square_plainly(from, into);
    }

    /// No block transposition on this architecture: the plain loop does it.
    pub(super) fn strips(
        _: &mut [f32],
        _: usize,
        _: Mat<'_>,
        _: &Range<usize>,
        _: &Range<usize>,
    ) -> bool {
        false
    }
}
