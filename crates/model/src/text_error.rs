//! Why a text could not become tokens: tokenizer, chat template or conversation.

/// An error of [`crate::tokenizer`], [`crate::chat`] or [`crate::encode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The `tokenizer.json` document is not one the tokenizer library accepts.
    #[error("the tokenizer cannot be built: {message}")]
    Tokenizer {
        /// The library's reason.
        message: String,
    },
    /// A text could not be turned into tokens, or tokens into text.
    #[error("cannot {action}: {message}")]
    Codec {
        /// `encode the text` or `decode the tokens`.
        action: &'static str,
        /// The library's reason.
        message: String,
    },
    /// The chat template is not valid Jinja, or uses something outside the supported set.
    #[error("the chat template cannot be compiled: {message}")]
    TemplateSyntax {
        /// The template engine's reason, with its line.
        message: String,
    },
    /// The chat template failed or refused the conversation.
    #[error("the chat template cannot be rendered: {message}")]
    TemplateRender {
        /// The template engine's reason, or the text the template itself raised.
        message: String,
    },
    /// A conversation to train on has no answer, or does not end with one.
    #[error("example `{id}` does not end with an assistant message")]
    NoAnswer {
        /// The example.
        id: String,
    },
    /// An assistant message holds nothing but white space.
    #[error("example `{id}` has an empty assistant message at position {position}")]
    EmptyAnswer {
        /// The example.
        id: String,
        /// Index of the message in the conversation.
        position: usize,
    },
    /// The template changes, drops or repeats an answer's text.
    #[error("example `{id}`: the chat template does not write an answer as it is, once")]
    AnswerRewritten {
        /// The example.
        id: String,
    },
    /// The template writes something between its generation prompt and an answer.
    #[error("example `{id}`: the chat template writes {text:?} between the prompt and the answer")]
    BeforeAnswer {
        /// The example.
        id: String,
        /// What it writes.
        text: String,
    },
    /// An answer has reasoning, but the prompt ends by closing an empty block of it.
    #[error(
        "example `{id}`: the answer begins with its reasoning, but the chat template's prompt \
         already closes the reasoning"
    )]
    Reasoning {
        /// The example.
        id: String,
    },
    /// Special tokens spelled in the messages cannot be told from the template's own.
    #[error(
        "the messages spell special tokens and use every private character from U+E000 to U+E0FF"
    )]
    Unmarkable,
    /// The rendered prompt is not a prefix of the rendered conversation.
    #[error(
        "example `{id}`: the chat template renders the prompt of message {position} differently \
         once the answer follows; they part after {common:?}"
    )]
    NotAPrefix {
        /// The example.
        id: String,
        /// Index of the assistant message in the conversation.
        position: usize,
        /// The last characters both texts share.
        common: String,
    },
    /// The prompt's tokens are not a prefix of the conversation's tokens.
    #[error(
        "example `{id}`: the end of the prompt and the start of the answer merge into one token, \
         {token:?}"
    )]
    Boundary {
        /// The example.
        id: String,
        /// The text of the first token that differs.
        token: String,
    },
    /// The template writes no special token after the answer.
    #[error("example `{id}`: the chat template writes no end-of-turn token after the answer")]
    NoEndOfTurn {
        /// The example.
        id: String,
    },
    /// The mask supervises nothing, or everything.
    #[error("example `{id}`: {supervised} of {total} tokens are supervised")]
    Mask {
        /// The example.
        id: String,
        /// Tokens that carry loss.
        supervised: usize,
        /// All tokens.
        total: usize,
    },
    /// The text begins with the beginning-of-sequence token twice.
    #[error("`{id}` begins with the beginning-of-sequence token `{token}` twice")]
    DoubleBos {
        /// The example, or `prompt`.
        id: String,
        /// The token's text.
        token: String,
    },
    /// The example does not fit; the answer is never cut.
    #[error(
        "example `{id}` has {prompt} prompt and {answer} answer tokens, more than the {limit} allowed"
    )]
    TooLong {
        /// The example.
        id: String,
        /// Tokens up to the first supervised one.
        prompt: usize,
        /// The remaining tokens.
        answer: usize,
        /// The limit in tokens.
        limit: usize,
    },
}

impl TextError {
    /// Returns what the user can do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoAnswer { .. } => {
                "a training example is a list of messages whose last one has the role `assistant`"
            }
            Self::EmptyAnswer { .. } => "remove the example or give it an answer",
            Self::NotAPrefix { .. } => {
                "the template drops or rewrites part of an earlier answer (such as its `<think>` \
                 block); split the conversation into examples of one answer each, or supply a \
                 template that keeps answers as they are"
            }
            Self::AnswerRewritten { .. } => {
                "supply a chat template that writes the content of assistant messages unchanged"
            }
            Self::BeforeAnswer { .. } => {
                "the template has no generation prompt (`add_generation_prompt`); supply one that \
                 ends the prompt where the answer begins"
            }
            Self::Reasoning { .. } => {
                "let the template think (Qwen3's `enable_thinking`) or remove the reasoning"
            }
            Self::Unmarkable => "remove either from the messages",
            Self::Boundary { .. } => {
                "begin the answer with a letter: white space or punctuation can merge with the \
                 end of the prompt"
            }
            Self::NoEndOfTurn { .. } | Self::Mask { .. } => {
                "use a model whose chat template closes the assistant's turn with a special \
                 token, usually an `Instruct` model"
            }
            Self::DoubleBos { .. } => {
                "remove the token from the message or from the template: one of them already \
                 writes it"
            }
            Self::TooLong { .. } => "raise the limit or shorten the prompt template",
            Self::Tokenizer { .. }
            | Self::Codec { .. }
            | Self::TemplateSyntax { .. }
            | Self::TemplateRender { .. } => return None,
        };
        Some(text.to_owned())
    }
}
