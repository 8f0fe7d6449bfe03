//! `foretune formulas`: the catalogue, to read, to compute and to learn from.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use dataset::knowledge::{self, KnowledgeSettings};
use formula::Profile;
use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request, SeriesInputs, evaluate_series};
use formula::language::{self, Expression, Notation};
use formula::panel::Panel;
use market::{Timeframe, Timestamp};
use serde_json::json;

use super::features::catalogue;
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::bars;
use crate::output::{self, Printed};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::{files, flow, interrupt};

/// Look formulas up, compute them, translate them, and make questions about them
///
/// The catalogue holds formulas with their sources: Alpha101, GTJA's Alpha191, Qlib's
/// Alpha158 and Alpha360, TA-Lib, volatility, order flow, foreign exchange, risk and
/// statistics. Every one is an expression that this program evaluates.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune formulas list talib
  foretune formulas search 'range volatility'
  foretune formulas show talib.RSI_14
  foretune formulas eval talib.RSI_14 --rows 5
  foretune formulas eval 'ts_mean(close, 5) / close - 1'
  foretune formulas translate 'Mean($close, 5)/$close' --from qlib --to alpha101
  foretune formulas count --json
  foretune formulas page --out formulas.html
  foretune formulas examples --out formulas")]
pub(crate) struct Typed {
    #[command(subcommand)]
    what: What,
}

/// What to do with formulas.
#[derive(Debug, Subcommand)]
enum What {
    /// List formulas, all or those of some families
    List {
        /// Families, such as talib
        #[arg(value_name = "FAMILY")]
        families: Vec<String>,
    },
    /// Find formulas by words
    Search {
        /// Words that all have to occur
        #[arg(value_name = "WORDS", required = true)]
        words: Vec<String>,
    },
    /// Show one formula: text, tree, source, meaning, and a chart on sample bars
    Show {
        /// A formula's id, such as talib.RSI_14
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        sample: Sample,
    },
    /// Compute a formula on candles
    Eval {
        /// A formula's id, or an expression
        #[arg(value_name = "FORMULA")]
        formula: String,
        /// How the expression is written
        #[arg(long, value_enum, value_name = "NOTATION", default_value = "foretune")]
        notation: NotationName,
        /// Conventions: paper, brain, kunquant, qlib, talib [default: the formula's own]
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// Rows to print, the last ones
        #[arg(long, value_name = "N", default_value_t = 10)]
        rows: usize,
        #[command(flatten)]
        sample: Sample,
    },
    /// Write a formula in another notation
    Translate {
        /// A formula's id, or an expression
        #[arg(value_name = "FORMULA")]
        formula: String,
        /// How it is written
        #[arg(long, value_enum, value_name = "NOTATION", default_value = "foretune")]
        from: NotationName,
        /// How it is wanted
        #[arg(long, value_enum, value_name = "NOTATION", default_value = "foretune")]
        to: NotationName,
    },
    /// Say a formula in words, step by step
    Explain {
        /// A formula's id, or an expression
        #[arg(value_name = "FORMULA")]
        formula: String,
        /// How the expression is written
        #[arg(long, value_enum, value_name = "NOTATION", default_value = "foretune")]
        notation: NotationName,
    },
    /// Count distinct formulas, structures, and the questions made of them
    Count {
        /// The examples to count [default: none, they are made by `examples`]
        #[arg(long, value_name = "FILE")]
        examples: Option<PathBuf>,
    },
    /// Write the catalogue as one page that opens anywhere
    Page {
        /// The page
        #[arg(long, value_name = "FILE", default_value = "formulas.html")]
        out: PathBuf,
        #[command(flatten)]
        sample: Sample,
    },
    /// Make questions and answers about the formulas, every number computed
    Examples {
        /// Directory for formula_samples.jsonl and formula_samples.json
        #[arg(long, value_name = "DIR", default_value = "formulas")]
        out: PathBuf,
        /// Seed of every choice
        #[arg(long, value_name = "N", default_value_t = 17)]
        seed: u64,
        #[command(flatten)]
        sample: Sample,
    },
    /// Compute every computation of a file of examples again from its text
    Verify {
        /// The examples
        #[arg(value_name = "FILE", default_value = "formulas/formula_samples.jsonl")]
        file: PathBuf,
    },
}

