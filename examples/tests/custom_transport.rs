//! The mailbox transport, held to the suite that judges the vendors' transports.

use std::sync::Arc;

use async_trait::async_trait;
use chat_conformance::{
    Action, Actor, Clock, ContactCentre, Disturbance, Harness, Network, NetworkKind, Power, Powers,
    StoredItem, Truth, run_all,
};
use chat_transport::{Error, ErrorKind, MessageId, Result, SavedSession, Transport};
use examples::mailbox::{MailboxTransport, PostOffice};

/// An office, as the suite sees it: clients, what is behind the counter, the network between.
#[derive(Debug)]
struct Bench(PostOffice);

#[async_trait]
impl Harness for Bench {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(MailboxTransport::new(self.0.clone()))
    }

    fn centre(&self) -> &dyn ContactCentre {
        self
    }

    fn network(&self) -> &dyn Network {
        self
    }

    fn clock(&self) -> Clock {
        Clock::Virtual
    }

    fn network_kind(&self) -> NetworkKind {
        NetworkKind::None
    }

    fn powers(&self) -> Powers {
        [
            Power::SharedIds,
            Power::Cut,
            Power::LosesConnections,
            Power::IdempotentStart,
            Power::SystemEvents,
            Power::Supervisor,
        ]
        .into_iter()
        .collect()
    }

    fn secrets(&self, saved: &SavedSession) -> Vec<String> {
        saved.text("key").map(String::from).into_iter().collect()
    }
}

#[async_trait]
impl ContactCentre for Bench {
    async fn chats(&self) -> usize {
        self.0.mailboxes()
    }

    async fn truth(&self, chat: usize) -> Truth {
        let mut truth = Truth::default();
        if chat < self.0.mailboxes() {
            truth.ended = self.0.closed(chat);
            truth.present = self.0.present(chat);
            truth.connections = self.0.lines();
            truth.items = self
                .0
                .letters(chat)
                .into_iter()
                .map(|letter| {
                    let id = MessageId::from(format!("letter-{}", letter.number));
                    let mut item = StoredItem::new(id, letter.from, letter.own, letter.content);
                    item.token = letter.token;
                    item
                })
                .collect();
        }
        truth
    }

    async fn connections(&self) -> usize {
        self.0.lines()
    }

    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>> {
        let window = self.0.window(chat, actor.role.clone(), &actor.name);
        let letter = match action {
            Action::Join => {
                window.join();
                return Ok(None);
            }
            Action::End => {
                window.close();
                return Ok(None);
            }
            Action::Leave => window.leave()?,
            Action::Post(content) => window.post(content)?,
            other => return Err(Error::new(ErrorKind::Config, format!("this office cannot {other:?}"))),
        };
        Ok(Some(MessageId::from(format!("letter-{}", letter.number))))
    }
}

impl Network for Bench {
    fn disturb(&self, what: Disturbance) {
        match what {
            Disturbance::Cut => self.0.cut(false),
            Disturbance::Break => self.0.cut(true),
            other => panic!("not among the powers: {other:?}"),
        }
    }

    fn heal(&self) {
        self.0.heal();
    }
}

#[test]
fn a_transport_of_ones_own_behaves_as_every_transport_must() {
    let report = run_all(async || Bench(PostOffice::new()));
    assert!(report.is_good(), "{report}");
    // What the contract says of all transports was not left out for want of something.
    for case in ["a_full_channel_loses_nothing", "a_loss_ends_the_stream_once", "verifying_changes_nothing"] {
        assert!(report.passed.contains(&case), "{report}");
    }
}
