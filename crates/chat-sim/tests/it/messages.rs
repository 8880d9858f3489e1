//! Sends, echoes, typing, receipts, and everything that an agent may do.

use std::time::Duration;

use chat_core::{
    Ack, AliasKind, Chunk, ClientToken, Command, Content, ErrorKind, Interactive, Place, Primary, RawEvent,
    ReceiptKind, ReceiptSignal, Role, SessionUpdate, SystemEvent, Text, TransportEvent, TypingSignal,
    VendorCommand,
};
use chat_sim::{Centre, Profile};

use super::{Chat, centre_of, chat, heard, resume, say, shared, sightings, text, texts};

#[tokio::test(start_paused = true)]
async fn a_send_is_stored_answered_and_echoed_as_one_message() {
    let mut chat = chat(Centre::new()).await;
    chat.heard().await;
    let id = chat.say("token", "hello").await.unwrap().unwrap();
    let truth = chat.agent.truth();
    let stored = truth.newest().unwrap();
    assert_eq!((&stored.id, stored.text()), (&id, Some("hello")));
    let events = chat.heard().await;
    let [echo] = sightings(&events)[..] else { panic!("{events:?}") };
    assert_eq!(echo.aliases.message_id(), Some(id));
    assert_eq!(echo.aliases.least(AliasKind::Token).map(|alias| &*alias.value), Some("token"));
    assert_eq!(echo.time, Some(stored.time));
    assert_eq!(echo.place, Some(Place::exact(Primary::Instant(stored.time))));
    assert_eq!(echo.own, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_token_is_one_copy_where_sends_are_idempotent_and_two_where_not() {
    for (profile, copies) in [(Profile::push(), 1), (Profile::push_without_idempotency(), 2)] {
        let chat = chat(centre_of(profile)).await;
        let first = chat.say("token", "hello").await.unwrap();
        let second = chat.say("token", "hello").await.unwrap();
        assert_eq!(first == second, copies == 1);
        assert_eq!(chat.agent.truth().copies(&ClientToken::new("token")), copies);
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_without_a_token_names_the_message_alone() {
    let mut chat = chat(centre_of(Profile::push_without_echo_token())).await;
    chat.heard().await;
    let Ack::Sent(sent) = chat.submit(say("token", "hello")).await.unwrap() else { panic!() };
    let answer = sent.sighting.unwrap();
    assert_eq!((answer.content.as_ref(), answer.aliases.least(AliasKind::Token)), (None, None));
    let events = chat.heard().await;
    assert_eq!(sightings(&events)[0].aliases, answer.aliases);

    let silent = super::chat(centre_of(Profile::polling())).await;
    let Ack::Sent(sent) = silent.submit(say("token", "hello")).await.unwrap() else { panic!() };
    assert_eq!(sent.sighting, None);
}

#[tokio::test(start_paused = true)]
async fn the_echo_may_come_before_the_answer() {
    let mut chat =
        chat(centre_of(Profile::push().tuned(|profile| profile.answer_latency = Duration::from_secs(1))))
            .await;
    chat.heard().await;
    let handle = chat.connection.handle.clone();
    let sending = tokio::spawn(async move { handle.submit(say("token", "hello")).await });
    chat.agent.wait_for_text("hello").await;
    assert_eq!(chat.texts().await, ["hello"]);
    assert!(!sending.is_finished());
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_hundred_and_fifty_messages_of_one_moment_have_their_own_instants_and_order() {
    let chat = chat(Centre::new()).await;
    let ids = chat.agent.say_many(250).unwrap();
    let truth = chat.agent.truth();
    assert!(truth.items.windows(2).all(|pair| pair[0].time < pair[1].time && pair[0].id < pair[1].id));
    assert_eq!(truth.ids()[truth.items.len() - 250..], ids);
}

#[tokio::test(start_paused = true)]
async fn equal_instants_are_ordered_by_id_everywhere() {
    let chat = chat(centre_of(Profile::push().tuned(|profile| profile.equal_instants = 10))).await;
    chat.agent.say_many(40).unwrap();
    let truth = chat.agent.truth();
    assert!(truth.items.windows(2).any(|pair| pair[0].time == pair[1].time));
    assert!(truth.items.is_sorted_by_key(|item| (item.time, item.id.clone())));
}

#[tokio::test(start_paused = true)]
async fn an_index_ordered_centre_places_by_index() {
    let mut chat = chat(centre_of(Profile::push_without_history())).await;
    chat.agent.say_many(3).unwrap();
    let events = chat.heard().await;
    let places: Vec<_> = sightings(&events).iter().filter_map(|sighting| sighting.place).collect();
    let expected: Vec<_> = (1..=5).map(|index| Place::exact(Primary::Index(index, 0))).collect();
    assert_eq!(places, expected, "two joined, three said");
}

#[tokio::test(start_paused = true)]
async fn quirks_take_ids_and_times_from_live_items_and_the_history_has_them() {
    let mut chat = chat(centre_of(Profile::push().tuned(|profile| {
        profile.missing_ids = 2;
        profile.missing_times = 3;
    })))
    .await;
    chat.agent.say_many(10).unwrap();
    let events = chat.heard().await;
    let live = sightings(&events);
    assert_eq!(live.iter().filter(|sighting| sighting.aliases.is_empty()).count(), 6);
    assert_eq!(live.iter().filter(|sighting| sighting.time.is_none()).count(), 4);
    assert!(live.iter().filter(|s| s.time.is_none()).all(|s| s.place.is_some_and(|place| place.estimated)));
    assert!(chat.agent.sightings().iter().all(|item| item.time.is_some() && !item.aliases.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn texts_beyond_the_limits_are_refused_with_the_limit() {
    let chat = chat(centre_of(Profile::small_limits())).await;
    let error = chat.say("a", "01234567890").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TooLarge { limit: 10, actual: 11, unit: "characters" });
    let error = chat.say("b", "ääääääääää€€").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TooLarge { limit: 20, actual: 26, unit: "bytes" });
    assert_eq!(*chat.say("c", "").await.unwrap_err().kind(), ErrorKind::Refused);
    chat.say("d", "ääääääääää").await.unwrap();
    assert_eq!(chat.agent.truth().own_texts(), ["ääääääääää"]);
}

#[tokio::test(start_paused = true)]
async fn raw_events_of_other_types_are_refused() {
    let chat = chat(centre_of(Profile::small_limits())).await;
    let other = chat.submit(Command::Event(RawEvent::new("x", "y"))).await.unwrap_err();
    assert_eq!(*other.kind(), ErrorKind::Refused);
    chat.submit(Command::Event(RawEvent::new("application/x.small", "y"))).await.unwrap();
    assert_eq!(chat.agent.truth().events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn signals_of_the_customer_are_recorded() {
    let chat = chat(Centre::new()).await;
    let id = chat.agent.say("hi").unwrap();
    let typing = TypingSignal { on: true, preview: Some(shared("hel")) };
    let read = ReceiptSignal { message: id.clone(), kind: ReceiptKind::Read };
    chat.submit(Command::Typing(typing.clone())).await.unwrap();
    chat.submit(Command::Receipt(read.clone())).await.unwrap();
    chat.submit(Command::Notice(shared("notice"))).await.unwrap();
    chat.submit(Command::Event(RawEvent::new("acknowledged", "{}"))).await.unwrap();
    let vendor = VendorCommand { name: "describe_view", data: serde_json::json!({"token": "v"}) };
    let Ack::Vendor(answer) = chat.submit(Command::Vendor(vendor)).await.unwrap() else { panic!() };
    assert_eq!(answer["name"], "describe_view");
    let truth = chat.agent.truth();
    assert_eq!((truth.typing, truth.receipts), (vec![typing], vec![read]));
    assert_eq!((truth.notices.len(), truth.events.len(), truth.vendor.len()), (1, 1, 1));
    let item = truth.items.iter().find(|item| item.id == id).unwrap();
    assert_eq!(item.receipts[0].by, truth.customer.id.unwrap());
    let unknown = ReceiptSignal { message: "nothing".into(), kind: ReceiptKind::Read };
    assert_eq!(*chat.submit(Command::Receipt(unknown)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn receipts_go_to_the_other_side_and_the_other_tabs() {
    let mut one = chat(Centre::new()).await;
    let mut tab = resume(&one.centre, &one.connection.saved).await.unwrap();
    let said = one.agent.say("hi").unwrap();
    let own = one.say("t", "hello").await.unwrap().unwrap();
    one.heard().await;
    heard(&mut tab.events).await;
    one.submit(Command::Receipt(ReceiptSignal { message: said.clone(), kind: ReceiptKind::Delivered }))
        .await
        .unwrap();
    one.agent.gets(&own).unwrap();
    one.agent.reads(&own).unwrap();
    let mine = one.heard().await;
    let theirs = heard(&mut tab.events).await;
    assert_eq!(sightings(&theirs)[0].aliases.message_id(), Some(said));
    assert_eq!((sightings(&mine).len(), sightings(&theirs).len()), (2, 3), "not back to where it came from");
    let last = sightings(&mine)[1];
    assert_eq!((last.aliases.message_id(), &last.content), (Some(own), &None));
    assert!(last.receipts[0].delivered.unwrap() < last.receipts[0].read.unwrap());
}

#[tokio::test(start_paused = true)]
async fn agents_join_once_type_leave_and_come_back_as_themselves() {
    let mut chat = chat(Centre::new()).await;
    chat.heard().await;
    let maria = chat.agent.as_agent("Maria");
    let who = maria.join().unwrap();
    assert_eq!(maria.join().unwrap(), who, "once");
    maria.types(true).unwrap();
    maria.go_idle().unwrap();
    maria.come_back().unwrap();
    maria.leave().unwrap();
    maria.say("I am back").unwrap();
    let renamed = maria.rename("Maria S.").unwrap();
    renamed.say("new name").unwrap();
    chat.agent.as_supervisor("Sue").join().unwrap();
    let events = chat.heard().await;
    let system: Vec<_> = sightings(&events)
        .iter()
        .filter_map(|sighting| match &sighting.content {
            Some(Content::Event(event)) => Some(event.clone()),
            _ => None,
        })
        .collect();
    use SystemEvent as E;
    assert_eq!(system, [E::Joined, E::Idle, E::Returned, E::Left, E::Joined, E::Joined]);
    assert!(
        sightings(&events)[..6]
            .iter()
            .all(|s| s.from.as_ref().and_then(|from| from.id.as_ref()) == who.id.as_ref())
    );
    assert!(events.iter().any(|e| matches!(e, TransportEvent::Typing(t) if t.on && !t.own && t.who == who)));
    assert!(events.iter().any(
        |e| matches!(e, TransportEvent::Participant(u) if u.event == E::NameUpdated && u.who.id == who.id)
    ));
    assert_eq!(sightings(&events).last().unwrap().from.as_ref().unwrap().role, Role::Supervisor);
    assert_eq!(chat.agent.truth().present.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn everything_that_a_service_may_tell_arrives_typed_and_the_unknown_as_it_came() {
    let mut chat = chat(Centre::new()).await;
    let system = chat.agent.as_system();
    chat.heard().await;
    system.push_url("https://example.com/").unwrap();
    system.notice("closing soon").unwrap();
    system.unknown_item("application/x-new", "{\"a\":1}").unwrap();
    system.unknown_event("topic", "raw").unwrap();
    system.queue(Some(3)).unwrap();
    system.deep_heartbeat(Ok(())).unwrap();
    system.hint_gap().unwrap();
    system.transfer_fails().unwrap();
    let question = Interactive {
        template: "ListPicker".into(),
        title: Some("Which?".into()),
        subtitle: None,
        image: None,
        choices: Vec::new(),
        parts: Vec::new(),
        view: None,
        reference: None,
        raw: "{}".into(),
    };
    system.ask(question.clone()).unwrap();
    let events = chat.heard().await;
    let contents: Vec<_> = sightings(&events).iter().filter_map(|s| s.content.clone()).collect();
    assert_eq!(
        contents,
        [
            Content::PushUrl("https://example.com/".into()),
            Content::Notice("closing soon".into()),
            Content::Other(RawEvent::new("application/x-new", "{\"a\":1}")),
            Content::Event(SystemEvent::TransferFailed),
            Content::Interactive(Box::new(question)),
        ]
    );
    assert!(events.iter().any(|e| matches!(e, TransportEvent::Other(raw) if &*raw.body == "raw")));
    assert!(events.iter().any(|e| matches!(e, TransportEvent::Gap(_))));
    assert!(events.iter().any(
        |e| matches!(e, TransportEvent::Session(u) if matches!(**u, SessionUpdate::Queue { position: Some(3) }))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_comes_in_pieces_of_one_message_and_then_whole() {
    let mut chat = chat(Centre::new()).await;
    let bot = chat.agent.as_bot("Bot");
    bot.join().unwrap();
    chat.heard().await;
    let id = bot.begin_stream("Once ").unwrap();
    bot.stream_piece(&id, "upon ").unwrap();
    bot.say("in between").unwrap();
    bot.finish_stream(&id, "Once upon a time").unwrap();
    assert_eq!(*bot.stream_piece(&id, "x").unwrap_err().kind(), ErrorKind::Conflict);
    let events = chat.heard().await;
    let pieces: Vec<_> = sightings(&events)
        .into_iter()
        .filter(|sighting| sighting.aliases.message_id().as_ref() == Some(&id))
        .map(|sighting| (sighting.chunk, text(sighting).unwrap()))
        .collect();
    assert_eq!(
        pieces,
        [
            (Some(Chunk::Part(1)), "Once ".into()),
            (Some(Chunk::Part(2)), "upon ".into()),
            (Some(Chunk::Whole), "Once upon a time".into()),
        ]
    );
    assert_eq!(
        chat.agent.truth().texts(),
        ["Once upon a time", "in between"],
        "its place is its first piece's"
    );
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_a_higher_version_of_the_same_item() {
    let mut chat = chat(Centre::new()).await;
    let id = chat.agent.say("helo").unwrap();
    chat.agent.edit(&id, "hello").unwrap();
    chat.agent.tell_again(&id).unwrap();
    let events = chat.heard().await;
    let versions: Vec<_> = sightings(&events)
        .into_iter()
        .filter(|sighting| sighting.aliases.message_id().as_ref() == Some(&id))
        .map(|sighting| (sighting.version, text(sighting).unwrap()))
        .collect();
    assert_eq!(versions, [(0, "helo".into()), (1, "hello".into()), (1, "hello".into())]);
    assert_eq!(*chat.agent.edit(&"none".into(), "x").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_nobody_else_up() {
    let Chat { centre, mut connection, agent } =
        chat(centre_of(Profile::push().tuned(|profile| profile.channel_capacity = 2))).await;
    let mut tab = resume(&centre, &connection.saved).await.unwrap();
    agent.say_many(500).unwrap();
    connection.handle.submit(say("t", "through")).await.unwrap();
    let other = texts(&heard(&mut tab.events).await);
    assert_eq!(other.last().map(String::as_str), Some("through"));
    assert_eq!(other.len(), 501);
    assert_eq!(texts(&heard(&mut connection.events).await).len(), 501, "and the slow one misses nothing");
}

#[tokio::test(start_paused = true)]
async fn the_tap_shows_the_traffic_of_those_who_asked() {
    use chat_core::{ConnectRequest, Intent, Transport};
    let chat = chat(Centre::new()).await;
    let mut request = ConnectRequest::new(Intent::Resume(chat.connection.saved.clone()));
    request.tap = true;
    let mut tapped = chat.centre.transport().connect(request).await.unwrap();
    chat.agent.say_text(Text::markdown("**hi**")).unwrap();
    let events = heard(&mut tapped.events).await;
    let raw: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            TransportEvent::Raw(raw) => Some(&raw.body),
            _ => None,
        })
        .collect();
    assert_eq!(raw.len(), sightings(&events).len());
    assert!(raw.last().unwrap().contains("**hi**"));
}
