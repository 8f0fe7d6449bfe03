//! Asserts that `docs/training.md`, `docs/answers.md` and `docs/shadow.md` name every setting of
//! theirs, with its default.

use std::collections::BTreeMap;

use toml::Table;

use super::{PRESETS, resolve};

/// The rows of the page's tables: section and key to the default as stated there.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../../../../docs/training.md");
    let mut section = "";
    let mut found = BTreeMap::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim_matches(['`', '[', ']']);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, default, meaning, _, _, ""] = cells[..]
            && key.starts_with('`')
        {
            assert!(meaning.len() > 10, "{key}");
            let full = format!("{section}.{}", key.trim_matches('`'));
            found.insert(full, default.trim_matches('`').to_owned());
        }
    }
    found
}

#[test]
fn every_training_setting_is_documented_with_its_default() {
    let documented = documented();
    for (preset, _) in PRESETS {
        let settings = Table::try_from(resolve(Some(preset), &[]).unwrap()).unwrap();
        let mut known = 0;
        for section in ["train", "dpo"] {
            for (key, value) in settings[section].as_table().unwrap() {
                let full = format!("{section}.{key}");
                let stated = documented.get(&full);
                let stated = stated.unwrap_or_else(|| panic!("`{full}` is not documented"));
                let stated: Table = format!("x = {stated}").parse().unwrap();
                // The bridge's values are those of a large model on a large machine.
                if preset != "forex-bridge" {
                    assert_eq!(stated["x"], *value, "{full} in {preset}");
                }
                known += 1;
            }
        }
        assert_eq!(known, documented.len(), "{documented:?}");
    }
}

#[test]
fn every_setting_of_answers_is_documented_with_its_default() {
    let page = include_str!("../../../../docs/answers.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", key, default, _, meaning, ""] if default.starts_with('`') => {
                assert!(meaning.len() > 10, "{key}");
                Some((key.trim_matches('`'), default.trim_matches('`')))
            }
            _ => None,
        }
    });
    let stated: BTreeMap<&str, &str> = rows.collect();
    for (preset, _) in PRESETS {
        let settings = Table::try_from(resolve(Some(preset), &[]).unwrap()).unwrap();
        let known = settings["answers"].as_table().unwrap();
        assert_eq!(known.len(), stated.len(), "{stated:?}");
        for (key, value) in known {
            let stated: Table = format!("x = {}", stated[key.as_str()]).parse().unwrap();
            assert_eq!(stated["x"], *value, "{key} in {preset}");
        }
    }
}

#[test]
fn every_setting_of_the_shadow_service_is_documented_with_its_default() {
    let page = include_str!("../../../../docs/shadow.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", key, default, flag, meaning, ""] if flag.starts_with("`--") => {
                assert!(meaning.len() > 10, "{key}");
                Some((key.trim_matches('`'), default.trim_matches('`')))
            }
            _ => None,
        }
    });
    let stated: BTreeMap<&str, &str> = rows.collect();
    let preset = include_str!("../../presets/crypto-12h.toml");
    let section = preset.split("[shadow]").nth(1).unwrap();
    for (name, _) in PRESETS {
        let settings = Table::try_from(resolve(Some(name), &[]).unwrap()).unwrap();
        let known = settings["shadow"].as_table().unwrap();
        for (key, stated) in &stated {
            match known.get(*key) {
                Some(value) => {
                    let stated: Table = format!("x = {stated}").parse().unwrap();
                    assert_eq!(stated["x"], *value, "{key} in {name}");
                }
                // What is not set by itself is shown, commented out.
                None => assert!(section.contains(&format!("# {key} = ")), "{key} in {name}"),
            }
        }
        let missing: Vec<&String> = known
            .keys()
            .filter(|key| !stated.contains_key(key.as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    let optional = section
        .lines()
        .filter(|line| line.starts_with("# ") && line.contains(" = "));
    for line in optional {
        let key = line.trim_start_matches("# ").split(" = ").next().unwrap();
        assert!(stated.contains_key(key), "{key}");
    }
}
