//! What following an arm would have returned, net of costs.
//!
//! A diagnostic: it depends on a few large moves and on the cost assumed, and
//! one span holds one path. It knows no slippage, funding or leverage.

use std::collections::BTreeMap;

use market::{Instrument, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Row, Settings};
use crate::class;

/// An equity curve, as a multiple of the starting capital.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Equity {
    /// Always `diagnostic, not evidence`.
    pub note: String,
    /// The curve, from 1 at the first decision.
    pub points: Vec<EquityPoint>,
    /// Last value minus one.
    pub final_return: f64,
    /// Largest fall from a high, as a fraction of that high.
    pub max_drawdown: f64,
    /// Number of times a position was opened, turned or closed.
    pub position_changes: usize,
}

/// One point of an equity curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EquityPoint {
    /// When the outcome was known.
    pub time: Timestamp,
    /// Capital as a multiple of the starting capital.
    pub equity: f64,
}

/// Follows decisions over rows in time order.
///
/// BUY holds long, SELL short, HOLD nothing, over one horizon (by a rule of
/// barriers: until one is touched); then the next decision is taken that is not
/// earlier. Capital is split equally between the instruments at the start. A cost is paid on every change of position: one
/// side to open or close, two to turn; a position that no decision continues is
/// closed when its horizon ends.
pub(super) fn curve(rows: &[&Row], decisions: &[usize], settings: &Settings) -> Equity {
    let mut accounts: BTreeMap<&Instrument, Account> = BTreeMap::new();
    for (row, &decision) in rows.iter().zip(decisions) {
        let account = accounts.entry(&row.instrument).or_default();
        account.decide(row, decision, settings);
    }
    let mut events = Vec::new();
    let mut position_changes = 0;
    for (number, account) in accounts.values_mut().enumerate() {
        account.close(settings.cost_per_side);
        position_changes += account.changes;
        events.extend(
            account
                .events
                .iter()
                .map(|&(time, wealth)| (time, number, wealth)),
        );
    }
    assemble(rows, accounts.len(), events, position_changes)
}

/// Follows buying and holding: every instrument is bought in equal parts at the
/// price of its first decision and sold when the horizon of its last one ends
/// (by a rule of barriers: at the price of its touch), whatever lies between; one side of costs to enter, one to leave.
pub(super) fn hold(rows: &[&Row], settings: &Settings) -> Equity {
    let keep = (1.0 - settings.cost_per_side).max(0.0);
    let of_instrument = by_instrument(rows);
    let mut events = Vec::new();
    for (number, own) in of_instrument.values().enumerate() {
        let (Some(first), Some(last)) = (own.first(), own.last()) else {
            continue;
        };
        let worth = |price: f64| (keep * price / first.price).max(0.0);
        let marks = own.iter().skip(1);
        events.extend(marks.map(|row| (row.decision_time.0, number, worth(row.price))));
        let end = last.decision_time.0.saturating_add(settings.horizon);
        let sold = keep * worth(last.price * (1.0 + last.outcome_return));
        events.push((end, number, sold));
    }
    let accounts = of_instrument.len();
    assemble(rows, accounts, events, 2 * accounts)
}

/// How much of the time between the first and the last decision is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Horizons that fit between each instrument's first decision and the end
    /// of its last one, summed over the instruments.
    pub horizons: usize,
    /// Of them, those with a decision to follow. Fewer when the decisions are a
    /// sample, or when the data has gaps.
    pub decided: usize,
}

impl Coverage {
    /// Returns whether some horizons are without a decision.
    pub fn is_partial(&self) -> bool {
        self.decided < self.horizons
    }
}

/// Counts the horizons of the span, and those with a decision to follow.
pub(super) fn coverage(rows: &[&Row], horizon: i64) -> Coverage {
    let mut coverage = Coverage {
        horizons: 0,
        decided: 0,
    };
    for own in by_instrument(rows).values() {
        let mut held_until = i64::MIN;
        for row in own {
            if row.decision_time.0 >= held_until {
                held_until = row.decision_time.0.saturating_add(horizon);
                coverage.decided += 1;
            }
        }
        let first = own.first().map_or(held_until, |row| row.decision_time.0);
        let fit = held_until.saturating_sub(first) / horizon.max(1);
        coverage.horizons += usize::try_from(fit).unwrap_or(0);
    }
    coverage
}

