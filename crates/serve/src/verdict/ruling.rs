//! From evidence to a verdict.
//!
//! A challenger is promoted when its e-value has reached `1 / alpha` *and* every guardrail holds.
//! The former champion goes on as a shadow under the same test: when it reaches its threshold, the
//! verdict is to roll back to it. Diagnostics and the plan's rule are shown and decide nothing.

use std::collections::BTreeMap;
use std::path::Path;

use market::Timestamp;
use serde::Serialize;
use stats::plan_rule::{FalsePromotion, PlanRule, PlanVerdict};
use stats::world::World;

use super::evidence::{Evidence, blocks, drawdown, weigh};
use super::figures::{Calibration, Figures, calibration, figures, matured, plan_class};
use super::pairs::{Pair, Reign, Unpaired, pairs, reign};
use super::reader::{Faults, Happened, Records, read};
use super::regime::{Regime, regimes};
use crate::error::ServeError;
use crate::shadow::{Metric, Preregistration};

const HOUR: i64 = 3_600_000;
/// Simulated worlds behind the plan's false-promotion rate, the most and the fewest.
const WORLDS: [usize; 2] = [300, 60];
/// Bars simulated over all worlds, as far as the fewest worlds allow.
const SIMULATED_BARS: usize = 10_000_000;
/// Seed of those worlds.
const SEED: u64 = 1;
/// Days before anybody applies the plan's rule.
const FIRST_LOOK_DAYS: usize = 7;

/// What to judge by beside the pre-registration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The reader's clock; later records are not used.
    pub now: Timestamp,
    /// The end of what the base model may have read, to split figures at.
    pub knowledge_cutoff: Option<Timestamp>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Make the named challenger champion.
    Promote,
    /// Change nothing.
    Keep,
    /// Make the former champion champion again.
    RollBack,
}

impl Ruling {
    /// Returns `promote`, `keep` or `roll back`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Keep => "keep",
            Self::RollBack => "roll back",
        }
    }
}

/// The verdict on a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What to do.
    pub verdict: Ruling,
    /// The arm to promote or to roll back to.
    pub arm: Option<String>,
    /// Why, most important first.
    pub reasons: Vec<String>,
    /// The rule laid down before the first decision.
    pub registered: Registered,
    /// The arm whose decisions are served; none for a log without its decisions.
    pub champion: Option<String>,
    /// Its first decision as champion.
    pub champion_since: Option<Timestamp>,
    /// Lines read.
    pub lines: usize,
    /// Lines that were not used.
    pub faults: Faults,
    /// The other arms.
    pub challengers: Vec<Challenger>,
}

/// The parts of the pre-registration that decide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Registered {
    /// SHA-256 of the file.
    pub sha256: String,
    /// What blocks are scored by.
    pub metric: Metric,
    /// Probability of promoting a challenger that is no better, over all challengers.
    pub alpha: f64,
    /// Blocks before which nothing is decided.
    pub minimum_blocks: usize,
    /// Scores are clipped to plus and minus this.
    pub clip: f64,
    /// Largest drawdown that allows a promotion.
    pub max_drawdown: f64,
    /// Trading cost per side.
    pub cost_per_side: f64,
    /// Hours of a horizon.
    pub horizon_hours: u32,
}

/// One challenger against the champion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Challenger {
    /// The arm's name.
    pub name: String,
    /// Whether it was champion before the present one.
    pub former_champion: bool,
    /// The evidence that it is better.
    pub evidence: Evidence,
    /// What else must hold.
    pub guardrails: Vec<Guardrail>,
    /// Decisions left out.
    pub unpaired: Unpaired,
    /// Diagnostics over all decisions; none before the first outcome.
    pub figures: Option<Figures>,
    /// Calibration of champion and challenger; none before the first outcome.
    pub calibration: Option<[Calibration; 2]>,
    /// What the plan's rule would say; none before the first outcome.
    pub plan: Option<PlanRuling>,
    /// Figures by instrument.
    pub by_instrument: Vec<Group>,
    /// Figures by regime: calm or wild, rising or falling.
    pub by_regime: Vec<Group>,
    /// Figures before and after the base model's knowledge cutoff.
    pub by_knowledge: Vec<Group>,
}

/// A condition of a promotion beside the evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guardrail {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was found and what is asked.
    pub text: String,
}

/// The plan's rule and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlanRuling {
    /// What it says.
    pub says: PlanVerdict,
    /// How often it would promote a useless challenger over as many bars, with the champion's flip
    /// rate, this horizon and this volatility, looked at daily from the seventh day.
    pub false_promotion: FalsePromotion,
}

/// Figures of some of the decisions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Which.
    pub name: String,
    /// The figures.
    pub figures: Figures,
}

