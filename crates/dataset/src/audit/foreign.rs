//! JSON lines of anyone's make, read as records: conversations, prompts with completions, or
//! preference pairs, with a time and a label.
//!
//! Files are untrusted: lines are bounded, and every fault names file and line, what was expected
//! and what to do.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use market::Timestamp;
use serde_json::Value;

use super::record::{AuditRecord, ClaimRule, Place, Upstream};
use crate::facts::Facts;
use crate::{DatasetError, Split};

/// A record longer than this is not one, bytes.
const LONGEST_LINE: u64 = 1 << 20;
/// Names that a record's instrument goes by where no field is named.
const INSTRUMENTS: [&str; 4] = ["instrument", "pair", "symbol", "asset"];
/// Classes that an answer may begin with, where no label is named.
const CLASSES: [&str; 5] = ["BUY", "SELL", "HOLD", "APPROVE", "VETO"];

/// Where in a line the parts of a record stand. A name with points, such as `meta.time`, leads into
/// objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// The decision time: RFC 3339, a date, `2024-01-31 12:00:00` (UTC), or seconds,
    /// milliseconds, microseconds or nanoseconds since 1970.
    pub time: String,
    /// The outcome's class. Where no line has it, the class that the answer states is used.
    pub label: String,
    /// The prompt; none for `messages` or `prompt`, whichever is there.
    pub prompt: Option<String>,
    /// The instrument; none for the first of `instrument`, `pair`, `symbol`, `asset`.
    pub instrument: Option<String>,
    /// Milliseconds added to every time: one bar where times are those of a bar's open and the
    /// decision is made at its close.
    pub time_offset: i64,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            time: "decision_time".to_owned(),
            label: "label".to_owned(),
            prompt: None,
            instrument: None,
            time_offset: 0,
        }
    }
}

/// Reads the records of a file. `split` is the part they belong to where a line does not say.
///
/// # Errors
/// [`DatasetError::Io`] for a file that cannot be read, [`DatasetError::Line`] for the first line
/// that is no record.
pub fn read_records(
    path: &Path,
    fields: &Fields,
    split: Option<Split>,
) -> Result<Vec<AuditRecord>, DatasetError> {
    let file = File::open(path).map_err(DatasetError::io("read", path))?;
    let mut reader = BufReader::new(file);
    let mut records = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader
            .by_ref()
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(DatasetError::io("read", path))?;
        if read == 0 {
            break;
        }
        let refuse = |message: String| DatasetError::Line {
            path: PathBuf::from(path),
            line: number,
            message,
        };
        if read as u64 > LONGEST_LINE {
            return Err(refuse(format!(
                "longer than {LONGEST_LINE} bytes, expected one record a line"
            )));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = Place {
            file: path.display().to_string(),
            line: number,
        };
        records.push(parse(&line, fields, split, place).map_err(refuse)?);
    }
    Ok(records)
}

fn parse(
    line: &[u8],
    fields: &Fields,
    split: Option<Split>,
    place: Place,
) -> Result<AuditRecord, String> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| format!("no JSON ({error}), expected one object a line"))?;
    if !value.is_object() {
        return Err("no JSON object, expected one a line".to_owned());
    }
    let time = at(&value, &fields.time).ok_or_else(|| {
        format!(
            "has no `{}`, expected the decision time; name its field with --time-field",
            fields.time
        )
    })?;
    let time = read_time(time).ok_or_else(|| {
        format!(
            "`{}` is `{time}`, expected a time such as 2024-01-31T12:00:00Z or Unix milliseconds",
            fields.time
        )
    })?;
    let (prompt, answers) = texts(&value, fields)?;
    let label = at(&value, &fields.label).and_then(text).or_else(|| {
        let mut stated = answers.iter().filter_map(|answer| stated(answer));
        stated.next()
    });
    let named = match &fields.instrument {
        Some(field) => at(&value, field),
        None => INSTRUMENTS.iter().find_map(|name| at(&value, name)),
    };
    let part = value.get("split").cloned();
    let part = part.and_then(|part| serde_json::from_value::<Split>(part).ok());
    let facts: Option<Facts> = typed(&value, "facts")?;
    let id = value.get("id").and_then(text);
    let decision_time = Timestamp(time.0.saturating_add(fields.time_offset));
    Ok(AuditRecord {
        id: id.unwrap_or_else(|| format!("line {}", place.line)),
        place,
        instrument: named.and_then(text),
        decision_time,
        span: typed(&value, "span")?,
        split: part.or(split),
        prompt,
        answers,
        label,
        outcome_return: at(&value, "outcome_return").and_then(Value::as_f64),
        features: std::collections::BTreeMap::new(),
        claims: if facts.is_some() {
            ClaimRule::Facts
        } else {
            ClaimRule::Prompt
        },
        facts: facts.unwrap_or_default(),
        upstream: upstream(&value)?,
    })
}

