//! What computes one node of the graph: a machine that takes rows of its inputs
//! in order and gives rows of its output.
//!
//! A kernel carries its own past. Feeding it all rows at once, in blocks of any
//! size or one bar at a time gives the same bits, and no row can depend on a
//! later one: live equals batch, and nothing sees the future, by construction.
//!
//! A row holds one value for each instrument ("lane"), padded with NaN to a
//! multiple of 8 so that loops over lanes fill vector registers. A value that is
//! not known is NaN; kernels give finite values or NaN, never an infinity.

/// One argument of a kernel for a block of rows.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `rows * lanes` values, row after row.
    Rows(&'a [f64]),
    /// The same value everywhere. Only operators of [`Axis::Element`] get it.
    ///
    /// [`Axis::Element`]: crate::operators::Axis::Element
    Constant(f64),
    /// One value per lane, the same in every row: which group an instrument
    /// belongs to.
    Lanes(&'a [f64]),
}

impl<'a> Input<'a> {
    /// Returns the values; nothing for a constant.
    pub fn values(self) -> &'a [f64] {
        match self {
            Self::Rows(values) | Self::Lanes(values) => values,
            Self::Constant(_) => &[],
        }
    }
}

/// Computes one node, block after block.
pub trait Kernel: Send {
    /// Takes the next rows of every input and writes the same rows of the output
    /// (`rows * lanes` values).
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]);
}

/// Returns `value` if it is finite and NaN otherwise.
#[inline(always)]
pub fn known(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Runs `f` compiled for the widest registers of this machine. Only what is
/// inlined into `f` is. The bound is `FnMut` because a closure called through
/// `FnOnce` goes by a shim that is not inlined.
#[inline(always)]
pub(crate) fn widest(f: impl FnMut()) {
    struct Once<F>(F);

    impl<F: FnMut()> pulp::NullaryFnOnce for Once<F> {
        type Output = ();

        #[inline(always)]
        fn call(mut self) {
            (self.0)();
        }
    }

    pulp::Arch::new().dispatch(Once(f));
}

/// A kernel over whole rows: all lanes of one time. Mark `row` `#[inline(always)]`
/// and write plain loops over lanes, which then use the widest registers.
pub trait ByRow<const N: usize>: Send {
    /// Takes one row of each input (`lanes` values) and writes one row.
    fn row(&mut self, inputs: [&[f64]; N], output: &mut [f64]);
}

/// Makes a kernel of `rowwise` for rows of `lanes` values.
pub fn by_row<const N: usize, T: ByRow<N> + 'static>(lanes: usize, rowwise: T) -> Box<dyn Kernel> {
    Box::new(RowKernel::<N, T> { lanes, rowwise })
}

struct RowKernel<const N: usize, T> {
    lanes: usize,
    rowwise: T,
}

impl<const N: usize, T: ByRow<N>> RowKernel<N, T> {
    #[inline(always)]
    fn rows(&mut self, inputs: [Input<'_>; N], output: &mut [f64]) {
        let lanes = self.lanes;
        for (row, output) in output.chunks_exact_mut(lanes).enumerate() {
            let mut rows = [&[][..]; N];
            for (slice, input) in rows.iter_mut().zip(inputs) {
                *slice = match input {
                    Input::Rows(values) => &values[row * lanes..(row + 1) * lanes],
                    Input::Lanes(values) => values,
                    Input::Constant(_) => &[],
                };
            }
            self.rowwise.row(rows, output);
        }
    }
}

impl<const N: usize, T: ByRow<N>> Kernel for RowKernel<N, T> {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let Ok(inputs) = <[Input<'_>; N]>::try_from(inputs) else {
            return;
        };
        widest(
            #[inline(always)]
            || self.rows(inputs, output),
        );
    }
}

/// A kernel for one lane at a time, for recursions that branch: each lane has its
/// own state.
pub trait ByLane<const N: usize>: Send + Clone {
    /// Takes the next value of each input and returns the output's.
    fn next(&mut self, inputs: [f64; N]) -> f64;
}

/// Makes a kernel that gives each lane its own copy of `state`.
pub fn by_lane<const N: usize, T: ByLane<N> + 'static>(lanes: usize, state: T) -> Box<dyn Kernel> {
    Box::new(LaneKernel::<N, T> {
        states: vec![state; lanes],
    })
}

struct LaneKernel<const N: usize, T> {
    states: Vec<T>,
}

impl<const N: usize, T: ByLane<N>> Kernel for LaneKernel<N, T> {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let Ok(inputs) = <[Input<'_>; N]>::try_from(inputs) else {
            return;
        };
        let lanes = self.states.len();
        for (lane, state) in self.states.iter_mut().enumerate() {
            for row in 0..output.len() / lanes {
                let at = row * lanes + lane;
                let values = inputs.map(|input| match input {
                    Input::Rows(values) => values[at],
                    Input::Lanes(values) => values[lane],
                    Input::Constant(value) => value,
                });
                output[at] = known(state.next(values));
            }
        }
    }
}

/// A kernel that looks at the last `window` values of one lane at a time, oldest
/// first, for statistics without a cheaper way. NaN unless all of them are known.
pub fn by_window<const N: usize, F>(lanes: usize, window: usize, statistic: F) -> Box<dyn Kernel>
where
    F: Fn([&[f64]; N]) -> f64 + Send + Clone + 'static,
{
    by_lane(
        lanes,
        Window {
            length: window,
            filled: 0,
            at: 0,
            values: [(); N].map(|()| vec![f64::NAN; 2 * window]),
            statistic,
        },
    )
}

/// Each value stands twice, `window` apart, so that the last `window` values are
/// always one slice.
#[derive(Clone)]
struct Window<const N: usize, F> {
    length: usize,
    filled: usize,
    at: usize,
    values: [Vec<f64>; N],
    statistic: F,
}

impl<const N: usize, F> ByLane<N> for Window<N, F>
where
    F: Fn([&[f64]; N]) -> f64 + Send + Clone,
{
    fn next(&mut self, inputs: [f64; N]) -> f64 {
        let (window, at) = (self.length, self.at);
        for (values, input) in self.values.iter_mut().zip(inputs) {
            values[at] = input;
            values[at + window] = input;
        }
        self.at = (at + 1) % window;
        if inputs.iter().any(|value| value.is_nan()) {
            self.filled = 0;
            return f64::NAN;
        }
        self.filled = (self.filled + 1).min(window);
        if self.filled < window {
            return f64::NAN;
        }
        let first = at + 1;
        let mut slices = [&[][..]; N];
        for (slice, values) in slices.iter_mut().zip(&self.values) {
            *slice = &values[first..first + window];
        }
        (self.statistic)(slices)
    }
}
