//! What the trained model's own answers are worth, before any other engine is asked: their form,
//! their numbers, and how they stand to the evidence.

use dataset::bridge::grounding;
use serde::{Deserialize, Serialize};

use super::super::question::{Question, Task};
use crate::settings::Check;

/// Standard errors by which a model must go against the evidence more often than outcomes do to be
/// refused: 2.5 % of sound models are.
const BEYOND_CHANCE: f64 = 1.96;

/// How the model's answers read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judgement {
    /// Answers read.
    pub(crate) answers: usize,
    /// The form they should have.
    pub(crate) form: String,
    /// Share that have it.
    pub(crate) form_rate: f64,
    /// Share that name a number of their prompt.
    pub(crate) uses_values: f64,
    /// Share without a number that their prompt does not show.
    pub(crate) grounded: f64,
    /// How decisions stand to the evidence, where the data set defines what that speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Evidence>,
    /// Why no artefact of this adapter is blessed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<String>,
}

/// How decisions stand to the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// Decisions compared.
    pub(crate) decisions: usize,
    /// Share that decide as the evidence alone speaks.
    pub(crate) agreement: f64,
    /// Share of the outcomes that did: what a model that knew them would reach.
    pub(crate) outcomes: f64,
}

/// Reads the model's answers to `questions`, and the classes it decided for.
pub(crate) fn judgement(
    task: Task,
    questions: &[&Question],
    answers: &[String],
    decided: &[usize],
    settings: &Check,
) -> Judgement {
    let share = |test: &dyn Fn(&Question, &str) -> bool| {
        let pairs = questions.iter().zip(answers);
        let fitting = pairs.filter(|(question, answer)| test(question, answer));
        fitting.count() as f64 / questions.len().max(1) as f64
    };
    let form_rate = share(&|_, answer| task.decided(answer).is_some());
    let uses_values = share(&|question, answer| grounding(&question.prompt, answer).shown > 0);
    let grounded = share(&|question, answer| grounding(&question.prompt, answer).invented == 0);
    let evidence = evidence(questions, decided);
    let mut reasons = Vec::new();
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if form_rate < settings.form_rate {
        reasons.push(format!(
            "{} of its answers have the form, at least {} must",
            percent(form_rate),
            percent(settings.form_rate)
        ));
    }
    for (value, what) in [
        (uses_values, "name a value of their prompt"),
        (grounded, "name no number that their prompt does not show"),
    ] {
        if value < settings.grounded {
            let wanted = percent(settings.grounded);
            let found = percent(value);
            reasons.push(format!(
                "{found} of its answers {what}, at least {wanted} must"
            ));
        }
    }
    if let Some(evidence) = evidence.filter(Evidence::goes_against) {
        reasons.push(format!(
            "{} of its decisions agree with the evidence, {} of the outcomes do",
            percent(evidence.agreement),
            percent(evidence.outcomes)
        ));
    }
    Judgement {
        answers: answers.len(),
        form: task.form(),
        form_rate,
        uses_values,
        grounded,
        evidence,
        reasons,
    }
}

impl Evidence {
    /// Reports whether decisions go against the evidence more often than outcomes do, beyond what
    /// chance explains.
    fn goes_against(&self) -> bool {
        let n = self.decisions as f64;
        let error =
            ((self.agreement * (1.0 - self.agreement) + self.outcomes * (1.0 - self.outcomes)) / n)
                .sqrt();
        self.agreement + BEYOND_CHANCE * error < self.outcomes
    }
}

fn evidence(questions: &[&Question], decided: &[usize]) -> Option<Evidence> {
    let known: Vec<(usize, usize, usize)> = questions
        .iter()
        .zip(decided)
        .filter_map(|(question, decided)| Some((question.evidence?, *decided, question.label)))
        .collect();
    if known.is_empty() {
        return None;
    }
    let share = |test: &dyn Fn(&(usize, usize, usize)) -> bool| {
        known.iter().filter(|row| test(row)).count() as f64 / known.len() as f64
    };
    Some(Evidence {
        decisions: known.len(),
        agreement: share(&|(evidence, decided, _)| evidence == decided),
        outcomes: share(&|(evidence, _, label)| evidence == label),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(prompt: &str, evidence: usize, label: usize) -> Question {
        Question {
            id: "q".to_owned(),
            prompt: prompt.to_owned(),
            answer: String::new(),
            label,
            evidence: Some(evidence),
        }
    }

    fn judged(answers: &[&str]) -> Judgement {
        let question = question("confidence 51.5%, win rate 52.4%", 0, 0);
        let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
        let questions = vec![&question; answers.len()];
        let decided = vec![0; answers.len()];
        judgement(
            Task::Signal,
            &questions,
            &answers,
            &decided,
            &Check::default(),
        )
    }

    #[test]
    fn sound_answers_pass() {
        let good = "<think>\nWin rate 52.4%.\n</think>\nDECISION: APPROVE - fine.";
        let found = judged(&[good, good]);
        assert_eq!(found.reasons, Vec::<String>::new());
        assert_eq!(
            (found.form_rate, found.uses_values, found.grounded),
            (1.0, 1.0, 1.0)
        );
    }

    #[test]
    fn each_fault_is_named() {
        let check = |answer: &str, part: &str| {
            let found = judged(&[answer]);
            let said = found.reasons.join("; ");
            assert!(said.contains(part), "{answer}: {said}");
            assert_eq!(found.reasons.len(), 1, "{said}");
        };
        check("win rate 52.4%, so APPROVE", "have the form");
        check("DECISION: APPROVE - good.", "name a value");
        check(
            "DECISION: APPROVE - 52.4% against 99.9%.",
            "name no number that",
        );
    }

    #[test]
    fn going_against_the_evidence_is_told_from_chance() {
        let questions: Vec<Question> = (0..40).map(|_| question("1", 0, 0)).collect();
        let questions: Vec<&Question> = questions.iter().collect();
        let against = |wrong: usize| {
            let decided: Vec<usize> = (0..40).map(|at| usize::from(at < wrong)).collect();
            let found = evidence(&questions, &decided).unwrap();
            assert_eq!((found.decisions, found.outcomes), (40, 1.0));
            found.goes_against()
        };
        assert!(!against(0));
        assert!(!against(3));
        assert!(against(5));
        assert!(against(40));
    }
}
