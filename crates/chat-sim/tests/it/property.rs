//! Laws: whatever goes wrong on the way, the centre neither loses nor doubles what it stored, and says the truth about it.

use std::time::Duration;

use chat_core::{
    Ack, ClientToken, Delivery, Direction, HistoryFrom, HistoryRequest, MessageId, StartRequest,
    TransportEvent,
};
use chat_sim::{
    Centre, CommandKind, EventKind, Fault, FaultError, FaultErrorKind, FaultPlan, FaultRule, Point, Profile,
    When,
};
use futures::StreamExt;
use proptest::prelude::*;

use super::{page_texts, resume, say, start};

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        Just(When::Always),
        (1..6u32).prop_map(When::Nth),
        (1..6u32).prop_map(When::EveryNth),
        (0..4u32).prop_map(When::First),
        (0..60u8).prop_map(When::Percent),
        (0..12u32).prop_map(When::AfterItems),
    ]
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![
        Just(Point::Connect),
        Just(Point::Submit(CommandKind::Any)),
        Just(Point::Submit(CommandKind::Text)),
        Just(Point::Submit(CommandKind::History)),
        Just(Point::Event(EventKind::Any)),
        Just(Point::Event(EventKind::Message)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let error = prop_oneof![
        Just(FaultErrorKind::RateLimited),
        Just(FaultErrorKind::Server),
        Just(FaultErrorKind::Timeout),
        Just(FaultErrorKind::Network),
        Just(FaultErrorKind::Unauthorized),
    ]
    .prop_map(FaultError::new);
    prop_oneof![
        Just(Fault::Drop),
        (1..3u32).prop_map(Fault::Duplicate),
        (1..4u32).prop_map(Fault::Reorder),
        (1..5_000u64).prop_map(Fault::Delay),
        (1..5_000u64).prop_map(Fault::LateAnswer),
        Just(Fault::Cut),
        (1..5_000u64).prop_map(Fault::HalfOpen),
        error.clone().prop_map(Fault::Error),
        Just(Fault::StoreThenCut),
        error.prop_map(Fault::StoreThenError),
        (1..5_000u64).prop_map(Fault::StoreLate),
        Just(Fault::StartedNotConnected),
        Just(Fault::Hang),
    ]
}

fn plan() -> impl Strategy<Value = FaultPlan> {
    let rule = (point(), when(), fault()).prop_map(|(at, when, what)| FaultRule { at, when, what });
    (any::<u64>(), proptest::collection::vec(rule, 0..6)).prop_map(|(seed, rules)| FaultPlan { seed, rules })
}

const TEXTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends eight texts as a stubborn client does: each with one token, again after each failure, on a new connection if need be.
/// Gives the number of answers, and of attempts that may have been stored, per text.
async fn stubborn(centre: &Centre) -> Vec<(usize, usize)> {
    let key = StartRequest { key: Some("key".into()), ..StartRequest::default() };
    let mut outcome = vec![(0, 0); TEXTS];
    let mut connection = None;
    let mut attempts = 0;
    for (number, (answered, possible)) in outcome.iter_mut().enumerate() {
        while *answered == 0 && attempts < 60 {
            attempts += 1;
            if connection.is_none() {
                let began = tokio::time::timeout(PATIENCE, start(centre, key.clone())).await;
                connection = began.ok().and_then(Result::ok);
            }
            let Some(open) = &connection else { continue };
            let command = say(&number.to_string(), &format!("text {number}"));
            match tokio::time::timeout(PATIENCE, open.handle.submit(command)).await {
                Ok(Ok(Ack::Sent(_))) => *answered += 1,
                Ok(Ok(other)) => panic!("{other:?}"),
                Ok(Err(error)) => {
                    *possible += usize::from(error.delivery() == Delivery::Unknown);
                    connection = None;
                }
                Err(_) => {
                    *possible += 1;
                    connection = None;
                }
            }
        }
    }
    outcome
}

async fn all_of_history(centre: &Centre) -> Vec<String> {
    let agent = centre.console().last_contact().unwrap();
    let connection = resume(centre, &agent.credentials()).await.unwrap();
    let mut texts = Vec::new();
    let mut from = HistoryFrom::Oldest;
    loop {
        let request = HistoryRequest { direction: Direction::Newer, from, limit: 3 };
        let answer = connection.handle.submit(chat_core::Command::History(request)).await.unwrap();
        let Ack::History(page) = answer else { panic!() };
        texts.extend(page_texts(&page));
        match page.next {
            Some(next) => from = HistoryFrom::Cursor(next),
            None => return texts,
        }
    }
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_fault_plan_makes_the_centre_lose_or_double_a_send(plan in plan(), idempotent: bool) {
        run(async {
            let profile = if idempotent { Profile::push() } else { Profile::push_without_idempotency() };
            let centre = Centre::builder().profile(profile).faults(plan.clone()).build();
            let outcome = stubborn(&centre).await;
            prop_assert!(centre.console().truth().contacts <= 1, "one key, one chat");
            let Some(agent) = centre.console().last_contact() else { return Ok(()) };
            let truth = agent.truth();
            for (number, (answered, possible)) in outcome.into_iter().enumerate() {
                let copies = truth.copies(&ClientToken::new(number.to_string()));
                prop_assert!(copies >= answered, "text {number} was answered and is not stored");
                prop_assert!(copies <= answered + possible, "text {number} is stored, and the client was told that it is not");
                prop_assert!(!idempotent || copies <= 1, "text {number} is doubled");
            }
            prop_assert!(truth.items.windows(2).all(|pair| pair[0].time < pair[1].time && pair[0].id < pair[1].id));
            Ok(())
        })?;
    }

    #[test]
    fn what_was_stored_is_in_the_history_whatever_the_network_did(plan in plan()) {
        run(async {
            // Everything goes wrong by hand, so that the network can heal.
            let centre = Centre::new();
            let network = centre.console().network();
            for rule in plan.rules {
                network.add(rule);
            }
            stubborn(&centre).await;
            network.heal();
            if let Some(agent) = centre.console().last_contact() {
                agent.say("last").unwrap();
                let history = all_of_history(&centre).await;
                let truth = agent.truth();
                prop_assert_eq!(history, truth.texts());
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_stream_has_one_terminal_and_it_is_last(plan in plan()) {
        run(async {
            let centre = Centre::builder().faults(plan.clone()).build();
            let Ok(Ok(connection)) = tokio::time::timeout(PATIENCE, start(&centre, StartRequest::default())).await
            else {
                return Ok(());
            };
            let agent = centre.console().last_contact().unwrap();
            agent.say_many(10).unwrap();
            agent.end().unwrap();
            let events: Vec<_> = connection.events.collect().await;
            let terminal = |event: &TransportEvent| matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_));
            prop_assert!(terminal(events.last().unwrap()));
            prop_assert_eq!(events.iter().filter(|event| terminal(event)).count(), 1);
            prop_assert_eq!(agent.truth().connections, 0);
            Ok(())
        })?;
    }

    #[test]
    fn without_drops_and_cuts_every_stored_item_is_told(
        faults in proptest::collection::vec((when(), prop_oneof![
            (1..3u32).prop_map(Fault::Duplicate),
            (1..6u32).prop_map(Fault::Reorder),
            (1..3_000u64).prop_map(Fault::Delay),
        ]), 0..4),
        capacity in 1..5usize,
    ) {
        run(async {
            let rules = faults.into_iter().map(|(when, what)| FaultRule { at: Point::Event(EventKind::Any), when, what });
            let centre = Centre::builder()
                .faults(FaultPlan { seed: 3, rules: rules.collect() })
                .profile(Profile::push().tuned(|profile| profile.channel_capacity = capacity))
                .build();
            let connection = start(&centre, StartRequest::default()).await.unwrap();
            let agent = centre.console().last_contact().unwrap();
            agent.say_many(100).unwrap();
            agent.end().unwrap();
            let events: Vec<_> = connection.events.collect().await;
            let mut told: Vec<MessageId> =
                super::sightings(&events).iter().filter_map(|s| s.aliases.message_id()).collect();
            told.sort();
            told.dedup();
            prop_assert_eq!(told, agent.truth().ids());
            Ok(())
        })?;
    }

    #[test]
    fn a_fault_plan_survives_json(plan in plan()) {
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<FaultPlan>(&json).unwrap(), plan);
    }
}
