//! The conventional model beside the language model: gradient-boosted trees and a logistic
//! regression, pooled over instruments, whose side and confidence a language model may approve or
//! veto.
//!
//! What makes its predictions worth showing is how they come about, not the learners:
//!
//! - **Out of fold.** Time is cut at the same instants for every instrument. A row is predicted by
//!   models whose last label had ended, with an embargo, before the row's fold begins
//!   ([`EnsembleModel::trained_through`]); so is its calibration, and the choice of its columns was
//!   made on the first window alone. A model refuses a decision before its own knowledge ends.
//! - **Calibrated.** The confidence is a frequency: isotonic regression of earlier out-of-fold
//!   predictions, never of the fold itself.
//! - **Beside what is cheap.** Majority, persistence and each member alone are scored on the same
//!   rows, and the gain over majority has an interval over blocks of time.
//!
//! Why in two steps: half a million rows of 575 features are 1.3 GB as they come, and most columns
//! say nothing new. So a [`ColumnSource`] gives one column at a time; a screening reads each once,
//! on thinned rows of the first window, and some dozens are then held for all rows (64 columns of
//! half a million rows: 140 MB). Labels that overlap repeat themselves, so models learn from rows
//! drawn by uniqueness.
//!
//! Trees are grown by `forust-ml`; the files, the reading of trees and everything else are here.
//! There is deliberately no search over settings: every configuration tried on the same history
//! would have to be counted against the result.

mod calibrate;
mod error;
mod file;
mod folds;
mod linear;
mod model;
mod package;
#[cfg(test)]
mod reference;
mod report;
mod score;
mod screen;
mod settings;
mod source;
mod trees;
mod walk;

pub use error::EnsembleError;
pub use model::{EnsembleModel, Prediction};
pub use package::{PackageSource, PackageTarget};
pub use report::{EnsembleReport, FoldReport, Score, Scores};
pub use screen::{Kept, LEAK_TOLERANCE, Screening};
pub use settings::{EnsembleSettings, MOST_FEATURES};
pub use source::{ColumnSource, MemorySource, Row, Target, named_like_an_outcome};
pub use walk::{Ensemble, EnsembleProgress, EnsembleStage, OutOfFold, fit};
