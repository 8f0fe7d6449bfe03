//! What a pair's own past says about a row: percentiles, past correlations and analogues.
//!
//! Everything here looks at rows before the one asked about; what needs an outcome looks at
//! outcomes that had matured by then ([`Table::matured`]). Sums over the past are kept for every
//! row, so that a question costs no pass over history but for ranks and distances.

use super::table::Table;

/// Columns in which analogues are near: the first so many of those shown.
const NEAR_COLUMNS: usize = 6;
/// Outcomes within one horizon of each other overlap; so many nearest rows are looked through for
/// each analogue wanted.
const SEARCHED_PER_ANALOGUE: usize = 20;

/// Sums of one column over the first rows of a table. Values are shifted by the first one, so that
/// a level far from zero costs no digits.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: f64,
    x: f64,
    xx: f64,
    /// Of rows that have an outcome.
    pairs: f64,
    px: f64,
    py: f64,
    pxx: f64,
    pyy: f64,
    pxy: f64,
}

/// The past of one table.
#[derive(Debug)]
pub(crate) struct Past<'a> {
    table: &'a Table,
    /// By column: sums over the first `row` rows, one entry more than rows.
    sums: Vec<Vec<Sums>>,
    /// Sums of outcomes and their squares over the first rows, and their number.
    outcomes: Vec<[f64; 3]>,
}

/// Past cases like the present one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Analogues {
    /// Outcomes of the nearest past rows that do not overlap one another, in the order of time, as
    /// relative changes.
    pub(crate) outcomes: Vec<f64>,
    /// Near rows looked through.
    pub(crate) searched: usize,
}

impl<'a> Past<'a> {
    /// Sums up a table.
    pub(crate) fn new(table: &'a Table) -> Self {
        let sums = table
            .shown
            .iter()
            .map(|column| {
                let shift = column
                    .iter()
                    .find(|v| v.is_finite())
                    .copied()
                    .unwrap_or(0.0);
                let mut sum = Sums::default();
                let mut all = Vec::with_capacity(column.len() + 1);
                all.push(sum);
                for (value, outcome) in column.iter().zip(&table.outcomes) {
                    if value.is_finite() {
                        let x = f64::from(value - shift);
                        sum.n += 1.0;
                        sum.x += x;
                        sum.xx += x * x;
                        if outcome.is_finite() {
                            let y = f64::from(*outcome);
                            sum.pairs += 1.0;
                            sum.px += x;
                            sum.py += y;
                            sum.pxx += x * x;
                            sum.pyy += y * y;
                            sum.pxy += x * y;
                        }
                    }
                    all.push(sum);
                }
                all
            })
            .collect();
        let mut outcomes = Vec::with_capacity(table.outcomes.len() + 1);
        let mut sum = [0.0; 3];
        outcomes.push(sum);
        for outcome in &table.outcomes {
            if outcome.is_finite() {
                let y = f64::from(*outcome);
                sum = [sum[0] + 1.0, sum[1] + y, sum[2] + y * y];
            }
            outcomes.push(sum);
        }
        Self {
            table,
            sums,
            outcomes,
        }
    }

    /// Returns a row's value of a column, if it is known.
    pub(crate) fn value(&self, column: usize, row: usize) -> Option<f32> {
        Some(self.table.shown[column][row]).filter(|value| value.is_finite())
    }

    /// Returns where a row's value lies among those of the rows before it, 0 to 1; ties count half.
    /// None where the value is unknown or fewer than `least` came before.
    pub(crate) fn percentile(&self, column: usize, row: usize, least: usize) -> Option<f64> {
        let values = &self.table.shown[column];
        let value = values[row];
        let known = self.sums[column][row].n;
        if !value.is_finite() || known < least as f64 {
            return None;
        }
        let (mut below, mut ties) = (0_u32, 0_u32);
        for earlier in &values[..row] {
            below += u32::from(*earlier < value);
            ties += u32::from(*earlier == value);
        }
        Some((f64::from(below) + 0.5 * f64::from(ties)) / known)
    }

