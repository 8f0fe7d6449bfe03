//! The bridge in a world in which nothing can be known, for check 6 of the audit.
//!
//! Features and signals stay as they are. Outcomes are cut into pieces of one horizon, the pieces
//! of each pair are put in another order, and each gets a side by a coin. What follows a decision
//! then has nothing to do with anything before it, and everything that the bridge makes of outcomes
//! is made again: past cases, leans, typical moves, the history of certainty. Prompts that tell such
//! an outcome know it from after the decision.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::build::{Work, candidates, sampled};
use super::past::Past;
use super::pool::{History, Sampled};
use super::table::Table;
use super::{Bridge, Kind};
use crate::audit::{AuditRecord, AuditSettings, NullWorlds, Place};
use crate::{DatasetError, seed};

/// The name of the world.
const NAME: &str = "world of shuffled outcomes";

impl NullWorlds for Bridge {
    fn names(&self) -> Vec<&'static str> {
        vec![NAME]
    }

    fn spacing(&self) -> i64 {
        let bars = i64::try_from(self.settings.horizon_bars).unwrap_or(i64::MAX);
        self.inputs
            .source
            .timeframe
            .milliseconds()
            .saturating_mul(bars)
    }

    /// Pieces are in no order, so how large a move will be is not known either.
    fn tells_nothing(&self, _world: usize) -> bool {
        true
    }

    fn draw(
        &self,
        _world: usize,
        settings: &AuditSettings,
        seed: u64,
    ) -> Result<Vec<AuditRecord>, DatasetError> {
        let inputs = &self.inputs;
        let horizon = self.settings.horizon_bars;
        let tables: Vec<Table> = inputs
            .tables
            .par_iter()
            .map(|table| shuffled(table, horizon, seed))
            .collect();
        let sample: Vec<Vec<Sampled>> = tables
            .par_iter()
            .enumerate()
            .map(|(pair, table)| {
                let place = (pair, tables.len());
                sampled(place, table, &inputs.signals[pair], &self.settings)
            })
            .collect();
        let history = History::new(sample.into_iter().flatten().collect())?;
        let work = inputs.work_with(&history);
        // As many as a probe learns from and is scored on.
        let most = (2 * settings.probe_rows).div_ceil(tables.len().max(1));
        let made: Vec<Result<Vec<AuditRecord>, DatasetError>> = tables
            .par_iter()
            .enumerate()
            .map(|(pair, table)| self.asked(&work, &history, (pair, table), most))
            .collect();
        let mut records = Vec::new();
        for pair in made {
            records.extend(pair?);
        }
        records.sort_by_key(|record| record.decision_time);
        Ok(records)
    }
}

impl Bridge {
    /// Asks about decisions of a pair that are a horizon apart and begin a piece, at most `most`.
    fn asked(
        &self,
        work: &Work<'_>,
        history: &History,
        (pair, table): (usize, &Table),
        most: usize,
    ) -> Result<Vec<AuditRecord>, DatasetError> {
        let signals = &self.inputs.signals[pair];
        let start = history.start();
        let mut rows = candidates(table, signals, 0..table.decided.len(), &self.settings);
        rows.retain(|row| {
            row.is_multiple_of(self.settings.horizon_bars)
                && start.is_some_and(|start| table.decided[*row] >= start)
        });
        let past = Past::new(table);
        let mut records = Vec::new();
        let step = rows.len().div_ceil(most.max(1)).max(1);
        for row in rows.into_iter().step_by(step) {
            let Some(signal) = signals[row] else {
                continue;
            };
            let id = format!("{}#{}", table.instrument, table.decided[row]);
            // Without the p-value, which is made of the same cases as the win rate shown.
            let asked = work.ask_without_p(table, &past, row, signal, &id)?;
            if let (Some(asked), Some(end)) = (asked, table.ends[row]) {
                let decided = market::Timestamp(table.decided[row]);
                records.push(AuditRecord {
                    place: Place {
                        file: Kind::Scenario.file().to_owned(),
                        line: row + 1,
                    },
                    id,
                    instrument: Some(table.instrument.to_string()),
                    decision_time: decided,
                    span: Some((decided, market::Timestamp(end))),
                    label: asked.label,
                    prompt: asked.prompt,
                    facts: asked.facts,
                    ..AuditRecord::default()
                });
            }
        }
        Ok(records)
    }
}

/// Returns a table whose outcomes are in another order, piece by piece, each with a side by a coin.
/// What does not fill a last piece has none.
fn shuffled(table: &Table, horizon: usize, seed: u64) -> Table {
    let mut random = ChaCha8Rng::seed_from_u64(seed::hash(seed, "null", table.instrument.as_str()));
    let mut order: Vec<usize> = (0..table.outcomes.len() / horizon).collect();
    order.shuffle(&mut random);
    let mut outcomes = vec![f32::NAN; table.outcomes.len()];
    for (place, from) in order.into_iter().enumerate() {
        let side = if random.random::<bool>() { 1.0 } else { -1.0 };
        let piece = &table.outcomes[from * horizon..(from + 1) * horizon];
        let to = &mut outcomes[place * horizon..(place + 1) * horizon];
        for (to, from) in to.iter_mut().zip(piece) {
            *to = side * from;
        }
    }
    let mut null = table.clone();
    null.outcomes = outcomes;
    null.mature();
    null
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::past::tests::table;

    #[test]
    fn pieces_are_all_there_in_another_order() {
        let whole = table(605, 10);
        let null = shuffled(&whole, 10, 7);
        let bits = |table: &Table| -> Vec<u32> {
            table.outcomes.iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&shuffled(&whole, 10, 7)), bits(&null));
        let sorted = |table: &Table| {
            let finite = table.outcomes.iter().filter(|v| v.is_finite());
            let mut sizes: Vec<f32> = finite.map(|v| v.abs()).collect();
            sizes.sort_by(f32::total_cmp);
            sizes
        };
        let (before, after) = (sorted(&whole), sorted(&null));
        // The rows without an outcome, at the end of the table, moved with their piece, and what
        // took their place lost its own.
        assert!(after.len() + 20 >= before.len());
        assert!(
            after
                .iter()
                .all(|size| before.binary_search_by(|b| b.total_cmp(size)).is_ok())
        );
        let turned = whole.outcomes.iter().zip(&null.outcomes);
        assert!(turned.filter(|(a, b)| a == b).count() < 60);
        assert_eq!(whole.shown, null.shown);
    }
}
