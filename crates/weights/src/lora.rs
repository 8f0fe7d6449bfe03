//! A LoRA adapter in memory, in PEFT's names and shapes, whatever file it goes to.

use std::collections::BTreeMap;

use crate::WeightsError;

/// All low-rank pairs of one adapter.
///
/// A linear layer with weight W answers `y = W x + scale * B (A x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraTensors {
    /// One pair per adapted linear, by its module name in the base model, such as
    /// `model.layers.0.self_attn.q_proj` (no `.weight`).
    pub tensors: BTreeMap<String, LoraPair>,
    /// The rank R shared by all pairs.
    pub rank: usize,
    /// PEFT's `lora_alpha`.
    pub alpha: f64,
    /// The share of the adapter's input dropped while training, in `[0, 1)`; recorded only.
    pub dropout: f64,
    /// Whether the scale is `alpha / sqrt(rank)` (rsLoRA) and not `alpha / rank`.
    pub rslora: bool,
}

/// One low-rank pair: `A` reduces to the rank, `B` expands to the output.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// Rows of `A`, columns of `B`.
    pub rank: usize,
    /// Input width of the adapted linear.
    pub in_features: usize,
    /// Output width of the adapted linear.
    pub out_features: usize,
    /// `A`, row-major `[rank, in_features]`.
    pub a: Vec<f32>,
    /// `B`, row-major `[out_features, rank]`.
    pub b: Vec<f32>,
}

impl LoraTensors {
    /// Returns the factor on `B (A x)`: `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA.
    pub fn scale(&self) -> f64 {
        if self.rslora {
            self.alpha / (self.rank as f64).sqrt()
        } else {
            self.alpha / self.rank as f64
        }
    }

    /// Returns the distinct last parts of the module names (`q_proj`, `v_proj`), sorted.
    pub fn target_modules(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<&str> = self
            .tensors
            .keys()
            .map(|name| name.rsplit('.').next().unwrap_or(name))
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Checks that every pair belongs to a tensor of `shapes`, by name with `.weight`, and has
    /// its width and height.
    ///
    /// # Errors
    /// [`WeightsError::Adapter`] naming the first module that does not.
    pub(crate) fn check_shapes(
        &self,
        shapes: &BTreeMap<String, Vec<usize>>,
    ) -> Result<(), WeightsError> {
        for (module, pair) in &self.tensors {
            let message = match shapes.get(&format!("{module}.weight")).map(Vec::as_slice) {
                Some(&[out, input]) if out == pair.out_features && input == pair.in_features => {
                    continue;
                }
                Some(shape) => format!(
                    "`{module}` maps {} to {}, the base model has the shape {shape:?}",
                    pair.in_features, pair.out_features
                ),
                None => format!("`{module}` is not in the base model"),
            };
            return Err(WeightsError::Adapter { message });
        }
        Ok(())
    }

    /// Checks that the adapter can be written: at least one pair, one common rank of at
    /// least 1, lengths that fit the declared widths, finite values.
    ///
    /// # Errors
    /// [`WeightsError::Adapter`] naming the first offending module.
    pub fn validate(&self) -> Result<(), WeightsError> {
        let fail = |message: String| Err(WeightsError::Adapter { message });
        if self.tensors.is_empty() {
            return fail("it holds no low-rank pair".into());
        }
        if self.rank == 0 {
            return fail("the rank is 0".into());
        }
        if !self.alpha.is_finite() || self.alpha <= 0.0 {
            return fail(format!(
                "alpha is {}, expected a positive number",
                self.alpha
            ));
        }
        for (name, pair) in &self.tensors {
            if pair.rank != self.rank {
                return fail(format!(
                    "`{name}` has rank {}, expected {}",
                    pair.rank, self.rank
                ));
            }
            let sides = [
                ("A", pair.a.len(), pair.in_features),
                ("B", pair.b.len(), pair.out_features),
            ];
            for (side, found, width) in sides {
                if Some(found) != width.checked_mul(pair.rank) {
                    return fail(format!(
                        "`{name}` has {found} values in {side}, expected {width} x {}",
                        pair.rank
                    ));
                }
            }
            if let Some(value) = pair.a.iter().chain(&pair.b).find(|v| !v.is_finite()) {
                return fail(format!("`{name}` holds the non-finite value {value}"));
            }
        }
        Ok(())
    }
}
