//! The columns that formulas may read, with what they mean and, where one can be
//! made of others, how.

/// A column of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Its canonical name.
    pub name: &'static str,
    /// What it means, with its unit.
    pub meaning: &'static str,
    /// Where it comes from.
    pub source: Source,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// The bars.
    Bars,
    /// The bars, or else this formula.
    Derived(&'static str),
    /// The clock.
    Clock,
    /// Quotes and trades aggregated onto bars.
    Ticks,
    /// A further table that the user has: rates, funding, capitalisation.
    Given,
    /// Which group an instrument belongs to.
    Group,
    /// A whole return series, for formulas that give one number.
    Series,
}

const fn field(name: &'static str, source: Source, meaning: &'static str) -> Field {
    Field {
        name,
        meaning,
        source,
    }
}

use Source::{Bars, Clock, Derived, Given, Group, Series, Ticks};

/// All known columns.
pub static FIELDS: &[Field] = &[
    field("open", Bars, "the bar's first price"),
    field("high", Bars, "the bar's highest price"),
    field("low", Bars, "the bar's lowest price"),
    field("close", Bars, "the bar's last price"),
    field(
        "volume",
        Bars,
        "units traded in the bar; ticks (price changes) where no exchange counts units",
    ),
    field(
        "vwap",
        Derived("(high + low + close) / 3"),
        "the bar's volume-weighted average price; its typical price where trades are not given",
    ),
    field(
        "amount",
        Derived("vwap * volume"),
        "value traded in the bar, in the quote currency",
    ),
    field(
        "returns",
        Derived("close / ts_delay(close, 1) - 1"),
        "the relative change of the close since the bar before",
    ),
    field("cap", Given, "market capitalisation"),
    field(
        "funding_rate",
        Given,
        "the last funding rate paid, as a fraction",
    ),
    field(
        "base_rate",
        Given,
        "the base currency's interest rate, a fraction a year",
    ),
    field(
        "quote_rate",
        Given,
        "the quote currency's interest rate, a fraction a year",
    ),
    field(
        "market",
        Derived("cs_mean(returns)"),
        "the mean return of all instruments",
    ),
    field(
        "market_close",
        Derived("ts_cumprod(1 + market)"),
        "the close of a market index that starts at 1 and earns the mean return of all instruments",
    ),
    field(
        "market_open",
        Derived("market_close / (1 + cs_mean(close / open - 1))"),
        "the open of the market index: its close without the mean return inside the bar",
    ),
    field(
        "minute_of_day",
        Clock,
        "minutes since midnight UTC at the bar's close",
    ),
    field("hour", Clock, "the hour of the bar's close, UTC, 0 to 23"),
    field(
        "weekday",
        Clock,
        "the weekday of the bar's close, UTC, Monday is 0",
    ),
    field(
        "day_of_month",
        Clock,
        "the day of the month of the bar's close, UTC",
    ),
    field(
        "month",
        Clock,
        "the month of the bar's close, UTC, January is 1",
    ),
    field("bars_per_day", Clock, "bars of this timeframe in 24 hours"),
    field("bid", Ticks, "the best bid at the bar's close"),
    field("ask", Ticks, "the best ask at the bar's close"),
    field(
        "bid_size",
        Ticks,
        "units at the best bid at the bar's close",
    ),
    field(
        "ask_size",
        Ticks,
        "units at the best ask at the bar's close",
    ),
    field(
        "microprice",
        Ticks,
        "the size-weighted mid price at the bar's close",
    ),
    field(
        "spread",
        Ticks,
        "the mean of ask minus bid over the bar's quotes",
    ),
    field(
        "ofi",
        Ticks,
        "order flow imbalance summed over the bar's quotes",
    ),
    field("trades", Ticks, "number of trades in the bar"),
    field("buy_volume", Ticks, "units bought by the aggressor"),
    field("sell_volume", Ticks, "units sold by the aggressor"),
    field(
        "signed_volume",
        Ticks,
        "units bought minus units sold by the aggressor",
    ),
    field(
        "sector",
        Group,
        "the instrument's sector; the currency bloc in foreign exchange",
    ),
    field(
        "industry",
        Group,
        "the instrument's industry; the base currency in foreign exchange",
    ),
    field(
        "subindustry",
        Group,
        "the instrument's subindustry; the quote currency in foreign exchange",
    ),
    field(
        "r",
        Series,
        "a series of returns, one a period, as fractions",
    ),
    field(
        "benchmark",
        Series,
        "the benchmark's returns in the same periods",
    ),
];

/// Returns the column called `name`.
pub fn named(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}
