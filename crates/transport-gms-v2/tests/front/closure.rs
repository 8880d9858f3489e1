//! A client for the service, in front of a front for the service, is a transport again: chains of them behave like one.

use std::{sync::Arc, time::Duration};

use chat_core::{
    ChatSession, Content, StartRequest, SystemEvent, Timestamp, Transport, Upload, UserData, View,
    VirtualClock,
};
use chat_net::{Net, NetConfig, memory::MemoryNetwork};
use chat_sim::{Centre, CommandKind, Console, Profile};
use futures::TryStreamExt;
use tokio::time::{sleep, timeout};
use transport_gms_v2::{
    CometdConfig, GmsConfig, GmsSessionExt, GmsTransport,
    front::{FrontConfig, GmsFront},
};

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
enum Mode {
    Polling,
    Cometd,
}

/// A front over `inner`, and a client that reaches it through a network in memory.
fn hop(
    inner: Arc<dyn Transport>,
    mode: Mode,
    clock: &Arc<VirtualClock>,
) -> (GmsTransport, MemoryNetwork, Arc<GmsFront>) {
    const HOST: &str = "gms.example.org";
    let mut config = FrontConfig::new();
    config.clock = clock.clone();
    let front = GmsFront::new(inner, config);
    let network = MemoryNetwork::new();
    let mut listener = network.listen(&format!("{HOST}:443"));
    let serving = Arc::downgrade(&front);
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            let Some(front) = serving.upgrade() else { return };
            tokio::spawn(front.serve_connection(stream));
        }
    });
    let mut config = GmsConfig::default();
    match mode {
        Mode::Polling => config.data_url = Some(format!("https://{HOST}/genesys/2/chat/customer-support")),
        Mode::Cometd => {
            let mut cometd = CometdConfig::new(format!("https://{HOST}/genesys/cometd"));
            cometd.companion_url = Some(format!("https://{HOST}/genesys/2/chat-ntf"));
            config.cometd = Some(cometd);
        }
    }
    let net = Net::in_memory(&network, &NetConfig::default()).unwrap();
    (GmsTransport::builder().config(config).net(net).build().unwrap(), network, front)
}

struct Chain {
    console: Console,
    session: ChatSession,
    networks: [MemoryNetwork; 2],
    _fronts: [Arc<GmsFront>; 2],
}

/// Client, front, client, front, centre.
async fn chain(outer: Mode, inner: Mode) -> Chain {
    let clock = VirtualClock::starting_at(Timestamp::parse("2026-05-04T09:00:00Z").unwrap());
    let centre = Centre::builder().profile(Profile::push()).clock(clock.clone()).build();
    let (near_centre, far, behind) = hop(Arc::new(centre.transport()), inner, &clock);
    let (transport, near, before) = hop(Arc::new(near_centre), outer, &clock);
    let session = ChatSession::builder(transport).start(StartRequest::named("Jane")).await.unwrap();
    Chain { console: centre.console(), session, networks: [near, far], _fronts: [before, behind] }
}

