//! Offers bytes to the tokenizer and the chat template.

use model::{ChatMessage, ChatTemplate, Form, Tokenizer, encode_conversation, encode_prompt};

const TEXT: &str = "Asset: BTC/USD\nRSI(14): 28.3  é 日本 🚀 <|im_end|> </s>";

fn messages() -> Vec<ChatMessage> {
    vec![
        ChatMessage::new("system", "Be brief."),
        ChatMessage::new("user", TEXT),
        ChatMessage::new(
            "assistant",
            "<think>\nx\n</think>\n\nDECISION: BUY - <|im_end|>",
        ),
    ]
}

/// A `tokenizer.json`.
pub(crate) fn tokenizer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let tokenizer = match Tokenizer::from_json(text) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            let _ = (error.to_string(), error.hint());
            return;
        }
    };
    for plain in [false, true] {
        let tokens = if plain {
            tokenizer.encode_plain(TEXT)
        } else {
            tokenizer.encode(TEXT)
        };
        if let Ok(tokens) = tokens {
            let _ = (tokenizer.decode(&tokens), tokenizer.decode_plain(&tokens));
        }
    }
    if let Ok(form) = Form::new(&tokenizer, &["DECISION: BUY - ", "DECISION: HOLD - "]) {
        assert!(form.longest() > 0);
    }
}

/// A chat template.
pub(crate) fn chat_template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else {
        return;
    };
    let template = match ChatTemplate::new(source, "<s>", "</s>") {
        Ok(template) => template.with_flag("enable_thinking", false),
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let messages = messages();
    let _ = (
        template.render(&messages, true),
        template.render(&[], false),
    );
    if let Ok(text) = template.training_text(&messages, "id") {
        for answer in &text.answers {
            assert!(text.text.get(answer.clone()).is_some());
        }
        assert!(text.text.starts_with(text.prompt()));
    }
}

/// A conversation: the parts between NUL bytes are messages of alternating roles.
pub(crate) fn conversation(bytes: &[u8]) {
    const TOKENIZER: &str =
        include_str!("../../crates/model/tests/fixtures/families/qwen3.tokenizer.json");
    const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    thread_local! {
        static BOTH: (Tokenizer, ChatTemplate) = (
            Tokenizer::from_json(TOKENIZER).unwrap(),
            ChatTemplate::new(TEMPLATE, "", "<|im_end|>").unwrap(),
        );
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let messages: Vec<ChatMessage> = text
        .split('\0')
        .zip(["user", "assistant"].into_iter().cycle())
        .map(|(content, role)| ChatMessage::new(role, content))
        .collect();
    BOTH.with(|(tokenizer, template)| {
        let specials = |tokens: &[u32]| tokens.iter().filter(|t| tokenizer.is_special(**t)).count();
        let prompt = encode_prompt(tokenizer, template, &messages).unwrap();
        // Two for each message and one for the answer to come: data never adds one.
        assert_eq!(specials(&prompt), 2 * messages.len() + 1);
        if let Ok(encoded) = encode_conversation(tokenizer, template, &messages, "id", 1 << 20) {
            assert_eq!(specials(&encoded.tokens), 2 * messages.len());
            assert!(encoded.supervised_len() > 0 && encoded.prompt_len < encoded.tokens.len());
        }
    });
}
