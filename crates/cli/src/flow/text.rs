//! Examples as tokens, by the base model's own tokenizer and chat template.

use std::path::{Path, PathBuf};

use dataset::bridge::Conversation;
use dataset::{Decision, Example, PreferencePair};
use model::score::DecisionTokens;
use model::{
    ChatMessage, ChatTemplate, Encoded, Form, ModelError, TextError, Tokenizer,
    encode_conversation, encode_prompt,
};
use train::Pair;

use super::shorten::{self, Limit};
use crate::exit::{Exit, Stop};

/// A base model's way with text.
pub(crate) struct Text {
    /// The model's file or directory.
    path: PathBuf,
    /// Text to tokens and back.
    pub(crate) tokenizer: Tokenizer,
    /// Conversations to text.
    pub(crate) template: ChatTemplate,
    /// The tokens by which an answer states its decision, in the order of
    /// [`Decision::ALL`].
    pub(crate) decisions: DecisionTokens,
    /// The texts by which an answer states its decision, in the same order.
    decision_texts: Vec<String>,
    /// Tokens that end an answer.
    pub(crate) stop: Vec<u32>,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Text")
            .field("decisions", &self.decisions)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

impl Text {
    /// Derives the decision and stop tokens.
    ///
    /// # Errors
    /// When the tokenizer does not tell the decisions apart.
    pub(crate) fn new(
        path: &Path,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        eos: &[u32],
    ) -> anyhow::Result<Self> {
        // What the model writes first may be the marks of an empty reasoning block.
        let question = [ChatMessage::new("user", "?")];
        let texts: Result<Vec<String>, TextError> = Decision::ALL
            .iter()
            .map(|decision| {
                let answer = answer_start(*decision);
                let written = template.answer_text(&question, &answer)?;
                Ok(written.trim_end().to_owned())
            })
            .collect();
        let decision_texts = texts.map_err(|error| named(path, error))?;
        let answers: Result<Vec<Vec<u32>>, TextError> = decision_texts
            .iter()
            .map(|text| tokenizer.encode(text))
            .collect();
        let answers = answers.map_err(|error| named(path, error))?;
        let decisions = DecisionTokens::derive(&answers)?;
        let mut stop = eos.to_vec();
        stop.extend(tokenizer.token_id(template.eos_token()));
        stop.sort_unstable();
        stop.dedup();
        Ok(Self {
            path: path.to_owned(),
            tokenizer,
            template,
            decisions,
            decision_texts,
            stop,
        })
    }

    /// Returns the texts that [`Text::decisions`] was derived from.
    pub(crate) fn decision_texts(&self) -> &[String] {
        &self.decision_texts
    }

    /// Prepares the form `DECISION: BUY|SELL|HOLD -` for generation.
    ///
    /// # Errors
    /// When the tokenizer cannot write it.
    pub(crate) fn decision_form(&self) -> Result<Form, ModelError> {
        let texts: Vec<&str> = self.decision_texts.iter().map(String::as_str).collect();
        Form::new(&self.tokenizer, &texts)
    }

    /// Encodes examples with their answers, for training; also returns how many
    /// of them lost a part of their prompt to fit the limit.
    ///
    /// # Errors
    /// With the id of the first example that does not fit `limit` or whose
    /// answer the template or the tokenizer changes.
    pub(crate) fn conversations(
        &self,
        examples: &[&Example],
        limit: Limit,
    ) -> anyhow::Result<(Vec<Encoded>, usize)> {
        let mut shortened = 0;
        let encoded: anyhow::Result<Vec<Encoded>> = examples
            .iter()
            .map(|example| {
                let messages: Vec<ChatMessage> = example
                    .messages
                    .iter()
                    .map(|message| ChatMessage::new(&message.role, &message.content))
                    .collect();
                let encode =
                    |messages: &[ChatMessage]| self.encode(messages, &example.id, limit.max_tokens);
                let (encoded, cut) = limit
                    .fit(&messages, &encode)
                    .map_err(|error| named(&self.path, error))?;
                shortened += usize::from(cut);
                self.check_decision(example, &encoded)?;
                Ok(encoded)
            })
            .collect();
        Ok((encoded?, shortened))
    }

    /// Encodes conversations whose answers need not begin with a decision; also returns how many
    /// of them lost a part of their prompt to fit the limit.
    ///
    /// # Errors
    /// As [`Self::conversations`].
    pub(crate) fn plain(
        &self,
        conversations: &[&Conversation],
        limit: Limit,
    ) -> anyhow::Result<(Vec<Encoded>, usize)> {
        let mut shortened = 0;
        let encoded: anyhow::Result<Vec<Encoded>> = conversations
            .iter()
            .map(|conversation| {
                let messages: Vec<ChatMessage> = conversation
                    .messages
                    .iter()
                    .map(|message| ChatMessage::new(&message.role, &message.content))
                    .collect();
                let encode = |messages: &[ChatMessage]| {
                    self.encode(messages, &conversation.id, limit.max_tokens)
                };
                let (encoded, cut) = limit
                    .fit(&messages, &encode)
                    .map_err(|error| named(&self.path, error))?;
                shortened += usize::from(cut);
                Ok(encoded)
            })
            .collect();
        Ok((encoded?, shortened))
    }