/// Judges the log in `folder` by the pre-registration that lies beside it.
///
/// # Errors
/// [`ServeError::Io`] when log or pre-registration cannot be read, [`ServeError::Line`] when the
/// latter is none, [`ServeError::Setting`] for one that nothing can be judged by.
pub fn judge(folder: &Path, settings: &Settings) -> Result<Verdict, ServeError> {
    let (rule, sha256) = Preregistration::read(folder)?;
    rule.check()?;
    let horizon = i64::from(rule.horizon_hours) * HOUR;
    let records = read(folder, &sha256, horizon, settings.now)?;
    let reign = reign(&records);
    let challengers: Vec<Challenger> = reign
        .map(|reign| {
            let others = others(&records, reign);
            let alpha =
                rule.alpha / others.len().max(rule.arms.len().saturating_sub(1)).max(1) as f64;
            let regimes = regimes(&records);
            let case = Case {
                rule: &rule,
                records: &records,
                reign,
                horizon,
                regimes: &regimes,
                settings,
            };
            let against = |arm: u16| case.against(arm, alpha);
            others.into_iter().map(against).collect()
        })
        .unwrap_or_default();
    let (verdict, arm, reasons) = rule_on(&challengers, reign.is_some());
    let champion = reign.map(|reign| records.arms[reign.arm as usize].clone());
    Ok(Verdict {
        verdict,
        arm,
        reasons,
        registered: Registered {
            sha256,
            metric: rule.metric,
            alpha: rule.alpha,
            minimum_blocks: rule.minimum_blocks,
            clip: rule.clip,
            max_drawdown: rule.max_drawdown,
            cost_per_side: rule.cost_per_side,
            horizon_hours: rule.horizon_hours,
        },
        champion,
        champion_since: reign.map(|reign| Timestamp(reign.since)),
        lines: records.lines,
        faults: records.faults,
        challengers,
    })
}

/// Returns every arm but the champion, by name.
fn others(records: &Records, reign: Reign) -> Vec<u16> {
    let mut others: Vec<u16> = (0..records.arms.len() as u16)
        .filter(|&arm| arm != reign.arm)
        .collect();
    others.sort_by_key(|&arm| &records.arms[arm as usize]);
    others
}

struct Case<'a> {
    rule: &'a Preregistration,
    records: &'a Records,
    reign: Reign,
    horizon: i64,
    regimes: &'a std::collections::HashMap<(u32, i64), Regime>,
    settings: &'a Settings,
}

impl Case<'_> {
    fn against(&self, arm: u16, alpha: f64) -> Challenger {
        let (pairs, unpaired) = pairs(self.records, self.reign, arm, self.horizon);
        let blocks = blocks(&pairs, self.rule, self.horizon);
        let rows = matured(&pairs);
        let of = |rows: &[(Pair, Happened)]| figures(rows, self.rule.cost_per_side, self.horizon);
        let overall = of(&rows);
        let calibration = overall.is_some().then(|| {
            [
                calibration(&rows, self.horizon, |pair| &pair.champion),
                calibration(&rows, self.horizon, |pair| &pair.challenger),
            ]
        });
        let guardrails = self.guardrails(blocks.len(), drawdown(&blocks), overall.as_ref());
        let grouped = |name: &dyn Fn(&Pair) -> Option<String>| {
            let mut groups: BTreeMap<String, Vec<(Pair, Happened)>> = BTreeMap::new();
            for row in &rows {
                if let Some(name) = name(&row.0) {
                    groups.entry(name).or_default().push(*row);
                }
            }
            let figures =
                |(name, rows): (String, Vec<_>)| of(&rows).map(|figures| Group { name, figures });
            groups
                .into_iter()
                .filter_map(figures)
                .collect::<Vec<Group>>()
        };
        let regime = |pair: &Pair| self.regimes.get(&(pair.series, pair.time));
        let wild = |pair: &Pair| {
            regime(pair)?
                .wild
                .map(|wild| if wild { "wild" } else { "calm" })
        };
        let trend = |pair: &Pair| {
            regime(pair)?
                .rising
                .map(|up| if up { "rising" } else { "falling" })
        };
        let mut by_regime = grouped(&|pair| wild(pair).map(str::to_owned));
        by_regime.extend(grouped(&|pair| trend(pair).map(str::to_owned)));
        Challenger {
            name: self.records.arms[arm as usize].clone(),
            former_champion: self.reign.before == Some(arm),
            evidence: weigh(&blocks, self.rule, alpha),
            guardrails,
            unpaired,
            plan: overall
                .as_ref()
                .and_then(|figures| self.plan(&rows, figures)),
            figures: overall,
            calibration,
            by_instrument: grouped(&|pair| Some(self.series_name(pair.series))),
            by_regime,
            by_knowledge: grouped(&|pair| {
                let cutoff = self.settings.knowledge_cutoff?;
                let side = if pair.time < cutoff.0 {
                    "before"
                } else {
                    "after"
                };
                Some(format!("{side} {cutoff}"))
            }),
        }
    }

    /// The instrument, with its timeframe where it has several.
    fn series_name(&self, series: u32) -> String {
        let (instrument, timeframe) = &self.records.series[series as usize];
        let several = self
            .records
            .series
            .iter()
            .filter(|(own, _)| own == instrument);
        if several.count() > 1 {
            format!("{instrument}@{timeframe}")
        } else {
            instrument.to_string()
        }
    }

    fn guardrails(
        &self,
        blocks: usize,
        drawdown: f64,
        figures: Option<&Figures>,
    ) -> Vec<Guardrail> {
        let rule = self.rule;
        let largest = figures.map_or(1.0, |figures| {
            let shares = figures.challenger.class_mix.to_array();
            shares.into_iter().fold(0.0, f64::max)
        });
        vec![
            Guardrail {
                name: "minimum_blocks",
                holds: blocks >= rule.minimum_blocks,
                text: format!(
                    "{blocks} blocks, at least {} are asked",
                    rule.minimum_blocks
                ),
            },
            Guardrail {
                name: "drawdown",
                holds: drawdown <= rule.max_drawdown,
                text: format!(
                    "drawdown {:.1} %, at most {:.1} % is allowed",
                    100.0 * drawdown,
                    100.0 * rule.max_drawdown
                ),
            },
            Guardrail {
                name: "several_classes",
                holds: largest < 1.0,
                text: format!(
                    "its most frequent decision is {:.1} % of all, 100 % is refused",
                    100.0 * largest
                ),
            },
        ]
    }

    fn plan(&self, rows: &[(Pair, Happened)], figures: &Figures) -> Option<PlanRuling> {
        let of = |value: &dyn Fn(&(Pair, Happened)) -> usize| rows.iter().map(value).collect();
        let groups: Vec<usize> = of(&|(pair, _)| pair.series as usize);
        let truth: Vec<usize> = of(&|(_, happened)| plan_class(happened.change));
        let champion: Vec<usize> = of(&|(pair, _)| pair.champion.decision);
        let challenger: Vec<usize> = of(&|(pair, _)| pair.challenger.decision);
        let rule = PlanRule::default();
        let flip = figures.champion.flip_rate;
        let mut bars = BTreeMap::<usize, usize>::new();
        for &series in &groups {
            *bars.entry(series).or_default() += 1;
        }
        let (series, bars) = bars.into_iter().max_by_key(|&(_, bars)| bars)?;
        let bar = self.records.series[series].1.milliseconds();
        let horizon = (self.horizon / bar).max(1) as usize;
        let squares: f64 = rows
            .iter()
            .map(|(_, happened)| happened.change.powi(2))
            .sum();
        let world = World {
            bars,
            horizon,
            flip: if flip.is_nan() { 0.0 } else { flip },
            classes: 3,
            volatility: (squares / rows.len() as f64 / horizon as f64).sqrt(),
            threshold: super::PLAN_MOVE,
            skill: 0.0,
        };
        let per_day = (24 * HOUR / bar).max(1) as usize;
        let first_look = FIRST_LOOK_DAYS * per_day;
        let worlds = (SIMULATED_BARS / bars).clamp(WORLDS[1], WORLDS[0]);
        Some(PlanRuling {
            says: rule.apply(&groups, &truth, &champion, &challenger),
            false_promotion: rule.false_promotion(&world, first_look, per_day, worlds, SEED),
        })
    }
}

