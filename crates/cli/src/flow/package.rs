//! An adapter with all it takes to ask it: weights, prompt templates, calibration and lineage.
//!
//! A package is a directory of the adapter registry. A run has one of its own, `RUN/package/`,
//! made the first time somebody asks the run's adapter; promoting copies it.

use std::path::{Path, PathBuf};

use dataset::{Dataset, DatasetSettings, Templates};
use model::{Lora, ModelConfig, score};
use serve::registry::{BASE, Calibration, Manifest, Registry, SCHEMA};
use stats::calibration;
use weights::peft;

use super::base::{self, Base};
use super::select;
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::run::{self, Run};
use crate::settings::{Evaluate, Settings};
use crate::{clock, interrupt};

const PROMPT: &str = "prompt.jinja";
const COMPLETIONS: &str = "completions.toml";
const ADAPTER: &str = "adapter";
const PEFT: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
const PUT_BACK: &str = "files of the registry are never changed: put the original back";
/// A run's own registry, in its directory.
const OF_RUN: &str = "package";

/// An adapter ready to be loaded.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Where it comes from.
    pub(crate) manifest: Manifest,
    folder: PathBuf,
}

/// An arm as named: a package, a run that may have none yet, or the base model itself.
#[derive(Debug)]
pub(crate) enum Named {
    /// In the registry, or made of a run before.
    Package(Box<Package>),
    /// A run without one.
    Run(Box<Run>),
    /// The base model itself.
    Base,
}

impl Named {
    /// Finds what a name stands for: `base`, an adapter of the registry, or a run directory.
    ///
    /// # Errors
    /// When it is none of them.
    pub(crate) fn find(name: &str, registry: &Registry) -> anyhow::Result<Self> {
        if name == BASE {
            return Ok(Self::Base);
        }
        if serve::registry::check_name(name).is_ok()
            && let Some(manifest) = registry.manifest(name)?
        {
            let folder = registry.adapter(name)?;
            return Ok(Self::Package(Box::new(Package { manifest, folder })));
        }
        let path = Path::new(name);
        if path.is_dir() {
            let run = Run::open(path)?;
            refuse_bridge(&run)?;
            return Ok(match of_run(&run)? {
                Some(package) => Self::Package(Box::new(package)),
                None => Self::Run(Box::new(run)),
            });
        }
        let known = registry.names()?;
        let stop = Stop::new(
            Exit::Usage,
            format!("`{name}` is neither an adapter of the registry nor a run directory"),
        );
        Err(stop
            .hint(format!(
                "adapters in `{}`: {}; `base` is the base model itself",
                registry.folder().display(),
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ))
            .into())
    }

    /// Returns the digest of its weights; none for the base model itself.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn adapter_sha256(&self) -> anyhow::Result<Option<String>> {
        Ok(match self {
            Self::Package(package) => Some(package.manifest.adapter_sha256.clone()),
            Self::Run(run) => Some(run.adapter_sha256()?),
            Self::Base => None,
        })
    }

    /// Returns the base model's source, its SHA-256 and the settings to load it with; none for the
    /// base model itself.
    pub(crate) fn base(&self) -> anyhow::Result<Option<(String, String, Settings)>> {
        Ok(match self {
            Self::Package(package) => Some((
                package.manifest.model.clone(),
                package.manifest.model_sha256.clone(),
                package.settings()?,
            )),
            Self::Run(run) => Some((
                run.record.model.clone(),
                run.record.model_sha256.clone(),
                run.record.settings.clone(),
            )),
            Self::Base => None,
        })
    }
}

