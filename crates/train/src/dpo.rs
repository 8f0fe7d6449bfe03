//! Direct preference optimisation (Rafailov et al. 2023, equation 7), with label smoothing
//! (conservative DPO, Mitchell 2023).
//!
//! For a prompt with a chosen and a rejected answer, let d = (log p(chosen) - log p(rejected)) of
//! the trained model minus the same of the reference. The loss is
//! -(1 - s) log sigmoid(beta d) - s log sigmoid(-beta d), averaged over pairs; beta times a
//! model's log-probability less the reference's is called its reward.
//!
//! Both answers of a pair attend to one copy of their prompt, and pairs whose prompts begin alike
//! share that beginning: exact without dropout, and with it both answers see the same mask on the
//! prompt. The reference's log-probabilities are computed once and kept in a file.

use crate::reference::{REFERENCE_NAME, reference_scores};
use crate::run::{Fingerprint, Order, Run, RunFiles};
use crate::{SftSettings, TrainError};
use model::batch::{Batch, shared_prefix};
use model::{Decoder, Encoded, Lora, Target};
use serde::{Deserialize, Serialize};
use std::ops::{ControlFlow, Range};
use std::time::Instant;

/// Settings of preference training beside those of every training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoSettings {
    /// How strongly the model is kept near the reference.
    pub beta: f64,
    /// Probability that a pair is the wrong way round; 0 is the plain loss.
    pub label_smoothing: f64,
    /// Peak step size; takes the place of `train.learning_rate`.
    pub learning_rate: f64,
    /// What the model is compared with.
    pub reference: Reference,
}

/// The model that a preference training starts its comparison from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The base model, the adapter switched off.
    Base,
    /// The model as it stands before the first step, with the adapter it starts from; for a fresh
    /// adapter that is the base. TRL does the same.
    Start,
}

impl Default for DpoSettings {
    fn default() -> Self {
        Self {
            beta: 0.1,
            label_smoothing: 0.0,
            learning_rate: 5e-4,
            reference: Reference::Start,
        }
    }
}

