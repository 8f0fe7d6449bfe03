//! Our own data sets: examples rendered again through the functions that built them, and built from
//! null worlds.

use std::ops::ControlFlow;

use market::{Bars, Surroundings};

use super::null::Pipeline;
use super::record::AuditRecord;
use super::report::AuditReport;
use super::rerender::{Change, Future, Rendered, Rerender, changed_bars};
use super::run::{Subject, audit};
use super::settings::{AuditSettings, Progress};
use crate::facts::{facts, shown};
use crate::labels::Outcome;
use crate::{Dataset, DatasetError, DatasetSettings, Series, Templates, build, render_prompt};

/// Audits a data set against the bars and readings it was built from.
///
/// # Errors
/// As [`audit`]; [`DatasetError::AuditBars`] if bars of an instrument are missing.
pub fn run(
    dataset: &Dataset,
    bars: &[Bars],
    sentiment: Option<&Surroundings>,
    settings: &AuditSettings,
    progress: Progress<'_>,
) -> Result<AuditReport, DatasetError> {
    let source = Source {
        settings: &dataset.settings,
        templates: &dataset.templates,
        bars,
        sentiment,
    };
    for instrument in dataset.datasheet.instruments.keys() {
        if !bars.iter().any(|bars| bars.instrument == *instrument) {
            return Err(DatasetError::AuditBars {
                instrument: instrument.to_string(),
                reason: "there are none".to_owned(),
            });
        }
    }
    let records = AuditRecord::of_dataset(dataset);
    let subject = Subject {
        horizon: Some(dataset.settings.horizon()),
        rerender: Some(&source),
        pipeline: Some(&source),
        ..Subject::of_records("data set", &records)
    };
    audit(&subject, settings, progress)
}

/// Returns bars cut to the period that a data set was built from, checked against its digest.
///
/// # Errors
/// [`DatasetError::AuditBars`] for bars the data set was not built from.
pub fn bars_of(dataset: &Dataset, bars: Vec<Bars>) -> Result<Vec<Bars>, DatasetError> {
    let mut fitting = Vec::new();
    for bars in bars {
        let Some(sheet) = dataset.datasheet.instruments.get(&bars.instrument) else {
            continue;
        };
        let from = bars.open_time.partition_point(|&open| open < sheet.first.0);
        let to = bars
            .open_time
            .partition_point(|&open| bars.timeframe.next(open) <= sheet.last.0);
        let bars = bars.slice(from.min(to)..to);
        let found = build::bars_sha256(&bars);
        if found != sheet.bars_sha256 {
            return Err(DatasetError::AuditBars {
                instrument: bars.instrument.to_string(),
                reason: format!(
                    "{} bars between {} and {} have sha256 {found}, expected {} with {}: they are \
                     not those the data set was built from",
                    bars.len(),
                    sheet.first,
                    sheet.last,
                    sheet.rows,
                    sheet.bars_sha256
                ),
            });
        }
        fitting.push(bars);
    }
    Ok(fitting)
}

/// What a data set is made of.
struct Source<'a> {
    settings: &'a DatasetSettings,
    templates: &'a Templates,
    bars: &'a [Bars],
    sentiment: Option<&'a Surroundings>,
}

impl Rerender for Source<'_> {
    fn rerender(
        &self,
        records: &[&AuditRecord],
        change: &Change,
    ) -> Result<Vec<Option<Rendered>>, DatasetError> {
        let Some(record) = records.first() else {
            return Ok(Vec::new());
        };
        let of_record =
            |bars: &&Bars| Some(bars.instrument.as_str()) == record.instrument.as_deref();
        let Some(bars) = self.bars.iter().find(of_record) else {
            return Ok(vec![None; records.len()]);
        };
        let bars = changed_bars(bars, change);
        let sentiment = self
            .sentiment
            .map(|readings| self.changed(readings, change));
        let series = Series::new(&bars, sentiment.as_ref(), self.settings)?;
        records
            .iter()
            .map(|record| self.one(&series, &bars, record))
            .collect()
    }
}

impl Source<'_> {
    fn changed(&self, readings: &Surroundings, change: &Change) -> Surroundings {
        let lags = self.settings.lags();
        match change.future {
            Future::Cut => readings.known_by(change.after.0, lags),
            _ => readings.mirrored_after(change.after.0, lags),
        }
    }

    fn one(
        &self,
        series: &Series<'_>,
        bars: &Bars,
        record: &AuditRecord,
    ) -> Result<Option<Rendered>, DatasetError> {
        let time = record.decision_time.0;
        let row = bars
            .open_time
            .partition_point(|&open| bars.timeframe.next(open) < time);
        if row >= bars.len() || bars.close_time(row) != time {
            return Ok(None);
        }
        let Some(view) = series.view(row) else {
            return Ok(None);
        };
        let prompt = match render_prompt(&view, self.templates, self.settings) {
            Ok(prompt) => prompt,
            // A poisoned value that is shown cannot be rendered: a finding, not an error.
            Err(DatasetError::BadFact { .. } | DatasetError::NotYetKnown { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let facts = shown(facts(&view, self.settings), &prompt);
        let label = |outcome: &Outcome| outcome.label.to_string();
        Ok(Some(Rendered {
            features: view.features(),
            facts,
            prompt,
            label: series.outcomes().rows[row].as_ref().ok().map(label),
        }))
    }
}

impl Pipeline for Source<'_> {
    fn bars(&self) -> &[Bars] {
        self.bars
    }

    fn spacing(&self) -> i64 {
        i64::from(self.stride()) * self.settings.base_timeframe().milliseconds()
    }

    fn walk_tells_nothing(&self) -> bool {
        self.settings.label.window_bars().is_none()
    }

    fn records(&self, bars: &[Bars]) -> Result<Vec<AuditRecord>, DatasetError> {
        let settings = DatasetSettings {
            decision_stride_bars: self.stride(),
            ..self.settings.clone()
        };
        let dataset = build::with_templates(
            &settings,
            self.templates.clone(),
            bars,
            self.sentiment,
            &mut |_| ControlFlow::Continue(()),
        )?;
        Ok(AuditRecord::of_dataset(&dataset))
    }
}

impl Source<'_> {
    /// The least multiple of the data set's stride that is a horizon or more, bars.
    fn stride(&self) -> u32 {
        let stride = self.settings.decision_stride_bars;
        let horizon = self.settings.horizon_bars() as u32;
        stride * horizon.div_ceil(stride)
    }
}
