//! What decides, as the service sees it.
//!
//! The service does not run a model: `cli` hands it something that turns prompts into
//! probabilities, for all arms at once.

use std::error::Error;

use super::record::ArmSheet;
use crate::class;

/// Champion and challengers, ready to be asked.
pub trait Judge {
    /// Returns the arms, the champion first.
    fn arms(&self) -> &[ArmSheet];

    /// Asks every arm about every prompt. The same prompts give the same answers.
    ///
    /// # Errors
    /// When a prompt does not fit the model.
    fn judge(&mut self, prompts: &[String]) -> Result<Judged, Box<dyn Error + Send + Sync>>;
}

/// The answers of all arms.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// Tokens of each prompt with the chat template around it.
    pub tokens: Vec<usize>,
    /// By arm, in the order of [`Judge::arms`], and prompt.
    pub answers: Vec<Vec<Answer>>,
}

/// One arm's answer to one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Calibrated probabilities of BUY, SELL, HOLD.
    pub probabilities: [f64; class::COUNT],
    /// Probabilities before calibration.
    pub raw: [f64; class::COUNT],
}
