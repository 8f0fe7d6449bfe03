//! Checks 4 and 5: when things were known.

use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};

/// Makes check 4 on every fact of every record.
pub(super) fn availability(records: &[AuditRecord]) -> Check {
    let mut check = Check::new(Kind::Availability);
    let mut facts = 0;
    for record in records {
        for (name, fact) in &record.facts {
            facts += 1;
            if fact.available_at > record.decision_time {
                let message = format!(
                    "fact `{name}` (`{}`) becomes known at {}, after the decision at {}; expected \
                     what was known by then",
                    fact.text, fact.available_at, record.decision_time
                );
                check.found(Finding::at(&record.place, &record.id, message));
            }
        }
    }
    check.tried(format!("{facts} facts of {} records", records.len()));
    if facts == 0 {
        check.give_up(
            "no record carries facts with an `available_at`, the instant from which each is known",
        );
    }
    check
}

/// Makes check 5 on every prediction of every record.
pub(super) fn upstream(records: &[AuditRecord]) -> Check {
    let mut check = Check::new(Kind::Upstream);
    let (mut stamped, mut folded) = (0_usize, 0_usize);
    for record in records {
        for upstream in &record.upstream {
            let kind = &upstream.kind;
            let fault = match (upstream.trained_through, upstream.fold) {
                (Some(through), _) => {
                    stamped += 1;
                    (through >= record.decision_time).then(|| {
                        format!(
                            "the prediction of `{kind}` comes from a model trained through \
                             {through}, expected before the decision at {}",
                            record.decision_time
                        )
                    })
                }
                (None, Some(_)) => {
                    folded += 1;
                    None
                }
                (None, None) => Some(format!(
                    "the prediction of `{kind}` has neither `trained_through` nor a held-out \
                     `fold`; expected one of them, so that it is known not to have seen the row"
                )),
            };
            if let Some(message) = fault {
                check.found(Finding::at(&record.place, &record.id, message));
            }
        }
    }
    let all: usize = records.iter().map(|record| record.upstream.len()).sum();
    check.tried(format!(
        "{all} predictions: {stamped} stamped with the end of their training, {folded} with a \
         held-out fold only, which is taken at its word"
    ));
    if all == 0 {
        check.give_up("no record carries a prediction of another model");
    }
    check
}

#[cfg(test)]
mod tests {
    use market::Timestamp;

    use super::super::record::Upstream;
    use super::super::report::Status;
    use super::*;
    use crate::Fact;

    fn record() -> AuditRecord {
        AuditRecord {
            id: "x".to_owned(),
            decision_time: Timestamp(1000),
            ..AuditRecord::default()
        }
    }

    fn fact(available_at: i64) -> AuditRecord {
        let fact = Fact {
            text: "5".to_owned(),
            zone: None,
            supports: None,
            available_at: Timestamp(available_at),
        };
        AuditRecord {
            facts: [("rsi".to_owned(), fact)].into(),
            ..record()
        }
    }

    #[test]
    fn a_fact_known_at_the_decision_passes_and_a_later_one_is_found() {
        assert_eq!(availability(&[fact(1000)]).status, Status::Green);
        let check = availability(&[fact(1000), fact(1001)]);
        assert_eq!((check.status, check.found_total), (Status::Red, 1));
        assert!(check.found[0].message.contains("`rsi`"));
        assert_eq!(availability(&[record()]).status, Status::NotPossible);
    }

    #[test]
    fn predictions_need_a_stamp_before_the_decision_or_a_fold() {
        let of = |trained_through: Option<i64>, fold| {
            let record = AuditRecord {
                upstream: vec![Upstream {
                    kind: "ensemble".to_owned(),
                    trained_through: trained_through.map(Timestamp),
                    fold,
                }],
                ..record()
            };
            upstream(&[record]).status
        };
        assert_eq!(of(Some(999), None), Status::Green);
        assert_eq!(of(None, Some(2)), Status::Green);
        assert_eq!(of(Some(1000), None), Status::Red);
        assert_eq!(of(Some(1000), Some(2)), Status::Red);
        assert_eq!(of(None, None), Status::Red);
        assert_eq!(upstream(&[record()]).status, Status::NotPossible);
    }
}
