//! Charts as pure functions: numbers in, an inline SVG element out.
//!
//! A chart never draws a coordinate that is not a finite number, whatever it
//! is given; values that cannot be placed are left out. Colours are classes
//! (`s-buy`, `k-2`, ...) that the page's style sheet fills in, so the same
//! drawing serves light, dark and print. Nothing here knows what a report is.

pub mod bars;
pub mod columns;
pub mod decimate;
pub mod line;
pub mod price;
pub mod reliability;
pub mod scale;
pub mod spans;
pub mod svg;
pub mod ticks;
pub mod whiskers;

pub use svg::Label;

use scale::Scale;
use svg::{Anchor, Svg};
use ticks::Tick;

/// The rectangle that holds the data, in drawing units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plot {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Bottom edge.
    pub bottom: f64,
}

/// Draws horizontal grid lines with their labels to the left.
pub fn y_axis(svg: &mut Svg, plot: Plot, scale: &Scale, ticks: &[Tick]) {
    for tick in ticks {
        let y = scale.map(tick.value);
        svg.line((plot.left, y), (plot.right, y), "grid");
        svg.text((plot.left - 8.0, y + 4.0), Anchor::End, "tick", &tick.label);
    }
}

/// Draws the base line with tick marks and labels below.
///
/// A label that would touch the one before it is left out.
pub fn x_axis(svg: &mut Svg, plot: Plot, scale: &Scale, ticks: &[Tick]) {
    svg.line((plot.left, plot.bottom), (plot.right, plot.bottom), "axis");
    let mut free_from = f64::NEG_INFINITY;
    for tick in ticks {
        let x = scale.map(tick.value);
        svg.line((x, plot.bottom), (x, plot.bottom + 4.0), "axis");
        let half = svg::text_width(&tick.label, 11.0) / 2.0;
        if x - half > free_from {
            svg.text((x, plot.bottom + 17.0), Anchor::Middle, "tick", &tick.label);
            free_from = x + half + 8.0;
        }
    }
}
