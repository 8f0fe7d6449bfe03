//! Answers: one line, the decision first, then a reason made from the facts of the prompt.
//!
//! A reason names facts that agree with the decision where there are any, and says so openly where
//! none does or some speak against it. It states what is shown and how it is usually read; it never
//! states the outcome, a probability or a statistic that was not computed.

use minijinja::Value;

use crate::decision::{ANSWER_PREFIX, REASON_SEPARATOR};
use crate::facts::{Fact, Facts};
use crate::prompt::fact_context;
use crate::templates::{Reason, When};
use crate::{DatasetError, Decision, Templates, parse_answer, seed};

/// An answer and the template it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// `DECISION: BUY - ...`, one line.
    pub text: String,
    /// The id of the template.
    pub template: String,
}

/// Returns the answer that states `decision` on these facts. Template and order of the facts are
/// chosen by the seed and the example's id, so that they do not depend on other examples.
///
/// # Errors
/// [`DatasetError::Template`] for a name the template uses and the facts do not have,
/// [`DatasetError::NoArgument`] if no fact speaks for or against anything,
/// [`DatasetError::Form`] if the result is not one line of the form.
pub fn compose(
    facts: &Facts,
    decision: Decision,
    id: &str,
    templates: &Templates,
    seed: u64,
) -> Result<Completion, DatasetError> {
    let arguments = Arguments::new(facts, decision, id, seed);
    if arguments.support.is_empty() && arguments.oppose.is_empty() {
        return Err(DatasetError::NoArgument { id: id.to_owned() });
    }
    let reason = choose(templates.reasons(decision), &arguments, id, seed);
    let joined = match reason.when {
        When::Support => arguments.support.iter().take(2),
        When::Mixed | When::Against => arguments.support.iter().take(1),
    };
    let support: Vec<&str> = joined.map(String::as_str).collect();
    let mut context = fact_context(facts);
    let mut add = |name: &str, value: Value| context.insert(name.to_owned(), value);
    add("singular", Value::from(support.len() == 1));
    add("support", Value::from(support.join(" and ")));
    let oppose = arguments.oppose.first().map_or("", String::as_str);
    add("oppose", Value::from(oppose));
    let argument = templates.render_reason(reason, Value::from_pairs(context))?;
    let text = format!("{ANSWER_PREFIX}{decision}{REASON_SEPARATOR}{argument}");
    if text.lines().count() != 1 || parse_answer(&text) != Some(decision) {
        return Err(DatasetError::Form {
            template: reason.id.clone(),
            text,
            decision,
        });
    }
    Ok(Completion {
        text,
        template: reason.id.clone(),
    })
}

/// The phrases for and against a decision, the strongest first.
struct Arguments {
    support: Vec<String>,
    oppose: Vec<String>,
}

impl Arguments {
    fn new(facts: &Facts, decision: Decision, id: &str, seed: u64) -> Self {
        let mut ordered: Vec<(&String, &Fact)> = facts.iter().collect();
        ordered.sort_by_cached_key(|(name, fact)| {
            (
                std::cmp::Reverse(strength(name, fact)),
                seed::hash(seed, name, id),
            )
        });
        let with = |fits: &dyn Fn(Decision) -> bool| -> Vec<String> {
            let fits = |fact: &Fact| fact.supports.is_some_and(fits);
            let chosen = ordered.iter().filter(|(_, fact)| fits(fact));
            chosen.map(|(name, fact)| phrase(name, fact)).collect()
        };
        let mut support = with(&|side| side == decision);
        let oppose = if let Some(opposite) = decision.opposite() {
            let oppose = with(&|side| side == opposite);
            if support.is_empty() && oppose.is_empty() {
                // Nothing for either side: what is left is that nothing moves.
                with(&|side| side == Decision::Hold)
            } else {
                oppose
            }
        } else {
            if support.is_empty() {
                support.extend(clash(&ordered));
            }
            with(&|side| side != Decision::Hold)
        };
        Self { support, oppose }
    }
}