    /// Returns the correlation of a column with the outcome over the rows whose outcome was known
    /// at a row's decision, and the number of those rows. None below 30 rows or without variation.
    pub(crate) fn correlation(&self, column: usize, row: usize) -> Option<(f64, f64)> {
        let sum = self.sums[column][self.table.matured[row]];
        if sum.pairs < 30.0 {
            return None;
        }
        let n = sum.pairs;
        let xx = sum.pxx - sum.px * sum.px / n;
        let yy = sum.pyy - sum.py * sum.py / n;
        let xy = sum.pxy - sum.px * sum.py / n;
        (xx > 0.0 && yy > 0.0).then(|| ((xy / (xx * yy).sqrt()).clamp(-1.0, 1.0), n))
    }

    /// Returns the standard deviation of the outcomes known at a row's decision; none below 30.
    pub(crate) fn typical_move(&self, row: usize) -> Option<f64> {
        let [n, y, yy] = self.outcomes[self.table.matured[row]];
        if n < 30.0 {
            return None;
        }
        let variance = (yy - y * y / n) / (n - 1.0);
        (variance > 0.0).then(|| variance.sqrt())
    }

    /// Returns the nearest past rows whose outcome was known at a row's decision and whose spans do
    /// not overlap one another, nearest first chosen, at most `wanted`.
    pub(crate) fn analogues(&self, row: usize, wanted: usize, horizon: usize) -> Analogues {
        let matured = self.table.matured[row];
        // Distance in units of each column's standard deviation, as known before the row.
        let mut scales: Vec<(usize, f32)> = Vec::with_capacity(NEAR_COLUMNS);
        for column in 0..self.sums.len().min(NEAR_COLUMNS) {
            let sum = self.sums[column][row];
            let variance = (sum.xx - sum.x * sum.x / sum.n.max(1.0)) / (sum.n - 1.0).max(1.0);
            if variance > 0.0 && self.table.shown[column][row].is_finite() {
                scales.push((column, (1.0 / variance.sqrt()) as f32));
            }
        }
        if scales.is_empty() {
            return Analogues {
                outcomes: Vec::new(),
                searched: 0,
            };
        }
        let mut distances = vec![0.0_f32; matured];
        for (column, scale) in &scales {
            let values = &self.table.shown[*column];
            let now = values[row];
            for (distance, value) in distances.iter_mut().zip(values) {
                let difference = (value - now) * scale;
                *distance += difference * difference;
            }
        }
        // Distance and row in one number: distances are not negative, so their bits are in order.
        let mut near: Vec<u64> = distances
            .iter()
            .zip(&self.table.outcomes)
            .enumerate()
            .filter(|(_, (distance, outcome))| distance.is_finite() && outcome.is_finite())
            .map(|(earlier, (distance, _))| u64::from(distance.to_bits()) << 32 | earlier as u64)
            .collect();
        let searched = near.len().min(wanted * SEARCHED_PER_ANALOGUE);
        if searched < near.len() {
            near.select_nth_unstable(searched);
            near.truncate(searched);
        }
        near.sort_unstable();
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        for key in near {
            if chosen.len() == wanted {
                break;
            }
            let earlier = (key & u64::from(u32::MAX)) as usize;
            let place = chosen.partition_point(|other| *other < earlier);
            let apart = |other: Option<&usize>| {
                other.is_none_or(|other| other.abs_diff(earlier) >= horizon)
            };
            let before = place.checked_sub(1).and_then(|place| chosen.get(place));
            if apart(before) && apart(chosen.get(place)) {
                chosen.insert(place, earlier);
            }
        }
        let outcomes = chosen
            .into_iter()
            .map(|earlier| f64::from(self.table.outcomes[earlier]))
            .collect();
        Analogues { outcomes, searched }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use market::Instrument;

    use super::*;

    /// A table of one column of a seeded walk, with outcomes over `horizon` rows.
    pub(crate) fn table(rows: usize, horizon: usize) -> Table {
        let mut state = 9_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let prices: Vec<f32> = (0..rows + horizon)
            .scan(100.0, |price: &mut f32, _| {
                *price *= 1.0 + 0.01 * random();
                Some(*price)
            })
            .collect();
        let decided: Vec<i64> = (0..rows as i64).map(|row| row * 900_000).collect();
        let mut table = Table {
            instrument: Instrument::new("EUR/USD").unwrap(),
            ends: (0..rows)
                .map(|row| decided.get(row + horizon).copied())
                .collect(),
            outcomes: (0..rows)
                .map(|row| prices[row + horizon] / prices[row] - 1.0)
                .collect(),
            shown: vec![
                (0..rows)
                    .map(|row| prices[row] / prices[row.max(5) - 5] - 1.0)
                    .collect(),
            ],
            matured: Vec::new(),
            parts: vec![rows, rows, rows],
            upstream: None,
            infinite: 0,
            decided,
        };
        table.mature();
        table
    }

    #[test]
    fn nothing_after_the_decision_matters() {
        let (rows, horizon) = (600, 10);
        let whole = table(rows, horizon);
        let row = 400;
        let ask = |table: &Table| {
            let past = Past::new(table);
            (
                past.percentile(0, row, 10),
                past.correlation(0, row),
                past.typical_move(row),
                past.analogues(row, 20, horizon),
            )
        };
        let expected = ask(&whole);
        assert!(expected.0.is_some() && expected.1.is_some() && expected.2.is_some());
        assert!(!expected.3.outcomes.is_empty());
        // Another future: values after the row, and outcomes that had not matured.
        let mut other = table(rows, horizon);
        for later in row + 1..rows {
            other.shown[0][later] = 1e6;
        }
        for later in row - horizon + 1..rows {
            other.outcomes[later] = f32::NAN;
        }
        assert_eq!(ask(&other), expected);
        // The last outcome that had matured does matter.
        let mut changed = table(rows, horizon);
        changed.outcomes[row - horizon] += 0.5;
        assert_ne!(ask(&changed).1, expected.1);
    }

    #[test]
    fn a_percentile_is_the_share_below_and_half_the_ties() {
        let mut table = table(20, 2);
        table.shown[0] = (0..20)
            .map(|row| f32::from(u8::try_from(row % 5).unwrap()))
            .collect();
        let past = Past::new(&table);
        // Rows 0..12 hold 0 1 2 3 4 0 1 2 3 4 0 1; row 12 is a 2: six below, two ties.
        assert_eq!(past.percentile(0, 12, 1), Some((6.0 + 1.0) / 12.0));
        assert_eq!(past.percentile(0, 12, 13), None);
    }

    #[test]
    fn a_correlation_equals_the_one_computed_at_once() {
        let table = table(300, 7);
        let past = Past::new(&table);
        let known = table.matured[250];
        assert_eq!(known, 244);
        let pairs: Vec<(f64, f64)> = (0..known)
            .map(|row| {
                (
                    f64::from(table.shown[0][row]),
                    f64::from(table.outcomes[row]),
                )
            })
            .collect();
        let n = pairs.len() as f64;
        let mean = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
        let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
        let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in &pairs {
            xy += (x - mx) * (y - my);
            xx += (x - mx).powi(2);
            yy += (y - my).powi(2);
        }
        let (found, count) = past.correlation(0, 250).unwrap();
        assert_eq!(count, n);
        assert!((found - xy / (xx * yy).sqrt()).abs() < 1e-9, "{found}");
    }

    #[test]
    fn analogues_do_not_overlap() {
        let table = table(500, 10);
        let past = Past::new(&table);
        let found = past.analogues(450, 30, 10);
        assert!(found.outcomes.len() > 10 && found.outcomes.len() <= 30);
        assert_eq!(found.searched, 441);
    }
}
