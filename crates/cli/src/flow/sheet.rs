//! The scoring sheet of Gate 4: what the model answers, and empty columns for a person's verdict.
//!
//! A table to fill in with any spreadsheet, and a page to read the prompts beside the answers. The
//! outcome is on neither: who knows it does not read the reasoning.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::files;

/// One answer to be judged.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The example.
    pub(crate) id: String,
    /// The prompt.
    pub(crate) prompt: String,
    /// The answer of our engine.
    pub(crate) answer: String,
    /// The answer of what a user would load, where one was written.
    pub(crate) served: Option<String>,
}

/// The columns a person fills in: name and what to write.
const QUESTIONS: [(&str, &str); 5] = [
    ("form", "1 if it has the form above, else 0"),
    (
        "numbers",
        "1 if every number in it stands in the prompt, else 0",
    ),
    ("reason", "1 (does not follow) to 5 (follows from the data)"),
    ("act", "yes or no: would you act on it?"),
    ("remark", "anything else"),
];

/// Writes `answers.csv` and `answers.html` into `folder` and returns their paths.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn write(folder: &Path, form: &str, rows: &[Row]) -> anyhow::Result<[PathBuf; 2]> {
    let paths = [folder.join("answers.csv"), folder.join("answers.html")];
    files::write(&paths[0], table(rows).as_bytes())?;
    files::write(&paths[1], page(form, rows).as_bytes())?;
    Ok(paths)
}

fn table(rows: &[Row]) -> String {
    let mut out = "number,id,answer,answer as served".to_owned();
    for (name, _) in QUESTIONS {
        let _ = write!(out, ",{name}");
    }
    out.push('\n');
    for (at, row) in rows.iter().enumerate() {
        let served = row.served.as_deref().unwrap_or_default();
        let _ = write!(out, "{}", at + 1);
        for cell in [&row.id, &row.answer, served] {
            let _ = write!(out, ",{}", quoted(cell));
        }
        out.push_str(&",".repeat(QUESTIONS.len()));
        out.push('\n');
    }
    out
}

/// Quotes a cell. A text a spreadsheet would take for a formula gets an apostrophe.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

fn page(form: &str, rows: &[Row]) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Answers to review</title><style>\
         :root{color-scheme:light dark}\
         body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         article{border-top:1px solid;padding:1rem 0;break-inside:avoid}\
         pre{white-space:pre-wrap;overflow-wrap:anywhere;border-left:.25rem solid;padding-left:1rem}\
         table{border-collapse:collapse;width:100%}th,td{border:1px solid;padding:.25rem .5rem;\
         text-align:left}td.write{min-width:8rem}</style></head><body>\n\
         <h1>Answers to review</h1>\n",
    );
    let _ = writeln!(
        out,
        "<p>{} held-out prompts and what the model answers. Write your verdicts into \
         <code>answers.csv</code> beside this page, or print it. The outcomes are left out on \
         purpose. An answer should read <code>{}</code>.</p>\n<dl>",
        rows.len(),
        escaped(form)
    );
    for (name, meaning) in QUESTIONS {
        let _ = writeln!(out, "<dt><b>{name}</b></dt><dd>{}</dd>", escaped(meaning));
    }
    out.push_str("</dl>\n");
    for (at, row) in rows.iter().enumerate() {
        article(&mut out, at + 1, row);
    }
    out.push_str("</body></html>\n");
    out
}

fn article(out: &mut String, number: usize, row: &Row) {
    let _ = writeln!(
        out,
        "<article><h2>{number}. {}</h2>\n<details><summary>Prompt</summary><pre>{}</pre></details>\n\
         <h3>Answer</h3><pre>{}</pre>",
        escaped(&row.id),
        escaped(&row.prompt),
        escaped(&row.answer)
    );
    match &row.served {
        Some(served) if *served != row.answer => {
            let _ = writeln!(out, "<h3>As served</h3><pre>{}</pre>", escaped(served));
        }
        Some(_) => out.push_str("<p>As served: the same.</p>\n"),
        None => {}
    }
    out.push_str("<table><tr>");
    for (name, _) in QUESTIONS {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr><tr>");
    for _ in QUESTIONS {
        out.push_str("<td class=\"write\">&nbsp;</td>");
    }
    out.push_str("</tr></table></article>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(answer: &str, served: Option<&str>) -> Row {
        Row {
            id: "BTC/USD@1h@2019-03-01T12:00:00Z".to_owned(),
            prompt: "Price: <9,000>\n".to_owned(),
            answer: answer.to_owned(),
            served: served.map(str::to_owned),
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_answer_and_room_for_verdicts() {
        let rows = [
            row("DECISION: BUY - \"cheap\", now", Some("=1+1")),
            row("x", None),
        ];
        insta::assert_snapshot!(table(&rows), @r#"
        number,id,answer,answer as served,form,numbers,reason,act,remark
        1,"BTC/USD@1h@2019-03-01T12:00:00Z","DECISION: BUY - ""cheap"", now","'=1+1",,,,,
        2,"BTC/USD@1h@2019-03-01T12:00:00Z","x","",,,,,
        "#);
    }

    #[test]
    fn a_page_shows_text_as_text() {
        let page = page(
            "DECISION: BUY|SELL|HOLD - reason",
            &[row("<script>", Some("<script>")), row("a", Some("b"))],
        );
        assert!(!page.contains("<script>"));
        assert!(page.contains("Price: &lt;9,000&gt;"));
        assert_eq!(page.matches("<article>").count(), 2);
        assert!(page.contains("As served: the same") && page.contains("<h3>As served</h3>"));
    }
}
