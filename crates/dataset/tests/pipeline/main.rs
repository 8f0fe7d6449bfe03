//! The room as a whole: one binary, so that it links once.

mod build;
mod common;
mod leaks;
mod store;
mod worlds;
