//! TensorBoard event files against tensorboardX (`python/reference/tensorboard_events.py`), and how a
//! file goes on when a run does.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use train::tensorboard::{Event, EventFile, encode, read_record, record};

const REFERENCE: &[u8] = include_bytes!("fixtures/tensorboard/events.bin");
const EVENTS: &str = include_str!("fixtures/tensorboard/events.json");

fn reference() -> Vec<Event> {
    let events: Vec<Value> = serde_json::from_str(EVENTS).unwrap();
    let event = |event: &Value| Event {
        wall_time: event["wall_time"].as_f64().unwrap(),
        step: event["step"].as_u64().unwrap(),
        scalars: event["scalars"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(tag, value)| (tag.clone(), value.as_f64().unwrap() as f32))
            .collect(),
    };
    events.iter().map(event).collect()
}

fn at(step: u64) -> Event {
    Event {
        wall_time: 1.0,
        step,
        scalars: vec![("train/loss".into(), 1.0 / step as f32)],
    }
}

/// The one event file of a directory.
fn only(folder: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut start) = (Vec::new(), 0);
    while let Some((body, next)) = read_record(bytes, start) {
        found.push(body.to_vec());
        start = next;
    }
    assert_eq!(start, bytes.len(), "a torn record");
    found
}

#[test]
fn a_file_equals_the_reference_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let events = reference();
    let mut file = EventFile::open(folder.path(), 0, events[0].wall_time).unwrap();
    for event in &events {
        file.append(event).unwrap();
    }
    let path = only(folder.path());
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name, "events.out.tfevents.1700000000.foretune");
    assert_eq!(std::fs::read(&path).unwrap(), REFERENCE);
    let bodies = records(REFERENCE);
    assert_eq!(bodies[1..], [encode(&events[0]), encode(&events[1])]);
}

#[test]
fn an_altered_or_torn_record_is_none() {
    let whole = record(&encode(&at(3)));
    assert_eq!(read_record(&whole, 0).unwrap().1, whole.len());
    for cut in 0..whole.len() {
        assert!(read_record(&whole[..cut], 0).is_none());
    }
    for index in 0..whole.len() {
        let mut altered = whole.clone();
        altered[index] ^= 4;
        assert!(read_record(&altered, 0).is_none(), "byte {index}");
    }
    assert!(read_record(&whole, usize::MAX).is_none());
}

#[test]
fn a_resumed_run_has_every_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |from: u64, steps: std::ops::Range<u64>, now: f64| {
        let mut file = EventFile::open(folder.path(), from, now).unwrap();
        for step in steps {
            file.append(&at(step)).unwrap();
        }
    };
    write(0, 1..8, 10.0);
    let path = only(folder.path());
    let first = std::fs::read(&path).unwrap();
    // Killed while the eighth was written; the checkpoint is that of step 5.
    let torn = [&first[..], &record(&encode(&at(8)))[..9]].concat();
    std::fs::write(&path, torn).unwrap();
    write(5, 6..10, 20.0);
    let expected: Vec<Vec<u8>> = (1..10).map(|step| encode(&at(step))).collect();
    assert_eq!(only(folder.path()), path);
    assert_eq!(records(&std::fs::read(&path).unwrap())[1..], expected);
    // A run from the beginning starts a new file.
    write(0, 1..3, 30.0);
    let bytes = std::fs::read(only(folder.path())).unwrap();
    assert_eq!(records(&bytes)[1..], expected[..2]);
    // A file that is none of ours is replaced.
    std::fs::write(only(folder.path()), b"nonsense").unwrap();
    write(2, 3..4, 40.0);
    let bytes = std::fs::read(only(folder.path())).unwrap();
    assert_eq!(records(&bytes)[1..], expected[2..3]);
}
