//! Errors of the decoder.

use weights::WeightsError;

/// What can go wrong between a base model's files and its answers.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Reading the base model's files failed.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The base model needs something this decoder does not have.
    #[error("the base model uses {feature}, which is not supported")]
    Unsupported {
        /// What it uses.
        feature: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor `{name}` holds a value that is not finite at index {index}")]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// Index of the value, row-major.
        index: usize,
    },
    /// An adapter does not fit or is malformed.
    #[error("adapter: {0}")]
    Adapter(String),
    /// An adapter's rank is larger than a matrix it adapts.
    #[error(
        "setting `train.rank` is {rank}, expected at most {limit}, the smaller dimension of `{projection}` in this model"
    )]
    Rank {
        /// The rank.
        rank: usize,
        /// The largest that makes sense.
        limit: usize,
        /// The smallest projection among those adapted.
        projection: &'static str,
    },
    /// A token id lies outside the vocabulary.
    #[error("token id {token} lies outside the vocabulary of {vocabulary}")]
    Token {
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A sequence is longer than the model's positions.
    #[error("a sequence needs {needed} positions, the model has {limit}")]
    TooLong {
        /// Positions needed.
        needed: usize,
        /// Positions available.
        limit: usize,
    },
    /// A sampling setting is out of range.
    #[error("the sampling setting `{setting}` is {found}, expected {expected}")]
    Sampling {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// Answers cannot be held to the form.
    #[error("answers cannot be held to the form: {message}")]
    Form {
        /// Why.
        message: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl ModelError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(error) => error.hint(),
            Self::Rank { .. } => {
                Some("lower it: 4 to 64 is usual, and a larger one only costs memory".into())
            }
            Self::NotFinite { .. } => Some(
                "the weights are damaged, or training went wrong before they were saved: use \
                 another copy of the model"
                    .into(),
            ),
            Self::Shape { .. } => {
                Some("the weights and their configuration do not belong together".into())
            }
            Self::Token { .. } => {
                Some("the tokenizer and the weights do not belong together".into())
            }
            Self::Form { .. } => {
                Some("use shorter texts in plain letters, or allow more new tokens".into())
            }
            Self::TooLong { .. } => Some("shorten the prompt template".into()),
            Self::Adapter(_) => Some("use the base model the adapter was trained on".into()),
            _ => None,
        }
    }
}
