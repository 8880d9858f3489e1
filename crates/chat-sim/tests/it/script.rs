//! Scripts: the steps, their times, their end.

use std::time::Duration;

use chat_core::{Chunk, Content, EndReason, ErrorKind, Role, SystemEvent, TransportEvent};
use chat_sim::{Centre, Script, Step};
use futures::StreamExt;

use super::{chat, sightings, text, texts};

fn scripted(json: &str) -> Centre {
    Centre::builder().script(Script::from_json(json).unwrap()).build()
}

#[tokio::test(start_paused = true)]
async fn a_script_plays_its_steps_in_order_and_in_time() {
    let centre = scripted(
        r#"[{"join": {"name": "Bot", "role": "bot"}}, {"say": "Welcome"}, {"queue": 2}, "leave",
            {"wait": 5000}, {"join": {"name": "Maria"}}, {"type": true}, {"say": "Hello"},
            {"send_file": {"name": "a.txt", "content_type": "text/plain", "text": "abc"}},
            "idle", "return", {"transfer": "Tom"}, {"burst": 3}, {"notice": "n"}, {"push_url": "https://example.com"},
            "transfer_fails", {"event": "workflow_cancelled"}, "end"]"#,
    );
    let began = tokio::time::Instant::now();
    let mut chat = chat(centre).await;
    let events: Vec<_> = chat.connection.events.by_ref().collect().await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(texts(&events), ["Welcome", "Hello", "message 1", "message 2", "message 3"]);
    assert!(matches!(events.last(), Some(TransportEvent::Ended(EndReason::EndedByService))));
    let truth = chat.agent.truth();
    assert_eq!(truth.segments.len(), 2);
    assert_eq!(truth.files.len(), 1);
    let roles: Vec<_> = truth.items.iter().filter(|i| i.text().is_some()).map(|i| &i.from.role).collect();
    assert_eq!(roles, [&Role::Bot, &Role::Agent, &Role::Agent, &Role::Agent, &Role::Agent]);
    let by = |name: &str| truth.items.iter().filter(|i| i.from.name.as_deref() == Some(name)).count();
    assert!(by("Maria") > 0 && by("Tom") > 0);
    let has = |content: Content| truth.items.iter().any(|item| item.content == content);
    for event in [
        SystemEvent::Idle,
        SystemEvent::Returned,
        SystemEvent::TransferSucceeded,
        SystemEvent::TransferFailed,
        SystemEvent::WorkflowCancelled,
    ] {
        assert!(has(Content::Event(event.clone())), "{event:?}");
    }
    assert!(has(Content::Notice("n".into())) && has(Content::PushUrl("https://example.com".into())));
}

#[tokio::test(start_paused = true)]
async fn a_script_answers_each_message_once() {
    let centre = scripted(
        r#"[{"repeat": {"times": 2, "steps": ["wait_for_customer", "read", {"answer": "You said: "}]}},
            {"say": "That is enough"}]"#,
    );
    let mut chat = chat(centre).await;
    let first = chat.say("1", "one").await.unwrap().unwrap();
    chat.agent.wait_for(|truth| truth.texts().contains(&"You said: one")).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    chat.say("2", "two").await.unwrap();
    chat.agent.wait_for(|truth| truth.texts().contains(&"That is enough")).await;
    assert_eq!(chat.texts().await, ["one", "You said: one", "two", "You said: two", "That is enough"]);
    let truth = chat.agent.truth();
    assert!(truth.items.iter().find(|item| item.id == first).unwrap().receipts[0].read.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_script_streams_an_answer() {
    let centre = scripted(r#"[{"stream": {"pieces": ["a", "b", "c"], "every": 100}}, "end"]"#);
    let mut chat = chat(centre).await;
    let events: Vec<_> = chat.connection.events.by_ref().collect().await;
    let pieces: Vec<_> = sightings(&events)
        .into_iter()
        .filter(|sighting| sighting.chunk.is_some())
        .map(|sighting| (sighting.chunk.unwrap(), text(sighting).unwrap()))
        .collect();
    let part = |number, text: &str| (Chunk::Part(number), text.to_owned());
    assert_eq!(pieces, [part(1, "a"), part(2, "b"), part(3, "c"), (Chunk::Whole, "abc".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_script_stops_with_its_chat_and_its_centre() {
    let endless =
        Script::new([Step::Repeat { times: 0, steps: vec![Step::Wait(1_000), Step::Say("x".into())] }]);
    let centre = Centre::builder().script(endless).build();
    let first = chat(centre.clone()).await;
    first.agent.wait_for(|truth| truth.texts().len() == 3).await;
    first.agent.end().unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(first.agent.truth().texts().len(), 3);
    let second = chat(centre).await;
    drop((first, second));
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(alive, 0, "no task outlives its centre");
}

#[test]
fn a_script_survives_json_and_a_wrong_one_is_refused() {
    let demo = Script::demo();
    let json = serde_json::to_string(&demo).unwrap();
    assert_eq!(Script::from_json(&json).unwrap(), demo);
    assert_eq!(*Script::from_json(r#"[{"sing": 1}]"#).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn the_demo_answers() {
    let centre = Centre::builder().script(Script::demo()).build();
    let chat = chat(centre).await;
    chat.agent.wait_for(|truth| truth.texts().len() == 2).await;
    chat.say("t", "my order is late").await.unwrap();
    chat.agent.wait_for(|truth| truth.texts().last() == Some(&"I see: my order is late")).await;
}