fn rule_on(
    challengers: &[Challenger],
    has_champion: bool,
) -> (Ruling, Option<String>, Vec<String>) {
    let mut reasons = Vec::new();
    if !has_champion {
        return (
            Ruling::Keep,
            None,
            vec!["no champion has decided anything yet".to_owned()],
        );
    }
    if challengers.is_empty() {
        return (
            Ruling::Keep,
            None,
            vec!["there is no challenger".to_owned()],
        );
    }
    let mut winner: Option<(&Challenger, Ruling)> = None;
    for challenger in challengers {
        let (ruling, reason) = rule_on_one(challenger);
        reasons.push(reason);
        let stronger = winner.is_none_or(|(best, before)| {
            // The arm to roll back to comes first, then the strongest evidence.
            let rank = |ruling, own: &Challenger| (ruling == Ruling::RollBack, own.evidence.log_e);
            rank(ruling, challenger) > rank(before, best)
        });
        if ruling != Ruling::Keep && stronger {
            winner = Some((challenger, ruling));
        }
    }
    match winner {
        Some((challenger, ruling)) => (ruling, Some(challenger.name.clone()), reasons),
        None => (Ruling::Keep, None, reasons),
    }
}

fn rule_on_one(challenger: &Challenger) -> (Ruling, String) {
    let evidence = &challenger.evidence;
    let name = &challenger.name;
    let weight = if evidence.e_value < 1e6 {
        format!("e-value {:.3}", evidence.e_value)
    } else {
        "e-value above a million".to_owned()
    };
    let weight = format!(
        "{weight} of {:.0} over {} blocks",
        evidence.threshold, evidence.blocks
    );
    if evidence.log_e < evidence.threshold.ln() {
        return (
            Ruling::Keep,
            format!("`{name}` is not shown to be better: {weight}"),
        );
    }
    if challenger.former_champion {
        let reason = format!("`{name}`, the former champion, is better: {weight}");
        return (Ruling::RollBack, reason);
    }
    match challenger.guardrails.iter().find(|rail| !rail.holds) {
        Some(rail) => (
            Ruling::Keep,
            format!("`{name}` is better ({weight}), but: {}", rail.text),
        ),
        None => (Ruling::Promote, format!("`{name}` is better: {weight}")),
    }
}
