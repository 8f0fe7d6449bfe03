//! Prompts and answers from evidence: what is shown, and how a verdict is argued for.
//!
//! A prompt knows nothing of the outcome. An answer states the outcome's verdict and argues with
//! what the prompt shows, on both sides; its numbers all stand in the prompt or are worked out in
//! it step by step. Phrases, their order, openings and closings are drawn by a hash of the
//! example's id.

use std::collections::BTreeSet;

use market::Timestamp;
use minijinja::{Value, context};

use super::evidence::{CERTAINTY_WEIGHTS, Evidence, tenth_percent};
use super::key::Key;
use super::words::{CALCULATION, Class, Part, READING, SCENARIO, Stance, Words};
use super::{BridgeSettings, Direction, Reasoning, Side, Verdict};
use crate::{DatasetError, Fact, Facts, claims, seed};

/// Features told in a reading, at most.
const TOLD: usize = 4;
/// A typical move of so many costs leaves room.
const ROOM: f64 = 5.0;

/// What is shown of one decision: evidence with what history makes of it.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) id: &'a str,
    pub(crate) instrument: &'a str,
    pub(crate) timeframe: &'a str,
    pub(crate) evidence: &'a Evidence,
    /// What history makes of it; none for a reading, which shows features alone.
    pub(crate) judged: Option<Judged>,
}

/// What history makes of evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// The calibrated certainty, to a tenth of a percent.
    pub(crate) certainty: f64,
    /// The sides that the conformal set holds: whether BUY and whether SELL.
    pub(crate) set: [bool; 2],
}

/// A feature as text.
#[derive(Debug, Clone)]
struct Told<'a> {
    title: &'a str,
    text: String,
    percentile: Option<String>,
    zone: &'static str,
    leans: Option<&'static str>,
}

impl Told<'_> {
    fn value(&self) -> Value {
        context! {
            title => self.title,
            text => self.text.clone(),
            percentile => self.percentile.clone(),
            zone => self.zone,
            leans => self.leans,
        }
    }
}

/// Writes prompts and answers.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) words: &'a Words,
    pub(crate) keys: &'a [Key],
    pub(crate) settings: &'a BridgeSettings,
}

