//! The pages of a bundle: what to do on the GPU machine, and what a trainer cannot do as we do.

use std::fmt::Write as _;

use train::{Keep, Reference};

use super::rows::Order;
use super::{Inputs, Recipe};
use crate::flow::corpus::Corpus;

/// Returns what the run elsewhere has in another way than a native one, a sentence each.
pub(super) fn differences(inputs: &Inputs<'_>) -> Vec<String> {
    let train = &inputs.settings.train;
    let mut out = Vec::new();
    let mut add = |text: &str| out.push(text.to_owned());
    add(
        "Sums are taken in another order and, on a GPU, in bf16: the loss curves lie close together and are not equal digit by digit.",
    );
    if train.dropout > 0.0 {
        add(
            "Dropout draws its masks from torch's generator; only with `train.dropout = 0` are both runs the same function of their data.",
        );
    }
    if inputs.base.is_none() {
        add(
            "Packed without the base model: text is tokenised on the GPU machine, which refuses a row whose prompt the chat template rewrites, and the adapter's first values are the trainer's own draw.",
        );
    }
    if inputs.decides() {
        add(
            "The accuracy of decisions on held-out rows is not measured on the way; `foretune evaluate` does that at home.",
        );
    } else if inputs.base.is_none() && has_several_answers(inputs.corpus) {
        add(
            "Packed without the base model: of a conversation with several answers only the last one carries loss.",
        );
    }
    if inputs.recipe.is_scripted() {
        if inputs.pairs.is_some() {
            add(
                "By preference, a last step with fewer pairs than a batch is filled up with the first pairs when several processes train.",
            );
        }
        if inputs.recipe == Recipe::Unsloth {
            add(
                "unsloth puts its own kernels in the place of the model's; the script asks it for logits and computes the loss itself. It was not run here, for it needs a GPU.",
            );
        }
        return out;
    }
    if train.decision_weight != 1.0 && inputs.decides() {
        let text = format!(
            "`train.decision_weight` is {} here and 1 there: this trainer has no weight per token, so the decision counts as much as any other word of the answer. Compare with a native run under `--set train.decision_weight=1`.",
            train.decision_weight
        );
        add(&text);
    }
    add(
        "The step size begins at 0 and not one step above it, as transformers' schedules do: the first optimiser step changes nothing.",
    );
    if inputs.decides() && (train.keep == Keep::Best || train.early_stopping > 0) {
        add(
            "No validation: `train.keep` and `train.early_stopping` have no effect, the last adapter comes back.",
        );
    }
    if inputs.pairs.is_some() && inputs.settings.dpo.reference == Reference::Base {
        add(
            "`dpo.reference = \"base\"` is not told to this trainer, which compares with the adapter it starts from, or with the base, as its version does.",
        );
    }
    out
}

fn has_several_answers(corpus: &Corpus) -> bool {
    let Corpus::Conversations(files) = corpus else {
        return false;
    };
    files.conversations.iter().any(|conversation| {
        let turns = conversation.messages.iter();
        turns.filter(|turn| turn.role == "assistant").count() > 1
    })
}

