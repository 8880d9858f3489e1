//! The mailbox transport, held to the suite that judges the vendors' transports.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use chat_conformance::{
    Action, Actor, Clock, ContactCentre, DirectNetwork, Disturbance, Harness, Network, NetworkKind,
    StoredItem, Truth, run_all,
};
use chat_transport::{Error, ErrorKind, MessageId, Result, SavedSession, Transport};
use examples::mailbox::{MailboxTransport, PostOffice};

/// An office, as the suite sees it: clients, what is behind the counter, the network between.
#[derive(Debug)]
struct Bench {
    office: PostOffice,
    network: DirectNetwork,
}

impl Bench {
    fn new() -> Self {
        Self { office: PostOffice::new(), network: DirectNetwork::default() }
    }
}

#[async_trait]
impl Harness for Bench {
    fn transport(&self) -> Arc<dyn Transport> {
        self.network.before(MailboxTransport::new(self.office.clone()))
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

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        Ok(MailboxTransport::new(self.office.clone()).pass(chat))
    }

    fn secrets(&self, saved: &SavedSession) -> Vec<String> {
        saved.text("key").map(String::from).into_iter().collect()
    }
}

#[async_trait]
impl ContactCentre for Bench {
    async fn chats(&self) -> usize {
        self.office.mailboxes()
    }

    async fn truth(&self, chat: usize) -> Truth {
        let mut truth = Truth::default();
        if chat < self.office.mailboxes() {
            truth.ended = self.office.closed(chat);
            truth.present = self.office.present(chat);
            truth.connections = self.office.lines();
            truth.connects = self.office.opened(chat);
            truth.submits = self.office.calls();
            truth.items = self
                .office
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
        self.office.lines()
    }

    async fn act(&self, chat: usize, actor: &Actor, action: Action) -> Result<Option<MessageId>> {
        let window = self.office.window(chat, actor.role.clone(), &actor.name);
        let letter = match action {
            Action::Join => {
                window.join();
                return Ok(None);
            }
            Action::End => {
                window.close();
                return Ok(None);
            }
            Action::Rename(name) => {
                window.rename(&name);
                return Ok(None);
            }
            Action::Transfer(to) => window.hand_to(&self.office.window(chat, actor.role.clone(), &to))?,
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
            Disturbance::Cut => self.office.cut(false),
            Disturbance::Break => self.office.cut(true),
            // What no vendor of one's own has to be able to do.
            other => self.network.disturb(other),
        }
    }

    fn heal(&self) {
        self.office.heal();
        self.network.heal();
    }
}

#[test]
fn a_transport_of_ones_own_behaves_as_every_transport_must() {
    let report = run_all(async || Bench::new());
    assert!(report.is_good(), "{report}");
    // Nothing was left out but for what the office cannot do.
    let lacks: BTreeSet<&str> =
        report.not_run.iter().flat_map(|case| &case.lacks).map(String::as_str).collect();
    assert!(!lacks.contains("pushed") && !lacks.contains("shaped") && !lacks.contains("hours"), "{lacks:?}");
    for case in ["a_full_channel_loses_nothing", "a_loss_ends_the_stream_once", "verifying_changes_nothing"] {
        assert!(report.passed.contains(&case), "{report}");
    }
}
