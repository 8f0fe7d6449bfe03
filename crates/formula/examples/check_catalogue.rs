//! Checks catalogue files: `cargo run -p foretune-formula --example check_catalogue FILE...`
//!
//! The files are read as one catalogue, in the order given.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::process::ExitCode;

use formula::Catalogue;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut files = Vec::new();
    for name in &names {
        match std::fs::read_to_string(name) {
            Ok(text) => files.push((name.as_str(), text)),
            Err(error) => {
                eprintln!("cannot read `{name}`: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(n, text)| (*n, text.as_str())).collect();
    match Catalogue::read(&files) {
        Ok(catalogue) => {
            for (family, counts) in catalogue.by_family() {
                let (expressions, structures) = (counts.expressions, counts.structures);
                println!(
                    "{}: {expressions} expressions, {structures} structures",
                    family.id
                );
            }
            let counts = catalogue.counts();
            let (expressions, structures) = (counts.expressions, counts.structures);
            println!("all: {expressions} expressions, {structures} structures");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}\n{} faults", faults.0.len());
            ExitCode::FAILURE
        }
    }
}
