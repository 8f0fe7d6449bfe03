//! The datasheet: what a data set holds, what was left out and why, for people and machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};
use stats::split::TimeSplit;
use stats::uniqueness::effective_n;

use crate::{Decision, Example, LabelRule, Split};

/// The version of [`Datasheet`] and [`crate::Manifest`].
pub const SCHEMA: u32 = 1;

/// Examples of each class.
pub type ClassCounts = BTreeMap<Decision, usize>;

/// What a data set holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datasheet {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The horizon of the labels, hours.
    pub horizon_hours: u32,
    /// How returns became labels.
    pub label: LabelRule,
    /// A decision every so many bars.
    pub decision_stride_bars: u32,
    /// The seed of the choice of examples and templates.
    pub seed: u64,
    /// Examples by part and in all.
    pub counts: Counts,
    /// The parts.
    pub splits: BTreeMap<Split, SplitSheet>,
    /// The instants at which the parts are cut, the same for all instruments.
    pub boundaries: Boundaries,
    /// How the training part was balanced.
    pub balance: BalanceSheet,
    /// The inputs and what became of their rows.
    pub instruments: BTreeMap<Instrument, InstrumentSheet>,
    /// What a reader should know before relying on it.
    pub warnings: Vec<String>,
    /// The files of a written data set by name; empty before it is written.
    pub files: BTreeMap<String, FileSheet>,
    /// What the leak audit said: counts of its checks, or `skipped`. None for data sets of versions
    /// that did not audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
}

/// Examples by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// In the training part.
    pub train: usize,
    /// In the validation part.
    pub validation: usize,
    /// In the test part.
    pub test: usize,
    /// In all three.
    pub total: usize,
}

/// One part of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSheet {
    /// The number of examples.
    pub n: usize,
    /// The effective number: the sum of the uniqueness weights. Overlapping examples share news.
    pub effective_n: f64,
    /// Examples of each class.
    pub classes: ClassCounts,
    /// Examples of each class by instrument.
    pub by_instrument: BTreeMap<Instrument, ClassCounts>,
    /// The first decision time.
    pub first_decision: Timestamp,
    /// The last end of a horizon.
    pub last_outcome: Timestamp,
    /// Examples whose prompt shows a Fear & Greed reading.
    pub fear_greed_known: usize,
}

/// The instants at which the parts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boundaries {
    /// Training spans end by then.
    pub train_end: Timestamp,
    /// Validation spans start from then on.
    pub validation_start: Timestamp,
    /// Validation spans end by then.
    pub validation_end: Timestamp,
    /// Test spans start from then on.
    pub test_start: Timestamp,
}

impl From<TimeSplit> for Boundaries {
    fn from(split: TimeSplit) -> Self {
        Self {
            train_end: Timestamp(split.train_end),
            validation_start: Timestamp(split.validation_start),
            validation_end: Timestamp(split.validation_end),
            test_start: Timestamp(split.test_start),
        }
    }
}

/// How the training part was balanced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSheet {
    /// Training examples of each class that the settings ask for.
    pub wanted_per_class: usize,
    /// Training examples of each class before balancing.
    pub available: ClassCounts,
    /// Training examples of each class after it.
    pub used_per_class: usize,
}

/// One input and what became of its rows. `rows` is the sum of the counts below it up to `used`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSheet {
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// The open time of the first bar.
    pub first: Timestamp,
    /// The close time of the last bar.
    pub last: Timestamp,
    /// SHA-256 of the bars' values.
    pub bars_sha256: String,
    /// Holes in the bars.
    pub gaps: usize,
    /// Bars missing in them.
    pub missing_bars: usize,
    /// All rows.
    pub rows: usize,
    /// Rows at which no decision is made.
    pub off_stride: usize,
    /// Rows without an indicator or a matured horizon yet.
    pub warm_up: usize,
    /// Rows whose horizon crosses a gap.
    pub unlabelled_gap: usize,
    /// Rows whose horizon reaches beyond the data.
    pub unlabelled_tail: usize,
    /// Labelled rows whose span crosses a boundary.
    pub purged: usize,
    /// Labelled rows too soon after a boundary.
    pub embargoed: usize,
    /// Training rows not chosen by balancing.
    pub balanced_away: usize,
    /// Rows that became examples.
    pub used: usize,
}

/// One file of a written data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSheet {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its lines.
    pub lines: usize,
    /// Its SHA-256.
    pub sha256: String,
}

