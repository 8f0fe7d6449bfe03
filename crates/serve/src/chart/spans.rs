//! Stretches of time, a row each, over one axis; bands across all rows mark what is left out.

use super::scale::Scale;
use super::svg::{Anchor, Label, Svg, text_width};
use super::{Plot, ticks, x_axis};

/// A stretch of time, Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Where it begins.
    pub from: i64,
    /// Where it ends.
    pub to: i64,
    /// Style class.
    pub class: String,
    /// What it is, on hover.
    pub hint: String,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name, to the left.
    pub name: String,
    /// What is in it; those that lie outside the axis are cut to it.
    pub stretches: Vec<Stretch>,
}

const ROW: f64 = 20.0;
const BAR: f64 = 12.0;
/// However short, a stretch is seen.
const NARROWEST: f64 = 1.5;

/// Draws the rows from top to bottom over the time `from..=to`; bands lie behind them.
pub fn draw(
    label: Label<'_>,
    width: f64,
    rows: &[Row],
    bands: &[Stretch],
    (from, to): (i64, i64),
) -> String {
    let names = rows.iter().map(|row| text_width(&row.name, 12.0));
    let plot = Plot {
        left: names.fold(0.0, f64::max) + 12.0,
        top: 4.0,
        right: width - 6.0,
        bottom: 4.0 + ROW * rows.len() as f64,
    };
    let x = Scale::new((from as f64, to as f64), (plot.left, plot.right));
    let mut svg = Svg::new(width, plot.bottom + 26.0, label);
    let within = |stretch: &Stretch| stretch.to >= from && stretch.from <= to;
    let ends = |stretch: &Stretch| {
        let left = x.map(stretch.from as f64);
        let right = x.map(stretch.to as f64).max(left + NARROWEST);
        (left, right - left)
    };
    for band in bands.iter().filter(|band| within(band)) {
        let (left, length) = ends(band);
        let size = (length, plot.bottom - plot.top);
        svg.rect((left, plot.top), size, &band.class, &band.hint);
    }
    for (place, row) in rows.iter().enumerate() {
        let middle = plot.top + ROW * (place as f64 + 0.5);
        svg.text(
            (plot.left - 10.0, middle + 4.0),
            Anchor::End,
            "row-name",
            &row.name,
        );
        for stretch in row.stretches.iter().filter(|stretch| within(stretch)) {
            let (left, length) = ends(stretch);
            let corner = (left, middle - BAR / 2.0);
            svg.rect(corner, (length, BAR), &stretch.class, &stretch.hint);
        }
    }
    let target = if width > 600.0 { 7 } else { 3 };
    x_axis(&mut svg, plot, &x, &ticks::time(&x, target));
    svg.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn stretch(from: i64, to: i64) -> Stretch {
        Stretch {
            from,
            to,
            class: "p-train".to_owned(),
            hint: "train".to_owned(),
        }
    }

    fn check(stretches: Vec<Stretch>, range: (i64, i64)) -> String {
        let label = Label {
            id: "s",
            title: "Spans",
            description: "",
        };
        let row = Row {
            name: "A/B".to_owned(),
            stretches,
        };
        let svg = draw(label, 400.0, &[row], &[], range);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        svg
    }

    #[test]
    fn stretches_are_cut_to_the_axis_and_short_ones_are_seen() {
        let inside = check(
            vec![stretch(0, 10 * DAY), stretch(20 * DAY, 20 * DAY)],
            (0, 30 * DAY),
        );
        assert_eq!(inside.matches("<rect").count(), 2);
        assert!(inside.contains("width=\"1.5\""), "{inside}");
        assert!(!check(vec![stretch(0, DAY)], (2 * DAY, 3 * DAY)).contains("<rect"));
    }

    proptest! {
        #[test]
        fn never_draws_what_is_not_a_number(
            from in any::<i64>(), to in any::<i64>(), low in any::<i64>(), high in any::<i64>(),
        ) {
            check(vec![stretch(from, to)], (low, high));
        }
    }
}
