//! The decoder's frozen weights in memory: one transformer for every supported family, varied by
//! the configuration.

use crate::ModelError;
use crate::forward::Pool;
use crate::lora::Projection;
use kernels::attention::Heads;
use kernels::rotary::RotaryTable;
use std::ops::ControlFlow;
use weights::{BaseModel, ModelConfig};

/// Positions the rotary table covers at most; longer contexts are refused, not approximated.
const MAX_POSITIONS: usize = 32_768;

/// A frozen linear layer: y = x W^T + bias. Weight [outputs, inputs], row-major.
pub(crate) struct Linear {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) feed_forward_norm: Vec<f32>,
    pub(crate) linears: [Linear; 7],
    /// Weights [D] of the norms over each query and key head, where the family has them.
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
}

impl Layer {
    pub(crate) fn linear(&self, projection: Projection) -> &Linear {
        &self.linears[projection as usize]
    }
}

/// A base model ready to compute: all weights dequantised to f32.
pub struct Decoder {
    config: ModelConfig,
    pub(crate) embedding: Vec<f32>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Vec<f32>,
    head: Option<Vec<f32>>,
    pub(crate) rotary: RotaryTable,
    /// Buffers of the layers' activations between two training passes.
    pub(crate) pool: Pool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads every tensor of `base`, reporting (tensors read, tensors in all) to `progress`.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape than the configuration says or holds a value that
    /// is not finite; if the family needs what is not supported; or if `progress` asks to stop.
    pub fn load(
        base: &BaseModel,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self, ModelError> {
        let config = base.config().clone();
        let (c, v) = (config.hidden_size, config.vocab_size);
        let per_layer = if config.qk_norm { 11 } else { 9 };
        let total = 2 + config.num_layers * per_layer + usize::from(!config.tie_embeddings);
        let mut done = 0;
        let mut read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, ModelError> {
            let values = tensor(base, name, shape)?;
            done += 1;
            match progress(done, total) {
                ControlFlow::Continue(()) => Ok(values),
                ControlFlow::Break(()) => Err(ModelError::Interrupted),
            }
        };
        let embedding = read("model.embed_tokens.weight", &[v, c])?;
        let mut layers = Vec::with_capacity(config.num_layers);
        for index in 0..config.num_layers {
            let mut linears = Vec::with_capacity(7);
            for projection in Projection::ALL {
                let module = projection.module(index);
                let (inputs, outputs) = projection.shape(&config);
                let weight = read(&format!("{module}.weight"), &[outputs, inputs])?;
                let bias_name = format!("{module}.bias");
                let bias = if base.has(&bias_name) {
                    Some(tensor(base, &bias_name, &[outputs])?)
                } else {
                    None
                };
                linears.push(Linear {
                    weight,
                    bias,
                    inputs,
                    outputs,
                });
            }
            let Ok(linears) = <[Linear; 7]>::try_from(linears) else {
                unreachable!("seven projections were pushed")
            };
            let prefix = format!("model.layers.{index}");
            let head_norms = if config.qk_norm {
                let mut norm = |name: &str| {
                    let name = format!("{prefix}.self_attn.{name}.weight");
                    read(&name, &[config.head_dim])
                };
                Some([norm("q_norm")?, norm("k_norm")?])
            } else {
                None
            };
            layers.push(Layer {
                head_norms,
                attention_norm: read(&format!("{prefix}.input_layernorm.weight"), &[c])?,
                feed_forward_norm: read(
                    &format!("{prefix}.post_attention_layernorm.weight"),
                    &[c],
                )?,
                linears,
            });
        }
        let final_norm = read("model.norm.weight", &[c])?;
        let head = if config.tie_embeddings {
            None
        } else {
            Some(read("lm_head.weight", &[v, c])?)
        };
        let frequencies: Vec<f64> = config
            .rope
            .inverse_frequencies(config.head_dim)
            .into_iter()
            .map(f64::from)
            .collect();
        let positions = config.max_position.clamp(1, MAX_POSITIONS);
        let factor = f64::from(config.rope.attention_factor());
        let rotary = RotaryTable::new(&frequencies, positions, factor);
        Ok(Self {
            config,
            embedding,
            layers,
            final_norm,
            head,
            rotary,
            pool: Pool::default(),
        })
    }

    /// Frees the buffers that training passes keep for one another.
    pub fn free_buffers(&self) {
        self.pool.clear();
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the longest sequence that can be computed, in tokens.
    pub fn max_positions(&self) -> usize {
        let table = self.rotary.positions();
        self.config
            .sliding_window
            .map_or(table, |window| window.min(table))
    }

    /// Returns the number of frozen parameters.
    pub fn parameters(&self) -> usize {
        let linears: usize = self
            .layers
            .iter()
            .flat_map(|layer| &layer.linears)
            .map(|l| l.weight.len() + l.bias.as_ref().map_or(0, Vec::len))
            .sum();
        let heads = self.layers.iter().flat_map(|layer| &layer.head_norms);
        let norms = self.final_norm.len() * (2 * self.layers.len() + 1)
            + heads.flatten().map(Vec::len).sum::<usize>();
        self.embedding.len() + linears + norms + self.head.as_ref().map_or(0, Vec::len)
    }

    /// Returns the output head [V, C]: its own tensor or the embedding.
    pub(crate) fn head(&self) -> &[f32] {
        self.head.as_deref().unwrap_or(&self.embedding)
    }

    pub(crate) fn heads(&self) -> Heads {
        Heads {
            query: self.config.num_heads,
            key_value: self.config.num_kv_heads,
            width: self.config.head_dim,
        }
    }
}

fn tensor(base: &BaseModel, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
    if let Some(found) = base.shape(name)
        && found != shape
    {
        return Err(ModelError::Shape {
            name: name.to_owned(),
            found: found.to_vec(),
            expected: shape.to_vec(),
        });
    }
    let values = base.tensor_f32(name)?;
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            name: name.to_owned(),
            index,
        }),
        None => Ok(values),
    }
}