/// A phrase that names one fact for each side, if there are both.
fn clash(ordered: &[(&String, &Fact)]) -> Option<String> {
    let first = |side: Decision| {
        ordered
            .iter()
            .find(|(_, fact)| fact.supports == Some(side))
            .map(|(name, fact)| short_phrase(name, fact))
    };
    let (up, down) = (first(Decision::Buy)?, first(Decision::Sell)?);
    Some(format!("a clash of {up} and {down}"))
}

/// How much a fact stands out: the RSI and whatever lies at an extreme first.
fn strength(name: &str, fact: &Fact) -> u8 {
    match (name, fact.zone.as_deref()) {
        ("rsi", _) => 2,
        (_, Some("below lower" | "above upper" | "extreme fear" | "extreme greed")) => 1,
        _ => 0,
    }
}

fn phrase(name: &str, fact: &Fact) -> String {
    let zone = fact.zone.as_deref().unwrap_or("n/a");
    match title(name) {
        Some(title) => format!("{title} at {} ({zone})", fact.text),
        None => short_phrase(name, fact),
    }
}

fn short_phrase(name: &str, fact: &Fact) -> String {
    let zone = fact.zone.as_deref().unwrap_or("n/a");
    match title(name) {
        // Without its number the average needs no period.
        Some(title) => format!("{} ({zone})", title.trim_end_matches("(50)")),
        None => format!("the {} trend ({zone})", fact.text),
    }
}

/// How an answer names a fact; trends have no number to name.
fn title(name: &str) -> Option<&'static str> {
    Some(match name {
        "rsi" => "RSI",
        "macd" => "MACD",
        "ema" => "EMA(50)",
        "bollinger" => "Bollinger",
        "fear_greed" => "Fear & Greed",
        "change_24h" => "24h change",
        _ => return None,
    })
}

