//! Which optimiser moves the adapter, and what it remembers of each tensor.

use crate::adamw::{AdamW, adamw_update};
use crate::adamw_8bit::{Blocks, SMALLEST, adamw_8bit_update, fused_update};
use serde::{Deserialize, Serialize};

/// The optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimizer {
    /// AdamW with f32 moments, as PyTorch computes it: 8 bytes per trained parameter.
    #[serde(rename = "adamw")]
    AdamW,
    /// AdamW with 8-bit moments for tensors of at least 4,096 elements, as bitsandbytes computes
    /// it: 2 bytes per trained parameter.
    #[serde(rename = "adamw_8bit")]
    AdamW8bit,
}

/// The two moments of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Moments {
    /// As they are.
    Full {
        /// Mean of the gradients.
        first: Vec<f32>,
        /// Mean of their squares.
        second: Vec<f32>,
    },
    /// Quantised block by block.
    Blocks {
        /// Mean of the gradients.
        first: Blocks,
        /// Mean of their squares.
        second: Blocks,
    },
}

impl Optimizer {
    /// Returns the moments of a tensor of `len` elements before the first step.
    pub fn moments(self, len: usize) -> Moments {
        match self {
            Self::AdamW8bit if len >= SMALLEST => Moments::Blocks {
                first: Blocks::zeros(len),
                second: Blocks::zeros(len),
            },
            _ => Moments::Full {
                first: vec![0.0; len],
                second: vec![0.0; len],
            },
        }
    }

    /// Updates `p` in place from gradient `g` and the tensor's moments; `step` counts from 1.
    ///
    /// # Panics
    /// If the lengths differ or `step` is 0.
    pub fn update(self, rule: AdamW, step: u64, p: &mut [f32], g: &[f32], moments: &mut Moments) {
        match (self, moments) {
            (Self::AdamW, Moments::Full { first, second }) => {
                adamw_update(rule, step, p, g, first, second);
            }
            (Self::AdamW8bit, Moments::Full { first, second }) => {
                fused_update(rule, step, p, g, first, second);
            }
            (_, Moments::Blocks { first, second }) => {
                adamw_8bit_update(rule, step, p, g, first, second);
            }
        }
    }
}
