//! What comes with the binary, so that an installed one needs no checkout: real
//! candles, and the client that talks to llama.cpp.

use std::path::PathBuf;

use crate::files;

/// Bundled candle files, by name (see `examples/data/metadata.json`).
const CANDLES: [(&str, &[u8]); 2] = [
    (
        "BTC_USD-1h.feather",
        include_bytes!("../../../examples/data/BTC_USD-1h.feather"),
    ),
    (
        "EUR_USD-1h.feather",
        include_bytes!("../../../examples/data/EUR_USD-1h.feather"),
    ),
];

/// The Python client of `foretune check`.
pub(crate) const LLAMA_CLIENT: &str = include_str!("../../../python/check/llama_client.py");
/// The packages the client needs, pinned.
pub(crate) const LLAMA_REQUIREMENTS: &str = include_str!("../../../python/check/requirements.txt");

/// Returns a directory with the bundled candles, writing it into the cache
/// directory first where needed.
///
/// # Errors
/// When the cache directory cannot be written.
pub(crate) fn candles() -> anyhow::Result<PathBuf> {
    let folder = weights::source::default_cache_dir()?
        .join("examples")
        .join(env!("CARGO_PKG_VERSION"));
    for (name, bytes) in CANDLES {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|present| present == bytes) {
            continue;
        }
        files::write(&path, bytes)?;
    }
    Ok(folder)
}
