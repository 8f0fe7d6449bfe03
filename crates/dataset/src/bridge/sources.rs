//! Further files of training data, joined as they are: chat conversations, prompts with
//! completions, preference pairs. Every line is checked, and what is there already is left out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{DatasetError, hex};

/// A line longer than this is no example, bytes.
const LONGEST_LINE: u64 = 4 << 20;

/// What became of one further source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedSource {
    /// The file's name.
    pub name: String,
    /// Its sha256.
    pub sha256: String,
    /// Lines that hold something.
    pub lines: usize,
    /// Examples taken.
    pub kept: usize,
    /// Of these, preference pairs.
    pub pairs: usize,
    /// Lines that say what an earlier one says.
    pub duplicates: usize,
}

/// Lines of further sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Joined {
    /// Conversations, a JSON object a line: `messages`, `source`, `id`.
    pub conversations: Vec<Value>,
    /// Preference pairs: `prompt`, `chosen`, `rejected`, `source`, `id`.
    pub pairs: Vec<Value>,
    /// What became of each source.
    pub sources: Vec<JoinedSource>,
}

impl Joined {
    /// Reads all sources. `seen` holds digests of what the data set has already.
    ///
    /// # Errors
    /// [`DatasetError::Io`]; [`DatasetError::Line`] for the first line that is neither.
    pub(crate) fn read<P: AsRef<Path>>(
        sources: &[P],
        seen: &mut BTreeSet<[u8; 32]>,
    ) -> Result<Self, DatasetError> {
        let mut joined = Self::default();
        for path in sources {
            joined.add(path.as_ref(), seen)?;
        }
        Ok(joined)
    }

    fn add(&mut self, path: &Path, seen: &mut BTreeSet<[u8; 32]>) -> Result<(), DatasetError> {
        let name = path.file_name().map_or_else(
            || path.display().to_string(),
            |n| n.to_string_lossy().into_owned(),
        );
        let mut sheet = JoinedSource {
            name: name.clone(),
            sha256: String::new(),
            lines: 0,
            kept: 0,
            pairs: 0,
            duplicates: 0,
        };
        let mut digest = Sha256::new();
        let mut reader = BufReader::new(File::open(path).map_err(DatasetError::io("read", path))?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .map_err(DatasetError::io("read", path))?;
            if line.is_empty() {
                break;
            }
            let refuse = |message: String| DatasetError::Line {
                path: path.to_owned(),
                line: number,
                message,
            };
            if line.len() as u64 == LONGEST_LINE {
                return Err(refuse(format!("is longer than {LONGEST_LINE} bytes")));
            }
            digest.update(&line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            sheet.lines += 1;
            let value: Value =
                serde_json::from_slice(&line).map_err(|error| refuse(error.to_string()))?;
            let taken = take(&value).map_err(refuse)?;
            if !seen.insert(taken.digest()) {
                sheet.duplicates += 1;
                continue;
            }
            sheet.kept += 1;
            let id = format!("{name}:{number}");
            match taken {
                Taken::Conversation(messages) => self
                    .conversations
                    .push(json!({"messages": messages, "id": id, "source": name})),
                Taken::Pair {
                    prompt,
                    chosen,
                    rejected,
                } => {
                    sheet.pairs += 1;
                    self.pairs.push(json!({
                        "prompt": prompt, "chosen": chosen, "rejected": rejected,
                        "id": id, "source": name,
                    }));
                }
            }
        }
        sheet.sha256 = hex(&digest.finalize());
        self.sources.push(sheet);
        Ok(())
    }
}

enum Taken {
    Conversation(Vec<Value>),
    Pair {
        prompt: Value,
        chosen: Value,
        rejected: Value,
    },
}

impl Taken {
    fn digest(&self) -> [u8; 32] {
        match self {
            Self::Conversation(messages) => digest(&Value::Array(messages.clone())),
            Self::Pair {
                prompt,
                chosen,
                rejected,
            } => digest(&json!([prompt, chosen, rejected])),
        }
    }
}

/// Returns the digest by which equal examples are found: of a value without needless space.
pub(crate) fn digest(value: &Value) -> [u8; 32] {
    Sha256::digest(value.to_string()).into()
}

/// Reads one line in any of the forms that trainers agree on.
fn take(value: &Value) -> Result<Taken, String> {
    let Value::Object(fields) = value else {
        return Err("is no JSON object".to_owned());
    };
    let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    if has("chosen") || has("rejected") {
        return pair(fields);
    }
    for list in ["messages", "conversations"] {
        if let Some(turns) = fields.get(list).filter(|value| !value.is_null()) {
            return conversation(turns, list);
        }
    }
    // Prompt and completion under the names in use.
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| fields.get(*name)?.as_str().map(str::to_owned))
    };
    let prompt = text(&["prompt", "instruction", "question"]);
    let input = text(&["input"]).filter(|input| !input.trim().is_empty());
    let answer = text(&["completion", "response", "output", "answer"]);
    match (prompt, answer) {
        (Some(prompt), Some(answer)) if !answer.trim().is_empty() && !prompt.trim().is_empty() => {
            let prompt = match input {
                Some(input) => format!("{prompt}\n{input}"),
                None => prompt,
            };
            Ok(Taken::Conversation(vec![
                json!({"role": "user", "content": prompt}),
                json!({"role": "assistant", "content": answer}),
            ]))
        }
        _ => Err(
            "is neither a chat (`messages`), a prompt with a completion, nor a preference \
             (`prompt`, `chosen`, `rejected`)"
                .to_owned(),
        ),
    }
}

