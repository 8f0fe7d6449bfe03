//! Memory of this process and of the machine, as the operating system counts it.
//!
//! Deliberately without foreign calls: where the figure cannot be read from a
//! file it is unknown, and the report says so.

/// Returns the largest resident set so far in bytes, if the system tells it.
///
/// Linux: `VmHWM` of `/proc/self/status` (proc(5)).
pub(crate) fn peak_bytes() -> Option<u64> {
    parse(&status()?, "VmHWM:")
}

/// Returns what a progress line says about memory: the resident set now and at its largest, such
/// as `, 1.11 GB (peak 1.38)`; nothing where the system does not tell.
pub(crate) fn note() -> String {
    status().map_or_else(String::new, |status| note_of(&status))
}

fn note_of(status: &str) -> String {
    match (parse(status, "VmRSS:"), parse(status, "VmHWM:")) {
        (Some(now), Some(peak)) => {
            format!(
                ", {:.2} GB (peak {:.2})",
                now as f64 / 1e9,
                peak as f64 / 1e9
            )
        }
        _ => String::new(),
    }
}

/// Returns the memory that a new process can have without the system running short, in bytes.
///
/// Linux: `MemAvailable` of `/proc/meminfo` (proc(5)), or what the control group has left if that
/// is less (cgroups(7), version 2). Nothing on other systems.
pub(crate) fn available_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let free = parse(&read("/proc/meminfo")?, "MemAvailable:")?;
    let group = |name: &str| read(&format!("/sys/fs/cgroup/memory.{name}"));
    let left =
        group("max").and_then(|max| left_in_group(&max, &group("current")?, &group("stat")?));
    Some(left.map_or(free, |left| left.min(free)))
}

/// Returns what a control group has left: its limit less what is used and cannot be taken back.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    // Without a limit the file says `max`.
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cache = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(cache)))
}

fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

/// Reads a line such as `VmHWM:  2048 kB`, in bytes.
fn parse(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
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
        assert_eq!(parse(status, "VmHWM:"), Some(2048 * 1024));
    }

    #[test]
    fn is_unknown_without_the_line() {
        assert_eq!(parse("Name:\tforetune\n", "VmHWM:"), None);
        assert_eq!(parse("VmHWM:\t many kB\n", "VmHWM:"), None);
    }

    #[test]
    fn a_note_tells_now_and_peak() {
        let status = "VmHWM:\t 1380000 kB\nVmRSS:\t 1110000 kB\n";
        assert_eq!(note_of(status), ", 1.14 GB (peak 1.41)");
        assert_eq!(note_of("Name:\tx\n"), "");
    }

    #[test]
    fn a_group_has_its_limit_less_what_cannot_be_taken_back() {
        let stat = "anon 5\ninactive_file 300\n";
        assert_eq!(left_in_group("1000\n", "900\n", stat), Some(400));
        assert_eq!(left_in_group("1000\n", "2000\n", ""), Some(0));
        assert_eq!(left_in_group("max\n", "900\n", stat), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_peak() {
        assert!(peak_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(available_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(note().contains("GB (peak"));
    }
}