/// Follows a name with points.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return (!found.is_null()).then_some(found);
    }
    let mut value = value;
    for name in path.split('.') {
        value = value.get(name)?;
    }
    (!value.is_null()).then_some(value)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Reads a field of a known form; a field of that name and another form is someone else's.
fn typed<T: serde::de::DeserializeOwned>(value: &Value, name: &str) -> Result<Option<T>, String> {
    let Some(found) = value.get(name).filter(|found| !found.is_null()) else {
        return Ok(None);
    };
    // Only what looks like ours is held to our form.
    let ours = match name {
        "facts" => found.as_object().is_some_and(|facts| {
            facts
                .values()
                .any(|fact| fact.get("available_at").is_some())
        }),
        _ => true,
    };
    if !ours {
        return Ok(None);
    }
    serde_json::from_value(found.clone())
        .map(Some)
        .map_err(|error| format!("`{name}`: {error}"))
}

/// Predictions of other models: one object or a list of them.
fn upstream(value: &Value) -> Result<Vec<Upstream>, String> {
    match value.get("upstream") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(_)) => Ok(typed(value, "upstream")?.unwrap_or_default()),
        Some(_) => Ok(typed(value, "upstream")?.into_iter().collect()),
    }
}

/// Reads a time in any of the usual forms.
fn read_time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            if let Ok(time) = text.parse() {
                return Some(time);
            }
            // `2024-01-31 12:00[:00]`, without a zone: UTC.
            let mut iso = text.replacen(' ', "T", 1);
            if iso.len() == 16 {
                iso += ":00";
            }
            let zoned = iso.parse().or_else(|_| format!("{iso}Z").parse());
            zoned.ok().or_else(|| of_number(text.parse().ok()?))
        }
        Value::Number(number) => of_number(number.as_f64()?),
        _ => None,
    }
}

/// Takes the unit in which a number lies in the years of market data.
fn of_number(number: f64) -> Option<Timestamp> {
    [1e3, 1.0, 1e-3, 1e-6]
        .into_iter()
        .map(|unit| Timestamp((number * unit).round() as i64))
        .find(|time| time.is_plausible())
}

/// Returns what the model reads and what it is taught to answer.
fn texts(value: &Value, fields: &Fields) -> Result<(String, Vec<String>), String> {
    let prompt_field = fields.prompt.as_deref();
    let conversation = match prompt_field {
        Some(field) => at(value, field).filter(|found| found.is_array()),
        None => ["messages", "conversations"]
            .iter()
            .find_map(|name| at(value, name)),
    };
    if let Some(turns) = conversation {
        let (prompt, mut answers) = turns_of(turns)?;
        answers.extend(answers_of(value)?);
        if prompt.is_empty() {
            return Err("the conversation has no turn before the answer".to_owned());
        }
        return Ok((prompt, answers));
    }
    let field = prompt_field.unwrap_or("prompt");
    let prompt = at(value, field).ok_or_else(|| {
        format!(
            "has neither `messages` nor `{field}`, expected a conversation or a prompt; name its \
             field with --prompt-field"
        )
    })?;
    let prompt = one_text(prompt).ok_or_else(|| format!("`{field}` is no text"))?;
    Ok((prompt, answers_of(value)?))
}

/// The answers beside a prompt.
fn answers_of(value: &Value) -> Result<Vec<String>, String> {
    let mut answers = Vec::new();
    for name in ["completion", "response", "output", "chosen", "rejected"] {
        if let Some(found) = at(value, name) {
            let answer = one_text(found);
            answers.push(answer.ok_or_else(|| format!("`{name}` is no text"))?);
        }
    }
    Ok(answers)
}

/// A text, or the turns of a list joined by line feeds.
fn one_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(turns) => {
            let contents: Option<Vec<&str>> = turns
                .iter()
                .map(|turn| turn.get("content").and_then(Value::as_str))
                .collect();
            contents.map(|contents| contents.join("\n"))
        }
        _ => None,
    }
}

/// Splits a conversation: the last turn of the assistant is the answer, what comes before it is
/// read.
fn turns_of(value: &Value) -> Result<(String, Vec<String>), String> {
    let turns = value
        .as_array()
        .ok_or("`messages` is no list of turns with `role` and `content`")?;
    let mut read = Vec::with_capacity(turns.len());
    for turn in turns {
        let get = |names: [&str; 2]| {
            let mut found = names.iter().filter_map(|name| turn.get(name));
            found.next().and_then(Value::as_str)
        };
        match (get(["role", "from"]), get(["content", "value"])) {
            (Some(role), Some(content)) => read.push((role, content)),
            _ => return Err("a turn of `messages` has no `role` or no `content`".to_owned()),
        }
    }
    let is_answer = |role: &str| matches!(role, "assistant" | "gpt" | "model");
    let mut answers = Vec::new();
    if read.last().is_some_and(|(role, _)| is_answer(role))
        && let Some((_, content)) = read.pop()
    {
        answers.push(content.to_owned());
    }
    let prompt: Vec<&str> = read.iter().map(|(_, content)| *content).collect();
    Ok((prompt.join("\n"), answers))
}