/// Loads the base model that named arms were trained on.
///
/// # Errors
/// When none of them names one, they name different ones, or it cannot be loaded or has changed.
pub(crate) fn load_base(named: &[Named]) -> anyhow::Result<Base> {
    let mut found: Option<(String, String, Settings)> = None;
    for arm in named {
        let Some(own) = arm.base()? else { continue };
        match &found {
            Some((model, sha256, _)) if *sha256 != own.1 => {
                let message = format!(
                    "arms of different base models: one was trained on `{model}` ({sha256}), another on `{}` ({})",
                    own.0, own.1
                );
                return Err(Stop::new(Exit::Model, message)
                    .hint(
                        "compare adapters of one base model; each base wants a service of its own",
                    )
                    .into());
            }
            Some(_) => {}
            None => found = Some(own),
        }
    }
    let Some((source, sha256, settings)) = found else {
        let message = "the base model alone: there is nothing to say which one";
        return Err(Stop::new(Exit::Usage, message)
            .hint("name an adapter of the registry or a run directory")
            .into());
    };
    let base = base::load(&source, &base::fetch(&source)?, &settings.model)?;
    if base.sha256 != sha256 {
        let message = format!(
            "the base model `{source}` has sha256 {}, the adapter was trained on {sha256}",
            base.sha256
        );
        return Err(Stop::new(Exit::Model, message)
            .hint("put the original file back, or train again")
            .into());
    }
    Ok(base)
}

/// Refuses a run whose adapter was trained on a bridge: it is asked about signals and answers
/// APPROVE or VETO, and nothing here reads that.
fn refuse_bridge(run: &Run) -> Result<(), Stop> {
    if !dataset::bridge::is_bridge(&run.dataset()) {
        return Ok(());
    }
    let message = format!(
        "the adapter of `{}` was trained on a bridge: a bridge's adapter judges signals of a \
         package; `predict`, `shadow` and `promote` are about decisions from candles",
        run.folder.display()
    );
    Err(Stop::new(Exit::Data, message).hint("use `foretune evaluate` and `foretune check`"))
}

/// Returns a run's package if it has one of its present adapter.
fn of_run(run: &Run) -> anyhow::Result<Option<Package>> {
    let own = Registry::new(&run.folder.join(OF_RUN));
    let name = name_of(run)?;
    let Some(manifest) = own.manifest(&name)? else {
        return Ok(None);
    };
    let folder = own.adapter(&name)?;
    let fits = manifest.adapter_sha256 == run.adapter_sha256()?
        && manifest.dataset_sha256 == run.record.dataset_sha256;
    if !fits {
        // The run was trained again.
        std::fs::remove_dir_all(&folder)
            .map_err(|error| crate::files::fail("remove", &folder, error))?;
        return Ok(None);
    }
    Ok(Some(Package { manifest, folder }))
}

/// Returns the name of a run's adapter: its directory's name.
fn name_of(run: &Run) -> anyhow::Result<String> {
    let folder = std::path::absolute(&run.folder)?;
    let name = folder.file_name().and_then(|name| name.to_str());
    let name: String = name
        .unwrap_or("run")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(60)
        .collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    Ok(match name {
        "" | BASE => "adapter".to_owned(),
        name => name.to_owned(),
    })
}

impl Package {
    /// Makes a run's package: fits the calibration on the validation part, as `evaluate` does.
    ///
    /// # Errors
    /// When the data set or the adapter cannot be used, or on Ctrl-C.
    pub(crate) fn of_run(run: &Run, base: &Base) -> anyhow::Result<Self> {
        let dataset = Dataset::read(&run.dataset())?;
        let lora = run.adapter(base.decoder.config())?;
        let settings = Settings {
            dataset: dataset.settings.clone(),
            ..run.record.settings.clone()
        };
        let own = calibrate("calibrate", base, Some(&lora), &dataset, &settings.evaluate)?;
        let of_base = calibrate("calibrate base", base, None, &dataset, &settings.evaluate)?;
        let manifest = Manifest {
            schema: SCHEMA,
            name: name_of(run)?,
            registered_at: clock::now(),
            version: run.record.version.clone(),
            run: std::path::absolute(&run.folder)?,
            model: run.record.model.clone(),
            model_sha256: run.record.model_sha256.clone(),
            adapter_sha256: run.adapter_sha256()?,
            dataset: std::path::absolute(run.dataset())?,
            dataset_sha256: run.record.dataset_sha256.clone(),
            template_sha256: template_sha256(&dataset.templates, &dataset.settings),
            calibration: own,
            base_calibration: of_base,
            settings: serde_json::to_value(&settings)?,
            metrics: metrics(run),
        };
        let mut files = vec![
            (PROMPT.to_owned(), dataset.templates.prompt_source().into()),
            (
                COMPLETIONS.to_owned(),
                dataset.templates.completion_source().into(),
            ),
        ];
        for name in PEFT {
            let path = run.peft().join(name);
            let bytes =
                std::fs::read(&path).map_err(|error| crate::files::fail("read", &path, error))?;
            files.push((format!("{ADAPTER}/{name}"), bytes));
        }
        let own = Registry::new(&run.folder.join(OF_RUN));
        own.add(&manifest, &files)?;
        let folder = own.adapter(&manifest.name)?;
        Ok(Self { manifest, folder })
    }

