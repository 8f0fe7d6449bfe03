//! Measures how long one, two and three arms take on the same prompts; each line is JSON.
//!
//! `cargo run --release -p foretune-model --example arms -- MODEL KEEP [REPEATS]`
//!
//! The prompts are those of the shadow service: one instruction, then the facts of an instrument.
//! `alone` scores one arm by `score::decisions`, which keeps nothing from call to call; `arms` are
//! scored together by `Arms`, which keeps what all prompts begin with.
#![expect(clippy::print_stdout, reason = "a command-line example")]

use model::score::{DecisionTokens, decisions};
use model::{
    Arms, ChatMessage, ChatTemplate, Decoder, Keeping, Lora, LoraSettings, Precision, Projection,
    Tokenizer, Unit, encode_prompt,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, keep, rest @ ..] = &arguments[..] else {
        return Err("MODEL KEEP [REPEATS]".into());
    };
    let repeats: usize = rest.first().map_or(Ok(7), |text| text.parse())?;
    let keeping = Keeping::ALL
        .into_iter()
        .find(|keeping| keeping.as_str() == keep)
        .ok_or("KEEP is f32, stored or nf4")?;
    let base = weights::BaseModel::open(Path::new(path))?;
    let mut decoder = Decoder::load_as(&base, keeping, &mut |_, _| ControlFlow::Continue(()))?;
    let unit = Unit::best();
    if unit.pays() {
        decoder.precision(Precision::Bf16(unit));
    }
    let tokenizer = Tokenizer::from_json(&base.tokenizer_json()?)?;
    let template = ChatTemplate::new(base.chat_template()?, base.bos_token(), base.eos_token())?;
    let prompt =
        |text: &str| encode_prompt(&tokenizer, &template, &[ChatMessage::new("user", text)]);
    let mut answers = Vec::new();
    for word in ["BUY", "SELL", "HOLD"] {
        answers.push(tokenizer.encode(&format!("DECISION: {word} -"))?);
    }
    let tokens = DecisionTokens::derive(&answers)?;
    let mut prompts = Vec::new();
    for index in 0..50 {
        prompts.push(prompt(&text(index))?);
    }
    let alike = prompts[0].iter().zip(&prompts[1]);
    let alike = alike.take_while(|(a, b)| a == b).count();
    let prefix = prompts[0][..alike].to_vec();
    for bars in [1, 2, 50] {
        let asked = &prompts[..bars];
        let lora = adapter(&decoder, 0)?;
        let alone = median(repeats, || {
            let mut go_on = |_, _| ControlFlow::Continue(());
            decisions(&decoder, Some(&lora), asked, &tokens, &mut go_on)
        })?;
        let mut seconds = Vec::new();
        for count in 1..=3 {
            let loras: Result<Vec<Option<Lora>>, _> = (0..count)
                .map(|seed| adapter(&decoder, seed).map(Some))
                .collect();
            let mut arms = Arms::new(loras?, tokens.clone(), prefix.clone());
            seconds.push(median(repeats, || arms.score(&decoder, asked))?);
        }
        let out = serde_json::json!({
            "keep": keep, "instruments": bars, "prompt_tokens": prompts[0].len(), "kept_tokens": alike,
            "alone": alone, "arms_1": seconds[0], "arms_2": seconds[1], "arms_3": seconds[2],
            "two_over_one": seconds[1] / seconds[0], "two_over_alone": seconds[1] / alone,
        });
        println!("{out}");
    }
    Ok(())
}

fn text(index: usize) -> String {
    format!(
        "Will the price rise over 2% (BUY), fall over 2% (SELL) or neither (HOLD) in 12 hours? Answer like this:\n\
         DECISION: BUY|SELL|HOLD - reason\nAsset: {}{}/USDT\nPrice: {}.5\n24h change: -{}.1% (down)\n\
         RSI(14): {}.3 (neutral)\nMACD: -{}bp (bearish)\nEMA(50): +1.{}% (mixed)\nBollinger: 0.{} (middle)\n\
         Fear & Greed: {} (fear)\nTrend: 1h down 4h up 1d flat\nHeadlines: none",
        char::from(b'A' + (index % 26) as u8),
        index,
        9000 + index * 37,
        index % 7,
        30 + index % 40,
        5 + index,
        index % 10,
        20 + index,
        26 + index % 20
    )
}

fn adapter(decoder: &Decoder, seed: u64) -> Result<Lora, model::ModelError> {
    let settings = LoraSettings {
        rank: 8,
        alpha: 16.0,
        rslora: false,
        dropout: 0.0,
        targets: vec![Projection::Query, Projection::Value],
    };
    Lora::new(decoder.config(), settings, seed)
}

/// Returns the median time of `work`, after one run that warms up.
fn median<T, E>(repeats: usize, mut work: impl FnMut() -> Result<T, E>) -> Result<f64, E> {
    work()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let began = Instant::now();
        work()?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
