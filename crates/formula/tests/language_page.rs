//! `docs/formula-language.md` says what the parser does, and `docs/formula-reference.md` lists what
//! there is.
use std::fs;
use std::path::PathBuf;

use formula::Profile;
use formula::fields::{FIELDS, Source};
use formula::language::{self, Notation};
use formula::operators::{self, Axis, Operator};

/// Set to write the reference anew.
const WRITE: &str = "FORETUNE_WRITE_REFERENCE";

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

/// Returns the lines of the fenced blocks of a language.
fn examples(text: &str, language: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = fence == language;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn every_example_is_as_the_page_says() {
    let text = fs::read_to_string(page("formula-language.md")).unwrap();
    for notation in Notation::ALL {
        let examples = examples(&text, notation.name());
        assert!(examples.len() >= 2, "{}", notation.name());
        for example in examples {
            if let Err(error) = language::parse(&example, notation) {
                panic!("{error}\n{}", error.caret());
            }
        }
    }
    let refused = examples(&text, "refused");
    assert!(refused.len() > 10);
    for example in refused {
        assert!(
            language::parse(&example, Notation::Foretune).is_err(),
            "{example} is not refused"
        );
    }
    let shown = "close / ts_maen(close, 20)";
    let error = language::parse(shown, Notation::Foretune).unwrap_err();
    let caret = error.caret().to_string().replace('\n', "\n    ");
    let message = format!(
        "    {error}\n    {caret}\n    hint: {}\n",
        error.hint().unwrap()
    );
    assert!(text.contains(&message), "the page does not show\n{message}");
}

#[test]
fn the_reference_lists_all_there_is() {
    let path = page("formula-reference.md");
    let expected = reference();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "docs/formula-reference.md is out of date: run `{WRITE}=1 cargo test -p foretune-formula --test language_page`"
    );
}

fn reference() -> String {
    let mut text = "# Operators, columns and profiles of the formula language\n\n\
        Written from the program's own tables; `docs/formula-language.md` says how formulas are written.\n"
        .to_owned();
    for (axis, title) in [
        (Axis::Element, "One value at a time"),
        (Axis::Time, "Along time"),
        (Axis::CrossSection, "Across instruments"),
        (Axis::Group, "Within groups"),
        (Axis::Series, "A whole return series"),
    ] {
        let of_axis = operators::all().iter().filter(|o| o.axis == axis);
        let rows: String = of_axis.map(|operator| row(operator)).collect();
        if !rows.is_empty() {
            text += &format!(
                "\n## {title}\n\n| operator | gives | other notations |\n| --- | --- | --- |\n{rows}"
            );
        }
    }
    text += "\n## Columns\n\n| column | means | from |\n| --- | --- | --- |\n";
    for field in FIELDS {
        let source = match field.source {
            Source::Bars => "the bars".to_owned(),
            Source::Derived(formula) => format!("the data, or else `{formula}`"),
            Source::Clock => "the clock".to_owned(),
            Source::Ticks => "quotes and trades".to_owned(),
            Source::Given => "a table of the user's".to_owned(),
            Source::Group => "the instrument's groups".to_owned(),
            Source::Series => "a return series".to_owned(),
        };
        text += &format!("| `{}` | {} | {source} |\n", field.name, field.meaning);
    }
    text += "\n## Profiles\n\n| convention |";
    for profile in Profile::ALL {
        text += &format!(" `{}` |", profile.name);
    }
    text += &format!("\n|{}\n", " --- |".repeat(Profile::ALL.len() + 1));
    for (title, value) in conventions() {
        let values: Vec<String> = Profile::ALL.iter().map(value).collect();
        text += &format!("| {title} | {} |\n", values.join(" | "));
    }
    text
}

fn row(operator: &Operator) -> String {
    let elsewhere: Vec<String> = [Notation::Alpha101, Notation::Gtja, Notation::Qlib]
        .into_iter()
        .filter_map(|notation| language::foreign_name(operator, notation))
        .map(|name| format!("`{name}`"))
        .collect();
    format!(
        "| `{}` | {} | {} |\n",
        language::signature(operator),
        operator.meaning.replace(['{', '}'], "").replace('|', "\\|"),
        elsewhere.join(" ")
    )
}

type Convention = (&'static str, fn(&Profile) -> String);

fn conventions() -> [Convention; 9] {
    [
        ("rank across instruments", |p| format!("{:?}", p.cross_rank)),
        ("rank along time", |p| format!("{:?}", p.time_rank)),
        ("place of an extremum", |p| format!("{:?}", p.position)),
        ("degrees of freedom taken off", |p| p.ddof.to_string()),
        ("windows before they are full", |p| {
            format!("{:?}", p.warm_up)
        }),
        ("correlation with a constant", |p| format!("{:?}", p.flat)),
        ("seed of exponential averages", |p| format!("{:?}", p.seed)),
        ("comparison with an unknown value", |p| {
            format!("{:?}", p.comparison)
        }),
        ("`adv` averages", |p| format!("{:?}", p.average_volume)),
    ]
}
