//! One file per command. Each has the arguments as typed and a `run` that
//! validates them, calls the libraries and returns what is to be printed.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod data_inspect;
pub(crate) mod dataset_build;
pub(crate) mod dataset_verify;
pub(crate) mod estimate;
pub(crate) mod evaluate;
mod evaluate_log;
pub(crate) mod export;
pub(crate) mod features;
pub(crate) mod formulas;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod pack;
pub(crate) mod predict;
pub(crate) mod promote;
pub(crate) mod quickstart;
pub(crate) mod report;
pub(crate) mod rollback;
pub(crate) mod shadow;
pub(crate) mod train_dpo;
pub(crate) mod train_sft;

use crate::arguments::{Arguments, Command, Data, Dataset, Train};
use crate::output::Printed;

/// Runs the command that was typed.
///
/// # Errors
/// As the command.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Printed> {
    let global = &arguments.global;
    match arguments.command {
        Command::Quickstart(typed) => quickstart::run(&typed, global),
        Command::Init(typed) => init::run(&typed, global),
        Command::Data(Data::Inspect(typed)) => data_inspect::run(typed, global),
        Command::Features(typed) => features::run(&typed, global),
        Command::Formulas(typed) => formulas::run(&typed, global),
        Command::Dataset(Dataset::Build(typed)) => dataset_build::run(&typed, global),
        Command::Dataset(Dataset::Verify(typed)) => dataset_verify::run(&typed, global),
        Command::Audit(typed) => audit::run(&typed, global),
        Command::Train(Train::Sft(typed)) => train_sft::run(&typed, global),
        Command::Train(Train::Dpo(typed)) => train_dpo::run(&typed, global),
        Command::Export(typed) => export::run(&typed, global),
        Command::Pack(typed) => pack::run(&typed, global),
        Command::Unpack(typed) => pack::unpack(&typed, global),
        Command::Import(typed) => import::run(&typed, global),
        Command::Check(typed) => check::run(&typed, global),
        Command::Evaluate(typed) => evaluate::run(&typed, global),
        Command::Predict(typed) => predict::run(&typed, global),
        Command::Shadow(typed) => shadow::run(&typed, global),
        Command::Promote(typed) => promote::run(&typed, global),
        Command::Rollback(typed) => rollback::run(&typed, global),
        Command::Report(typed) => report::run(&typed, global),
        Command::Estimate(typed) => estimate::run(&typed, global),
    }
}