/// Returns the page of the recipe.
pub(super) fn recipe(inputs: &Inputs<'_>, order: &Order, differences: &[String]) -> String {
    let train = &inputs.settings.train;
    let name = inputs.recipe.as_str();
    let mut out = format!(
        "# Recipe for {name}\n\n\
         Trains `{}` in {} steps of up to {} rows ({} rows seen).\n\n\
         ```sh\n\
         pip install -r recipe/requirements.txt\n\
         sh recipe/preflight.sh                     # what this machine has, before it costs anything\n\
         PRICE_PER_HOUR=1.20 sh recipe/run.sh       # checks the data, trains, packs the adapter\n\
         ```\n\n\
         Started again after a stop, `run.sh` goes on from the last checkpoint. `OUT` says where \
         results go (`out`), `BASE` where the base model lies (`{}`), `PROCESSES` how many processes \
         train (one per GPU).\n",
        inputs.base_name,
        order.sft.len(),
        train.batch_size,
        order.sft.iter().map(Vec::len).sum::<usize>(),
        inputs.base_name,
    );
    if inputs.recipe == Recipe::Trl {
        out += "\nSeveral GPUs: each holds the base, and a step's rows are divided among them \
                (`torchrun`). `FSDP=1` shards the base over them instead, with `recipe/fsdp.yaml`: \
                for a base that does not fit one of them. The division was tried with two processes \
                on a processor; sharding was not, for it needs GPUs.\n";
    }
    let files: Vec<String> = inputs
        .row_files()
        .iter()
        .map(|name| format!("`dataset/{name}`"))
        .collect();
    let counted = if files.len() > 1 {
        ", counted from the first to the last of these files,"
    } else {
        ""
    };
    let _ = write!(
        out,
        "\n## The same as `foretune train`\n\n\
         - **Data**: the rows of {}{counted} that a native run takes, in its order: a line of \
         `recipe/sft_order.txt` is an optimiser step.\n",
        files.join(", ")
    );
    if inputs.base.is_some() {
        out += "- **Template, tokens, masks**: `recipe/tokens/` holds every row as foretune's own \
                tokenizer and chat template write it; only answers carry loss.\n\
                - **Start**: `recipe/start/` holds the adapter's first values.\n";
    } else {
        out += "- **Masks**: only answers carry loss; a row whose prompt is not the beginning of its \
                conversation is refused.\n";
    }
    let _ = write!(
        out,
        "- **Adapter**: rank {}, alpha {}, dropout {}{}, on {}.\n\
         - **Optimiser**: peak step size {}, {:?} after a warm-up of {} of the steps, betas {} and \
         {}, epsilon {}, weight decay {}, gradient norm at most {}.\n",
        train.rank,
        train.alpha,
        train.dropout,
        if train.rslora { ", rsLoRA" } else { "" },
        train.targets.join(", "),
        train.learning_rate,
        train.schedule,
        train.warmup_ratio,
        train.beta1,
        train.beta2,
        train.eps,
        train.weight_decay,
        train.max_gradient_norm,
    );
    out += "\n## Not the same\n\n";
    for text in differences {
        let _ = writeln!(out, "- {text}");
    }
    out += "\n## The way back\n\n\
            `out/adapter.tar` holds the adapter with its log. At home:\n\n\
            ```sh\n\
            tar -xf adapter.tar\n\
            foretune import adapter --dataset dataset --out runs/gpu\n\
            foretune evaluate runs/gpu\n\
            foretune export lora-gguf runs/gpu\n\
            ```\n";
    out
}

/// What the first page of a bundle tells.
pub(crate) struct Page<'a> {
    /// What the data set holds, in words.
    pub(crate) contents: &'a str,
    /// Formula samples, if there are any.
    pub(crate) formulas: Option<usize>,
    /// Preference pairs, if there are any.
    pub(crate) pairs: Option<usize>,
    /// The recipe, if there is one.
    pub(crate) recipe: Option<Recipe>,
    /// The base model's source.
    pub(crate) model: &'a str,
}

/// Returns the first page of a bundle.
pub(crate) fn bundle(page: &Page<'_>) -> String {
    let mut out = format!(
        "# A foretune bundle\n\n\
         Everything a machine needs to train on this data set, and to make sure that it is this \
         data set. Base model: `{}`.\n\n\
         | part | what it is |\n| --- | --- |\n\
         | `dataset/` | {} with templates, datasheet and manifest |\n\
         | `foretune.toml` | the settings in force |\n",
        page.model, page.contents
    );
    if let Some(formulas) = page.formulas {
        let _ = writeln!(
            out,
            "| `formulas/` | {formulas} questions about formulas, every answer computed; no recipe \
             trains on them |"
        );
    }
    if let Some(pairs) = page.pairs {
        let _ = writeln!(out, "| `pairs.jsonl` | {pairs} preference pairs |");
    }
    if let Some(recipe) = page.recipe {
        let _ = writeln!(
            out,
            "| `recipe/` | scripts and settings for {}; read `recipe/README.md` |",
            recipe.as_str()
        );
    }
    out += "| `manifest.json`, `SHA256SUMS` | size and sha256 of every file |\n\
            | `verify.sh` | checks them with `sha256sum` alone |\n\n\
            ## On the GPU machine\n\n\
            ```sh\n\
            tar --zstd -xf BUNDLE.tar.zst -C work      # into an empty directory; or: foretune unpack\n\
            cd work\n\
            sh verify.sh                               # Gate 2: the data is what was packed\n";
    if page.recipe.is_some() {
        out += "sh recipe/preflight.sh\nsh recipe/run.sh\n";
    } else {
        out += "foretune train sft --dataset dataset --settings foretune.toml\n";
    }
    out += "```\n";
    out
}
