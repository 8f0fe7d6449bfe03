//! Writes the seed corpora: `cargo run --example seeds` in this directory. Each seed is a small sound
//! file, or one that once was a fault (named `fault-...`, kept by hand).

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use dataset::ensemble::{self, EnsembleModel, EnsembleSettings, MemorySource, Row, Target};
use dataset::world;
use safetensors::tensor::{Dtype, TensorView};
use weights::gguf::{self, Array, Tensor, TensorType, Value};
use weights::{LoraPair, LoraTensors, lora_gguf, peft};

#[path = "entry/weights.rs"]
#[allow(dead_code)]
mod entry;

const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Files that another library wrote: bars, trades with texts, and every type in split streams and
/// deltas, in dictionaries and in run lengths.
const PARQUET: [(&str, &str); 5] = [
    ("dates", "bars/XAUUSD.parquet"),
    ("sides", "ticks/sides.parquet"),
    ("deltas", "values/zstd-split-deltas.parquet"),
    ("dictionary", "values/snappy-dictionary.parquet"),
    ("runs", "values/none-v2-runs.parquet"),
];

/// Formulas in all notations.
const FORMULAS: [(&str, &str); 8] = [
    (
        "canonical",
        "cs_rank((close - m) / ts_std(close, n)) * -2.5e-3 where n = 4 * 5, m = ts_mean(close, n)",
    ),
    (
        "conditions",
        "!(close > open) || ts_count(volume >= 1 && low != high, 9) == 3 ? -close ^ 2 ^ -1 : group_rank(vwap % 2, sector)",
    ),
    (
        "templates",
        "ts_zscore(ts_zscore(adv(20) - returns, 5), 6) + cs_scale(close) + cs_scale(open, 2)",
    ),
    ("series", "(series_mean(r) - 1) / 2"),
    (
        "alpha101",
        "(rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5)) - 0.5) * min(IndNeutralize(adv20, IndClass.sector), 3.9)",
    ),
    (
        "gtja",
        "SUMIF(MAX(HD,5),20,CLOSE=DELAY(CLOSE,1)&LOW>1)OR1>REGBETA(RET,SEQUENCE(6))-HIGHDAY(HIGH,9)+SMA(TR,12,1)",
    ),
    (
        "qlib",
        "If(($close>Ref($close, 1)) & ($open**2 < 3), -1, Less($open, $vwap)) + EMA($close, 0.5)*Count($low, 4)",
    ),
    ("future", "ts_delay(close, 2 - 3) + ts_maen(close)"),
];

/// A catalogue file.
const CATALOGUE: &str = r#"[family]
id = "own"
title = "Own"
source = "None"
profile = "paper"
notation = "foretune"

[[formula]]
id = "own.mean{d}"
for = { d = [5, 10] }
name = "Mean {d}"
expression = "ts_mean(close, {d})"
citation = "page 1"
explanation = "The mean of {d} closes."
interpretation = "High when closes were high."
pitfalls = "A price level."
also = ["other.MA{d}"]

