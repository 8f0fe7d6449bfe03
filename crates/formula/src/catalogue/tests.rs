//! What the reader takes, what it counts, and one test for each thing it refuses.

use super::*;

const HEAD: &str = r#"
[family]
id = "own"
title = "Own formulas"
source = "None"
profile = "paper"
notation = "foretune"
"#;

/// A formula with `lines` in place of the standard id and expression.
fn formula(lines: &str) -> String {
    let mut text = "\n[[formula]]\n".to_owned();
    for (key, value) in [
        ("id", "own.a"),
        ("expression", "close"),
        ("name", "A"),
        ("citation", "p. 1"),
        ("explanation", "The close."),
        ("interpretation", "High when high."),
        ("pitfalls", "None."),
    ] {
        let given = |line: &str| line.split('=').next().is_some_and(|k| k.trim() == key);
        if !lines.lines().any(given) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    text + lines + "\n"
}

fn read(formulas: &[&str]) -> Result<Catalogue, Faults> {
    let formulas: Vec<String> = formulas.iter().map(|lines| formula(lines)).collect();
    Catalogue::parse("own.toml", &format!("{HEAD}{}", formulas.concat()))
}

/// Checks the only fault of a file.
fn refused(text: &str, expected: &str, hint: &str) {
    let faults = Catalogue::parse("own.toml", text).unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}");
    assert_eq!(faults.0[0].to_string(), expected);
    assert_eq!(faults.0[0].problem.hint().unwrap_or_default(), hint);
}

fn refused_formula(lines: &str, expected: &str, hint: &str) {
    refused(&format!("{HEAD}{}", formula(lines)), expected, hint);
}

#[test]
fn every_file_of_the_program_loads() {
    if let Err(faults) = Catalogue::builtin() {
        panic!("{faults}");
    }
}

#[test]
fn a_formula_with_everything() {
    let catalogue = read(&[
        "expression = \"adv(20) / cs_mean(returns)\"\nproxy = \"Ticks.\"\nalso = [\"other.B\"]",
    ])
    .unwrap();
    let entry = catalogue.get("other.B").unwrap();
    assert_eq!(entry.id, "own.a");
    assert_eq!(entry.profile, Profile::PAPER);
    assert_eq!(entry.proxy.as_deref(), Some("Ticks."));
    let fields: Vec<&str> = entry.needs.fields.iter().map(String::as_str).collect();
    assert_eq!(
        fields,
        ["close", "high", "low", "returns", "volume", "vwap"]
    );
    assert!(entry.needs.volume && entry.needs.cross_section);
    assert!(!entry.needs.groups && !entry.needs.ticks && !entry.needs.series);
}

#[test]
fn grids() {
    let lines = "id = \"own.m{d}_{k}\"\nfor = { d = [5, 10], k = [0.5, 2] }\nexpression = \"ts_mean(close, {d}) * {k}\"\nname = \"{d} by {k}\"\nalso = [\"other.m{d}{k}\"]";
    let text = lines
        .replace("m{d}_{k}\"", "m{d}_{n}\"")
        .replace("k = [0.5, 2] }", "k = [0.5, 2], n = [1] }");
    // Two values of k give the same id.
    let faults = read(&[text.as_str()]).unwrap_err();
    assert!(matches!(faults.0[0].problem, FaultKind::DuplicateId { .. }));
    let lines = lines.replace("[0.5, 2]", "[3, 2]");
    let catalogue = read(&[lines.as_str()]).unwrap();
    let ids: Vec<&str> = catalogue.entries().iter().map(|e| e.id.as_str()).collect();
    assert_eq!(ids, ["own.m5_3", "own.m5_2", "own.m10_3", "own.m10_2"]);
    let last = catalogue.get("own.m10_2").unwrap();
    assert_eq!(last.expression.to_string(), "ts_mean(close, 10) * 2");
    assert_eq!(
        (last.name.as_str(), last.also[0].as_str()),
        ("10 by 2", "other.m102")
    );
    let counts = catalogue.counts();
    assert_eq!((counts.expressions, counts.structures), (4, 1));
    assert_eq!(catalogue.by_family()[0].1, counts);
}

