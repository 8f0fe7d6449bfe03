//! Preference pairs: a prompt with an answer that is preferred to another one.
//!
//! Read from JSON lines in the forms that trainers agree on: `prompt`, `chosen` and `rejected`,
//! each a string or a list of messages; without `prompt`, the messages that `chosen` and
//! `rejected` begin with in common. An `id` is optional; other fields are left alone.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::{DatasetError, Message};

/// A prompt and two answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencePair {
    /// The pair's id; its line number where the file gives none.
    pub id: String,
    /// What both answer, ending with a turn that is not the assistant's.
    pub prompt: Vec<Message>,
    /// The preferred answer.
    pub chosen: String,
    /// The other answer.
    pub rejected: String,
}

/// Reads all pairs of a file. Blank lines are skipped.
///
/// # Errors
/// [`DatasetError::Io`]; [`DatasetError::Line`] for the first line that is no pair, or whose
/// answers are equal or empty.
pub fn read_pairs(path: &Path) -> Result<Vec<PreferencePair>, DatasetError> {
    let io = |source| DatasetError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    };
    let mut pairs = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(io)?)
        .lines()
        .enumerate()
    {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let pair = parse(&line, index + 1).map_err(|message| DatasetError::Line {
            path: path.to_path_buf(),
            line: index + 1,
            message,
        })?;
        pairs.push(pair);
    }
    Ok(pairs)
}

fn parse(line: &str, number: usize) -> Result<PreferencePair, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    parse_value(&value, number)
}

/// Reads one pair; `number` names it where it has no id.
pub(crate) fn parse_value(value: &Value, number: usize) -> Result<PreferencePair, String> {
    let field = |name: &str| value.get(name).filter(|value| !value.is_null());
    let needed = |name: &str| {
        field(name).ok_or_else(|| {
            format!("has no field `{name}`, expected `prompt`, `chosen` and `rejected`")
        })
    };
    let mut chosen = turns(needed("chosen")?, "chosen", "assistant")?;
    let mut rejected = turns(needed("rejected")?, "rejected", "assistant")?;
    let prompt = if let Some(prompt) = field("prompt") {
        turns(prompt, "prompt", "user")?
    } else {
        let common = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b);
        let common = common.count();
        rejected.drain(..common);
        chosen.drain(..common).collect()
    };
    if prompt.last().is_none_or(|turn| turn.role == "assistant") {
        return Err("has no prompt, expected at least one turn before the answers".to_owned());
    }
    let answer = |name: &str, turns: Vec<Message>| {
        let [turn] = <[Message; 1]>::try_from(turns).map_err(|turns| {
            format!(
                "`{name}` has {} turns after the prompt, expected one answer",
                turns.len()
            )
        })?;
        if turn.role != "assistant" || turn.content.trim().is_empty() {
            return Err(format!(
                "`{name}` is not an answer of the assistant, expected its text"
            ));
        }
        Ok(turn.content)
    };
    let (chosen, rejected) = (answer("chosen", chosen)?, answer("rejected", rejected)?);
    if chosen == rejected {
        return Err("`chosen` and `rejected` are equal: there is nothing to prefer".to_owned());
    }
    let id = match field("id") {
        None => format!("line {number}"),
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
    };
    Ok(PreferencePair {
        id,
        prompt,
        chosen,
        rejected,
    })
}

/// Returns a field's messages; a string is one message of `role`.
fn turns(value: &Value, name: &str, role: &str) -> Result<Vec<Message>, String> {
    if let Value::String(content) = value {
        return Ok(vec![Message {
            role: role.to_owned(),
            content: content.clone(),
        }]);
    }
    let Value::Array(items) = value else {
        return Err(format!(
            "`{name}` is neither a string nor a list of messages"
        ));
    };
    items
        .iter()
        .map(|item| {
            let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
            match (text("role"), text("content")) {
                (Some(role), Some(content)) => Ok(Message { role, content }),
                _ => Err(format!(
                    "a message of `{name}` has no `role` or no `content`"
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_trainers_agree_on() {
        let forms = [
            r#"{"prompt":"Up?","chosen":"BUY","rejected":"SELL"}"#,
            r#"{"prompt":[{"role":"user","content":"Up?"}],"chosen":[{"role":"assistant","content":"BUY"}],"rejected":[{"role":"assistant","content":"SELL"}],"margin":1}"#,
            r#"{"chosen":[{"role":"user","content":"Up?"},{"role":"assistant","content":"BUY"}],"rejected":[{"role":"user","content":"Up?"},{"role":"assistant","content":"SELL"}]}"#,
        ];
        for form in forms {
            let pair = parse(form, 4).unwrap();
            assert_eq!(
                (pair.id.as_str(), pair.prompt[0].content.as_str()),
                ("line 4", "Up?")
            );
            assert_eq!(
                (pair.chosen.as_str(), pair.rejected.as_str()),
                ("BUY", "SELL")
            );
        }
        assert_eq!(
            parse(&forms[0].replace("{\"p", "{\"id\":7,\"p"), 1)
                .unwrap()
                .id,
            "7"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, fragment) in [
            ("{", "EOF"),
            (r#"{"prompt":"a","chosen":"b"}"#, "no field `rejected`"),
            (r#"{"prompt":"a","chosen":"b","rejected":"b"}"#, "are equal"),
            (
                r#"{"prompt":"a","chosen":"","rejected":"b"}"#,
                "`chosen` is not an answer",
            ),
            (r#"{"chosen":"a","rejected":"b"}"#, "has no prompt"),
            (
                r#"{"prompt":1,"chosen":"a","rejected":"b"}"#,
                "`prompt` is neither",
            ),
            (
                r#"{"prompt":[{"role":"user"}],"chosen":"a","rejected":"b"}"#,
                "no `content`",
            ),
        ] {
            let message = parse(line, 1).unwrap_err();
            assert!(message.contains(fragment), "{message}");
        }
    }
}