impl Writer<'_> {
    /// Returns what templates may use.
    fn facts(&self, shown: &Shown<'_>) -> Value {
        let evidence = shown.evidence;
        let features: Vec<Value> = self
            .features(evidence)
            .into_iter()
            .map(|feature| feature.value())
            .collect();
        let cases = evidence.cases.as_ref().map(|cases| {
            context! {
                independent => cases.independent,
                wins => cases.wins,
                win_rate => percent(cases.win_rate),
                bound => percent(cases.bound),
                gain => points(cases.gain),
                loss => points(cases.loss),
                payoff => format!("{:.2}", cases.payoff),
                break_even => percent(cases.break_even),
                p_value => cases.p_value.map(p_value),
            }
        });
        context! {
            instrument => shown.instrument,
            timeframe => shown.timeframe,
            horizon_bars => self.settings.horizon_bars,
            features,
            signal => context! {
                side => evidence.signal.side.as_str(),
                confidence => percent(evidence.signal.confidence),
            },
            cases,
            factors => context! { agree => evidence.agree, against => evidence.against },
            typical_move => points(evidence.typical_move),
            cost => points(evidence.cost),
            set => shown.judged.map(|judged| set_text(judged.set)),
            certainty => shown.judged.map(|judged| percent(judged.certainty)),
            size => percent(evidence.size),
            raw => percent(evidence.raw),
            largest_size => percent(self.settings.largest_size),
            weights => CERTAINTY_WEIGHTS.map(|weight| weight.to_string()).to_vec(),
        }
    }

    /// Returns the features as text.
    fn features(&self, evidence: &Evidence) -> Vec<Told<'_>> {
        self.keys
            .iter()
            .zip(&evidence.factors)
            .map(|(key, factor)| {
                let text = factor.value.map_or_else(|| "n/a".to_owned(), number);
                let percentile = factor.percentile.map(|share| format!("{share}%"));
                Told {
                    title: &key.title,
                    text,
                    percentile,
                    zone: factor.percentile.map_or("", zone),
                    leans: factor.leans.map(Side::as_str),
                }
            })
            .collect()
    }

    /// Returns the facts of a prompt by name, for the record; all are known at the decision.
    pub(crate) fn record(&self, shown: &Shown<'_>, decided: Timestamp) -> Facts {
        let evidence = shown.evidence;
        let fact = |text: String, zone: &str, side: Option<Side>| Fact {
            text,
            zone: Some(zone.to_owned()).filter(|zone| !zone.is_empty()),
            supports: side.map(Side::decision),
            available_at: decided,
        };
        let mut facts = Facts::new();
        let features = self.features(evidence);
        for ((key, factor), feature) in self.keys.iter().zip(&evidence.factors).zip(features) {
            let text = match feature.percentile {
                Some(percentile) => format!("{} {percentile}", feature.text),
                None => feature.text,
            };
            facts.insert(key.column.clone(), fact(text, feature.zone, factor.leans));
        }
        if shown.judged.is_some() {
            let signal = fact(
                percent(evidence.signal.confidence),
                "",
                Some(evidence.signal.side),
            );
            facts.insert("signal".to_owned(), signal);
        }
        let mut plain = |name: &str, text: String| {
            facts.insert(name.to_owned(), fact(text, "", None));
        };
        plain("typical_move", points(evidence.typical_move));
        plain("cost", points(evidence.cost));
        let Some(judged) = shown.judged else {
            return facts;
        };
        if let Some(cases) = &evidence.cases {
            plain("cases", format!("{} of {}", cases.wins, cases.independent));
            plain("searched", cases.searched.to_string());
            plain("win_rate", percent(cases.win_rate));
            plain("bound", percent(cases.bound));
            plain("gain", points(cases.gain));
            plain("loss", points(cases.loss));
            plain("payoff", format!("{:.2}", cases.payoff));
            plain("break_even", percent(cases.break_even));
            if let Some(p_value) = cases.p_value {
                plain("p_value", self::p_value(p_value));
            }
            let kelly = tenth_percent(stats::kelly::fraction(cases.bound, cases.payoff));
            plain("kelly", percent(kelly));
        }
        plain(
            "factors",
            format!("{} and {}", evidence.agree, evidence.against),
        );
        let leaning = evidence.agree + evidence.against;
        plain("leaning", leaning.to_string());
        plain("agreement", percent(evidence.agreement()));
        plain("raw", percent(evidence.raw));
        plain("certainty", percent(judged.certainty));
        plain("size", percent(evidence.size));
        facts
    }

    /// Returns the prompt of a scenario.
    pub(crate) fn scenario(&self, shown: &Shown<'_>) -> Result<String, DatasetError> {
        self.words.prompt(SCENARIO, &self.facts(shown))
    }

    /// Returns the prompt of a reading.
    pub(crate) fn reading(&self, shown: &Shown<'_>) -> Result<String, DatasetError> {
        self.words.prompt(READING, &self.facts(shown))
    }

    /// Returns the prompt of a calculation and its answer; none without past cases.
    pub(crate) fn calculation(
        &self,
        shown: &Shown<'_>,
    ) -> Result<Option<(String, String)>, DatasetError> {
        let evidence = shown.evidence;
        let (Some(cases), Some(judged)) = (&evidence.cases, shown.judged) else {
            return Ok(None);
        };
        let facts = self.facts(shown);
        let prompt = self.words.prompt(CALCULATION, &facts)?;
        let words = &self.words.answers.calculation;
        let n = cases.independent;
        let mut steps = vec![
            format!(
                "Win rate ({} + 0.5) / ({n} + 1) = {}.",
                cases.wins,
                percent(cases.win_rate)
            ),
            format!(
                "Payoff {} / {} = {:.2}; break-even 1 / (1 + {:.2}) = {}.",
                points(cases.gain),
                points(cases.loss),
                cases.payoff,
                cases.payoff,
                percent(cases.break_even)
            ),
        ];
        let clears = cases.bound > cases.break_even;
        if clears {
            let kelly = tenth_percent(stats::kelly::fraction(cases.bound, cases.payoff));
            steps.push(format!(
                "Kelly at the bound {} - (1 - {}) / {:.2} = {}; half of it, at most {}: size {}.",
                percent(cases.bound),
                percent(cases.bound),
                cases.payoff,
                percent(kelly),
                percent(self.settings.largest_size),
                percent(evidence.size)
            ));
        } else {
            steps.push(format!(
                "The bound {} is not above {}: size {}.",
                percent(cases.bound),
                percent(cases.break_even),
                percent(evidence.size)
            ));
        }
        let agreement = evidence.agreement();
        steps.push(match evidence.agree + evidence.against {
            0 => format!("No factor leans: agreement {}.", percent(agreement)),
            leaning => format!(
                "Agreement {} / {leaning} = {}.",
                evidence.agree,
                percent(agreement)
            ),
        });
        let [confidence, rate, factor] = CERTAINTY_WEIGHTS;
        steps.push(format!(
            "Raw certainty {confidence} x {} + {rate} x {} + {factor} x {} = {}.",
            percent(evidence.signal.confidence),
            percent(evidence.win_rate()),
            percent(agreement),
            percent(evidence.raw)
        ));
        let end = if clears { &words.clear } else { &words.unclear };
        let answer = format!(
            "{}\n{}\n{} Certainty {}, size {}.",
            self.pick(&words.openings, shown.id, "opening"),
            steps.join("\n"),
            self.pick(end, shown.id, "closing"),
            percent(judged.certainty),
            percent(evidence.size)
        );
        Ok(Some((prompt, answer)))
    }

    /// Returns the answer that states a verdict.
    pub(crate) fn judge(
        &self,
        shown: &Shown<'_>,
        verdict: Verdict,
    ) -> Result<String, DatasetError> {
        let facts = self.facts(shown);
        let answers = &self.words.answers;
        let class = match verdict {
            Verdict::Approve => &answers.approve,
            Verdict::Veto => &answers.veto,
        };
        // The other verdict on the same facts is argued in other words.
        let name = format!("{}:{verdict}", shown.id);
        let order = self.pick(&answers.orders, &name, "order");
        let (mut agreeing, mut opposing, mut turns) = (0, 0, 0);
        let mut side = None;
        let mut sentences = Vec::new();
        for part in order {
            let Some(for_it) = speaks(*part, shown) else {
                continue;
            };
            let Some(clauses) = answers.clauses.get(part) else {
                continue;
            };
            if for_it == (verdict == Verdict::Approve) {
                agreeing += 1;
            } else {
                opposing += 1;
            }
            let phrases = if for_it {
                &clauses.for_it
            } else {
                &clauses.against
            };
            let phrase = self.pick(phrases, &name, &format!("{part:?}"));
            let phrase = self.words.phrase(phrase, &facts)?;
            // Words that turn stand where the side changes, and no two in an answer are alike.
            let turned = side.is_some_and(|before| before != for_it);
            side = Some(for_it);
            if turned {
                let first = seed::hash(self.settings.seed, "turn", &name) as usize;
                let turn =
                    &answers.turns[(first % answers.turns.len() + turns) % answers.turns.len()];
                turns += 1;
                sentences.push(format!("{}.", capital(&format!("{turn}{phrase}"))));
            } else {
                sentences.push(format!("{}.", capital(&phrase)));
            }
        }
        let when = match (agreeing, opposing) {
            (0, _) => Stance::Against,
            (_, 0) => Stance::Support,
            _ => Stance::Mixed,
        };
        let opening = self
            .words
            .phrase(self.opening(class, when, &name), &facts)?;
        let closings = if verdict == Verdict::Approve && shown.evidence.size == 0.0 {
            &class.unstaked
        } else {
            &class.closings
        };
        let closing = self.pick(closings, &name, "closing");
        let closing = self.words.phrase(closing, &facts)?;
        let reasons = sentences.join(" ");
        Ok(match self.settings.reasoning {
            Reasoning::Think => {
                format!("<think>\n{reasons}\n</think>\nDECISION: {verdict} - {opening} {closing}")
            }
            Reasoning::DecisionFirst => {
                format!("DECISION: {verdict} - {opening} {reasons} {closing}")
            }
            Reasoning::DecisionLast => {
                format!("{reasons}\nDECISION: {verdict} - {opening} {closing}")
            }
        })
    }

    /// Returns the answer that reads a direction.
    pub(crate) fn read(
        &self,
        shown: &Shown<'_>,
        direction: Direction,
    ) -> Result<String, DatasetError> {
        let facts = self.facts(shown);
        let answers = &self.words.answers;
        let class = match direction {
            Direction::Bullish => &answers.bullish,
            Direction::Bearish => &answers.bearish,
            Direction::Neutral => &answers.neutral,
        };
        let mut features = self.features(shown.evidence);
        features.retain(|feature| feature.percentile.is_some());
        let (mut leaning, plain): (Vec<_>, Vec<_>) = features
            .into_iter()
            .partition(|feature| feature.leans.is_some());
        let count = |side: Side| {
            let of_side = leaning.iter().filter(|f| f.leans == Some(side.as_str()));
            of_side.count()
        };
        let (up, down) = (count(Side::Buy), count(Side::Sell));
        let when = match direction {
            Direction::Bullish => directed(up, down),
            Direction::Bearish => directed(down, up),
            Direction::Neutral => match (up, down) {
                (0, 0) => Stance::Support,
                (0, _) | (_, 0) => Stance::Against,
                _ if up == down => Stance::Even,
                _ => Stance::Mixed,
            },
        };
        let start = seed::hash(self.settings.seed, "told", shown.id) as usize;
        if !leaning.is_empty() {
            let turn = start % leaning.len();
            leaning.rotate_left(turn);
        }
        let mut sentences = Vec::new();
        for (index, feature) in leaning.into_iter().take(TOLD).enumerate() {
            let phrase = self.pick(
                &answers.reading.features,
                shown.id,
                &format!("feature {index}"),
            );
            let told = self.words.phrase(phrase, &feature.value())?;
            sentences.push(format!("{}.", capital(&told)));
        }
        let unusual: Vec<_> = plain
            .into_iter()
            .filter(|feature| !feature.zone.is_empty() && feature.zone != "usual")
            .collect();
        if sentences.is_empty() && unusual.is_empty() {
            let phrase = self.pick(&answers.reading.none, shown.id, "none");
            sentences.push(format!("{}.", capital(phrase)));
        }
        if sentences.len() < TOLD && !unusual.is_empty() {
            let feature = &unusual[start % unusual.len()];
            let phrase = self.pick(&answers.reading.plain, shown.id, "plain");
            let told = self.words.phrase(phrase, &feature.value())?;
            sentences.push(format!("{}.", capital(&told)));
        }
        let opening = self
            .words
            .phrase(self.opening(class, when, shown.id), &facts)?;
        let closing = self.pick(&class.closings, shown.id, "closing");
        let closing = self.words.phrase(closing, &facts)?;
        Ok(format!(
            "READING: {direction} - {opening}. {} {closing}",
            sentences.join(" ")
        ))
    }

    fn opening<'w>(&self, class: &'w Class, when: Stance, name: &str) -> &'w str {
        let fitting: Vec<&str> = class
            .openings
            .iter()
            .filter(|opening| opening.when == when)
            .map(|opening| opening.text.as_str())
            .collect();
        let index = seed::hash(self.settings.seed, "opening", name) as usize;
        fitting[index % fitting.len()]
    }

    fn pick<'w, T>(&self, from: &'w [T], name: &str, purpose: &str) -> &'w T {
        let index = seed::hash(self.settings.seed, purpose, name) as usize;
        &from[index % from.len()]
    }
}