/// Returns the sheet of one part.
pub(crate) fn split_sheet(examples: &[Example]) -> Option<SplitSheet> {
    let none = || -> ClassCounts { Decision::ALL.into_iter().map(|class| (class, 0)).collect() };
    let weights: Vec<f64> = examples.iter().map(|example| example.weight).collect();
    let mut sheet = SplitSheet {
        n: examples.len(),
        effective_n: effective_n(&weights),
        classes: none(),
        by_instrument: BTreeMap::new(),
        first_decision: examples.iter().map(|example| example.span.0).min()?,
        last_outcome: examples.iter().map(|example| example.span.1).max()?,
        fear_greed_known: 0,
    };
    for example in examples {
        *sheet.classes.entry(example.label).or_default() += 1;
        let of_instrument = sheet
            .by_instrument
            .entry(example.instrument.clone())
            .or_insert_with(none);
        *of_instrument.entry(example.label).or_default() += 1;
        let known = example.features.get("fear_greed_known") == Some(&1.0);
        sheet.fear_greed_known += usize::from(known);
    }
    Some(sheet)
}

impl Datasheet {
    /// Returns the sheet as a Markdown page.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut page);
        page
    }

    fn write_markdown(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "# Datasheet\n")?;
        writeln!(page, "{}\n", self.rule())?;
        writeln!(
            page,
            "| part | N | effective N | BUY | SELL | HOLD | first decision | last outcome |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"
        )?;
        for (split, sheet) in &self.splits {
            writeln!(
                page,
                "| {split} | {} | {:.1} | {} | {} | {} | {} | {} |",
                sheet.n,
                sheet.effective_n,
                count(&sheet.classes, Decision::Buy),
                count(&sheet.classes, Decision::Sell),
                count(&sheet.classes, Decision::Hold),
                sheet.first_decision,
                sheet.last_outcome
            )?;
        }
        writeln!(
            page,
            "\nEffective N counts overlapping examples once: the sum over examples of the share of \
             their span that is their own. The training part is balanced, {} of each class out of \
             {} BUY, {} SELL and {} HOLD ({} were asked for); the others keep their natural mix.\n",
            self.balance.used_per_class,
            count(&self.balance.available, Decision::Buy),
            count(&self.balance.available, Decision::Sell),
            count(&self.balance.available, Decision::Hold),
            self.balance.wanted_per_class,
        )?;
        let cut = &self.boundaries;
        writeln!(
            page,
            "Cut at the same instants for all instruments: training spans end by {}, validation \
             spans lie within {} and {}, test spans start from {}.\n",
            cut.train_end, cut.validation_start, cut.validation_end, cut.test_start
        )?;
        writeln!(page, "## What became of the rows\n")?;
        writeln!(
            page,
            "| instrument | rows | off stride | warm-up | gap in horizon | no outcome yet | purged \
             | embargoed | balanced away | used | gaps | missing bars |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        for (instrument, sheet) in &self.instruments {
            writeln!(
                page,
                "| {instrument} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                sheet.timeframe,
                sheet.rows,
                sheet.off_stride,
                sheet.warm_up,
                sheet.unlabelled_gap,
                sheet.unlabelled_tail,
                sheet.purged,
                sheet.embargoed,
                sheet.balanced_away,
                sheet.used,
                sheet.gaps,
                sheet.missing_bars
            )?;
        }
        if let Some(audit) = &self.audit {
            writeln!(page, "\n## Leak audit\n\naudit: {audit}")?;
        }
        writeln!(page, "\n## Warnings\n")?;
        if self.warnings.is_empty() {
            writeln!(page, "None.")?;
        }
        for warning in &self.warnings {
            writeln!(page, "- {warning}")?;
        }
        writeln!(page, "\n## Digests (SHA-256)\n")?;
        for (instrument, sheet) in &self.instruments {
            writeln!(
                page,
                "- bars of {instrument}, {} to {}: `{}`",
                sheet.first, sheet.last, sheet.bars_sha256
            )?;
        }
        for (name, file) in &self.files {
            writeln!(page, "- {name}, {} lines: `{}`", file.lines, file.sha256)?;
        }
        Ok(())
    }

    fn rule(&self) -> String {
        let rule = self.label.words(self.horizon_hours);
        format!(
            "{rule}. A decision every {} bar(s), seed {}.",
            self.decision_stride_bars, self.seed
        )
    }
}

fn count(classes: &ClassCounts, class: Decision) -> usize {
    classes.get(&class).copied().unwrap_or(0)
}
