#![no_main]

#[path = "../entry/dataset.rs"]
#[allow(dead_code)]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A panic is a finding unless it is caught and becomes an error.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    entry::archive(bytes);
});
