//! The suite bites: adapters with one defect each fail the cases that are about it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use chat_conformance::{
    Clock, ContactCentre, Harness, Network, NetworkKind, Report, run_all, sim::SimHarness,
};
use chat_core::{
    Ack, Capabilities, ClientToken, Command, ConnectError, ConnectRequest, Connection, ConnectionHandle,
    EventStream, Place, Primary, Result, SavedSession, Timestamp, Transport, TransportEvent, TransportId,
};
use chat_sim::Profile;
use futures::StreamExt;

/// What is wrong with an adapter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    LosesEverySeventhMessage,
    HidesOwnMessages,
    NewTokenForEachAttempt,
    NeverSaysTheEnd,
    SaysTheEndTwice,
    TellsItsToken,
    ChangesTheOrder,
}

#[derive(Debug)]
struct Defective {
    inner: Arc<dyn Transport>,
    defect: Defect,
}

#[async_trait]
impl Transport for Defective {
    fn id(&self) -> TransportId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connection, ConnectError> {
        let defect = self.defect;
        let mut connection = self.inner.connect(request).await?;
        let token = connection.saved.text("token").unwrap_or_default().to_owned();
        let inner = connection.handle;
        connection.handle = Arc::new(Way { inner, defect });
        let seen = AtomicUsize::new(0);
        let events = connection.events.flat_map(move |event| {
            let message = matches!(event, TransportEvent::Message(_));
            let number = if message { seen.fetch_add(1, Ordering::Relaxed) } else { 0 };
            let terminal = matches!(event, TransportEvent::Ended(_) | TransportEvent::Lost(_));
            let told = match (defect, event) {
                (Defect::LosesEverySeventhMessage, _) if message && number % 7 == 6 => vec![],
                (Defect::HidesOwnMessages, TransportEvent::Message(sighting))
                    if sighting.own == Some(true) =>
                {
                    vec![]
                }
                (Defect::NeverSaysTheEnd, _) if terminal => vec![],
                (Defect::SaysTheEndTwice, event) if terminal => vec![event.clone(), event],
                (Defect::TellsItsToken, TransportEvent::Message(mut sighting)) => {
                    sighting.raw = Some(token.as_str().into());
                    vec![TransportEvent::Message(sighting)]
                }
                (Defect::ChangesTheOrder, TransportEvent::Message(mut sighting)) => {
                    let turned = 1_000_000_000_000 - i64::try_from(number).expect("a few");
                    let at = Timestamp::from_millis(turned).expect("a date");
                    sighting.place = Some(Place::exact(Primary::Instant(at)));
                    vec![TransportEvent::Message(sighting)]
                }
                (_, event) => vec![event],
            };
            futures::stream::iter(told)
        });
        connection.events = EventStream::new(events);
        Ok(connection)
    }

    async fn verify(&self, saved: &SavedSession) -> Result<bool> {
        self.inner.verify(saved).await
    }
}

#[derive(Debug)]
struct Way {
    inner: Arc<dyn ConnectionHandle>,
    defect: Defect,
}

#[async_trait]
impl ConnectionHandle for Way {
    async fn submit(&self, mut command: Command) -> Result<Ack> {
        if let (Defect::NewTokenForEachAttempt, Command::Send(outgoing)) = (self.defect, &mut command) {
            outgoing.token = ClientToken::random();
        }
        self.inner.submit(command).await
    }
}

struct Bench {
    sim: SimHarness,
    defect: Defect,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sim.fmt(f)
    }
}

#[async_trait]
impl Harness for Bench {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Defective { inner: self.sim.transport(), defect: self.defect })
    }

    fn centre(&self) -> &dyn ContactCentre {
        self.sim.centre()
    }

    fn network(&self) -> &dyn Network {
        self.sim.network()
    }

    fn clock(&self) -> Clock {
        self.sim.clock()
    }

    fn network_kind(&self) -> NetworkKind {
        self.sim.network_kind()
    }

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        self.sim.credentials(chat).await
    }
}

/// Runs all, and looks for failures of `case` that speak of `word`.
fn fails(defect: Defect, case: &str, word: &str) {
    let report: Report = run_all(async || Bench { sim: SimHarness::new(Profile::push()), defect });
    let failure = report.failed.iter().find(|failure| failure.case == case);
    let failed: Vec<_> = report.failed.iter().map(|failure| failure.case).collect();
    let failure = failure.unwrap_or_else(|| panic!("{defect:?} passes {case}; failed are {failed:?}"));
    assert!(failure.message.contains(word), "{defect:?}: {}", failure.message);
}

#[test]
fn a_lost_message_is_found() {
    fails(Defect::LosesEverySeventhMessage, "every_reader_gets_everything", "m 5");
}

#[test]
fn hidden_own_messages_are_found() {
    fails(Defect::HidesOwnMessages, "own_messages_are_reported", "");
}

#[test]
fn a_new_token_for_each_attempt_is_found() {
    fails(Defect::NewTokenForEachAttempt, "an_error_after_storing_doubles_nothing", "once");
}

#[test]
fn a_missing_end_is_found() {
    fails(Defect::NeverSaysTheEnd, "ending_ends_the_stream_once", "without a terminal");
}

#[test]
fn two_ends_are_found() {
    fails(Defect::SaysTheEndTwice, "leaving_ends_the_stream_once", "after the terminal");
}

#[test]
fn a_told_secret_is_found() {
    fails(Defect::TellsItsToken, "messages_leave_in_order", "I7");
}

#[test]
fn a_wrong_order_is_found() {
    fails(Defect::ChangesTheOrder, "every_reader_gets_everything", "should show");
}
