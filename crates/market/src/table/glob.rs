//! Names of columns picked by patterns.

/// Reports whether a name matches a pattern, in which `*` stands for any letters and `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut place) = (0, 0);
    // Where the last `*` stood, and up to where it has been taken to reach.
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((before, reach)) => {
                    star = Some((before, reach + 1));
                    at = before + 1;
                    place = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// Reports whether a text is a pattern and not a name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("alpha*", "alpha001"),
            ("*_20", "vol_20"),
            ("ret_?", "ret_5"),
            ("*", ""),
            ("a*b*c", "axxbybzc"),
            ("**", "x"),
            ("ret_5", "ret_5"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("alpha*", "beta001"),
            ("ret_?", "ret_10"),
            ("ret_?", "ret_"),
            ("a*b*c", "axxbyb"),
            ("", "x"),
            ("RET_5", "ret_5"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
