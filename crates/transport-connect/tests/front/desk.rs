//! An agent's desk against the front: three contacts, one shared socket.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_core::{ChatSession, Content, EndReason, LinkState, Result, Secret, View};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use chat_sim::ContactConsole;
use futures::{StreamExt, stream::BoxStream};
use serde_json::json;
use tokio::time::timeout;
use transport_connect::{
    AgentDesk, ConnectTransport, ContactSource, ParticipantKind,
    client::{AgentContact, ContactNotice, DeskEvent, SocketGrant},
};

use crate::rig::{BASE, Client, Rig, Socket};

/// What an application knows: the agent's contacts, and how to get a socket for all of them.
struct Source {
    rig: Arc<Rig>,
    contacts: Vec<AgentContact>,
    sockets: AtomicUsize,
    viewed: Mutex<Vec<Option<String>>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

#[async_trait]
impl ContactSource for Source {
    /// All tokens of one agent lead to the same socket; this takes the first.
    async fn socket(&self) -> Result<SocketGrant> {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        let token = self.contacts[0].participant_token.expose();
        let answer =
            self.rig.post("/participant/connection", token, json!({"Type": ["WEBSOCKET"]})).await.ok();
        Ok(SocketGrant { url: Secret::from(answer["Websocket"]["Url"].as_str().unwrap()), life: None })
    }

    fn contacts(&self) -> BoxStream<'static, ContactNotice> {
        let looks = ContactNotice::Viewing(Some(self.contacts[1].contact_id.clone()));
        let accepted = self.contacts.iter().cloned().map(ContactNotice::Accepted);
        futures::stream::iter(accepted.chain([looks]).collect::<Vec<_>>()).boxed()
    }

    async fn view(&self, contact_id: Option<&str>) {
        self.viewed.lock().unwrap().push(contact_id.map(str::to_owned));
    }
}

fn texts(session: &ChatSession) -> Vec<String> {
    let snapshot = session.snapshot(View::Display);
    let text = |content: &Content| match content {
        Content::Text(text) => Some(text.body.to_string()),
        _ => None,
    };
    snapshot.iter().filter_map(|row| text(row.content()?)).collect()
}

/// Waits until it shows this.
async fn shows(session: &ChatSession, expected: &[String]) {
    let mut events = session.subscribe(View::Display);
    let until = async {
        while texts(session) != expected {
            events.next().await.expect("the chat goes on");
        }
    };
    let in_time = timeout(Duration::from_secs(120), until).await;
    assert!(in_time.is_ok(), "it shows {:?}, not {expected:?}", texts(session));
}

/// Waits until its connection is like this.
async fn is(session: &ChatSession, state: impl Fn(LinkState) -> bool) {
    let until = async {
        while !state(session.link_state()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(120), until).await.expect("in time");
}

/// One contact from all sides: the customer's, the agent's and the centre's.
struct Seat<'a> {
    customer: Client<'a>,
    heard: Socket,
    centre: ContactConsole,
    session: ChatSession,
    expected: Vec<String>,
}

