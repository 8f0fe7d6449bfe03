//! The verdict on a shadow log: promote a challenger, keep the champion, or roll back to the one
//! before.
//!
//! * [`reader`] turns lines into numbers and counts what cannot be used.
//! * [`pairs`] finds the decisions that both arms made in time, within the champion's reign.
//! * [`evidence`] scores non-overlapping blocks by the pre-registered metric and weighs them: an
//!   e-process that may be looked at every day, and confidence sequences.
//! * [`figures`] are diagnostics over all decisions; [`regime`] groups them.
//! * [`ruling`] puts the verdict together, with the plan's own rule beside it.

mod evidence;
mod figures;
mod pairs;
mod reader;
mod regime;
mod ruling;

pub use evidence::{Evidence, Point};
pub use figures::{ArmFigures, Bin, Calibration, Figures, LEVEL, Lead, PLAN_MOVE};
pub use pairs::Unpaired;
pub use reader::{Fault, FaultKind, Faults};
pub use ruling::{
    Challenger, Group, Guardrail, PlanRuling, Registered, Ruling, Settings, Verdict, judge,
};

#[cfg(test)]
mod tests;
