//! Price with decisions: the line, markers on it, and ribbons below.
//!
//! Markers show single decisions where there is room. Ribbons show all of
//! them: every column takes the class most frequent in it.

use std::fmt::Write;

use super::scale::{Scale, extent, padded};
use super::svg::{Anchor, Label, Svg, number, polygon, polyline, text_width};
use super::{Plot, decimate, ticks, x_axis, y_axis};
use crate::class;

/// A decision drawn on the price line.
#[derive(Debug, Clone, PartialEq)]
pub struct Marker {
    /// Unix milliseconds.
    pub time: f64,
    /// Price at that time.
    pub price: f64,
    /// Class index; HOLD is not marked.
    pub class: usize,
    /// What shows on hover.
    pub hint: String,
}

/// A row of classes over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Ribbon {
    /// Name, to the left.
    pub name: String,
    /// Unix milliseconds, ascending.
    pub times: Vec<f64>,
    /// Class index at each time.
    pub classes: Vec<usize>,
}

/// The chart, ready to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct PriceChart<'a> {
    /// Name and description.
    pub label: Label<'a>,
    /// Width in drawing units.
    pub width: f64,
    /// Unix milliseconds, ascending.
    pub times: &'a [f64],
    /// Prices at those times.
    pub prices: &'a [f64],
    /// Decisions to mark, ascending in time.
    pub markers: &'a [Marker],
    /// Ribbons from top to bottom.
    pub ribbons: &'a [Ribbon],
    /// What the vertical axis measures, written above it.
    pub y_name: &'a str,
}

/// Least distance between two markers of a class, in drawing units.
const MARKER_GAP: f64 = 13.0;
/// Width of a ribbon's column, in drawing units.
const COLUMN: f64 = 2.0;
const RIBBON: f64 = 12.0;
const RIBBON_PITCH: f64 = 18.0;

/// Draws the chart. Long series are thinned without losing their extremes.
pub fn draw(chart: &PriceChart<'_>) -> String {
    let ribbons_height = RIBBON_PITCH * chart.ribbons.len() as f64;
    let price_height = (chart.width * 0.3).clamp(170.0, 270.0);
    let height = 26.0 + price_height + 14.0 + ribbons_height + 26.0;
    let y_domain = padded(
        extent(chart.prices.iter().copied()).unwrap_or((0.0, 1.0)),
        0.06,
    );
    let probe = Scale::new(y_domain, (0.0, 1.0));
    let y_ticks = ticks::linear(&probe, (price_height / 50.0) as usize, ticks::plain);
    let tick_widths = y_ticks.iter().map(|t| text_width(&t.label, 11.0));
    let name_widths = chart.ribbons.iter().map(|r| text_width(&r.name, 11.0));
    let plot = Plot {
        left: tick_widths.chain(name_widths).fold(0.0, f64::max) + 14.0,
        top: 26.0,
        right: chart.width - 8.0,
        bottom: 26.0 + price_height,
    };
    let times = chart.times.iter().copied();
    let decided = chart.ribbons.iter().flat_map(|r| r.times.iter().copied());
    let x_domain = extent(times.chain(decided)).unwrap_or((0.0, 1.0));
    let x = Scale::new(x_domain, (plot.left, plot.right));
    let y = Scale::new(y_domain, (plot.bottom, plot.top));

    let mut svg = Svg::new(chart.width, height, chart.label);
    svg.text((0.0, 13.0), Anchor::Start, "axis-name", chart.y_name);
    y_axis(&mut svg, plot, &y, &y_ticks);
    let buckets = ((plot.right - plot.left) / 2.0).max(1.0) as usize;
    let kept = decimate::extremes(chart.times, chart.prices, buckets);
    let points = kept
        .iter()
        .map(|&i| (x.map(chart.times[i]), y.map(chart.prices[i])));
    svg.path(&polyline(points), "line price", "");
    for marker in thin(chart.markers, &x) {
        draw_marker(&mut svg, marker, (x.map(marker.time), y.map(marker.price)));
    }
    for (row, ribbon) in chart.ribbons.iter().enumerate() {
        let top = plot.bottom + 14.0 + RIBBON_PITCH * row as f64;
        svg.text(
            (plot.left - 8.0, top + 10.0),
            Anchor::End,
            "tick",
            &ribbon.name,
        );
        draw_ribbon(&mut svg, ribbon, &x, plot, top);
    }
    let bottom = Plot {
        bottom: plot.bottom + 14.0 + ribbons_height,
        ..plot
    };
    let target = ((plot.right - plot.left) / 85.0).max(2.0) as usize;
    x_axis(&mut svg, bottom, &x, &ticks::time(&x, target));
    svg.finish()
}

/// Leaves out HOLD, what cannot be placed, and markers too close to one of their class.
fn thin<'a>(markers: &'a [Marker], x: &Scale) -> Vec<&'a Marker> {
    let mut free_from = [f64::NEG_INFINITY; class::COUNT];
    let mut kept = Vec::new();
    for marker in markers {
        let drawable = matches!(marker.class, class::BUY | class::SELL)
            && x.contains(marker.time)
            && marker.price.is_finite();
        if drawable && x.map(marker.time) >= free_from[marker.class] {
            free_from[marker.class] = x.map(marker.time) + MARKER_GAP;
            kept.push(marker);
        }
    }
    kept
}

