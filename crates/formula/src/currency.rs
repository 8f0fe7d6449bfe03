//! Groups of currency pairs, which stand in for the industries of shares: a bloc
//! of currencies moves together as an industry does.

use market::Instrument;

/// Returns the bloc that a currency usually moves with.
fn bloc(currency: &str) -> &'static str {
    match currency {
        "EUR" | "CHF" | "DKK" | "SEK" | "NOK" | "PLN" | "CZK" | "HUF" | "RON" => "europe",
        "GBP" => "sterling",
        "AUD" | "NZD" | "CAD" => "commodity",
        "JPY" | "CNH" | "CNY" | "HKD" | "SGD" | "KRW" | "TWD" | "INR" | "THB" => "asia",
        "USD" => "dollar",
        "MXN" | "BRL" | "ZAR" | "TRY" | "RUB" | "ILS" => "emerging",
        _ => "other",
    }
}

/// Returns the groups `sector` (the bloc of the currency that is not the dollar,
/// the base's where neither is), `industry` (the base currency) and `subindustry`
/// (the quote currency), one code an instrument.
pub(crate) fn groups(instruments: &[Instrument]) -> [(&'static str, Vec<f64>); 3] {
    let quote = |instrument: &Instrument| instrument.quote().unwrap_or("").to_owned();
    let blocs: Vec<&str> = instruments
        .iter()
        .map(|instrument| match instrument.base() {
            "USD" => bloc(&quote(instrument)),
            base => bloc(base),
        })
        .collect();
    let bases: Vec<&str> = instruments.iter().map(Instrument::base).collect();
    let quotes: Vec<String> = instruments.iter().map(quote).collect();
    let quotes: Vec<&str> = quotes.iter().map(String::as_str).collect();
    [
        ("sector", codes(&blocs)),
        ("industry", codes(&bases)),
        ("subindustry", codes(&quotes)),
    ]
}

/// Returns a number for each name, the same for the same name.
pub(crate) fn codes(names: &[&str]) -> Vec<f64> {
    names
        .iter()
        .map(|name| {
            let first = names.iter().position(|other| other == name);
            first.unwrap_or(0) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_grouped_by_bloc_base_and_quote() {
        let pairs =
            ["EUR/USD", "USD/JPY", "CHF/JPY", "AUD/USD"].map(|name| Instrument::new(name).unwrap());
        let [sector, base, quote] = groups(&pairs);
        assert_eq!(sector.1, [0.0, 1.0, 0.0, 3.0]);
        assert_eq!(base.1, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(quote.1, [0.0, 1.0, 1.0, 0.0]);
    }
}
