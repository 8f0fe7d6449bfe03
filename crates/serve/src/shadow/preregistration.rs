//! What is laid down before the first decision, so that nobody can choose the rule after having
//! seen the outcome.
//!
//! `preregistration.json` lies beside the log; its SHA-256 stands in every record. A service that
//! finds one and is asked for something else refuses to start: another question is another log.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::ArmSheet;
use crate::error::ServeError;
use crate::lines::{io_error, sync_directory};

/// Version of the layout.
pub const SCHEMA: u32 = 1;
/// The file's name.
pub const FILE: &str = "preregistration.json";

/// An error rate of this or more is none to decide by.
pub const ALPHA_BELOW: f64 = 0.5;

/// What an arm is scored by, one score per non-overlapping block of a horizon, averaged over the
/// instruments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Brier score of the calibrated probabilities, champion less challenger.
    #[default]
    Brier,
    /// Return of BUY or SELL net of costs, challenger less champion.
    NetUtility,
}

/// The question that the log is to answer, and the rule by which it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preregistration {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// What arms are scored by.
    pub metric: Metric,
    /// Probability of promoting a challenger that is no better, over all challengers together.
    pub alpha: f64,
    /// Blocks before which nothing is decided.
    pub minimum_blocks: usize,
    /// Score differences are clipped to plus and minus this.
    pub clip: f64,
    /// Largest drawdown of the challenger's net returns that still allows a promotion, a fraction.
    pub max_drawdown: f64,
    /// Trading cost per side, as a fraction of the position.
    pub cost_per_side: f64,
    /// Hours over which an outcome is measured; also the length of a block.
    pub horizon_hours: u32,
    /// The label rule and everything else of the data set settings.
    pub dataset: serde_json::Value,
    /// SHA-256 of the base model's file.
    pub model_sha256: String,
    /// SHA-256 of prompt template and settings.
    pub template_sha256: String,
    /// The arms with their calibration, the champion first.
    pub arms: Vec<ArmSheet>,
}

impl Preregistration {
    /// Refuses a rule that nothing can be judged by; the same whether it is to be laid down or was.
    ///
    /// # Errors
    /// [`ServeError::Setting`] with the number.
    pub fn check(&self) -> Result<(), ServeError> {
        let refuse = |name, reason: String| Err(ServeError::Setting { name, reason });
        if !(self.alpha > 0.0 && self.alpha < ALPHA_BELOW) {
            let reason = format!("`{}`, expected between 0 and {ALPHA_BELOW}", self.alpha);
            return refuse("alpha", reason);
        }
        if !(self.clip > 0.0 && self.clip.is_finite()) {
            return refuse("clip", format!("`{}`, expected above 0", self.clip));
        }
        if !(self.cost_per_side >= 0.0 && self.cost_per_side < 1.0) {
            let reason = format!("`{}`, expected a fraction", self.cost_per_side);
            return refuse("cost_per_side", reason);
        }
        if self.horizon_hours == 0 {
            return refuse("horizon_hours", "`0`, expected at least 1".to_owned());
        }
        Ok(())
    }

    /// Writes the file, or finds it there and the same. Returns its SHA-256.
    ///
    /// # Errors
    /// [`ServeError::Preregistered`] when the one that is there says something else,
    /// [`ServeError::Io`] when the file cannot be read or written.
    pub fn lay_down(&self, folder: &Path) -> Result<String, ServeError> {
        let path = folder.join(FILE);
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| ServeError::Entry {
            reason: error.to_string(),
        })?;
        bytes.push(b'\n');
        match std::fs::read(&path) {
            Ok(found) if found == bytes => return Ok(sha256(&bytes)),
            Ok(found) => {
                return Err(ServeError::Preregistered {
                    difference: difference(&found, &bytes),
                    path,
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", &path)(error)),
        }
        let temporary = folder.join(format!(".{FILE}.new"));
        let written = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            sync_directory(&path)
        };
        written().map_err(io_error("write", &path))?;
        Ok(sha256(&bytes))
    }

    /// Reads the file of a log; also returns its SHA-256.
    ///
    /// # Errors
    /// [`ServeError::NoShadowLog`] when there is none, [`ServeError::Io`] when it cannot be read,
    /// [`ServeError::Line`] when it is no pre-registration.
    pub fn read(folder: &Path) -> Result<(Self, String), ServeError> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let folder = folder.to_owned();
                return Err(ServeError::NoShadowLog { folder });
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let parsed: Self = serde_json::from_slice(&bytes).map_err(|error| ServeError::Line {
            line: error.line(),
            reason: format!("no pre-registration: {error}"),
            path: path.clone(),
        })?;
        if parsed.schema != SCHEMA {
            let reason = format!("schema `{}`, expected `{SCHEMA}`", parsed.schema);
            return Err(ServeError::Line {
                path,
                line: 1,
                reason,
            });
        }
        Ok((parsed, sha256(&bytes)))
    }
}

/// Names the first part in which two files differ.
fn difference(found: &[u8], wanted: &[u8]) -> String {
    let parse = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let (Some(found), Some(wanted)) = (parse(found), parse(wanted)) else {
        return "it is no pre-registration".to_owned();
    };
    let parts = wanted.as_object().into_iter().flatten();
    for (key, value) in parts {
        if found.get(key) != Some(value) {
            let was = found.get(key).map_or("nothing".to_owned(), short);
            return format!("`{key}` is {was} there, now {}", short(value));
        }
    }
    "it states something more".to_owned()
}

fn short(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 120 {
        let start: String = text.chars().take(120).collect();
        return format!("{start}...");
    }
    text
}

/// Returns the lower-case hexadecimal SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Preregistration {
        Preregistration {
            schema: SCHEMA,
            metric: Metric::Brier,
            alpha: 0.05,
            minimum_blocks: 60,
            clip: 1.0,
            max_drawdown: 0.2,
            cost_per_side: 0.0005,
            horizon_hours: 12,
            dataset: serde_json::json!({"horizon_hours": 12}),
            model_sha256: "ab".repeat(32),
            template_sha256: "cd".repeat(32),
            arms: Vec::new(),
        }
    }

    #[test]
    fn a_rule_that_nothing_can_be_judged_by_is_refused() {
        sample().check().unwrap();
        for alpha in [0.0, 0.5, f64::NAN] {
            let rule = Preregistration { alpha, ..sample() };
            assert!(rule.check().unwrap_err().to_string().contains("alpha"));
        }
        let rule = Preregistration {
            cost_per_side: -1e-13,
            ..sample()
        };
        assert!(rule.check().is_err());
    }

    #[test]
    fn it_is_written_once_and_another_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let digest = sample().lay_down(folder.path()).unwrap();
        assert_eq!(sample().lay_down(folder.path()).unwrap(), digest);
        let (read, again) = Preregistration::read(folder.path()).unwrap();
        assert_eq!((read, again), (sample(), digest));
        let other = Preregistration {
            alpha: 0.4,
            ..sample()
        };
        let error = other.lay_down(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`alpha` is 0.05 there, now 0.4"), "{text}");
    }
}
