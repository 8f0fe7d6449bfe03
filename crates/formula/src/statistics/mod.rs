//! Statistics of one sample in order of time: what the operators `ts_*` apply to
//! a moving window and the operators `series_*` to a whole series.
//!
//! Every function takes finite values, oldest first, and returns a number, or NaN
//! where the statistic does not exist (too few values, no spread). Nothing here
//! keeps state or draws from a clock; the bootstrap has its seed passed in.

pub(crate) mod bootstrap;
pub(crate) mod complexity;
pub(crate) mod dependence;
pub(crate) mod entropy;
pub(crate) mod fractal;
pub(crate) mod growth;
pub(crate) mod least_squares;
pub(crate) mod memory;
pub(crate) mod moments;
pub(crate) mod normality;
pub(crate) mod order;
pub(crate) mod paths;
pub(crate) mod special;
pub(crate) mod spectrum;
pub(crate) mod unit_root;
