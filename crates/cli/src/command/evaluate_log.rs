//! `foretune evaluate --log`: the verdict on a shadow log.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use market::Timestamp;
use serve::report;
use serve::shadow::Metric;
use serve::verdict::{
    Challenger, FaultKind, Figures, Group, Lead, Ruling, Settings, Verdict, judge,
};
use stats::Interval;

use crate::exit::{Exit, Stop};
use crate::files;
use crate::output::{Printed, counted};

/// Judges the log in `folder`, and writes the verdict's page where one is asked for.
///
/// # Errors
/// When log or pre-registration cannot be read, or the page cannot be written. With `gate`, a
/// verdict other than `promote` stops with the exit code of a gate that was not met.
pub(crate) fn run(
    folder: &Path,
    knowledge_cutoff: Option<Timestamp>,
    gate: bool,
    page: Option<&Path>,
) -> anyhow::Result<Printed> {
    let settings = Settings {
        now: now()?,
        knowledge_cutoff,
    };
    let verdict = judge(folder, &settings)?;
    if verdict.champion.is_none() {
        return Err(nothing(folder, &verdict).into());
    }
    let mut text = text(&verdict);
    if let Some(page) = page {
        files::write(page, report::verdict::html(&verdict).as_bytes())?;
        let _ = writeln!(text, "page: {}", page.display());
    }
    let refused = gate && verdict.verdict != Ruling::Promote;
    let why = format!(
        "the verdict is `{}`, not `promote`",
        verdict.verdict.as_str()
    );
    if refused {
        let _ = writeln!(text, "refused: {why}");
    }
    Ok(Printed {
        data: serde_json::to_value(&verdict)?,
        text,
        stop: refused.then(|| Stop::new(Exit::Refused, why)),
    })
}

/// The error of a log that nothing can be said about yet.
fn nothing(folder: &Path, verdict: &Verdict) -> Stop {
    let message = format!("no decision is in `{}`", folder.display());
    if verdict.faults.first.is_empty() {
        return Stop::new(Exit::Usage, message)
            .hint("run `foretune shadow --replay --log LOG` first");
    }
    let read = format!("{} read{}", counted(verdict.lines, "line"), faults(verdict));
    Stop::new(
        Exit::Data,
        format!("{message} that can be used: {}", read.trim_end()),
    )
    .hint("docs/shadow-log.md says what a line must hold")
}

fn now() -> Result<Timestamp, Stop> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|since| Timestamp(since.as_millis() as i64))
        .map_err(|_| Stop::new(Exit::Environment, "the clock is before 1970"))
}

/// Returns the verdict for people.
fn text(verdict: &Verdict) -> String {
    let mut out = format!("verdict: {}", verdict.verdict.as_str());
    if let Some(arm) = &verdict.arm {
        let _ = write!(out, " `{arm}`");
    }
    out.push('\n');
    for reason in &verdict.reasons {
        let _ = writeln!(out, "- {reason}");
    }
    let rule = &verdict.registered;
    let metric = match rule.metric {
        Metric::Brier => "Brier score",
        Metric::NetUtility => "net return",
    };
    let _ = writeln!(
        out,
        "laid down before the first decision (sha256 {}...): {metric} of blocks of {} h, alpha {}, \
         at least {} blocks, drawdown up to {:.0} %, {:.2} % cost per side",
        rule.sha256.get(..12).unwrap_or_default(),
        rule.horizon_hours,
        rule.alpha,
        rule.minimum_blocks,
        100.0 * rule.max_drawdown,
        100.0 * rule.cost_per_side
    );
    if let (Some(name), Some(since)) = (&verdict.champion, verdict.champion_since) {
        let _ = writeln!(out, "champion: `{name}` since {since}");
    }
    let _ = write!(out, "{} read", counted(verdict.lines, "line"));
    out += &faults(verdict);
    for challenger in &verdict.challengers {
        out.push('\n');
        out += &of_challenger(challenger);
    }
    out
}

fn faults(verdict: &Verdict) -> String {
    let all: usize = verdict.faults.counts.values().sum();
    let Some(first) = verdict.faults.first.first() else {
        return ", all of them used\n".to_owned();
    };
    let of_kind = |(kind, count): (&FaultKind, &usize)| format!("{count} {}", kind.words());
    let kinds: Vec<String> = verdict.faults.counts.iter().map(of_kind).collect();
    format!(
        ", {all} not used: {}; the first is `{}` line {}: {}\n",
        kinds.join(", "),
        first.path.display(),
        first.line,
        first.reason
    )
}

