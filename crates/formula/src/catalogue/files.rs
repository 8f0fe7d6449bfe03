//! The files of the catalogue, in the order of primacy: of two formulas that
//! compute the same, the first one stays.

/// Name and text of each.
pub(super) static FILES: &[(&str, &str)] = &[];
