//! Owns the chat channel as a way to call operations: one at a time, each answered by the `data` message that shows its effect,
//! for the service correlates nothing (§9.2).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chat_core::{Delivery, Error, ErrorKind, Result, Retry, Terminal};
use serde_json::value::to_raw_value;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};

use crate::{
    bayeux::client::Publisher,
    client::connection::not_answered,
    error::{Failure, judge_reply},
    machine::{Expect, Own},
    wire::{Operation, Parameters, Reply},
};

/// How long an operation waits for an answer that servers need not give. Only the next operation is held up by it.
const OPTIONAL_ANSWER: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the end of a chat is waited for (§9.4, rule 7).
const END: Duration = Duration::from_secs(2);
/// Who reads page after page asks for the next one within this time.
const NEXT_PAGE: Duration = Duration::from_millis(100);

/// The chat channel.
#[derive(Debug)]
pub(crate) struct Line {
    publisher: Publisher,
    channel: String,
    /// Whose turn it is.
    turn: tokio::sync::Mutex<()>,
    asked: Mutex<Asked>,
    /// How the connection ends, once that is known.
    terminal: Mutex<Option<Terminal>>,
    ending: Notify,
}

/// What was asked and is not answered.
#[derive(Debug, Default)]
struct Asked {
    waiting: Option<Waiting>,
    /// When a piece of the transcript was told last to who asked for it.
    read_at: Option<Instant>,
    /// Until then the answer to an operation that was given up may still come, and nothing tells whose it is.
    owed_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    operation: Operation,
    expect: Expect,
    asked_at: Instant,
    answer: oneshot::Sender<Result<Reply, Failure>>,
}

/// What a `data` message is.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The answer to an operation that asked for a piece of the transcript: it is with who asked.
    Answer,
    /// The transcript going on; perhaps an operation's answer as well.
    News(Reply),
    /// It tells of a failure, and nobody had asked.
    Failure(Failure),
}

impl Line {
    pub(crate) fn new(publisher: Publisher, channel: String) -> Self {
        Self {
            publisher,
            channel,
            turn: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
            terminal: Mutex::default(),
            ending: Notify::new(),
        }
    }

    /// The way to the Bayeux session.
    pub(crate) const fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Whether messages of this channel are the chat's.
    pub(crate) fn is_channel(&self, channel: &str) -> bool {
        self.channel == channel
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation and its answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown; the operation keeps its turn until it is answered.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        operation: Operation,
        parameters: Parameters,
        expect: Expect,
    ) -> Result<Reply, Failure> {
        let line = Arc::clone(self);
        // In a task of its own: an answer that nobody waits for any more must not be taken for the next operation's.
        let asked = tokio::spawn(async move { line.carry_out(operation, &parameters, expect).await });
        asked.await.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Internal, operation.name());
            Err(not_answered(error.with_delivery(Delivery::Unknown)))
        })
    }

    async fn carry_out(
        &self,
        operation: Operation,
        parameters: &Parameters,
        expect: Expect,
    ) -> Result<Reply, Failure> {
        let data = to_raw_value(&parameters.to_data(operation))
            .map_err(|_| not_answered(Error::new(ErrorKind::Internal, operation.name())))?;
        let _turn = self.turn.lock().await;
        let (answer, answered) = oneshot::channel();
        self.asked().waiting = Some(Waiting { operation, expect, asked_at: Instant::now(), answer });
        let (within, needed) = match operation {
            Operation::StartTyping | Operation::StopTyping | Operation::ReadReceipt => {
                (OPTIONAL_ANSWER, false)
            }
            Operation::Disconnect => (END, false),
            _ => (ANSWER, true),
        };
        let published =
            self.publisher.publish(&self.channel, data).await.map_err(|error| not_answered(gone(error)));
        let result = match published {
            Err(failure) => {
                if failure.error.delivery() == Delivery::NotSent {
                    self.asked().waiting = None;
                }
                Err(failure)
            }
            Ok(()) => match timeout(within, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(unanswered(ErrorKind::Network, operation)),
                Err(_) if needed => Err(unanswered(ErrorKind::Timeout, operation)),
                Err(_) => Ok(Reply::default()),
            },
        };
        self.asked().end(Instant::now());
        result
    }

    /// Until when somebody may read the transcript: it was asked for, or the next page may be asked for.
    pub(super) fn read_until(&self) -> Option<Instant> {
        self.asked().read_until()
    }

    /// Takes in a `data` message.
    pub(crate) fn hear(&self, own: &Own, reply: Reply) -> Heard {
        self.asked().hear(Instant::now(), own, reply)
    }

    /// How the connection ends, once that is known.
    pub(crate) fn terminal(&self) -> Option<Terminal> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection ends like this, once; its task does what is left to do.
    pub(crate) fn finish(&self, terminal: Terminal) {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(terminal);
        self.ending.notify_one();
    }

    /// Resolves when [`finish`](Self::finish) was called.
    pub(super) async fn ending(&self) {
        self.ending.notified().await;
    }

    /// The session is over: nobody waits in vain.
    pub(crate) fn close(&self) {
        self.asked().waiting = None;
    }
}

