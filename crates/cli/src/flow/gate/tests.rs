use super::*;

fn reference(ours: Vec<[f64; 3]>) -> Reference<'static> {
    Reference {
        task: Task::Trade,
        questions: Vec::new(),
        prompts: vec![vec![1]; ours.len()],
        leads: vec![0; ours.len()],
        labels: vec![5, 6, 7],
        ours: ours.into_iter().map(Vec::from).collect(),
    }
}

fn judged(ours: Vec<[f64; 3]>, theirs: &[[f64; 3]], form_rate: Option<f64>) -> Artefact {
    let settings = Check::default();
    let reference = reference(ours);
    let name = ("gguf q8_0", "engine 1".to_owned());
    let theirs: Vec<Vec<f64>> = theirs.iter().map(|row| row.to_vec()).collect();
    judge(
        name,
        Vec::new(),
        (&reference, &theirs),
        form_rate,
        &settings,
    )
}

#[test]
fn equal_probabilities_are_blessed() {
    let ours = vec![[-0.1, -2.5, -4.0], [-3.0, -0.2, -2.0]];
    let same = judged(ours.clone(), &ours, Some(1.0));
    assert!(same.blessed && same.reasons.is_empty());
    assert_eq!((same.agreement, same.probability_distance), (1.0, 0.0));
    assert_eq!(same.counts, [1, 1, 0]);
}

/// By hand: the second decision flips. With probabilities of thirds and of 1/2, 1/4, 1/4 half the
/// sum of differences is 1/6.
#[test]
fn drift_is_measured_and_refused() {
    let third = (1.0f64 / 3.0).ln();
    let (half, quarter) = (0.5f64.ln(), 0.25f64.ln());
    let ours = vec![
        [third, third - 1e-9, third - 1e-9],
        [quarter, half, quarter],
    ];
    let theirs = [[half, quarter, quarter], [half, quarter, quarter]];
    let drifted = judged(ours, &theirs, Some(0.5));
    assert_eq!(drifted.agreement, 0.5);
    assert!((drifted.probability_distance - (1.0 / 6.0 + 0.25) / 2.0).abs() < 1e-6);
    let (first, second) = (half - third, half - quarter);
    assert!((drifted.log_probability_distance - f64::midpoint(first, second)).abs() < 1e-6);
    assert!((drifted.largest_log_probability_distance - second).abs() < 1e-6);
    assert!(!drifted.blessed);
    let said = drifted.reasons.join(";");
    for part in ["50 % of its decisions", "0.208 away", "50 % of its answers"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_class_alone_is_refused_where_outcomes_differ() {
    let one_class = |counts: [usize; 3], outcomes: [usize; 3]| {
        super::one_class(&Task::Trade.classes(), &counts, &outcomes)
    };
    assert!(one_class([0, 0, 20], [5, 5, 10]).unwrap().contains("HOLD"));
    assert_eq!(one_class([0, 1, 19], [5, 5, 10]), None);
    assert_eq!(one_class([0, 0, 20], [0, 0, 20]), None);
    assert_eq!(one_class([0, 0, 5], [2, 2, 1]), None);
}

#[test]
fn a_label_that_is_not_told_counts_as_the_last_one_told() {
    let reply: Reply = serde_json::from_value(json!({
        "text": "", "finish": "length",
        "positions": [{"id": 6, "logprob": -0.1, "top": [
            {"id": 6, "logprob": -0.1}, {"id": 9, "logprob": -3.0}, {"id": 5, "logprob": -4.0}]}],
    }))
    .unwrap();
    assert_eq!(told(&reply, &[5, 6, 7]), Some(vec![-4.0, -0.1, -4.0]));
    let silent = json!({"text": "", "finish": "length", "held_back": 1, "positions": []});
    let silent: Reply = serde_json::from_value(silent).unwrap();
    assert_eq!(told(&silent, &[5, 6, 7]), None);
}
