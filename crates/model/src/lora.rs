//! Low-rank adapters (Hu et al. 2021): y = W x + scale * B (A x).

use crate::ModelError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use weights::{LoraPair, LoraTensors, ModelConfig};

/// A linear layer of the decoder that can carry an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
    /// `self_attn.q_proj`
    Query,
    /// `self_attn.k_proj`
    Key,
    /// `self_attn.v_proj`
    Value,
    /// `self_attn.o_proj`
    Output,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
}

impl Projection {
    /// All projections in the order of the forward pass.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// Returns the short name used in settings, such as `q_proj`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// Returns the projection named `q_proj`, `k_proj`, ... or nothing.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }

    /// Returns the module's name in layer `layer`, without `.weight`.
    pub fn module(self, layer: usize) -> String {
        let part = match self {
            Self::Query | Self::Key | Self::Value | Self::Output => "self_attn",
            Self::Gate | Self::Up | Self::Down => "mlp",
        };
        format!("model.layers.{layer}.{part}.{}", self.as_str())
    }

    /// Returns (inputs, outputs) of the projection.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (
            config.num_heads * config.head_dim,
            config.num_kv_heads * config.head_dim,
        );
        match self {
            Self::Query => (c, q),
            Self::Key | Self::Value => (c, kv),
            Self::Output => (q, c),
            Self::Gate | Self::Up => (c, f),
            Self::Down => (f, c),
        }
    }
}

/// What an adapter is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rank R of every pair.
    pub rank: usize,
    /// The update is scaled by alpha / rank, or with rsLoRA by alpha / sqrt(rank).
    pub alpha: f64,
    /// Rank-stabilised scale (rsLoRA, Kalajdzievski 2023).
    pub rslora: bool,
    /// Probability of dropping an input element of the adapter while training.
    pub dropout: f64,
    /// Which projections carry a pair, in every layer.
    pub targets: Vec<Projection>,
}

/// One pair of factors: a [R, inputs], b [outputs, R].
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The down-projection A.
    pub a: Vec<f32>,
    /// The up-projection B.
    pub b: Vec<f32>,
}

/// An adapter for one base model, or gradients of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// What it is made of.
    pub settings: LoraSettings,
    pairs: Vec<[Option<Pair>; 7]>,
}

impl Lora {
    /// Makes a fresh adapter: A uniform in +-1/sqrt(inputs) as PEFT draws it, B zero, so that the
    /// adapted model begins equal to its base. Deterministic in `seed`.
    ///
    /// # Errors
    /// If the rank is 0 or larger than a projection's dimension, no projection is named, or alpha
    /// or dropout are out of range.
    pub fn new(
        config: &ModelConfig,
        settings: LoraSettings,
        seed: u64,
    ) -> Result<Self, ModelError> {
        if settings.rank == 0 || settings.targets.is_empty() {
            return Err(ModelError::Adapter(
                "the rank and the number of targets must be at least 1".into(),
            ));
        }
        let smallest = |projection: &Projection| {
            let (inputs, outputs) = projection.shape(config);
            inputs.min(outputs)
        };
        // A larger rank says nothing more, and would be allocated all the same.
        if let Some(projection) = settings.targets.iter().copied().min_by_key(smallest)
            && settings.rank > smallest(&projection)
        {
            return Err(ModelError::Rank {
                rank: settings.rank,
                limit: smallest(&projection),
                projection: projection.as_str(),
            });
        }
        if !(settings.alpha > 0.0 && (0.0..1.0).contains(&settings.dropout)) {
            return Err(ModelError::Adapter(
                "alpha must be positive and dropout lie in [0, 1)".into(),
            ));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pairs = Vec::with_capacity(config.num_layers);
        for _ in 0..config.num_layers {
            let mut layer: [Option<Pair>; 7] = std::array::from_fn(|_| None);
            for projection in Projection::ALL {
                if settings.targets.contains(&projection) {
                    let (inputs, outputs) = projection.shape(config);
                    let bound = 1.0 / (inputs as f32).sqrt();
                    let a = (0..settings.rank * inputs)
                        .map(|_| {
                            let uniform = (rng.next_u32() >> 8) as f32 / 16_777_216.0;
                            (2.0 * uniform - 1.0) * bound
                        })
                        .collect();
                    layer[projection as usize] = Some(Pair {
                        a,
                        b: vec![0.0; outputs * settings.rank],
                    });
                }
            }
            pairs.push(layer);
        }
        Ok(Self { settings, pairs })
    }

    /// Returns zeros of the same shape, to collect gradients or moments in.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let mut zeros = self.clone();
        for slice in zeros.slices_mut() {
            slice.fill(0.0);
        }
        zeros
    }

