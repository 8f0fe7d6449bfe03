//! From data values to drawing units.
//!
//! A scale always answers with a finite coordinate within its range, whatever
//! the domain or the value.

/// Values beyond this are treated as this: differences stay finite.
const LARGEST: f64 = 1e150;

/// A linear map from a domain of values to a range of drawing units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Maps `low..=high` to `start..=end` (which may run backwards).
    ///
    /// A domain without width, or not finite, is widened to one that has some.
    pub fn new((low, high): (f64, f64), (start, end): (f64, f64)) -> Self {
        let (low, high) = sane_domain(low, high);
        let sane = |unit: f64| if unit.is_finite() { unit } else { 0.0 };
        Self {
            low,
            high,
            start: sane(start),
            end: sane(end),
        }
    }

    /// Returns the lower end of the domain.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Returns the upper end of the domain.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Returns the coordinate of a value; a value outside the domain sits at its edge.
    pub fn map(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.low } else { value };
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    /// Whether a value is a number inside the domain.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

fn sane_domain(low: f64, high: f64) -> (f64, f64) {
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    let low_sane = low.min(high).clamp(-LARGEST, LARGEST);
    let high_sane = high.max(low).clamp(-LARGEST, LARGEST);
    let magnitude = low_sane.abs().max(high_sane.abs());
    // Narrower than this, neighbouring coordinates would be rounding noise.
    let narrowest = (magnitude * 1e-9).max(1e-12);
    if high_sane - low_sane >= narrowest {
        (low_sane, high_sane)
    } else {
        let half = (magnitude * 0.05).max(0.5);
        (low_sane - half, high_sane + half)
    }
}

/// Returns the smallest and largest finite value.
pub fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |extent, value| match extent {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// Widens an extent by a share of its width at both ends.
pub fn padded((low, high): (f64, f64), share: f64) -> (f64, f64) {
    let pad = (high - low) * share;
    if pad.is_finite() {
        (low - pad, high + pad)
    } else {
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn maps_ends_middle_and_beyond() {
        let scale = Scale::new((10.0, 20.0), (100.0, 0.0));
        assert_eq!(scale.map(10.0), 100.0);
        assert_eq!(scale.map(15.0), 50.0);
        assert_eq!(scale.map(25.0), 0.0);
        assert_eq!(scale.map(f64::NAN), 100.0);
    }

    #[test]
    fn a_flat_domain_is_widened_around_its_value() {
        let scale = Scale::new((7.0, 7.0), (0.0, 1.0));
        assert_eq!(scale.map(7.0), 0.5);
    }

    #[test]
    fn extents_ignore_what_is_not_finite() {
        assert_eq!(
            extent([f64::NAN, 2.0, f64::INFINITY, -1.0]),
            Some((-1.0, 2.0))
        );
        assert_eq!(extent([f64::NAN]), None);
    }

    fn any_f64() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits)
    }

    proptest! {
        #[test]
        fn coordinates_are_always_finite_and_in_range(
            low in any_f64(), high in any_f64(), value in any_f64(), end in -1e4..1e4f64,
        ) {
            let at = Scale::new((low, high), (0.0, end)).map(value);
            prop_assert!(at.is_finite());
            prop_assert!(at >= end.min(0.0) - 1e-6 && at <= end.max(0.0) + 1e-6);
        }
    }
}
