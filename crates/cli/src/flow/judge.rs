//! Champion and challengers on one base in memory, asked together.

use std::collections::BTreeMap;
use std::error::Error;

use dataset::{DatasetSettings, Templates, render_prompt};
use model::{Arms, Lora, generate};
use serve::registry::{BASE, Calibration, Registry};
use serve::request::Request;
use serve::shadow::{Answer, ArmSheet, Judge, Judged, Role};
use stats::calibration::Scaling;
use stats::softmax;

use super::base::Base;
use super::package::{self, Named, Package};
use crate::exit::{Exit, Stop};
use crate::{clock, interrupt};

/// Two markets as unlike as can be: what their prompts begin alike with, all prompts begin with.
const UNLIKE: [&str; 2] = [
    r#"{"asset": "A/B", "price": 1.5, "change": 0.5, "indicators": {"rsi": 90, "macd_histogram": 1,
        "ema_9": 1, "ema_21": 1, "ema_50": 1, "ema_200": 1, "percent_b": 1, "volatility": 0.01,
        "typical_move": 0.01}}"#,
    r#"{"asset": "9Z", "price": 88888, "change": -0.5, "indicators": {"rsi": 10, "macd_histogram": -1,
        "ema_9": 99999, "ema_21": 99999, "ema_50": 99999, "ema_200": 99999, "percent_b": 0,
        "volatility": 0.3, "typical_move": 0.3}, "fear_greed": 1, "headlines": ["x"]}"#,
];

/// The arms of a service, or of a prediction.
pub(crate) struct Bench {
    /// The base model.
    pub(crate) base: Base,
    /// The templates that prompts are rendered with.
    pub(crate) templates: Templates,
    /// The settings they take.
    pub(crate) settings: DatasetSettings,
    /// The digest of both.
    pub(crate) template_sha256: String,
    packages: BTreeMap<String, Package>,
    sheets: Vec<ArmSheet>,
    scalings: Vec<Scaling>,
    arms: Arms,
    prefix: Vec<u32>,
}

impl Bench {
    /// Loads the named arms, the champion first.
    ///
    /// # Errors
    /// When an arm cannot be found or used, or arms of different bases or prompts are named.
    pub(crate) fn load(names: &[String], registry: &Registry) -> anyhow::Result<Self> {
        let mut named = Vec::with_capacity(names.len());
        for name in names {
            named.push(Named::find(name, registry)?);
        }
        // The base model alone does not say which one it is: an adapter of the registry does.
        let alone = named.iter().all(|arm| matches!(arm, Named::Base));
        if let Some(any) = registry.names()?.first().filter(|_| alone) {
            named.push(Named::find(any, registry)?);
        }
        let base = package::load_base(&named)?;
        let mut packages: Vec<Option<Package>> = Vec::with_capacity(named.len());
        for arm in named {
            packages.push(match arm {
                Named::Package(package) => Some(*package),
                Named::Run(run) => Some(Package::of_run(&run, &base)?),
                Named::Base => None,
            });
        }
        let Some(first) = packages.iter().flatten().next() else {
            return Err(Stop::new(Exit::Usage, "no adapter is named").into());
        };
        let (templates, settings) = first.templates()?;
        let mut bench = Self {
            template_sha256: first.manifest.template_sha256.clone(),
            packages: BTreeMap::new(),
            sheets: Vec::new(),
            scalings: Vec::new(),
            arms: Arms::new(Vec::new(), base.text.decisions.clone(), Vec::new()),
            prefix: Vec::new(),
            base,
            templates,
            settings,
        };
        bench.prefix = bench.common_prefix()?;
        if alone && let Some(Some(package)) = packages.pop() {
            let name = package.manifest.name.clone();
            bench.packages.insert(name, package);
        }
        bench.seat(packages)?;
        Ok(bench)
    }

    /// Seats the arms of these names, the champion first, keeping the base model.
    ///
    /// # Errors
    /// As [`Bench::load`]; the arms before stay seated.
    pub(crate) fn change(&mut self, names: &[String], registry: &Registry) -> anyhow::Result<()> {
        let mut packages = Vec::with_capacity(names.len());
        for name in names {
            let seated = self.packages.get(name);
            packages.push(match (seated, Named::find(name, registry)) {
                (Some(package), Err(_)) => Some(package.clone()),
                (_, named) => match named? {
                    Named::Package(package) => Some(*package),
                    Named::Run(run) => Some(Package::of_run(&run, &self.base)?),
                    Named::Base => None,
                },
            });
        }
        self.seat(packages)
    }

    fn seat(&mut self, packages: Vec<Option<Package>>) -> anyhow::Result<()> {
        let of_base = packages
            .iter()
            .flatten()
            .chain(self.packages.values())
            .map(|package| package.manifest.base_calibration.clone())
            .next();
        let mut loras: Vec<Option<Lora>> = Vec::new();
        let mut sheets: Vec<ArmSheet> = Vec::new();
        let mut kept = BTreeMap::new();
        for package in packages {
            let (name, sha256, calibration) = if let Some(package) = &package {
                self.fits(package)?;
                loras.push(Some(package.lora(self.base.decoder.config())?));
                let manifest = &package.manifest;
                (
                    manifest.name.clone(),
                    Some(manifest.adapter_sha256.clone()),
                    manifest.calibration.clone(),
                )
            } else {
                loras.push(None);
                let unknown = Calibration {
                    temperature: 1.0,
                    bias: [0.0; 3],
                    decisions: 0,
                };
                (BASE.to_owned(), None, of_base.clone().unwrap_or(unknown))
            };
            if sheets.iter().any(|sheet| sheet.name == name) {
                let message = format!("two arms are called `{name}`");
                return Err(Stop::new(Exit::Usage, message)
                    .hint(
                        "register one of them under another name: `foretune promote RUN --as NAME`",
                    )
                    .into());
            }
            if let Some(package) = package {
                kept.insert(name.clone(), package);
            }
            sheets.push(ArmSheet {
                role: if sheets.is_empty() {
                    Role::Champion
                } else {
                    Role::Challenger
                },
                name,
                adapter_sha256: sha256,
                temperature: calibration.temperature,
                bias: calibration.bias,
            });
        }
        self.scalings = sheets
            .iter()
            .map(|sheet| Scaling {
                temperature: sheet.temperature,
                bias: sheet.bias.to_vec(),
            })
            .collect();
        self.arms = Arms::new(loras, self.base.text.decisions.clone(), self.prefix.clone());
        self.sheets = sheets;
        self.packages.extend(kept);
        Ok(())
    }

