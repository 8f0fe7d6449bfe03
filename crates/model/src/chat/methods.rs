//! Python's methods on strings that chat templates call and the engine's own set lacks.

use minijinja::value::from_args;
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Answers a method call that the engine does not know.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (value.as_str(), method) {
        (Some(text), "removeprefix") => {
            let (affix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(affix).unwrap_or(text)))
        }
        (Some(text), "removesuffix") => {
            let (affix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(affix).unwrap_or(text)))
        }
        (Some(text), "partition") => {
            let separator = separator(args)?;
            Ok(match text.split_once(separator) {
                Some((before, after)) => list([before, separator, after]),
                None => list([text, "", ""]),
            })
        }
        (Some(text), "rpartition") => {
            let separator = separator(args)?;
            Ok(match text.rsplit_once(separator) {
                Some((before, after)) => list([before, separator, after]),
                None => list(["", "", text]),
            })
        }
        (Some(text), "rsplit") if !args.is_empty() => {
            let (_, most): (&str, Option<i64>) = from_args(args)?;
            let separator = separator(&args[..1])?;
            // Python counts the cuts, Rust the pieces; a negative count is no limit.
            let pieces = most.and_then(|most| usize::try_from(most).ok());
            let mut found: Vec<&str> = match pieces {
                Some(cuts) => text.rsplitn(cuts.saturating_add(1), separator).collect(),
                None => text.rsplit(separator).collect(),
            };
            found.reverse();
            Ok(found.into_iter().map(Value::from).collect())
        }
        _ => unknown_method_callback(state, value, method, args),
    }
}

fn separator(args: &[Value]) -> Result<&str, Error> {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "the separator is empty",
        ));
    }
    Ok(separator)
}

fn list(parts: [&str; 3]) -> Value {
    parts.into_iter().map(Value::from).collect()
}
