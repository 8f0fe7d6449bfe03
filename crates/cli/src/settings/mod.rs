//! `foretune.toml`: what every command does, in one file.
//!
//! Four layers, each over the one before: the preset, the file, the environment
//! (`FORETUNE_TRAIN__LEARNING_RATE` sets `train.learning_rate`), the flags. A
//! key nobody knows is an error with its place and the nearest known key. The
//! presets are settings files themselves, with every key and its meaning;
//! `foretune init` writes one for editing.

#[cfg(test)]
mod documented;
mod layers;
mod sections;
mod shadow;
mod suggest;

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use dataset::DatasetSettings;
use dataset::bridge::BridgeSettings;
use dataset::ensemble::EnsembleSettings;
use layers::{Layer, Origin, merge};
use train::{DpoSettings, SftSettings};

pub(crate) use sections::{
    AnswerForm, Answers, Check, Data, Evaluate, Market, Model, OneClass, Precision,
};
pub(crate) use shadow::Shadow;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};

/// The settings file looked for in the current directory.
pub(crate) const FILE: &str = "foretune.toml";
/// The presets by name, the first being the default.
pub(crate) const PRESETS: [(&str, &str); 3] = [
    ("crypto-12h", include_str!("../../presets/crypto-12h.toml")),
    ("forex-12h", include_str!("../../presets/forex-12h.toml")),
    (
        "forex-bridge",
        include_str!("../../presets/forex-bridge.toml"),
    ),
];
const PREFIX: &str = "FORETUNE_";
/// Sections that environment variables may set, `FORETUNE_<SECTION>__<KEY>`.
const SECTIONS: [&str; 11] = [
    "data", "dataset", "bridge", "ensemble", "model", "train", "dpo", "evaluate", "answers",
    "check", "shadow",
];

/// The validated settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The preset below everything else.
    pub(crate) preset: Option<String>,
    /// Where candles come from.
    pub(crate) data: Data,
    /// How candles become examples.
    pub(crate) dataset: DatasetSettings,
    /// How a package of features becomes examples.
    pub(crate) bridge: BridgeSettings,
    /// How the models whose signal a bridge judges are trained.
    pub(crate) ensemble: EnsembleSettings,
    /// The base model.
    pub(crate) model: Model,
    /// How the adapter is trained.
    pub(crate) train: SftSettings,
    /// What training by preference needs besides.
    pub(crate) dpo: DpoSettings,
    /// How the adapter is judged.
    pub(crate) evaluate: Evaluate,
    /// How the answers shown in a report are written.
    pub(crate) answers: Answers,
    /// How its answers are compared with those of llama.cpp.
    pub(crate) check: Check,
    /// Who decides in the shadow, and by which rule.
    pub(crate) shadow: Shadow,
}

impl Settings {
    /// Resolves preset, file, environment and flags.
    ///
    /// `flags` are the dotted keys that the command's own flags set; they lie
    /// above `--set`.
    ///
    /// # Errors
    /// With the place of the first layer that does not fit.
    pub(crate) fn resolve(global: &Global, flags: &[(&str, String)]) -> Result<Self, Stop> {
        let folder = Path::new(FILE);
        let file = match &global.settings {
            Some(path) => Some(Layer::file(path)?),
            None if folder.exists() => Some(Layer::file(folder)?),
            None => None,
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut layers: Vec<Layer> = file.into_iter().collect();
        layers.extend(from_environment(variables)?);
        for typed in &global.set {
            let Some((key, value)) = typed.split_once('=') else {
                let message = format!(
                    "`--set {typed}` has no `=`, expected `--set train.learning_rate=5e-4`"
                );
                return Err(Stop::new(Exit::Usage, message));
            };
            let origin = Origin::Flag(format!("--set {typed}"));
            layers.push(Layer::value(origin, key.trim(), value)?);
        }
        for (key, value) in flags {
            layers.push(Layer::value(
                Origin::Flag(format!("{key} = {value}")),
                key,
                value,
            )?);
        }
        resolve(global.preset.as_deref(), &layers)
    }

    /// Returns the settings of the preset alone.
    ///
    /// # Errors
    /// When there is no such preset.
    pub(crate) fn of_preset(&self) -> Result<Self, Stop> {
        resolve(self.preset.as_deref(), &[])
    }

    /// Returns the settings as TOML, for the run directory.
    ///
    /// # Errors
    /// When a value cannot be written as TOML.
    pub(crate) fn to_toml(&self) -> Result<String, Stop> {
        toml::to_string(self)
            .map_err(|error| Stop::new(Exit::Failure, format!("cannot write settings: {error}")))
    }
}

/// Returns the text of a preset.
///
/// # Errors
/// When there is no preset of that name.
pub(crate) fn preset(name: &str) -> Result<(&'static str, &'static str), Stop> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.copied().ok_or_else(|| {
        let names = PRESETS.map(|(name, _)| name);
        let stop = Stop::new(Exit::Usage, format!("there is no preset `{name}`"));
        match suggest::nearest(name, names) {
            Some(near) => stop.hint(format!("did you mean `{near}`?")),
            None => stop.hint(format!("presets: {}", names.join(", "))),
        }
    })
}

