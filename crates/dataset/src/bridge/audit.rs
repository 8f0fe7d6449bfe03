//! The leak audit of a bridge: its lines as records, and its prompts rendered again from tables
//! whose future is cut, poisoned or turned upside down.
//!
//! The history of certainty and the ensemble stay as they were made: that they use matured
//! outcomes and out-of-fold models alone is shown by their stamps (check 5) and by tests of their
//! own ([`super::pool`], [`crate::ensemble`]).

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::past::Past;
use super::record::About;
use super::table::Table;
use super::{Bridge, BridgeExample, Kind};
use crate::DatasetError;
use crate::audit::{
    self, AuditRecord, AuditReport, AuditSettings, Change, ClaimRule, Future, Place, Progress,
    Rendered, Rerender, Subject,
};

impl Bridge {
    /// Audits every line of the bridge.
    ///
    /// # Errors
    /// As [`audit::audit`].
    pub fn audit(
        &self,
        settings: &AuditSettings,
        progress: Progress<'_>,
    ) -> Result<AuditReport, DatasetError> {
        let records = self.audit_records();
        audit::audit(&self.subject(&records), settings, progress)
    }

    /// Returns what [`audit::audit`] needs to audit `records` of this bridge.
    pub fn subject<'a>(&'a self, records: &'a [AuditRecord]) -> Subject<'a> {
        Subject {
            rerender: Some(self),
            null_worlds: Some(self),
            ..Subject::of_records("bridge", records)
        }
    }

    /// Returns every line of the bridge as the audit sees it.
    pub fn audit_records(&self) -> Vec<AuditRecord> {
        let mut records = Vec::new();
        for kind in Kind::ALL {
            for (row, example) in self.examples.get(&kind).into_iter().flatten().enumerate() {
                records.push(of_example(example, kind.file(), row + 1));
            }
        }
        for (row, pair) in self.pairs.iter().enumerate() {
            let mut record = of_about(&pair.about, Kind::Preference.file(), row + 1);
            record.prompt.clone_from(&pair.prompt);
            record.answers = vec![pair.chosen.clone(), pair.rejected.clone()];
            records.push(record);
        }
        let parts = ["validation.jsonl", "test.jsonl"];
        for (file, examples) in parts.into_iter().zip(&self.held_out) {
            for (row, example) in examples.iter().enumerate() {
                records.push(of_example(example, file, row + 1));
            }
        }
        records
    }
}

fn of_example(example: &BridgeExample, file: &str, line: usize) -> AuditRecord {
    let content = |index: usize| {
        let message = example.messages.get(index);
        message.map_or_else(String::new, |message| message.content.clone())
    };
    AuditRecord {
        prompt: content(0),
        answers: vec![content(1)],
        ..of_about(&example.about, file, line)
    }
}

fn of_about(about: &About, file: &str, line: usize) -> AuditRecord {
    // The user's own columns are declared out-of-fold; there is no stamp to check.
    let upstream = (about.upstream.kind == "ensemble").then(|| audit::Upstream {
        kind: about.upstream.kind.clone(),
        trained_through: about.upstream.trained_through,
        fold: about.upstream.fold,
    });
    AuditRecord {
        place: Place {
            file: file.to_owned(),
            line,
        },
        id: about.id.clone(),
        instrument: Some(about.instrument.to_string()),
        decision_time: about.decision_time,
        span: Some(about.span),
        split: Some(about.split),
        // One question for the probe: whether signals pay. Readings ask another one.
        label: about.label.clone().filter(|_| about.kind != Kind::Reading),
        outcome_return: Some(about.outcome_return),
        features: BTreeMap::new(),
        facts: about.facts.clone(),
        upstream: upstream.into_iter().collect(),
        claims: ClaimRule::Facts,
        ..AuditRecord::default()
    }
}

impl Rerender for Bridge {
    fn rerender(
        &self,
        records: &[&AuditRecord],
        change: &Change,
    ) -> Result<Vec<Option<Rendered>>, DatasetError> {
        let work = self.inputs.work();
        let mut made = Vec::with_capacity(records.len());
        let mut changed: Option<(usize, Table)> = None;
        for record in records {
            let name = record.instrument.as_deref().unwrap_or_default();
            let tables = &self.inputs.tables;
            let Some(pair) = tables.iter().position(|t| t.instrument.as_str() == name) else {
                made.push(None);
                continue;
            };
            let table = match changed.take() {
                Some((of, table)) if of == pair => table,
                _ => tables[pair].changed(change),
            };
            let row = table.decided.binary_search(&record.decision_time.0).ok();
            let signal = row.and_then(|row| self.inputs.signals[pair][row]);
            let again = match (row, signal) {
                (Some(row), Some(signal)) => {
                    let past = Past::new(&table);
                    let kind = kind_of(&record.id);
                    work.ask(&table, &past, row, signal, kind, &record.id)?
                }
                _ => None,
            };
            made.push(again.map(|asked| Rendered {
                prompt: asked.prompt,
                features: BTreeMap::new(),
                facts: asked.facts,
                label: asked.label.filter(|_| kind_of(&record.id) != Kind::Reading),
            }));
            changed = Some((pair, table));
        }
        Ok(made)
    }
}

/// Returns the kind that an id ends with.
fn kind_of(id: &str) -> Kind {
    let name = id.rsplit_once('#').map_or("", |(_, name)| name);
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .unwrap_or(Kind::Scenario)
}

impl Table {
    /// Returns a copy in which rows decided after an instant are changed, and so are outcomes that
    /// end after it.
    fn changed(&self, change: &Change) -> Self {
        let kept = self
            .decided
            .partition_point(|decided| *decided <= change.after.0);
        let mut table = self.clone();
        let mut random = ChaCha8Rng::seed_from_u64(change.seed);
        let mut other = |value: f32| match change.future {
            Future::Cut | Future::Nan => f32::NAN,
            Future::Thousandfold => value * 1000.0,
            Future::Noise => value * (random.random::<f32>() * 4.0 - 2.0),
            Future::Mirrored => -value,
        };
        for column in &mut table.shown {
            for value in &mut column[kept..] {
                *value = other(*value);
            }
        }
        for (outcome, end) in table.outcomes.iter_mut().zip(&table.ends) {
            if end.is_none_or(|end| end > change.after.0) {
                *outcome = other(*outcome);
            }
        }
        if change.future == Future::Cut {
            table.truncate(kept);
        }
        table
    }
}