fn conversation(turns: &Value, list: &str) -> Result<Taken, String> {
    let Value::Array(turns) = turns else {
        return Err(format!("`{list}` is no list"));
    };
    let mut messages = Vec::with_capacity(turns.len());
    for (index, turn) in turns.iter().enumerate() {
        let text = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| turn.get(*name)?.as_str().map(str::to_owned))
        };
        let (Some(role), Some(content)) = (text(["role", "from"]), text(["content", "value"]))
        else {
            return Err(format!(
                "turn {} of `{list}` has no role or no content",
                index + 1
            ));
        };
        let role = match role.as_str() {
            "human" | "user" => "user",
            "gpt" | "assistant" => "assistant",
            "system" => "system",
            other => return Err(format!("turn {} has the role `{other}`", index + 1)),
        };
        messages.push(json!({"role": role, "content": content}));
    }
    let last = messages.last();
    let answers = last.is_some_and(|turn| {
        turn["role"] == "assistant" && !turn["content"].as_str().unwrap_or("").trim().is_empty()
    });
    if messages.len() < 2 || !answers {
        return Err("does not end with an answer of the assistant".to_owned());
    }
    Ok(Taken::Conversation(messages))
}

fn pair(fields: &Map<String, Value>) -> Result<Taken, String> {
    crate::pairs::parse_value(&Value::Object(fields.clone()), 0)?;
    let field = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
    Ok(Taken::Pair {
        prompt: field("prompt"),
        chosen: field("chosen"),
        rejected: field("rejected"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str) -> Result<Joined, DatasetError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Joined::read(&[file.path()], &mut BTreeSet::new())
    }

    #[test]
    fn the_forms_in_use_are_read_and_duplicates_left_out() {
        let joined = read(concat!(
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
            "\n\n",
            r#"{"prompt":"a","completion":"b"}"#,
            "\n",
            r#"{"conversations":[{"from":"human","value":"c"},{"from":"gpt","value":"d"}]}"#,
            "\n",
            r#"{"instruction":"e","input":"f","output":"g"}"#,
            "\n",
            r#"{"prompt":"p","chosen":"x","rejected":"y"}"#,
        ))
        .unwrap();
        let sheet = &joined.sources[0];
        assert_eq!(
            (sheet.lines, sheet.kept, sheet.pairs, sheet.duplicates),
            (5, 4, 1, 1)
        );
        assert_eq!(joined.conversations[2]["messages"][0]["content"], "e\nf");
    }

    #[test]
    fn a_line_that_is_no_example_is_named() {
        for (text, fragment) in [
            ("{\"a\":1}", "is neither"),
            ("[1]", "no JSON object"),
            ("{\"messages\":[]}", "does not end with an answer"),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"tool","content":"b"}]}"#,
                "the role `tool`",
            ),
            (r#"{"prompt":"p","chosen":"x","rejected":"x"}"#, "are equal"),
        ] {
            let good = r#"{"prompt":"a","completion":"b"}"#;
            match read(&format!("{good}\n{text}")).unwrap_err() {
                DatasetError::Line { line, message, .. } => {
                    assert_eq!(line, 2);
                    assert!(message.contains(fragment), "{message}");
                }
                other => panic!("{other}"),
            }
        }
    }
}
