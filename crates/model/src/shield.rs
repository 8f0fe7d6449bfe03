//! Runs other libraries' code on bytes from outside. A `tokenizer.json` or a template that makes
//! one of them panic must give an error like any other fault of a file.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns what `work` returns, or the message of its panic. What `work` changed must not be used
/// after a panic.
pub(crate) fn shielded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        format!("the library failed: {}", text.unwrap_or("no reason given"))
    })
}

#[cfg(test)]
mod tests {
    use super::shielded;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(shielded(|| 3), Ok(3));
        let index = std::hint::black_box(7);
        let error = shielded(|| [1, 2][index]).unwrap_err();
        assert!(error.contains("out of bounds"), "{error}");
        assert!(shielded(|| panic!("why")).unwrap_err().ends_with("why"));
    }
}
