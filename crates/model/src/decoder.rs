//! The decoder's frozen weights in memory: one transformer for every supported family, varied by
//! the configuration.

use crate::ModelError;
use crate::forward::Pool;
use crate::frozen::{Frozen, Keeping};
use crate::lora::Projection;
use kernels::attention::Heads;
use kernels::matmul::Precision;
use kernels::operand::Weight;
use kernels::rotary::RotaryTable;
use std::ops::ControlFlow;
use weights::{BaseModel, ModelConfig};

/// Positions the rotary table covers at most; longer contexts are refused, not approximated.
pub const MAX_POSITIONS: usize = 32_768;

/// A frozen linear layer: y = x W^T + bias. Weight [outputs, inputs], row-major.
pub(crate) struct Linear {
    pub(crate) weight: Frozen,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) precision: Precision,
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

/// A base model ready to compute; its matrices are kept as [`Keeping`] says.
pub struct Decoder {
    config: ModelConfig,
    pub(crate) embedding: Frozen,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Vec<f32>,
    head: Option<Frozen>,
    pub(crate) rotary: RotaryTable,
    /// Buffers of the layers' activations between two training passes.
    pub(crate) pool: Pool,
    /// Whether training passes keep the layers' inputs alone.
    pub(crate) recompute: bool,
    /// How products with the head are computed.
    pub(crate) precision: Precision,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads every tensor of `base` as f32; see [`Self::load_as`].
    ///
    /// # Errors
    /// As [`Self::load_as`].
    pub fn load(
        base: &BaseModel,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self, ModelError> {
        Self::load_as(base, Keeping::F32, progress)
    }

    /// Loads every tensor of `base`, reporting (tensors read, tensors in all) to `progress`.
    /// Matrices are read row by row, so that no copy of the model in another form ever exists.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape than the configuration says or holds a value that
    /// is not finite; if the family needs what is not supported; or if `progress` asks to stop.
    pub fn load_as(
        base: &BaseModel,
        keeping: Keeping,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self, ModelError> {
        let config = base.config().clone();
        let (c, v) = (config.hidden_size, config.vocab_size);
        let per_layer = if config.qk_norm { 11 } else { 9 };
        let total = 2 + config.num_layers * per_layer + usize::from(!config.tie_embeddings);
        let mut done = 0;
        let mut step = || {
            done += 1;
            match progress(done, total) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(ModelError::Interrupted),
            }
        };
        // QLoRA quantises the layers and leaves embedding and head as they are.
        let outside = match keeping {
            Keeping::Nf4 => Keeping::Stored,
            other => other,
        };
        let embedding = Frozen::read(base, "model.embed_tokens.weight", (v, c), outside)?;
        step()?;
        let mut layers = Vec::with_capacity(config.num_layers);
        for index in 0..config.num_layers {
            let mut linears = Vec::with_capacity(7);
            for projection in Projection::ALL {
                let module = projection.module(index);
                let (inputs, outputs) = projection.shape(&config);
                let name = format!("{module}.weight");
                let weight = Frozen::read(base, &name, (outputs, inputs), keeping)?;
                step()?;
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
                    precision: Precision::F32,
                });
            }
            let Ok(linears) = <[Linear; 7]>::try_from(linears) else {
                unreachable!("seven projections were pushed")
            };
            let prefix = format!("model.layers.{index}");
            let mut norm = |part: &str, width: usize| -> Result<Vec<f32>, ModelError> {
                let values = tensor(base, &format!("{prefix}.{part}.weight"), &[width])?;
                step()?;
                Ok(values)
            };
            let head_norms = if config.qk_norm {
                let width = config.head_dim;
                Some([
                    norm("self_attn.q_norm", width)?,
                    norm("self_attn.k_norm", width)?,
                ])
            } else {
                None
            };
            layers.push(Layer {
                head_norms,
                attention_norm: norm("input_layernorm", c)?,
                feed_forward_norm: norm("post_attention_layernorm", c)?,
                linears,
            });
        }
        let final_norm = tensor(base, "model.norm.weight", &[c])?;
        step()?;
        let head = if config.tie_embeddings {
            None
        } else {
            let head = Frozen::read(base, "lm_head.weight", (v, c), outside)?;
            step()?;
            Some(head)
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
            recompute: false,
            precision: Precision::F32,
        })
    }

    /// Makes training passes keep every layer's input alone and compute the layer again on the way
    /// back: the same gradients for about a third more time and a fraction of the memory.
    pub fn recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// Sets how products with frozen matrices are computed; f32 unless told otherwise. Few rows, as
    /// in decoding token by token, are always computed in f32.
    pub fn precision(&mut self, precision: Precision) {
        self.precision = precision;
        for linear in self.layers.iter_mut().flat_map(|layer| &mut layer.linears) {
            linear.precision = precision;
        }
    }

    /// Frees the buffers that training passes keep for one another, down to the system.
    pub fn free_buffers(&self) {
        self.pool.clear();
        kernels::memory::give_back();
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the longest sequence that can be computed, in tokens.
    pub fn max_positions(&self) -> usize {
        self.rotary.positions()
    }

    /// Returns the number of frozen parameters.
    pub fn parameters(&self) -> usize {
        let linears: usize = self
            .layers
            .iter()
            .flat_map(|layer| &layer.linears)
            .map(|l| l.inputs * l.outputs + l.bias.as_ref().map_or(0, Vec::len))
            .sum();
        let heads = self.layers.iter().flat_map(|layer| &layer.head_norms);
        let norms = self.final_norm.len() * (2 * self.layers.len() + 1)
            + heads.flatten().map(Vec::len).sum::<usize>();
        let embedding = self.config.vocab_size * self.config.hidden_size;
        embedding * (1 + usize::from(self.head.is_some())) + linears + norms
    }

    /// Returns the output head [V, C]: its own tensor or the embedding.
    pub(crate) fn head(&self) -> &dyn Weight {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Returns how a layer attends.
    pub(crate) fn heads(&self, layer: usize) -> Heads {
        Heads {
            query: self.config.num_heads,
            key_value: self.config.num_kv_heads,
            width: self.config.head_dim,
            window: self.config.windows.get(layer).copied().flatten(),
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
