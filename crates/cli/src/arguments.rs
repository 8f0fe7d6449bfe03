//! The command line as typed. Each command turns its part into validated
//! settings before it touches anything.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::{
    audit, check, data_inspect, dataset_build, dataset_verify, estimate, evaluate, export,
    features, formulas, import, init, pack, predict, promote, quickstart, report, rollback, shadow,
    train_dpo, train_sft,
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
    /// Preset the settings start from: crypto-12h, forex-12h, forex-bridge
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

// The help of a command is the documentation of its arguments.

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Quickstart(quickstart::Typed),
    Init(init::Typed),
    /// Look at market data
    #[command(subcommand)]
    Data(Data),
    Features(features::Typed),
    Formulas(formulas::Typed),
    /// Make training examples
    #[command(subcommand)]
    Dataset(Dataset),
    Audit(audit::Typed),
    /// Train an adapter
    #[command(subcommand)]
    Train(Train),
    /// Write a trained adapter, or decisions, for other programs
    #[command(subcommand)]
    Export(export::Typed),
    Pack(pack::Typed),
    Unpack(pack::Unpack),
    Import(import::Typed),
    Check(check::Typed),
    Evaluate(evaluate::Typed),
    Predict(predict::Typed),
    Shadow(Box<shadow::Typed>),
    Promote(promote::Typed),
    Rollback(rollback::Typed),
    Report(report::Typed),
    Estimate(estimate::Typed),
}

/// Commands about market data.
#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    Inspect(data_inspect::Typed),
}

/// Commands about training examples.
#[derive(Debug, Subcommand)]
pub(crate) enum Dataset {
    Build(dataset_build::Typed),
    Verify(dataset_verify::Typed),
}

/// Commands about training.
#[derive(Debug, Subcommand)]
pub(crate) enum Train {
    Sft(train_sft::Typed),
    Dpo(train_dpo::Typed),
}
