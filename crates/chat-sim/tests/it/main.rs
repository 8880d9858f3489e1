//! What a customer's connection sees of the centre, and what the centre knows of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy takes for something else")]

mod faults;
mod files;
mod history;
mod life;
mod messages;
mod polling;
mod property;
mod script;

use std::sync::Arc;

use chat_core::{
    Ack, ClientToken, Command, ConnectRequest, Connection, Content, Direction, EndReason, Error, EventStream,
    HistoryFrom, HistoryPage, HistoryRequest, Intent, MessageId, Outgoing, OutgoingBody, PollScope,
    SavedSession, Sighting, StartRequest, Text, Transport, TransportEvent,
};
use chat_sim::{Centre, ContactConsole, Profile};
use futures::{FutureExt, StreamExt};

/// A chat of Ada's, and the test as its agent.
struct Chat {
    centre: Centre,
    connection: Connection,
    agent: ContactConsole,
}

async fn chat(centre: Centre) -> Chat {
    let connection = start(&centre, StartRequest::named("Ada")).await.unwrap();
    let agent = centre.console().last_contact().unwrap();
    Chat { centre, connection, agent }
}

fn centre_of(profile: Profile) -> Centre {
    Centre::builder().profile(profile).build()
}

async fn start(centre: &Centre, request: StartRequest) -> Result<Connection, Error> {
    connect(centre, Intent::Start(Box::new(request))).await
}

async fn resume(centre: &Centre, saved: &SavedSession) -> Result<Connection, Error> {
    connect(centre, Intent::Resume(saved.clone())).await
}

async fn connect(centre: &Centre, intent: Intent) -> Result<Connection, Error> {
    centre.transport().connect(ConnectRequest::new(intent)).await.map_err(|error| error.error)
}

fn say(token: &str, text: &str) -> Command {
    let body = OutgoingBody::Text(Text::plain(text));
    Command::Send(Outgoing { token: ClientToken::new(token), attempt: 0, body })
}

impl Chat {
    async fn submit(&self, command: Command) -> Result<Ack, Error> {
        self.connection.handle.submit(command).await
    }

    /// Says something, and its id.
    async fn say(&self, token: &str, text: &str) -> Result<Option<MessageId>, Error> {
        match self.submit(say(token, text)).await? {
            Ack::Sent(sent) => Ok(sent.sighting.and_then(|sighting| sighting.aliases.message_id())),
            other => panic!("{other:?}"),
        }
    }

    async fn poll(&self) -> Result<(), Error> {
        self.submit(Command::Poll(PollScope::New)).await.map(|_| ())
    }

    async fn page(&self, direction: Direction, from: HistoryFrom, limit: u32) -> Result<HistoryPage, Error> {
        match self.submit(Command::History(HistoryRequest { direction, from, limit })).await? {
            Ack::History(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    /// What the stream holds now, without waiting for more than the driver needs.
    async fn heard(&mut self) -> Vec<TransportEvent> {
        heard(&mut self.connection.events).await
    }

    /// The texts among what the stream holds now.
    async fn texts(&mut self) -> Vec<String> {
        texts(&self.heard().await)
    }

    /// The terminal, skipping what comes before it.
    async fn terminal(&mut self) -> TransportEvent {
        let mut last = None;
        while let Some(event) = self.connection.events.next().await {
            assert!(last.is_none(), "something follows the terminal");
            if matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_)) {
                last = Some(event);
            }
        }
        last.expect("a stream ends with a terminal")
    }

    async fn end_reason(&mut self) -> EndReason {
        match self.terminal().await {
            TransportEvent::Ended(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn loss(&mut self) -> Error {
        match self.terminal().await {
            TransportEvent::Lost(lost) => lost.error,
            other => panic!("{other:?}"),
        }
    }
}

async fn heard(events: &mut EventStream) -> Vec<TransportEvent> {
    let mut heard = Vec::new();
    loop {
        // Lets the driver have its turn; no time passes.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        match events.next().now_or_never() {
            Some(Some(event)) => heard.push(event),
            _ => return heard,
        }
    }
}

fn sightings(events: &[TransportEvent]) -> Vec<&Sighting> {
    events
        .iter()
        .filter_map(|event| match event {
            TransportEvent::Message(sighting) => Some(&**sighting),
            _ => None,
        })
        .collect()
}

fn text(sighting: &Sighting) -> Option<String> {
    match &sighting.content {
        Some(Content::Text(text)) => Some(text.body.to_string()),
        _ => None,
    }
}

fn texts(events: &[TransportEvent]) -> Vec<String> {
    sightings(events).into_iter().filter_map(text).collect()
}

fn page_texts(page: &HistoryPage) -> Vec<String> {
    page.items.iter().filter_map(text).collect()
}

fn shared(text: &str) -> Arc<str> {
    text.into()
}
