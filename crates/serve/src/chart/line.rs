//! Line charts over a numeric or a time axis.

use super::scale::{Scale, extent, padded};
use super::svg::{Anchor, Label, Svg, polyline, text_width};
use super::{Plot, decimate, ticks, x_axis, y_axis};

/// What runs along the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Plain numbers, such as training steps.
    Number,
    /// Unix milliseconds, labelled as UTC dates.
    Time,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name, written at the line's end when the chart asks for it.
    pub name: String,
    /// Style class of the line and its name.
    pub class: String,
    /// Positions, ascending.
    pub x: Vec<f64>,
    /// Values, as many as positions; one that is not finite leaves a gap.
    pub y: Vec<f64>,
    /// Whether each point gets a dot with its value on hover.
    pub dots: bool,
}

/// A horizontal line to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Its height.
    pub value: f64,
    /// What is written on it.
    pub name: String,
}

/// A line chart, ready to be drawn.
#[expect(
    missing_debug_implementations,
    reason = "holds a function that formats values"
)]
pub struct LineChart<'a> {
    /// Name and description.
    pub label: Label<'a>,
    /// Width in drawing units.
    pub width: f64,
    /// Height in drawing units.
    pub height: f64,
    /// The lines, first at the back.
    pub series: &'a [Series],
    /// Kind of horizontal axis.
    pub axis: Axis,
    /// What the horizontal axis counts; empty for dates.
    pub x_name: &'a str,
    /// What the vertical axis measures, written above it.
    pub y_name: &'a str,
    /// Writes a value with the decimals its tick step needs.
    pub format: &'a dyn Fn(f64, usize) -> String,
    /// Horizontal lines to compare with.
    pub references: &'a [Reference],
    /// Whether lines are named at their right ends.
    pub names_at_end: bool,
}

/// Height of a line of small text.
const LINE_HEIGHT: f64 = 14.0;

/// Draws a line chart; the drawing is empty but for its frame when no value is finite.
pub fn draw(chart: &LineChart<'_>) -> String {
    let mut svg = Svg::new(chart.width, chart.height, chart.label);
    let all_x = chart.series.iter().flat_map(|s| s.x.iter().copied());
    let all_y = chart
        .series
        .iter()
        .flat_map(|s| s.y.iter().copied())
        .chain(chart.references.iter().map(|r| r.value));
    let y_domain = padded(extent(all_y).unwrap_or((0.0, 1.0)), 0.06);
    let probe = Scale::new(y_domain, (0.0, 1.0));
    let y_ticks = ticks::linear(&probe, (chart.height / 55.0) as usize, chart.format);
    let widest = y_ticks
        .iter()
        .map(|tick| text_width(&tick.label, 11.0))
        .fold(0.0, f64::max);
    let names = chart.series.iter().map(|s| text_width(&s.name, 12.0));
    let plot = Plot {
        left: (widest + 14.0).max(30.0),
        top: 26.0,
        right: chart.width
            - if chart.names_at_end {
                names.fold(0.0, f64::max) + 14.0
            } else {
                10.0
            },
        bottom: chart.height - if chart.x_name.is_empty() { 26.0 } else { 40.0 },
    };
    let x = Scale::new(extent(all_x).unwrap_or((0.0, 1.0)), (plot.left, plot.right));
    let y = Scale::new(y_domain, (plot.bottom, plot.top));
    y_axis(&mut svg, plot, &y, &y_ticks);
    let target = ((plot.right - plot.left) / 85.0).max(2.0) as usize;
    let x_ticks = match chart.axis {
        Axis::Number => ticks::linear(&x, target, ticks::plain),
        Axis::Time => ticks::time(&x, target),
    };
    x_axis(&mut svg, plot, &x, &x_ticks);
    svg.text((0.0, 13.0), Anchor::Start, "axis-name", chart.y_name);
    if !chart.x_name.is_empty() {
        let middle = f64::midpoint(plot.left, plot.right);
        svg.text(
            (middle, chart.height - 5.0),
            Anchor::Middle,
            "axis-name",
            chart.x_name,
        );
    }
    for reference in chart.references.iter().filter(|r| r.value.is_finite()) {
        let at = y.map(reference.value);
        svg.line((plot.left, at), (plot.right, at), "reference");
        svg.text(
            (plot.right - 2.0, at - 5.0),
            Anchor::End,
            "reference-name",
            &reference.name,
        );
    }
    for series in chart.series {
        draw_series(&mut svg, series, &x, &y, chart);
    }
    if chart.names_at_end {
        name_ends(&mut svg, chart.series, &y, plot);
    }
    svg.finish()
}

