//! What can be ordered to go wrong.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};
use transport_gms_v2::front::{Failover, FrontFaults, Instead, Operation};

use crate::rig::{Rig, SERVICE, events};

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_replaced_and_nothing_is_done() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let form = [("message", "Hello")];
    for (instead, failure) in [
        (Instead::Transient, (200, 1, 0)),
        (Instead::Failed { code: 249, ended: true }, (200, 2, 249)),
        (Instead::Refused { status: 400, code: 204 }, (400, -1, 204)),
        (Instead::Html(413), (413, -1, 0)),
        (Instead::Text("Forbidden".to_owned()), (200, -1, 0)),
        (Instead::BrokenJson, (200, -1, 0)),
        (Instead::RetryAfter(5), (503, -1, 0)),
        (Instead::TooManyRequests(7), (429, -1, 0)),
    ] {
        rig.instead(Operation::Send, instead.clone(), 1);
        let answer = client.call("send", &form).await;
        assert_eq!(answer.failure(), failure, "{instead:?}");
        match instead {
            Instead::Html(_) => assert_eq!(answer.header("content-type"), "text/html"),
            Instead::Text(text) => assert_eq!(answer.bytes, text),
            Instead::RetryAfter(seconds) | Instead::TooManyRequests(seconds) => {
                assert_eq!(answer.header("retry-after"), seconds.to_string());
            }
            Instead::Failed { ended, .. } => assert_eq!(answer.json()["chatEnded"], ended),
            _ => {}
        }
    }
    for instead in [Instead::Cut, Instead::Hang] {
        rig.instead(Operation::Send, instead.clone(), 1);
        let answer = rig.try_post(&client.path("send"), &[], &client.form(&form)).await;
        assert!(answer.is_none(), "{instead:?}");
        // The wait must not end the chat.
        client.refresh("0").await;
    }
    assert!(contact.truth().own_texts().is_empty());
    client.say("Hello").await;
    assert_eq!(contact.truth().own_texts(), ["Hello"], "no fault is left");
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_lost_after_everything_is_done() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let path = client.path("send");
    let mut texts = Vec::new();
    for (at, (instead, status)) in [
        (Instead::TransientAfterwards, Some(200)),
        (Instead::HtmlAfterwards(504), Some(504)),
        (Instead::TruncateAnswer, None),
        (Instead::LoseAnswer, None),
        (Instead::LoseEverything, None),
        (Instead::HangAfterwards, None),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("text {at}");
        rig.instead(Operation::Send, instead.clone(), 1);
        let answer = rig.try_post(&path, &[], &client.form(&[("message", &text)])).await;
        assert_eq!(answer.map(|answer| answer.status), status, "{instead:?}");
        client.refresh("0").await;
        texts.push(text);
    }
    assert_eq!(contact.truth().own_texts(), texts);
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_everything_cuts_the_other_connections() {
    let rig = Rig::new();
    let client = rig.start().await;
    rig.instead(Operation::Refresh, Instead::Hang, 1);
    let form = client.form(&[]);
    let path = client.path("refresh");
    let waiting = rig.try_post(&path, &[], &form);
    let cutting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.instead(Operation::Send, Instead::LoseEverything, 1);
        let answer = rig.try_post(&client.path("send"), &[], &client.form(&[("message", "Hello")])).await;
        assert!(answer.is_none());
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(waiting, cutting);
    assert!(answer.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "at once, not after its time-out");
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_late() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    rig.instead(Operation::Send, Instead::Delay(Duration::from_secs(9)), 1);
    let sending = client.say("Hello");
    tokio::pin!(sending);
    assert!(timeout(Duration::from_secs(8), &mut sending).await.is_err());
    assert_eq!(contact.truth().own_texts(), ["Hello"]);
    sending.await;
}

#[tokio::test(start_paused = true)]
async fn faults_are_for_their_operation_and_count() {
    let rig = Rig::new();
    let client = rig.start().await;
    rig.instead(Operation::Refresh, Instead::Transient, 2);
    client.say("one").await;
    for expected in [(200, 1, 0), (200, 1, 0), (200, 0, 0)] {
        assert_eq!(client.call("refresh", &[]).await.failure(), expected);
    }
    rig.faults(|faults| faults.answers.clear());
    rig.instead(Operation::RequestChat, Instead::Transient, 1);
    assert_eq!(rig.post(SERVICE, &[("nickname", "Jane")]).await.failure(), (200, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn good_replies_can_be_odd() {
    let rig = Rig::new();
    let client = rig.start().await;
    client.say("one").await;
    let good = client.refresh("1").await;
    let mut twice = events(&good);
    twice = twice.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
    let mut back = events(&good);
    back.reverse();
    rig.faults(|faults| {
        faults.duplicate_events = 1;
        faults.change_alias = 1;
    });
    let odd = client.refresh("1").await;
    assert_eq!(events(&odd), twice);
    assert_ne!(odd["alias"], good["alias"]);
    rig.faults(|faults| {
        faults.reverse_events = 1;
        faults.step_back = Some(2);
    });
    let next = client.refresh("1").await;
    assert_eq!(events(&next), back);
    assert_eq!((&next["nextPosition"], &next["alias"]), (&json!(1), &odd["alias"]));
    assert_eq!(events(&client.refresh("1").await), events(&good));
    assert_eq!(rig.front.faults(), FrontFaults::default(), "all used up");
}

#[tokio::test(start_paused = true)]
async fn another_chat_server_takes_over() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    client.say("my card is 4111 1111").await;
    contact.as_agent("Maria").say("thanks").unwrap();
    client.text("thanks").await;
    rig.faults(|faults| faults.failover = Some(Failover { mask: true, rejoin: true }));
    let after = client.refresh("1").await;
    assert_ne!(after["alias"], client.alias);
    assert_eq!(after["messages"][1]["text"], "my card is **** ****");
    let kinds: Vec<_> = events(&after)[4..].iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, [json!("ParticipantLeft"), json!("ParticipantJoined")]);
    assert_eq!(after["messages"][5]["from"]["participantId"], 3);
    client.say("and 42").await;
    assert_eq!(client.text("and 42").await["type"], "Message", "what comes later is clear");
}

#[test]
fn faults_are_data() {
    let mut faults = FrontFaults::default();
    faults.answers.push(transport_gms_v2::front::AnswerFault::new(
        Operation::Send,
        Instead::Failed { code: 249, ended: false },
        3,
    ));
    let text = serde_json::to_string(&faults).unwrap();
    assert!(text.contains(r#""operation":"sendMessage""#), "{text}");
    assert_eq!(serde_json::from_str::<FrontFaults>(&text).unwrap(), faults);
    assert_eq!(serde_json::from_str::<FrontFaults>("{}").unwrap(), FrontFaults::default());
}

#[tokio::test(start_paused = true)]
async fn a_late_call_is_carried_out_although_its_client_has_gone() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    rig.instead(Operation::Send, Instead::Late(Duration::from_secs(5)), 1);
    let patience = Duration::from_secs(3);
    let call = client.call("send", &[("message", "late")]);
    assert!(tokio::time::timeout(patience, call).await.is_err(), "nothing is answered in time");
    assert_eq!(contact.truth().own_texts(), [""; 0]);
    contact.wait_for_text("late").await;
}
