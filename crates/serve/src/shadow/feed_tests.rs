//! Tests of the feeds: against a local exchange that replays answers, errors among them, and
//! against files that change.

use super::*;
use crate::http::{Handler, Options, Request, Response, Server};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;

/// Gives the recorded answers one after another, the last one again and again.
struct Replay {
    time: i64,
    answers: Mutex<VecDeque<(u16, String)>>,
    asked: Mutex<Vec<i64>>,
}

impl Handler for Replay {
    fn answer(&self, request: &Request) -> Response {
        if request.path.ends_with("/time") {
            return Response::json(200, &serde_json::json!({"serverTime": self.time}));
        }
        assert_eq!(request.path, "/api/v3/klines");
        assert_eq!(request.value("symbol"), Some("BTCUSDT"));
        let start = request.value("startTime").unwrap().parse().unwrap();
        self.asked.lock().unwrap().push(start);
        let mut answers = self.answers.lock().unwrap();
        let (status, text) = answers.pop_front().unwrap_or((200, "[]".to_owned()));
        let response = Response::new(status, "application/json", text);
        if status == 429 {
            return response.header("Retry-After", "7");
        }
        response
    }

    fn answered(&self, _: u16) {}

    fn is_stopping(&self) -> bool {
        false
    }
}

fn klines(rows: &[(i64, f64)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(hour, close)| {
            let time = START + hour * HOUR;
            format!(
                r#"[{time},"100","{}","90","{close}","1.5",{},"0",1,"0","0","0"]"#,
                close + 1.0,
                time + HOUR - 1
            )
        })
        .collect();
    format!("[{}]", rows.join(","))
}

fn exchange(hours: f64, answers: &[(u16, String)]) -> (Server, Arc<Replay>, Exchange) {
    let replay = Arc::new(Replay {
        time: START + (hours * HOUR as f64) as i64,
        answers: Mutex::new(answers.iter().cloned().collect()),
        asked: Mutex::default(),
    });
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: None,
        requests_per_second: 1000,
    };
    let server = Server::start(options, Arc::clone(&replay) as Arc<dyn Handler>).unwrap();
    let client = Client::new(&format!("http://{}", server.address()));
    let instruments = vec![Instrument::new("BTC/USDT").unwrap()];
    let exchange = Exchange::new(client, Timeframe::HOUR, instruments, 4);
    (server, replay, exchange)
}

fn poll(exchange: &mut Exchange, feed: &mut Feed, now: Timestamp) -> (Fresh, Merged) {
    exchange.next = None;
    let fresh = exchange.poll(now);
    let mut all = Merged::default();
    for bars in &fresh.bars {
        let known = fresh.time.map_or(now, |time| time.min(now));
        let merged = feed.merge(bars, known).unwrap();
        all.added += merged.added;
        all.revised += merged.revised;
    }
    (fresh, all)
}

#[test]
fn closed_bars_are_taken_over_whatever_order_they_come_in() {
    let now = Timestamp(START + 4 * HOUR + HOUR / 2);
    let first = klines(&[(2, 102.0), (1, 101.0), (3, 103.0), (4, 104.0)]);
    // A revision of a bar gone by, a gap, and the bar that was forming.
    let second = klines(&[(3, 103.5), (4, 104.5), (6, 106.0)]);
    let (_server, replay, mut exchange) = exchange(4.5, &[(200, first), (200, second)]);
    let mut feed = Feed::default();
    let (fresh, merged) = poll(&mut exchange, &mut feed, now);
    assert!(fresh.fault.is_none() && fresh.notes.is_empty(), "{fresh:?}");
    assert_eq!(merged.added, 3, "the bar of hour 4 is still forming");
    let later = Timestamp(now.0 + 3 * HOUR);
    let (fresh, merged) = poll(&mut exchange, &mut feed, later);
    // The exchange's clock stands still: its hour counts, and the difference is told.
    assert!(fresh.notes[0].contains("clock"), "{:?}", fresh.notes);
    assert_eq!(
        merged,
        Merged {
            added: 0,
            revised: 1
        }
    );
    let bars = feed.bars().next().unwrap();
    assert_eq!(bars.close, [101.0, 102.0, 103.5]);
    let asked = replay.asked.lock().unwrap().clone();
    assert_eq!(asked, [START + HOUR / 2, START + 2 * HOUR]);
}

