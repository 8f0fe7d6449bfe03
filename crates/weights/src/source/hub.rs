//! A repository on the Hugging Face hub, through the hub's own client library.
//!
//! `HF_ENDPOINT`, `HF_TOKEN` and a stored login are honoured. Weights come last, so that a
//! cached directory with all of them is complete and is used without asking the hub.

use std::path::{Path, PathBuf};

use hf_hub::api::Progress as HubProgress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::Progress;
use crate::WeightsError;
use crate::config::Json;

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// Files taken where the repository has them.
const OPTIONAL: [&str; 3] = [
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Returns the cached GGUF file or directory, fetching what is missing.
pub(super) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    models: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, WeightsError> {
    let directory = models.join("hub");
    let revision = revision.unwrap_or("main");
    let handle = || Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned());
    let cache = Cache::new(directory.clone()).repo(handle());
    let cached = match file {
        Some(file) => cache.get(file),
        None => cached_directory(&cache),
    };
    if let Some(path) = cached {
        progress(Progress::Cached);
        return Ok(path);
    }
    std::fs::create_dir_all(&directory).map_err(WeightsError::io("create", &directory))?;
    let mut builder = ApiBuilder::from_env()
        .with_cache_dir(directory)
        .with_progress(false)
        .with_retries(2);
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.is_empty()
    {
        builder = builder.with_token(Some(token));
    }
    let name = format!("{repo}@{revision}");
    let fail = |file: &str, error: &ApiError| WeightsError::Hub {
        repository: name.clone(),
        file: file.to_owned(),
        message: error.to_string(),
    };
    let api = builder
        .build()
        .map_err(|error| fail(file.unwrap_or(CONFIG), &error))?
        .repo(handle());
    let get = |file: &str, progress: &mut dyn FnMut(Progress)| {
        download(&api, &cache, file, progress).map_err(|error| fail(file, &error))
    };
    if let Some(file) = file {
        return get(file, progress);
    }
    let info = api.info().map_err(|error| fail(CONFIG, &error))?;
    let listed = |file: &str| info.siblings.iter().any(|s| s.rfilename == file);
    let config = get(CONFIG, progress)?;
    get("tokenizer.json", progress)?;
    for file in OPTIONAL.into_iter().filter(|file| listed(file)) {
        get(file, progress)?;
    }
    if listed(INDEX) {
        let index = get(INDEX, progress)?;
        for shard in shards(&index)? {
            get(&shard, progress)?;
        }
    } else {
        get(SINGLE, progress)?;
    }
    Ok(config.parent().unwrap_or(&config).to_owned())
}

/// Returns the directory when everything needed is in the cache.
fn cached_directory(cache: &CacheRepo) -> Option<PathBuf> {
    let config = cache.get(CONFIG)?;
    cache.get("tokenizer.json")?;
    match cache.get(INDEX) {
        Some(index) => {
            for shard in shards(&index).ok()? {
                cache.get(&shard)?;
            }
        }
        None => {
            cache.get(SINGLE)?;
        }
    }
    Some(config.parent()?.to_owned())
}

/// Returns the files an index lists, each once, sorted; names with separators are left for the
/// directory reader to refuse.
fn shards(index: &Path) -> Result<Vec<String>, WeightsError> {
    let json = Json::read(index)?;
    let map = json
        .get("weight_map")
        .and_then(|map| map.as_object())
        .ok_or_else(|| json.fail("weight_map", "is not an object"))?;
    let names: std::collections::BTreeSet<String> = map
        .values()
        .filter_map(|file| file.as_str())
        .filter(|file| !file.contains(['/', '\\']))
        .map(str::to_owned)
        .collect();
    Ok(names.into_iter().collect())
}

fn download(
    api: &ApiRepo,
    cache: &CacheRepo,
    file: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, ApiError> {
    if let Some(path) = cache.get(file) {
        return Ok(path);
    }
    api.download_with_progress(file, Relay { progress, seen: 0 })
}

/// Passes the client's progress on.
struct Relay<'a> {
    progress: &'a mut dyn FnMut(Progress),
    seen: u64,
}

impl HubProgress for Relay<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        (self.progress)(Progress::Started {
            what: filename.to_owned(),
            total: Some(size as u64),
        });
    }

    fn update(&mut self, size: usize) {
        self.seen += size as u64;
        (self.progress)(Progress::Bytes(self.seen));
    }

    fn finish(&mut self) {
        (self.progress)(Progress::Verifying);
    }
}