/// The bars that formulas are shown on.
#[derive(Args, Clone, Debug)]
struct Sample {
    /// Directory with candles [default: data.directory of the settings, else the bundled candles]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Timeframe of the candles, if there are several
    #[arg(long, value_name = "FRAME")]
    timeframe: Option<Timeframe>,
    /// Instruments to use, such as EUR/USD (repeatable) [default: all]
    #[arg(long, value_name = "NAME")]
    instrument: Vec<String>,
}

/// A way of writing formulas.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NotationName {
    /// The canonical one
    Foretune,
    /// 101 Formulaic Alphas
    Alpha101,
    /// GTJA's Alpha191
    Gtja,
    /// Qlib
    Qlib,
}

impl From<NotationName> for Notation {
    fn from(name: NotationName) -> Self {
        match name {
            NotationName::Foretune => Self::Foretune,
            NotationName::Alpha101 => Self::Alpha101,
            NotationName::Gtja => Self::Gtja,
            NotationName::Qlib => Self::Qlib,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// On an unknown formula, a fault in an expression or in candles, or Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let all = catalogue()?;
    match &typed.what {
        What::List { families } => list(all, families),
        What::Search { words } => Ok(table(&all.search(&words.join(" ")))),
        What::Show { id, sample } => Ok(show(found(all, id)?, all, sample, global)),
        What::Eval {
            formula,
            notation,
            profile,
            rows,
            sample,
        } => {
            let wanted = Wanted::of(all, formula, (*notation).into(), profile.as_deref())?;
            eval(&wanted, *rows, &sample.panel(global, usize::MAX)?)
        }
        What::Translate { formula, from, to } => {
            let wanted = Wanted::of(all, formula, (*from).into(), None)?;
            let text = language::print(&wanted.expression, (*to).into())
                .map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
            Ok(Printed::new(json!({ "formula": text }), text))
        }
        What::Explain { formula, notation } => {
            let wanted = Wanted::of(all, formula, (*notation).into(), None)?;
            Ok(explain(&wanted.expression))
        }
        What::Count { examples } => count(all, examples.as_deref()),
        What::Page { out, sample } => {
            let panel = sample.recent(global)?;
            let page = flow::formula_page::html(all, &panel)?;
            files::write(out, page.as_bytes())?;
            let text = format!("{} formulas in {}", all.entries().len(), out.display());
            Ok(Printed::new(
                json!({ "page": out, "formulas": all.entries().len() }),
                text,
            ))
        }
        What::Examples { out, seed, sample } => examples(all, out, *seed, &sample.recent(global)?),
        What::Verify { file } => verify(all, file),
    }
}

impl Sample {
    /// Returns the last bars of each instrument as a panel, [`RECENT`] of them.
    fn recent(&self, global: &Global) -> anyhow::Result<Panel> {
        self.panel(global, bars::RECENT)
    }

    /// Returns the bars as a panel, at most the last `most` of each instrument.
    fn panel(&self, global: &Global, most: usize) -> anyhow::Result<Panel> {
        let settings = Settings::resolve(global, &[])?;
        let directory = match &self.data {
            Some(directory) => directory.clone(),
            None => flow::data::directory(&settings)?,
        };
        // Without a choice the bundled candles have several timeframes.
        let timeframe = self.timeframe.or_else(|| {
            self.data
                .is_none()
                .then(|| settings.dataset.base_timeframe())
        });
        let tables = bars::load(&directory, timeframe, &self.instrument)?;
        for note in &tables.notes {
            output::note(note);
        }
        bars::panel(tables, most)
    }
}

/// A formula that was asked for.
struct Wanted {
    name: String,
    expression: Expression,
    profile: Profile,
    is_series: bool,
}

impl Wanted {
    fn of(
        all: &Catalogue,
        formula: &str,
        notation: Notation,
        profile: Option<&str>,
    ) -> anyhow::Result<Self> {
        let own = match profile {
            None => None,
            Some(name) => Some(Profile::named(name).ok_or_else(|| {
                let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
                Stop::new(Exit::Usage, format!("there is no profile `{name}`"))
                    .hint(format!("profiles: {}", names.join(", ")))
            })?),
        };
        if let Some(entry) = all.get(formula) {
            return Ok(Self {
                name: entry.id.clone(),
                expression: entry.expression.clone(),
                profile: own.unwrap_or(entry.profile),
                is_series: entry.needs.series,
            });
        }
        // Something like `talib.RSI` is a mistyped id, not an expression.
        let like_an_id = formula.contains('.')
            && formula
                .chars()
                .all(|letter| letter.is_alphanumeric() || "._".contains(letter))
            && !formula.starts_with(|letter: char| letter.is_ascii_digit());
        if like_an_id {
            found(all, formula)?;
        }
        let expression = language::parse(formula, notation).map_err(|error| {
            let stop = Stop::new(Exit::Usage, error.to_string());
            match error.hint() {
                Some(hint) => stop.hint(hint),
                None => stop,
            }
        })?;
        Ok(Self {
            name: formula.to_owned(),
            is_series: expression
                .fields()
                .iter()
                .any(|field| ["r", "benchmark"].contains(field)),
            expression,
            profile: own.unwrap_or_default(),
        })
    }
}

fn found<'a>(all: &'a Catalogue, id: &str) -> Result<&'a Entry, Stop> {
    all.get(id).ok_or_else(|| {
        let stop = Stop::new(Exit::Usage, format!("there is no formula `{id}`"));
        match all.nearest(id) {
            Some(near) => stop.hint(format!("did you mean `{near}`?")),
            None => stop.hint("`foretune formulas search WORDS` finds formulas"),
        }
    })
}

