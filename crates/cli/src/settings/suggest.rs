//! "Did you mean": the nearest known name for a mistyped one.

/// Similarity (Jaro-Winkler, 0 to 1) below which a name is no suggestion.
const NEAR_ENOUGH: f64 = 0.75;

/// Returns the known name nearest to `typed`, if one is near.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .filter(|(similarity, _)| *similarity >= NEAR_ENOUGH)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

/// Returns a hint for serde's complaint about an unknown field or variant:
/// the nearest of the names it lists, or all of them.
pub(crate) fn from_serde_message(message: &str) -> Option<String> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let typed = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    if known.is_empty() {
        return None;
    }
    Some(match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    })
}

/// As [`from_serde_message`], but a name that is a key of a section, of those in
/// `keys` (`train.rank`), is suggested with its section.
pub(crate) fn for_key(message: &str, keys: &[String]) -> Option<String> {
    if message.starts_with("unknown field")
        && let Some(typed) = message.split('`').nth(1)
    {
        let full: Vec<String> = keys
            .iter()
            .filter(|key| key.rsplit('.').next() == Some(typed))
            .map(|key| format!("`{key}`"))
            .collect();
        if !full.is_empty() {
            return Some(format!("did you mean {}?", full.join(" or ")));
        }
    }
    from_serde_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_section_gets_it() {
        let message = "unknown field `rank`, expected one of `data`, `train`";
        let keys = ["train.rank", "train.seed", "dataset.seed"].map(str::to_owned);
        assert_eq!(
            for_key(message, &keys).as_deref(),
            Some("did you mean `train.rank`?")
        );
        assert_eq!(
            for_key(&message.replace("rank", "seed"), &keys).as_deref(),
            Some("did you mean `train.seed` or `dataset.seed`?")
        );
        assert_eq!(
            for_key(&message.replace("`rank`", "`trian`"), &keys).as_deref(),
            Some("did you mean `train`?")
        );
    }

    #[test]
    fn suggests_the_nearest_name() {
        let message = "unknown field `horizn`, expected one of `horizon`, `threshold`";
        assert_eq!(
            from_serde_message(message).as_deref(),
            Some("did you mean `horizon`?")
        );
    }

    #[test]
    fn lists_all_when_none_is_near() {
        let message = "unknown field `zzz`, expected `horizon` or `threshold`";
        assert_eq!(
            from_serde_message(message).as_deref(),
            Some("known here: horizon, threshold")
        );
    }

    #[test]
    fn says_nothing_about_other_complaints() {
        assert_eq!(
            from_serde_message("invalid type: string `a`, expected u64"),
            None
        );
    }
}
