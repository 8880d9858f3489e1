//! Sends whose fate is unknown, over centres that store a repeated send again: each ends sent or failed, nothing is lost, nothing
//! doubled, and nothing that another tab says is taken for it.

use std::time::Duration;

use chat_core::{
    Capability, ChatSession, Content, Error, ErrorKind, SessionDirectory, SessionSettings, StartRequest, View,
};
use chat_sim::{
    Centre, CommandKind, ContactConsole, EventKind, Fault, FaultError, FaultErrorKind, FaultPlan, FaultRule,
    Point, Profile, When,
};
use proptest::prelude::*;

/// Pages that a busy chat fills at once.
fn small_pages(profile: Profile) -> Profile {
    profile.tuned(|profile| profile.capabilities.history_page_max = Some(5))
}

fn timeout() -> FaultError {
    FaultError::new(FaultErrorKind::Timeout)
}

async fn started(centre: &Centre, settings: SessionSettings) -> (ChatSession, ContactConsole) {
    let session = ChatSession::builder(centre.transport())
        .settings(settings.with_seed(Some(1)))
        .start(StartRequest::named("Ada"))
        .await
        .expect("a chat");
    (session, centre.console().last_contact().expect("it began").as_agent("Maria"))
}

/// The messages that a session shows as the vendor's.
fn shown(session: &ChatSession) -> Vec<String> {
    let text = |content: &Content| match content {
        Content::Text(text) => Some(text.body.to_string()),
        _ => None,
    };
    let rows = session.snapshot(View::Full);
    rows.iter().filter(|row| row.message_id().is_some()).filter_map(|row| text(row.content()?)).collect()
}