fn list(all: &Catalogue, families: &[String]) -> anyhow::Result<Printed> {
    for family in families {
        if all.family(family).is_none() {
            let names: Vec<&str> = all.families().iter().map(|one| one.id.as_str()).collect();
            return Err(
                Stop::new(Exit::Usage, format!("there is no family `{family}`"))
                    .hint(format!("families: {}", names.join(", ")))
                    .into(),
            );
        }
    }
    let chosen: Vec<&Entry> = all
        .entries()
        .iter()
        .filter(|entry| families.is_empty() || families.contains(&entry.family))
        .collect();
    Ok(table(&chosen))
}

fn table(entries: &[&Entry]) -> Printed {
    let width = entries
        .iter()
        .map(|entry| entry.id.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{:width$}  {}", entry.id, entry.name);
    }
    let _ = write!(text, "{} formulas", entries.len());
    let data = entries.iter().map(|entry| described(entry)).collect();
    Printed::new(serde_json::Value::Array(data), text)
}

fn described(entry: &Entry) -> serde_json::Value {
    let fields: Vec<&str> = entry.needs.fields.iter().map(String::as_str).collect();
    json!({
        "id": entry.id,
        "family": entry.family,
        "name": entry.name,
        "text": entry.text,
        "notation": entry.notation.name(),
        "formula": entry.expression.to_string(),
        "profile": entry.profile.name,
        "reads": fields,
        "citation": entry.citation,
        "explanation": entry.explanation,
        "interpretation": entry.interpretation,
        "pitfalls": entry.pitfalls,
        "proxy": entry.proxy,
        "deviation": entry.deviation,
        "also": entry.also,
        "hash": format!("{:032x}", entry.hash),
        "structure": format!("{:032x}", entry.structure),
    })
}

