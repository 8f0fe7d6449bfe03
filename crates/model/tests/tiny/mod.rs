//! The tiny random model of `weights` and prompts for it.

use std::ops::ControlFlow;
use std::path::Path;

use model::{Decoder, Tokenizer};
use weights::BaseModel;

/// Log-probabilities computed beside other prompts against those computed alone: the same f32
/// sums, added up in tiles of other lengths.
pub(crate) const SHARING_TOLERANCE: f64 = 1e-4;

fn base() -> BaseModel {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/tests/fixtures");
    BaseModel::open(&fixtures.join("tiny-llama.gguf")).unwrap()
}

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(&base().tokenizer_json().unwrap()).unwrap()
}

pub(crate) fn decoder() -> Decoder {
    Decoder::load(&base(), &mut |_, _| ControlFlow::Continue(())).unwrap()
}

pub(crate) fn quiet(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Prompts below one instruction, of two kinds, in mixed order; some are equal, some alone.
pub(crate) fn prompts(tokenizer: &Tokenizer) -> Vec<Vec<u32>> {
    let instruction = "<|im_start|>user\nYou judge trades from indicators, in one line. ";
    let kinds = [
        "Asset: BTC/USD Timeframe: 1h Trend: above all averages. ",
        "Asset: ETH/USD Timeframe: 4h Trend: below all averages. ",
    ];
    let mut texts: Vec<String> = (0..90)
        .map(|i| {
            format!(
                "{instruction}{}RSI {}.{}?",
                kinds[i * 7 % 2],
                i * 13 % 40,
                i % 3
            )
        })
        .collect();
    texts.push(texts[4].clone());
    texts.push("Nothing alike".into());
    texts.push(instruction.into());
    texts.push("N".into());
    texts
        .iter()
        .map(|text| tokenizer.encode(text).unwrap())
        .collect()
}