    fn encode(
        &self,
        messages: &[ChatMessage],
        id: &str,
        max_tokens: usize,
    ) -> Result<Encoded, TextError> {
        encode_conversation(&self.tokenizer, &self.template, messages, id, max_tokens)
    }

    /// Returns the tokens of a conversation, the chat template around it; of one that the template
    /// or the tokenizer would change, which cannot be trained on, those of its texts.
    ///
    /// # Errors
    /// When the tokenizer cannot write it.
    pub(crate) fn length(&self, turns: &[dataset::Message]) -> Result<usize, TextError> {
        let messages: Vec<ChatMessage> = turns
            .iter()
            .map(|turn| ChatMessage::new(&turn.role, &turn.content))
            .collect();
        if let Ok(encoded) = self.encode(&messages, "", usize::MAX) {
            return Ok(encoded.tokens.len());
        }
        let texts = turns
            .iter()
            .map(|turn| self.tokenizer.encode_plain(&turn.content));
        texts.map(|tokens| tokens.map(|tokens| tokens.len())).sum()
    }

    /// Encodes the prompts of examples, ready for an answer.
    ///
    /// # Errors
    /// When the template cannot be rendered.
    pub(crate) fn prompts(&self, examples: &[&Example]) -> anyhow::Result<Vec<Vec<u32>>> {
        examples
            .iter()
            .map(|example| self.prompt(example.prompt()))
            .collect()
    }

    /// Encodes a prompt, ready for an answer.
    ///
    /// # Errors
    /// When the template cannot be rendered.
    pub(crate) fn prompt(&self, prompt: &str) -> anyhow::Result<Vec<u32>> {
        let message = ChatMessage::new("user", prompt);
        encode_prompt(&self.tokenizer, &self.template, &[message])
            .map_err(|error| named(&self.path, error))
    }

    /// Encodes preference pairs, each answer with the prompt before it; also
    /// returns how many of them lost a part of their prompt to fit the limit.
    ///
    /// # Errors
    /// With the id of the first pair that does not fit `limit` or whose text
    /// the template or the tokenizer changes.
    pub(crate) fn pairs(
        &self,
        pairs: &[PreferencePair],
        limit: Limit,
    ) -> anyhow::Result<(Vec<Pair>, usize)> {
        let mut shortened = 0;
        let encode = |pair: &PreferencePair, prompt: &[ChatMessage]| {
            let answered = |answer: &str| {
                let answer = ChatMessage::new("assistant", answer);
                self.encode(&[prompt, &[answer]].concat(), &pair.id, limit.max_tokens)
            };
            Ok(Pair {
                id: pair.id.clone(),
                chosen: answered(&pair.chosen)?,
                rejected: answered(&pair.rejected)?,
            })
        };
        let encoded: anyhow::Result<Vec<Pair>> = pairs
            .iter()
            .map(|pair| {
                let turns = pair.prompt.iter();
                let prompt: Vec<ChatMessage> = turns
                    .map(|message| ChatMessage::new(&message.role, &message.content))
                    .collect();
                // Both answers have the same prompt, so it is cut for the longer of them.
                let (pair, cut) = limit
                    .fit(&prompt, &|prompt| encode(pair, prompt))
                    .map_err(|error| named(&self.path, error))?;
                shortened += usize::from(cut);
                Ok(pair)
            })
            .collect();
        Ok((encoded?, shortened))
    }

    /// Asserts that scoring reads the tokens that training wrote.
    fn check_decision(&self, example: &Example, encoded: &Encoded) -> Result<(), Stop> {
        let label = &self.decisions.labels[example.label.index()];
        let expected = [&self.decisions.lead[..], label].concat();
        if encoded.tokens[encoded.prompt_len..].starts_with(&expected) {
            return Ok(());
        }
        let message = format!(
            "example `{}`: its answer does not start with the tokens of `{}` after this prompt",
            example.id,
            answer_start(example.label)
        );
        Err(Stop::new(Exit::Model, message)
            .hint("the tokenizer merges the answer's start with the prompt's end"))
    }
}

fn answer_start(decision: Decision) -> String {
    format!("DECISION: {decision} - ")
}

/// Adds the model's file to what its chat template cannot do.
fn named(path: &Path, error: TextError) -> anyhow::Error {
    if let TextError::TooLong { .. } = error {
        let stop = Stop::new(Exit::Model, error.to_string());
        return stop.hint(shorten::HINT).into();
    }
    let template = matches!(
        error,
        TextError::TemplateRender { .. }
            | TextError::NotAPrefix { .. }
            | TextError::AnswerRewritten { .. }
            | TextError::BeforeAnswer { .. }
            | TextError::Reasoning { .. }
    );
    let error = anyhow::Error::new(error);
    if template {
        let path = path.display();
        error.context(format!("cannot use the chat template of `{path}`"))
    } else {
        error
    }
}
