//! Reliability diagram: how sure it was against how often it was right.

use super::scale::{Scale, extent, padded};
use super::svg::{Anchor, Label, Svg, polygon, polyline};
use super::{Plot, ticks, x_axis, y_axis};

/// Decisions of similar stated probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Mean stated probability, 0 to 1.
    pub stated: f64,
    /// Share that turned out right, 0 to 1.
    pub observed: f64,
    /// Lower end of the band around `observed`.
    pub low: f64,
    /// Upper end of the band around `observed`.
    pub high: f64,
    /// Number of decisions.
    pub count: usize,
}

/// Draws the bins over the diagonal of perfect honesty. Bins ascend in `stated`.
pub fn draw(label: Label<'_>, width: f64, bins: &[Bin]) -> String {
    let height = width * 0.86;
    let plot = Plot {
        left: 44.0,
        top: 26.0,
        right: width - 12.0,
        bottom: height - 42.0,
    };
    let finite: Vec<Bin> = bins
        .iter()
        .copied()
        .filter(|b| {
            [b.stated, b.observed, b.low, b.high]
                .iter()
                .all(|v| v.is_finite())
        })
        .collect();
    let values = finite
        .iter()
        .flat_map(|b| [b.stated, b.observed, b.low, b.high]);
    let (low, high) = padded(extent(values).unwrap_or((0.0, 1.0)), 0.05);
    let domain = (low.max(0.0), high.min(1.0).max(low.max(0.0)));
    let x = Scale::new(domain, (plot.left, plot.right));
    let y = Scale::new(domain, (plot.bottom, plot.top));
    let mut svg = Svg::new(width, height, label);
    y_axis(&mut svg, plot, &y, &ticks::linear(&y, 5, ticks::percent));
    x_axis(&mut svg, plot, &x, &ticks::linear(&x, 5, ticks::percent));
    svg.text(
        (0.0, 13.0),
        Anchor::Start,
        "axis-name",
        "how often it was right",
    );
    let middle = f64::midpoint(plot.left, plot.right);
    svg.text(
        (middle, height - 6.0),
        Anchor::Middle,
        "axis-name",
        "how sure it said it was",
    );
    svg.line(
        (plot.left, plot.bottom),
        (plot.right, plot.top),
        "reference",
    );
    let at = |stated: f64, observed: f64| (x.map(stated), y.map(observed));
    let upper = finite.iter().map(|b| at(b.stated, b.high));
    let lower = finite.iter().rev().map(|b| at(b.stated, b.low));
    if finite.len() > 1 {
        svg.path(&polygon(upper.chain(lower)), "band", "");
    }
    svg.path(
        &polyline(finite.iter().map(|b| at(b.stated, b.observed))),
        "line main",
        "",
    );
    for bin in &finite {
        let (centre, bottom) = at(bin.stated, bin.low);
        svg.line((centre, bottom), at(bin.stated, bin.high), "whisker main");
        let hint = format!(
            "said {:.0} %, right {:.0} % of {} decisions (interval {:.0} to {:.0} %)",
            bin.stated * 100.0,
            bin.observed * 100.0,
            bin.count,
            bin.low * 100.0,
            bin.high * 100.0
        );
        svg.circle(at(bin.stated, bin.observed), 4.0, "whisker-dot main", &hint);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: Label<'_> = Label {
        id: "r",
        title: "Calibration",
        description: "",
    };

    #[test]
    fn one_bin_has_a_dot_and_no_band() {
        let bin = Bin {
            stated: 0.5,
            observed: 0.4,
            low: 0.3,
            high: 0.5,
            count: 12,
        };
        let svg = draw(LABEL, 360.0, &[bin]);
        assert!(svg.contains("said 50 %, right 40 % of 12 decisions"));
        assert!(!svg.contains("class=\"band\""));
        assert!(draw(LABEL, 360.0, &[bin, bin]).contains("class=\"band\""));
    }

    proptest! {
        #[test]
        fn never_draws_what_is_not_a_number(bits in prop::collection::vec(any::<[u64; 4]>(), 0..5)) {
            let bins: Vec<Bin> = bits
                .iter()
                .map(|b| {
                    let [stated, observed, low, high] = b.map(f64::from_bits);
                    Bin { stated, observed, low, high, count: 1 }
                })
                .collect();
            let svg = draw(LABEL, 300.0, &bins);
            prop_assert!(!svg.contains("NaN") && !svg.contains("\"inf"));
        }
    }
}
