//! Asserts that `docs/training.md` names every setting of training, with its default.

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
                assert_eq!(stated["x"], *value, "{full} in {preset}");
                known += 1;
            }
        }
        assert_eq!(known, documented.len(), "{documented:?}");
    }
}
