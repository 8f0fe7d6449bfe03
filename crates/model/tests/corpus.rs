//! The seeds of the fuzz targets for tokenizers, chat templates and conversations (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

#[path = "../../../fuzz/entry/model.rs"]
mod entry;

#[path = "../../../fuzz/entry/replay.rs"]
mod seeds;

use seeds::replay;

#[test]
fn tokenizer() {
    replay("tokenizer", entry::tokenizer);
}

#[test]
fn chat_template() {
    replay("chat_template", entry::chat_template);
}

#[test]
fn conversation() {
    replay("conversation", entry::conversation);
}
