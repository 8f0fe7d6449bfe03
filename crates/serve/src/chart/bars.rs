//! Horizontal bars split into shares of a whole.

use super::svg::{Anchor, Label, Svg, text_width};

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Name, to the left.
    pub name: String,
    /// A remark to the right, such as the count behind the bar.
    pub note: String,
    /// The parts from left to right.
    pub parts: Vec<Part>,
}

/// One part of a bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name, on hover.
    pub name: String,
    /// Style class.
    pub class: String,
    /// Size; the bar's length is the sum of its parts.
    pub size: f64,
}

const ROW: f64 = 30.0;
const BAR: f64 = 20.0;

/// Draws each bar at full width, divided by its parts' shares.
///
/// A share too narrow for its figure shows it on hover only.
pub fn draw(label: Label<'_>, width: f64, bars: &[Bar]) -> String {
    let widest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text_width(text, 12.0)).fold(0.0, f64::max)
    };
    let left = widest(&mut bars.iter().map(|bar| &bar.name)) + 10.0;
    let right = width - widest(&mut bars.iter().map(|bar| &bar.note)) - 10.0;
    let mut svg = Svg::new(width, ROW * bars.len() as f64, label);
    for (row, bar) in bars.iter().enumerate() {
        let top = ROW * row as f64 + (ROW - BAR) / 2.0;
        let baseline = top + BAR / 2.0 + 4.0;
        svg.text((left - 10.0, baseline), Anchor::End, "row-name", &bar.name);
        svg.text((right + 10.0, baseline), Anchor::Start, "tick", &bar.note);
        let sizes = bar.parts.iter().map(|part| sane(part.size));
        let total: f64 = sizes.sum();
        if total <= 0.0 {
            svg.rect((left, top), (right - left, BAR), "empty", "nothing counted");
            continue;
        }
        let mut at = left;
        for part in &bar.parts {
            let share = sane(part.size) / total;
            let length = share * (right - left);
            let figure = format!("{:.0} %", share * 100.0);
            let hint = format!("{}, {}: {:.1} %", bar.name, part.name, share * 100.0);
            let class = format!("part {}", part.class);
            // A hairline of background between parts keeps them apart in print.
            svg.rect((at, top), (length - 1.0, BAR), &class, &hint);
            if length > text_width(&figure, 11.0) + 8.0 {
                let class = format!("in-part {}", part.class);
                svg.text(
                    (at + length / 2.0, baseline),
                    Anchor::Middle,
                    &class,
                    &figure,
                );
            }
            at += length;
        }
    }
    svg.finish()
}

/// Returns a size that can be drawn.
pub(super) fn sane(size: f64) -> f64 {
    if size.is_finite() {
        size.clamp(0.0, 1e15)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(sizes: [f64; 2]) -> Bar {
        Bar {
            name: "test".to_owned(),
            note: "n = 4".to_owned(),
            parts: sizes
                .iter()
                .map(|&size| Part {
                    name: "BUY".to_owned(),
                    class: "c-buy".to_owned(),
                    size,
                })
                .collect(),
        }
    }

    fn check(sizes: [f64; 2]) -> String {
        let label = Label {
            id: "b",
            title: "Bars",
            description: "",
        };
        let svg = draw(label, 400.0, &[bar(sizes)]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        svg
    }

    #[test]
    fn shares_add_up_and_small_ones_have_no_figure() {
        let svg = check([990.0, 10.0]);
        assert!(svg.contains(">99 %</text>") && !svg.contains(">1 %</text>"));
        assert!(svg.contains("test, BUY: 1.0 %"));
    }

    #[test]
    fn nothing_and_nonsense_are_drawn_as_empty() {
        assert!(check([0.0, 0.0]).contains("class=\"empty\""));
        assert!(check([f64::NAN, f64::INFINITY]).contains("class=\"empty\""));
        assert!(check([-5.0, 1e300]).contains(">100 %</text>"));
    }
}