impl DpoSettings {
    /// Checks the range of every setting.
    ///
    /// # Errors
    /// Naming the first setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let checks = [
            (
                "dpo.beta",
                self.beta,
                positive(self.beta),
                "a positive number",
            ),
            (
                "dpo.label_smoothing",
                self.label_smoothing,
                (0.0..0.5).contains(&self.label_smoothing),
                "a number in [0, 0.5)",
            ),
            (
                "dpo.learning_rate",
                self.learning_rate,
                positive(self.learning_rate),
                "a positive number",
            ),
        ];
        for (name, value, fits, expected) in checks {
            if !fits {
                return Err(TrainError::Setting {
                    name,
                    value: value.to_string(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// A prompt with two answers; both conversations begin with the same prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The pair's id.
    pub id: String,
    /// Prompt and preferred answer.
    pub chosen: Encoded,
    /// Prompt and the other answer.
    pub rejected: Encoded,
}

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DpoRecord {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Pairs seen so far.
    pub pairs: usize,
    /// Mean loss of the batch, in nats.
    pub loss: f64,
    /// Mean reward of the chosen answers.
    pub reward_chosen: f64,
    /// Mean reward of the rejected answers.
    pub reward_rejected: f64,
    /// Mean difference of the two.
    pub reward_margin: f64,
    /// Share of pairs whose chosen answer has the higher reward.
    pub reward_accuracy: f64,
    /// Step size of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Tokens of the pairs seen so far: both conversations in full.
    pub tokens: usize,
    /// Rows computed so far.
    pub rows: usize,
    /// Seconds spent on steps so far, in all processes of the run; the reference is left out.
    pub seconds: f64,
    /// Tokens per second of all steps so far.
    pub tokens_per_second: f64,
}

/// What a preference training reports on the way.
#[derive(Clone, Copy, Debug)]
pub enum DpoEvent<'a> {
    /// Pairs whose reference is known.
    Reference {
        /// So many are.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// A step is done.
    Step(&'a DpoRecord),
}

/// What a preference training ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DpoSummary {
    /// Steps done.
    pub steps: usize,
    /// Pairs seen.
    pub pairs: usize,
    /// Tokens of those pairs.
    pub tokens: usize,
    /// Supervised tokens among them.
    pub supervised_tokens: usize,
    /// Seconds spent: in this process reference included, in earlier ones their steps.
    pub wall_seconds: f64,
    /// Tokens per second of training alone.
    pub tokens_per_second: f64,
    /// Every step, those of earlier processes as the log has them.
    pub history: Vec<DpoRecord>,
}

/// Log-probabilities of a pair's answers under one model, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the chosen answer's tokens, summed.
    pub chosen: f64,
    /// Of the rejected answer's tokens, summed.
    pub rejected: f64,
}

/// Loss and rewards of one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    /// The loss, in nats.
    pub loss: f64,
    /// Its derivative with respect to log p(chosen); with respect to log p(rejected) it is the
    /// negative of this.
    pub slope: f64,
    /// Reward of the chosen answer.
    pub reward_chosen: f64,
    /// Reward of the rejected answer.
    pub reward_rejected: f64,
}

/// Computes the loss of one pair from the two models' scores.
pub fn preference(settings: &DpoSettings, trained: Scores, reference: Scores) -> Preference {
    let (beta, smoothing) = (settings.beta, settings.label_smoothing);
    let reward_chosen = beta * (trained.chosen - reference.chosen);
    let reward_rejected = beta * (trained.rejected - reference.rejected);
    let x = reward_chosen - reward_rejected;
    // log sigmoid(x) without overflow at either end.
    let log_sigmoid = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| log_sigmoid(x).exp();
    Preference {
        loss: -(1.0 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x),
        slope: beta * (smoothing * sigmoid(x) - (1.0 - smoothing) * sigmoid(-x)),
        reward_chosen,
        reward_rejected,
    }
}

/// Trains `lora` on `pairs`, in place. `settings` gives everything but what [`DpoSettings`] says.
///
/// # Errors
/// As [`crate::sft`].
pub fn dpo(
    decoder: &Decoder,
    lora: &mut Lora,
    pairs: &[Pair],
    (settings, own): (&SftSettings, &DpoSettings),
    files: Option<RunFiles<'_>>,
    events: &mut dyn FnMut(DpoEvent<'_>) -> ControlFlow<()>,
) -> Result<DpoSummary, TrainError> {
    settings.validate()?;
    own.validate()?;
    if pairs.is_empty() {
        return Err(TrainError::NoExamples);
    }
    let start = Instant::now();
    let seen_in_all = settings.examples_seen(pairs.len());
    let total_steps = seen_in_all.div_ceil(settings.batch_size);
    let print = fingerprint(
        pairs,
        settings,
        own,
        lora,
        files.map_or("", |f| f.base_sha256),
    );
    let mut run = Run::open(lora, &print, files)?;
    let starting = match own.reference {
        Reference::Base => None,
        Reference::Start => Some(&*lora),
    };
    let mut order = Order::new(pairs.len(), settings.seed);
    let needed: Vec<usize> = (0..seen_in_all.min(pairs.len()))
        .map(|at| order.at(at))
        .collect();
    let cache = files.map(|f| f.directory.join(REFERENCE_NAME));
    let known = reference_scores(
        decoder,
        starting,
        pairs,
        &needed,
        settings.micro_batch_tokens,
        cache.as_deref().map(|path| (path, print.as_str())),
        events,
    )?;
    let history: Vec<DpoRecord> = run.logged();
    let earlier = history
        .last()
        .map_or((0.0, 0), |last| (last.seconds, last.rows));
    let (mut seconds, mut rows) = earlier;
    let mut summary = DpoSummary {
        steps: run.state.step,
        pairs: 0,
        tokens: 0,
        supervised_tokens: 0,
        wall_seconds: 0.0,
        tokens_per_second: 0.0,
        history,
    };
    let mut order = Order::new(pairs.len(), settings.seed);
    for step in 0..total_steps {
        let first = step * settings.batch_size;
        let last = (first + settings.batch_size).min(seen_in_all);
        let picked: Vec<usize> = (first..last).map(|position| order.at(position)).collect();
        summary.pairs += picked.len();
        summary.tokens += picked.iter().map(|i| pairs[*i].tokens()).sum::<usize>();
        summary.supervised_tokens += picked
            .iter()
            .map(|i| pairs[*i].chosen.supervised_len() + pairs[*i].rejected.supervised_len())
            .sum::<usize>();
        if step < run.state.step {
            continue;
        }
        let began = Instant::now();
        let rate = own.learning_rate
            * settings
                .schedule
                .factor(step, total_steps, settings.warmup_ratio);
        let batch: Vec<(&Pair, u64, Scores)> = picked
            .iter()
            .map(|i| (&pairs[*i], *i as u64, known[*i].unwrap_or(UNKNOWN)))
            .collect();
        let outcome = optimise(&mut run, decoder, &batch, settings, own, rate)?;
        seconds += began.elapsed().as_secs_f64();
        rows += outcome.rows;
        summary.steps = step + 1;
        let n = picked.len() as f64;
        let mean = |of: &dyn Fn(&Preference) -> f64| outcome.pairs.iter().map(of).sum::<f64>() / n;
        let record = DpoRecord {
            step: step + 1,
            total_steps,
            pairs: summary.pairs,
            loss: mean(&|p| p.loss),
            reward_chosen: mean(&|p| p.reward_chosen),
            reward_rejected: mean(&|p| p.reward_rejected),
            reward_margin: mean(&|p| p.reward_chosen - p.reward_rejected),
            reward_accuracy: mean(&|p| f64::from(p.reward_chosen > p.reward_rejected)),
            learning_rate: rate,
            gradient_norm: outcome.gradient_norm,
            tokens: summary.tokens,
            rows,
            seconds,
            tokens_per_second: summary.tokens as f64 / seconds.max(1e-9),
        };
        run.log(&record)?;
        summary.history.push(record);
        let flow = events(DpoEvent::Step(&record));
        run.end_step(settings.checkpoint_every, total_steps, flow)?;
    }
    lora.clone_from(&run.state.lora);
    summary.wall_seconds = earlier.0 + start.elapsed().as_secs_f64();
    summary.tokens_per_second = summary.tokens as f64 / seconds.max(1e-9);
    Ok(summary)
}

/// Every pair that is trained on has its scores; this one would show as a loss that is no number.
const UNKNOWN: Scores = Scores {
    chosen: f64::NAN,
    rejected: f64::NAN,
};

impl Pair {
    fn tokens(&self) -> usize {
        self.chosen.tokens.len() + self.rejected.tokens.len()
    }
}

/// One forward pass over some pairs.
pub(crate) struct Pass {
    pub(crate) batch: Batch,
    pub(crate) targets: Vec<Target>,
    /// For each pair its place in the batch of pairs and the targets of its two answers.
    pub(crate) answers: Vec<(usize, Range<usize>, Range<usize>)>,
}

impl Pass {
    /// Sums a loss per target into scores per pair.
    pub(crate) fn scores(&self, losses: &[f32]) -> impl Iterator<Item = (usize, Scores)> {
        let total = |range: &Range<usize>| -> f64 {
            -losses[range.clone()]
                .iter()
                .map(|l| f64::from(*l))
                .sum::<f64>()
        };
        self.answers
            .iter()
            .map(|(index, chosen, rejected)| {
                let scores = Scores {
                    chosen: total(chosen),
                    rejected: total(rejected),
                };
                (*index, scores)
            })
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Returns the tokens whose rows are computed: the last one predicts nothing.
fn inputs(example: &Encoded) -> &[u32] {
    &example.tokens[..example.tokens.len() - 1]
}

/// Returns how many leading tokens the two conversations of a pair share; each keeps a row of its
/// own.
fn shared_in(pair: &Pair) -> usize {
    let views = [inputs(&pair.chosen), inputs(&pair.rejected)];
    shared_prefix(&views, &[usize::MAX; 2])
}

/// Cuts pairs into passes of at most `budget` rows, or one pair where it alone exceeds it.
pub(crate) fn passes(pairs: &[(&Pair, u64)], budget: usize) -> Vec<Pass> {
    let own = |pair: &Pair| {
        let shared = shared_in(pair);
        inputs(&pair.chosen).len() + inputs(&pair.rejected).len() - shared
    };
    let mut all = Vec::new();
    let mut first = 0;
    while first < pairs.len() {
        let mut rows = own(pairs[first].0);
        let mut last = first + 1;
        while last < pairs.len() && rows + own(pairs[last].0) <= budget {
            rows += own(pairs[last].0);
            last += 1;
        }
        all.push(lay_out(&pairs[first..last], first));
        first = last;
    }
    all
}

/// Lays out pairs: what all share, then for each pair the rest of its prompt and two answers.
fn lay_out(pairs: &[(&Pair, u64)], first: usize) -> Pass {
    let prompts: Vec<&[u32]> = pairs
        .iter()
        .map(|(pair, _)| &inputs(&pair.chosen)[..shared_in(pair)])
        .collect();
    let common = shared_prefix(&prompts, &vec![usize::MAX; prompts.len()]);
    let mut batch = Batch::default();
    let mut targets = Vec::new();
    let mut answers = Vec::with_capacity(pairs.len());
    if common > 0 {
        batch.push(&prompts[0][..common], 0, Vec::new(), 0);
    }
    let beginning = 0..common;
    for (index, ((pair, key), prompt)) in pairs.iter().zip(&prompts).enumerate() {
        let mut context = Vec::with_capacity(2);
        if common > 0 {
            context.push(beginning.clone());
        }
        let middle = batch.len();
        if prompt.len() > common {
            batch.push(&prompt[common..], common, context.clone(), *key);
            context.push(middle..batch.len());
        }
        let mut answer = |example: &Encoded, key: u64| {
            let start = batch.len();
            batch.push(
                &inputs(example)[prompt.len()..],
                prompt.len(),
                context.clone(),
                key,
            );
            let from = targets.len();
            for position in (1..example.tokens.len()).filter(|i| example.supervised[*i]) {
                let predicting = position - 1;
                let row = if predicting < common {
                    predicting
                } else if predicting < prompt.len() {
                    middle + predicting - common
                } else {
                    start + predicting - prompt.len()
                };
                targets.push(Target {
                    row,
                    token: example.tokens[position],
                    weight: 1.0,
                });
            }
            from..targets.len()
        };
        let chosen = answer(&pair.chosen, *key);
        let rejected = answer(&pair.rejected, !*key);
        answers.push((first + index, chosen, rejected));
    }
    Pass {
        batch,
        targets,
        answers,
    }
}

struct Outcome {
    pairs: Vec<Preference>,
    gradient_norm: f64,
    rows: usize,
}

fn optimise(
    run: &mut Run,
    decoder: &Decoder,
    batch: &[(&Pair, u64, Scores)],
    settings: &SftSettings,
    own: &DpoSettings,
    rate: f64,
) -> Result<Outcome, TrainError> {
    let ids = || {
        let ids: Vec<&str> = batch.iter().map(|(pair, ..)| pair.id.as_str()).collect();
        ids.join(", ")
    };
    run.clear_gradients();
    let keyed: Vec<(&Pair, u64)> = batch.iter().map(|(pair, key, _)| (*pair, *key)).collect();
    let mut found = Vec::with_capacity(batch.len());
    let mut rows = 0;
    for pass in passes(&keyed, settings.micro_batch_tokens) {
        let mut weigh = |losses: &[f32]| {
            let mut factors = vec![0.0; losses.len()];
            for ((index, scores), (_, chosen, rejected)) in pass.scores(losses).zip(&pass.answers) {
                let pair = preference(own, scores, batch[index].2);
                // log p is minus the cross-entropy, so signs change.
                let factor = (pair.slope / batch.len() as f64) as f32;
                factors[chosen.clone()].fill(-factor);
                factors[rejected.clone()].fill(factor);
                found.push(pair);
            }
            factors
        };
        let (adapted, gradients) = run.adapted(settings.seed);
        decoder.loss_and_gradients_by(
            adapted,
            &pass.batch,
            &pass.targets,
            &mut weigh,
            gradients,
        )?;
        rows += pass.batch.len();
    }
    let loss = found.iter().map(|pair| pair.loss).sum::<f64>();
    let gradient_norm = run.update(loss, settings, rate, &ids)?;
    Ok(Outcome {
        pairs: found,
        gradient_norm,
        rows,
    })
}

fn fingerprint(
    pairs: &[Pair],
    settings: &SftSettings,
    own: &DpoSettings,
    lora: &Lora,
    base_sha256: &str,
) -> String {
    let mut print = Fingerprint::new(base_sha256, &format!("{settings:?}{own:?}"));
    print.adapter(lora);
    for pair in pairs {
        print.example(&pair.chosen);
        print.example(&pair.rejected);
    }
    print.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(tokens: &[u32], prompt: usize) -> Encoded {
        Encoded {
            id: "x".into(),
            tokens: tokens.to_vec(),
            supervised: (0..tokens.len()).map(|i| i >= prompt).collect(),
            prompt_len: prompt,
        }
    }

    fn pair(chosen: &[u32], rejected: &[u32], prompt: usize) -> Pair {
        Pair {
            id: "x".into(),
            chosen: encoded(chosen, prompt),
            rejected: encoded(rejected, prompt),
        }
    }

    #[test]
    fn the_slope_is_the_derivative() {
        let reference = Scores {
            chosen: -3.0,
            rejected: -2.5,
        };
        for smoothing in [0.0, 0.2] {
            let settings = DpoSettings {
                beta: 0.7,
                label_smoothing: smoothing,
                ..DpoSettings::default()
            };
            for chosen in [-9.0, -3.1, 4.0] {
                let at = |chosen: f64| {
                    let trained = Scores {
                        chosen,
                        rejected: -2.0,
                    };
                    preference(&settings, trained, reference)
                };
                let h = 1e-5;
                let slope = (at(chosen + h).loss - at(chosen - h).loss) / (2.0 * h);
                assert!((slope - at(chosen).slope).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let zero = Scores {
            chosen: 0.0,
            rejected: 0.0,
        };
        let far = Scores {
            chosen: -1e6,
            rejected: 0.0,
        };
        let found = preference(&DpoSettings::default(), far, zero);
        assert!((found.loss - 1e5).abs() < 1e-6 && (found.slope + 0.1).abs() < 1e-9);
    }

    #[test]
    fn lays_out_prompt_and_answers_once() {
        let pairs = [
            pair(&[1, 2, 3, 7, 8], &[1, 2, 3, 9, 8, 8], 3),
            pair(&[1, 2, 4, 7, 8], &[1, 2, 4, 7, 5], 3),
        ];
        let keyed: Vec<(&Pair, u64)> = pairs.iter().map(|p| (p, 0)).collect();
        let all = passes(&keyed, 1000);
        assert_eq!(all.len(), 1);
        let pass = &all[0];
        // [1 2], then [3 | 7 | 9 8], then [4 7 ...]: the second pair shares its first answer token
        // but keeps one row of each answer.
        assert_eq!(pass.batch.tokens, [1, 2, 3, 7, 9, 8, 4, 7, 7]);
        assert_eq!(pass.batch.positions, [0, 1, 2, 3, 3, 4, 2, 3, 3]);
        let predicts: Vec<(usize, u32)> = pass.targets.iter().map(|t| (t.row, t.token)).collect();
        let first = [(2, 7), (3, 8), (2, 9), (4, 8), (5, 8)];
        assert_eq!(predicts[..5], first);
        assert_eq!(predicts[5..], [(6, 7), (7, 8), (6, 7), (8, 5)]);
        assert_eq!(passes(&keyed, 6).len(), 2);
    }
}
