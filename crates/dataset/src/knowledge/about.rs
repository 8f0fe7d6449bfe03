//! Questions that need no market: what a formula is, how it reads, what it needs,
//! where it comes from.

use formula::catalogue::{Catalogue, Entry};
use formula::language::{self, Notation};

use super::text::choice;
use super::{Kind, Maker};

const SEED: u64 = 5;

/// Adds the questions of one formula.
pub(crate) fn add(maker: &mut Maker<'_>, catalogue: &Catalogue) {
    let entry = maker.entry;
    definition(maker, entry);
    reading(maker, entry);
    applicability(maker, entry);
    translation(maker, entry);
    citation(maker, entry, catalogue);
}

/// Returns the formula's name with its id.
pub(crate) fn called(entry: &Entry) -> String {
    format!("{} ({})", entry.name, entry.id)
}

fn definition(maker: &mut Maker<'_>, entry: &Entry) {
    let ways = [
        "What does {} measure?",
        "Explain {} in plain words.",
        "A colleague asks what {} is. What do you say?",
        "Define {}.",
    ];
    let question = choice(&ways, SEED, &entry.id).replace("{}", &called(entry));
    let answer = format!("{}\nFormula: `{}`.", entry.explanation, entry.text);
    maker.add(Kind::Definition, question, answer);
    let ways = [
        "How are high and low values of {} read?",
        "What does a value of {} tell a trader?",
        "I computed {}. What do its values say?",
    ];
    let question = choice(&ways, SEED, &entry.id).replace("{}", &called(entry));
    let answer = format!("{}\n{}", entry.interpretation, entry.explanation);
    maker.add(Kind::Definition, question, answer);
    let question = format!("What should one beware of when using {}?", called(entry));
    let mut answer = entry.pitfalls.clone();
    if let Some(proxy) = &entry.proxy {
        answer += &format!(" It is a proxy: {proxy}");
    }
    if let Some(deviation) = &entry.deviation {
        answer += &format!(" Note on the source: {deviation}");
    }
    maker.add(Kind::Pitfalls, question, answer);
    let question = format!(
        "Which known formula is this, and what is it for?\n`{}`",
        entry.expression
    );
    let answer = format!("It is {}. {}", called(entry), entry.explanation);
    maker.add(Kind::Recognition, question, answer);
}

fn reading(maker: &mut Maker<'_>, entry: &Entry) {
    let steps = language::explain(&entry.expression);
    let ways = [
        "Read the expression of {} operator by operator:\n`{e}`",
        "Walk me through `{e}`, the formula of {}, from the inside out.",
        "In which order is `{e}` ({}) computed?",
    ];
    let question = choice(&ways, SEED, &entry.id)
        .replace("{}", &called(entry))
        .replace("{e}", &entry.expression.to_string());
    let lines: Vec<String> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| format!("{}. {}", index + 1, step.sentence))
        .collect();
    let answer = format!(
        "{}\nThe last step is the value of the formula.",
        lines.join("\n")
    );
    maker.add(Kind::Reading, question, answer);
}

fn applicability(maker: &mut Maker<'_>, entry: &Entry) {
    let needs = &entry.needs;
    let question = format!(
        "What data does {} need, and can it be used on currency pairs without true volume?",
        called(entry)
    );
    let columns: Vec<&str> = needs.fields.iter().map(String::as_str).collect();
    let mut answer = format!("It reads {}.", columns.join(", "));
    if needs.series {
        answer += " It gives one number for a whole series of returns, so any market will do that \
                   has a return series; it says nothing about a single bar.";
    }
    if needs.volume {
        answer += " It needs volume: on currency pairs only tick counts are there, so its value \
                   is about activity and no more than a proxy.";
    } else if !needs.ticks && !needs.series {
        answer += " It does not read volume, so currency pairs are no obstacle.";
    }
    if needs.cross_section {
        answer += " It compares instruments at one instant: with few instruments its values are \
                   coarse, and all must share a clock.";
    }
    if needs.groups {
        answer += " It needs groups; currency blocs can stand in for industries.";
    }
    if needs.ticks {
        answer += " It needs quotes or trades, not only bars.";
    }
    if !needs.given.is_empty() {
        let given: Vec<&str> = needs.given.iter().map(String::as_str).collect();
        answer += &format!(" It needs a further table with {}.", given.join(", "));
    }
    maker.add(Kind::Applicability, question, answer);
}

fn translation(maker: &mut Maker<'_>, entry: &Entry) {
    let spoken = |notation: Notation| match notation {
        Notation::Foretune => "the canonical notation (ts_, cs_ and group_ prefixes)",
        Notation::Alpha101 => "the notation of the 101 Formulaic Alphas",
        Notation::Gtja => "the upper-case notation of the GTJA 191 alphas",
        Notation::Qlib => "Qlib's notation",
    };
    let canonical = entry.expression.to_string();
    for notation in Notation::ALL {
        if notation == Notation::Foretune {
            if entry.notation == Notation::Foretune {
                continue;
            }
            let question = format!(
                "Translate {} from {} into {}:\n`{}`",
                called(entry),
                spoken(entry.notation),
                spoken(notation),
                entry.text
            );
            maker.add(Kind::Translation, question, format!("`{canonical}`"));
            continue;
        }
        // What a notation cannot say is not asked.
        let Ok(text) = language::print(&entry.expression, notation) else {
            continue;
        };
        let question = format!(
            "Write {} in {}. In the canonical notation it is\n`{canonical}`",
            called(entry),
            spoken(notation)
        );
        maker.add(Kind::Translation, question, format!("`{text}`"));
    }
}

fn citation(maker: &mut Maker<'_>, entry: &Entry, catalogue: &Catalogue) {
    let ways = [
        "Where does {} come from?",
        "Which source should be cited for {}?",
        "Who published {}?",
    ];
    let question = choice(&ways, SEED, &entry.id).replace("{}", &called(entry));
    let source = catalogue
        .family(&entry.family)
        .map_or("", |family| &family.source);
    let mut answer = format!("{}.", entry.citation.trim_end_matches('.'));
    if !source.is_empty() {
        answer += &format!(" Family: {}.", source.trim_end_matches('.'));
    }
    if !entry.also.is_empty() {
        answer += &format!(
            " The same formula is also known as {}.",
            entry.also.join(", ")
        );
    }
    maker.add(Kind::Citation, question, answer);
}