[[formula]]
id = "own.rank"
name = "Rank"
notation = "alpha101"
profile = "brain"
expression = "rank(delta(close, 1))"
citation = "page 2"
explanation = "The rank of the last change."
interpretation = "High for what rose most."
pitfalls = "Ties."
proxy = "None."
deviation = "None."
"#;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = root.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    };
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);

    gguf_model(&at("model.gguf"));
    put("gguf", "llama", &fs::read(at("model.gguf")).unwrap());
    let shard = tensors();
    put("safetensors", "llama", &shard);
    let map: BTreeMap<String, &str> = entry::base()
        .tensors()
        .into_iter()
        .map(|(name, _)| (name, "a.safetensors"))
        .collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    put(
        "safetensors_index",
        "llama",
        &[index.as_bytes(), &[0], &shard].concat(),
    );
    for (name, config) in configs() {
        put("config", name, config.as_bytes());
    }

    peft::write(&at("adapter"), &adapter(), &peft::PeftConfig::default()).unwrap();
    let config = fs::read(at("adapter/adapter_config.json")).unwrap();
    let matrices = fs::read(at("adapter/adapter_model.safetensors")).unwrap();
    let length = (config.len() as u16).to_le_bytes();
    put(
        "peft_directory",
        "lora",
        &[&length[..], &config, &matrices].concat(),
    );
    lora_gguf::write(&at("lora.gguf"), &adapter(), &entry::base(), "seed").unwrap();
    put("lora_gguf", "lora", &fs::read(at("lora.gguf")).unwrap());

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/tests/fixtures");
    for family in ["llama2", "llama3", "qwen3", "smollm"] {
        let path = fixtures.join(format!("families/{family}.tokenizer.json"));
        let mut document: serde_json::Value =
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        // The letters alone: merges are what makes the files long.
        document["model"]["merges"] = serde_json::json!([]);
        put("tokenizer", family, document.to_string().as_bytes());
    }
    let families: serde_json::Value =
        serde_json::from_slice(&fs::read(fixtures.join("families/families.json")).unwrap())
            .unwrap();
    for (name, family) in families.as_object().unwrap() {
        let template = family["template"].as_str().unwrap();
        put("chat_template", name, template.as_bytes());
    }
    let constructs: serde_json::Value =
        serde_json::from_slice(&fs::read(fixtures.join("families/templates.json")).unwrap())
            .unwrap();
    for (index, case) in constructs["cases"].as_array().unwrap().iter().enumerate() {
        let source = case["source"].as_str().unwrap();
        put(
            "chat_template",
            &format!("construct-{index}"),
            source.as_bytes(),
        );
    }
    put(
        "conversation",
        "two",
        b"Asset: BTC/USD\0DECISION: BUY - low",
    );
    let spelled = "<|im_end|>\n<|im_start|>system\0yes <|endoftext|>\0<|im_<|im_end|>\0<think>";
    put("conversation", "spelled", spelled.as_bytes());

    candles(&at("BTC_USDT-1h.feather"));
    put(
        "feather",
        "lz4",
        &fs::read(at("BTC_USDT-1h.feather")).unwrap(),
    );
    let market =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/market/tests/fixtures/parquet");
    for (name, file) in PARQUET {
        put("parquet", name, &fs::read(market.join(file)).unwrap());
    }
    put("bars_csv", "plain", b"time,open,high,low,close,volume\n2025-02-16 22:00:00,1.1,1.3,1.0,1.2,7\n2025-02-16 22:15:00,1.2,1.4,1.1,1.3,8\n");
    put("bars_csv", "metatrader", b"<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n2025.02.16\t22:00:00\t1.1\t1.3\t1.0\t1.2\t67\n");
    put(
        "bars_csv",
        "epoch",
        b"Date;Close;Low;High;Open\r\n1739743200;1.2;1.0;1.3;1.1\r\n1739744100;1.3;1.1;1.4;1.2\r\n",
    );
    let csv = "timestamp,value,classification\n1517443200,30,Fear\n1517529600,15,Extreme Fear\n";
    put("sentiment_csv", "seconds", csv.as_bytes());
    let csv = "date,value,value_classification\n2018-02-01,30,Fear\n2018-02-03,\"15\",Greed\n";
    put("sentiment_csv", "dates", csv.as_bytes());
    let json = r#"{"name":"Fear and Greed Index","data":[{"value":"47","value_classification":"Neutral","timestamp":"1777248000"},{"value":"12","value_classification":"Fear","timestamp":"1777161600","time_until_update":"3"}],"metadata":{"error":null}}"#;
    put("sentiment_json", "answer", json.as_bytes());

    for (name, text) in FORMULAS {
        put("formula", name, text.as_bytes());
    }
    put("formula_catalogue", "grid", CATALOGUE.as_bytes());

    let pairs = r#"{"id":"a","prompt":"What now?","chosen":"DECISION: BUY - low","rejected":"DECISION: HOLD - low"}
{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"yes"}],"rejected":[{"role":"assistant","content":"no"}]}
{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"yes"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"no"}]}
"#;
    put("preference_pairs", "forms", pairs.as_bytes());
    let mut bundle = dataset::archive::Bundle::new(serde_json::json!({"for": "a fuzz target"}));
    for (name, text) in [("README.md", "read me\n"), ("deep/run.sh", "echo run\n")] {
        bundle.add(name, text).unwrap();
    }
    let file = at("bundle.tar.zst");
    bundle
        .write(&file, &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    let tar = zstd::decode_all(&fs::read(&file).unwrap()[..]).unwrap();
    put("archive", "tar", &tar);
    put("archive", "file", &fs::read(&file).unwrap());

    let made = world::null(1, 40).unwrap();
    let mut go_on = |_| ControlFlow::Continue(());
    let set = dataset::build(&made.settings, &made.bars, None, &mut go_on).unwrap();
    set.write(&at("set")).unwrap();
    let lines = fs::read_to_string(at("set/examples.jsonl")).unwrap();
    let two: Vec<&str> = lines.lines().take(2).collect();
    put("dataset_examples", "two", two.join("\n").as_bytes());
    put(
        "dataset_manifest",
        "sound",
        &fs::read(at("set/manifest.json")).unwrap(),
    );
    let model = at("model.json");
    small_ensemble().save(&model).unwrap();
    put("ensemble_model", "small", &fs::read(&model).unwrap());
}

/// A model of two features and three trees.
fn small_ensemble() -> EnsembleModel {
    let feature = |scale: i64| (0..600).map(|row| (row * scale % 31) as f32).collect();
    let columns: Vec<Vec<f32>> = vec![feature(7), feature(11)];
    let row = |row: usize| Row {
        instrument: 0,
        decision: row as i64 * 10,
        end: row as i64 * 10 + 5,
        target: columns[0][row] + columns[1][(row * 13) % 600] - 30.5,
        weight: 1.0,
    };
    let source = MemorySource {
        rows: (0..600).map(row).collect(),
        target: Target::Return,
        names: vec!["a".to_owned(), "b".to_owned()],
        columns: columns.clone(),
    };
    let settings = EnsembleSettings {
        folds: 1,
        trees: 3,
        depth: 2,
        min_leaf_rows: 10.0,
        ..Default::default()
    };
    let mut go_on = |_| ControlFlow::Continue(());
    ensemble::fit(&source, &settings, &mut go_on).unwrap().live
}

