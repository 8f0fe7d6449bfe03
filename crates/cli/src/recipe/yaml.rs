//! Plain YAML for configuration files: keys, scalars, lists and maps of them.
//!
//! Numbers are written without an exponent and texts in quotes, because YAML 1.1 readers take
//! `2e-5` for a text and `no` for a truth value.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns a map as YAML; `head` goes before it as comments.
pub(super) fn document(head: &str, value: &Value) -> String {
    let mut out = String::new();
    for line in head.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# {line}");
    }
    if let Value::Object(map) = value {
        block(&mut out, map, 0);
    }
    out
}

fn block(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize) {
    for (key, value) in map {
        let space = " ".repeat(indent);
        match value {
            Value::Null => {}
            Value::Object(inner) if !inner.is_empty() => {
                let _ = writeln!(out, "{space}{key}:");
                block(out, inner, indent + 2);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let _ = writeln!(out, "{space}{key}:");
                for item in items.iter().filter_map(Value::as_object) {
                    let mut text = String::new();
                    block(&mut text, item, indent + 4);
                    let _ = writeln!(out, "{space}  - {}", text.trim());
                }
            }
            other => {
                let _ = writeln!(out, "{space}{key}: {}", scalar(other));
            }
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => {
                let text = float.to_string();
                if text.contains('.') {
                    text
                } else {
                    format!("{text}.0")
                }
            }
            _ => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_every_reader_takes_for_the_same() {
        let value = json!({
            "rate": 2e-5, "one": 1.0, "count": 3, "on": true, "name": "a: b", "none": null,
            "list": ["q", "v"], "sets": [{"path": "x", "type": "y"}], "deep": {"k": 1},
        });
        let text = super::document("for a trainer", &value);
        assert_eq!(
            text,
            "# for a trainer\nrate: 0.00002\none: 1.0\ncount: 3\non: true\nname: \"a: b\"\n\
             list: [\"q\", \"v\"]\nsets:\n  - path: \"x\"\n    type: \"y\"\ndeep:\n  k: 1\n"
        );
    }
}
