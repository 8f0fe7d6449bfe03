//! The name of what is traded, in freqtrade's spelling.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::MarketError;

/// The longest instrument name that is accepted, in bytes.
const LONGEST: usize = 64;

/// An instrument under freqtrade's pair name: `BTC/USDT`, `BTC/USDT:USDT`, `EUR/USD`.
///
/// Holds letters, digits and `/ : - _ . @ $ +`, starts with a letter or digit, is at most 64 bytes
/// long, and has at most one `/` and one `:`, in that order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instrument(String);

impl Instrument {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`MarketError::Instrument`] where the name breaks a rule stated on [`Instrument`].
    pub fn new(name: &str) -> Result<Self, MarketError> {
        let refuse = |reason: &'static str| {
            let name = name.chars().take(LONGEST).collect();
            Err(MarketError::Instrument { name, reason })
        };
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > LONGEST {
            return refuse("it is longer than 64 bytes");
        }
        if !name.starts_with(char::is_alphanumeric) {
            return refuse("it does not start with a letter or digit");
        }
        if !name
            .chars()
            .all(|c| c.is_alphanumeric() || "/:-_.@$+".contains(c))
        {
            return refuse("it holds a character other than letters, digits and `/:-_.@$+`");
        }
        if name.matches('/').count() > 1 || name.matches(':').count() > 1 {
            return refuse("it has more than one `/` or `:`");
        }
        if name.split(['/', ':']).any(str::is_empty) {
            return refuse("a part beside `/` or `:` is empty");
        }
        if let Some(colon) = name.find(':')
            && name.find('/').is_none_or(|slash| slash > colon)
        {
            return refuse("its `:` does not come after a `/`");
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what comes before the `/`: `BTC` of `BTC/USDT:USDT`; the whole name without one.
    pub fn base(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Returns the currency that prices are quoted in: `USDT` of `BTC/USDT:USDT`.
    pub fn quote(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once('/')?;
        rest.split(':').next()
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Instrument {
    type Err = MarketError;

    fn from_str(text: &str) -> Result<Self, MarketError> {
        Self::new(text)
    }
}

impl Serialize for Instrument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let perpetual = Instrument::new("BTC/USDT:USDT").unwrap();
        assert_eq!((perpetual.base(), perpetual.quote()), ("BTC", Some("USDT")));
        let forex = Instrument::new("EUR/USD").unwrap();
        assert_eq!((forex.base(), forex.quote()), ("EUR", Some("USD")));
        let bare = Instrument::new("GOOGL").unwrap();
        assert_eq!((bare.base(), bare.quote()), ("GOOGL", None));
        assert!(Instrument::new("BTC/USDT:USDT-240628").is_ok());
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "A".repeat(65);
        for name in [
            "", "/USD", "EUR/", "A/B/C", "A:B/C", "A:B", "A/B:", "A\nB", "../x", "A B", &long,
        ] {
            let error = Instrument::new(name).unwrap_err();
            assert!(
                matches!(error, MarketError::Instrument { .. }),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn serialises_as_a_string() {
        let name: Instrument = serde_json::from_str("\"EUR/USD\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"EUR/USD\"");
        assert!(serde_json::from_str::<Instrument>("\"\"").is_err());
    }
}