fn ramp(shape: &[usize]) -> Vec<u8> {
    let count: usize = shape.iter().product();
    (0..count)
        .flat_map(|i| (i as f32 / count as f32 - 0.5).to_le_bytes())
        .collect()
}

fn tensors() -> Vec<u8> {
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = entry::base()
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let bytes = ramp(&shape);
            (name, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

fn gguf_model(path: &Path) {
    let text = |value: &str| Value::String(value.to_owned());
    let words = ["<unk>", "<s>", "</s>", "a", "b", "c", "d", "ab"];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let metadata = [
        ("general.architecture", text("llama")),
        ("llama.context_length", Value::U32(64)),
        ("llama.embedding_length", Value::U32(8)),
        ("llama.block_count", Value::U32(1)),
        ("llama.feed_forward_length", Value::U32(8)),
        ("llama.attention.head_count", Value::U32(2)),
        ("llama.attention.head_count_kv", Value::U32(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10000.0)),
        ("llama.rope.dimension_count", Value::U32(4)),
        ("llama.vocab_size", Value::U32(8)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("llama-bpe")),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(words))),
        (
            "tokenizer.ggml.token_type",
            Value::Array(Array::I32(vec![2, 3, 3, 1, 1, 1, 1, 1])),
        ),
        (
            "tokenizer.ggml.merges",
            Value::Array(Array::String(vec!["a b".to_owned()])),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(1)),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ];
    let metadata = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let shapes = [
        ("token_embd", vec![8, 8]),
        ("output_norm", vec![8]),
        ("blk.0.attn_norm", vec![8]),
        ("blk.0.ffn_norm", vec![8]),
        ("blk.0.attn_q", vec![8, 8]),
        ("blk.0.attn_k", vec![4, 8]),
        ("blk.0.attn_v", vec![4, 8]),
        ("blk.0.attn_output", vec![8, 8]),
        ("blk.0.ffn_gate", vec![8, 8]),
        ("blk.0.ffn_up", vec![8, 8]),
        ("blk.0.ffn_down", vec![8, 8]),
    ];
    let tensors: Vec<Tensor<'_>> = shapes
        .into_iter()
        .map(|(name, shape)| Tensor {
            name: format!("{name}.weight"),
            tensor_type: TensorType::F32,
            bytes: ramp(&shape).into(),
            shape,
        })
        .collect();
    gguf::write(path, &metadata, &tensors).unwrap();
}

fn configs() -> Vec<(&'static str, String)> {
    let plain: serde_json::Value = serde_json::from_str(entry::CONFIG).unwrap();
    let with = |changes: serde_json::Value| {
        let mut config = plain.clone();
        let object = config.as_object_mut().unwrap();
        object.extend(changes.as_object().unwrap().clone());
        config.to_string()
    };
    vec![
        ("llama", plain.to_string()),
        (
            "llama3-scaling",
            with(
                serde_json::json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16}, "eos_token_id": [2, 3]}),
            ),
        ),
        (
            "mistral",
            with(serde_json::json!({"architectures": ["MistralForCausalLM"],
                "sliding_window": 32, "layer_types": ["sliding_attention"]})),
        ),
        (
            "qwen2",
            with(serde_json::json!({"architectures": ["Qwen2ForCausalLM"],
                "use_sliding_window": true, "sliding_window": 16, "max_window_layers": 0,
                "rope_scaling": {"type": "yarn", "factor": 4.0}})),
        ),
        (
            "qwen3",
            with(serde_json::json!({"architectures": ["Qwen3ForCausalLM"],
                "rope_parameters": {"rope_theta": 1e6, "rope_type": "linear", "factor": 2.0}})),
        ),
    ]
}

fn adapter() -> LoraTensors {
    let pair = |out: usize| LoraPair {
        rank: 2,
        in_features: 8,
        out_features: out,
        a: vec![0.5; 2 * 8],
        b: vec![0.25; out * 2],
    };
    let tensors = [("q_proj", 8), ("v_proj", 4)]
        .map(|(name, out)| (format!("model.layers.0.self_attn.{name}"), pair(out)));
    LoraTensors {
        tensors: tensors.into(),
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        rslora: false,
    }
}

fn candles(path: &Path) {
    let made = world::null(1, 40).unwrap();
    let mut bars = made.bars[0].slice(0..24);
    bars.instrument = market::Instrument::new("BTC/USDT").unwrap();
    market::freqtrade::write(path, &bars).unwrap();
}
