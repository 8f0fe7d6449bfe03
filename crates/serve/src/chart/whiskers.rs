//! Dots with whiskers: one row per contender, its value and its interval.

use super::line::{Reference, spread};
use super::scale::{Scale, extent, padded};
use super::svg::{Anchor, Label, Svg, text_width};
use super::{Plot, ticks, x_axis};

/// One contender.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name, to the left.
    pub name: String,
    /// Value of the dot.
    pub value: f64,
    /// Ends of the whisker; none draws the dot alone.
    pub interval: Option<[f64; 2]>,
    /// Whether this is the row the page is about.
    pub emphasised: bool,
}

const ROW: f64 = 26.0;

/// Draws the rows from top to bottom over a common axis.
///
/// `format` writes a value with the decimals its tick step needs; figures to
/// the right use `decimals`. References are vertical lines named at the top.
pub fn draw(
    label: Label<'_>,
    width: f64,
    rows: &[Row],
    references: &[Reference],
    format: &dyn Fn(f64, usize) -> String,
    decimals: usize,
) -> String {
    let names = rows.iter().map(|row| text_width(&row.name, 12.0));
    let figures: Vec<String> = rows
        .iter()
        .map(|row| {
            if row.value.is_finite() {
                format(row.value, decimals)
            } else {
                "\u{2013}".to_owned()
            }
        })
        .collect();
    let figure_width = figures
        .iter()
        .map(|f| text_width(f, 12.0))
        .fold(0.0, f64::max);
    let top = if references.is_empty() { 6.0 } else { 22.0 };
    let plot = Plot {
        left: names.fold(0.0, f64::max) + 16.0,
        top,
        right: width - figure_width - 20.0,
        bottom: top + ROW * rows.len() as f64,
    };
    let values = rows
        .iter()
        .flat_map(|row| row.interval.into_iter().flatten().chain([row.value]))
        .chain(references.iter().map(|r| r.value));
    let domain = padded(extent(values).unwrap_or((0.0, 1.0)), 0.05);
    let x = Scale::new(domain, (plot.left, plot.right));
    let mut svg = Svg::new(width, plot.bottom + 24.0, label);
    let x_ticks = ticks::linear(
        &x,
        ((plot.right - plot.left) / 70.0).max(2.0) as usize,
        format,
    );
    for tick in &x_ticks {
        let at = x.map(tick.value);
        svg.line((at, plot.top), (at, plot.bottom), "grid");
    }
    x_axis(&mut svg, plot, &x, &x_ticks);
    draw_references(&mut svg, plot, &x, references);
    for (index, (row, figure)) in rows.iter().zip(&figures).enumerate() {
        let y = plot.top + ROW * (index as f64 + 0.5);
        let emphasis = if row.emphasised { " main" } else { "" };
        let name_class = format!("row-name{emphasis}");
        svg.text(
            (plot.left - 10.0, y + 4.0),
            Anchor::End,
            &name_class,
            &row.name,
        );
        svg.text(
            (plot.right + 10.0, y + 4.0),
            Anchor::Start,
            &format!("figure{emphasis}"),
            figure,
        );
        let finite = row
            .interval
            .filter(|ends| ends.iter().all(|end| end.is_finite()));
        if let Some([low, high]) = finite {
            let class = format!("whisker{emphasis}");
            svg.line((x.map(low), y), (x.map(high), y), &class);
            for end in [low, high] {
                svg.line((x.map(end), y - 4.0), (x.map(end), y + 4.0), &class);
            }
        }
        if row.value.is_finite() {
            let hint = match finite {
                Some([low, high]) => format!(
                    "{}: {figure}, interval {} to {}",
                    row.name,
                    format(low, decimals),
                    format(high, decimals)
                ),
                None => format!("{}: {figure}", row.name),
            };
            let class = format!("whisker-dot{emphasis}");
            svg.circle((x.map(row.value), y), 4.5, &class, &hint);
        }
    }
    svg.finish()
}

fn draw_references(svg: &mut Svg, plot: Plot, x: &Scale, references: &[Reference]) {
    let mut shown: Vec<(f64, &Reference)> = references
        .iter()
        .filter(|reference| x.contains(reference.value))
        .map(|reference| (x.map(reference.value), reference))
        .collect();
    shown.sort_by(|a, b| a.0.total_cmp(&b.0));
    let widest = references
        .iter()
        .map(|r| text_width(&r.name, 11.0))
        .fold(0.0, f64::max);
    let natural: Vec<f64> = shown.iter().map(|(at, _)| *at).collect();
    let (first, last) = (plot.left + widest / 2.0, plot.right - widest / 2.0);
    let placed = spread(&natural, widest + 8.0, first, last.max(first));
    for ((at, reference), name_at) in shown.into_iter().zip(placed) {
        svg.line((at, plot.top - 4.0), (at, plot.bottom), "reference");
        svg.text(
            (name_at, plot.top - 9.0),
            Anchor::Middle,
            "reference-name",
            &reference.name,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rows: &[Row], references: &[Reference]) -> String {
        let label = Label {
            id: "w",
            title: "Whiskers",
            description: "",
        };
        let svg = draw(label, 400.0, rows, references, &ticks::percent, 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        svg
    }

    fn row(value: f64, interval: Option<[f64; 2]>) -> Row {
        Row {
            name: "adapter".to_owned(),
            value,
            interval,
            emphasised: true,
        }
    }

    #[test]
    fn shows_value_interval_and_reference() {
        let reference = Reference {
            value: 0.45,
            name: "majority".to_owned(),
        };
        let svg = check(&[row(0.412, Some([0.38, 0.44]))], &[reference]);
        assert!(svg.contains(">41.2 %</text>"), "{svg}");
        assert!(svg.contains("interval 38.0 % to 44.0 %"), "{svg}");
        assert!(svg.contains(">majority</text>"), "{svg}");
    }

    #[test]
    fn a_missing_value_is_a_dash() {
        let svg = check(&[row(f64::NAN, None)], &[]);
        assert!(
            svg.contains('\u{2013}') && !svg.contains("whisker-dot"),
            "{svg}"
        );
    }

    proptest! {
        #[test]
        fn never_draws_what_is_not_a_number(
            value in any::<u64>().prop_map(f64::from_bits),
            low in any::<u64>().prop_map(f64::from_bits),
            high in any::<u64>().prop_map(f64::from_bits),
        ) {
            let label = Label { id: "w", title: "", description: "" };
            let reference = Reference { value: low, name: String::new() };
            let svg = draw(label, 300.0, &[row(value, Some([low, high]))], &[reference], &|_, _| String::new(), 1);
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