fn by_instrument<'a>(rows: &[&'a Row]) -> BTreeMap<&'a Instrument, Vec<&'a Row>> {
    let mut of_instrument: BTreeMap<&Instrument, Vec<&Row>> = BTreeMap::new();
    for &row in rows {
        of_instrument.entry(&row.instrument).or_default().push(row);
    }
    of_instrument
}

/// Adds up the accounts' wealth after every event: time, account, wealth.
fn assemble(
    rows: &[&Row],
    accounts: usize,
    mut events: Vec<(i64, usize, f64)>,
    position_changes: usize,
) -> Equity {
    events.sort_by_key(|&(time, number, _)| (time, number));
    let mut wealth = vec![1.0; accounts];
    let start = rows.first().map_or(0, |row| row.decision_time.0);
    let mut points = vec![EquityPoint {
        time: Timestamp(start),
        equity: 1.0,
    }];
    for same_time in events.chunk_by(|a, b| a.0 == b.0) {
        for &(_, number, value) in same_time {
            wealth[number] = value;
        }
        points.push(EquityPoint {
            time: Timestamp(same_time[0].0),
            equity: wealth.iter().sum::<f64>() / wealth.len() as f64,
        });
    }
    Equity {
        note: "diagnostic, not evidence".to_owned(),
        final_return: points.last().map_or(0.0, |point| point.equity - 1.0),
        max_drawdown: max_drawdown(&points),
        points,
        position_changes,
    }
}

/// The capital given to one instrument.
struct Account {
    wealth: f64,
    /// +1 long, -1 short, 0 nothing.
    position: f64,
    held_until: i64,
    changes: usize,
    /// Wealth whenever an outcome became known.
    events: Vec<(i64, f64)>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            wealth: 1.0,
            position: 0.0,
            held_until: i64::MIN,
            changes: 0,
            events: Vec::new(),
        }
    }
}

impl Account {
    fn decide(&mut self, row: &Row, decision: usize, settings: &Settings) {
        if row.decision_time.0 < self.held_until {
            return;
        }
        if row.decision_time.0 > self.held_until {
            self.close(settings.cost_per_side);
        }
        let target = match decision {
            class::BUY => 1.0,
            class::SELL => -1.0,
            _ => 0.0,
        };
        self.change_to(target, settings.cost_per_side);
        self.wealth = (self.wealth * (1.0 + target * row.outcome_return)).max(0.0);
        self.held_until = row.decision_time.0.saturating_add(settings.horizon);
        self.events.push((self.held_until, self.wealth));
    }

    /// Leaves the position at the end of its horizon, which is the last event.
    fn close(&mut self, cost: f64) {
        self.change_to(0.0, cost);
        if let Some(last) = self.events.last_mut() {
            last.1 = self.wealth;
        }
    }

    fn change_to(&mut self, target: f64, cost: f64) {
        let sides = (target - self.position).abs();
        if sides > 0.0 {
            self.wealth *= (1.0 - cost * sides).max(0.0);
            self.changes += 1;
            self.position = target;
        }
    }
}

