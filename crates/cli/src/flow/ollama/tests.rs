//! The dialects against the templates of real families, as transformers renders them
//! (`python/reference/chat_fixtures.py`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::settings::Answers;

#[derive(Deserialize)]
struct Family {
    bos: String,
    eos: String,
    template: String,
    chats: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    flags: BTreeMap<String, bool>,
    messages: Vec<Turn>,
    prompt: bool,
    text: String,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

fn families() -> BTreeMap<String, Family> {
    let text = include_str!("../../../../model/tests/fixtures/families/families.json");
    serde_json::from_str(text).unwrap()
}

fn template(family: &Family, flags: &BTreeMap<String, bool>) -> ChatTemplate {
    let start = ChatTemplate::new(&family.template, &family.bos, &family.eos).unwrap();
    flags
        .iter()
        .fold(start, |template, (name, on)| template.with_flag(name, *on))
}

/// What Go's template engine makes of the few things these templates use, up to the answer.
fn executed(template: &str, system: Option<&str>, prompt: &str) -> String {
    let (before, rest) = template.split_once("{{ if .System }}").unwrap();
    let (block, rest) = rest.split_once("{{ end }}").unwrap();
    let system = system.map_or(String::new(), |text| block.replace("{{ .System }}", text));
    let whole = format!("{before}{system}{rest}");
    let (asked, _) = whole.split_once("{{ .Response }}").unwrap();
    assert_eq!(asked.matches("{{").count(), 1, "{asked}");
    asked.replace("{{ .Prompt }}", prompt)
}

#[test]
fn every_family_s_go_template_gives_the_text_of_transformers() {
    let mut compared = BTreeMap::new();
    for (name, family) in families() {
        for case in &family.chats {
            let [turn] = &case.messages[..] else { continue };
            if !case.prompt || turn.role != "user" {
                continue;
            }
            let chat = chat(&template(&family, &case.flags), false).unwrap();
            let go = chat.template.unwrap();
            // What trims the question says so.
            let trims = chat.notes.iter().any(|note| note.contains("white space"));
            let content = if trims {
                turn.content.trim()
            } else {
                &turn.content
            };
            assert_eq!(
                executed(&go, chat.system.as_deref(), content),
                case.text,
                "{name}"
            );
            *compared.entry(name.clone()).or_insert(0) += 1;
        }
    }
    let names: Vec<&str> = compared.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "llama2", "llama3", "mistral", "qwen2", "qwen3", "r1", "smollm"
        ]
    );
    assert!(compared["qwen3"] >= 2, "with and without thinking");
}

#[test]
fn what_ollama_adds_by_itself_is_left_out() {
    let families = families();
    let none = BTreeMap::new();
    let go = |name: &str, add_bos: bool| {
        let chat = chat(&template(&families[name], &none), add_bos).unwrap();
        (chat.template.unwrap(), chat.notes)
    };
    assert!(go("r1", false).0.starts_with("<｜begin▁of▁sentence｜>"));
    assert!(go("r1", true).0.starts_with("{{ if .System }}"));
    assert!(
        go("llama3", true)
            .0
            .starts_with("{{ if .System }}<|start_header_id|>system")
    );
    assert!(go("smollm", false).1.is_empty());
    // This beginning-of-sequence token would be one too many, which cannot be prevented here.
    assert!(go("smollm", true).1[0].contains("ollama puts `<|im_start|>`"));
    // Llama 3 writes a date before a system text.
    assert!(go("llama3", true).1[0].contains("leave SYSTEM as it is"));
}

#[test]
fn an_unknown_template_gives_none() {
    let source =
        "{% for m in messages %}### {{ m.role }}: {{ m.content }}\n{% endfor %}### assistant:";
    let other = ChatTemplate::new(source, "", "</s>").unwrap();
    let chat = chat(&other, false).unwrap();
    assert_eq!((chat.template, chat.dialect), (None, None));
    assert!(chat.notes[0].contains("no TEMPLATE"));
}

#[test]
fn a_modelfile_says_everything_once() {
    let families = families();
    let chat = chat(&template(&families["qwen2"], &BTreeMap::new()), false).unwrap();
    let text = modelfile(
        &chat,
        &Parameters {
            model: "base.gguf",
            adapter: Some("adapter.gguf"),
            stop: &["<|im_end|>".to_owned()],
            answers: &Answers::default(),
            context: 1024,
            answer_tokens: 56,
        },
    );
    insta::assert_snapshot!(text, @r#"
    FROM ./base.gguf
    ADAPTER ./adapter.gguf
    TEMPLATE """{{ if .System }}<|im_start|>system
    {{ .System }}<|im_end|>
    {{ end }}<|im_start|>user
    {{ .Prompt }}<|im_end|>
    <|im_start|>assistant
    {{ .Response }}<|im_end|>
    """
    SYSTEM """You are Qwen."""
    PARAMETER stop "<|im_end|>"
    PARAMETER temperature 0
    PARAMETER top_k 0
    PARAMETER top_p 1
    PARAMETER min_p 0
    PARAMETER seed 17
    PARAMETER repeat_penalty 1
    PARAMETER num_ctx 1024
    PARAMETER num_predict 56
    "#);
}

/// Go's own template engine gives the same texts; a machine without Go says so.
#[test]
fn go_itself_gives_the_text_of_transformers() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../python/interop/go_template/main.go"
    );
    let started = Command::new("go")
        .args(["run", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        // Past the test harness's capture.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED go_itself_gives_the_text_of_transformers: no go"
        );
        return;
    };
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for family in families().values() {
        for case in &family.chats {
            let [turn] = &case.messages[..] else { continue };
            if !case.prompt || turn.role != "user" {
                continue;
            }
            let chat = chat(&template(family, &case.flags), false).unwrap();
            let trims = chat.notes.iter().any(|note| note.contains("white space"));
            let content = if trims {
                turn.content.trim()
            } else {
                &turn.content
            };
            asked.push(serde_json::json!({
                "template": chat.template, "system": chat.system.unwrap_or_default(),
                "prompt": content,
            }));
            expected.push(case.text.clone());
        }
    }
    let input = serde_json::to_vec(&asked).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let found: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found, expected);
}
