//! Configuration files of trainers that have their own program, and of `accelerate`.
//!
//! Keys are those of axolotl 0.19.0 (`axolotl/utils/schemas`), LLaMA-Factory 0.9.5
//! (`llamafactory/hparams`, `transformers.TrainingArguments`) and accelerate 1.15.0; the on-demand
//! script `python/interop/recipes.py` reads the files with their own parsers.

use serde_json::{Value, json};
use train::{Optimizer, Reference, Schedule};

use super::numbers::is_nf4;
use super::rows::Order;
use super::{Inputs, Recipe, yaml};
use crate::settings::Precision;

/// Returns the configuration files of a recipe.
///
/// # Errors
/// When a value cannot be written.
pub(super) fn files(inputs: &Inputs<'_>, order: &Order) -> anyhow::Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    let stages = [("sft", order.sft.len()), ("dpo", order.dpo.len())];
    let stages = stages.into_iter().filter(|(_, steps)| *steps > 0);
    match inputs.recipe {
        Recipe::Unsloth => {}
        Recipe::Trl => out.push(("fsdp.yaml".to_owned(), fsdp(inputs))),
        Recipe::Axolotl => {
            for (stage, steps) in stages {
                let text = yaml::document(HEAD, &axolotl(inputs, stage, steps)?);
                out.push((format!("axolotl-{stage}.yaml"), text));
            }
        }
        Recipe::LlamaFactory => {
            for (stage, steps) in stages {
                let text = yaml::document(HEAD, &llama_factory(inputs, stage, steps)?);
                out.push((format!("llama-factory-{stage}.yaml"), text));
            }
            let info = serde_json::to_string_pretty(&dataset_info())? + "\n";
            out.push(("dataset_info.json".to_owned(), info));
        }
    }
    Ok(out)
}

const HEAD: &str = "Written by foretune pack; paths are relative to the bundle's directory.
Rows come in the packed order, every optimiser step from its own lines.";

fn bf16(inputs: &Inputs<'_>) -> bool {
    inputs.settings.model.precision != Precision::F32
}