fn show(entry: &Entry, all: &Catalogue, sample: &Sample, global: &Global) -> Printed {
    let source = all
        .family(&entry.family)
        .map_or("", |family| family.source.as_str());
    let mut text = format!("{}  {}\n\n", entry.id, entry.name);
    let _ = writeln!(text, "  {}", entry.text);
    if entry.notation != Notation::Foretune {
        let _ = writeln!(text, "  = {}", entry.expression);
    }
    let _ = writeln!(text, "\n{}", entry.explanation);
    let _ = writeln!(text, "{}", entry.interpretation);
    let _ = writeln!(text, "Beware: {}", entry.pitfalls);
    for (label, note) in [("Proxy", &entry.proxy), ("Deviation", &entry.deviation)] {
        if let Some(note) = note {
            let _ = writeln!(text, "{label}: {note}");
        }
    }
    let _ = writeln!(text, "Source: {}; {source}", entry.citation);
    let _ = writeln!(text, "Conventions: {}", entry.profile.name);
    let fields: Vec<&str> = entry.needs.fields.iter().map(String::as_str).collect();
    let _ = writeln!(text, "Reads: {}\n", fields.join(", "));
    let _ = writeln!(text, "{}", language::tree(&entry.expression));
    let mut data = described(entry);
    if !entry.needs.series
        && let Ok(panel) = sample.recent(global)
        && let Ok((lane, values)) = values(&entry.id, &entry.expression, entry.profile, &panel)
    {
        let known: Vec<f64> = values
            .iter()
            .copied()
            .filter(|value| !value.is_nan())
            .collect();
        let _ = write!(
            text,
            "\non {} ({}), the last bars:\n{}",
            panel.instruments()[lane],
            panel.timeframe(),
            sketch(&values)
        );
        data["sample"] = json!({
            "instrument": panel.instruments()[lane],
            "timeframe": panel.timeframe(),
            "known": known.len(),
            "of": values.len(),
            "last": values.last().filter(|value| !value.is_nan()),
        });
    }
    Printed::new(data, text.trim_end().to_owned())
}

/// Returns the values of the first instrument.
fn values(
    name: &str,
    expression: &Expression,
    profile: Profile,
    panel: &Panel,
) -> anyhow::Result<(usize, Vec<f64>)> {
    let request = Request {
        name,
        expression,
        profile,
    };
    let plan = Plan::new(&[request], panel)?;
    let mut values = Vec::with_capacity(panel.rows());
    let lanes = panel.lanes();
    Evaluator::new(&plan, panel).advance(panel, |_, _, block| {
        values.extend(block.chunks_exact(lanes).map(|row| row[0]));
    });
    Ok((0, values))
}

/// Draws the last values in eight rows of characters, with the range beside them.
fn sketch(values: &[f64]) -> String {
    const WIDTH: usize = 72;
    const HEIGHT: usize = 8;
    let last = &values[values.len().saturating_sub(WIDTH)..];
    let known = || last.iter().copied().filter(|value| !value.is_nan());
    let (low, high) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    if low > high {
        return "no known value\n".to_owned();
    }
    let level = |value: f64| {
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        (share * (HEIGHT - 1) as f64).round() as usize
    };
    let mut out = String::new();
    for row in (0..HEIGHT).rev() {
        let line: String = last
            .iter()
            .map(|value| {
                if !value.is_nan() && level(*value) == row {
                    '•'
                } else {
                    ' '
                }
            })
            .collect();
        let label = match row {
            0 => format!("{low:.6}"),
            row if row == HEIGHT - 1 => format!("{high:.6}"),
            _ => String::new(),
        };
        let _ = writeln!(out, "  {line:WIDTH$}  {label}");
    }
    out
}