    /// Copies the package into a registry, under its name or another.
    ///
    /// # Errors
    /// When the name is taken by other weights, weights are not those of the manifest, or a file
    /// cannot be copied.
    pub(crate) fn copy_to(&self, registry: &Registry, name: &str) -> anyhow::Result<()> {
        self.unaltered()?;
        let mut files = Vec::new();
        let peft = PEFT.iter().map(|name| format!("{ADAPTER}/{name}"));
        for name in [PROMPT.to_owned(), COMPLETIONS.to_owned()]
            .into_iter()
            .chain(peft)
        {
            let path = self.folder.join(&name);
            let bytes =
                std::fs::read(&path).map_err(|error| crate::files::fail("read", &path, error))?;
            files.push((name, bytes));
        }
        let manifest = Manifest {
            name: name.to_owned(),
            ..self.manifest.clone()
        };
        registry.add(&manifest, &files)?;
        // One that was there already is left as it is, and may not be what it says.
        let folder = registry.adapter(name)?;
        Self { manifest, folder }.unaltered()
    }

    /// Finds an adapter of the registry.
    ///
    /// # Errors
    /// When there is none of the name, or its manifest cannot be used.
    pub(crate) fn in_registry(registry: &Registry, name: &str) -> anyhow::Result<Self> {
        let folder = registry.adapter(name)?;
        if let Some(manifest) = registry.manifest(name)? {
            return Ok(Self { manifest, folder });
        }
        let message = format!("`{}` is not there or has no manifest", folder.display());
        Err(Stop::new(Exit::Data, message).hint(PUT_BACK).into())
    }

    /// Compares the weights with the manifest.
    ///
    /// # Errors
    /// With the file, when it is missing or not the one that was registered.
    pub(crate) fn unaltered(&self) -> anyhow::Result<()> {
        let path = self.folder.join(ADAPTER).join(PEFT[1]);
        let refuse = |what: String| {
            let message = format!(
                "`{}` {what}, its manifest says {}",
                path.display(),
                self.manifest.adapter_sha256
            );
            Stop::new(Exit::Data, message).hint(PUT_BACK)
        };
        match run::sha256_of(&path) {
            Ok(found) if found == self.manifest.adapter_sha256 => Ok(()),
            Ok(found) => Err(refuse(format!("was altered: it has sha256 {found}")).into()),
            Err(error) => Err(refuse(format!("cannot be read ({})", error.root_cause())).into()),
        }
    }

    /// Reads the adapter.
    ///
    /// # Errors
    /// When it is missing, changed, malformed, or does not fit the base model.
    pub(crate) fn lora(&self, config: &ModelConfig) -> anyhow::Result<Lora> {
        let folder = self.folder.join(ADAPTER);
        let found = run::sha256_of(&folder.join(PEFT[1]))?;
        if found != self.manifest.adapter_sha256 {
            let message = format!(
                "the adapter in `{}` has sha256 {found}, its manifest says {}",
                folder.display(),
                self.manifest.adapter_sha256
            );
            return Err(Stop::new(Exit::Model, message).hint(PUT_BACK).into());
        }
        let (tensors, _) = peft::read(&folder)?;
        Ok(Lora::from_tensors(config, &tensors)?)
    }