    /// Returns alpha / rank, with rsLoRA alpha / sqrt(rank).
    pub fn scale(&self) -> f32 {
        let rank = self.settings.rank as f64;
        let divisor = if self.settings.rslora {
            rank.sqrt()
        } else {
            rank
        };
        (self.settings.alpha / divisor) as f32
    }

    /// Returns the pair on a projection of a layer, if it carries one.
    pub fn pair(&self, layer: usize, projection: Projection) -> Option<&Pair> {
        self.pairs
            .get(layer)
            .and_then(|layer| layer[projection as usize].as_ref())
    }

    /// Returns the pair on a projection of a layer for writing.
    pub fn pair_mut(&mut self, layer: usize, projection: Projection) -> Option<&mut Pair> {
        self.pairs
            .get_mut(layer)
            .and_then(|layer| layer[projection as usize].as_mut())
    }

    /// Returns all factors in a fixed order (layer, projection, A before B).
    pub fn slices(&self) -> Vec<&[f32]> {
        self.pairs
            .iter()
            .flatten()
            .flatten()
            .flat_map(|pair| [&pair.a[..], &pair.b[..]])
            .collect()
    }

    /// Returns all factors for writing, in the order of [`Self::slices`].
    pub fn slices_mut(&mut self) -> Vec<&mut [f32]> {
        self.pairs
            .iter_mut()
            .flatten()
            .flatten()
            .flat_map(|pair| [&mut pair.a[..], &mut pair.b[..]])
            .collect()
    }

    /// Returns the number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.slices().iter().map(|s| s.len()).sum()
    }

    /// Converts to named tensors for a file.
    pub fn to_tensors(&self, config: &ModelConfig) -> LoraTensors {
        let mut tensors = BTreeMap::new();
        for (index, layer) in self.pairs.iter().enumerate() {
            for projection in Projection::ALL {
                if let Some(pair) = &layer[projection as usize] {
                    let (in_features, out_features) = projection.shape(config);
                    tensors.insert(
                        projection.module(index),
                        LoraPair {
                            rank: self.settings.rank,
                            in_features,
                            out_features,
                            a: pair.a.clone(),
                            b: pair.b.clone(),
                        },
                    );
                }
            }
        }
        LoraTensors {
            tensors,
            rank: self.settings.rank,
            alpha: self.settings.alpha,
            dropout: self.settings.dropout,
            rslora: self.settings.rslora,
        }
    }

    /// Builds an adapter from named tensors read from a file.
    ///
    /// # Errors
    /// If a module does not exist in the base, a shape differs, or the tensors fail their own checks.
    pub fn from_tensors(config: &ModelConfig, tensors: &LoraTensors) -> Result<Self, ModelError> {
        tensors.validate()?;
        let mut pairs: Vec<[Option<Pair>; 7]> = (0..config.num_layers)
            .map(|_| std::array::from_fn(|_| None))
            .collect();
        let mut known = BTreeMap::new();
        for layer in 0..config.num_layers {
            for projection in Projection::ALL {
                known.insert(projection.module(layer), (layer, projection));
            }
        }
        let mut targets = Vec::new();
        for (name, pair) in &tensors.tensors {
            let Some(&(layer, projection)) = known.get(name) else {
                return Err(ModelError::Adapter(format!(
                    "`{name}` does not exist in the base model"
                )));
            };
            let expected = projection.shape(config);
            if expected != (pair.in_features, pair.out_features) {
                return Err(ModelError::Adapter(format!(
                    "`{name}` is {} x {}, the base model's is {} x {}",
                    pair.out_features, pair.in_features, expected.1, expected.0
                )));
            }
            if !targets.contains(&projection) {
                targets.push(projection);
            }
            pairs[layer][projection as usize] = Some(Pair {
                a: pair.a.clone(),
                b: pair.b.clone(),
            });
        }
        targets.sort();
        let settings = LoraSettings {
            rank: tensors.rank,
            alpha: tensors.alpha,
            rslora: tensors.rslora,
            dropout: tensors.dropout,
            targets,
        };
        Ok(Self { settings, pairs })
    }
}