fn eval(wanted: &Wanted, rows: usize, panel: &Panel) -> anyhow::Result<Printed> {
    if wanted.is_series {
        return eval_series(wanted, panel);
    }
    let request = Request {
        name: &wanted.name,
        expression: &wanted.expression,
        profile: wanted.profile,
    };
    let plan = Plan::new(&[request], panel)?;
    let first = panel.rows().saturating_sub(rows);
    let (lanes, instruments) = (panel.lanes(), panel.instruments());
    let mut printed: Vec<(i64, Vec<f64>)> = Vec::new();
    let mut unknown = 0;
    let mut evaluator = Evaluator::new(&plan, panel);
    evaluator.advance(panel, |_, start, block| {
        for (row, values) in block.chunks_exact(lanes).enumerate() {
            let values = &values[..instruments.len()];
            if start + row >= plan.warm_up(0) {
                unknown += values.iter().filter(|value| value.is_nan()).count();
            }
            if start + row >= first {
                printed.push((panel.open_time()[start + row], values.to_vec()));
            }
        }
    });
    let mut text = format!("{:20}", "open time");
    for name in instruments {
        let _ = write!(text, " {name:>14}");
    }
    text.push('\n');
    for (time, values) in &printed {
        let _ = write!(text, "{:20}", Timestamp(*time).to_string());
        for value in values {
            let _ = if value.is_nan() {
                write!(text, " {:>14}", "-")
            } else {
                write!(text, " {value:>14.6}")
            };
        }
        text.push('\n');
    }
    let _ = write!(
        text,
        "warm-up {} bars; {unknown} values unknown after it, of {} bars",
        plan.warm_up(0),
        panel.rows()
    );
    let data = json!({
        "formula": wanted.expression.to_string(),
        "profile": wanted.profile.name,
        "instruments": instruments,
        "warm_up_bars": plan.warm_up(0),
        "unknown": unknown,
        "rows": printed.iter().map(|(time, values)| {
            let values: Vec<Option<f64>> =
                values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect();
            json!({ "open_time": Timestamp(*time), "values": values })
        }).collect::<Vec<_>>(),
    });
    Ok(Printed::new(data, text))
}

/// Evaluates a formula over the whole return series of each instrument; the
/// benchmark is the mean return of all.
fn eval_series(wanted: &Wanted, panel: &Panel) -> anyhow::Result<Printed> {
    let close = panel.column("close").unwrap_or(&[]);
    let (lanes, instruments) = (panel.lanes(), panel.instruments());
    let returns =
        |row: usize, lane: usize| close[row * lanes + lane] / close[(row - 1) * lanes + lane] - 1.0;
    let mut text = String::new();
    let mut values = Vec::new();
    for (lane, name) in instruments.iter().enumerate() {
        let rows: Vec<usize> = (1..panel.rows())
            .filter(|&row| returns(row, lane).is_finite())
            .collect();
        let series: Vec<f64> = rows.iter().map(|&row| returns(row, lane)).collect();
        let benchmark: Vec<f64> = rows
            .iter()
            .map(|&row| {
                let known = (0..instruments.len()).map(|lane| returns(row, lane));
                let known: Vec<f64> = known.filter(|value| value.is_finite()).collect();
                known.iter().sum::<f64>() / known.len() as f64
            })
            .collect();
        let inputs = SeriesInputs {
            r: &series,
            benchmark: Some(&benchmark),
        };
        let value = evaluate_series(&wanted.expression, &wanted.profile, &inputs)?;
        let _ = writeln!(
            text,
            "{name:16} {value:.6}  ({} returns of {})",
            series.len(),
            panel.timeframe()
        );
        values.push(json!({
            "instrument": name,
            "value": value.is_finite().then_some(value),
            "returns": series.len(),
        }));
    }
    let data = json!({ "formula": wanted.expression.to_string(), "values": values });
    Ok(Printed::new(data, text.trim_end().to_owned()))
}

