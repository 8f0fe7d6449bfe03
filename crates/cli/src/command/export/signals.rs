//! `foretune export signals`: the decisions of a shadow log for a backtest elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use serve::shadow::signals::{FIRST_BYTES, Signals, Timing};

use super::{ELSEWHERE, printed};
use crate::clock;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::output::{self, Printed};

/// Name of the file where none is given.
const FILE: &str = "signals.jsonl";

/// Write the decisions of a shadow log as signals for a backtest (freqtrade)
///
/// One JSON object a line, in the order in which signals became available. Each says what was
/// decided about which bar, when that was known (`available_at`), until when it counts
/// (`valid_until`) and whether it came too late to act on. docs/freqtrade.md shows how a strategy
/// reads the file.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune export signals replay
  foretune export signals shadow --arm b --out user_data/signals.jsonl
  foretune export signals replay --delay 5")]
pub(crate) struct Typed {
    /// Directory of the log
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Write this arm's decisions alone [default: all arms', each with its name and role]
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,
    /// Seconds between a decision and an order; a replay's decisions take no time by themselves
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay: u32,
    /// Seconds after the next decision's bar until which a signal counts, as `foretune shadow`
    #[arg(long, value_name = "N", default_value_t = 300)]
    late_after: u32,
    /// Where to write [default: LOG/signals.jsonl]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read, holds no decisions of the arm, or the target cannot be written.
pub(crate) fn run(typed: &Typed) -> anyhow::Result<Printed> {
    let out = typed.out.clone();
    let out = out.unwrap_or_else(|| typed.log.join(FILE));
    refuse_other(&out)?;
    let timing = Timing {
        late_after: i64::from(typed.late_after) * 1000,
        delay: i64::from(typed.delay) * 1000,
    };
    let signals = Signals::of(&typed.log, clock::now(), typed.arm.as_deref(), timing)?;
    let Some((from, to)) = signals.span else {
        return Err(nothing(typed, &signals).into());
    };
    warn(&signals);
    files::write(&out, signals.text.as_bytes())?;
    let more = json!({
        "signals": signals.count(), "arms": signals.arms, "instruments": signals.instruments,
        "late": signals.late, "from": from, "to": to,
        "left_out": signals.left_out(), "foreign": signals.foreign,
    });
    let mut done = printed("signals", &[out], more)?;
    let arms: Vec<&str> = signals.arms.keys().map(String::as_str).collect();
    done.text += &format!(
        "\n{} signals on {} instruments, {from} to {to}, {} of them late; arms: {}",
        signals.count(),
        signals.instruments.len(),
        signals.late,
        typed.arm.clone().unwrap_or_else(|| arms.join(", "))
    );
    Ok(done)
}

/// Tells what of the log is not in the file.
fn warn(signals: &Signals) {
    if let Some(first) = signals.oddities.first() {
        output::warn(&format!(
            "{} in the log, {} left out; the first: `{}` line {}: {}",
            output::counted(signals.oddities.len(), "odd line"),
            signals.left_out(),
            first.path.display(),
            first.line,
            first.reason
        ));
    }
    if signals.foreign > 0 {
        output::warn(&format!(
            "left out: {} under another pre-registration",
            output::counted(signals.foreign, "decision")
        ));
    }
}

fn nothing(typed: &Typed, signals: &Signals) -> Stop {
    let log = typed.log.display();
    let arms: Vec<String> = signals.arms.keys().map(|arm| format!("`{arm}`")).collect();
    match &typed.arm {
        Some(arm) if !arms.is_empty() => {
            let message = format!("no decision of an arm `{arm}` is in `{log}`");
            Stop::new(Exit::Usage, message).hint(format!("there are {}", arms.join(", ")))
        }
        _ => Stop::new(Exit::Usage, format!("no decision is in `{log}`"))
            .hint("run `foretune shadow --replay --log LOG` first"),
    }
}

/// Refuses to replace a file that holds something else than signals.
fn refuse_other(out: &Path) -> Result<(), Stop> {
    let Ok(found) = std::fs::metadata(out) else {
        return Ok(());
    };
    let mut start = [0; FIRST_BYTES.len()];
    let is_own = found.is_file()
        && File::open(out).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == *FIRST_BYTES.as_bytes();
    if is_own {
        return Ok(());
    }
    let message = format!("`{}` exists and holds no signals", out.display());
    Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE))
}
