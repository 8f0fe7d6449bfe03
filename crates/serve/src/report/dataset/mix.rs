//! Which class comes how often, over time.

use dataset::Split;
use market::Timestamp;
use serde::Serialize;

use super::{FAMILIES, Record, legend, style};
use crate::chart::bars::Part;
use crate::chart::columns::{self, Column, Height};
use crate::chart::ticks::{date, month_start};
use crate::chart::{Label, ticks};
use crate::report::figures::{both_widths, figure};
use crate::report::prose::count;
use crate::report::table::{Cell, Table};

const DAY: i64 = 86_400_000;
/// Periods that a chart of this width can show at most.
const MOST_PERIODS: i64 = 60;
/// Months of a period: the first that gives no more periods than that.
const MONTHS: [i64; 5] = [1, 3, 6, 12, 60];

/// How often each class of a family comes, period by period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mix {
    /// What the classes are of.
    pub name: String,
    /// The classes.
    pub classes: Vec<String>,
    /// The length of a period, in words.
    pub step: String,
    /// The periods, without a hole between them.
    pub periods: Vec<Period>,
}

/// One period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Period {
    /// When it begins.
    pub from: Timestamp,
    /// Lines decided in it, by class.
    pub counts: Vec<usize>,
    /// Those of them in each part: train, validation, test.
    pub parts: [usize; 3],
}

/// Counts every family that occurs.
pub(super) fn mixes(records: &[Record]) -> Vec<Mix> {
    let families = FAMILIES.iter().filter_map(|(name, classes)| {
        let place = |record: &Record| {
            let label = record.label.as_deref()?;
            classes.iter().position(|class| *class == label)
        };
        let rows: Vec<(i64, usize, Split)> = records
            .iter()
            .filter_map(|record| Some((record.span.0, place(record)?, record.part)))
            .collect();
        let first = rows.iter().map(|row| row.0).min()?;
        let last = rows.iter().map(|row| row.0).max()?;
        let (step, starts) = periods(first, last);
        let mut periods: Vec<Period> = starts
            .iter()
            .map(|&from| Period {
                from: Timestamp(from),
                counts: vec![0; classes.len()],
                parts: [0; 3],
            })
            .collect();
        for (time, class, part) in rows {
            let at = starts
                .partition_point(|&from| from <= time)
                .saturating_sub(1);
            periods[at].counts[class] += 1;
            periods[at].parts[part as usize] += 1;
        }
        Some(Mix {
            name: (*name).to_owned(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            step,
            periods,
        })
    });
    families.collect()
}

/// Returns the length of a period in words and where each begins.
fn periods(first: i64, last: i64) -> (String, Vec<i64>) {
    // Weeks begin on Mondays; day 4 of the epoch is one.
    let monday = first - (first - 4 * DAY).rem_euclid(7 * DAY);
    if (last - monday) / (7 * DAY) < 27 {
        let weeks = (0..).map(|week| monday + week * 7 * DAY);
        return (
            "week".to_owned(),
            weeks.take_while(|from| *from <= last).collect(),
        );
    }
    let month_of = |time: i64| {
        let (year, month, _) = date(time);
        year * 12 + i64::from(month) - 1
    };
    let (from, to) = (month_of(first), month_of(last));
    let fits = |months: &&i64| ((to - from) / **months) < MOST_PERIODS;
    let months = *MONTHS.iter().find(fits).unwrap_or(&120);
    let begin = from - from.rem_euclid(months);
    let starts = (0..=(to - begin) / months).map(|n| month_start(begin + n * months));
    let step = match months {
        1 => "month",
        3 => "quarter",
        6 => "half-year",
        12 => "year",
        60 => "five years",
        _ => "ten years",
    };
    (step.to_owned(), starts.collect())
}

/// Returns how a period is called.
fn name(step: &str, from: Timestamp) -> String {
    let (year, month, day) = date(from.0);
    match step {
        "week" => format!("{year}-{month:02}-{day:02}"),
        "month" | "half-year" => format!("{year}-{month:02}"),
        "quarter" => format!("{year} Q{}", (month - 1) / 3 + 1),
        _ => year.to_string(),
    }
}

/// The section.
pub(super) fn section(mixes: &[Mix]) -> String {
    mixes
        .iter()
        .enumerate()
        .map(|(place, mix)| one(place, mix))
        .collect()
}

fn one(place: usize, mix: &Mix) -> String {
    let columns: Vec<Column> = mix
        .periods
        .iter()
        .map(|period| Column {
            name: name(&mix.step, period.from),
            note: format!("of {}", count(period.counts.iter().sum())),
            parts: mix
                .classes
                .iter()
                .zip(&period.counts)
                .enumerate()
                .map(|(class, (name, n))| Part {
                    name: name.clone(),
                    class: style(class).to_owned(),
                    size: *n as f64,
                })
                .collect(),
        })
        .collect();
    let description = format!(
        "One column a {}: the shares of {}.",
        mix.step,
        mix.classes.join(", ")
    );
    let title = format!("{} by {}", mix.name, mix.step);
    let body = both_widths(&format!("mix-{place}"), |id, width| {
        let label = Label {
            id,
            title: &title,
            description: &description,
        };
        columns::draw(label, width, &columns, Height::Share)
    });
    let names: Vec<(&str, &str)> = mix
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| (name.as_str(), style(class)))
        .collect();
    let reading = format!(
        "Each column is all that was decided in one {}, whichever part it is in. Where the shares change over time, so does what a model that only knows the shares would say.",
        mix.step
    );
    figure(&title, &reading, "", &(body + &legend(&names))) + &table(mix)
}

