//! Writing SVG text: escaping, numbers, and a small element writer.
//!
//! It knows the handful of elements the charts need and always closes what it
//! opens. It does not style: every element carries a class.

use std::fmt::Write;

/// What a chart is called, for those who see it and those who hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// Identifier, unique in the page, of letters, digits and dashes.
    pub id: &'a str,
    /// Short name.
    pub title: &'a str,
    /// What the drawing shows, in a sentence or two.
    pub description: &'a str,
}

/// Which end of a text sits at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text starts there.
    Start,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    End,
}

/// An SVG element being written.
#[derive(Debug, Clone)]
pub struct Svg {
    body: String,
}

impl Svg {
    /// Starts a drawing of `width` x `height` units that scales to its container.
    pub fn new(width: f64, height: f64, label: Label<'_>) -> Self {
        let mut body = String::new();
        let (id, title) = (escape(label.id), escape(label.title));
        let (width, height) = (number(width), number(height));
        let _ = write!(
            body,
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{title}\" aria-describedby=\"{id}-d\"><desc id=\"{id}-d\">{}</desc>",
            escape(label.description)
        );
        Self { body }
    }

    /// Draws a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            "<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            escape(class),
            number(from.0),
            number(from.1),
            number(to.0),
            number(to.1)
        );
    }

    /// Draws a rectangle; `hint` shows on hover unless empty.
    pub fn rect(&mut self, corner: (f64, f64), size: (f64, f64), class: &str, hint: &str) {
        let _ = write!(
            self.body,
            "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            escape(class),
            number(corner.0),
            number(corner.1),
            number(size.0.max(0.0)),
            number(size.1.max(0.0))
        );
        self.close("rect", hint);
    }

    /// Draws a circle; `hint` shows on hover unless empty.
    pub fn circle(&mut self, centre: (f64, f64), radius: f64, class: &str, hint: &str) {
        let _ = write!(
            self.body,
            "<circle class=\"{}\" cx=\"{}\" cy=\"{}\" r=\"{}\"",
            escape(class),
            number(centre.0),
            number(centre.1),
            number(radius)
        );
        self.close("circle", hint);
    }

    /// Draws a path from its data; `hint` shows on hover unless empty.
    pub fn path(&mut self, data: &str, class: &str, hint: &str) {
        if !data.is_empty() {
            let (class, data) = (escape(class), escape(data));
            let _ = write!(self.body, "<path class=\"{class}\" d=\"{data}\"");
            self.close("path", hint);
        }
    }

    /// Writes a text.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            escape(class),
            number(at.0),
            number(at.1),
            escape(text)
        );
    }

    /// Ends the drawing.
    pub fn finish(mut self) -> String {
        self.body.push_str("</svg>");
        self.body
    }

    fn close(&mut self, element: &str, hint: &str) {
        if hint.is_empty() {
            self.body.push_str("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></{element}>", escape(hint));
        }
    }
}

/// Returns path data through the points; a point that is not finite breaks the line.
pub fn polyline(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut data = String::new();
    let mut pen_down = false;
    for (x, y) in points {
        if x.is_finite() && y.is_finite() {
            data.push(if pen_down { 'L' } else { 'M' });
            let _ = write!(data, "{} {}", number(x), number(y));
            pen_down = true;
        } else {
            pen_down = false;
        }
    }
    data
}

/// Returns path data of the closed shape around the points, all of which must be finite to count.
pub fn polygon(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let mut data = polyline(points.into_iter().filter(finite));
    if !data.is_empty() {
        data.push('Z');
    }
    data
}

/// Writes a coordinate with one decimal; zero for what is not finite.
pub fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if !rounded.is_finite() || rounded == 0.0 {
        return "0".to_owned();
    }
    format!("{rounded}")
}

/// Makes any text safe inside an element or a quoted attribute.
///
/// Control characters, which no document may hold, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Estimates the width of a text in a sans-serif font of `size` units.
pub fn text_width(text: &str, size: f64) -> f64 {
    const MEAN_ADVANCE: f64 = 0.56;
    text.chars().count() as f64 * size * MEAN_ADVANCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(
            escape("<b a=\"1\" c='2'>&\u{1b}\u{0}\n"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}\u{fffd}\n"
        );
    }

    #[test]
    fn numbers_are_short_and_finite() {
        assert_eq!(number(12.04), "12");
        assert_eq!(number(-0.01), "0");
        assert_eq!(number(3.25), "3.3");
        assert_eq!(number(f64::NAN), "0");
        assert_eq!(number(f64::INFINITY), "0");
    }

    #[test]
    fn a_missing_value_breaks_the_line() {
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)];
        assert_eq!(polyline(points), "M0 1L1 2M3 4");
        assert_eq!(polygon(points), "M0 1L1 2L3 4Z");
        assert_eq!(polygon([]), "");
    }

    proptest! {
        #[test]
        fn escaped_text_holds_no_markup(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn any_number_is_written_finite(bits in any::<u64>()) {
            let written: f64 = number(f64::from_bits(bits)).parse().unwrap();
            prop_assert!(written.is_finite());
        }
    }
}
