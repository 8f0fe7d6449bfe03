//! Python tools: a virtual environment of our own in the cache directory, with
//! exactly the packages of one requirements file.
//!
//! The environment is built under a temporary name and renamed when complete,
//! so an interrupted installation is never mistaken for a usable one. Nothing
//! is installed into the user's own Python.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::exit::{Exit, Stop};
use crate::{files, interrupt};

/// Names the Python interpreter when `python3` will not do.
pub(crate) const VARIABLE: &str = "FORETUNE_PYTHON";

const POLL: Duration = Duration::from_millis(50);

/// A usable Python environment.
#[derive(Debug)]
pub(crate) struct Environment {
    interpreter: PathBuf,
}

impl Environment {
    /// Returns the environment `name` below `cache`, making it when it is absent
    /// or was made from other requirements.
    ///
    /// # Errors
    /// When there is no Python, when `venv` or `pip` fail (offline, no wheel for
    /// this system), or on Ctrl-C.
    pub(crate) fn prepare(cache: &Path, name: &str, requirements: &str) -> anyhow::Result<Self> {
        let base = interpreter()?;
        let version = version(&base)?;
        let home = cache.join("python").join(format!("{name}-py{version}"));
        let stamp = home.join("requirements.txt");
        let made = Self {
            interpreter: home.join(if cfg!(windows) {
                "Scripts/python.exe"
            } else {
                "bin/python"
            }),
        };
        let usable = || {
            fs::read_to_string(&stamp).is_ok_and(|text| text == requirements)
                && made.interpreter.exists()
        };
        if usable() {
            return Ok(made);
        }
        let parent = cache.join("python");
        files::create_directory(&parent)?;
        let building = tempfile::Builder::new()
            .prefix(".building-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in `{}`", parent.display()))?;
        build(&base, building.path(), requirements)?;
        // Another foretune may have made the same environment meanwhile and be using it.
        if usable() {
            return Ok(made);
        }
        if home.exists() {
            fs::remove_dir_all(&home)
                .with_context(|| format!("cannot replace `{}`", home.display()))?;
        }
        match fs::rename(building.path(), &home) {
            Err(_) if usable() => Ok(made),
            renamed => renamed
                .with_context(|| format!("cannot create `{}`", home.display()))
                .map(|()| made),
        }
    }

    /// Runs the script at `script` with `arguments` and returns whether it ended
    /// well, and what it wrote to standard error. `tick` is called now and then.
    ///
    /// # Errors
    /// When it cannot be started, or on Ctrl-C.
    pub(crate) fn run(
        &self,
        script: &Path,
        arguments: &[&Path],
        tick: &mut dyn FnMut(),
    ) -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(&self.interpreter);
        command.arg("-I").arg(script).args(arguments);
        let output = finish(command, "", tick)?;
        Ok((output.success, tail(&output.stderr)))
    }
}

struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

fn interpreter() -> Result<PathBuf, Stop> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path.into()],
        None => vec!["python3".into(), "python".into()],
    };
    for candidate in &candidates {
        let answers = Command::new(candidate)
            .args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if answers.is_ok_and(|status| status.success()) {
            return Ok(candidate.clone());
        }
    }
    let tried: Vec<String> = candidates
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    Err(Stop::new(
        Exit::Environment,
        format!("no Python 3.9 or newer: tried {}", tried.join(", ")),
    )
    .hint(format!(
        "install python3 with its venv and pip modules, or name one with {VARIABLE}"
    )))
}

fn version(python: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(python);
    command.args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
    Ok(finish(command, "", &mut || ())?.stdout.trim().to_owned())
}

fn build(base: &Path, home: &Path, requirements: &str) -> anyhow::Result<()> {
    let mut command = Command::new(base);
    command.args([OsStr::new("-m"), OsStr::new("venv"), home.as_os_str()]);
    let output = finish(command, "", &mut || ())?;
    if !output.success {
        return Err(Stop::new(
            Exit::Environment,
            format!(
                "`{} -m venv` failed: {}",
                base.display(),
                tail(&output.stderr)
            ),
        )
        .hint(
            "install the venv module of Python (on Debian and Ubuntu: `apt install python3-venv`)",
        )
        .into());
    }
    let python = home.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let stamp = home.join("requirements.txt");
    let pending = home.join("requirements.pending");
    fs::write(&pending, requirements)
        .with_context(|| format!("cannot write `{}`", pending.display()))?;
    let mut command = Command::new(&python);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command.args(["--no-input", "--only-binary", ":all:", "--requirement"]);
    command.arg(&pending);
    let output = finish(command, "", &mut || ())?;
    if !output.success {
        return Err(Stop::new(
            Exit::Environment,
            format!("pip could not install the client: {}", tail(&output.stderr)),
        )
        .hint("the first check needs the network once; a proxy or a mirror is set in pip's own configuration")
        .into());
    }
    fs::rename(&pending, &stamp).with_context(|| format!("cannot write `{}`", stamp.display()))
}

/// Runs a process to its end, polling for Ctrl-C, with its streams collected.
fn finish(mut command: Command, input: &str, tick: &mut dyn FnMut()) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Stop::new(Exit::Environment, format!("cannot start `{name}`: {error}")))?;
    let stdin = child.stdin.take();
    let input = input.to_owned();
    // A child that stops reading is noticed by its exit status.
    let writer = thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, tick)?;
    let _ = writer.join();
    Ok(Output {
        success: status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

fn wait(child: &mut Child, tick: &mut dyn FnMut()) -> anyhow::Result<bool> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for Python")? {
            // Ctrl-C reaches the child too, whose failure is then a consequence.
            if !status.success() {
                interrupt::check()?;
            }
            return Ok(status.success());
        }
        if interrupt::requested() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(interrupt::stopped().into());
        }
        tick();
        thread::sleep(POLL);
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What arrived before a broken pipe is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Returns the last lines of a tool's complaint as one line.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(4);
    lines[from..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\n\n b\nc\nd\ne\n"), "b / c / d / e");
        assert_eq!(tail(""), "");
    }

    #[cfg(unix)]
    #[test]
    fn a_process_gets_its_input_and_gives_both_streams() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo oops >&2; exit 3"]);
        let output = finish(command, "hello", &mut || ()).unwrap();
        assert!(!output.success);
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("hello", "oops\n")
        );
    }
}
