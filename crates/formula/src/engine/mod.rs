//! Evaluates formulas over a panel of instruments.

mod cross;
mod evaluate;
mod fold;
mod history;
mod kernel;
mod lanes;
mod moments;
mod plan;
mod recursive;
mod series;
mod sorted;
mod spread;
mod trend;

pub(crate) use cross::{Across, Among, CrossRank};
pub use evaluate::Evaluator;
pub(crate) use fold::{Maximum, Minimum, Product, Rolling, Sum};
pub(crate) use history::{Change, Delay, Place, Rank, Shape, TwoPass};
pub(crate) use kernel::widest;
pub use kernel::{ByLane, ByRow, Input, Kernel, by_lane, by_row, by_window, known};
pub use plan::{Plan, Request};
pub(crate) use recursive::{Cumulative, Exponential, Kept, Since, When};
pub use series::{SeriesError, SeriesInputs, evaluate_series};
pub(crate) use sorted::Quantile;
pub(crate) use spread::{Covariance, Pair, Variance};
pub(crate) use trend::{Line, Trend};