fn resolve(named: Option<&str>, layers: &[Layer]) -> Result<Settings, Stop> {
    let mut tables = Vec::with_capacity(layers.len());
    for layer in layers {
        tables.push(layer.table::<Settings>()?);
    }
    let typed = tables
        .iter()
        .rev()
        .find_map(|table| match table.get("preset") {
            Some(Value::String(name)) => Some(name.as_str()),
            _ => None,
        });
    let (name, text) = preset(named.or(typed).unwrap_or(PRESETS[0].0))?;
    for (layer, table) in layers.iter().zip(&tables) {
        refuse_other_preset(name, text, layer, table)?;
    }
    let base = Layer::new(Origin::Preset(name), text);
    let mut merged: Table = base.table::<Settings>()?;
    for (layer, table) in layers.iter().zip(tables) {
        merge(&mut merged, table);
        layer.fits::<Settings>(&merged)?;
    }
    merged.insert("preset".to_owned(), Value::String(name.to_owned()));
    let settings: Settings = base.fits(&merged)?;
    settings.dataset.validate().map_err(invalid)?;
    settings.bridge.validate().map_err(invalid)?;
    settings.ensemble.validate().map_err(invalid)?;
    settings.check_ranges()?;
    Ok(settings)
}

/// Refuses a layer that states the values of another preset than the one asked
/// for, as a file of `foretune init` does: it would undo what was asked for.
fn refuse_other_preset(name: &str, text: &str, layer: &Layer, table: &Table) -> Result<(), Stop> {
    let Some(Value::String(stated)) = table.get("preset") else {
        return Ok(());
    };
    if stated == name {
        return Ok(());
    }
    let parse = |text: &str| text.parse::<Table>().unwrap_or_default();
    let (_, own) = preset(stated)?;
    let Some(key) = kept(table, &parse(own), &parse(text), "") else {
        return Ok(());
    };
    let place = layer.named();
    let message = format!(
        "preset `{name}` is asked for, but {place} states preset `{stated}` and its values, such as `{key}`"
    );
    Err(Stop::new(Exit::Usage, message).hint(format!(
        "`foretune init --preset {name}` in another directory writes its settings; or delete from {place} what belongs to `{stated}`"
    )))
}

/// Returns the first key that `stated` has as the preset `own` has it, and that
/// the preset `other` has otherwise.
fn kept(stated: &Table, own: &Table, other: &Table, path: &str) -> Option<String> {
    stated.iter().find_map(|(key, value)| {
        let full = format!("{path}{key}");
        match (value, own.get(key), other.get(key)) {
            (Value::Table(stated), Some(Value::Table(own)), other) => {
                let nothing = Table::new();
                let other = other.and_then(Value::as_table).unwrap_or(&nothing);
                kept(stated, own, other, &format!("{full}."))
            }
            (value, Some(own), other) if full != "preset" && value == own && other != Some(own) => {
                Some(full)
            }
            _ => None,
        }
    })
}

