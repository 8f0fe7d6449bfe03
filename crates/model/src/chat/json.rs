//! Python's `json.dumps` as the `tojson` filter.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Deeper values than any message has; bounds the recursion a hostile template can cause.
const MAX_DEPTH: usize = 64;
/// Wider indents than any template uses; bounds the memory a hostile one can ask for.
const MAX_INDENT: usize = 16;

/// How the text is laid out.
struct Layout {
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
    ascii: bool,
}

/// Python's `json.dumps(value, ensure_ascii=False)` with the options that transformers hands
/// through to it; the engine's own filter escapes for HTML.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over"
)]
pub(super) fn python_json(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    if indent.is_some_and(|width| width > MAX_INDENT) {
        return Err(invalid("an indent for `tojson` is too wide"));
    }
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let [item_separator, key_separator] = match separators {
        None if indent.is_some() => [",".to_owned(), ": ".to_owned()],
        None => [", ".to_owned(), ": ".to_owned()],
        Some(pair) => <[String; 2]>::try_from(pair)
            .map_err(|_| invalid("`separators` of `tojson` is not a pair of strings"))?,
    };
    let layout = Layout {
        indent,
        item_separator,
        key_separator,
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut text = String::new();
    layout.write(value, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

impl Layout {
    fn write(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("a value for `tojson` is nested too deeply"));
        }
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&value.to_string()),
            ValueKind::Map => self.write_map(value, depth, text)?,
            ValueKind::Seq | ValueKind::Iterable => self.write_list(value, depth, text)?,
            _ => self.quote(&value.to_string(), text),
        }
        Ok(())
    }

    fn write_map(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        text.push('{');
        for (index, key) in keys.iter().enumerate() {
            if index > 0 {
                text.push_str(&self.item_separator);
            }
            self.line(depth + 1, text);
            self.quote(&key.to_string(), text);
            text.push_str(&self.key_separator);
            self.write(&value.get_item(key)?, depth + 1, text)?;
        }
        if !keys.is_empty() {
            self.line(depth, text);
        }
        text.push('}');
        Ok(())
    }

    fn write_list(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        text.push('[');
        let mut any = false;
        for item in value.try_iter()? {
            if any {
                text.push_str(&self.item_separator);
            }
            any = true;
            self.line(depth + 1, text);
            self.write(&item, depth + 1, text)?;
        }
        if any {
            self.line(depth, text);
        }
        text.push(']');
        Ok(())
    }

    fn line(&self, depth: usize, text: &mut String) {
        if let Some(width) = self.indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    fn quote(&self, string: &str, text: &mut String) {
        text.push('"');
        for character in string.chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                other if (other as u32) < 0x20 || (self.ascii && !(' '..='~').contains(&other)) => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                other => text.push(other),
            }
        }
        text.push('"');
    }
}
