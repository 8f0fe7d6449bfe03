//! Check 10: parts are in order and apart in time.

use std::collections::BTreeMap;

use market::Timestamp;

use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};
use crate::Split;

/// Makes check 10: within a file decisions are in time order, and the span of each record of an
/// earlier part ends before the first decision of any later part, over all instruments at once.
pub(super) fn splits(records: &[AuditRecord], horizon: Option<i64>) -> Check {
    let mut check = Check::new(Kind::Splits);
    order(&mut check, records);
    let mut starts: BTreeMap<Split, Timestamp> = BTreeMap::new();
    for record in records {
        if let Some(split) = record.split {
            let start = starts.entry(split).or_insert(record.decision_time);
            *start = (*start).min(record.decision_time);
        }
    }
    if starts.len() < 2 {
        check.give_up(
            "there is one part only; name the others, such as `--test FILE`, to compare them",
        );
        return check;
    }
    let mut compared = 0;
    for record in records {
        let Some(split) = record.split else { continue };
        let end = span_end(record, horizon);
        for (&later, &start) in starts.range(split..).skip(1) {
            compared += 1;
            if end >= start {
                let message = format!(
                    "this {split} record's outcome ends at {end}, the {later} part begins at \
                     {start}; expected every span of an earlier part to end before: cut in time \
                     and purge"
                );
                check.found(Finding::at(&record.place, &record.id, message));
                break;
            }
        }
    }
    let parts: Vec<String> = starts
        .iter()
        .map(|(split, start)| format!("{split} from {start}"))
        .collect();
    check.tried(format!(
        "{compared} spans against later parts: {}",
        parts.join(", ")
    ));
    if horizon.is_none() && records.iter().any(|record| record.span.is_none()) {
        check.tried("records without a span count as their decision alone; give the horizon");
    }
    check
}

/// Returns the end of what a record's label looks at, as far as it is known.
pub(super) fn span_end(record: &AuditRecord, horizon: Option<i64>) -> Timestamp {
    let by_horizon = || Timestamp(record.decision_time.0.saturating_add(horizon.unwrap_or(0)));
    record.span.map_or_else(by_horizon, |span| span.1)
}

/// Finds records of a file that stand before an earlier one.
fn order(check: &mut Check, records: &[AuditRecord]) {
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let mut disordered: BTreeMap<&str, (usize, &AuditRecord, Timestamp)> = BTreeMap::new();
    for record in records.iter().filter(|record| record.place.line > 0) {
        let before = last
            .entry(&record.place.file)
            .or_insert(record.decision_time);
        if record.decision_time < *before {
            let (count, _, _) = disordered
                .entry(&record.place.file)
                .or_insert((0, record, *before));
            *count += 1;
        }
        *before = (*before).max(record.decision_time);
    }
    check.tried(format!("the order of {} files", last.len()));
    for (count, record, before) in disordered.into_values() {
        let message = format!(
            "decided at {}, after a line decided at {before}: {count} lines of this file are out \
             of order; expected time order, for a cut by position would put later outcomes into \
             the training part: sort by time",
            record.decision_time
        );
        check.found(Finding::at(&record.place, &record.id, message));
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Place;
    use super::super::report::Status;
    use super::*;

    fn record(file: &str, line: usize, time: i64, split: Split) -> AuditRecord {
        AuditRecord {
            id: format!("{file} {line}"),
            place: Place {
                file: file.to_owned(),
                line,
            },
            decision_time: Timestamp(time),
            span: Some((Timestamp(time), Timestamp(time + 10))),
            split: Some(split),
            ..AuditRecord::default()
        }
    }

    #[test]
    fn parts_that_touch_and_shuffled_files_are_found() {
        let train = |line, time| record("a", line, time, Split::Train);
        let test = |line, time| record("b", line, time, Split::Test);
        let check = |records: &[AuditRecord]| splits(records, None);
        assert_eq!(
            check(&[train(1, 0), train(2, 5), test(1, 16)]).status,
            Status::Green
        );
        let red = check(&[train(1, 0), train(2, 6), test(1, 16)]);
        assert_eq!((red.status, red.found_total), (Status::Red, 1));
        assert_eq!(red.found[0].place(), "a line 2");
        let red = check(&[train(1, 5), train(2, 0), test(1, 50)]);
        assert_eq!((red.status, red.found_total), (Status::Red, 1));
        assert!(red.found[0].message.contains("out of order"));
        assert_eq!(check(&[train(1, 0)]).status, Status::NotPossible);
        // Without a span the horizon says how far a label looks.
        let mut bare = train(1, 0);
        bare.span = None;
        assert_eq!(
            splits(&[bare.clone(), test(1, 16)], Some(15)).status,
            Status::Green
        );
        assert_eq!(splits(&[bare, test(1, 16)], Some(16)).status, Status::Red);
    }
}