fn table(mix: &Mix) -> String {
    let mut columns = vec![("From", false)];
    columns.extend(mix.classes.iter().map(|class| (class.as_str(), true)));
    columns.extend([("All", true), ("Part", false)]);
    let mut table = Table::new(&format!("{} by {}", mix.name, mix.step), &columns);
    for period in &mix.periods {
        let all: usize = period.counts.iter().sum();
        let mut cells: Vec<Cell> = period
            .counts
            .iter()
            .map(|&n| {
                let share = if all == 0 {
                    "\u{2013}".to_owned()
                } else {
                    ticks::percent(n as f64 / all as f64, 2)
                };
                Cell::Estimate(count(n), share)
            })
            .collect();
        cells.push(Cell::Number(count(all)));
        let parts = Split::ALL.into_iter().zip(period.parts);
        let parts: Vec<&str> = parts
            .filter(|(_, n)| *n > 0)
            .map(|(p, _)| p.as_str())
            .collect();
        cells.push(Cell::Date(parts.join(", ")));
        table.row(false, &name(&mix.step, period.from), &cells);
    }
    format!(
        "<details><summary>The same as a table</summary>{}</details>\n",
        table.finish()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().0
    }

    #[test]
    fn periods_are_calendar_ones_and_few() {
        let check = |from: &str, to: &str, step: &str, n: usize, first: &str| {
            let (found, starts) = periods(time(from), time(to));
            assert_eq!((found.as_str(), starts.len()), (step, n), "{from} {to}");
            assert_eq!(starts[0], time(first), "{from}");
            assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
        };
        let monday = "2024-04-29T00:00:00Z";
        check(
            "2024-05-01T07:00:00Z",
            "2024-05-13T00:00:00Z",
            "week",
            3,
            monday,
        );
        let may = "2022-05-01T00:00:00Z";
        check(
            "2022-05-17T07:00:00Z",
            "2024-05-01T00:00:00Z",
            "month",
            25,
            may,
        );
        let april = "2017-04-01T00:00:00Z";
        check(
            "2017-05-17T07:00:00Z",
            "2024-05-01T00:00:00Z",
            "quarter",
            29,
            april,
        );
        let (step, starts) = periods(0, time("2024-01-01T00:00:00Z"));
        assert_eq!((step.as_str(), starts.len()), ("year", 55));
    }
}