/// A triangle below the line pointing up for BUY, above it pointing down for SELL.
fn draw_marker(svg: &mut Svg, marker: &Marker, (x, y): (f64, f64)) {
    let (direction, class) = if marker.class == class::BUY {
        (1.0, "marker c-buy")
    } else {
        (-1.0, "marker c-sell")
    };
    let corners = [
        (x, y + direction * 4.0),
        (x + 4.5, y + direction * 12.0),
        (x - 4.5, y + direction * 12.0),
    ];
    svg.path(&polygon(corners), class, &marker.hint);
}

fn draw_ribbon(svg: &mut Svg, ribbon: &Ribbon, x: &Scale, plot: Plot, top: f64) {
    let columns = ((plot.right - plot.left) / COLUMN).floor().max(1.0) as usize;
    let mut votes = vec![[0_usize; class::COUNT]; columns];
    let column = |time: f64| (((x.map(time) - plot.left) / COLUMN) as usize).min(columns - 1);
    let reach = typical_step(&ribbon.times);
    for (&time, &decided) in ribbon.times.iter().zip(&ribbon.classes) {
        if decided >= class::COUNT || !x.contains(time) {
            continue;
        }
        let first = column(time);
        // A column that belongs to the next decision is left to it.
        let last = column(time + reach).max(first + 1);
        for vote in &mut votes[first..last.min(columns)] {
            vote[decided] += 1;
        }
    }
    let winners: Vec<Option<usize>> = votes
        .iter()
        .map(|vote| {
            let most = vote.iter().copied().max().filter(|count| *count > 0)?;
            vote.iter().position(|count| *count == most)
        })
        .collect();
    for decided in 0..class::COUNT {
        let mut data = String::new();
        let mut at = 0;
        for group in winners.chunk_by(|a, b| a == b) {
            if group[0] == Some(decided) {
                let left = number(plot.left + at as f64 * COLUMN);
                let length = number(group.len() as f64 * COLUMN);
                let _ = write!(data, "M{left} {top}h{length}v{RIBBON}h-{length}z");
            }
            at += group.len();
        }
        let class = ["ribbon c-buy", "ribbon c-sell", "ribbon c-hold"][decided];
        svg.path(&data, class, class::name(decided));
    }
}

/// Returns the median distance of neighbours; zero for fewer than two.
fn typical_step(times: &[f64]) -> f64 {
    let mut steps: Vec<f64> = times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|step| step.is_finite() && *step > 0.0)
        .collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: f64 = 3_600_000.0;
    const LABEL: Label<'_> = Label {
        id: "p",
        title: "Price",
        description: "",
    };

    fn chart(times: &[f64], prices: &[f64], classes: &[usize]) -> String {
        let markers: Vec<Marker> = times
            .iter()
            .zip(prices)
            .zip(classes)
            .map(|((&time, &price), &class)| Marker {
                time,
                price,
                class,
                hint: "h".to_owned(),
            })
            .collect();
        let ribbon = Ribbon {
            name: "adapter".to_owned(),
            times: times.to_vec(),
            classes: classes.to_vec(),
        };
        draw(&PriceChart {
            label: LABEL,
            width: 800.0,
            times,
            prices,
            markers: &markers,
            ribbons: &[ribbon],
            y_name: "USD",
        })
    }

    #[test]
    fn buy_and_sell_are_marked_and_hold_is_not() {
        let times: Vec<f64> = (0..3).map(|i| f64::from(i) * HOUR).collect();
        let svg = chart(&times, &[1.0, 2.0, 3.0], &[0, 1, 2]);
        assert_eq!(svg.matches("class=\"marker c-buy\"").count(), 1);
        assert_eq!(svg.matches("class=\"marker c-sell\"").count(), 1);
        assert_eq!(svg.matches("class=\"marker").count(), 2);
        assert_eq!(svg.matches("class=\"ribbon").count(), 3);
    }

    #[test]
    fn years_of_noise_stay_small() {
        let times: Vec<f64> = (0..50_000).map(|i| f64::from(i) * HOUR).collect();
        let prices: Vec<f64> = (0..50_000)
            .map(|i| 1e4 + f64::from(i * 7919 % 1009))
            .collect();
        let classes: Vec<usize> = (0..50_000_usize).map(|i| (i * 7919 % 1013) % 3).collect();
        let svg = chart(&times, &prices, &classes);
        assert!(svg.len() < 100_000, "{} bytes", svg.len());
    }

    proptest! {
        #[test]
        fn never_draws_what_is_not_a_number(
            bits in prop::collection::vec(any::<(u64, u64, usize)>(), 0..30),
        ) {
            let times: Vec<f64> = bits.iter().map(|b| f64::from_bits(b.0)).collect();
            let prices: Vec<f64> = bits.iter().map(|b| f64::from_bits(b.1)).collect();
            let classes: Vec<usize> = bits.iter().map(|b| b.2 % 5).collect();
            let markers: Vec<Marker> = times.iter().zip(&prices).map(|(&time, &price)| Marker {
                time, price, class: 0, hint: String::new(),
            }).collect();
            let ribbon = Ribbon { name: String::new(), times: times.clone(), classes };
            // Tick labels may be as long as the number: the price axis is cut to sane values.
            let svg = draw(&PriceChart {
                label: LABEL, width: 300.0, times: &times, prices: &prices,
                markers: &markers, ribbons: &[ribbon], y_name: "",
            });
            prop_assert!(!svg.contains("NaN") && !svg.contains("\"inf"));
        }
    }
}