impl Seat<'_> {
    async fn customer_says(&mut self, text: String) {
        self.customer.say(&text).await;
        self.expected.push(text);
    }

    async fn agent_says(&mut self, text: String) {
        self.session.send_text(text.as_str()).unwrap().await.unwrap();
        assert_eq!(self.heard.text(&text).await["ParticipantRole"], "AGENT");
        self.expected.push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_desk_serves_three_contacts_over_one_socket() {
    let rig = Arc::new(Rig::new());
    let network = MemoryNetwork::new();
    let mut listener = network.listen(BASE.strip_prefix("http://").unwrap());
    let front = Arc::clone(&rig.front);
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(front.serve_connection(stream));
        }
    });

    // Three customers ring, and one agent accepts them all.
    let mut customers = Vec::new();
    let mut contacts = Vec::new();
    for _ in 0..3 {
        let (customer, heard, centre) = rig.chat().await;
        let ask = json!({"ContactId": customer.contact, "AgentId": "ann", "DisplayName": "Ann"});
        let made = rig.post("/front/agent-token", "", ask).await.ok();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let mut contact =
            AgentContact::chat(text("ContactId"), text("ParticipantId"), text("ParticipantToken"));
        contact.initial_contact_id = Some(text("InitialContactId"));
        customers.push((customer, heard, centre));
        contacts.push(contact);
    }
    let ids: Vec<_> = contacts.iter().map(|contact| contact.contact_id.clone()).collect();
    let source = Arc::new(Source {
        rig: Arc::clone(&rig),
        contacts,
        sockets: AtomicUsize::new(0),
        viewed: Mutex::default(),
    });
    let transport = ConnectTransport::builder()
        .endpoint(BASE)
        .participant(ParticipantKind::Agent)
        .net(Net::in_memory(&network, &NetConfig::default()).unwrap())
        .build()
        .unwrap();
    let mut desk = AgentDesk::open(&transport, Arc::clone(&source) as _).unwrap();
    let mut sessions = HashMap::new();
    let mut seats = Vec::new();
    while let Some(event) = desk.next().await {
        match event {
            DeskEvent::Ready { contact, session, .. } => {
                let session = ChatSession::builder(desk.transport()).join(session).await.unwrap();
                sessions.insert(contact.contact_id, session);
            }
            DeskEvent::Viewing(id) => assert_eq!(id.as_ref(), Some(&ids[1])),
            other => panic!("{other:?}"),
        }
    }
    for (customer, heard, centre) in customers {
        let session = sessions.remove(&customer.contact).unwrap();
        seats.push(Seat { customer, heard, centre, session, expected: Vec::new() });
    }
    assert_eq!(desk.viewing().as_ref(), Some(&ids[1]), "the application told");
    desk.view(Some(&ids[2])).await;
    assert_eq!(*source.viewed.lock().unwrap(), [Some(ids[2].clone())], "and is told");

    // What is said stays with its contact.
    for round in 0..3 {
        for (n, seat) in seats.iter_mut().enumerate() {
            seat.customer_says(format!("customer {n}: {round}")).await;
        }
        for (n, seat) in seats.iter_mut().enumerate() {
            shows(&seat.session, &seat.expected).await;
            seat.agent_says(format!("agent {n}: {round}")).await;
        }
    }
    for seat in &seats {
        shows(&seat.session, &seat.expected).await;
        let stored: Vec<_> = seat.customer.transcript().await;
        let told: Vec<_> = stored.iter().filter_map(|item| item["Content"].as_str()).collect();
        assert_eq!(told, seat.expected, "the customer sees the same");
    }

    assert_eq!(source.sockets.load(Ordering::Relaxed), 1, "over one socket");

    // The socket is cut: all come back, and what was said meanwhile is there.
    network.cut();
    for seat in &seats {
        is(&seat.session, |state| matches!(state, LinkState::Waiting { .. })).await;
    }
    for (n, seat) in seats.iter_mut().enumerate() {
        for round in 0..20 {
            seat.customer_says(format!("customer {n}, while away: {round}")).await;
        }
    }
    network.heal();
    for seat in &seats {
        shows(&seat.session, &seat.expected).await;
        is(&seat.session, |state| state == LinkState::Live).await;
    }

    // A transfer ends the agent's part in one contact, and nothing else.
    seats[0].centre.as_agent("Bob").transfer("Eve").unwrap();
    is(&seats[0].session, |state| state == LinkState::Ended).await;
    assert_eq!(seats[0].session.ended(), Some(EndReason::Transferred));
    seats[0].customer.say("Are you Eve?").await;
    seats[0].heard.text("Are you Eve?").await;
    for (n, seat) in seats.iter_mut().enumerate().skip(1) {
        seat.customer_says(format!("customer {n}: still there?")).await;
        shows(&seat.session, &seat.expected).await;
        seat.agent_says(format!("agent {n}: yes")).await;
        assert_eq!(seat.session.ended(), None);
    }
    assert!(!texts(&seats[0].session).contains(&"Are you Eve?".to_owned()));
}
