#![forbid(unsafe_code)]
//! The `foretune` command: parses, calls, prints.
//!
//! Everything that can be computed lives in the other crates; here are the
//! arguments ([`arguments`]), the settings ([`settings`]), one file per command
//! ([`command`]), the steps they share ([`flow`]), and what surrounds a command:
//! progress, interruption, output and exit codes.

mod arguments;
mod bundled;
mod clock;
mod command;
mod exit;
mod files;
mod flow;
mod interrupt;
mod memory;
mod output;
mod progress;
mod python;
mod recipe;
mod run;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use exit::{Exit, Report, Stop};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error).into(),
    };
    interrupt::install();
    let json = arguments.global.json;
    let done = command::run(arguments).and_then(|printed| {
        output::print(&printed, json)?;
        Ok(printed.stop)
    });
    let exit = match done {
        Ok(None) => Exit::Success,
        Ok(Some(stop)) if json => fail(&stop.into(), true),
        Ok(Some(stop)) => stop.exit(),
        Err(error) => fail(&error, json),
    };
    exit.into()
}

fn fail(error: &anyhow::Error, json: bool) -> Exit {
    let report = Report::of(error);
    output::print_error(&report, json);
    report.exit
}

/// Help and version are data; a wrong command line is an error like any other.
fn usage(error: &clap::Error) -> Exit {
    let json = std::env::args().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        return fail(&Stop::new(Exit::Usage, message).into(), true);
    }
    // A closed pipe is no reason to fail while showing help.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Success
    }
}