#[test]
fn words() {
    let b = "id = \"own.b\"\nname = \"Amihud\"\nexpression = \"open\"";
    let c = "id = \"own.c\"\nexplanation = \"After Amihud and others.\"\nexpression = \"low\"";
    let catalogue = read(&[c, b, ""]).unwrap();
    let found = |words| -> Vec<&str> {
        let found = catalogue.search(words).into_iter();
        found.map(|entry| entry.id.as_str()).collect()
    };
    assert_eq!(found("amihud"), ["own.b", "own.c"]);
    assert_eq!(found("others AMIHUD"), ["own.c"]);
    assert_eq!(found("own formulas"), ["own.c", "own.b", "own.a"]);
    assert_eq!(catalogue.nearest("own.bb"), Some("own.b"));
}

#[test]
fn broken_toml() {
    refused(
        &HEAD.replace("title =", "title"),
        "own.toml:4: key with no value, expected `=`",
        "",
    );
}

#[test]
fn unknown_keys() {
    refused_formula(
        "explenation = \"x\"",
        "own.toml:17: unknown field `explenation`, expected one of `id`, `name`, `expression`, `citation`, `explanation`, `interpretation`, `pitfalls`, `for`, `profile`, `notation`, `proxy`, `deviation`, `also`",
        "did you mean `explanation`?",
    );
}

#[test]
fn missing_keys() {
    let text = format!("{HEAD}{}", formula("")).replace("pitfalls", "# pitfalls");
    refused(&text, "own.toml:9: missing field `pitfalls`", "");
}

#[test]
fn unknown_profiles_and_notations() {
    refused_formula(
        "profile = \"papers\"",
        "own.toml:17: unknown profile `papers`",
        "known are paper, brain, kunquant, qlib, talib",
    );
    refused(
        &HEAD.replace("foretune", "wq"),
        "own.toml:7: unknown notation `wq`",
        "known are foretune, alpha101, gtja, qlib",
    );
}

#[test]
fn ids() {
    for id in ["own", "own.", "other.a", "own.a b", "own.a.b"] {
        let expected = format!("own.toml:16: id `{id}` is not `own.` and letters, digits or `_`");
        refused_formula(&format!("id = \"{id}\""), &expected, "");
    }
}

#[test]
fn empty_texts() {
    refused_formula(
        "pitfalls = \" \"",
        "own.toml:10: `pitfalls` of `own.a` is empty",
        "",
    );
}

#[test]
fn placeholders_without_a_grid() {
    refused_formula(
        "name = \"the {d}\"",
        "own.toml:10: `name` of `own.a` has `{d}`, which `for` does not give",
        "",
    );
}

#[test]
fn grids_of_nothing() {
    refused_formula(
        "for = { d = [] }",
        "own.toml:10: `for` of `own.a` gives no formula",
        "",
    );
    refused_formula(
        "for = { d = [true] }",
        "own.toml:10: `for` of `own.a` is not of numbers",
        "",
    );
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many = many.join(", ");
    refused_formula(
        &format!("for = {{ d = [{many}], k = [{many}] }}"),
        "own.toml:10: `for` of `own.a` gives too many formulas",
        "",
    );
}

#[test]
fn expressions() {
    refused_formula(
        "expression = \"1 + ts_maen(close, 2)\"",
        "own.toml:16: `own.a`: unknown operator `ts_maen`, at column 5",
        "did you mean `ts_mean`?",
    );
}

#[test]
fn duplicates() {
    let twice = read(&["", "expression = \"open\""]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "own.toml:20: id `own.a` is there already, in own.toml:10"
    );
    let same = read(&[
        "expression = \"open + close\"",
        "id = \"own.b\"\nexpression = \"close + open\"",
    ])
    .unwrap_err();
    assert_eq!(
        same.to_string(),
        "own.toml:24: `own.b` computes the same as `own.a`\nhint: leave it out and list `own.b` under `also` of `own.a`"
    );
}
