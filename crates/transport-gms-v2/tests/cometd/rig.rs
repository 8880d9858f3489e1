//! Client, front and centre, and the network between.

use std::{sync::Arc, time::Duration};

use chat_core::{ChatEvent, ChatSession, Content, Events, Row, StartRequest, Timestamp, View, VirtualClock};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use chat_sim::{Centre, Console, ContactConsole, Profile};
use tokio::time::timeout;
use transport_gms_v2::{
    CometdConfig, GmsConfig, GmsTransport,
    front::{AnswerFault, FrontConfig, GmsFront, Instead, Operation, ServerConfig},
};

/// Longer than anything that is waited for; virtual.
const PATIENCE: Duration = Duration::from_secs(120);
const HOST: &str = "gms.example.org";

pub(crate) struct Rig {
    pub(crate) network: MemoryNetwork,
    pub(crate) console: Console,
    pub(crate) front: Arc<GmsFront>,
    net: Net,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(server: impl FnOnce(&mut ServerConfig), front: impl FnOnce(&mut FrontConfig)) -> Self {
        let network = MemoryNetwork::new();
        let clock = VirtualClock::starting_at(Timestamp::parse("2026-05-04T09:00:00Z").unwrap());
        let centre = Centre::builder().profile(Profile::push()).clock(clock.clone()).build();
        let mut config = FrontConfig::new();
        config.clock = clock;
        let mut cometd = ServerConfig::default();
        server(&mut cometd);
        config.cometd = Some(cometd);
        front(&mut config);
        let front = GmsFront::new(Arc::new(centre.transport()), config);
        let mut listener = network.listen(&format!("{HOST}:443"));
        let serving = Arc::downgrade(&front);
        tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                let Some(front) = serving.upgrade() else { return };
                tokio::spawn(front.serve_connection(stream));
            }
        });
        let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
        Self { network, console: centre.console(), front, net }
    }

    /// A client over CometD alone, with files.
    pub(crate) fn client(&self) -> GmsTransport {
        self.client_with(|_| {})
    }

    pub(crate) fn client_with(&self, change: impl FnOnce(&mut GmsConfig)) -> GmsTransport {
        let mut cometd = CometdConfig::new(format!("https://{HOST}/genesys/cometd"));
        cometd.companion_url = Some(format!("https://{HOST}/genesys/2/chat-ntf"));
        let mut config = GmsConfig::default();
        config.cometd = Some(cometd);
        change(&mut config);
        GmsTransport::builder().config(config).net(self.net.clone()).build().unwrap()
    }

    /// As [`client`](Self::client), over long-polling.
    pub(crate) fn polling_client(&self) -> GmsTransport {
        self.client_with(long_polling)
    }

    /// A chat, and the centre's side of it.
    pub(crate) async fn chat(&self, client: GmsTransport) -> (ChatSession, ContactConsole) {
        let session = ChatSession::builder(client).start(StartRequest::named("Jane")).await.unwrap();
        (session, self.console.last_contact().unwrap())
    }

    /// How many Bayeux sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.front.cometd().unwrap().sessions()
    }

    pub(crate) fn instead(&self, operation: Operation, instead: Instead, times: u32) {
        let mut faults = self.front.faults();
        faults.answers.push(AnswerFault::new(operation, instead, times));
        self.front.set_faults(faults);
    }
}

pub(crate) fn long_polling(config: &mut GmsConfig) {
    config.cometd.as_mut().unwrap().websocket = false;
}

/// The address of the polling service.
pub(crate) fn data_url() -> String {
    format!("https://{HOST}/genesys/2/chat/customer-support")
}

pub(crate) fn text_of(row: &Row) -> Option<&str> {
    match row.content()? {
        Content::Text(text) => Some(&text.body),
        _ => None,
    }
}

/// The texts of a session, in order.
pub(crate) fn texts(session: &ChatSession) -> Vec<String> {
    session.transcript().iter().filter_map(|row| text_of(row).map(str::to_owned)).collect()
}

/// Waits until the session shows this.
pub(crate) async fn shows(session: &ChatSession, what: &str, met: impl Fn(&ChatSession) -> bool) {
    let mut events = session.subscribe(View::Full);
    let waiting = async {
        while !met(session) {
            if events.next().await.is_none() {
                return;
            }
        }
    };
    let waited = timeout(PATIENCE, waiting).await.is_ok();
    assert!(waited && met(session), "{what}: {:?}, {:?}", session.link_state(), texts(session));
}

pub(crate) async fn shows_text(session: &ChatSession, text: &str) {
    shows(session, text, |session| texts(session).iter().any(|shown| shown == text)).await;
}

/// Waits for an event.
pub(crate) async fn event<T>(
    events: &mut Events,
    what: &str,
    mut find: impl FnMut(ChatEvent) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the end before {what}"));
            if let Some(found) = find(event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until the centre or the front is so; neither tells when it changes.
pub(crate) async fn becomes(what: &str, met: impl Fn() -> bool) {
    let waiting = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