/// Returns the class that an answer states first.
fn stated(answer: &str) -> Option<String> {
    let words = answer.split(|c: char| !c.is_ascii_alphabetic());
    let mut classes = words.filter(|word| CLASSES.contains(word));
    classes.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{AuditSettings, Subject, audit};

    fn one(line: &str) -> Result<AuditRecord, String> {
        let place = Place {
            file: "f".to_owned(),
            line: 3,
        };
        parse(
            line.as_bytes(),
            &Fields::default(),
            Some(Split::Test),
            place,
        )
    }

    #[test]
    fn the_usual_forms_are_read() {
        for line in [
            r#"{"decision_time":"2024-01-31T12:00:00Z","pair":"A/B","label":"BUY","messages":[{"role":"system","content":"S"},{"role":"user","content":"U"},{"role":"assistant","content":"BUY now"}]}"#,
            r#"{"decision_time":1706702400,"instrument":"A/B","prompt":"S\nU","completion":"BUY now"}"#,
            r#"{"decision_time":"2024-01-31 12:00","symbol":"A/B","conversations":[{"from":"human","value":"S\nU"},{"from":"gpt","value":"BUY now"}]}"#,
        ] {
            let record = one(line).unwrap();
            assert_eq!(
                record.decision_time.to_string(),
                "2024-01-31T12:00:00Z",
                "{line}"
            );
            assert_eq!(record.prompt, "S\nU");
            assert_eq!(record.answers, ["BUY now"]);
            assert_eq!(record.label.as_deref(), Some("BUY"));
            assert_eq!(record.instrument.as_deref(), Some("A/B"));
            assert_eq!((record.split, record.place.line), (Some(Split::Test), 3));
        }
        let pair = one(
            r#"{"id":"x","split":"train","decision_time":1706702400000,"prompt":"P","chosen":[{"role":"assistant","content":"VETO"}],"rejected":"APPROVE","upstream":{"kind":"ensemble","fold":2},"facts":{"a":{"text":"1","available_at":"2024-01-01T00:00:00Z"}}}"#,
        )
        .unwrap();
        assert_eq!(pair.answers, ["VETO", "APPROVE"]);
        assert_eq!(pair.split, Some(Split::Train));
        assert_eq!(pair.upstream[0].fold, Some(2));
        assert_eq!((pair.facts.len(), pair.claims), (1, ClaimRule::Facts));
    }

    #[test]
    fn a_line_that_is_no_record_says_why() {
        for (line, fragment) in [
            ("{", "no JSON"),
            ("3", "no JSON object"),
            (r#"{"prompt":"a"}"#, "--time-field"),
            (r#"{"decision_time":"soon","prompt":"a"}"#, "`\"soon\"`"),
            (r#"{"decision_time":1706702400}"#, "--prompt-field"),
            (
                r#"{"decision_time":1706702400,"prompt":7}"#,
                "`prompt` is no text",
            ),
            (
                r#"{"decision_time":1706702400,"messages":[{"role":"user"}]}"#,
                "no `content`",
            ),
            (
                r#"{"decision_time":1706702400,"messages":[{"role":"assistant","content":"x"}]}"#,
                "no turn before",
            ),
            (
                r#"{"decision_time":1706702400,"prompt":"a","upstream":{"fold":"x"}}"#,
                "`upstream`",
            ),
        ] {
            let message = one(line).unwrap_err();
            assert!(message.contains(fragment), "{line}: {message}");
        }
    }

    #[test]
    fn a_fault_names_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(
            &path,
            "\n{\"decision_time\":1706702400,\"prompt\":\"a\"}\n{}\n",
        )
        .unwrap();
        let error = read_records(&path, &Fields::default(), None).unwrap_err();
        assert!(error.to_string().contains("a.jsonl` line 3"), "{error}");
    }

    proptest! {
        /// Whatever a file says, reading it and auditing what was read comes to an end.
        #[test]
        fn any_text_is_audited_without_a_panic(
            texts in prop::collection::vec("\\PC{0,60}", 1..8),
            label in "[A-Z0-9.]{0,4}",
        ) {
            let mut records = Vec::new();
            for (row, text) in texts.iter().enumerate() {
                let _ = one(text);
                let line = serde_json::json!({
                    "decision_time": 1_706_702_400 + row,
                    "prompt": text,
                    "completion": text.to_uppercase(),
                    "label": label,
                });
                records.push(one(&line.to_string()).unwrap());
            }
            let subject = Subject {
                unknown_make: true,
                ..Subject::of_records("any", &records)
            };
            let mut silent = |_| std::ops::ControlFlow::Continue(());
            audit(&subject, &AuditSettings::default(), &mut silent).unwrap();
        }
    }
}