async fn until(session: &ChatSession, what: &str, met: impl Fn(&[Content]) -> bool) {
    let waiting = async {
        while !met(&contents(session)) {
            sleep(Duration::from_millis(200)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}: {:?}", contents(session));
}

fn contents(session: &ChatSession) -> Vec<Content> {
    session.snapshot(View::Full).iter().filter_map(|row| row.content().cloned()).collect()
}

fn texts(contents: &[Content]) -> Vec<&str> {
    contents
        .iter()
        .filter_map(|content| match content {
            Content::Text(text) => Some(&*text.body),
            _ => None,
        })
        .collect()
}

const CHAINS: [(Mode, Mode); 4] = [
    (Mode::Polling, Mode::Polling),
    (Mode::Polling, Mode::Cometd),
    (Mode::Cometd, Mode::Polling),
    (Mode::Cometd, Mode::Cometd),
];

#[tokio::test(start_paused = true)]
async fn everything_that_is_said_stands_once_at_both_ends() {
    for (outer, inner) in CHAINS {
        let chain = chain(outer, inner).await;
        let session = &chain.session;
        let contact = chain.console.last_contact().unwrap();
        let agent = contact.as_agent("Maria");
        for round in 0..3 {
            session.send_text(format!("c{round}")).unwrap().await.unwrap();
            contact.wait_for_text(&format!("c{round}")).await;
            agent.say(format!("a{round}")).unwrap();
            until(session, "the agent's text", |all| texts(all).contains(&&*format!("a{round}"))).await;
        }
        assert_eq!(texts(&contents(session)), ["c0", "a0", "c1", "a1", "c2", "a2"], "{outer:?} {inner:?}");
        session.send_notice("bye").await.unwrap();
        session.push_url("https://shop.example.test/?a=b&c").await.unwrap();
        session.update_nickname("Joan").await.unwrap();
        session.update_user_data(UserData::new().with("order", "A-18")).await.unwrap();
        agent.push_url("https://shop.example.test/returns").unwrap();
        let pushed = |all: &[Content]| {
            let urls = all.iter().filter(|content| matches!(content, Content::PushUrl(_)));
            urls.count()
        };
        until(session, "both URLs", |all| pushed(all) == 2).await;
        sleep(Duration::from_secs(20)).await;
        let all = contents(session);
        let count = |wanted: &dyn Fn(&Content) -> bool| all.iter().filter(|content| wanted(content)).count();
        assert_eq!(pushed(&all), 2, "{outer:?} {inner:?}");
        assert_eq!(count(&|content| *content == Content::Notice("bye".into())), 1, "{all:?}");
        assert_eq!(count(&|content| *content == Content::Event(SystemEvent::NameUpdated)), 1, "{all:?}");
        let truth = contact.truth();
        assert_eq!(truth.notices.len(), 1);
        assert_eq!(truth.user_data.0.get("order").map(String::as_str), Some("A-18"));
    }
}

#[tokio::test(start_paused = true)]
async fn files_pass_and_the_end_too() {
    for (outer, inner) in CHAINS {
        let chain = chain(outer, inner).await;
        let session = &chain.session;
        let contact = chain.console.last_contact().unwrap();
        session.send_file(Upload::from_bytes("note.txt", "text/plain", "hello")).unwrap().await.unwrap();
        let told = |all: &[Content]| {
            all.iter().find_map(|content| match content {
                Content::Files(files) => {
                    files.first().map(|file| file.id.clone()).filter(|id| !id.as_str().is_empty())
                }
                _ => None,
            })
        };
        until(session, "the file", |all| told(all).is_some()).await;
        let id = told(&contents(session)).unwrap();
        let file = session.download(&id).await.unwrap();
        let bytes: Vec<_> = file.bytes.try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"hello", "{outer:?} {inner:?}");
        assert_eq!(contact.truth().files.len(), 1);
        session.end().await.unwrap();
        timeout(PATIENCE, contact.wait_for(|truth| truth.ended.is_some())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_anywhere_loses_and_doubles_nothing() {
    for (outer, inner) in CHAINS {
        for broken in 0..2 {
            let chain = chain(outer, inner).await;
            let session = &chain.session;
            let contact = chain.console.last_contact().unwrap();
            session.send_text("before").unwrap().await.unwrap();
            chain.networks[broken].cut();
            contact.as_agent("Maria").say("while away").unwrap();
            let pending = session.send_text("after").unwrap();
            sleep(Duration::from_secs(8)).await;
            chain.networks[broken].heal();
            timeout(PATIENCE, pending).await.unwrap().unwrap();
            until(session, "what was missed", |all| texts(all).contains(&"while away")).await;
            sleep(Duration::from_secs(60)).await;
            let case = format!("{outer:?} {inner:?}, broken at {broken}");
            let all = contents(session);
            let mut shown = texts(&all);
            shown.sort_unstable();
            assert_eq!(shown, ["after", "before", "while away"], "{case}");
            assert_eq!(contact.truth().own_texts(), ["before", "after"], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_behind_both_fronts_doubles_nothing() {
    for (outer, inner) in CHAINS {
        let chain = chain(outer, inner).await;
        let session = &chain.session;
        let contact = chain.console.last_contact().unwrap();
        chain.console.network().store_then_cut(CommandKind::Text);
        timeout(PATIENCE, session.send_text("once").unwrap()).await.unwrap().unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(contact.truth().own_texts(), ["once"], "{outer:?} {inner:?}");
        assert_eq!(texts(&contents(session)), ["once"], "{outer:?} {inner:?}");
    }
}