fn of_challenger(challenger: &Challenger) -> String {
    let evidence = &challenger.evidence;
    let former = if challenger.former_champion {
        ", the former champion"
    } else {
        ""
    };
    let mut out = format!("`{}`{former}\n", challenger.name);
    let _ = writeln!(
        out,
        "  evidence    e-value {} of {:.0} (highest so far {}) over {} blocks",
        weight(evidence.log_e),
        evidence.threshold,
        weight(evidence.log_e_peak),
        evidence.blocks
    );
    if evidence.blocks > 0 {
        let _ = writeln!(
            out,
            "  mean score  {:+.4} {}, whenever one looks",
            evidence.mean,
            ends(evidence.confidence_sequence, 1.0, 4)
        );
    }
    let wait = match (evidence.expected_blocks, evidence.days_to_decision) {
        (Some(blocks), Some(days)) => {
            format!("about {blocks:.0} blocks at this lead, {days:.0} more days")
        }
        _ => "none to be expected: there is no lead".to_owned(),
    };
    let _ = writeln!(out, "  decision    {wait}");
    for rail in &challenger.guardrails {
        let sign = if rail.holds { "holds" } else { "fails" };
        let _ = writeln!(out, "  guardrail   {sign}: {}", rail.text);
    }
    let left = &challenger.unpaired;
    let _ = writeln!(
        out,
        "  left out    {} open, {} late, {} without an outcome, {} without the champion, {} before \
         its time",
        left.open, left.late, left.void, left.without_champion, left.before_reign
    );
    if let Some(figures) = &challenger.figures {
        out += &table(figures, challenger);
    }
    if let Some(plan) = &challenger.plan {
        let says = if plan.says.promotes {
            "promote"
        } else {
            "not promote"
        };
        let _ = writeln!(
            out,
            "  the plan's rule would {says}; over as many bars it promotes a useless challenger in \
             {:.0} % of {} simulated worlds, in {:.0} % if one may stop on any day",
            100.0 * plan.false_promotion.at_the_end,
            plan.false_promotion.worlds,
            100.0 * plan.false_promotion.at_any_look
        );
    }
    out += &groups("instrument", &challenger.by_instrument);
    out += &groups("market", &challenger.by_regime);
    out += &groups("base model's knowledge", &challenger.by_knowledge);
    out
}

/// Returns an e-value in a few digits, however large.
fn weight(log_e: f64) -> String {
    const LARGE: f64 = 1e6;
    if log_e < LARGE.ln() {
        format!("{:.3}", log_e.exp())
    } else {
        format!("1e{:.0}", log_e / std::f64::consts::LN_10)
    }
}

/// Diagnostics of both arms side by side.
fn table(figures: &Figures, challenger: &Challenger) -> String {
    let (old, new) = (&figures.champion, &figures.challenger);
    let mut out = format!(
        "  {} decisions in {} time blocks; leads with 95 % intervals, for diagnosis only\n",
        figures.n, figures.blocks
    );
    let _ = writeln!(
        out,
        "  {:<26}{:>10}{:>12}  lead",
        "", "champion", "challenger"
    );
    let mut row = |name: &str, old: f64, new: f64, scale: f64, lead: Option<&Lead>| {
        let lead = lead.map_or(String::new(), |lead| {
            format!(
                "{:+.2} {}",
                scale * lead.value,
                ends(lead.interval, scale, 2)
            )
        });
        let line = format!(
            "  {name:<26}{:>10.2}{:>12.2}  {lead}",
            scale * old,
            scale * new
        );
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row(
        "accuracy %",
        old.accuracy,
        new.accuracy,
        100.0,
        Some(&figures.accuracy_lead),
    );
    row(
        "right at +-1 % moves, %",
        old.plan_accuracy,
        new.plan_accuracy,
        100.0,
        Some(&figures.plan_accuracy_lead),
    );
    row(
        "net return, basis points",
        old.net_return,
        new.net_return,
        1e4,
        Some(&figures.net_return_lead),
    );
    row(
        "Brier score x 100",
        old.brier,
        new.brier,
        100.0,
        Some(&figures.brier_lead),
    );
    row("log loss x 100", old.log_loss, new.log_loss, 100.0, None);
    row("flip rate %", old.flip_rate, new.flip_rate, 100.0, None);
    if let Some([old, new]) = &challenger.calibration {
        row("calibration error %", old.ece, new.ece, 100.0, None);
        row(
            "  debiased %",
            old.debiased_ece,
            new.debiased_ece,
            100.0,
            None,
        );
    }
    let _ = writeln!(
        out,
        "  {:<26}{:>10.2}",
        "agreement %",
        100.0 * figures.agreement
    );
    out
}

fn groups(title: &str, groups: &[Group]) -> String {
    let mut out = String::new();
    for group in groups {
        let lead = &group.figures.accuracy_lead;
        let _ = writeln!(
            out,
            "  {title}, {}: {} decisions, accuracy {:.1} % and {:.1} %, lead {:+.1} {}",
            group.name,
            group.figures.n,
            100.0 * group.figures.champion.accuracy,
            100.0 * group.figures.challenger.accuracy,
            100.0 * lead.value,
            ends(lead.interval, 100.0, 1)
        );
    }
    out
}

/// Returns an interval as `[low, high]`, `[unknown]` for one that is not known.
fn ends(interval: Interval, scale: f64, digits: usize) -> String {
    if interval.is_known() {
        format!(
            "[{:+.digits$}, {:+.digits$}]",
            scale * interval.low,
            scale * interval.high
        )
    } else {
        "[unknown]".to_owned()
    }
}
