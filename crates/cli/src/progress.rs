//! Progress of long work: a bar with rate and time left on a terminal, a plain
//! line every few seconds elsewhere.
//!
//! Everything goes to standard error. The clock is read here only, and never
//! reaches an artefact.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Time between two lines when standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One piece of long work in progress.
#[derive(Debug)]
pub(crate) struct Progress {
    title: String,
    unit: &'static str,
    total: Option<u64>,
    position: u64,
    note: String,
    started: Instant,
    printed: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts to show work of `total` pieces called `unit` (plural).
    pub(crate) fn start(title: &str, unit: &'static str, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            title: title.to_owned(),
            unit,
            total,
            position: 0,
            note: String::new(),
            started: now,
            printed: now,
            bar: std::io::stderr()
                .is_terminal()
                .then(|| terminal_bar(title, unit, total)),
        }
    }

    /// Corrects the number of pieces once it is known.
    pub(crate) fn set_total(&mut self, total: u64) {
        if self.total == Some(total) {
            return;
        }
        self.total = Some(total);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_style(style(self.unit, true));
        }
    }

    /// Sets the text shown after the rate, such as the loss.
    pub(crate) fn set_note(&mut self, note: impl Into<String>) {
        self.note = note.into();
        if let Some(bar) = &self.bar {
            bar.set_message(self.note.clone());
        }
    }

    /// Sets how many pieces are done.
    pub(crate) fn set(&mut self, position: u64) {
        self.position = position;
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        } else if self.printed.elapsed() >= LINE_EVERY {
            self.printed = Instant::now();
            output::note(&self.line());
        }
    }

    /// Removes the bar and returns the time the work took.
    pub(crate) fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }

    fn line(&self) -> String {
        plain_line(
            &self.title,
            self.unit,
            self.position,
            self.total,
            self.started.elapsed(),
            &self.note,
        )
    }
}

/// Returns a length of time as a person says it.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn terminal_bar(title: &str, unit: &'static str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(style(unit, total.is_some()));
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(unit: &str, bounded: bool) -> ProgressStyle {
    let template = match (unit, bounded) {
        ("bytes", true) => {
            "  {prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}".to_owned()
        }
        ("bytes", false) => "  {prefix} {spinner} {bytes} {bytes_per_sec} {msg}".to_owned(),
        (_, true) => format!(
            "  {{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit} {{per_sec}} ETA {{eta}} {{msg}}"
        ),
        (_, false) => format!("  {{prefix}} {{spinner}} {{pos}} {unit} {{per_sec}} {{msg}}"),
    };
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn plain_line(
    title: &str,
    unit: &str,
    position: u64,
    total: Option<u64>,
    elapsed: Duration,
    note: &str,
) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let rate = position as f64 / seconds;
    let mut line = match total {
        Some(total) => format!("  {title}: {}", amount(position, unit, Some(total))),
        None => format!("  {title}: {}", amount(position, unit, None)),
    };
    if position > 0 {
        line += &if unit == "bytes" {
            format!(", {:.1} MB/s", rate / 1e6)
        } else if rate < 1.0 {
            format!(", {:.1} s each", 1.0 / rate)
        } else {
            format!(", {rate:.1} {unit}/s")
        };
        if let Some(total) = total
            && total > position
        {
            let left = Duration::from_secs_f64((total - position) as f64 / rate);
            line += &format!(", ETA {}", spoken(left));
        }
    }
    if !note.is_empty() {
        line += &format!(", {note}");
    }
    line
}

fn amount(position: u64, unit: &str, total: Option<u64>) -> String {
    let count = |value: u64| {
        if unit == "bytes" {
            format!("{:.1}", value as f64 / 1e6)
        } else {
            value.to_string()
        }
    };
    let unit = if unit == "bytes" { "MB" } else { unit };
    match total {
        Some(total) => format!("{}/{} {unit}", count(position), count(total)),
        None => format!("{} {unit}", count(position)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_rate_and_time_left() {
        let line = plain_line(
            "train",
            "steps",
            50,
            Some(200),
            Duration::from_secs(10),
            "loss 0.81",
        );
        assert_eq!(
            line,
            "  train: 50/200 steps, 5.0 steps/s, ETA 30 s, loss 0.81"
        );
    }

    #[test]
    fn slow_work_is_told_in_seconds_each() {
        let line = plain_line("train", "steps", 5, Some(10), Duration::from_secs(20), "");
        assert_eq!(line, "  train: 5/10 steps, 4.0 s each, ETA 20 s");
    }

    #[test]
    fn bytes_are_told_in_megabytes() {
        let line = plain_line(
            "fetch",
            "bytes",
            5_000_000,
            None,
            Duration::from_secs(2),
            "",
        );
        assert_eq!(line, "  fetch: 5.0 MB, 2.5 MB/s");
    }

    #[test]
    fn nothing_done_yet_has_no_rate() {
        let line = plain_line("train", "steps", 0, Some(7), Duration::from_secs(2), "");
        assert_eq!(line, "  train: 0/7 steps");
    }

    #[test]
    fn times_are_spoken() {
        let cases = [
            (1.25, "1.2 s"),
            (59.0, "59 s"),
            (125.0, "2 min 05 s"),
            (7325.0, "2 h 02 min"),
        ];
        for (seconds, expect) in cases {
            assert_eq!(spoken(Duration::from_secs_f64(seconds)), expect);
        }
    }
}