fn max_drawdown(points: &[EquityPoint]) -> f64 {
    let mut high = 0.0_f64;
    let mut worst = 0.0_f64;
    for point in points {
        high = high.max(point.equity);
        if high > 0.0 {
            worst = worst.max(1.0 - point.equity / high);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn settings(cost_per_side: f64) -> Settings {
        Settings {
            horizon: 2 * HOUR,
            cost_per_side,
            ..Settings::default()
        }
    }

    fn row(name: &str, hour: i64, outcome_return: f64) -> Row {
        Row {
            instrument: Instrument::new(name).unwrap(),
            decision_time: Timestamp(hour * HOUR),
            price: 1.0,
            label: class::HOLD,
            outcome_return,
        }
    }

    fn check(rows: &[Row], decisions: &[usize], cost: f64) -> Equity {
        curve(&rows.iter().collect::<Vec<_>>(), decisions, &settings(cost))
    }

    #[test]
    fn overlapping_decisions_are_skipped_and_turning_pays_two_sides() {
        let rows = [row("A", 0, 0.1), row("A", 1, 9.0), row("A", 2, -0.2)];
        let equity = check(&rows, &[class::BUY, class::BUY, class::SELL], 0.01);
        // Open, +10 %, turn, a short gains 20 %, close.
        let expected = 0.99 * 1.1 * 0.98 * 1.2 * 0.99;
        assert!(
            (equity.final_return - (expected - 1.0)).abs() < 1e-12,
            "{equity:?}"
        );
        assert_eq!(equity.position_changes, 3);
        assert_eq!(equity.points.len(), 3);
    }

    #[test]
    fn a_continued_position_costs_once_and_a_gap_closes_it() {
        let rows = [row("A", 0, 0.0), row("A", 2, 0.0), row("A", 9, 0.0)];
        let equity = check(&rows, &[class::BUY; 3], 0.01);
        let sides: [f64; 3] = [0.99, 0.99 * 0.99, 0.99_f64.powi(4)];
        let curve: Vec<f64> = equity.points.iter().map(|p| p.equity).collect();
        assert_eq!(curve[0], 1.0);
        assert!((curve[1] - sides[0]).abs() < 1e-12);
        assert!(
            (curve[2] - sides[1]).abs() < 1e-12,
            "closed when the horizon ended"
        );
        assert!((curve[3] - sides[2]).abs() < 1e-12);
    }

    #[test]
    fn capital_is_split_between_instruments() {
        let rows = [row("A", 0, 0.2), row("B", 0, 0.0), row("B", 2, -0.5)];
        let equity = check(&rows, &[class::BUY, class::HOLD, class::BUY], 0.0);
        let curve: Vec<f64> = equity.points.iter().map(|p| p.equity).collect();
        assert!((curve[1] - 1.1).abs() < 1e-12);
        assert!((curve[2] - 0.85).abs() < 1e-12);
        assert!((equity.max_drawdown - (1.0 - 0.85 / 1.1)).abs() < 1e-12);
    }

    #[test]
    fn buying_and_holding_pays_to_enter_and_to_leave_and_keeps_what_gaps_bring() {
        let at = |name: &str, hour, price, outcome_return| Row {
            price,
            ..row(name, hour, outcome_return)
        };
        // A doubles between the decisions, where no horizon sees it; B is bought later.
        let rows = [
            at("A", 0, 100.0, 0.1),
            at("B", 4, 10.0, 0.0),
            at("A", 50, 200.0, 0.25),
            at("B", 50, 10.0, -0.5),
        ];
        let rows: Vec<&Row> = rows.iter().collect();
        let equity = hold(&rows, &settings(0.01));
        let expected = 0.99 * 0.99 * f64::midpoint(2.5, 0.5) - 1.0;
        assert!((equity.final_return - expected).abs() < 1e-12, "{equity:?}");
        assert_eq!(equity.position_changes, 4);
        let curve: Vec<(i64, f64)> = equity
            .points
            .iter()
            .map(|point| (point.time.0 / HOUR, point.equity))
            .collect();
        assert_eq!(curve[0], (0, 1.0));
        assert_eq!(curve[1].0, 50);
        assert!((curve[1].1 - 0.99 * 1.5).abs() < 1e-12, "{curve:?}");
        assert_eq!(curve[2].0, 52, "sold when the last horizon ends");
        // Following BUY instead would miss the doubling.
        let followed = curve_of_buying(&rows);
        assert!(followed.final_return < 0.0, "{followed:?}");
    }

    fn curve_of_buying(rows: &[&Row]) -> Equity {
        curve(rows, &vec![class::BUY; rows.len()], &settings(0.01))
    }

    #[test]
    fn a_sample_of_the_horizons_is_told_from_all_of_them() {
        let covered = |hours: &[i64]| {
            let rows: Vec<Row> = hours.iter().map(|&hour| row("A", hour, 0.0)).collect();
            let Coverage { horizons, decided } =
                coverage(&rows.iter().collect::<Vec<_>>(), 2 * HOUR);
            (horizons, decided)
        };
        assert_eq!(covered(&[0, 2, 4]), (3, 3));
        assert_eq!(
            covered(&[0, 1, 2, 3, 4, 5]),
            (3, 3),
            "overlapping ones are not followed"
        );
        assert_eq!(covered(&[0, 6, 8]), (5, 3));
        assert_eq!(covered(&[7]), (1, 1));
    }

    proptest! {
        #[test]
        fn holding_nothing_costs_nothing_and_ruin_is_the_floor(
            returns in prop::collection::vec(-3.0..3.0f64, 1..30), decided in 0usize..3,
        ) {
            let rows: Vec<Row> = returns.iter().enumerate().map(|(i, &r)| row("A", 2 * i as i64, r)).collect();
            let equity = check(&rows, &vec![decided; rows.len()], 0.01);
            prop_assert!(equity.points.iter().all(|p| p.equity >= 0.0 && p.equity.is_finite()));
            prop_assert!((0.0..=1.0).contains(&equity.max_drawdown));
            if decided == class::HOLD {
                prop_assert_eq!(equity.final_return, 0.0);
            }
        }
    }
}