#[test]
fn what_an_exchange_answers_instead_of_bars_is_told_and_asked_again() {
    let good = klines(&[(1, 101.0)]);
    let answers = [
        (200, "<html><body>Maintenance</body></html>".to_owned()),
        (429, "{}".to_owned()),
        (418, "banned".to_owned()),
        (500, "oops".to_owned()),
        (400, r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned()),
        (200, String::new()),
        (200, "[]".to_owned()),
        (200, good),
    ];
    let (server, _, mut exchange) = exchange(3.0, &answers);
    let (mut feed, now) = (Feed::default(), Timestamp(START + 3 * HOUR));
    let mut said = Vec::new();
    for _ in 0..6 {
        let (fresh, _) = poll(&mut exchange, &mut feed, now);
        let pause = exchange.next.unwrap().duration_since(Instant::now());
        said.push((fresh.fault.unwrap(), pause.as_secs_f64().ceil() as u64));
    }
    for ((text, pause), (expect, rest)) in said.iter().zip([
        ("Maintenance", 2),
        ("answered 429: too many requests, wait 7 s", 7),
        ("answered 418", 60),
        ("answered 500: oops", 16),
        ("Invalid symbol", 32),
        ("something else than klines", 60),
    ]) {
        assert!(text.contains(expect), "{text}");
        assert_eq!(*pause, rest, "{text}");
    }
    let (fresh, merged) = poll(&mut exchange, &mut feed, now);
    assert_eq!((fresh.fault, merged.added), (None, 0));
    assert_eq!(poll(&mut exchange, &mut feed, now).1.added, 1);
    drop(server);
    let fault = poll(&mut exchange, &mut feed, now).0.fault.unwrap();
    assert!(fault.contains("cannot ask"), "{fault}");
}

#[test]
fn nothing_is_asked_before_its_time() {
    let (_server, replay, mut exchange) = exchange(3.0, &[(200, klines(&[(2, 102.0)]))]);
    let now = Timestamp(START + 3 * HOUR);
    exchange.poll(now);
    exchange.poll(now);
    assert_eq!(replay.asked.lock().unwrap().len(), 1);
}

#[test]
fn bars_that_cannot_be_change_nothing() {
    let mut feed = Feed::default();
    let instrument = Instrument::new("A/B").unwrap();
    let mut bars = Bars::empty(instrument.clone(), Timeframe::HOUR);
    for row in 0..3 {
        bars.open_time.push(START + row * HOUR);
        for column in [
            &mut bars.open,
            &mut bars.high,
            &mut bars.low,
            &mut bars.close,
        ] {
            column.push(100.0);
        }
        bars.volume.push(1.0);
    }
    let now = Timestamp(START + 3 * HOUR);
    assert_eq!(feed.merge(&bars, now).unwrap().added, 3);
    assert_eq!(feed.merge(&bars, now).unwrap(), Merged::default());
    let mut bad = bars.clone();
    bad.high[1] = 1.0;
    assert!(feed.merge(&bad, now).is_err());
    let other = Bars::empty(instrument, Timeframe::DAY);
    assert!(feed.merge(&other, now).unwrap_err().contains("expected 1h"));
    assert_eq!(feed.bars().next().unwrap(), &bars);
}

#[test]
fn a_file_is_read_again_when_it_changes_and_half_a_file_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("BTC_USDT-1h.feather");
    let mut bars = Bars::empty(Instrument::new("BTC/USDT").unwrap(), Timeframe::HOUR);
    let mut grow = |hour: i64| {
        bars.open_time.push(START + hour * HOUR);
        for column in [
            &mut bars.open,
            &mut bars.high,
            &mut bars.low,
            &mut bars.close,
        ] {
            column.push(100.0 + hour as f64);
        }
        bars.volume.push(1.0);
        freqtrade::write(&path, &bars).unwrap();
    };
    let now = Timestamp(START + 100 * HOUR);
    let mut source = Directory::new(vec![path.clone()]);
    assert!(
        source
            .poll(now)
            .fault
            .unwrap()
            .contains("BTC_USDT-1h.feather")
    );
    grow(0);
    assert_eq!(source.poll(now).bars[0].len(), 1);
    assert!(source.poll(now).bars.is_empty());
    grow(1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let fresh = source.poll(now);
    assert!(fresh.bars.is_empty() && fresh.fault.is_some(), "{fresh:?}");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(source.poll(now).bars[0].len(), 2);
}
