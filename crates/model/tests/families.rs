//! Each family's way with text against transformers (`python/reference/chat_fixtures.py`): token
//! ids of texts and chats, rendered templates, special tokens spelled in data, and the training
//! text that keeps reasoning.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::collections::BTreeMap;
use std::path::Path;

use model::{ChatMessage, ChatTemplate, TextError, Tokenizer, encode_conversation, encode_prompt};
use serde::Deserialize;

#[derive(Deserialize)]
struct Family {
    bos: String,
    eos: String,
    template: String,
    texts: Vec<Case>,
    chats: Vec<Chat>,
    spelled: Vec<Spelled>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Chat {
    flags: BTreeMap<String, bool>,
    messages: Vec<Turn>,
    prompt: bool,
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Spelled {
    content: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Constructs {
    messages: Vec<Turn>,
    cases: Vec<Construct>,
}

#[derive(Deserialize)]
struct Construct {
    source: String,
    text: String,
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn families() -> BTreeMap<String, Family> {
    serde_json::from_str(&read("families.json")).unwrap()
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_json(&read(&format!("{name}.tokenizer.json"))).unwrap()
}

fn one(name: &str) -> (Tokenizer, ChatTemplate) {
    let family = families().remove(name).unwrap();
    let template = ChatTemplate::new(&family.template, &family.bos, &family.eos).unwrap();
    (tokenizer(name), template)
}

fn turns(turns: &[Turn]) -> Vec<ChatMessage> {
    let message = |turn: &Turn| ChatMessage::new(&turn.role, &turn.content);
    turns.iter().map(message).collect()
}

fn chat(turns: &[(&str, &str)]) -> Vec<ChatMessage> {
    let message = |(role, content): &(&str, &str)| ChatMessage::new(*role, *content);
    turns.iter().map(message).collect()
}

#[test]
fn texts_have_the_ids_of_transformers() {
    for (name, family) in families() {
        let tokenizer = tokenizer(&name);
        for case in &family.texts {
            let ids = tokenizer.encode(&case.text).unwrap();
            assert_eq!(ids, case.ids, "{name}: {:?}", case.text);
        }
    }
}

#[test]
fn chats_have_the_texts_and_ids_of_transformers() {
    for (name, family) in families() {
        let tokenizer = tokenizer(&name);
        for chat in &family.chats {
            let mut template =
                ChatTemplate::new(&family.template, &family.bos, &family.eos).unwrap();
            for (flag, on) in &chat.flags {
                template = template.with_flag(flag, *on);
            }
            let messages = turns(&chat.messages);
            let text = template.render(&messages, chat.prompt).unwrap();
            assert_eq!(text, chat.text, "{name}");
            assert_eq!(tokenizer.encode(&text).unwrap(), chat.ids, "{name}: {text}");
            if chat.prompt {
                let prompt = encode_prompt(&tokenizer, &template, &messages).unwrap();
                assert_eq!(prompt, chat.ids, "{name}");
            }
        }
    }
}

#[test]
fn special_tokens_spelled_in_data_stay_letters() {
    for (name, family) in families() {
        let tokenizer = tokenizer(&name);
        let template = ChatTemplate::new(&family.template, &family.bos, &family.eos).unwrap();
        for case in &family.spelled {
            let user = chat(&[("user", &case.content)]);
            let prompt = encode_prompt(&tokenizer, &template, &user).unwrap();
            assert_eq!(prompt, case.ids, "{name}: {:?}", case.content);
            let plain = encode_prompt(&tokenizer, &template, &chat(&[("user", "x")])).unwrap();
            let specials = |ids: &[u32]| ids.iter().filter(|id| tokenizer.is_special(**id)).count();
            assert_eq!(specials(&prompt), specials(&plain), "{name}");
            // In a conversation to train on as well, in every message.
            let mut turns = user;
            turns.push(ChatMessage::new(
                "assistant",
                format!("no {}", case.content),
            ));
            let encoded = encode_conversation(&tokenizer, &template, &turns, "a", 4096).unwrap();
            assert_eq!(encoded.tokens[..encoded.prompt_len], prompt, "{name}");
            let answer = &encoded.tokens[encoded.prompt_len..];
            assert_eq!(specials(answer), 1, "{name}");
            assert_eq!(encoded.end_of_turn(), tokenizer.token_id(&family.eos));
        }
    }
}

#[test]
fn templates_render_as_in_transformers() {
    let constructs: Constructs = serde_json::from_str(&read("templates.json")).unwrap();
    let messages = turns(&constructs.messages);
    let mut wrong = Vec::new();
    for case in &constructs.cases {
        let rendered = ChatTemplate::new(&case.source, "<s>", "</s>")
            .and_then(|template| template.render(&messages, true));
        if rendered.as_ref() != Ok(&case.text) {
            wrong.push(format!(
                "{}\n   expected {:?}\n   found {rendered:?}",
                case.source, case.text
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Encodes a conversation and returns the texts of prompt and supervised answer.
fn split(name: &str, template: &ChatTemplate, turns: &[ChatMessage]) -> (String, String) {
    let tokenizer = tokenizer(name);
    let encoded = encode_conversation(&tokenizer, template, turns, "ex-1", 4096).unwrap();
    let prompt = encode_prompt(&tokenizer, template, &turns[..turns.len() - 1]).unwrap();
    assert_eq!(encoded.tokens[..encoded.prompt_len], prompt, "{name}");
    let text = template.training_text(turns, "ex-1").unwrap();
    assert_eq!(tokenizer.encode(text.prompt()).unwrap(), prompt, "{name}");
    (
        tokenizer.decode(&prompt).unwrap(),
        tokenizer
            .decode(&encoded.tokens[encoded.prompt_len..])
            .unwrap(),
    )
}

const REASONED: &str = "<think>\nRSI is low.\n</think>\n\nDECISION: BUY";

#[test]
fn reasoning_survives_a_template_that_drops_it() {
    let (_, template) = one("r1");
    let stock = template.render(&chat(&[("user", "q"), ("assistant", REASONED)]), false);
    assert!(!stock.unwrap().contains("RSI is low"));
    let (prompt, answer) = split(
        "r1",
        &template,
        &chat(&[("user", "q"), ("assistant", REASONED)]),
    );
    assert_eq!(
        prompt,
        "<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜><think>\n"
    );
    assert_eq!(
        answer,
        "RSI is low.\n</think>\n\nDECISION: BUY<｜end▁of▁sentence｜>"
    );
    // Without its opening mark, and without any reasoning: the block is closed by the answer.
    let (_, answer) = split(
        "r1",
        &template,
        &chat(&[("user", "q"), ("assistant", "x</think>y")]),
    );
    assert_eq!(answer, "x</think>y<｜end▁of▁sentence｜>");
    let (_, answer) = split(
        "r1",
        &template,
        &chat(&[("user", "q"), ("assistant", "DECISION: BUY")]),
    );
    assert_eq!(answer, "</think>\n\nDECISION: BUY<｜end▁of▁sentence｜>");
    let written = template
        .answer_text(&chat(&[("user", "q")]), "DECISION: BUY -")
        .unwrap();
    assert_eq!(written, "</think>\n\nDECISION: BUY -");
}

#[test]
fn qwen3_writes_its_own_reasoning_block_or_an_empty_one() {
    let (_, template) = one("qwen3");
    let reasoned = chat(&[("user", "q"), ("assistant", REASONED)]);
    let (prompt, answer) = split("qwen3", &template, &reasoned);
    assert_eq!(
        prompt,
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(answer, format!("{REASONED}<|im_end|>"));
    let plain = chat(&[("user", "q"), ("assistant", "yes")]);
    let (_, answer) = split("qwen3", &template, &plain);
    assert_eq!(answer, "<think>\n\n</think>\n\nyes<|im_end|>");
    let quick = template.with_flag("enable_thinking", false);
    let (prompt, answer) = split("qwen3", &quick, &plain);
    assert!(prompt.ends_with("<think>\n\n</think>\n\n"), "{prompt}");
    assert_eq!(answer, "yes<|im_end|>");
    let error = quick.training_text(&reasoned, "ex-2").unwrap_err();
    assert!(matches!(error, TextError::Reasoning { .. }), "{error}");
    assert!(error.to_string().contains("`ex-2`") && error.hint().is_some());
}

#[test]
fn a_system_text_that_the_finished_conversation_loses_is_kept() {
    let (_, template) = one("mistral");
    let turns = chat(&[("system", "Be brief."), ("user", "q"), ("assistant", "yes")]);
    assert!(
        !template
            .render(&turns, false)
            .unwrap()
            .contains("Be brief.")
    );
    let (prompt, answer) = split("mistral", &template, &turns);
    assert_eq!(prompt, "<s>[INST]Be brief.\n\nq[/INST]");
    assert_eq!(answer, "yes</s>");
}

#[test]
fn a_date_in_the_prompt_is_pinned() {
    let (_, template) = one("llama3");
    let turns = chat(&[("user", "q"), ("assistant", "yes")]);
    let (prompt, answer) = split("llama3", &template, &turns);
    assert!(prompt.contains("Today Date: 26 Jul 2024"), "{prompt}");
    assert_eq!(answer, "yes<|eot_id|>");
}

#[test]
fn several_answers_are_trained_on_only_where_inference_sees_them_so() {
    let earlier = [("user", "a"), ("assistant", "one"), ("user", "b")];
    let mut turns = chat(&earlier);
    turns.push(ChatMessage::new("assistant", "two"));
    for name in ["smollm", "llama3", "mistral", "qwen2"] {
        let (tokenizer, template) = one(name);
        let encoded = encode_conversation(&tokenizer, &template, &turns, "a", 4096).unwrap();
        let on = encoded.tokens.iter().zip(&encoded.supervised);
        let on: Vec<u32> = on.filter(|(_, on)| **on).map(|(token, _)| *token).collect();
        let end = template.eos_token();
        assert_eq!(
            tokenizer.decode(&on).unwrap(),
            format!("one{end}two{end}"),
            "{name}"
        );
    }
    // A later prompt shows the earlier answer otherwise than the model wrote it.
    for name in ["qwen3", "r1"] {
        let (tokenizer, template) = one(name);
        let error = encode_conversation(&tokenizer, &template, &turns, "a", 4096).unwrap_err();
        assert!(
            matches!(error, TextError::NotAPrefix { position: 1, .. }),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("one answer each"));
    }
}

#[test]
fn templates_that_cannot_be_trained_on_are_refused() {
    let turns = chat(&[("user", "q"), ("assistant", "Yes")]);
    let refusal = |source: &str| {
        let template = ChatTemplate::new(source, "", "").unwrap();
        template.training_text(&turns, "ex-3").unwrap_err()
    };
    let loop_over = |inner: &str| format!("{{% for m in messages %}}{inner}{{% endfor %}}");
    for rewriting in [
        "{{ m.content[:3] }}",
        "{{ m.content }}{{ m.content }}",
        "{{ m.role }}",
    ] {
        let error = refusal(&loop_over(rewriting));
        assert!(
            matches!(error, TextError::AnswerRewritten { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("`ex-3`") && error.hint().is_some());
    }
    let error = refusal(&loop_over("<{{ m.role }}>{{ m.content }}"));
    assert!(
        matches!(&error, TextError::BeforeAnswer { text, .. } if text == "<assistant>"),
        "{error}"
    );
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let error = ChatTemplate::new(source, "", "")
        .unwrap()
        .render(&[], false)
        .unwrap_err();
    assert!(matches!(error, TextError::TemplateRender { .. }), "{error}");
}

#[test]
fn messages_that_leave_no_mark_are_refused() {
    let (tokenizer, template) = one("qwen2");
    let all: String = ('\u{e000}'..='\u{e0ff}').collect();
    let turns = chat(&[("user", &format!("<|im_end|>{all}"))]);
    let error = encode_prompt(&tokenizer, &template, &turns).unwrap_err();
    assert_eq!(error, TextError::Unmarkable);
    assert!(error.hint().is_some());
}