    /// Refuses an adapter of another base model or another prompt.
    fn fits(&self, package: &Package) -> Result<(), Stop> {
        let manifest = &package.manifest;
        if manifest.model_sha256 != self.base.sha256 {
            let message = format!(
                "`{}` was trained on the base model with sha256 {}, here is {}",
                manifest.name, manifest.model_sha256, self.base.sha256
            );
            return Err(Stop::new(Exit::Model, message)
                .hint("compare adapters of one base model; each base wants a service of its own"));
        }
        if manifest.template_sha256 != self.template_sha256 {
            let message = format!(
                "`{}` was trained on other prompts or another label rule than the champion",
                manifest.name
            );
            return Err(Stop::new(Exit::Usage, message)
                .hint("all arms are asked the same prompt: train them on data sets of the same [dataset] settings"));
        }
        Ok(())
    }

    /// Returns the tokens that all prompts begin with.
    fn common_prefix(&self) -> anyhow::Result<Vec<u32>> {
        let mut both = Vec::with_capacity(2);
        for text in UNLIKE {
            let view = Request::parse(text.as_bytes())?.view(&self.settings, clock::now())?;
            let prompt = render_prompt(&view, &self.templates, &self.settings)?;
            both.push(self.base.text.prompt(&prompt)?);
        }
        let pairs = both[0].iter().zip(&both[1]);
        let alike = pairs.take_while(|(a, b)| a == b).count();
        both[0].truncate(alike);
        Ok(both.swap_remove(0))
    }

    /// Refuses a bench without a challenger, or with one that is the champion itself.
    ///
    /// # Errors
    /// When nothing can be compared.
    pub(crate) fn require_challenger(&self) -> Result<(), Stop> {
        let (champion, challengers) = match self.sheets.split_first() {
            Some((champion, challengers)) if !challengers.is_empty() => (champion, challengers),
            _ => return Err(Stop::new(Exit::Usage, "there is no challenger")),
        };
        let same = |sheet: &&ArmSheet| sheet.adapter_sha256 == champion.adapter_sha256;
        match challengers.iter().find(same) {
            None => Ok(()),
            Some(twin) => {
                let message = format!(
                    "`{}` has the champion's weights: nothing can be compared",
                    twin.name
                );
                Err(Stop::new(Exit::Usage, message).hint("name another challenger"))
            }
        }
    }

    /// Lets the champion give its reason for a decision on each prompt: what it writes after
    /// `DECISION: BUY -`, the most probable token at a time.
    ///
    /// # Errors
    /// When a prompt does not fit, or on Ctrl-C.
    pub(crate) fn reasons(
        &self,
        prompts: &[String],
        decided: &[usize],
        max_new: usize,
    ) -> anyhow::Result<Vec<String>> {
        let text = &self.base.text;
        let mut begun = Vec::with_capacity(prompts.len());
        for (prompt, class) in prompts.iter().zip(decided) {
            let mut tokens = text.prompt(prompt)?;
            tokens.extend(&text.decisions.lead);
            tokens.extend(&text.decisions.labels[*class]);
            begun.push(tokens);
        }
        let options = generate::Options {
            max_new,
            stop: &text.stop,
            top: 1,
            ..generate::Options::default()
        };
        let (lora, decoder) = (self.arms.adapter(0), &self.base.decoder);
        let answers = generate::generate(decoder, lora, &begun, &options, &mut |_, _| {
            interrupt::flow()
        })?;
        let reasons = answers.iter().map(|answer| {
            let written = text.tokenizer.decode_plain(&answer.tokens())?;
            let reason = written.trim_start_matches([' ', '-']);
            Ok(reason.lines().next().unwrap_or("").trim().to_owned())
        });
        reasons.collect()
    }
}

impl Judge for Bench {
    fn arms(&self) -> &[ArmSheet] {
        &self.sheets
    }

    fn judge(&mut self, prompts: &[String]) -> Result<Judged, Box<dyn Error + Send + Sync>> {
        let tokens: anyhow::Result<Vec<Vec<u32>>> = prompts
            .iter()
            .map(|prompt| self.base.text.prompt(prompt))
            .collect();
        let tokens = tokens?;
        let scores = self.arms.score(&self.base.decoder, &tokens)?;
        let answers = scores.iter().zip(&self.scalings).map(|(rows, scaling)| {
            rows.iter()
                .map(|logits| Answer {
                    probabilities: array(&scaling.apply(logits)),
                    raw: array(&softmax(logits)),
                })
                .collect()
        });
        Ok(Judged {
            answers: answers.collect(),
            tokens: tokens.iter().map(Vec::len).collect(),
        })
    }
}

fn array(row: &[f64]) -> [f64; 3] {
    std::array::from_fn(|class| row[class])
}
