//! Out of memory foreseen: a training that would not fit is refused before its weights are read.

use clap::Args;
use dataset::PreferencePair;
use model::ModelConfig;
use weights::BaseModel;

use super::corpus::Corpus;
use super::estimate::{self, Choices, Lengths, amount};
use super::text::Text;
use crate::exit::{Exit, Stop};
use crate::settings::Settings;
use crate::{memory, output};

/// The longest texts that are turned into tokens to learn the longest example.
const MEASURED: usize = 16;
/// Tokens that a chat template puts around a conversation, generously.
const AROUND: usize = 64;
/// Memory of an encoded example for each of its tokens: id, mask, and the text it came from.
const BYTES_PER_TOKEN: u64 = 16;

/// Flags about memory, shared by the trainings.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Guard {
    /// Start although the estimate says that memory will not do
    #[arg(long)]
    force: bool,
    /// Memory the training may take, such as 8.5GB [default: what the system has available]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

impl Guard {
    /// Refuses a supervised training that would not fit.
    ///
    /// # Errors
    /// With exit code 5 when the estimate exceeds what there is.
    pub(crate) fn sft(
        self,
        settings: &Settings,
        corpus: &Corpus,
        files: &BaseModel,
        text: &Text,
    ) -> anyhow::Result<()> {
        let texts = corpus.texts(settings.train.max_examples);
        self.check(settings, files.config(), texts, 1, files, text)
    }

    /// Refuses a training by preference that would not fit.
    ///
    /// # Errors
    /// As [`Self::sft`].
    pub(crate) fn dpo(
        self,
        settings: &Settings,
        pairs: &[PreferencePair],
        files: &BaseModel,
        text: &Text,
    ) -> anyhow::Result<()> {
        // Both answers stand in one pass, with one copy of the prompt.
        let texts = pairs.iter().map(|pair| {
            let prompt = pair.prompt.iter().map(|m| m.content.as_str());
            let answers = [pair.chosen.as_str(), pair.rejected.as_str()];
            (prompt.chain(answers).collect(), answers[0])
        });
        let mut settings = settings.clone();
        // A training by preference does not validate on the way.
        settings.train.validate_every = 0;
        self.check(&settings, files.config(), texts.collect(), 2, files, text)
    }

    fn check(
        self,
        settings: &Settings,
        config: &ModelConfig,
        mut texts: Vec<(Vec<&str>, &str)>,
        most_of_an_example: usize,
        files: &BaseModel,
        text: &Text,
    ) -> anyhow::Result<()> {
        let Some(available) = self.memory.or_else(memory::available_bytes) else {
            output::warn(
                "this system does not tell how much memory it has available: whether the training fits is not checked",
            );
            return Ok(());
        };
        let bytes = |parts: &[&str]| parts.iter().map(|part| part.len()).sum::<usize>();
        let all: usize = texts.iter().map(|(parts, _)| bytes(parts)).sum();
        texts.sort_by_key(|(parts, _)| std::cmp::Reverse(bytes(parts)));
        let (mut longest, mut supervised) = (1, 1);
        for (parts, answer) in texts.iter().take(MEASURED) {
            let mut tokens = AROUND;
            for part in parts {
                tokens += text.tokenizer.encode(part)?.len();
            }
            longest = longest.max(tokens);
            supervised = supervised.max(text.tokenizer.encode(answer)?.len());
        }
        let limit = settings.train.max_tokens * most_of_an_example;
        let longest = longest.min(limit);
        let budget = settings.train.micro_batch_tokens;
        let batch = settings.train.batch_size.min(texts.len());
        let lengths = Lengths {
            longest,
            // Shared prompts let a pass reach its budget exactly.
            rows: longest.max(budget.min(batch.saturating_mul(longest))),
            supervised: supervised * most_of_an_example,
            beside: all as u64 / 4 * BYTES_PER_TOKEN,
        };
        let choices = Choices::of(settings);
        let plan = estimate::plan(settings, config, choices, lengths, Some(files))?;
        let found = estimate::memory_of(config, choices.precision, &plan, Some(files));
        let Some(found) = found.filter(|found| found.needed > available) else {
            return Ok(());
        };
        let message = format!(
            "the training would take about {}, {} are available",
            amount(found.needed),
            amount(available)
        );
        if self.force {
            output::warn(&format!("{message}; starting all the same (--force)"));
            return Ok(());
        }
        let knobs = estimate::knobs(choices, &found, &plan);
        Err(Stop::new(Exit::Refused, message)
            .hint(format!(
                "what takes less: {knobs}; `foretune estimate` shows what takes how much, --force starts all the same"
            ))
            .into())
    }
}

/// Reads a size such as `8.5GB`, `512MiB` or a number of bytes.
///
/// # Errors
/// When it is none.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as 8.5GB, 512MiB or 1000000".to_owned();
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" | "g" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(expected()),
    };
    let bytes = number * factor;
    (1.0..1e18)
        .contains(&bytes)
        .then_some(bytes as u64)
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_units_people_write() {
        let cases = [
            ("8.5GB", 8_500_000_000),
            ("512MiB", 512 << 20),
            ("1 kB", 1000),
            ("4096", 4096),
            ("2g", 2_000_000_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1GB", "1.2.3", "5 parsecs", "0", "1e30"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
