//! The command line as typed. Each command turns its part into validated
//! settings before it touches anything.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::{
    check, data_inspect, dataset_build, evaluate, export, init, quickstart, train_sft,
};
use crate::exit;

/// Turns market history into a language model that judges trades, and shows,
/// before anyone acts on it, whether that model learned anything.
#[derive(Debug, Parser)]
#[command(name = "foretune", version, max_term_width = 100, after_help = exit::HELP)]
pub(crate) struct Arguments {
    /// Flags every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Print the result as JSON on standard output
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Settings file [default: foretune.toml, if there is one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "FORETUNE_SETTINGS",
        help_heading = "Global options"
    )]
    pub(crate) settings: Option<PathBuf>,
    /// Preset the settings start from: crypto-12h, forex-12h
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "FORETUNE_PRESET",
        help_heading = "Global options"
    )]
    pub(crate) preset: Option<String>,
    /// Set one value, such as `--set train.learning_rate=5e-4` (repeatable)
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Global options"
    )]
    pub(crate) set: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole flow: candles, examples, training, export, check, evaluation, report
    Quickstart(quickstart::Typed),
    /// Write a commented foretune.toml and the prompt templates for editing
    Init(init::Typed),
    /// Look at market data
    #[command(subcommand)]
    Data(Data),
    /// Make training examples
    #[command(subcommand)]
    Dataset(Dataset),
    /// Train an adapter
    #[command(subcommand)]
    Train(Train),
    /// Write a trained adapter for other programs
    #[command(subcommand)]
    Export(export::Typed),
    /// Compare the adapter's answers with those of llama.cpp
    Check(check::Typed),
    /// Judge the adapter on the held-out span and write the report
    Evaluate(evaluate::Typed),
}

/// Commands about market data.
#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Report rows, spans, gaps and faults of every candle file
    Inspect(data_inspect::Typed),
}

/// Commands about training examples.
#[derive(Debug, Subcommand)]
pub(crate) enum Dataset {
    /// Build leak-free training, validation and test examples from candles
    Build(dataset_build::Typed),
}

/// Commands about training.
#[derive(Debug, Subcommand)]
pub(crate) enum Train {
    /// Fine-tune a LoRA adapter on the training examples
    Sft(train_sft::Typed),
}