    /// Returns the settings it was trained with, and its data set's.
    ///
    /// # Errors
    /// When another version wrote them.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        serde_json::from_value(self.manifest.settings.clone()).map_err(|error| {
            let message = format!("the manifest of `{}`: {error}", self.manifest.name);
            Stop::new(Exit::Usage, message)
                .hint("it was written by another version; register the run again")
                .into()
        })
    }

    /// Returns the templates that its prompts are rendered with, and the settings they take.
    ///
    /// # Errors
    /// When they cannot be used or are not those of the manifest.
    pub(crate) fn templates(&self) -> anyhow::Result<(Templates, DatasetSettings)> {
        let settings = self.settings()?.dataset;
        let templates = Templates::load(&DatasetSettings {
            prompt_template: Some(self.folder.join(PROMPT)),
            completion_templates: Some(self.folder.join(COMPLETIONS)),
            ..settings.clone()
        })?;
        let found = template_sha256(&templates, &settings);
        if found != self.manifest.template_sha256 {
            let message = format!(
                "the prompt template of `{}` is not the one it was trained with",
                self.manifest.name
            );
            return Err(Stop::new(Exit::Model, message).hint(PUT_BACK).into());
        }
        Ok((templates, settings))
    }
}

/// Returns the digest of all that makes a prompt of a view.
fn template_sha256(templates: &Templates, settings: &DatasetSettings) -> String {
    let text = serde_json::json!({
        "prompt": templates.prompt_source(),
        "horizon_hours": settings.horizon_hours,
        "label": settings.label,
        "timeframes": settings.timeframes,
        "change_zone": settings.change_zone,
        "market_closed_hours": settings.market_closed_hours,
        "fear_greed_lag_hours": settings.fear_greed_lag_hours,
        "fear_greed_max_age_hours": settings.fear_greed_max_age_hours,
        "headlines_lag_minutes": settings.headlines_lag_minutes,
        "headlines_max_age_hours": settings.headlines_max_age_hours,
    });
    run::sha256(text.to_string().as_bytes())
}

/// Fits a calibration on the validation part, of the decisions that `evaluate` takes.
fn calibrate(
    title: &str,
    base: &Base,
    lora: Option<&Lora>,
    dataset: &Dataset,
    settings: &Evaluate,
) -> anyhow::Result<Calibration> {
    let horizon = dataset.settings.horizon();
    let held = select::decisions(&dataset.validation, horizon, settings.calibration_decisions);
    if held.is_empty() {
        let message = "the validation part has no decision to calibrate on";
        return Err(Stop::new(Exit::Data, message).into());
    }
    let prompts = base.text.prompts(&held)?;
    let mut bar = Progress::start(title, "decisions", Some(prompts.len() as u64));
    let logits = score::decisions(
        &base.decoder,
        lora,
        &prompts,
        &base.text.decisions,
        &mut |done, _| {
            bar.set(done as u64);
            interrupt::flow()
        },
    );
    bar.finish();
    let labels: Vec<usize> = held.iter().map(|example| example.label.index()).collect();
    let fitted = calibration::fit(&logits?, &labels, settings.calibration_l2)?;
    Ok(Calibration {
        temperature: fitted.temperature,
        bias: std::array::from_fn(|class| fitted.bias.get(class).copied().unwrap_or(0.0)),
        decisions: held.len(),
    })
}

/// What training and evaluation measured.
fn metrics(run: &Run) -> serde_json::Value {
    let training = &run.record.training;
    let report = std::fs::read(run.folder.join("report.json")).ok();
    let report: Option<serde_json::Value> =
        report.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let evaluation = report
        .map(|report| serde_json::json!({"arms": report["arms"], "findings": report["findings"]}));
    serde_json::json!({
        "steps": training.steps,
        "examples": training.examples,
        "wall_seconds": training.wall_seconds,
        "last_loss": training.history.last(),
        "last_validation": training.validations.last(),
        "evaluation": evaluation,
    })
}
