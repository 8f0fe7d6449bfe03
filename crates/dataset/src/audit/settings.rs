//! How much an audit tries.

use std::ops::ControlFlow;

use super::report::Kind;
use crate::DatasetError;

/// How much an audit tries. More finds rarer faults and takes longer; the seed decides which
/// decisions are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditSettings {
    /// The seed of every random choice.
    pub seed: u64,
    /// Decisions that are rendered again, at least one an instant of `cuts`.
    pub samples: usize,
    /// Instants at which inputs are cut, poisoned and mirrored.
    pub cuts: usize,
    /// The longest null world of an instrument, bars.
    pub null_bars: usize,
    /// Rows that a leak probe learns from at most, and is scored on at most.
    pub probe_rows: usize,
    /// How far above chance, as a share, a probe of the prompt may score before it is taken for a
    /// leak. Known edges of markets over hours are a few hundredths.
    pub suspicious_edge: f64,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            seed: 17,
            samples: 120,
            cuts: 8,
            null_bars: 32_768,
            probe_rows: 2_000,
            suspicious_edge: 0.15,
        }
    }
}

impl AuditSettings {
    /// Returns what a build spends on its audit: seconds rather than a minute.
    pub fn quick(seed: u64) -> Self {
        Self {
            seed,
            samples: 48,
            cuts: 4,
            null_bars: 16_384,
            probe_rows: 1_000,
            ..Self::default()
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for the first that cannot be used.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let counts = [
            ("audit.samples", self.samples, 1, 1_000_000),
            ("audit.cuts", self.cuts, 1, 10_000),
            ("audit.null_bars", self.null_bars, 1_024, 1 << 22),
            ("audit.probe_rows", self.probe_rows, 200, 100_000),
        ];
        for (name, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                return Err(DatasetError::Setting {
                    name,
                    value: value.to_string(),
                    expected: format!("{least} to {most}"),
                });
            }
        }
        if !(self.suspicious_edge > 0.0 && self.suspicious_edge < 1.0) {
            return Err(DatasetError::Setting {
                name: "audit.suspicious_edge",
                value: self.suspicious_edge.to_string(),
                expected: "a share above chance between 0 and 1, such as 0.15".to_owned(),
            });
        }
        Ok(())
    }
}

/// How far an audit has come. Each check is told twice, so that the caller can measure it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A check begins.
    Begin(Kind),
    /// A check is done.
    End(Kind),
}

/// What the caller is told; breaking off stops the audit.
pub type Progress<'a> = &'a mut dyn FnMut(Step) -> ControlFlow<()>;
