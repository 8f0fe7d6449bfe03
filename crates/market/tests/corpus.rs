//! The seeds of the fuzz targets for bars, ticks, wide tables and sentiment (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

#[path = "../../../fuzz/entry/market.rs"]
mod entry;

#[path = "../../../fuzz/entry/replay.rs"]
mod seeds;

use seeds::replay;

#[test]
fn feather() {
    replay("feather", entry::feather);
}

#[test]
fn parquet() {
    replay("parquet", entry::parquet);
}

#[test]
fn bars_csv() {
    replay("bars_csv", entry::bars_csv);
}

#[test]
fn sentiment_csv() {
    replay("sentiment_csv", entry::sentiment_csv);
}

#[test]
fn sentiment_json() {
    replay("sentiment_json", entry::sentiment_json);
}