/// Returns how leans with and against a direction stand to it.
fn directed(with: usize, against: usize) -> Stance {
    match (with, against) {
        (0, 0) => Stance::Silent,
        (_, 0) => Stance::Support,
        _ if with > against => Stance::Mixed,
        _ if with == against => Stance::Even,
        _ => Stance::Against,
    }
}

/// Returns whether a part of the evidence speaks for the trade; none where it says nothing.
fn speaks(part: Part, shown: &Shown<'_>) -> Option<bool> {
    let evidence = shown.evidence;
    match part {
        Part::Signal => {
            let needed = evidence
                .cases
                .as_ref()
                .map_or(0.5, |cases| cases.break_even);
            Some(evidence.signal.confidence > needed.max(0.5))
        }
        Part::Cases => evidence
            .cases
            .as_ref()
            .map(|cases| cases.win_rate > cases.break_even),
        Part::Factors => {
            (evidence.agree != evidence.against).then_some(evidence.agree > evidence.against)
        }
        Part::Cost => Some(evidence.typical_move >= ROOM * evidence.cost),
        Part::Set => {
            let alone = match evidence.signal.side {
                Side::Buy => [true, false],
                Side::Sell => [false, true],
            };
            shown.judged.map(|judged| judged.set == alone)
        }
    }
}

