//! Operators across instruments at one time, all of them or those of one group.

use super::{Axis, Call, Computation, Kind, Operator, no_convention, no_warm_up, takes, takes_or};
use crate::Profile;
use crate::engine::{Across, Among, ByRow, CrossRank, Kernel, by_row};

use Kind::{Constant, Values};

fn ddof(profile: &Profile) -> u32 {
    u32::from(profile.ddof)
}

fn rank_scale(profile: &Profile) -> u32 {
    profile.cross_rank as u32
}

fn rank(call: &Call<'_>) -> CrossRank {
    CrossRank::new(call.instruments.len(), call.profile.cross_rank)
}

fn across<const N: usize>(call: &Call<'_>, among: Among) -> Box<dyn Kernel>
where
    Across: ByRow<N>,
{
    by_row::<N, _>(
        call.lanes,
        Across::new(call.lanes, call.instruments.len(), among),
    )
}

/// One operator across all instruments.
macro_rules! all {
    ($name:literal, $meaning:literal, $convention:expr, $make:expr) => {
        Operator {
            name: $name,
            axis: Axis::CrossSection,
            parameters: &[takes("x", Values)],
            gives: Values,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: $make,
                warm_up: no_warm_up,
                convention: $convention,
            },
        }
    };
}

/// The same within groups.
macro_rules! grouped {
    ($name:literal, $meaning:literal, $convention:expr, $make:expr) => {
        Operator {
            axis: Axis::Group,
            parameters: &[takes("x", Values), takes("group", Kind::Group)],
            ..all!($name, $meaning, $convention, $make)
        }
    };
}

pub(super) static OPERATORS: &[Operator] = &[
    all!(
        "cs_rank",
        "the rank of {x} among all instruments",
        rank_scale,
        |call| { by_row::<1, _>(call.lanes, rank(call)) }
    ),
    all!(
        "cs_mean",
        "the mean of {x} over all instruments",
        no_convention,
        |call| { across::<1>(call, Among::Mean) }
    ),
    all!(
        "cs_sum",
        "the sum of {x} over all instruments",
        no_convention,
        |call| { across::<1>(call, Among::Sum) }
    ),
    all!(
        "cs_count",
        "the number of instruments whose {x} is known",
        no_convention,
        |call| { across::<1>(call, Among::Count) }
    ),
    all!(
        "cs_min",
        "the smallest {x} of all instruments",
        no_convention,
        |call| { across::<1>(call, Among::Minimum) }
    ),
    all!(
        "cs_max",
        "the largest {x} of all instruments",
        no_convention,
        |call| { across::<1>(call, Among::Maximum) }
    ),
    all!(
        "cs_std",
        "the standard deviation of {x} over all instruments",
        ddof,
        |call| { across::<1>(call, Among::Deviation(call.profile.ddof)) }
    ),
    all!(
        "cs_demean",
        "{x} minus its mean over all instruments",
        no_convention,
        |call| { across::<1>(call, Among::Demean) }
    ),
    all!(
        "cs_zscore",
        "how many standard deviations {x} is above its mean over all instruments",
        ddof,
        |call| across::<1>(call, Among::Standardise(call.profile.ddof))
    ),
    Operator {
        parameters: &[takes("x", Values), takes_or("total", Constant, 1.0)],
        ..all!(
            "cs_scale",
            "{x} scaled so that the absolute values of all instruments sum to {total}",
            no_convention,
            |call| across::<1>(call, Among::Scale(call.constants[0]))
        )
    },
    grouped!(
        "group_rank",
        "the rank of {x} within its {group}",
        rank_scale,
        |call| { by_row::<2, _>(call.lanes, rank(call)) }
    ),
    grouped!(
        "group_mean",
        "the mean of {x} within its {group}",
        no_convention,
        |call| { across::<2>(call, Among::Mean) }
    ),
    grouped!(
        "group_sum",
        "the sum of {x} within its {group}",
        no_convention,
        |call| { across::<2>(call, Among::Sum) }
    ),
    grouped!(
        "group_count",
        "the number of instruments of the {group} whose {x} is known",
        no_convention,
        |call| { across::<2>(call, Among::Count) }
    ),
    grouped!(
        "group_min",
        "the smallest {x} within its {group}",
        no_convention,
        |call| { across::<2>(call, Among::Minimum) }
    ),
    grouped!(
        "group_max",
        "the largest {x} within its {group}",
        no_convention,
        |call| { across::<2>(call, Among::Maximum) }
    ),
    grouped!(
        "group_std",
        "the standard deviation of {x} within its {group}",
        ddof,
        |call| { across::<2>(call, Among::Deviation(call.profile.ddof)) }
    ),
    grouped!(
        "group_neutralize",
        "{x} minus its mean within its {group}",
        no_convention,
        |call| { across::<2>(call, Among::Demean) }
    ),
    grouped!(
        "group_zscore",
        "how many standard deviations {x} is above its mean within its {group}",
        ddof,
        |call| across::<2>(call, Among::Standardise(call.profile.ddof))
    ),
];
