//! The shadow service as its users meet it: predictions, replays that are killed, a live service
//! asked over HTTP, promotions it takes over while it runs, and what it refuses.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Run, candles::Columns, check, foretune, run, tiny};

pub(crate) const HOUR: i64 = 3_600_000;
const TRAIN: &str = "--model model --steps 2 --set train.batch_size=2 --set train.validation_examples=4 \
                     --set evaluate.calibration_decisions=6";
const DATA: &str = "--set data.directory=candles";
/// Days near the end of the candles, which begin on 2019-01-01.
const FROM: &str = "2019-04-11";
const TO: &str = "2019-04-17";

/// A folder with candles, a tiny model and two adapters of it; made once for all tests here. Each
/// test has its own logs and registries in it.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path();
            fs::create_dir(at.join("model")).unwrap();
            tiny::write(&at.join("model"));
            Columns::swinging(2600).write(&at.join("candles"), "BTC_USDT-1h.feather");
            check(&run(at, &format!("dataset build --out data {DATA}")), 0, &[]);
            for (name, seed) in [("a", 1), ("b", 2)] {
                let train = format!(
                    "train sft --dataset data --out runs/{name} {TRAIN} --set train.seed={seed} --set train.learning_rate=0.05"
                );
                check(&run(at, &train), 0, &[]);
                // Makes the package, so that tests do not make it at the same time.
                fs::write(at.join("market.json"), market().to_string()).unwrap();
                let asked = format!("predict market.json --adapter runs/{name} --no-reason");
                check(&run(at, &asked), 0, &[]);
            }
            folder
        })
        .path()
}

fn market() -> Value {
    json!({
        "asset": "BTC/USDT", "price": 101.5, "change": 0.012,
        "indicators": {"rsi": 61.2, "macd_histogram": 0.4, "ema_9": 101.0, "ema_21": 100.5,
            "ema_50": 99.0, "ema_200": 97.0, "percent_b": 0.8, "volatility": 0.006},
        "timeframes": {"1h": {"trend": "up"}}
    })
}