fn draw_series(svg: &mut Svg, series: &Series, x: &Scale, y: &Scale, chart: &LineChart<'_>) {
    let buckets = (chart.width / 2.0).max(1.0) as usize;
    let kept = decimate::extremes(&series.x, &series.y, buckets);
    let points = kept
        .iter()
        .map(|&i| (x.map(series.x[i]), y.map(series.y[i])));
    let class = format!("line {}", series.class);
    svg.path(&polyline(points), &class, &series.name);
    if series.dots || kept.len() == 1 {
        for &i in &kept {
            let value = (chart.format)(series.y[i], 3);
            let position = match chart.axis {
                Axis::Number => format!(" at {} {}", chart.x_name, ticks::plain(series.x[i], 0)),
                Axis::Time => String::new(),
            };
            let hint = format!("{}: {value}{position}", series.name);
            let class = format!("dot {}", series.class);
            svg.circle((x.map(series.x[i]), y.map(series.y[i])), 2.6, &class, &hint);
        }
    }
}

/// Writes each line's name beside its last point, pushed apart where they would touch.
fn name_ends(svg: &mut Svg, series: &[Series], y: &Scale, plot: Plot) {
    let mut ends: Vec<(f64, &Series)> = series
        .iter()
        .filter(|s| !s.name.is_empty())
        .filter_map(|s| {
            let last = s.y.iter().rev().find(|value| value.is_finite())?;
            Some((y.map(*last), s))
        })
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let natural: Vec<f64> = ends.iter().map(|(at, _)| *at).collect();
    for (at, (_, series)) in spread(&natural, LINE_HEIGHT, plot.top, plot.bottom)
        .into_iter()
        .zip(&ends)
    {
        let class = format!("end-name {}", series.class);
        svg.text(
            (plot.right + 7.0, at + 4.0),
            Anchor::Start,
            &class,
            &series.name,
        );
    }
}

/// Moves ascending positions at least `gap` apart, within `top..=bottom` while they fit.
pub fn spread(positions: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut placed = positions.to_vec();
    for i in 1..placed.len() {
        placed[i] = placed[i].max(placed[i - 1] + gap);
    }
    let mut limit = bottom;
    for at in placed.iter_mut().rev() {
        *at = at.min(limit);
        limit = *at - gap;
    }
    let mut limit = top;
    for at in &mut placed {
        *at = at.max(limit);
        limit = *at + gap;
    }
    placed
}

/// Returns the mean of each value and up to `reach` neighbours on either side.
///
/// Towards the ends the window shrinks on both sides, so a falling curve is not
/// bent.
pub fn centred_mean(values: &[f64], reach: usize) -> Vec<f64> {
    (0..values.len())
        .map(|i| {
            let reach = reach.min(i).min(values.len() - 1 - i);
            let near = &values[i - reach..=i + reach];
            near.iter().sum::<f64>() / near.len() as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: Label<'_> = Label {
        id: "t",
        title: "Title",
        description: "Description",
    };

    fn chart(series: &[Series], references: &[Reference]) -> String {
        draw(&LineChart {
            label: LABEL,
            width: 400.0,
            height: 200.0,
            series,
            axis: Axis::Number,
            x_name: "step",
            y_name: "loss",
            format: &ticks::plain,
            references,
            names_at_end: true,
        })
    }

    fn series(x: Vec<f64>, y: Vec<f64>) -> Series {
        Series {
            name: "a < b".to_owned(),
            class: "k-1".to_owned(),
            x,
            y,
            dots: true,
        }
    }

    #[test]
    fn draws_line_dots_names_and_reference() {
        let svg = chart(
            &[series(vec![1.0, 2.0, 3.0], vec![0.3, 0.2, 0.1])],
            &[Reference {
                value: 0.25,
                name: "guess".to_owned(),
            }],
        );
        assert_eq!(svg.matches("class=\"dot k-1\"").count(), 3);
        assert!(svg.contains("class=\"line k-1\"") && svg.contains(">guess</text>"));
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
    }

    #[test]
    fn names_do_not_touch_and_stay_inside() {
        assert_eq!(
            spread(&[10.0, 11.0, 50.0], 14.0, 0.0, 100.0),
            [10.0, 24.0, 50.0]
        );
        assert_eq!(spread(&[95.0, 96.0], 14.0, 0.0, 100.0), [86.0, 100.0]);
        assert!(spread(&[], 14.0, 0.0, 1.0).is_empty());
    }

    #[test]
    fn centred_means_keep_the_ends() {
        assert_eq!(centred_mean(&[2.0, 4.0, 9.0, 8.0], 1), [2.0, 5.0, 7.0, 8.0]);
        assert!(centred_mean(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn never_draws_what_is_not_a_number(
            x in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..40),
            y in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..40),
            reference in any::<u64>().prop_map(f64::from_bits),
        ) {
            let drawn = draw(&LineChart {
                label: LABEL,
                width: 300.0,
                height: 150.0,
                series: &[series(x, y)],
                axis: Axis::Time,
                x_name: "",
                y_name: "",
                format: &|_, _| String::new(),
                references: &[Reference { value: reference, name: String::new() }],
                names_at_end: false,
            });
            prop_assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
        }
    }
}
