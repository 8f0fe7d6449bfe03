//! Rotary position embedding as data, and the table of inverse frequencies it stands for.
//!
//! Follows `modeling_rope_utils.py` of transformers; the GGUF form of llama3 scaling
//! (`rope_freqs.weight`) is kept as the divisors it stores. The rotation itself belongs
//! to `model`.

use std::f64::consts::PI;

/// Rotary embedding: base and scaling.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the geometric frequencies (`rope_theta`).
    pub theta: f64,
    /// How the frequencies are stretched beyond the pre-training context.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are scaled.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Plain `theta^(-2j/D)`.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor, at least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, smooth between.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of pre-training, in tokens.
        original_max_position: usize,
    },
    /// YaRN (Peng et al. 2023, section 3).
    Yarn {
        /// The divisor of the interpolated frequencies.
        factor: f64,
        /// Context length of pre-training, in tokens.
        original_max_position: usize,
        /// Factor on cos and sin (the paper's square root of 1/t).
        attention_factor: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is fully interpolated.
        beta_slow: f64,
        /// Whether the ramp's ends are rounded outwards to whole dimensions.
        truncate: bool,
    },
    /// One divisor per frequency, length D/2, as a GGUF's `rope_freqs.weight` stores them.
    Divisors(Vec<f32>),
}

impl RopeScaling {
    /// Returns what is impossible about the parameters for heads of width `head_dim`.
    pub(crate) fn fault(&self, head_dim: usize) -> Option<String> {
        let factor_of = |factor: f64| {
            (!(factor >= 1.0 && factor.is_finite()))
                .then(|| format!("has the factor {factor}, expected at least 1"))
        };
        let position = |n: usize| {
            (n == 0).then(|| "has an original context of 0 tokens, expected more".to_owned())
        };
        match self {
            Self::None => None,
            Self::Linear { factor } => factor_of(*factor),
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position,
            } => factor_of(*factor)
                .or_else(|| position(*original_max_position))
                .or_else(|| {
                    (!(*low_freq_factor > 0.0 && high_freq_factor > low_freq_factor)).then(|| {
                        format!(
                            "has the frequency factors {low_freq_factor} and {high_freq_factor}, \
                             expected a smaller and a larger positive number"
                        )
                    })
                }),
            Self::Yarn {
                factor,
                original_max_position,
                attention_factor,
                beta_fast,
                beta_slow,
                ..
            } => factor_of(*factor)
                .or_else(|| position(*original_max_position))
                .or_else(|| {
                    let sound = *attention_factor > 0.0
                        && attention_factor.is_finite()
                        && *beta_slow > 0.0
                        && beta_fast > beta_slow;
                    (!sound).then(|| {
                        format!(
                            "has the attention factor {attention_factor} and the betas \
                             {beta_fast} and {beta_slow}, expected positive numbers, the first \
                             beta larger"
                        )
                    })
                }),
            Self::Divisors(divisors) => {
                let sound = divisors.iter().all(|d| *d > 0.0 && d.is_finite());
                (divisors.len() != head_dim / 2 || !sound).then(|| {
                    format!(
                        "has {} frequency divisors, expected {} positive numbers",
                        divisors.len(),
                        head_dim / 2
                    )
                })
            }
        }
    }
}

impl Rope {
    /// Returns the inverse frequencies for one head: length `head_dim / 2`, radians per
    /// token, entry j belonging to the pair (j, j + D/2) of the half-split layout.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        let half = head_dim / 2;
        let plain = |j: usize| self.theta.powf(-2.0 * j as f64 / head_dim as f64);
        (0..half)
            .map(|j| {
                let frequency = plain(j);
                let scaled = match &self.scaling {
                    RopeScaling::None => frequency,
                    RopeScaling::Linear { factor } => frequency / factor,
                    RopeScaling::Llama3 {
                        factor,
                        low_freq_factor,
                        high_freq_factor,
                        original_max_position,
                    } => llama3(
                        frequency,
                        *factor,
                        *low_freq_factor,
                        *high_freq_factor,
                        *original_max_position as f64,
                    ),
                    RopeScaling::Yarn { factor, .. } => {
                        let (low, high) = self.yarn_range(head_dim);
                        let ramp = ((j as f64 - low) / (high - low)).clamp(0.0, 1.0);
                        frequency / factor * ramp + frequency * (1.0 - ramp)
                    }
                    RopeScaling::Divisors(divisors) => {
                        frequency / f64::from(divisors.get(j).copied().unwrap_or(1.0))
                    }
                };
                scaled as f32
            })
            .collect()
    }

    /// Returns the factor on cos and sin: 1 for everything but YaRN.
    pub fn attention_factor(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn {
                attention_factor, ..
            } => attention_factor as f32,
            _ => 1.0,
        }
    }

    /// Returns the dimensions between which YaRN's ramp rises from 0 to 1.
    fn yarn_range(&self, head_dim: usize) -> (f64, f64) {
        let RopeScaling::Yarn {
            original_max_position,
            beta_fast,
            beta_slow,
            truncate,
            ..
        } = self.scaling
        else {
            return (0.0, 1.0);
        };
        let dimension = |rotations: f64| {
            head_dim as f64 * (original_max_position as f64 / (rotations * 2.0 * PI)).ln()
                / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (dimension(beta_fast), dimension(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
        // The reference widens an empty ramp by the same amount.
        (low, if low == high { high + 0.001 } else { high })
    }
}

fn llama3(frequency: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wavelength = 2.0 * PI / frequency;
    if wavelength > original / low {
        frequency / factor
    } else if wavelength < original / high {
        frequency
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// Returns YaRN's default factor on cos and sin for a context stretched by `factor`.
pub(crate) fn yarn_attention_factor(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * scale * factor.ln() + 1.0
    }
}
