//! Which type each tensor of a file gets, as `src/llama-quant.cpp` of llama.cpp decides it.
//!
//! Vectors stay f32. `Q4_K_M` is a mixture: the head in Q6_K, the value projection and the
//! feed-forward's way down in Q6_K in some layers, the rest in Q4_K. A row that is no whole
//! number of blocks gets another type.

use std::fmt;
use std::str::FromStr;

use crate::Architecture;
use crate::gguf::TensorType;

/// How a file stores its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "llama.cpp's own names")]
pub enum FileType {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE half precision.
    F16,
    /// 16 bits, the upper half of f32.
    BF16,
    /// 8.5 bits: blocks of 32 with one scale.
    Q8_0,
    /// About 4.9 bits: the mixture most files of this kind use.
    Q4_K_M,
}

impl FileType {
    /// All of them, largest first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::BF16, Self::Q8_0, Self::Q4_K_M];

    /// Returns the name in lower case, as a command line spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_K_M => "q4_k_m",
        }
    }

    /// Returns llama.cpp's number for `general.file_type` (`llama_ftype`).
    pub fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::BF16 => 32,
            Self::Q8_0 => 7,
            Self::Q4_K_M => 15,
        }
    }

    /// Returns the type of a matrix that no rule speaks of.
    pub fn usual(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q4_K_M => TensorType::Q4_K,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for FileType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == lower);
        found.ok_or_else(|| format!("`{text}` is none of f32, f16, bf16, q8_0 and q4_k_m"))
    }
}

/// What the rules look at beside a tensor's name and shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) architecture: Architecture,
    pub(super) layers: usize,
    /// Whether the embedding is the output head too.
    pub(super) tied: bool,
}

/// The type of one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// What the rules ask for.
    pub(super) wanted: TensorType,
    /// What its rows can be stored as.
    pub(super) used: TensorType,
}

/// Returns the type of the matrix `name` (as GGUF spells it) with rows of `width` values.
pub(super) fn choose(kind: FileType, model: Model, name: &str, width: usize) -> Choice {
    let usual = kind.usual();
    let is_head = name == "output.weight" || model.tied && name == "token_embd.weight";
    if kind != FileType::Q4_K_M {
        return fitting(usual, width);
    }
    if is_head {
        // Not a fallback of Q6_K but a rule of its own, with the same result.
        return fitting(TensorType::Q6_K, width);
    }
    let wanted = match layer_part(name) {
        Some((layer, "attn_v")) if more_bits(layer, model.layers) => TensorType::Q6_K,
        // Models of 70 billion parameters have eight heads to one of these.
        Some((_, "attn_v")) if is_70b(model) => TensorType::Q5_K,
        Some((layer, "ffn_down")) if more_bits(layer, model.layers) => TensorType::Q6_K,
        _ => usual,
    };
    fitting(wanted, width)
}

/// Returns layer and part of `blk.0.attn_v.weight`.
fn layer_part(name: &str) -> Option<(usize, &str)> {
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, part.strip_suffix(".weight")?))
}

/// The first and the last eighth of the layers, and every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// llama.cpp tells this size by the number of layers.
fn is_70b(model: Model) -> bool {
    model.layers == 80 && model.architecture != Architecture::Qwen3
}

fn fitting(wanted: TensorType, width: usize) -> Choice {
    let fits = |kind: &TensorType| width.is_multiple_of(kind.block().0);
    let smaller_blocks = match wanted {
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        other => other,
    };
    let used = [wanted, smaller_blocks].into_iter().find(fits);
    Choice {
        wanted,
        used: used.unwrap_or(TensorType::F16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(layers: usize, tied: bool) -> Model {
        Model {
            architecture: Architecture::Llama,
            layers,
            tied,
        }
    }

    fn used(layers: usize, tied: bool, name: &str, width: usize) -> TensorType {
        choose(FileType::Q4_K_M, model(layers, tied), name, width).used
    }

    /// Layers of the 8B shape with more bits, by hand from the rule: 0..4, 28..32, and 6, 9, ... 27.
    #[test]
    fn the_mixture_of_32_layers() {
        let more: Vec<usize> = (0..32)
            .filter(|layer| {
                used(32, false, &format!("blk.{layer}.ffn_down.weight"), 4096) == TensorType::Q6_K
            })
            .collect();
        let expected = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
        assert_eq!(more, expected);
        assert_eq!(
            used(32, false, "blk.4.attn_v.weight", 4096),
            TensorType::Q4_K
        );
        assert_eq!(
            used(32, false, "blk.6.attn_v.weight", 4096),
            TensorType::Q6_K
        );
        assert_eq!(
            used(32, false, "blk.6.attn_k.weight", 4096),
            TensorType::Q4_K
        );
    }

    #[test]
    fn head_and_embedding() {
        assert_eq!(used(8, false, "output.weight", 512), TensorType::Q6_K);
        assert_eq!(used(8, false, "token_embd.weight", 512), TensorType::Q4_K);
        assert_eq!(used(8, true, "token_embd.weight", 512), TensorType::Q6_K);
        assert_eq!(used(8, true, "token_embd.weight", 576), TensorType::Q8_0);
        assert_eq!(used(8, false, "token_embd.weight", 576), TensorType::Q5_0);
    }

    #[test]
    fn rows_that_are_no_whole_number_of_blocks() {
        assert_eq!(used(30, true, "blk.5.attn_q.weight", 576), TensorType::Q5_0);
        assert_eq!(used(30, true, "blk.0.attn_v.weight", 576), TensorType::Q8_0);
        assert_eq!(used(30, true, "blk.5.attn_q.weight", 40), TensorType::F16);
        let eight = choose(FileType::Q8_0, model(2, true), "blk.0.attn_q.weight", 40);
        assert_eq!(
            (eight.wanted, eight.used),
            (TensorType::Q8_0, TensorType::F16)
        );
        assert_eq!(
            used(80, false, "blk.11.attn_v.weight", 8192),
            TensorType::Q5_K
        );
        assert_eq!(
            used(80, false, "blk.11.attn_v.weight", 96),
            TensorType::Q5_1
        );
    }

    #[test]
    fn names_are_read_back() {
        for kind in FileType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("Q4_K_M".parse(), Ok(FileType::Q4_K_M));
        assert!("q3_k".parse::<FileType>().unwrap_err().contains("q4_k_m"));
    }
}
