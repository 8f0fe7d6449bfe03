//! Scoring and greedy generation on a tiny random model: shared beginnings change nothing.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

mod tiny;

use std::ops::ControlFlow;

use model::generate::greedy;
use model::score::{DecisionTokens, decisions};
use model::{Batch, Decoder, ModelError, Tokenizer, log_sum_exp};
use tiny::{SHARING_TOLERANCE, decoder, prompts, quiet, tokenizer};

fn labels(tokenizer: &Tokenizer) -> DecisionTokens {
    let answers: Vec<Vec<u32>> = ["BUY", "SELL", "HOLD"]
        .iter()
        .map(|label| tokenizer.encode(&format!("DECISION: {label} -")).unwrap())
        .collect();
    DecisionTokens::derive(&answers).unwrap()
}

/// The plain way: every label as a sequence of its own, nothing shared, no cache.
fn one_by_one(decoder: &Decoder, prompt: &[u32], tokens: &DecisionTokens) -> Vec<f64> {
    let vocabulary = decoder.config().vocab_size;
    let score = |label: &Vec<u32>| {
        let start = prompt.len() + tokens.lead.len();
        let all = [prompt, &tokens.lead, label].concat();
        let mut batch = Batch::default();
        batch.push(&all, 0, Vec::new(), 0);
        let rows: Vec<usize> = (start - 1..all.len() - 1).collect();
        let logits = decoder.logits(None, &batch, &rows).unwrap();
        let each = logits.chunks_exact(vocabulary).zip(label);
        each.map(|(row, token)| f64::from(row[*token as usize] - log_sum_exp(row)))
            .sum()
    };
    tokens.labels.iter().map(score).collect()
}

#[test]
fn scores_of_many_prompts_equal_those_of_each_alone() {
    let (tokenizer, decoder) = (tokenizer(), decoder());
    let (prompts, tokens) = (prompts(&tokenizer), labels(&tokenizer));
    // The tiny vocabulary writes labels in several tokens: rows within labels are covered.
    assert!(tokens.labels.iter().any(|label| label.len() > 1));
    let mut seen = Vec::new();
    let all = decisions(&decoder, None, &prompts, &tokens, &mut |done, of| {
        assert_eq!(of, prompts.len());
        seen.push(done);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(seen.is_sorted() && seen.len() > 1 && seen.last() == Some(&prompts.len()));
    let mut widest = 0.0_f64;
    for (prompt, scores) in prompts.iter().zip(&all) {
        for (ours, alone) in scores.iter().zip(one_by_one(&decoder, prompt, &tokens)) {
            widest = widest.max((ours - alone).abs());
        }
    }
    assert!(widest < SHARING_TOLERANCE, "{widest}");
    // The scores tell prompts apart, so a mix-up would have shown.
    let first: std::collections::BTreeSet<i64> = all
        .iter()
        .map(|s| (s[0] / SHARING_TOLERANCE) as i64)
        .collect();
    assert!(first.len() > 60, "{}", first.len());
    assert_eq!(all[4], all[90]);
}

#[test]
fn scoring_refuses_what_it_cannot_score() {
    let (tokenizer, decoder) = (tokenizer(), decoder());
    let mut tokens = labels(&tokenizer);
    let score = |prompts: &[Vec<u32>], tokens: &DecisionTokens| {
        decisions(&decoder, None, prompts, tokens, &mut quiet)
    };
    assert!(score(&[], &tokens).unwrap().is_empty());
    let error = score(&[vec![u32::MAX]], &tokens).unwrap_err();
    assert!(matches!(error, ModelError::Token { .. }), "{error}");
    tokens.lead.clear();
    let error = score(&[vec![]], &tokens).unwrap_err();
    assert!(matches!(error, ModelError::TooLong { .. }), "{error}");
    let stop = decisions(&decoder, None, &[vec![1]], &tokens, &mut |_, _| {
        ControlFlow::Break(())
    });
    assert!(matches!(stop, Err(ModelError::Interrupted)));
}

/// The plain way to generate: the whole sequence again for every token.
fn greedy_alone(decoder: &Decoder, prompt: &[u32], max_new: usize, stop: &[u32]) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for _ in 0..max_new {
        let mut batch = Batch::default();
        batch.push(&all, 0, Vec::new(), 0);
        let logits = decoder.logits(None, &batch, &[all.len() - 1]).unwrap();
        let best = (0..logits.len())
            .rev()
            .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
            .unwrap() as u32;
        if stop.contains(&best) {
            break;
        }
        all.push(best);
    }
    all[prompt.len()..].to_vec()
}

#[test]
fn answers_beside_others_equal_those_alone() {
    let (tokenizer, decoder) = (tokenizer(), decoder());
    let prompts = prompts(&tokenizer);
    let stop = [tokenizer.token_id("<|im_end|>").unwrap()];
    let together = greedy(&decoder, None, &prompts, 6, &stop, 2, &mut quiet).unwrap();
    for index in [0, 1, 17, 50, 89, 90, 91, 92, 93] {
        let alone = greedy_alone(&decoder, &prompts[index], 6, &stop);
        assert_eq!(together[index].tokens(), alone, "prompt {index}");
    }
    for answer in &together {
        for step in &answer.steps {
            assert_eq!(step.token, step.top[0].0);
            assert!(step.top[0].1 >= step.top[1].1);
        }
    }
}
