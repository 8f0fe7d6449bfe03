//! Upright columns side by side, each split into parts: counts, or shares of a whole.

use super::bars::Part;
use super::bars::sane;
use super::scale::Scale;
use super::svg::{Anchor, Label, Svg, text_width};
use super::{Plot, ticks, y_axis};

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, below.
    pub name: String,
    /// A remark on hover, such as the count behind the column.
    pub note: String,
    /// The parts from bottom to top.
    pub parts: Vec<Part>,
}

/// What the height of a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Height {
    /// The sum of its parts.
    Count,
    /// Nothing: all are equally high, and their parts are shares.
    Share,
}

const HEIGHT: f64 = 220.0;

/// Draws the columns from left to right. One without anything in it is an empty frame.
///
/// A name that would touch the one before it is left out.
pub fn draw(label: Label<'_>, width: f64, columns: &[Column], height: Height) -> String {
    let total = |column: &Column| column.parts.iter().map(|p| sane(p.size)).sum::<f64>();
    let most = match height {
        Height::Share => 1.0,
        Height::Count => columns.iter().map(total).fold(0.0, f64::max).max(1.0),
    };
    let scale_of = |plot: Plot| Scale::new((0.0, most), (plot.bottom, plot.top));
    let mut plot = Plot {
        left: 0.0,
        top: 8.0,
        right: width - 2.0,
        bottom: HEIGHT - 26.0,
    };
    let marks = match height {
        Height::Share => ticks::linear(&scale_of(plot), 4, ticks::percent),
        Height::Count => ticks::linear(&scale_of(plot), 4, ticks::plain),
    };
    let widest = marks.iter().map(|tick| text_width(&tick.label, 11.0));
    plot.left = widest.fold(0.0, f64::max) + 14.0;
    let y = scale_of(plot);
    let mut svg = Svg::new(width, HEIGHT, label);
    y_axis(&mut svg, plot, &y, &marks);
    let step = (plot.right - plot.left) / columns.len().max(1) as f64;
    // Between columns a gap, of a pixel at least where there are many.
    let gap = (step * 0.12).clamp(0.5, 6.0);
    let mut free_from = f64::NEG_INFINITY;
    for (place, column) in columns.iter().enumerate() {
        let left = plot.left + step * place as f64 + gap / 2.0;
        let centre = left + (step - gap) / 2.0;
        one(
            &mut svg,
            column,
            (left, step - gap),
            &y,
            height,
            total(column),
        );
        let half = text_width(&column.name, 11.0) / 2.0;
        // The first and the last name must not hang over the drawing.
        let at = centre.clamp(half.min(centre), (width - half).max(half));
        if at - half > free_from {
            svg.text(
                (at, plot.bottom + 17.0),
                Anchor::Middle,
                "tick",
                &column.name,
            );
            free_from = at + half + 8.0;
        }
    }
    svg.line((plot.left, plot.bottom), (plot.right, plot.bottom), "axis");
    svg.finish()
}

/// Draws one column over `(left, width)`.
fn one(
    svg: &mut Svg,
    column: &Column,
    (left, width): (f64, f64),
    y: &Scale,
    height: Height,
    total: f64,
) {
    if total <= 0.0 {
        if height == Height::Share {
            let (top, bottom) = (y.map(1.0), y.map(0.0));
            let hint = format!("{}: nothing", column.name);
            svg.rect((left, top), (width, bottom - top), "empty", &hint);
        }
        return;
    }
    let unit = match height {
        Height::Share => total,
        Height::Count => 1.0,
    };
    let mut below = 0.0;
    for part in &column.parts {
        let size = sane(part.size);
        let (bottom, top) = (y.map(below / unit), y.map((below + size) / unit));
        below += size;
        if size > 0.0 {
            let hint = match height {
                Height::Share => {
                    let share = size / total * 100.0;
                    let (name, note) = (&part.name, &column.note);
                    format!("{}, {name}: {share:.1} % {note}", column.name)
                }
                Height::Count => column.note.clone(),
            };
            svg.rect(
                (left, top),
                (width, bottom - top),
                &part.class,
                hint.trim_end(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sizes: [f64; 2]) -> Column {
        let part = |(size, class): (f64, &str)| Part {
            name: class.to_owned(),
            class: class.to_owned(),
            size,
        };
        Column {
            name: "May".to_owned(),
            note: "of 9".to_owned(),
            parts: sizes
                .into_iter()
                .zip(["c-buy", "c-sell"])
                .map(part)
                .collect(),
        }
    }

    fn check(columns: &[Column], height: Height) -> String {
        let label = Label {
            id: "c",
            title: "Columns",
            description: "",
        };
        let svg = draw(label, 400.0, columns, height);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        svg
    }

    #[test]
    fn parts_are_shares_of_their_column() {
        let svg = check(&[column([30.0, 10.0])], Height::Share);
        assert!(svg.contains("May, c-buy: 75.0 % of 9"), "{svg}");
        let counts = check(&[column([30.0, 10.0]), column([5.0, 0.0])], Height::Count);
        assert_eq!(counts.matches("<rect").count(), 3);
    }

    #[test]
    fn nothing_and_nonsense_are_drawn_as_empty() {
        assert!(check(&[column([0.0, 0.0])], Height::Share).contains("class=\"empty\""));
        assert!(check(&[column([f64::NAN, -1.0])], Height::Share).contains("class=\"empty\""));
        assert!(!check(&[], Height::Count).contains("<rect"));
        check(&[column([f64::INFINITY, 1e300])], Height::Count);
    }

    #[test]
    fn names_do_not_overlap() {
        let many = vec![column([1.0, 1.0]); 60];
        let named = check(&many, Height::Share).matches(">May</text>").count();
        assert!((5..30).contains(&named), "{named}");
    }
}