fn schedule(inputs: &Inputs<'_>) -> &'static str {
    match inputs.settings.train.schedule {
        Schedule::Cosine => "cosine",
        Schedule::Linear => "linear",
        // With a warm-up, which plain `constant` has none of.
        Schedule::Constant => "constant_with_warmup",
    }
}

/// What the largest of one device's passes holds; the rest of a step is accumulated.
const MICRO_BATCH: usize = 1;

fn targets(inputs: &Inputs<'_>) -> anyhow::Result<Vec<&'static str>> {
    let lora = inputs.settings.train.lora()?;
    Ok(lora.targets.iter().map(|target| target.as_str()).collect())
}

fn rate(inputs: &Inputs<'_>, stage: &str) -> f64 {
    match stage {
        "dpo" => inputs.settings.dpo.learning_rate,
        _ => inputs.settings.train.learning_rate,
    }
}

fn optimizer(inputs: &Inputs<'_>) -> &'static str {
    match inputs.settings.train.optimizer {
        Optimizer::AdamW => "adamw_torch",
        Optimizer::AdamW8bit => "adamw_bnb_8bit",
    }
}

fn axolotl(inputs: &Inputs<'_>, stage: &str, steps: usize) -> anyhow::Result<Value> {
    let train = &inputs.settings.train;
    let warmup = (steps as f64 * train.warmup_ratio).ceil() as usize;
    let is_dpo = stage == "dpo";
    let dataset = match (is_dpo, inputs.base.is_some()) {
        (true, _) => json!({
            "path": "out/dpo-in-order.jsonl", "ds_type": "json", "split": "train",
            "type": "chat_template.default", "field_messages": "messages",
            "field_chosen": "chosen", "field_rejected": "rejected",
        }),
        // Ids, mask and labels are there already: a data set without a `type`.
        (false, true) => json!({
            "path": "out/sft-in-order.jsonl", "ds_type": "json", "split": "train",
        }),
        (false, false) => json!({
            "path": "out/sft-in-order.jsonl", "ds_type": "json", "split": "train",
            "type": "chat_template", "field_messages": "messages",
            "roles_to_train": ["assistant"], "train_on_eos": "turn",
        }),
    };
    let model = json!({
        "base_model": inputs.base_name,
        "revision_of_model": inputs.base_revision,
        "load_in_4bit": is_nf4(inputs),
        "adapter": if is_nf4(inputs) { "qlora" } else { "lora" },
        "lora_r": train.rank,
        "lora_alpha": train.alpha as u64,
        "lora_dropout": train.dropout,
        "lora_target_modules": targets(inputs)?,
        "peft_use_rslora": train.rslora,
        "loraplus_lr_ratio": (train.loraplus_ratio != 1.0).then_some(train.loraplus_ratio),
        "lora_model_dir": start(inputs, is_dpo, "out/sft/adapter"),
        "rl": is_dpo.then_some("dpo"),
        "rl_beta": is_dpo.then_some(inputs.settings.dpo.beta),
        "dpo_label_smoothing": is_dpo.then_some(inputs.settings.dpo.label_smoothing),
        "chat_template": (is_dpo || inputs.base.is_none()).then_some("tokenizer_default"),
        "datasets": [dataset],
        "dataset_prepared_path": format!("out/prepared-{stage}"),
        "shuffle_merged_datasets": false,
        "curriculum_sampling": true,
        "sample_packing": false,
        "pad_to_sequence_len": false,
        "val_set_size": 0.0,
        "sequence_len": train.max_tokens,
        "excess_length_strategy": "raise",
        "train_on_inputs": false,
    });
    let training = json!({
        "num_epochs": 1,
        "max_steps": steps,
        "micro_batch_size": MICRO_BATCH,
        "gradient_accumulation_steps": train.batch_size / MICRO_BATCH,
        "learning_rate": rate(inputs, stage),
        "lr_scheduler": schedule(inputs),
        "warmup_steps": warmup,
        "optimizer": optimizer(inputs),
        "weight_decay": train.weight_decay,
        "adam_beta1": train.beta1,
        "adam_beta2": train.beta2,
        "adam_epsilon": train.eps,
        "max_grad_norm": train.max_gradient_norm,
        "bf16": bf16(inputs),
        "tf32": false,
        "gradient_checkpointing": true,
        "gradient_checkpointing_kwargs": {"use_reentrant": false},
        "attn_implementation": "sdpa",
        "seed": train.seed,
        "output_dir": format!("out/{stage}"),
        "logging_steps": 1,
        "save_steps": checkpoint(inputs, steps),
        "save_total_limit": 2,
        "auto_resume_from_checkpoints": true,
    });
    Ok(joined(model, training))
}

/// Puts the keys of one map behind those of another.
fn joined(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}

/// Returns the adapter a stage starts from, if one is known.
fn start(inputs: &Inputs<'_>, is_dpo: bool, trained: &'static str) -> Option<&'static str> {
    if is_dpo {
        Some(trained)
    } else {
        inputs.base.map(|_| "recipe/start")
    }
}

fn checkpoint(inputs: &Inputs<'_>, steps: usize) -> usize {
    match inputs.settings.train.checkpoint_every {
        0 => steps,
        every => every,
    }
}

fn llama_factory(inputs: &Inputs<'_>, stage: &str, steps: usize) -> anyhow::Result<Value> {
    let train = &inputs.settings.train;
    let warmup = (steps as f64 * train.warmup_ratio).ceil() as usize;
    let is_dpo = stage == "dpo";
    let own_tokens = !is_dpo && inputs.base.is_some();
    let is_base_reference = inputs.settings.dpo.reference == Reference::Base;
    let model = json!({
        "model_name_or_path": inputs.base_name,
        "model_revision": inputs.base_revision,
        "adapter_name_or_path": start(inputs, is_dpo, "out/sft/adapter"),
        "trust_remote_code": false,
        "quantization_bit": is_nf4(inputs).then_some(4),
        "quantization_method": is_nf4(inputs).then_some("bnb"),
        "quantization_type": is_nf4(inputs).then_some("nf4"),
        "double_quantization": is_nf4(inputs).then_some(true),
        "stage": stage,
        "do_train": true,
        "finetuning_type": "lora",
        "lora_rank": train.rank,
        "lora_alpha": train.alpha as u64,
        "lora_dropout": train.dropout,
        "lora_target": targets(inputs)?.join(","),
        "use_rslora": train.rslora,
        "loraplus_lr_ratio": (train.loraplus_ratio != 1.0).then_some(train.loraplus_ratio),
        "pref_beta": is_dpo.then_some(inputs.settings.dpo.beta),
        "pref_loss": is_dpo.then_some("sigmoid"),
        "dpo_label_smoothing": is_dpo.then_some(inputs.settings.dpo.label_smoothing),
        "ref_model": (is_dpo && !is_base_reference).then_some(inputs.base_name),
        "ref_model_adapters": (is_dpo && !is_base_reference).then_some("out/sft/adapter"),
        "dataset_dir": "out",
        "dataset": if own_tokens { None } else { Some(stage) },
        "tokenized_path": own_tokens.then_some("out/sft-in-order"),
        "enable_thinking": inputs.settings.model.thinking.flag(),
        "cutoff_len": train.max_tokens,
        "train_on_prompt": false,
        "mask_history": false,
        "packing": false,
        "disable_shuffling": true,
    });
    let training = json!({
        "output_dir": format!("out/{stage}"),
        "logging_steps": 1,
        "save_steps": checkpoint(inputs, steps),
        "save_total_limit": 2,
        "report_to": "none",
        "max_steps": steps,
        "per_device_train_batch_size": MICRO_BATCH,
        "gradient_accumulation_steps": train.batch_size / MICRO_BATCH,
        "learning_rate": rate(inputs, stage),
        "lr_scheduler_type": schedule(inputs),
        "warmup_steps": warmup,
        "optim": optimizer(inputs),
        "weight_decay": train.weight_decay,
        "adam_beta1": train.beta1,
        "adam_beta2": train.beta2,
        "adam_epsilon": train.eps,
        "max_grad_norm": train.max_gradient_norm,
        "bf16": bf16(inputs),
        "flash_attn": "sdpa",
        "seed": train.seed,
    });
    Ok(joined(model, training))
}

/// How LLaMA-Factory finds the rows that `bundle.py` writes.
fn dataset_info() -> Value {
    let tags = json!({
        "role_tag": "role", "content_tag": "content", "user_tag": "user",
        "assistant_tag": "assistant", "system_tag": "system",
    });
    json!({
        "sft": {
            "file_name": "sft-in-order.jsonl", "formatting": "sharegpt",
            "columns": {"messages": "messages"}, "tags": tags,
        },
        "dpo": {
            "file_name": "dpo-in-order.jsonl", "formatting": "sharegpt", "ranking": true,
            "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
            "tags": tags,
        },
    })
}

/// Sharding of the frozen base over several GPUs.
fn fsdp(inputs: &Inputs<'_>) -> String {
    let head = "For `FSDP=1 sh recipe/run.sh`: the frozen base is sharded over the GPUs (FSDP-QLoRA with\n\
                model.keep = \"nf4\"). Not needed where the base fits every GPU.";
    let value = json!({
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "fsdp_config": {
            "fsdp_version": 1,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_sharding_strategy": "FULL_SHARD",
            "fsdp_state_dict_type": "FULL_STATE_DICT",
            "fsdp_cpu_ram_efficient_loading": true,
            "fsdp_sync_module_states": true,
            "fsdp_use_orig_params": false,
            "fsdp_offload_params": false,
        },
        "machine_rank": 0,
        "main_training_function": "main",
        "mixed_precision": if bf16(inputs) { "bf16" } else { "no" },
        "num_machines": 1,
        "num_processes": 1,
        "rdzv_backend": "static",
        "same_network": true,
        "use_cpu": false,
    });
    yaml::document(head, &value)
}
