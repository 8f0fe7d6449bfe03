//! Peak memory of this process, as the operating system counts it.
//!
//! Deliberately without foreign calls: where the figure cannot be read from a
//! file it is unknown, and the report says so.

/// Returns the largest resident set so far in bytes, if the system tells it.
///
/// Linux: `VmHWM` of `/proc/self/status` (proc(5)).
pub(crate) fn peak_bytes() -> Option<u64> {
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let mut words = line.split_whitespace();
    let kibibytes: u64 = words.next()?.parse().ok()?;
    (words.next() == Some("kB")).then(|| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_high_water_mark() {
        let status = "Name:\tforetune\nVmPeak:\t  900 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(parse_peak(status), Some(2048 * 1024));
    }

    #[test]
    fn is_unknown_without_the_line() {
        assert_eq!(parse_peak("Name:\tforetune\n"), None);
        assert_eq!(parse_peak("VmHWM:\t many kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_peak() {
        assert!(peak_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