/// Checks that every number of an answer stands in its prompt.
///
/// # Errors
/// [`DatasetError::UnknownNumber`] for the first that does not.
pub(crate) fn check_numbers(id: &str, prompt: &str, answer: &str) -> Result<(), DatasetError> {
    let shown: BTreeSet<&str> = claims::numbers(prompt).into_iter().collect();
    match claims::numbers(answer)
        .into_iter()
        .find(|number| !shown.contains(number))
    {
        None => Ok(()),
        Some(number) => Err(DatasetError::UnknownNumber {
            id: id.to_owned(),
            number: number.to_owned(),
        }),
    }
}

/// Returns a p-value as text; it is never 0.
fn p_value(value: f64) -> String {
    if value < 0.01 {
        "below 0.01".to_owned()
    } else {
        format!("{value:.2}")
    }
}

fn set_text(set: [bool; 2]) -> &'static str {
    match set {
        [true, true] => "BUY and SELL",
        [true, false] => "BUY",
        [false, true] => "SELL",
        [false, false] => "neither side",
    }
}

/// Returns the word for a percentile.
fn zone(percentile: u8) -> &'static str {
    match percentile {
        0..5 => "very low",
        5..25 => "low",
        25..=75 => "usual",
        76..=95 => "high",
        _ => "very high",
    }
}

