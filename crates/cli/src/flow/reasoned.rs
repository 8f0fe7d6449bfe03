//! Answers that come to their decision after reasons: what the model writes, and where it decides.

use model::score::DecisionTokens;
use model::{ChatMessage, Lora, ModelError, TextError, generate, score};

use super::base::Base;
use super::question::{Question, Task};
use super::text::Text;
use crate::interrupt;
use crate::progress::Progress;

/// What stands before a verdict.
const LEAD: &str = "DECISION:";

/// What a model answers.
#[derive(Clone, Debug)]
pub(crate) struct Reasoned {
    /// The answer.
    pub(crate) text: String,
    /// The class it states, if it has the form.
    pub(crate) decided: Option<usize>,
    /// Tokens of the prompt and of the answer up to where the decision is stated. Where the answer
    /// states none, all of it, with a line that begins to.
    pub(crate) point: Vec<u32>,
}

/// Returns the tokens of APPROVE and VETO where an answer states one of them.
///
/// # Errors
/// When the tokenizer does not tell them apart.
pub(crate) fn verdict_tokens(text: &Text) -> anyhow::Result<DecisionTokens> {
    let classes = Task::Signal.classes();
    let answers: Result<Vec<Vec<u32>>, TextError> = classes
        .iter()
        .map(|class| text.tokenizer.encode(&format!("{LEAD} {class}")))
        .collect();
    let tokens = DecisionTokens::derive(&answers?)?;
    Ok(DecisionTokens {
        lead: Vec::new(),
        labels: tokens.labels,
    })
}

/// Returns the tokens of a verdict at the very beginning of an answer.
///
/// # Errors
/// When the tokenizer does not tell them apart.
fn first_tokens(text: &Text) -> anyhow::Result<DecisionTokens> {
    // What the model writes first may be the marks of an empty reasoning block.
    let question = [ChatMessage::new("user", "?")];
    let classes = Task::Signal.classes();
    let answers: Result<Vec<Vec<u32>>, TextError> = classes
        .iter()
        .map(|class| {
            let answer = format!("{LEAD} {class} - ");
            let written = text.template.answer_text(&question, &answer)?;
            text.tokenizer.encode(written.trim_end())
        })
        .collect();
    Ok(DecisionTokens::derive(&answers?)?)
}

/// Returns the log-probabilities of the verdicts where answers begin with one.
///
/// # Errors
/// When the tokenizer does not tell the verdicts apart, or on Ctrl-C.
pub(crate) fn at_once(
    base: &Base,
    adapter: Option<&Lora>,
    questions: &[&Question],
) -> anyhow::Result<Vec<Vec<f64>>> {
    let prompts: anyhow::Result<Vec<Vec<u32>>> = questions
        .iter()
        .map(|question| base.text.prompt(&question.prompt))
        .collect();
    scores(base, adapter, &prompts?, &first_tokens(&base.text)?)
}

/// Returns how many tokens an answer may take: a quarter more than the longest one written for
/// these questions, and at least `least`.
///
/// # Errors
/// When an answer cannot be told in tokens.
pub(crate) fn room(text: &Text, questions: &[&Question], least: usize) -> anyhow::Result<usize> {
    let mut longest = 0;
    for question in questions {
        longest = longest.max(text.tokenizer.encode(&question.answer)?.len());
    }
    Ok(least.max(longest + longest / 4))
}

/// Lets a model answer questions, the most probable token at a time.
///
/// # Errors
/// When a prompt does not fit, or on Ctrl-C.
pub(crate) fn answers(
    base: &Base,
    adapter: Option<&Lora>,
    questions: &[&Question],
    room: usize,
) -> anyhow::Result<Vec<Reasoned>> {
    let prompts: anyhow::Result<Vec<Vec<u32>>> = questions
        .iter()
        .map(|question| base.text.prompt(&question.prompt))
        .collect();
    let prompts = prompts?;
    let mut bar = Progress::start("reason", "prompts", Some(prompts.len() as u64));
    let generated = generate::greedy(
        &base.decoder,
        adapter,
        &prompts,
        room,
        &base.text.stop,
        1,
        &mut |done, _| {
            bar.set(done as u64);
            interrupt::flow()
        },
    );
    bar.finish();
    let mut answers = Vec::with_capacity(prompts.len());
    for (prompt, generated) in prompts.into_iter().zip(&generated?) {
        let tokens = generated.tokens();
        let text = base.text.tokenizer.decode_plain(&tokens)?;
        let written = match stated_at(&base.text, &text, &tokens)? {
            Some(end) => tokens[..end].to_vec(),
            None => [
                &tokens[..],
                &base.text.tokenizer.encode(&format!("\n{LEAD}"))?,
            ]
            .concat(),
        };
        answers.push(Reasoned {
            decided: Task::Signal.decided(&text),
            text,
            point: [&prompt[..], &written].concat(),
        });
    }
    Ok(answers)
}

/// Returns how many tokens there are up to the first decision; none if there is none, or if a
/// token holds its beginning and more.
fn stated_at(text: &Text, answer: &str, tokens: &[u32]) -> Result<Option<usize>, TextError> {
    let Some(at) = answer.find(LEAD) else {
        return Ok(None);
    };
    let wanted = &answer[..at + LEAD.len()];
    for end in 1..=tokens.len() {
        let begun = text.tokenizer.decode_plain(&tokens[..end])?;
        if begun.len() >= wanted.len() {
            return Ok((begun == wanted).then_some(end));
        }
    }
    Ok(None)
}

/// Returns for each answer the log-probabilities of the verdicts where it decides.
///
/// # Errors
/// When the tokenizer does not tell the verdicts apart, or on Ctrl-C.
pub(crate) fn log_probabilities(
    base: &Base,
    adapter: Option<&Lora>,
    answers: &[Reasoned],
) -> anyhow::Result<Vec<Vec<f64>>> {
    let points: Vec<Vec<u32>> = answers.iter().map(|answer| answer.point.clone()).collect();
    scores(base, adapter, &points, &verdict_tokens(&base.text)?)
}

/// Scores decisions after prompts.
///
/// # Errors
/// When a prompt does not fit, or on Ctrl-C.
pub(crate) fn scores(
    base: &Base,
    adapter: Option<&Lora>,
    points: &[Vec<u32>],
    tokens: &DecisionTokens,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut bar = Progress::start("decide", "prompts", Some(points.len() as u64));
    let scores: Result<_, ModelError> =
        score::decisions(&base.decoder, adapter, points, tokens, &mut |done, _| {
            bar.set(done as u64);
            interrupt::flow()
        });
    bar.finish();
    Ok(scores?)
}
