//! How long the examples are.

use serde::Serialize;

use super::Ruler;
use super::line::Line;
use crate::chart::Label;
use crate::chart::bars::Part;
use crate::chart::columns::{self, Column, Height};
use crate::report::figures::{both_widths, figure};
use crate::report::prose::count;
use crate::report::table::{Cell, Table};

/// Lines of a file that are measured, evenly spread; all where there are no more.
const MOST: usize = 4_000;
/// The share of the lines that the histogram's columns are laid out for.
const DRAWN: f64 = 0.99;
/// Columns of the histogram, about.
const COLUMNS: usize = 24;

/// The lengths of all files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lengths {
    /// `tokens` or `characters`.
    pub unit: String,
    /// Whose tokens, or why they are not counted.
    pub note: String,
    /// By file.
    pub files: Vec<FileLengths>,
    /// Of all measured lines together.
    pub histogram: Histogram,
}

/// The lengths of one file's examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileLengths {
    /// The file.
    pub name: String,
    /// Lines measured.
    pub measured: usize,
    /// Lines in all.
    pub lines: usize,
    /// The shortest.
    pub shortest: usize,
    /// The median.
    pub median: usize,
    /// What 95 of 100 do not exceed.
    pub most: usize,
    /// The longest.
    pub longest: usize,
}

/// Counts over equal stretches of length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// The shortest length of the first column.
    pub from: usize,
    /// How many lengths a column holds.
    pub width: usize,
    /// Lines in each column; the last one has all longer lines as well.
    pub counts: Vec<usize>,
    /// Whether there are longer ones than the last column's width would hold.
    pub open: bool,
}

/// Measures the lines of one file while they are read.
pub(super) struct Counter {
    name: String,
    stride: usize,
    lines: usize,
    lengths: Vec<usize>,
}

impl Counter {
    pub(super) fn new(name: &str, lines: usize) -> Self {
        Self {
            name: name.to_owned(),
            stride: lines.div_ceil(MOST).max(1),
            lines: 0,
            lengths: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, line: &Line, ruler: &mut Ruler<'_>) -> Result<(), String> {
        if self.lines.is_multiple_of(self.stride) {
            self.lengths.push((ruler.measure)(&line.conversation())?);
        }
        self.lines += 1;
        Ok(())
    }

    fn finish(&self) -> Option<FileLengths> {
        let mut sorted = self.lengths.clone();
        sorted.sort_unstable();
        // The smallest length that so many do not exceed.
        let at = |share: f64| sorted[((sorted.len() as f64 * share).ceil() as usize).max(1) - 1];
        Some(FileLengths {
            name: self.name.clone(),
            measured: sorted.len(),
            lines: self.lines,
            shortest: *sorted.first()?,
            median: at(0.5),
            most: at(0.95),
            longest: *sorted.last()?,
        })
    }
}

pub(super) fn finish(counters: Vec<Counter>, ruler: &Ruler<'_>) -> Lengths {
    let files = counters.iter().filter_map(Counter::finish).collect();
    let all = counters.into_iter().flat_map(|counter| counter.lengths);
    Lengths {
        unit: ruler.unit.to_owned(),
        note: ruler.note.clone(),
        files,
        histogram: histogram(&all.collect::<Vec<_>>()),
    }
}

fn histogram(lengths: &[usize]) -> Histogram {
    let shortest = lengths.iter().min().copied().unwrap_or(0);
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    // A few very long ones must not squeeze all others into two columns.
    let most = (sorted.len() as f64 * DRAWN).ceil() as usize;
    let longest = sorted.get(most.max(1) - 1).copied().unwrap_or(0);
    let width = round_up((longest - shortest) / COLUMNS + 1);
    let from = shortest - shortest % width;
    let columns = if lengths.is_empty() {
        0
    } else {
        (longest - from) / width + 1
    };
    let mut counts = vec![0; columns];
    for length in lengths {
        counts[((length - from) / width).min(columns - 1)] += 1;
    }
    Histogram {
        open: sorted
            .last()
            .is_some_and(|length| *length >= from + columns * width),
        from,
        width,
        counts,
    }
}

/// Returns the next of 1, 2, 5, 10, 20, 50, ...
fn round_up(width: usize) -> usize {
    let mut unit = 1;
    loop {
        for step in [1, 2, 5] {
            if step * unit >= width {
                return step * unit;
            }
        }
        unit *= 10;
    }
}

/// The section.
pub(super) fn section(lengths: &Lengths) -> String {
    let Histogram {
        from,
        width,
        counts,
        open,
    } = &lengths.histogram;
    if counts.is_empty() {
        return String::new();
    }
    let columns: Vec<Column> = counts
        .iter()
        .enumerate()
        .map(|(place, n)| {
            let low = from + place * width;
            let is_open = *open && place + 1 == counts.len();
            let (name, range) = if is_open {
                (
                    format!("{}+", count(low)),
                    format!("{} or more", count(low)),
                )
            } else {
                (
                    count(low),
                    format!("{} to {}", count(low), count(low + width - 1)),
                )
            };
            Column {
                name,
                note: format!("{range}: {} lines", count(*n)),
                parts: vec![Part {
                    name: lengths.unit.clone(),
                    class: "p-train".to_owned(),
                    size: *n as f64,
                }],
            }
        })
        .collect();
    let title = format!("Length in {}", lengths.unit);
    let body = both_widths("lengths", |id, width| {
        let label = Label {
            id,
            title: &title,
            description: "One column for each stretch of lengths, as high as lines have it; named by its shortest length.",
        };
        columns::draw(label, width, &columns, Height::Count)
    });
    figure(&title, &lengths.note, "", &body) + &table(lengths)
}

fn table(lengths: &Lengths) -> String {
    let mut table = Table::new(
        &format!("Length of the examples in {}", lengths.unit),
        &[
            ("File", false),
            ("Measured", true),
            ("Of lines", true),
            ("Shortest", true),
            ("Median", true),
            ("95 % at most", true),
            ("Longest", true),
        ],
    );
    for file in &lengths.files {
        let numbers = [
            file.measured,
            file.lines,
            file.shortest,
            file.median,
            file.most,
            file.longest,
        ];
        table.row(false, &file.name, &numbers.map(|n| Cell::Number(count(n))));
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_round_and_hold_every_length() {
        let found = histogram(&[7, 8, 100, 480, 480]);
        assert_eq!((found.from, found.width), (0, 20));
        assert_eq!(
            (found.counts.len(), found.counts[0], found.counts[5]),
            (25, 2, 1)
        );
        assert_eq!(found.counts[24], 2);
        assert!(!found.open);
        assert_eq!(histogram(&[]).counts.len(), 0);
        let mut many = vec![50; 500];
        many.push(9_000);
        let found = histogram(&many);
        assert_eq!((found.counts.clone(), found.open), (vec![501], true));
        let one = histogram(&[41]);
        assert_eq!((one.from, one.width, one.counts.len()), (41, 1, 1));
    }
}
