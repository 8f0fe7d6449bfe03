//! The wall clock, read here and passed on.

use std::time::{SystemTime, UNIX_EPOCH};

use market::Timestamp;

/// Returns the present.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| since.as_millis() as i64))
}