impl Asked {
    /// The operation under way is answered, or given up.
    fn end(&mut self, now: Instant) {
        if self.waiting.take().is_some() {
            self.owed_until = Some(now + ANSWER);
        }
    }

    fn read_until(&self) -> Option<Instant> {
        let reading = self.waiting.as_ref().filter(|waiting| asks_for_transcript(waiting.operation));
        let asked = reading.map(|waiting| waiting.asked_at + ANSWER);
        asked.max(self.read_at.map(|at| at + NEXT_PAGE))
    }

    fn hear(&mut self, now: Instant, own: &Own, reply: Reply) -> Heard {
        let waiting = self.waiting.take_if(|waiting| waiting.expect.is_met(own, &reply));
        let operation = waiting.as_ref().map_or(Operation::RequestNotifications, |waiting| waiting.operation);
        let judged = judge_reply(operation, reply);
        let Some(Waiting { operation, answer, .. }) = waiting else {
            return match judged {
                Ok(reply) => Heard::News(reply),
                Err(failure) => Heard::Failure(failure),
            };
        };
        let owed = self.owed_until.is_some_and(|until| now < until);
        let judged = match judged {
            // It may be about what was given up: of what waits, nobody knows. Nor whose the next failure is.
            Err(failure) if owed => {
                self.owed_until = Some(now + ANSWER);
                // Who asked may have gone; the failure is told all the same.
                let _ = answer.send(Err(unanswered(ErrorKind::UnexpectedResponse, operation)));
                return Heard::Failure(failure);
            }
            judged => judged,
        };
        let heard = match &judged {
            Ok(reply) if !asks_for_transcript(operation) => Heard::News(reply.clone()),
            _ => Heard::Answer,
        };
        if asks_for_transcript(operation) {
            self.read_at = Some(now);
        }
        match answer.send(judged) {
            Ok(()) => heard,
            // Who asked has gone: nothing of the answer may be lost.
            Err(Ok(reply)) => Heard::News(reply),
            Err(Err(failure)) => Heard::Failure(failure),
        }
    }
}

/// Whether the caller takes the answer's events, instead of the session.
const fn asks_for_transcript(operation: Operation) -> bool {
    matches!(operation, Operation::Refresh | Operation::RequestNotifications | Operation::RequestChat)
}

/// It may have been carried out.
fn unanswered(kind: ErrorKind, operation: Operation) -> Failure {
    not_answered(Error::new(kind, operation.name()).with_delivery(Delivery::Unknown))
}

/// The end of a Bayeux session is none of a chat: it is taken up again over another one.
pub(super) fn gone(error: Error) -> Error {
    if *error.kind() != ErrorKind::SessionLost {
        return error;
    }
    Error::new(ErrorKind::Network, "the Bayeux session is gone")
        .with_vendor(error.vendor().clone())
        .with_delivery(Delivery::NotSent)
        .with_retry(Retry::Backoff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        asked: &mut Asked,
        operation: Operation,
        expect: Expect,
    ) -> oneshot::Receiver<Result<Reply, Failure>> {
        let (answer, answered) = oneshot::channel();
        asked.waiting = Some(Waiting { operation, expect, asked_at: Instant::now(), answer });
        answered
    }

    fn refusal() -> Reply {
        Reply::read(r#"{"statusCode":2,"chatEnded":false,"errors":[{"code":249,"advice":"no"}]}"#).unwrap()
    }

    #[test]
    fn a_late_failure_of_what_was_given_up_refuses_no_send() {
        let own = Own::known(Some(1));
        let now = Instant::now();
        let send = || Expect::Message { message_type: "text;token=a".into() };
        let mut asked = Asked::default();

        let mut first = ask(&mut asked, Operation::Send, send());
        assert!(matches!(asked.hear(now, &own, refusal()), Heard::Answer));
        let refused = first.try_recv().unwrap().unwrap_err();
        assert_eq!(refused.error.delivery(), Delivery::Refused, "nothing else was under way");

        let _given_up = ask(&mut asked, Operation::StartTyping, Expect::Any);
        asked.end(now);
        let mut second = ask(&mut asked, Operation::Send, send());
        assert!(matches!(asked.hear(now, &own, refusal()), Heard::Failure(_)));
        let unknown = second.try_recv().unwrap().unwrap_err();
        assert_eq!(unknown.error.delivery(), Delivery::Unknown, "it may be the typing's");

        let mut third = ask(&mut asked, Operation::Send, send());
        asked.hear(now + ANSWER, &own, refusal());
        let refused = third.try_recv().unwrap().unwrap_err();
        assert_eq!(refused.error.delivery(), Delivery::Refused, "nothing is owed any more");
    }
}