/// Chooses among the templates that fit what the facts say.
fn choose<'a>(reasons: &'a [Reason], arguments: &Arguments, id: &str, seed: u64) -> &'a Reason {
    let fits = |when: When| match (arguments.support.is_empty(), arguments.oppose.is_empty()) {
        (true, _) => when == When::Against,
        (false, true) => when == When::Support,
        (false, false) => when != When::Against,
    };
    let fitting: Vec<&Reason> = reasons.iter().filter(|reason| fits(reason.when)).collect();
    // Loading refuses a file without a template for each of the three situations.
    fitting[(seed::hash(seed, "template", id) % fitting.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::as_of::tests::view;
    use crate::facts::facts;
    use crate::{AsOf, DatasetSettings, claims, render_prompt};
    use formula::zones::Trend;

    fn all(view: &AsOf, decision: Decision) -> Vec<Completion> {
        let settings = DatasetSettings::default();
        let templates = Templates::load(&settings).unwrap();
        let facts = facts(view, &settings);
        let prompt = render_prompt(view, &templates, &settings).unwrap();
        (0..200)
            .map(|number| {
                let id = format!("example {number}");
                let completion = compose(&facts, decision, &id, &templates, 1).unwrap();
                assert_eq!(parse_answer(&completion.text), Some(decision));
                claims::check(&id, &completion.text, &prompt, &facts).unwrap();
                completion
            })
            .collect()
    }

    /// A view in which nothing speaks for either side.
    fn neutral() -> AsOf {
        let mut view = view();
        view.rsi.value = 50.0;
        view.macd_histogram.value = 0.0;
        view.percent_b.value = 0.5;
        view.fear_greed = None;
        view.frames[0].state.as_mut().unwrap().value.trend = Trend::Flat;
        view
    }

    /// A view in which everything but the averages speaks for SELL.
    fn falling() -> AsOf {
        let mut view = neutral();
        view.rsi.value = 75.0;
        view.macd_histogram.value = -10.0;
        view.percent_b.value = 1.2;
        view.frames[0].state.as_mut().unwrap().value.trend = Trend::Down;
        view.ema.iter_mut().for_each(|ema| ema.value = 10_000.0);
        view
    }

    fn ids(completions: &[Completion]) -> BTreeSet<&str> {
        let ids = completions.iter().map(|c| c.template.as_str());
        ids.map(|id| id.rsplit_once('-').unwrap().1).collect()
    }

    #[test]
    fn supported_decisions_name_their_support() {
        let completions = all(&falling(), Decision::Sell);
        assert_eq!(ids(&completions), ["01", "02", "03", "04", "05"].into());
        for completion in &completions {
            let named = completion.text.contains("RSI at 75.0 (overbought)");
            assert!(named, "{}", completion.text);
        }
        let plural = completions.iter().find(|c| c.template == "sell-04");
        let text = &plural.unwrap().text;
        assert!(text.contains(" argue for a short"), "{text}");
    }

    #[test]
    fn mixed_facts_use_both_kinds() {
        let completions = all(&view(), Decision::Buy);
        let expect = ["01", "02", "03", "04", "05", "06", "07", "08", "09"];
        assert_eq!(ids(&completions), expect.into());
        let mixed = completions.iter().find(|c| c.template == "buy-06").unwrap();
        let text = &mixed.text;
        assert!(text.contains("RSI at 28.3 (oversold) favours"), "{text}");
        assert!(text.contains("despite "), "{text}");
    }

    #[test]
    fn decisions_without_support_say_so() {
        let completions = all(&falling(), Decision::Buy);
        assert_eq!(ids(&completions), ["10", "11", "12"].into());
        for completion in &completions {
            let named = completion.text.contains("RSI at 75.0 (overbought)");
            assert!(named, "{}", completion.text);
        }
        // Neither side: the neutral facts are what speaks against a trade.
        let completions = all(&neutral(), Decision::Sell);
        assert_eq!(ids(&completions), ["10", "11", "12"].into());
        assert!(completions[0].text.contains("RSI at 50.0 (neutral)"));
    }

    #[test]
    fn holding_rests_on_neutral_facts_or_on_a_clash() {
        let completions = all(&neutral(), Decision::Hold);
        assert_eq!(
            ids(&completions),
            ["01", "02", "03", "04", "05", "13"].into()
        );
        let mut clashing = falling();
        clashing.rsi.value = 20.0;
        let clash = "a clash of RSI (oversold) and ";
        for completion in all(&clashing, Decision::Hold) {
            assert!(completion.text.contains(clash), "{}", completion.text);
        }
        let mut one_sided = falling();
        one_sided.frames.clear();
        assert_eq!(
            ids(&all(&one_sided, Decision::Hold)),
            ["10", "11", "12"].into()
        );
    }

    #[test]
    fn without_a_fact_there_is_no_reason_to_give() {
        let templates = Templates::load(&DatasetSettings::default()).unwrap();
        let error = compose(&Facts::new(), Decision::Buy, "id", &templates, 1).unwrap_err();
        assert!(matches!(error, DatasetError::NoArgument { .. }), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn the_choice_is_stable() {
        assert_eq!(all(&view(), Decision::Buy), all(&view(), Decision::Buy));
    }

    #[test]
    fn a_template_of_two_lines_is_refused() {
        let settings = DatasetSettings::default();
        let built_in = Templates::load(&settings).unwrap();
        let source = built_in
            .completion_source()
            .replace("which favours a rise.", "which\\nfavours a rise.");
        let templates = Templates::parse(
            "p",
            built_in.prompt_source().to_owned().into(),
            "c",
            source.into(),
        )
        .unwrap();
        let facts = facts(&view(), &settings);
        let error = (0..200)
            .find_map(|n| compose(&facts, Decision::Buy, &n.to_string(), &templates, 1).err())
            .unwrap();
        assert!(matches!(error, DatasetError::Form { .. }), "{error}");
    }
}
