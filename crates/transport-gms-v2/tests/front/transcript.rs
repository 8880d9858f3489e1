//! What the centre does, as the service's transcript tells it.

use chat_core::{Content, RawEvent, SystemEvent, Text};
use chat_sim::Profile;
use serde_json::{Value, json};
use transport_gms_v2::front::BotStyle;

use crate::rig::{Rig, events, lines};

#[tokio::test(start_paused = true)]
async fn an_agent_who_closes_leaves_before_the_client_in_one_batch() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    agent.say("Goodbye!").unwrap();
    client.text("Goodbye!").await;
    agent.end().unwrap();
    loop {
        let reply = client.call("refresh", &[("transcriptPosition", "4")]).await.ok();
        if reply["chatEnded"] == false {
            assert_eq!(reply["messages"], json!([]));
            tokio::task::yield_now().await;
            continue;
        }
        assert_eq!(lines(&events(&reply)), ["4 ParticipantLeft Maria#2 -", "5 ParticipantLeft Jane#1 -"]);
        break;
    }
    assert_eq!(client.call("refresh", &[("transcriptPosition", "6")]).await.failure(), (200, 2, 249));
}

#[tokio::test(start_paused = true)]
async fn participants_have_a_new_id_after_a_return() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    agent.say("one").unwrap();
    agent.leave().unwrap();
    agent.say("two").unwrap();
    client.text("two").await;
    assert_eq!(
        lines(&events(&client.refresh("2").await)),
        [
            "2 ParticipantJoined Maria#2 -",
            "3 Message Maria#2 one",
            "4 ParticipantLeft Maria#2 -",
            "5 ParticipantJoined Maria#3 -",
            "6 Message Maria#3 two",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn agents_typing_stands_for_a_while_and_leaves_a_gap() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    agent.types(true).unwrap();
    let typing = client.event("TypingStarted").await;
    assert_eq!(typing["from"]["nickname"], "Maria");
    agent.say("Hi!").unwrap();
    let message = client.text("Hi!").await;
    assert!(message["index"].as_u64() > typing["index"].as_u64());
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        client.refresh("0").await;
    }
    let left = events(&client.refresh("1").await);
    assert!(left.iter().all(|event| event["type"] != "TypingStarted"), "{left:?}");
    assert!(left.iter().any(|event| event == &message));
    let indexes: Vec<_> = left.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert!(indexes.is_sorted() && indexes.last().unwrap() - indexes[0] >= indexes.len() as u64, "a gap");
}

#[tokio::test(start_paused = true)]
async fn events_that_concern_agents_alone_are_gaps() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    agent.join().unwrap();
    agent.go_idle().unwrap();
    agent.come_back().unwrap();
    agent.say("Hi!").unwrap();
    let message = client.text("Hi!").await;
    assert_eq!(message["index"], 5);
    assert_eq!(events(&client.refresh("3").await), [message]);
}

#[tokio::test(start_paused = true)]
async fn a_bot_is_told_in_either_way() {
    for (style, kind, marked) in [(BotStyle::Marked, "Agent", true), (BotStyle::Typed, "Bot", false)] {
        let rig = Rig::tuned(|config| config.bots = style);
        let (client, contact) = rig.chat().await;
        contact.as_bot("Helper").say("I am a virtual assistant").unwrap();
        let message = client.text("I am a virtual assistant").await;
        assert_eq!(message["from"], json!({"nickname": "Helper", "participantId": 2, "type": kind}));
        let joined = &events(&client.refresh("2").await)[0];
        assert_eq!(joined["from"]["type"], kind);
        assert_eq!(joined["eventAttributes"]["GCTI_SYSTEM"]["party-info"]["style"] == "BOT", marked);
    }
}

#[tokio::test(start_paused = true)]
async fn supervisors_and_the_system_have_types_of_their_own() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_supervisor("Lee").join().unwrap();
    contact.as_system().say("All agents are busy.").unwrap();
    assert_eq!(client.text("All agents are busy.").await["from"]["type"], "External");
    assert_eq!(events(&client.refresh("2").await)[0]["from"]["type"], "Supervisor");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_centre_says_is_told() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    agent.push_url("https://shop.example.test/returns").unwrap();
    agent.notice(r#"{"action":"showForm"}"#).unwrap();
    contact.as_system().notice("standard notice").unwrap();
    agent.say_text(Text::markdown("**bold**")).unwrap();
    agent.unknown_item("ReactionAdded", "👍").unwrap();
    agent.unknown_event("x-ray", "{}").unwrap();
    agent.event(SystemEvent::TransferFailed).unwrap();
    agent.post(Content::Other(RawEvent::new("", "raw"))).unwrap();
    client.text("raw").await;
    agent.rename("Mary").unwrap().say("last").unwrap();
    client.text("last").await;
    let told: Vec<Value> = events(&client.refresh("2").await);
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["text"].as_str().unwrap_or_default()))
        .filter(|(kind, _)| *kind != "ParticipantJoined")
        .collect();
    for expected in [
        ("PushUrl", "https://shop.example.test/returns"),
        ("CustomNotice", r#"{"action":"showForm"}"#),
        ("Notice", "standard notice"),
        ("Message", "**bold**"),
        ("ReactionAdded", "👍"),
        ("x-ray", "{}"),
        ("CustomNotice", r#"{"event":"transfer_failed"}"#),
        ("CustomNotice", "raw"),
        ("NicknameUpdated", ""),
        ("Message", "last"),
    ] {
        assert_eq!(told.iter().filter(|one| **one == expected).count(), 1, "{expected:?} in {told:?}");
    }
    assert_eq!(client.text("last").await["from"]["nickname"], "Mary");
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_typing_and_then_one_message() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let bot = contact.as_bot("Helper");
    let id = bot.begin_stream("One ").unwrap();
    client.event("TypingStarted").await;
    bot.stream_piece(&id, "two ").unwrap();
    bot.finish_stream(&id, "One two three").unwrap();
    client.text("One two three").await;
    let texts: Vec<_> = events(&client.refresh("1").await)
        .iter()
        .filter(|event| event["type"] == "Message")
        .map(|event| event["text"].clone())
        .collect();
    assert_eq!(texts, [json!("One two three")]);
}

#[tokio::test(start_paused = true)]
async fn a_corrected_text_is_a_further_message() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let agent = contact.as_agent("Maria");
    let id = agent.say("Thrusday").unwrap();
    client.text("Thrusday").await;
    agent.edit(&id, "Thursday").unwrap();
    client.text("Thursday").await;
    assert_eq!(
        lines(&events(&client.refresh("3").await)),
        ["3 Message Maria#2 Thrusday", "4 Message Maria#2 Thursday"]
    );
}

/// Every kind of centre: what both sides say stands once, in order.
#[tokio::test(start_paused = true)]
async fn over_every_kind_of_centre_everything_stands_once() {
    for (name, profile) in Profile::all() {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        let agent = contact.as_agent("Maria");
        for round in 0..3 {
            let (ours, theirs) = (format!("c {round}"), format!("a {round}"));
            client.say(&ours).await;
            client.text(&ours).await;
            agent.say(theirs.as_str()).unwrap();
            client.text(&theirs).await;
        }
        let texts: Vec<_> = events(&client.refresh("1").await)
            .iter()
            .filter(|event| event["type"] == "Message")
            .map(|event| event["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(texts, ["c 0", "a 0", "c 1", "a 1", "c 2", "a 2"], "{name}");
    }
}
