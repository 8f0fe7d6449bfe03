//! Tests of the decision log: torn tails, two writers, malformed lines.

use super::*;
use crate::lines::FIRST_BYTES;
use proptest::prelude::*;

fn record(hour: i64) -> Record {
    Record {
        schema: SCHEMA,
        arm: "adapter".to_owned(),
        instrument: Instrument::new("BTC/USD").unwrap(),
        decision_time: Timestamp(1_546_300_800_000 + hour * 3_600_000),
        decision: class::BUY,
        probabilities: [0.5, 0.25, 0.25],
        raw_probabilities: Some([0.6, 0.2, 0.2]),
        answer: Some("DECISION: BUY - \"quoted\"\nsecond line \u{e9}".to_owned()),
        outcome: Some(Outcome {
            label: class::HOLD,
            outcome_return: -0.0125,
        }),
        model_sha256: Some("ab".repeat(32)),
        adapter_sha256: None,
        prompt_sha256: Some("cd".repeat(32)),
    }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    (folder, path)
}

fn write(path: &Path, records: &[Record]) {
    let mut writer = Writer::open(path).unwrap();
    for record in records {
        writer.append(record).unwrap();
    }
    writer.sync().unwrap();
}

#[test]
fn what_is_appended_is_read_back() {
    let (_folder, path) = scratch();
    let records: Vec<_> = (0..5).map(record).collect();
    write(&path, &records[..2]);
    write(&path, &records[2..]);
    let log = read(&path).unwrap();
    assert_eq!(log.records, records);
    assert!(log.malformed.is_empty() && log.duplicates.is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(FIRST_BYTES), "{text}");
    assert!(text.contains(r#""decision":"BUY""#), "{text}");
    assert!(text.contains(r#""return":-0.0125"#), "{text}");
}

#[test]
fn a_kill_at_every_byte_loses_only_the_torn_record() {
    let (_folder, path) = scratch();
    let records: Vec<_> = (0..3).map(record).collect();
    write(&path, &records);
    let whole = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = whole
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let complete = ends.iter().filter(|end| **end <= cut).count();
        let kept = if complete == 0 { 0 } else { ends[complete - 1] };

        let before = read(&path).unwrap();
        assert_eq!(before.records, records[..complete], "cut at {cut}");
        assert_eq!(before.torn_bytes, (cut - kept) as u64, "cut at {cut}");

        let mut writer = Writer::open(&path).unwrap();
        assert_eq!(writer.dropped_bytes(), (cut - kept) as u64, "cut at {cut}");
        for record in &records[complete..] {
            writer.append(record).unwrap();
        }
        writer.sync().unwrap();
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
    }
}

#[test]
fn a_torn_tail_longer_than_a_chunk_is_found() {
    let (_folder, path) = scratch();
    write(&path, &[record(0)]);
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn.extend(std::iter::repeat_n(b'x', 200_000));
    std::fs::write(&path, &torn).unwrap();
    let writer = Writer::open(&path).unwrap();
    assert_eq!(writer.dropped_bytes(), 200_000);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let (_folder, path) = scratch();
    let first = Writer::open(&path).unwrap();
    let error = Writer::open(&path).unwrap_err();
    assert!(matches!(error, ServeError::Locked { .. }), "{error}");
    assert!(error.hint().is_some());
    drop(first);
    Writer::open(&path).unwrap();
}

#[test]
fn another_file_is_not_cut() {
    let (_folder, path) = scratch();
    std::fs::write(&path, "step,loss").unwrap();
    let error = Writer::open(&path).unwrap_err();
    assert!(matches!(error, ServeError::NotALog { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "step,loss");
}

#[test]
fn a_missing_folder_is_named() {
    let (_folder, path) = scratch();
    let error = Writer::open(&path.join("log.jsonl")).unwrap_err();
    assert!(error.to_string().contains("log.jsonl"), "{error}");
    let error = read(&path).unwrap_err();
    assert!(error.to_string().starts_with("cannot open"), "{error}");
}

#[test]
fn a_record_no_reader_would_take_is_refused() {
    let (_folder, path) = scratch();
    let mut writer = Writer::open(&path).unwrap();
    let spoil: [fn(&mut Record); 9] = [
        |r| r.schema = 2,
        |r| r.arm.clear(),
        |r| r.decision = 3,
        |r| r.probabilities[0] = f64::NAN,
        |r| r.probabilities = [0.9, 0.9, 0.9],
        |r| r.raw_probabilities = Some([-0.1, 0.6, 0.5]),
        |r| {
            r.outcome = Some(Outcome {
                label: 3,
                outcome_return: 0.0,
            });
        },
        |r| {
            r.outcome = Some(Outcome {
                label: 0,
                outcome_return: f64::INFINITY,
            });
        },
        |r| r.answer = Some("x".repeat(MAX_LINE)),
    ];
    for change in spoil {
        let mut bad = record(0);
        change(&mut bad);
        let error = writer.append(&bad).unwrap_err();
        assert!(matches!(error, ServeError::Record { .. }), "{error}");
    }
    writer.append(&record(1)).unwrap();
    drop(writer);
    assert_eq!(read(&path).unwrap().records, [record(1)]);
}

#[test]
fn malformed_lines_are_located_and_the_rest_is_read() {
    let (_folder, path) = scratch();
    let good = serde_json::to_string(&record(0)).unwrap();
    let foreign = good.replace("\"schema\":1", "\"schema\":9");
    let sloppy = good.replace("0.5,0.25,0.25", "0.5,0.5,0.25");
    let long = "y".repeat(2 * MAX_LINE);
    let text = format!("{good}\nnonsense\n{foreign}\n{sloppy}\n{long}\n{good}\n");
    std::fs::write(&path, text).unwrap();
    let log = read(&path).unwrap();
    assert_eq!(log.records.len(), 2);
    let lines: Vec<_> = log.malformed.iter().map(|m| m.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert_eq!(log.malformed[1].reason, "schema `9`, expected `1`");
    assert!(log.malformed[2].reason.contains("sum to"));
    assert!(log.malformed[3].reason.contains("longer than"));
    assert_eq!(
        (log.duplicates[0].line, log.duplicates[0].first_line),
        (6, 1)
    );
    let error = log.strict(&path).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn a_repeated_decision_is_reported() {
    let (_folder, path) = scratch();
    let mut other_arm = record(0);
    other_arm.arm = "base".to_owned();
    write(&path, &[record(0), other_arm, record(1), record(0)]);
    let log = read(&path).unwrap();
    assert_eq!(log.records.len(), 4);
    assert_eq!(log.duplicates.len(), 1);
    assert_eq!(
        (log.duplicates[0].line, log.duplicates[0].first_line),
        (4, 1)
    );
    let error = log.strict(&path).unwrap_err();
    assert!(error.to_string().contains("already decided"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_folder, path) = scratch();
        std::fs::write(&path, &bytes).unwrap();
        let log = read(&path).unwrap();
        let feeds = bytes.split(|byte| *byte == b'\n').count() - 1;
        prop_assert_eq!(log.records.len() + log.malformed.len(), feeds);
    }

    #[test]
    fn garbage_behind_whole_records_never_harms_them(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_folder, path) = scratch();
        let records = [record(0), record(1)];
        write(&path, &records);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(&tail);
        std::fs::write(&path, &bytes).unwrap();
        drop(Writer::open(&path).unwrap());
        let log = read(&path).unwrap();
        prop_assert_eq!(&log.records[..2], &records);
        prop_assert_eq!(log.torn_bytes, 0);
    }
}
