//! Shared by the tests of the binary: running it, and inputs to run it on.

pub(crate) mod candles;
pub(crate) mod tiny;

use std::path::Path;
use std::process::{Command, Output};

/// What one run of the binary did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the binary, ready to run in `folder`, unaffected by the caller's
/// settings and with its own empty cache.
pub(crate) fn foretune(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretune"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FORETUNE_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .env("FORETUNE_CACHE", folder.join("cache"))
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100");
    command
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Run {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs the binary in `folder` with arguments separated by blanks.
pub(crate) fn run(folder: &Path, arguments: &str) -> Run {
    finish(foretune(folder).args(arguments.split_whitespace()))
}

/// Asserts the exit code and that standard error contains every fragment.
#[track_caller]
pub(crate) fn check(run: &Run, code: i32, fragments: &[&str]) {
    assert_eq!(run.code, code, "{run:#?}");
    for fragment in fragments {
        assert!(
            run.stderr.contains(fragment),
            "`{fragment}` is not in {run:#?}"
        );
    }
}