/// Returns every key with its section (`train.rank`), as the presets name them,
/// whether in force or commented out.
fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    for (_, text) in PRESETS {
        let mut section = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
                continue;
            }
            let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") else {
                continue;
            };
            let full = format!("{section}.{key}");
            if !section.is_empty() && !key.contains(' ') && !keys.contains(&full) {
                keys.push(full);
            }
        }
    }
    keys
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` wants")]
fn invalid(error: dataset::DatasetError) -> Stop {
    let stop = Stop::new(Exit::Usage, format!("[dataset] {error}"));
    match error.hint() {
        Some(hint) => stop.hint(hint),
        None => stop,
    }
}

fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Vec<Layer>, Stop> {
    let mut named: Vec<(String, String)> = variables
        .filter(|(name, value)| {
            name.starts_with(PREFIX) && name.contains("__") && !value.is_empty()
        })
        .collect();
    named.sort();
    let mut layers = Vec::with_capacity(named.len());
    for (name, value) in named {
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let section = key.split('.').next().unwrap_or_default();
        if !SECTIONS.contains(&section) {
            let stop = Stop::new(
                Exit::Usage,
                format!("environment variable `{name}`: there is no section `{section}`"),
            );
            return Err(match suggest::nearest(section, SECTIONS) {
                Some(near) => stop.hint(format!("did you mean `{near}`?")),
                None => stop.hint(format!("sections: {}", SECTIONS.join(", "))),
            });
        }
        layers.push(Layer::value(Origin::Variable(name), &key, &value)?);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &str, value: &str) -> Layer {
        Layer::value(Origin::Flag(format!("--set {key}={value}")), key, value).unwrap()
    }

    fn file(text: &str) -> Layer {
        Layer::new(Origin::File("foretune.toml".into()), text)
    }

    #[track_caller]
    fn refused(layers: &[Layer]) -> String {
        let error = resolve(None, layers).unwrap_err();
        let report = crate::exit::Report::of(&error.into());
        assert_eq!(report.exit, Exit::Usage);
        format!("{} | {}", report.message, report.hints.join(" | "))
    }

    #[test]
    fn every_preset_names_every_key() {
        fn missing(known: &Table, stated: &Table, path: &str, out: &mut Vec<String>) {
            for (key, value) in known {
                match (value, stated.get(key)) {
                    (_, None) => out.push(format!("{path}{key}")),
                    // A label rule has the keys of its kind.
                    (Value::Table(known), Some(Value::Table(stated))) if key != "label" => {
                        missing(known, stated, &format!("{path}{key}."), out);
                    }
                    _ => {}
                }
            }
        }
        let known = Table::try_from(Settings::default()).unwrap();
        for (name, text) in PRESETS {
            let mut out = Vec::new();
            let mut known = known.clone();
            if name != "forex-bridge" {
                // What only a bridge uses is told where bridges are.
                known.remove("bridge");
                known.remove("ensemble");
            }
            missing(&known, &text.parse().unwrap(), "", &mut out);
            assert!(out.is_empty(), "{name} does not state {out:?}");
            assert!(resolve(Some(name), &[]).is_ok(), "{name}");
        }
    }

    #[test]
    fn layers_lie_over_each_other() {
        let layers = [
            file("[train]\nlearning_rate = 5e-4\nrank = 16"),
            flag("train.rank", "4"),
        ];
        let settings = resolve(None, &layers).unwrap();
        assert_eq!(
            (settings.train.learning_rate, settings.train.rank),
            (5e-4, 4)
        );
        assert_eq!(settings.train.alpha, SftSettings::default().alpha);
    }

    #[test]
    fn another_kind_of_label_replaces_the_rule() {
        let layers = [file(
            "[dataset.label]\nkind = \"volatility\"\nk = 1.5\nwindow_bars = 48",
        )];
        let settings = resolve(None, &layers).unwrap();
        assert!(matches!(
            settings.dataset.label,
            dataset::LabelRule::Volatility { k: 1.5, .. }
        ));
        let layers = [flag("dataset.label.buy_above", "0.03")];
        let settings = resolve(None, &layers).unwrap();
        let expect = dataset::LabelRule::Absolute {
            buy_above: 0.03,
            sell_below: -0.02,
        };
        assert_eq!(settings.dataset.label, expect);
    }

    #[test]
    fn a_file_chooses_its_preset_and_a_flag_outranks_it() {
        let layers = [file("preset = \"forex-12h\"")];
        let chosen = |named| resolve(named, &layers).unwrap().preset;
        assert_eq!(chosen(None).as_deref(), Some("forex-12h"));
        assert_eq!(chosen(Some("crypto-12h")).as_deref(), Some("crypto-12h"));
    }

    #[test]
    fn a_file_of_another_preset_is_refused_and_not_undone() {
        let (_, crypto) = PRESETS[0];
        let layers = [file(crypto)];
        let error = resolve(Some("forex-12h"), &layers).unwrap_err();
        let report = crate::exit::Report::of(&error.into());
        assert_eq!(report.exit, Exit::Usage);
        let message = &report.message;
        assert!(message.contains("`foretune.toml` states preset `crypto-12h`"));
        assert!(message.contains("such as `dataset."), "{message}");
        assert!(report.hints[0].contains("foretune init --preset forex-12h"));
        assert!(resolve(Some("crypto-12h"), &layers).is_ok());
        // What somebody chose is no preset's value and lies over any preset.
        let own = [file(
            "preset = \"crypto-12h\"\n[train]\nrank = 4\n[dataset]\nhorizon_hours = 6",
        )];
        let settings = resolve(Some("forex-12h"), &own).unwrap();
        assert_eq!(
            (settings.train.rank, settings.dataset.horizon_hours),
            (4, 6)
        );
    }

    #[test]
    fn a_key_without_its_section_is_suggested_with_it() {
        let text = refused(&[flag("horizon_hours", "3")]);
        assert!(
            text.contains("did you mean `dataset.horizon_hours`?"),
            "{text}"
        );
        let text = refused(&[flag("directory", "x")]);
        assert!(text.contains("did you mean `data.directory`?"), "{text}");
        assert!(keys().contains(&"dataset.label.window_bars".to_owned()));
        assert!(
            !keys().iter().any(|key| key.ends_with("kind\"")),
            "{:?}",
            keys()
        );
    }

    #[test]
    fn an_unknown_key_is_placed_and_corrected() {
        let text = refused(&[file("[data]\n\n[train]\nlerning_rate = 1e-3\n")]);
        assert!(text.contains("`foretune.toml`, line 4, column 1"), "{text}");
        assert!(text.contains("did you mean `learning_rate`?"), "{text}");
        let text = refused(&[flag("trian.rank", "8")]);
        assert!(text.contains("did you mean `train`?"), "{text}");
    }

    #[test]
    fn wrong_kinds_and_ranges_are_refused() {
        let text = refused(&[file("[train]\nrank = \"eight\"")]);
        assert!(
            text.contains("line 2") && text.contains("invalid type"),
            "{text}"
        );
        assert!(refused(&[flag("train.rank", "0")]).contains("train.rank"));
        assert!(refused(&[flag("dataset.horizon_hours", "0")]).contains("horizon_hours"));
        assert!(refused(&[file("preset = \"crypto-12\"")]).contains("did you mean `crypto-12h`?"));
        assert!(refused(&[file("[train\n")]).contains("line 1"));
    }

    #[test]
    fn the_environment_names_section_and_key() {
        let variables =
            |name: &str, value: &str| std::iter::once((name.to_owned(), value.to_owned()));
        let layers = from_environment(variables("FORETUNE_TRAIN__RANK", "4")).unwrap();
        assert_eq!(resolve(None, &layers).unwrap().train.rank, 4);
        let none = from_environment(variables("FORETUNE_CACHE", "x")).unwrap();
        assert!(none.is_empty());
        assert!(from_environment(variables("FORETUNE_TRIAN__RANK", "4")).is_err());
        let layers = from_environment(variables("FORETUNE_TRAIN__RNK", "4")).unwrap();
        assert!(refused(&layers).contains("`FORETUNE_TRAIN__RNK`"));
    }

    #[test]
    fn settings_survive_the_run_directory() {
        for (name, _) in PRESETS {
            let settings = resolve(Some(name), &[]).unwrap();
            let layers = [file(&settings.to_toml().unwrap())];
            assert_eq!(resolve(None, &layers).unwrap(), settings);
        }
    }
}
