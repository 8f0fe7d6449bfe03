//! The marks that families put around the turns of a chat.

/// One family's marks.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) name: &'static str,
    before_system: &'static str,
    after_system: &'static str,
    before_user: &'static str,
    pub(super) after_user: &'static str,
    before_answer: &'static str,
    after_answer: &'static str,
    /// Whether the system text stands inside the user's turn.
    inside: bool,
}

/// The dialects known.
pub(super) const DIALECTS: [Dialect; 5] = [
    Dialect {
        name: "ChatML",
        before_system: "<|im_start|>system\n",
        after_system: "<|im_end|>\n",
        before_user: "<|im_start|>user\n",
        after_user: "<|im_end|>\n",
        before_answer: "<|im_start|>assistant\n",
        after_answer: "<|im_end|>\n",
        inside: false,
    },
    Dialect {
        name: "Llama 3",
        before_system: "<|start_header_id|>system<|end_header_id|>\n\n",
        after_system: "<|eot_id|>",
        before_user: "<|start_header_id|>user<|end_header_id|>\n\n",
        after_user: "<|eot_id|>",
        before_answer: "<|start_header_id|>assistant<|end_header_id|>\n\n",
        after_answer: "<|eot_id|>",
        inside: false,
    },
    Dialect {
        name: "Mistral V3-Tekken",
        before_system: "",
        after_system: "\n\n",
        before_user: "[INST]",
        after_user: "[/INST]",
        before_answer: "",
        after_answer: "</s>",
        inside: true,
    },
    Dialect {
        name: "Llama 2",
        before_system: "<<SYS>>\n",
        after_system: "\n<</SYS>>\n\n",
        before_user: "[INST] ",
        after_user: " [/INST]",
        before_answer: "",
        after_answer: " </s>",
        inside: true,
    },
    Dialect {
        name: "DeepSeek R1",
        before_system: "",
        after_system: "",
        before_user: "<｜User｜>",
        after_user: "",
        before_answer: "<｜Assistant｜>",
        after_answer: "<｜end▁of▁sentence｜>",
        inside: false,
    },
];

impl Dialect {
    /// Returns whether a chat of this dialect begins with `token` where it has a system turn.
    pub(super) fn begins_with(&self, token: &str) -> bool {
        !self.inside && !self.before_system.is_empty() && self.before_system.starts_with(token)
    }

    /// Reads a rendered chat of one question: its system text, and what the template has already
    /// written of the answer. `None` for a chat of another dialect.
    pub(super) fn read<'a>(
        &self,
        text: &'a str,
        question: &str,
    ) -> Option<(Option<&'a str>, &'a str)> {
        let (before, after) = text.split_once(question)?;
        let opening = after
            .strip_prefix(self.after_user)?
            .strip_prefix(self.before_answer)?;
        let system = if self.inside {
            before.strip_prefix(self.before_user)?
        } else {
            before.strip_suffix(self.before_user)?
        };
        if system.is_empty() {
            return Some((None, opening));
        }
        let system = system
            .strip_prefix(self.before_system)?
            .strip_suffix(self.after_system)?;
        Some((Some(system), opening))
    }

    /// Writes a chat of one question.
    pub(super) fn write(&self, system: Option<&str>, question: &str, opening: &str) -> String {
        let system = system.map_or(String::new(), |system| {
            format!("{}{system}{}", self.before_system, self.after_system)
        });
        let (first, second) = if self.inside {
            (self.before_user, system.as_str())
        } else {
            (system.as_str(), self.before_user)
        };
        let (after, answer) = (self.after_user, self.before_answer);
        format!("{first}{second}{question}{after}{answer}{opening}")
    }

    /// Writes the Go template: for each question the system text, the question, the answer.
    pub(super) fn go(&self, bos: &str, opening: &str) -> String {
        let system = format!(
            "{{{{ if .System }}}}{}{{{{ .System }}}}{}{{{{ end }}}}",
            self.before_system, self.after_system
        );
        let (first, second) = if self.inside {
            (self.before_user, system.as_str())
        } else {
            (system.as_str(), self.before_user)
        };
        let (after, answer, end) = (self.after_user, self.before_answer, self.after_answer);
        format!(
            "{bos}{first}{second}{{{{ .Prompt }}}}{after}{answer}{opening}{{{{ .Response }}}}{end}"
        )
    }
}