pub(crate) fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// All lines of a log, oldest file first.
fn log(at: &Path) -> Vec<u8> {
    let mut files: Vec<PathBuf> = fs::read_dir(at)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    files.sort_by_key(|path| (path.ends_with("ab_test_log.jsonl"), path.clone()));
    files
        .iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

/// How many bytes a log holds that somebody may be writing, and rotating, at this moment.
pub(crate) fn length(at: &Path) -> u64 {
    let files = fs::read_dir(at).into_iter().flatten().flatten();
    let lengths = files.filter_map(|entry| Some(entry.metadata().ok()?.len()));
    lengths.sum()
}

pub(crate) fn records(at: &Path) -> Vec<Value> {
    let text = String::from_utf8(log(at)).unwrap();
    text.lines().map(object).collect()
}

#[test]
fn one_market_in_one_decision_out() {
    let at = folder();
    let done = run(
        at,
        "predict market.json --adapter runs/a --show-prompt --max-new-tokens 4",
    );
    check(&done, 0, &[]);
    let answer = object(&done.stdout);
    let p = &answer["probabilities"];
    let classes = ["BUY", "SELL", "HOLD"].map(|class| p[class].as_f64().unwrap());
    assert!((classes.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{answer}");
    let best = classes.iter().copied().fold(0.0, f64::max);
    assert_eq!(p[answer["decision"].as_str().unwrap()], best);
    assert!(
        answer["prompt"]
            .as_str()
            .unwrap()
            .contains("RSI(14): 61.2 (neutral)")
    );
    assert!(answer["reason"].is_string() && answer["latency_ms"].as_f64() > Some(0.0));
    for digest in [
        "model_sha256",
        "adapter_sha256",
        "template_sha256",
        "prompt_sha256",
    ] {
        assert_eq!(answer[digest].as_str().unwrap().len(), 64, "{digest}");
    }
    // The model the adapter was trained from says something else, and so does the other adapter.
    let of = |arm: &str| {
        let mut market = market();
        market["_lora_override"] = arm.into();
        fs::write(
            at.join(format!("over-{}.json", arm.replace('/', "-"))),
            market.to_string(),
        )
        .unwrap();
        let file = format!("over-{}.json", arm.replace('/', "-"));
        let done = run(at, &format!("predict {file} --adapter runs/a --no-reason"));
        check(&done, 0, &[]);
        object(&done.stdout)
    };
    let (base, other) = (of("base"), of("runs/b"));
    assert_eq!(base["adapter_sha256"], Value::Null);
    assert_eq!(base["prompt_sha256"], answer["prompt_sha256"]);
    assert_ne!(base["raw_probabilities"], answer["raw_probabilities"]);
    assert_eq!(other["arm"], "b");
    assert_ne!(other["raw_probabilities"], answer["raw_probabilities"]);
}

#[test]
fn a_batch_answers_every_line_in_order() {
    let at = folder();
    let mut other = market();
    other["price"] = 99.0.into();
    let mut bad = market();
    bad["indicators"].as_object_mut().unwrap().remove("rsi");
    let mut base = market();
    base["_lora_override"] = "base".into();
    let lines = [market(), bad, other, json!("nonsense"), base].map(|line| line.to_string());
    fs::write(at.join("batch.jsonl"), lines.join("\n")).unwrap();
    let done = run(
        at,
        "predict --batch batch.jsonl --adapter runs/a --no-reason",
    );
    check(&done, 3, &["2 of 5 requests could not be answered"]);
    let answers: Vec<Value> = done.stdout.lines().map(object).collect();
    assert_eq!(answers.len(), 5);
    assert!(
        answers[1]["error"]
            .as_str()
            .unwrap()
            .starts_with("missing: indicators.rsi")
    );
    assert_eq!(
        (&answers[1]["line"], &answers[3]["line"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(
        (&answers[0]["arm"], &answers[4]["arm"]),
        (&json!("a"), &json!("base"))
    );
    assert_ne!(answers[0]["prompt_sha256"], answers[2]["prompt_sha256"]);
    assert_eq!(answers[0]["prompt_sha256"], answers[4]["prompt_sha256"]);
}

#[test]
fn what_cannot_be_predicted_is_told() {
    let at = folder();
    fs::write(at.join("empty.json"), "{}").unwrap();
    check(
        &run(at, "predict empty.json --adapter runs/a"),
        3,
        &["missing: asset, price, change"],
    );
    check(
        &run(at, "predict absent.json --adapter runs/a"),
        7,
        &["absent.json"],
    );
    check(
        &run(at, "predict market.json --adapter nobody"),
        2,
        &["neither an adapter"],
    );
    check(
        &run(at, "predict market.json"),
        2,
        &["has no champion", "--adapter"],
    );
}

/// A replay up to a date, to be ended anywhere.
fn replay(log: &str, to: &str) -> String {
    format!(
        "shadow --replay --champion runs/a --challenger runs/b --challenger base --log {log} \
         --from {FROM} --to {to} {DATA}"
    )
}

#[test]
fn a_replay_killed_at_random_ends_in_the_same_log() {
    let at = folder();
    let command = |log: &str| replay(log, TO);
    let whole = run(at, &command("whole"));
    check(&whole, 0, &[]);
    assert!(whole.stdout.contains("instants decided"), "{whole:?}");
    let expect = log(&at.join("whole"));
    let lines = records(&at.join("whole"));
    let decisions: Vec<&Value> = lines
        .iter()
        .filter(|line| line["kind"] == "decision")
        .collect();
    let outcomes = lines
        .iter()
        .filter(|line| line["kind"] == "outcome")
        .count();
    assert_eq!(decisions.len() % 3, 0);
    assert!(
        decisions.len() >= 3 * 100 && outcomes >= 80,
        "{} {outcomes}",
        decisions.len()
    );
    assert_eq!(lines[0]["event"], "start");
    for of_bar in decisions.chunks(3) {
        let arms: Vec<&str> = of_bar.iter().map(|d| d["arm"].as_str().unwrap()).collect();
        assert_eq!(arms, ["a", "b", "base"]);
        assert_eq!(of_bar[0]["role"], "champion");
        assert_eq!(of_bar[0]["prompt_sha256"], of_bar[2]["prompt_sha256"]);
        assert_ne!(
            of_bar[0]["raw_probabilities"],
            of_bar[1]["raw_probabilities"]
        );
    }
    let mut state = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    let (mut kills, mut rounds) = (0, 0);
    // FORETUNE_TEST_KILLS asks for more: the log is taken up again after each, and begun anew once
    // it is whole.
    let wanted = std::env::var("FORETUNE_TEST_KILLS").map_or(12, |text| text.parse().unwrap());
    while kills < wanted {
        rounds += 1;
        assert!(
            rounds < 4 * wanted,
            "only {kills} of {rounds} kills came in time"
        );
        let mut child = foretune(at)
            .args(command("killed").split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Somewhere within the work: once some more bytes are there, and a moment later.
        let before = length(&at.join("killed"));
        let bytes = before + expect.len() as u64 / 14;
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() && length(&at.join("killed")) < bytes {
            assert!(began.elapsed() < Duration::from_secs(240), "stuck");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(state % 20_000));
        let _ = child.kill();
        if child.wait().unwrap().code().is_none() {
            kills += 1;
        } else {
            assert!(log(&at.join("killed")) == expect, "after {kills} kills");
            fs::remove_dir_all(at.join("killed")).unwrap();
        }
    }
    check(&run(at, &command("killed")), 0, &[]);
    assert!(log(&at.join("killed")) == expect);
    // Another question is another log.
    let other = format!("{} --alpha 0.1", command("whole"));
    check(
        &run(at, &other),
        2,
        &["`alpha` is 0.05 there, now 0.1", "--log"],
    );
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_a_replay_and_loses_nothing() {
    let at = folder();
    let command = |log: &str| replay(log, "2019-04-13");
    check(&run(at, &command("roomy")), 0, &[]);
    // No file may grow beyond 16 blocks of 1024 bytes; the signal for that is ignored.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 16; exec {} {}",
        env!("CARGO_BIN_EXE_foretune"),
        command("full")
    );
    let done = Command::new("bash")
        .args(["-c", &limited])
        .current_dir(at)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(7), "{text}");
    assert!(text.contains("ab_test_log"), "{text}");
    check(&run(at, &command("full")), 0, &[]);
    assert!(log(&at.join("full")) == log(&at.join("roomy")));
}

#[test]
fn arms_that_cannot_be_compared_are_refused() {
    let at = folder();
    let shadow = |more: &str| run(at, &format!("shadow --replay --log refused {DATA} {more}"));
    check(&shadow("--champion runs/a"), 2, &["there is no challenger"]);
    check(
        &shadow("--champion runs/a --challenger runs/nobody"),
        2,
        &["neither an adapter"],
    );
    let twin = at.join("runs/twin");
    if !twin.exists() {
        copy(&at.join("runs/a"), &twin);
    }
    check(
        &shadow("--champion runs/a --challenger runs/twin"),
        2,
        &["has the champion's weights"],
    );
    check(&shadow("--champion base"), 2, &["there is no challenger"]);
    check(
        &run(
            at,
            &format!(
                "shadow --log refused {DATA} --champion runs/a --challenger runs/b --listen 0.0.0.0:0"
            ),
        ),
        2,
        &["a bearer token is required", "--token-file"],
    );
    check(
        &shadow("--champion runs/a --challenger runs/b --alpha 0.9"),
        2,
        &["`shadow.alpha` is `0.9`"],
    );
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn promoting_wants_a_verdict_or_a_reason() {
    let at = folder();
    let promote = |more: &str| run(at, &format!("promote --registry own {more}"));
    check(
        &promote("runs/a"),
        5,
        &["there is no verdict", "--override"],
    );
    let mut command = foretune(at);
    command.args([
        "promote",
        "--registry",
        "own",
        "runs/a",
        "--override",
        "first champion",
    ]);
    check(&crate::support::finish(&mut command), 0, &[]);
    let manifest = object(&fs::read_to_string(at.join("own/a/manifest.json")).unwrap());
    assert_eq!(manifest["metrics"]["steps"], 2);
    assert_eq!(manifest["calibration"]["decisions"], 6);
    assert!(at.join("own/a/adapter/adapter_model.safetensors").exists());
    // A verdict on a short log keeps the champion.
    let replay = format!(
        "shadow --replay --registry own --challenger runs/b --log verdict {DATA} --from {FROM} --to {TO}"
    );
    check(&run(at, &replay), 0, &[]);
    check(
        &promote("runs/b --log verdict"),
        5,
        &["the verdict is against it"],
    );
    check(&promote("runs/nobody --log verdict"), 2, &["neither"]);
    check(&promote("runs/b --log verdict --override anyway"), 0, &[]);
    check(&promote("b --override again"), 2, &["champion already"]);
    let state = object(&fs::read_to_string(at.join("own/registry.json")).unwrap());
    assert_eq!(
        (&state["champion"], &state["challengers"][0]),
        (&json!("b"), &json!("a"))
    );
    let asked = run(at, "predict market.json --registry own --no-reason");
    check(&asked, 0, &[]);
    assert_eq!(object(&asked.stdout)["arm"], "b");
    check(&run(at, "rollback --registry own --reason worse"), 0, &[]);
    let history = fs::read_to_string(at.join("own/history.jsonl")).unwrap();
    let history: Vec<Value> = history.lines().map(object).collect();
    assert_eq!(history.len(), 3);
    assert_eq!(
        (&history[1]["reason"], &history[1]["verdict"]["verdict"]),
        (&json!("anyway"), &json!("keep"))
    );
    assert_eq!(
        (&history[2]["change"], &history[2]["to"]),
        (&json!("rollback"), &json!("a"))
    );
    // Nothing in an adapter's directory is ever changed.
    fs::write(at.join("own/b/adapter/adapter_model.safetensors"), b"x").unwrap();
    check(
        &run(at, "predict market.json --registry own --adapter b"),
        4,
        &["its manifest says"],
    );
}

/// Promotes without a verdict.
fn promote(at: &Path, registry: &str, adapter: &str) -> Run {
    let words = [
        "promote",
        "--registry",
        registry,
        adapter,
        "--override",
        "x",
    ];
    crate::support::finish(foretune(at).args(words))
}

/// Changes the last byte of a file.
fn alter(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_altered_adapter_becomes_no_champion() {
    let at = folder();
    check(&promote(at, "altered", "runs/a"), 0, &[]);
    check(&promote(at, "altered", "runs/b"), 0, &[]);
    let weights = "altered/a/adapter/adapter_model.safetensors";
    alter(&at.join(weights));
    let before = fs::read(at.join("altered/registry.json")).unwrap();
    let told = [weights, "was altered", "put the original back"];
    check(
        &run(at, "rollback --registry altered --reason worse"),
        3,
        &told,
    );
    check(&promote(at, "altered", "a"), 3, &told);
    // The registry keeps what it has under the name: the sound one of the run does not mend it.
    check(&promote(at, "altered", "runs/a"), 3, &told);
    fs::remove_file(at.join(weights)).unwrap();
    check(
        &run(at, "rollback --registry altered --reason worse"),
        3,
        &[weights, "cannot be read"],
    );
    assert!(fs::read(at.join("altered/registry.json")).unwrap() == before);
}

#[cfg(unix)]
#[test]
fn a_champion_that_cannot_be_seated_stands_in_the_log_and_in_the_health() {
    let at = folder();
    check(&promote(at, "odd-registry", "runs/b"), 0, &[]);
    check(&promote(at, "odd-registry", "runs/a"), 0, &[]);
    up_to_now(&at.join("odd-now"));
    let service = Service::start(
        at,
        "shadow --registry odd-registry --challenger base --log odd --listen 127.0.0.1:0 --data odd-now",
    );
    let health = object(&service.until("/healthz", |status, _| status == 200));
    assert_eq!(health["registry"], Value::Null);
    // Altered between the promotion and the look of the service.
    alter(&at.join("odd-registry/b/adapter/adapter_model.safetensors"));
    let path = at.join("odd-registry/registry.json");
    let mut state = object(&fs::read_to_string(&path).unwrap());
    let sound = state.clone();
    state["champion"] = "b".into();
    state["revision"] = 3.into();
    fs::write(at.join("odd-registry/.new"), state.to_string()).unwrap();
    fs::rename(at.join("odd-registry/.new"), &path).unwrap();
    let told = |body: &str| object(body)["registry"].is_string();
    let health = object(&service.until("/healthz", |_, body| told(body)));
    assert_eq!(health["champion"], "a");
    let reason = health["registry"].as_str().unwrap();
    assert!(reason.contains("`b`") && reason.contains("cannot be seated"));
    // The one that acts is champion again: nothing is odd any more.
    let mut state = sound;
    state["revision"] = 4.into();
    fs::write(at.join("odd-registry/.new"), state.to_string()).unwrap();
    fs::rename(at.join("odd-registry/.new"), &path).unwrap();
    service.until("/healthz", |_, body| !told(body));
    assert_eq!(service.interrupt().code, 0);
    let lines = records(&at.join("odd"));
    let notice = lines.iter().find(|line| line["event"] == "notice").unwrap();
    assert_eq!(notice["text"], reason);
    assert_eq!(notice["arms"][0]["name"], "a");
}

#[test]
fn a_service_that_cannot_begin_leaves_no_log() {
    let at = folder();
    let begin = format!("shadow --champion runs/a --challenger runs/b --log never {DATA}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    fs::write(at.join("token"), "0123456789abcdef\n0123456789abcdef\n").unwrap();
    for (more, told) in [
        ("--replay --from 2030-01-01", "is after the candles' end"),
        (
            "--replay --to 2010-01-01",
            "is before the candles' beginning",
        ),
        (
            "--replay --from 2019-04-02 --to 2019-04-01",
            "is after `--to",
        ),
        ("--replay --alpha 0.5", "`shadow.alpha` is `0.5`"),
        ("--replay --cost-per-side=-0.001", "`shadow.cost_per_side`"),
        (&format!("--listen {taken}"), "cannot listen on"),
        ("--replay --token-file token", "holds more than a token"),
    ] {
        check(&run(at, &format!("{begin} {more}")), 2, &[told]);
        assert!(!at.join("never").exists(), "{more}");
    }
}

/// Asks a server and returns status and body.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

/// A service at work; killed when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: String,
    said: std::sync::mpsc::Receiver<String>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    pub(crate) fn start(at: &Path, command: &str) -> Self {
        Self::of(foretune(at).args(command.split_whitespace()))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use std::io::{BufRead, BufReader};
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut service = Self {
            child,
            address: String::new(),
            said,
        };
        let line = service.hear("listening on http://");
        line.rsplit("http://")
            .next()
            .unwrap()
            .clone_into(&mut service.address);
        service
    }

    /// Waits for a line on standard error.
    fn hear(&self, fragment: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.said.recv_timeout(Duration::from_secs(180)) {
                Ok(line) if line.contains(fragment) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("`{fragment}` was not said ({error}): {heard:#?}"),
            }
        }
    }

    /// Asks until the answer is as wanted.
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let (status, body) = ask(&self.address, "GET", path, b"");
            if wanted(status, &body) {
                return body;
            }
            assert!(
                began.elapsed() < Duration::from_secs(180),
                "{path}: {status} {body}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[cfg(unix)]
    pub(crate) fn interrupt(mut self) -> Run {
        let signal = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(signal.unwrap().success());
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let stderr = self.said.try_iter().collect::<Vec<_>>().join("\n");
        Run {
            code,
            stdout,
            stderr,
        }
    }
}

/// Writes candles whose last bar closed at the last full hour.
pub(crate) fn up_to_now(folder: &Path) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let mut columns = Columns::swinging(700);
    let shift = now / HOUR * HOUR - (columns.date.last().unwrap() + HOUR);
    for time in &mut columns.date {
        *time += shift;
    }
    columns.write(folder, "BTC_USDT-1h.feather");
}

#[cfg(unix)]
#[test]
fn a_live_service_decides_answers_and_takes_over_a_promotion() {
    let at = folder();
    up_to_now(&at.join("now"));
    let first = [
        "promote",
        "--registry",
        "live-registry",
        "runs/a",
        "--override",
        "first",
    ];
    check(&crate::support::finish(foretune(at).args(first)), 0, &[]);
    let command = "shadow --registry live-registry --challenger runs/b --log live --late-after 3600 \
                   --listen 127.0.0.1:0 --data now";
    let service = Service::start(at, command);
    // The bar that closed at the last full hour is decided at once.
    let signal = object(&service.until("/v1/signal/BTC_USDT", |status, _| status == 200));
    assert_eq!(
        (&signal["arm"], &signal["late"], &signal["stale"]),
        (&json!("a"), &json!(false), &json!(false))
    );
    for name in ["BTC/USDT", "BTC%2FUSDT"] {
        let (status, body) = ask(&service.address, "GET", &format!("/v1/signal/{name}"), b"");
        assert_eq!(
            (status, object(&body)["id"].clone()),
            (200, signal["id"].clone())
        );
    }
    // A second service on the same log is refused.
    check(&run(at, command), 7, &["already being written"]);

    let (status, body) = ask(
        &service.address,
        "POST",
        "/v1/decide",
        market().to_string().as_bytes(),
    );
    assert_eq!(status, 200, "{body}");
    let decided = object(&body);
    let predicted = run(at, "predict market.json --adapter runs/a --no-reason");
    let predicted = object(&predicted.stdout);
    assert_eq!(decided["prompt_sha256"], predicted["prompt_sha256"]);
    let close = |class: &str| {
        let of = |answer: &Value| answer["probabilities"][class].as_f64().unwrap();
        (of(&decided) - of(&predicted)).abs() < 1e-3
    };
    assert!(
        ["BUY", "SELL", "HOLD"].into_iter().all(close),
        "{decided} {predicted}"
    );
    let huge = vec![b' '; 100_000];
    let mut override_ = market();
    override_["_lora_override"] = "b".into();
    for (method, path, body, status, expect) in [
        (
            "GET",
            "/v1/signal/../../../../etc/passwd",
            &b""[..],
            404,
            "BTC/USDT",
        ),
        (
            "GET",
            "/v1/signal/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            b"",
            404,
            "no such instrument",
        ),
        ("GET", "/../registry.json", b"", 404, "openapi"),
        ("POST", "/v1/decide", b"{", 400, "EOF"),
        ("POST", "/v1/decide", b"{}", 422, "missing: asset"),
        ("POST", "/v1/decide", &huge, 413, "65536"),
        (
            "POST",
            "/v1/decide",
            override_.to_string().as_bytes(),
            422,
            "champion alone",
        ),
        ("DELETE", "/v1/decide", b"", 405, "expected POST"),
        ("POST", "/healthz", b"", 405, "expected GET"),
    ] {
        let (found, text) = ask(&service.address, method, path, body);
        assert!(
            found == status && text.contains(expect),
            "{method} {path}: {found} {text}"
        );
    }
    let (_, metrics) = ask(&service.address, "GET", "/metrics", b"");
    for line in [
        "foretune_up 1",
        "foretune_bars_decided_total 1",
        "foretune_decisions{arm=\"b\"",
        "foretune_requests_total{status=\"413\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let (_, openapi) = ask(&service.address, "GET", "/openapi.json", b"");
    for path in object(&openapi)["paths"].as_object().unwrap().keys() {
        let path = path.replace("{instrument}", "BTC_USDT");
        if path == "/v1/decide" || path == "/v1/events" {
            continue;
        }
        assert_eq!(ask(&service.address, "GET", &path, b"").0, 200, "{path}");
    }
    let summary = object(&ask(&service.address, "GET", "/v1/summary", b"").1);
    assert_eq!(summary["chart"]["decisions"].as_array().unwrap().len(), 2);
    assert_eq!(summary["verdict"]["champion"], "a");

    // Events come as they are written.
    let mut events = TcpStream::connect(&service.address).unwrap();
    events
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    events
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let promoted = [
        "promote",
        "--registry",
        "live-registry",
        "runs/b",
        "--override",
        "bold",
    ];
    check(&crate::support::finish(foretune(at).args(promoted)), 0, &[]);
    service.until("/healthz", |_, body| object(body)["champion"] == "b");
    let mut seen = String::new();
    let mut some = [0; 4096];
    while !seen.contains("event: event") {
        let count = events.read(&mut some).unwrap();
        assert!(count > 0, "{seen}");
        seen += &String::from_utf8_lossy(&some[..count]);
    }
    assert!(
        seen.contains("text/event-stream") && seen.contains("\"promotion\""),
        "{seen}"
    );
    let (_, body) = ask(
        &service.address,
        "POST",
        "/v1/decide",
        market().to_string().as_bytes(),
    );
    assert_eq!(object(&body)["arm"], "b");

    let ended = service.interrupt();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("ended in order"), "{ended:?}");
    let lines = records(&at.join("live"));
    let events: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(events, ["start", "promotion", "stop"]);
    // The next service goes on with the promoted champion, under the same rule.
    let again = Service::start(at, command);
    again.until("/healthz", |_, body| object(body)["champion"] == "b");
    assert_eq!(again.interrupt().code, 0);
    let decisions = records(&at.join("live"))
        .iter()
        .filter(|line| line["kind"] == "decision")
        .count();
    assert_eq!(decisions % 2, 0);
}

#[test]
fn the_commands_of_the_page_on_the_shadow_service_run() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/shadow.md"))
            .unwrap();
    let at = folder();
    let own = at.join("page");
    fs::create_dir_all(&own).unwrap();
    for name in ["runs", "model", "data", "candles"] {
        let (from, to) = (at.join(name), own.join(name));
        if !to.exists() {
            copy(&from, &to);
        }
    }
    let request = page
        .split("```json")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    fs::write(own.join("market.json"), request).unwrap();
    fs::write(own.join("markets.jsonl"), market().to_string()).unwrap();
    let mut inside = false;
    let mut ran = 0;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
            continue;
        }
        let command = line.split(" # ").next().unwrap_or("").trim();
        if !inside || command.is_empty() {
            continue;
        }
        let command = command
            .replace("user_data/data/binance", "candles")
            .replace("2023-01-01", FROM)
            .replace("2024-12-31", TO);
        let done = Command::new("bash")
            .args([
                "-c",
                &command.replace("foretune ", &format!("{} ", env!("CARGO_BIN_EXE_foretune"))),
            ])
            .current_dir(&own)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command}: {text}");
        ran += 1;
    }
    assert!(ran >= 6, "{ran}");
}
