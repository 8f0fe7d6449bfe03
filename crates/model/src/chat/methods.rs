//! Python's methods on strings that chat templates call and the engine's own set lacks, and bounds
//! on those that fill a text up to a width: a width of a billion would end the program.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Rest, StringInput, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Wider than any template fills a text.
const MAX_WIDTH: usize = 1000;

/// The filter `indent` within bounds.
pub(super) fn indent(
    value: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let named: Option<usize> = kwargs.get("width")?;
    if width.or(named).is_some_and(|width| width > MAX_WIDTH) {
        return Err(too_wide());
    }
    minijinja::filters::indent(value, width, first, blank, kwargs)
}

/// The filter `format` within bounds.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over"
)]
pub(super) fn printf(pattern: &str, args: Rest<Value>) -> Result<String, Error> {
    check_printf(pattern)?;
    format(FormatStyle::Printf, pattern, &args)
}

/// Refuses widths above [`MAX_WIDTH`], and `*`, a width that is an argument, in `%` conversions.
fn check_printf(pattern: &str) -> Result<(), Error> {
    let conversions = pattern.split('%').skip(1);
    for conversion in conversions {
        let end = conversion.find(|c: char| !"-+ #0123456789.*".contains(c));
        check_width(&conversion[..end.unwrap_or(conversion.len())])?;
    }
    Ok(())
}

/// The same in `{}` fields; a field within a field is a width that is an argument.
fn check_fields(pattern: &str) -> Result<(), Error> {
    for field in pattern.replace("{{", "").split('{').skip(1) {
        let Some(end) = field.find('}') else {
            return Err(too_wide());
        };
        if let Some((_, spec)) = field[..end].split_once(':') {
            check_width(spec)?;
        }
    }
    Ok(())
}

fn check_width(spec: &str) -> Result<(), Error> {
    let runs = spec.split(|character: char| !character.is_ascii_digit());
    let mut widths = runs.filter(|run| !run.is_empty());
    let wide = |run: &str| run.parse().map_or(true, |width: usize| width > MAX_WIDTH);
    if spec.contains('*') || widths.any(wide) {
        return Err(too_wide());
    }
    Ok(())
}

fn too_wide() -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        std::format!("a width above {MAX_WIDTH}, or one that is not written out, is not supported"),
    )
}

/// Answers a method call that the engine does not know.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (value.as_str(), method) {
        (Some(text), "format") => {
            check_fields(text)?;
            unknown_method_callback(state, value, method, args)
        }
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

#[cfg(test)]
mod tests {
    use super::{check_fields, check_printf};

    #[test]
    fn only_small_written_widths_pass() {
        for fine in ["%s-%d", "%05.2f of 100000", "100% of 2*3", "%", ""] {
            assert!(check_printf(fine).is_ok(), "{fine}");
        }
        for wide in ["%9999999d", "%*d", "%.1001f", "%.*f"] {
            assert!(check_printf(wide).is_err(), "{wide}");
        }
        for fine in ["Price: {}", "{:>8} {0:04d} {name}", "12345: {{x}} {}", ""] {
            assert!(check_fields(fine).is_ok(), "{fine}");
        }
        for wide in [
            "{:>99999999999999999999999}",
            "{:>{}}",
            "{0:{1}}",
            "{:.1001f}",
            "{",
        ] {
            assert!(check_fields(wide).is_err(), "{wide}");
        }
    }
}