/// Writes a fraction as a percentage with one decimal.
pub(crate) fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    // No minus before a zero.
    let value = if value.abs() < 0.05 { 0.0 } else { value };
    format!("{value:.1}%")
}

/// Writes a relative change in basis points with one decimal.
pub(crate) fn points(change: f64) -> String {
    let value = change * 1e4;
    let value = if value.abs() < 0.05 { 0.0 } else { value };
    format!("{value:.1}bp")
}

/// Writes a value with four significant digits and without an exponent.
pub(crate) fn number(value: f32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = f64::from(value.abs()).log10().floor();
    let decimals = (3.0 - exponent).clamp(0.0, 12.0) as usize;
    let text = format!("{:.decimals$}", f64::from(value));
    if text
        .trim_start_matches('-')
        .chars()
        .all(|c| c == '0' || c == '.')
    {
        return "0".to_owned();
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_no_exponent() {
        for (value, text) in [
            (0.000_345_67, "0.0003457"),
            (-63.214, "-63.21"),
            (0.0, "0"),
            (123_456.7, "123457"),
            (1e-20, "0"),
            (9.999_9, "10.000"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(percent(0.5432), "54.3%");
        assert_eq!(percent(-0.0001), "0.0%");
        assert_eq!(points(0.000_123), "1.2bp");
    }

    #[test]
    fn an_invented_number_is_refused() {
        check_numbers("id", "win rate 52.9%", "it won 52.9%").unwrap();
        assert!(check_numbers("id", "win rate 52.9%", "it won 53%").is_err());
    }
}
