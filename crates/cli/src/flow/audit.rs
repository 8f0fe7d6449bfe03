//! The leak audit as commands make it: with progress and times, as a page and as text.

use std::fmt::Write as _;

use dataset::audit::{self, AuditReport, AuditSettings, Check, Status, Step, Subject};
use dataset::{Dataset, DatasetError};
use market::{Bars, Surroundings};

use crate::interrupt;
use crate::progress::{Progress, spoken};

/// Findings of a check that are printed; the page and `--json` have more.
const SHOWN: usize = 3;

/// Audits a data set against what it was built from.
///
/// # Errors
/// As [`audit::run`], and on Ctrl-C.
pub(crate) fn of_dataset(
    dataset: &Dataset,
    bars: &[Bars],
    sentiment: Option<&Surroundings>,
    settings: &AuditSettings,
) -> Result<AuditReport, DatasetError> {
    timed(|progress| audit::run(dataset, bars, sentiment, settings, progress))
}

/// Audits records of any kind.
///
/// # Errors
/// As [`audit::audit`], and on Ctrl-C.
pub(crate) fn of_subject(
    subject: &Subject<'_>,
    settings: &AuditSettings,
) -> Result<AuditReport, DatasetError> {
    timed(|progress| audit::audit(subject, settings, progress))
}

/// Shows progress and writes each check's time into the report.
fn timed(
    make: impl FnOnce(audit::Progress<'_>) -> Result<AuditReport, DatasetError>,
) -> Result<AuditReport, DatasetError> {
    let mut bar = Progress::start("audit", "checks", None);
    let mut running: Option<Progress> = None;
    let mut times = Vec::new();
    let made = make(&mut |step| {
        match step {
            Step::Begin(kind) => {
                bar.set_note(kind.name());
                running = Some(Progress::start(kind.name(), "checks", None));
            }
            Step::End(kind) => {
                if let Some(running) = running.take() {
                    times.push((kind.number(), running.finish().as_secs_f64()));
                }
                bar.set(times.len() as u64);
            }
        }
        interrupt::flow()
    });
    bar.finish();
    let mut report = made?;
    for (number, seconds) in times {
        let mut checks = report.checks.iter_mut();
        if let Some(check) = checks.find(|check| check.number == number) {
            check.seconds = Some(seconds);
        }
    }
    Ok(report)
}

/// Returns the report as a page.
///
/// # Errors
/// When the page does not know the report's layout, which a test excludes.
pub(crate) fn page(report: &AuditReport) -> Result<String, serde_json::Error> {
    let shown = serde_json::from_value(serde_json::to_value(report)?)?;
    Ok(serve::report::audit::html(&shown))
}

/// Returns one line about the audit of a build.
pub(crate) fn line(report: Option<&AuditReport>) -> String {
    match report {
        None => "audit: skipped".to_owned(),
        Some(report) => {
            let seconds: f64 = report.checks.iter().filter_map(|c| c.seconds).sum();
            let took = spoken(std::time::Duration::from_secs_f64(seconds));
            format!("audit: {} ({took})", report.summary())
        }
    }
}

/// Returns a line a check, with findings and reasons below.
pub(crate) fn text(report: &AuditReport) -> String {
    let mut out = format!("{}: {} records\n", report.subject, report.records);
    for check in &report.checks {
        let _ = writeln!(
            out,
            "{:>2} {:<21} {}",
            check.number,
            check.name,
            check.status.as_str()
        );
        details(&mut out, check);
    }
    let _ = writeln!(out, "{}", report.summary());
    out
}

fn details(out: &mut String, check: &Check) {
    if let Some(reason) = &check.reason {
        let _ = writeln!(out, "     {reason}");
    }
    for finding in check.found.iter().take(SHOWN) {
        let place = finding.place();
        let gap = if place.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "     {place}{gap}{}", finding.message);
    }
    let more = check.found_total.saturating_sub(SHOWN);
    if check.status == Status::Red && more > 0 {
        let _ = writeln!(out, "     and {more} more");
    }
}