/// Waits until each of them shows what the centre has.
async fn agreed(sessions: &[&ChatSession], agent: &ContactConsole) {
    for session in sessions {
        let mut events = session.events();
        while shown(session) != agent.truth().texts() {
            let more = tokio::time::timeout(Duration::from_secs(300), events.next()).await;
            assert!(more.is_ok(), "shows {:?}, the centre has {:?}", shown(session), agent.truth().texts());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_chat_cannot_hide_the_echo() {
    for (name, profile) in Profile::all().into_iter().filter(|(_, profile)| {
        profile.capabilities.can(Capability::History) && !profile.capabilities.can(Capability::IdempotentSend)
    }) {
        let centre = Centre::builder().profile(small_pages(profile)).build();
        let (session, agent) = started(&centre, SessionSettings::default()).await;
        session.send_text("first").expect("accepted").await.expect("sent");
        agreed(&[&session], &agent).await;
        // Stored late, long after the time-out, behind and before much else; and none of it is told.
        let network = centre.console().network();
        let late = FaultRule::new(Point::Submit(CommandKind::Text), Fault::StoreLate(2_000));
        network.add(late.when(When::First(1)));
        network.add(FaultRule::new(Point::Event(EventKind::Any), Fault::Drop));
        let pending = session.send_text("once").expect("accepted");
        agent.wait_for(|truth| truth.submitted(CommandKind::Text) == 2).await;
        agent.say_many(40).expect("said");
        agent.wait_for(|truth| truth.texts().contains(&"once")).await;
        agent.say_many(40).expect("said");
        let token = pending.token().clone();
        pending.await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(agent.truth().copies(&token), 1, "{name}");
        assert!(shown(&session).contains(&"once".to_owned()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_it_left_is_no_echo_even_after_a_restore() {
    // Without tokens: the same text was said long before, and the process died with the second one on its way.
    let centre = Centre::builder().profile(small_pages(Profile::push_without_idempotency())).build();
    let directory = SessionDirectory::in_memory();
    let build = || ChatSession::builder(centre.transport()).keep(&directory, "ada");
    let session = build().start(StartRequest::named("Ada")).await.expect("a chat");
    let agent = centre.console().last_contact().expect("it began").as_agent("Maria");
    session.send_text("yes").expect("accepted").await.expect("sent");
    agent.say("Sure?").expect("said");
    agreed(&[&session], &agent).await;
    centre.console().network().add(FaultRule::new(Point::Submit(CommandKind::Text), Fault::Hang));
    drop(session.send_text("yes").expect("accepted"));
    drop(session);
    agent.wait_for(|truth| truth.connections == 0).await;
    centre.console().network().heal();
    let session = loop {
        match build().restore().await {
            Ok(session) => break session,
            Err(error) if *error.error.kind() == ErrorKind::AlreadyActive => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    let stored = agent.wait_for(|truth| truth.texts() == ["yes", "Sure?", "yes"]);
    tokio::time::timeout(Duration::from_secs(300), stored).await.expect("the second one is sent, too");
    agreed(&[&session], &agent).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_by_hand_finds_the_echo_that_came_after_it_was_given_up() {
    let centre = Centre::builder().profile(small_pages(Profile::push_without_idempotency())).build();
    let (session, agent) = started(&centre, SessionSettings::default()).await;
    agent.say("hello").expect("said");
    agreed(&[&session], &agent).await;
    let network = centre.console().network();
    network.add(FaultRule::new(Point::Submit(CommandKind::Text), Fault::StoreThenError(timeout())));
    network.add(FaultRule::new(Point::Event(EventKind::Any), Fault::Drop));
    let refused = FaultError::new(FaultErrorKind::Refused);
    network.add(FaultRule::new(Point::Submit(CommandKind::History), Fault::Error(refused)));
    let pending = session.send_text("once").expect("accepted");
    let token = pending.token().clone();
    pending.await.expect_err("nobody could tell");
    network.heal();
    agent.tell_again(&agent.truth().items.last().expect("stored").id).expect("told");
    agreed(&[&session], &agent).await;
    session.retry(&token).expect("it may be tried again");
    let rows = session.events();
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(rows);
    assert_eq!(agent.truth().copies(&token), 1);
    assert_eq!(shown(&session), ["hello", "once"], "one row");
}

// ---- by chance ------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Step {
    /// One of two texts, by one of two tabs.
    Send {
        tab: usize,
        text: &'static str,
    },
    /// The agent says so much.
    Say(usize),
    Wait(u64),
    Cut(u64),
}

fn step(tabs: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..tabs, prop_oneof![Just("yes"), Just("no")]).prop_map(|(tab, text)| Step::Send { tab, text }),
        1 => (1..12usize).prop_map(Step::Say),
        2 => (1..6_000u64).prop_map(Step::Wait),
        1 => (1..20_000u64).prop_map(Step::Cut),
    ]
}

fn rules() -> impl Strategy<Value = Vec<FaultRule>> {
    let at_texts = prop_oneof![
        Just(Fault::Cut),
        Just(Fault::Error(timeout())),
        Just(Fault::Error(FaultError::new(FaultErrorKind::Server))),
        Just(Fault::StoreThenCut),
        Just(Fault::StoreThenError(timeout())),
        // Within `settle_within`.
        (1..9_000u64).prop_map(Fault::StoreLate),
        (1..4_000u64).prop_map(Fault::LateAnswer),
        (1..4_000u64).prop_map(Fault::Delay),
    ];
    let at_polls = prop_oneof![
        Just(Fault::Cut),
        Just(Fault::Error(timeout())),
        (1..4_000u64).prop_map(Fault::LateAnswer),
    ];
    let at_history = prop_oneof![Just(Fault::Error(timeout())), (1..4_000u64).prop_map(Fault::LateAnswer)];
    let at_events = prop_oneof![(1..3u32).prop_map(Fault::Duplicate), (1..2_000u64).prop_map(Fault::Delay)];
    let rule = |kind: Point| move |(nth, what)| FaultRule::new(kind, what).when(When::Nth(nth));
    prop::collection::vec(
        prop_oneof![
            6 => (1..12u32, at_texts).prop_map(rule(Point::Submit(CommandKind::Text))),
            2 => (1..30u32, at_polls).prop_map(rule(Point::Submit(CommandKind::Poll))),
            1 => (1..12u32, at_history).prop_map(rule(Point::Submit(CommandKind::History))),
            1 => (1..40u32, at_events).prop_map(rule(Point::Event(EventKind::Any))),
        ],
        0..10,
    )
}

async fn run(
    profile: Profile,
    tabs: usize,
    steps: Vec<Step>,
    rules: Vec<FaultRule>,
) -> Result<(), TestCaseError> {
    // However long the outages are, the chat goes on.
    let profile = profile.tuned(|profile| profile.capabilities.detached_for = None);
    let plan = FaultPlan { seed: 0, rules };
    let centre = Centre::builder().profile(small_pages(profile)).faults(plan).build();
    let settings = SessionSettings::default();
    let (first, agent) = started(&centre, settings.clone()).await;
    let mut sessions = vec![first];
    if tabs > 1 {
        let saved = sessions[0].session_data().expect("it stands");
        let join = ChatSession::builder(centre.transport()).settings(settings.with_seed(Some(2))).join(saved);
        sessions.push(join.await.expect("a second tab"));
    }
    let network = centre.console().network();
    let mut sends = Vec::new();
    let mut said = 0;
    for step in steps {
        match step {
            Step::Send { tab, text } => sends.extend(sessions[tab].send_text(text)),
            Step::Say(count) => {
                for _ in 0..count {
                    said += 1;
                    agent.say(format!("message {said}")).expect("said");
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Cut(millis) => {
                network.cut();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                network.heal();
            }
        }
        tokio::task::yield_now().await;
    }
    let mut outcomes = Vec::new();
    for send in sends {
        let token = send.token().clone();
        let outcome: Result<_, Error> = tokio::time::timeout(Duration::from_secs(900), send)
            .await
            .map_err(|_| TestCaseError::fail("a send never ends"))?;
        outcomes.push((token, outcome));
    }
    // What was given up may still be stored late.
    tokio::time::sleep(Duration::from_secs(15)).await;
    for (token, outcome) in outcomes {
        let copies = agent.truth().copies(&token);
        match outcome {
            Ok(_) => prop_assert_eq!(copies, 1, "sent means stored, once"),
            Err(error) => prop_assert!(copies <= 1, "{} copies, {:?}", copies, error),
        }
    }
    let sessions: Vec<_> = sessions.iter().collect();
    agreed(&sessions, &agent).await;
    Ok(())
}

fn by_chance(
    profile: &Profile,
    tabs: usize,
    steps: Vec<Step>,
    rules: Vec<FaultRule>,
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    runtime.block_on(run(profile.clone(), tabs, steps, rules))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_tokens_two_tabs_say_the_same_and_nothing_is_lost_or_doubled(
        steps in prop::collection::vec(step(2), 1..14),
        rules in rules(),
    ) {
        for profile in [Profile::polling_with_tokens(), Profile::push_with_tokens()] {
            by_chance(&profile, 2, steps.clone(), rules.clone())?;
        }
    }

    #[test]
    fn without_tokens_one_tab_repeats_itself_and_nothing_is_lost_or_doubled(
        steps in prop::collection::vec(step(1), 1..14),
        rules in rules(),
    ) {
        for profile in [Profile::polling_with_history(), Profile::push_without_idempotency()] {
            by_chance(&profile, 1, steps.clone(), rules.clone())?;
        }
    }
}
