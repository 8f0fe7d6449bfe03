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

/// Returns the cached GGUF file or directory, fetching what is missing from `endpoint` or,
/// without one, from `HF_ENDPOINT` or the public hub.
pub(super) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    models: &Path,
    endpoint: Option<&str>,
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
        .with_cache_dir(directory.clone())
        .with_progress(false)
        .with_retries(2);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.is_empty()
    {
        builder = builder.with_token(Some(token));
    }
    let name = format!("{repo}@{revision}");
    let fail = |file: &str, error: &ApiError| match error {
        ApiError::IoError(source) if source.kind() == std::io::ErrorKind::StorageFull => {
            let full = std::io::Error::new(source.kind(), source.to_string());
            WeightsError::io("download into", &directory)(full)
        }
        _ => WeightsError::Hub {
            repository: name.clone(),
            file: file.to_owned(),
            message: error.to_string(),
        },
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    /// A hub on this machine that serves one repository and counts what it is asked.
    struct FakeHub {
        endpoint: String,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl FakeHub {
        fn start(files: &[(&str, &str)]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let owned = files
                .iter()
                .map(|(n, c)| ((*n).to_owned(), (*c).to_owned()));
            let files: BTreeMap<String, String> = owned.collect();
            let asked = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&asked);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    answer(&mut stream.unwrap(), &files, &log);
                }
            });
            Self { endpoint, asked }
        }
    }

    fn answer(stream: &mut TcpStream, files: &BTreeMap<String, String>, log: &Mutex<Vec<String>>) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let mut range = None;
        for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
            if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
                range = value
                    .split_once('-')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()));
            }
        }
        log.lock().unwrap().push(path.clone());
        let (status, headers, body) = if path == "/api/models/org/tiny/revision/main" {
            let siblings: Vec<_> = files
                .keys()
                .map(|name| serde_json::json!({"rfilename": name}))
                .collect();
            let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
            ("200 OK", String::new(), body)
        } else if let Some(content) = path
            .strip_prefix("/org/tiny/resolve/main/")
            .and_then(|name| files.get(name))
        {
            let (from, to) = range.unwrap_or_default();
            let from: usize = from.parse().unwrap_or(0);
            let to = to.parse().unwrap_or(content.len() - 1);
            let headers = format!(
                "x-repo-commit: {COMMIT}\r\netag: \"{}\"\r\ncontent-range: bytes {from}-{to}/{}\r\n",
                path.replace('/', "_"),
                content.len()
            );
            (
                "206 Partial Content",
                headers,
                content[from..=to].to_owned(),
            )
        } else {
            ("404 Not Found", String::new(), "no".to_owned())
        };
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }

    fn fetch_from(
        hub: &FakeHub,
        file: Option<&str>,
        models: &Path,
    ) -> (Result<PathBuf, WeightsError>, Vec<Progress>) {
        let mut seen = Vec::new();
        let endpoint = Some(hub.endpoint.as_str());
        let result = fetch("org/tiny", None, file, models, endpoint, &mut |p| {
            seen.push(p);
        });
        (result, seen)
    }

    #[test]
    fn a_sharded_repository_is_fetched_once() {
        let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors",
                        "c": "model-1.safetensors"}}"#;
        let hub = FakeHub::start(&[
            ("config.json", "{\"c\": 1}"),
            ("tokenizer.json", "{}"),
            ("tokenizer_config.json", "{\"t\": 1}"),
            ("README.md", "not wanted"),
            (INDEX, index),
            ("model-1.safetensors", "one"),
            ("model-2.safetensors", "two"),
        ]);
        let models = tempfile::tempdir().unwrap();
        let (result, seen) = fetch_from(&hub, None, models.path());
        let directory = result.unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(read("config.json"), "{\"c\": 1}");
        assert_eq!(read("model-2.safetensors"), "two");
        assert!(!directory.join("README.md").exists());
        let shard = Progress::Started {
            what: "model-2.safetensors".into(),
            total: Some(3),
        };
        assert!(
            seen.contains(&shard) && seen.contains(&Progress::Bytes(3)),
            "{seen:?}"
        );

        let before = hub.asked.lock().unwrap().len();
        let (again, seen) = fetch_from(&hub, None, models.path());
        assert_eq!(again.unwrap(), directory);
        assert_eq!(seen, [Progress::Cached]);
        assert_eq!(hub.asked.lock().unwrap().len(), before);
    }

    #[test]
    fn one_gguf_file_is_fetched_alone() {
        let hub = FakeHub::start(&[("m.gguf", "GGUF..."), ("config.json", "{}")]);
        let models = tempfile::tempdir().unwrap();
        let (result, _) = fetch_from(&hub, Some("m.gguf"), models.path());
        let path = result.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "GGUF...");
        assert!(!path.with_file_name("config.json").exists());
        let (again, seen) = fetch_from(&hub, Some("m.gguf"), models.path());
        assert_eq!((again.unwrap(), seen), (path, vec![Progress::Cached]));
    }

    #[test]
    fn what_the_repository_lacks_is_named() {
        let hub = FakeHub::start(&[("config.json", "{}")]);
        let models = tempfile::tempdir().unwrap();
        let error = fetch_from(&hub, None, models.path()).0.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`tokenizer.json` of `org/tiny@main`"),
            "{text}"
        );
        assert!(text.contains("404"), "{text}");
    }

    #[test]
    fn no_network_is_an_error_that_says_what_to_do() {
        // A port that was free a moment ago and where nobody listens now.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let models = tempfile::tempdir().unwrap();
        let endpoint = Some(endpoint.as_str());
        let error =
            fetch("org/tiny", None, None, models.path(), endpoint, &mut |_| {}).unwrap_err();
        assert!(
            error.to_string().contains("from the Hugging Face hub"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("network connection"));
    }
}
