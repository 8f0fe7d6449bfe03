//! Conversations to token ids with a supervision mask.
//!
//! The mask is derived, never configured: the template renders the prompt before each answer, and
//! what follows it in the training text is the answer. The prompt's tokens must be an exact prefix
//! of the conversation's tokens, so that training sees what generation will see. Nothing is cut:
//! an example that does not fit is an error.

use crate::chat::{ChatMessage, ChatTemplate};
use crate::guard::Guard;
use crate::text_error::TextError;
use crate::tokenizer::Tokenizer;

/// One training example as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The example's id.
    pub id: String,
    /// Token ids, ending with the last answer's end-of-turn token.
    pub tokens: Vec<u32>,
    /// Whether the token at this position is to be predicted with loss; as long as `tokens`.
    pub supervised: Vec<bool>,
    /// Tokens before the first supervised one.
    pub prompt_len: usize,
}

impl Encoded {
    /// Returns the number of supervised tokens.
    pub fn supervised_len(&self) -> usize {
        self.supervised.iter().filter(|&&on| on).count()
    }

    /// Returns the token that closes the last answer; generation must stop at it.
    pub fn end_of_turn(&self) -> Option<u32> {
        self.tokens.last().copied()
    }
}

/// Returns the tokens of a conversation whose assistant turns are supervised, each with its
/// end-of-turn token. Text the template writes after the last end-of-turn token (ChatML's
/// newline) is left out; after earlier ones it stays, without loss. The text is
/// [`ChatTemplate::training_text`]'s; special tokens spelled in messages are data, not structure.
///
/// # Errors
/// Every [`TextError`] but the constructors': no or empty answer, a template that rewrites
/// the prompt or writes no end of turn, a merge across the boundary, a doubled
/// beginning-of-sequence token, or more than `max_tokens`.
pub fn encode_conversation(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[ChatMessage],
    id: &str,
    max_tokens: usize,
) -> Result<Encoded, TextError> {
    let id = id.to_owned();
    let (guard, messages) = Guard::over(tokenizer, messages)?;
    let whole = template.training_text(&messages, &id)?;
    let mut tokens = guard.encode(tokenizer, &whole.text)?;
    let mut supervised = vec![false; tokens.len()];
    let mut end = 0;
    for answer in &whole.answers {
        let prompt = guard.encode(tokenizer, &whole.text[..answer.start])?;
        let start = prefix_tokens(tokenizer, &prompt, &tokens, &id)?;
        // What ends a turn is not split, so the turn's own tokens end there too.
        let turn = guard.encode(tokenizer, &whole.text[..answer.end])?;
        let last_special = turn
            .iter()
            .zip(&tokens)
            .take_while(|(ours, all)| ours == all)
            .enumerate()
            .skip(start)
            .filter(|(_, (token, _))| tokenizer.is_special(**token))
            .last();
        let Some((closing, _)) = last_special else {
            return Err(TextError::NoEndOfTurn { id });
        };
        end = closing + 1;
        supervised[start..end].fill(true);
    }
    tokens.truncate(end);
    supervised.truncate(end);
    reject_double_bos(tokenizer, template, &tokens, &id)?;
    let on = supervised.iter().filter(|&&on| on).count();
    let prompt_len = supervised.iter().position(|&on| on).unwrap_or(end);
    if on == 0 || on == end {
        return Err(TextError::Mask {
            id,
            supervised: on,
            total: end,
        });
    }
    if end > max_tokens {
        return Err(TextError::TooLong {
            id,
            prompt: prompt_len,
            answer: end - prompt_len,
            limit: max_tokens,
        });
    }
    Ok(Encoded {
        id,
        tokens,
        supervised,
        prompt_len,
    })
}

/// Returns the tokens of a prompt that the assistant is to answer: the conversation with the
/// generation prompt, exactly what [`encode_conversation`] leaves unsupervised before the
/// answer.
///
/// # Errors
/// [`TextError::TemplateRender`], [`TextError::Codec`] or [`TextError::DoubleBos`].
pub fn encode_prompt(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[ChatMessage],
) -> Result<Vec<u32>, TextError> {
    let (guard, messages) = Guard::over(tokenizer, messages)?;
    let tokens = guard.encode(tokenizer, &template.render(&messages, true)?)?;
    reject_double_bos(tokenizer, template, &tokens, "prompt")?;
    Ok(tokens)
}

/// Returns the number of the prompt's tokens, having checked that they begin `all`.
fn prefix_tokens(
    tokenizer: &Tokenizer,
    prompt: &[u32],
    all: &[u32],
    id: &str,
) -> Result<usize, TextError> {
    let common = prompt.iter().zip(all).take_while(|(a, b)| a == b).count();
    if common == prompt.len() {
        return Ok(common);
    }
    let merged = all.get(common).map(|&token| tokenizer.decode(&[token]));
    Err(TextError::Boundary {
        id: id.to_owned(),
        token: merged.transpose()?.unwrap_or_default(),
    })
}

fn reject_double_bos(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    tokens: &[u32],
    id: &str,
) -> Result<(), TextError> {
    let bos = tokenizer.token_id(template.bos_token());
    match (bos, tokens) {
        (Some(bos), [first, second, ..]) if *first == bos && *second == bos => {
            Err(TextError::DoubleBos {
                id: id.to_owned(),
                token: template.bos_token().to_owned(),
            })
        }
        _ => Ok(()),
    }
}
