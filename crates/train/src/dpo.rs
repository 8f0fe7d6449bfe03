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

mod layout;
mod loss;
mod record;

pub use layout::Pair;
pub(crate) use layout::passes;
pub use loss::{DpoSettings, Preference, Reference, Scores, preference};
pub use record::{DpoEvent, DpoRecord, DpoSummary};

use crate::fingerprint::Fingerprint;
use crate::order::Order;
use crate::reference::{REFERENCE_NAME, reference_scores};
use crate::run::{Run, RunFiles};
use crate::{SftSettings, TrainError};
use model::{Decoder, Lora};
use std::ops::ControlFlow;
use std::time::Instant;

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
    let mut run = Run::open(lora, settings, &print, files)?;
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
        let is_due = settings.checkpoint_due(step + 1);
        run.end_step(is_due, step + 1 == total_steps, flow)?;
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

struct Outcome {
    pairs: Vec<Preference>,
    gradient_norm: f64,
    rows: usize,
}

/// Takes one optimiser step on a batch.
fn optimise(
    run: &mut Run,
    decoder: &Decoder,
    batch: &[(&Pair, u64, Scores)],
    settings: &SftSettings,
    own: &DpoSettings,
    rate: f64,
) -> Result<Outcome, TrainError> {
    run.clear_gradients();
    let (found, rows) = differentiate(run, decoder, batch, settings, own)?;
    let loss = found.iter().map(|pair| pair.loss).sum::<f64>();
    let gradient_norm = run.update(loss, settings, rate).map_err(|what| {
        let ids: Vec<&str> = batch.iter().map(|(pair, ..)| pair.id.as_str()).collect();
        run.not_finite(what, &ids, &mut |run, index| {
            let one = &batch[index..=index];
            let (found, _) = differentiate(run, decoder, one, settings, own)?;
            Ok(found[0].loss)
        })
    })?;
    Ok(Outcome {
        pairs: found,
        gradient_norm,
        rows,
    })
}

/// Adds the gradients of a batch's mean loss; returns each pair's loss and rewards, and the rows
/// computed.
fn differentiate(
    run: &mut Run,
    decoder: &Decoder,
    batch: &[(&Pair, u64, Scores)],
    settings: &SftSettings,
    own: &DpoSettings,
) -> Result<(Vec<Preference>, usize), TrainError> {
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
    Ok((found, rows))
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
