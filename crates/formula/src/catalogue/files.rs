//! The files of the catalogue, in the order of primacy: of two formulas that
//! compute the same, the first one stays.

macro_rules! file {
    ($family:literal) => {
        (
            concat!($family, ".toml"),
            include_str!(concat!("../../catalogue/", $family, ".toml")),
        )
    };
}

/// Name and text of each.
pub(super) static FILES: &[(&str, &str)] = &[
    file!("alpha101"),
    file!("gtja191"),
    file!("alpha158"),
    file!("alpha360"),
    file!("talib"),
    file!("talib_candles"),
    file!("indicators"),
    file!("volatility"),
    file!("microstructure"),
    file!("fx"),
    file!("returns"),
    file!("risk"),
    file!("statistics"),
];
