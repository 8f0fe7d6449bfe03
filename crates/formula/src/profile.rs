//! What an operator's name leaves open, pinned: two libraries that both offer a
//! `rank` or a `stddev` mean different numbers by it, and a formula is only
//! reproducible together with its conventions.

/// The scale of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RankScale {
    /// `k / n`, ties share the mean of their ranks (pandas `pct=True`).
    Fraction,
    /// `(k - 1) / (n - 1)`, ties share the mean; one value alone has 0.5 (BRAIN).
    Unit,
    /// `k` from 1 to n, ties share the mean.
    Ordinal,
}

/// Which rank equal values get in `ts_rank`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ties {
    /// The mean of their ranks.
    Mean,
    /// The lowest of their ranks (py-alpha-lib).
    Least,
}

/// How the place of an extremum is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// 1 for the oldest value of the window to n for the newest (KunQuant, Qlib).
    FromOldest,
    /// 0 for the newest value of the window to n - 1 for the oldest (BRAIN).
    BarsAgo,
}

/// What a window says before it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarmUp {
    /// Nothing: NaN until every value of the window is there.
    Full,
    /// The values that are there, at least one (pandas `min_periods=1`, Qlib).
    Partial,
}

/// What a correlation with a constant series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flat {
    /// Unknown.
    Unknown,
    /// 0.
    Zero,
    /// Unknown as soon as a deviation is within 2e-5 of zero (Qlib's `Corr`).
    Tolerance,
}

/// What an exponential average starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seed {
    /// The first value; known from there on (pandas `adjust=False`).
    First,
    /// The mean of the first n values; known from the n-th on (TA-Lib).
    Mean,
}

/// What a comparison with an unknown value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Unknown.
    Unknown,
    /// False, as IEEE 754 compares.
    False,
}

/// What `adv(d)`, the average daily volume, averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AverageVolume {
    /// Traded value, `vwap * volume` (the paper's definition).
    Value,
    /// Units traded.
    Units,
}

/// A consistent set of conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The name by which settings and the catalogue call it.
    pub name: &'static str,
    /// Scale of `cs_rank` and `group_rank`.
    pub cross_rank: RankScale,
    /// Scale of `ts_rank`.
    pub time_rank: RankScale,
    /// `ts_rank` among equal values.
    pub time_ties: Ties,
    /// `ts_argmax` and `ts_argmin`.
    pub position: Position,
    /// Degrees of freedom taken off in `ts_std`, `ts_var` and `ts_cov`: 0 or 1.
    pub ddof: u8,
    /// Every windowed operator.
    pub warm_up: WarmUp,
    /// `ts_corr`.
    pub flat: Flat,
    /// `ts_ema` and `ts_wilder`.
    pub seed: Seed,
    /// `<`, `<=`, `>`, `>=`, `==`, `!=`.
    pub comparison: Comparison,
    /// `adv`.
    pub average_volume: AverageVolume,
}

impl Profile {
    /// Kakushadze's paper where it says, pandas where it does not; the default.
    pub const PAPER: Self = Self {
        name: "paper",
        cross_rank: RankScale::Fraction,
        time_rank: RankScale::Fraction,
        time_ties: Ties::Mean,
        position: Position::FromOldest,
        ddof: 1,
        warm_up: WarmUp::Full,
        flat: Flat::Unknown,
        seed: Seed::First,
        comparison: Comparison::Unknown,
        average_volume: AverageVolume::Value,
    };
    /// The operators of the BRAIN platform's documentation.
    pub const BRAIN: Self = Self {
        name: "brain",
        cross_rank: RankScale::Unit,
        time_rank: RankScale::Unit,
        position: Position::BarsAgo,
        ddof: 0,
        ..Self::PAPER
    };
    /// KunQuant 0.1.
    pub const KUNQUANT: Self = Self {
        name: "kunquant",
        time_rank: RankScale::Ordinal,
        comparison: Comparison::False,
        average_volume: AverageVolume::Units,
        ..Self::PAPER
    };
    /// Qlib 0.9.
    pub const QLIB: Self = Self {
        name: "qlib",
        warm_up: WarmUp::Partial,
        flat: Flat::Tolerance,
        comparison: Comparison::False,
        ..Self::PAPER
    };
    /// TA-Lib 0.6: population deviations, averages seeded by a mean.
    pub const TALIB: Self = Self {
        name: "talib",
        ddof: 0,
        flat: Flat::Zero,
        seed: Seed::Mean,
        ..Self::PAPER
    };
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::PAPER,
        Self::BRAIN,
        Self::KUNQUANT,
        Self::QLIB,
        Self::TALIB,
    ];

    /// Returns the profile called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::PAPER
    }
}
