//! Questions from outside, handed to the one who runs the model.
//!
//! There is one model and one thread that runs it. A request puts its prompt on the desk and waits;
//! the service looks at the desk between two bars.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use super::judge::{Answer, Judge};
use super::record::ArmSheet;

/// Questions that may wait.
const WAITING: usize = 32;
/// How long a question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The champion's answer.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) arm: ArmSheet,
    pub(crate) answer: Answer,
    pub(crate) prompt_tokens: usize,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Too many wait already, or the model was busy for too long.
    Busy,
    /// The model cannot answer.
    Failed(String),
}

struct Question {
    prompt: String,
    reply: Sender<Result<Told, String>>,
}

/// Where questions are put.
#[derive(Debug)]
pub struct Desk {
    sender: Mutex<SyncSender<Question>>,
}

/// Where they are taken from.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Question>,
}

/// Returns both sides of a desk.
pub fn desk() -> (Desk, Inbox) {
    let (sender, receiver) = sync_channel(WAITING);
    let sender = Mutex::new(sender);
    (Desk { sender }, Inbox { receiver })
}

impl Desk {
    /// Asks the champion and waits.
    pub(crate) fn ask(&self, prompt: String) -> Result<Told, Unanswered> {
        let (reply, answer) = channel();
        let question = Question { prompt, reply };
        let sender = self
            .sender
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        match sender.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return Err(Unanswered::Busy);
            }
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(reason)) => Err(Unanswered::Failed(reason)),
            Err(_) => Err(Unanswered::Busy),
        }
    }
}

impl Inbox {
    /// Answers what waits, and for `patience` what comes.
    pub fn serve(&self, judge: &mut impl Judge, patience: Duration) {
        let mut next = self.receiver.recv_timeout(patience).ok();
        while let Some(question) = next {
            // Whoever asked may have gone.
            let _ = question.reply.send(answer(judge, question.prompt));
            next = self.receiver.try_recv().ok();
        }
    }
}

fn answer(judge: &mut impl Judge, prompt: String) -> Result<Told, String> {
    let judged = judge.judge(&[prompt]).map_err(|error| error.to_string())?;
    let answer = judged.answers.first().and_then(|arm| arm.first());
    match (judge.arms().first(), answer, judged.tokens.first()) {
        (Some(arm), Some(answer), Some(tokens)) => Ok(Told {
            arm: arm.clone(),
            answer: *answer,
            prompt_tokens: *tokens,
        }),
        _ => Err("there is no champion".to_owned()),
    }
}