fn explain(expression: &Expression) -> Printed {
    let steps = language::explain(expression);
    let mut text = format!("{expression}\n\n");
    for (index, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", index + 1, step.sentence);
    }
    let _ = write!(text, "\n{}", language::tree(expression));
    let sentences: Vec<&str> = steps.iter().map(|step| step.sentence.as_str()).collect();
    let data = json!({ "formula": expression.to_string(), "steps": sentences });
    Printed::new(data, text.trim_end().to_owned())
}

fn count(all: &Catalogue, examples: Option<&Path>) -> anyhow::Result<Printed> {
    let counts = all.counts();
    let mut text = format!(
        "{} formulas by expression, {} by structure (constants left out)\n",
        counts.expressions, counts.structures
    );
    let mut families = serde_json::Map::new();
    for (family, counts) in all.by_family() {
        let _ = writeln!(
            text,
            "{:16} {:5} {:5}  {}",
            family.id, counts.expressions, counts.structures, family.title
        );
        families.insert(
            family.id.clone(),
            json!({ "expressions": counts.expressions, "structures": counts.structures }),
        );
    }
    let knowledge = match examples {
        None => None,
        Some(path) => {
            let found = verify_file(all, path)?;
            let _ = writeln!(
                text,
                "{} knowledge examples in {}",
                found.examples,
                path.display()
            );
            Some(found.examples)
        }
    };
    let data = json!({
        "expressions": counts.expressions,
        "structures": counts.structures,
        "by_family": families,
        "knowledge_examples": knowledge,
    });
    Ok(Printed::new(data, text.trim_end().to_owned()))
}

fn examples(all: &Catalogue, out: &Path, seed: u64, panel: &Panel) -> anyhow::Result<Printed> {
    files::check_directory(out)?;
    let settings = KnowledgeSettings {
        seed,
        ..KnowledgeSettings::default()
    };
    let mut progress = Progress::start("formula examples", "formulas", None);
    let mut report = |done: usize, of: usize| -> ControlFlow<()> {
        progress.set_total(of as u64);
        progress.set(done as u64);
        interrupt::flow()
    };
    let made = knowledge::examples(all, panel, &settings, &mut report);
    interrupt::check()?;
    let (examples, removed) = made?;
    progress.finish();
    let sheet = knowledge::write(out, &examples, removed, settings, panel)?;
    let mut text = format!(
        "{} examples about {} formulas\n",
        sheet.examples, sheet.formulas
    );
    for (kind, count) in &sheet.by_kind {
        let name = serde_json::to_value(kind)?;
        let _ = writeln!(text, "  {:16} {count}", name.as_str().unwrap_or_default());
    }
    let _ = writeln!(
        text,
        "{} near-duplicates of {} taken out ({})",
        sheet.removed.examples, sheet.removed.of, sheet.removed.measure
    );
    let _ = write!(text, "written to {}", out.join(knowledge::FILE).display());
    Ok(Printed::new(serde_json::to_value(&sheet)?, text))
}

fn verify_file(all: &Catalogue, path: &Path) -> anyhow::Result<knowledge::Verification> {
    let file = File::open(path).map_err(|error| files::fail("read", path, error))?;
    knowledge::verify(BufReader::new(file), all).map_err(|error| files::fail("read", path, error))
}

fn verify(all: &Catalogue, path: &Path) -> anyhow::Result<Printed> {
    let found = verify_file(all, path)?;
    let mut text = format!(
        "{} examples, {} computations done again",
        found.examples, found.computations
    );
    for fault in &found.faults {
        let _ = write!(text, "\n{fault}");
    }
    let stop = (!found.faults.is_empty()).then(|| {
        let faults = output::counted(found.faults.len(), "fault");
        let message = format!("`{}` has {faults}", path.display());
        Stop::new(Exit::Data, message).hint("make it again with `foretune formulas examples`")
    });
    Ok(Printed {
        data: serde_json::to_value(&found)?,
        text,
        stop,
    })
}
