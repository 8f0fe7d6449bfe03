//! The three decisions as class indices: BUY 0, SELL 1, HOLD 2.
//!
//! The order is the one of the training data. Files spell the names; slices of
//! probabilities use the indices.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Index of BUY.
pub const BUY: usize = 0;
/// Index of SELL.
pub const SELL: usize = 1;
/// Index of HOLD.
pub const HOLD: usize = 2;
/// Number of classes.
pub const COUNT: usize = 3;
/// Names by index.
pub const NAMES: [&str; COUNT] = ["BUY", "SELL", "HOLD"];

/// Returns the name of a class, or `?` for an index that is none.
pub fn name(index: usize) -> &'static str {
    NAMES.get(index).copied().unwrap_or("?")
}

/// Returns the index of a class name, spelled in capitals.
pub fn index(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// One value per class, written as `{"BUY":..,"SELL":..,"HOLD":..}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE", deny_unknown_fields)]
pub struct ByClass<T> {
    /// The value of BUY.
    pub buy: T,
    /// The value of SELL.
    pub sell: T,
    /// The value of HOLD.
    pub hold: T,
}

impl<T: Copy> ByClass<T> {
    /// Returns the values in class order.
    pub fn to_array(self) -> [T; COUNT] {
        [self.buy, self.sell, self.hold]
    }

    /// Takes the values in class order.
    pub fn from_array([buy, sell, hold]: [T; COUNT]) -> Self {
        Self { buy, sell, hold }
    }
}

impl ByClass<usize> {
    /// Counts class indices; an index that is no class is left out.
    pub fn count(classes: &[usize]) -> Self {
        let mut counts = [0; COUNT];
        for &class in classes {
            if let Some(count) = counts.get_mut(class) {
                *count += 1;
            }
        }
        Self::from_array(counts)
    }

    /// Returns the sum of the counts.
    pub fn total(self) -> usize {
        self.to_array().iter().sum()
    }

    /// Returns the counts divided by their sum; all zero without a count.
    pub fn shares(self) -> ByClass<f64> {
        let total = self.total().max(1) as f64;
        ByClass::from_array(self.to_array().map(|count| count as f64 / total))
    }
}

/// Writes a class index as its name. For `#[serde(with = "...")]`.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(crate) fn serialize<S: Serializer>(class: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    match NAMES.get(*class) {
        Some(name) => serializer.serialize_str(name),
        None => Err(serde::ser::Error::custom(format!(
            "`{class}` is no class index, expected 0, 1 or 2"
        ))),
    }
}

/// Reads a class index from its name. For `#[serde(with = "...")]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = String::deserialize(deserializer)?;
    index(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is no decision, expected `BUY`, `SELL` or `HOLD`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_are_inverse() {
        for (position, text) in NAMES.iter().enumerate() {
            assert_eq!(index(text), Some(position));
            assert_eq!(name(position), *text);
        }
        assert_eq!(index("buy"), None);
        assert_eq!(name(3), "?");
    }

    #[test]
    fn counts_and_shares() {
        let counts = ByClass::count(&[BUY, HOLD, HOLD, 7, SELL]);
        assert_eq!(counts.to_array(), [1, 1, 2]);
        assert_eq!(counts.shares().to_array(), [0.25, 0.25, 0.5]);
        assert_eq!(ByClass::count(&[]).shares().to_array(), [0.0; 3]);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"BUY":1,"SELL":1,"HOLD":2}"#);
    }
}
