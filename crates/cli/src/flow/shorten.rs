//! Examples longer than the limit: refused, or their prompt cut to fit. The answer is never cut.

use model::{ChatMessage, TextError};
use train::{SftSettings, TooLong};

/// What can be done about an example that is too long.
pub(crate) const HINT: &str = "raise `train.max_tokens`, or have prompts cut with `train.too_long` = \"cut_start\" or \"cut_end\"";

/// How long an example may be, and what becomes of a longer one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Tokens at most.
    pub(crate) max_tokens: usize,
    /// What becomes of a longer example.
    pub(crate) too_long: TooLong,
}

impl From<&SftSettings> for Limit {
    fn from(settings: &SftSettings) -> Self {
        Self {
            max_tokens: settings.max_tokens,
            too_long: settings.too_long,
        }
    }
}

impl Limit {
    /// Returns what the user is told when `cut` of `all` prompts were cut, if any was.
    pub(crate) fn note(self, cut: usize, all: usize) -> Option<String> {
        let end = match self.too_long {
            TooLong::CutEnd => "end",
            TooLong::CutStart | TooLong::Refuse => "beginning",
        };
        (cut > 0).then(|| {
            format!(
                "{cut} of {all} examples are longer than `train.max_tokens` = {}: their prompts lost their {end}",
                self.max_tokens
            )
        })
    }

    /// Encodes messages with `encode`, which answers with [`TextError::TooLong`] what does not fit;
    /// also returns whether they were cut. Only the longest message that is no answer is cut, by as
    /// few characters as possible, so that the template around it stays whole.
    ///
    /// # Errors
    /// Those of `encode`; of an example that does not fit however much is cut, the first one.
    pub(crate) fn fit<T>(
        self,
        messages: &[ChatMessage],
        encode: &dyn Fn(&[ChatMessage]) -> Result<T, TextError>,
    ) -> Result<(T, bool), TextError> {
        let refusal = match encode(messages) {
            Err(error @ TextError::TooLong { .. }) if self.too_long != TooLong::Refuse => error,
            other => return other.map(|encoded| (encoded, false)),
        };
        let longest = messages
            .iter()
            .enumerate()
            .filter(|(_, message)| message.role != "assistant")
            .max_by_key(|(_, message)| message.content.len());
        let Some((index, message)) = longest else {
            return Err(refusal);
        };
        let text: Vec<char> = message.content.chars().collect();
        let mut messages = messages.to_vec();
        let mut found = None;
        // Bisection over the number of characters that stay: fewer than `low` fit, `high` do not.
        let (mut low, mut high) = (1, text.len());
        while low < high {
            let stay = usize::midpoint(low, high);
            let kept = match self.too_long {
                TooLong::CutEnd => &text[..stay],
                TooLong::CutStart | TooLong::Refuse => &text[text.len() - stay..],
            };
            messages[index].content = kept.iter().collect();
            match encode(&messages) {
                Ok(encoded) => {
                    found = Some(encoded);
                    low = stay + 1;
                }
                Err(TextError::TooLong { .. }) => high = stay,
                Err(error) => return Err(error),
            }
        }
        found.map(|encoded| (encoded, true)).ok_or(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter is a token here, and the limit ten.
    fn fit(too_long: TooLong, messages: &[(&str, &str)]) -> Result<(String, bool), TextError> {
        let limit = Limit {
            max_tokens: 10,
            too_long,
        };
        let messages: Vec<ChatMessage> = messages
            .iter()
            .map(|(role, content)| ChatMessage::new(*role, *content))
            .collect();
        limit.fit(&messages, &|messages| {
            let all: String = messages.iter().map(|m| m.content.as_str()).collect();
            let tokens = all.chars().count();
            if tokens <= limit.max_tokens {
                return Ok(all);
            }
            Err(TextError::TooLong {
                id: "x".to_owned(),
                prompt: tokens,
                answer: 0,
                limit: limit.max_tokens,
            })
        })
    }

    #[test]
    fn only_as_much_of_the_prompt_goes_as_must() {
        let turns = [("user", "abcdéfghij"), ("assistant", "BUY!")];
        let start = fit(TooLong::CutStart, &turns).unwrap();
        assert_eq!(start, ("éfghijBUY!".to_owned(), true));
        let end = fit(TooLong::CutEnd, &turns).unwrap();
        assert_eq!(end, ("abcdéfBUY!".to_owned(), true));
        assert!(fit(TooLong::Refuse, &turns).is_err());
    }

    #[test]
    fn what_fits_stays_and_what_cannot_fit_is_refused() {
        let short = [("user", "abc"), ("assistant", "SELL")];
        let whole = fit(TooLong::CutStart, &short).unwrap();
        assert_eq!(whole, ("abcSELL".to_owned(), false));
        let answer = [("user", "abc"), ("assistant", "a long answer")];
        for rule in [TooLong::CutStart, TooLong::CutEnd] {
            assert!(matches!(
                fit(rule, &answer),
                Err(TextError::TooLong { prompt: 16, .. })
            ));
        }
        assert!(fit(TooLong::CutEnd, &answer[1..]).is_err());
    }

    #[test]
    fn the_longest_message_is_the_one_that_is_cut() {
        let turns = [
            ("system", "ab"),
            ("user", "cdefghijk"),
            ("assistant", "HOLD"),
        ];
        let (text, cut) = fit(TooLong::CutEnd, &turns).unwrap();
        assert!(cut);
        assert_eq!(text, "abcdefHOLD");
    }
}
