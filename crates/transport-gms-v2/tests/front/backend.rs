//! A backend that fails: what the client is told, and that nothing stands twice.

use std::time::Duration;

use chat_sim::{CommandKind, Fault, FaultError, FaultErrorKind, FaultRule, Point, Profile, When};
use transport_gms_v2::front::Unanswered;

use crate::rig::{Rig, SERVICE, events};

#[tokio::test(start_paused = true)]
async fn while_the_backend_is_away_the_client_may_try_again() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let network = rig.console.network();
    network.cut();
    contact.as_agent("Maria").say("while away").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.call("refresh", &[]).await.failure(), (200, 1, 0));
    assert_eq!(client.call("send", &[("message", "lost")]).await.failure(), (200, 1, 0));
    network.heal();
    let recovered = async {
        while client.call("refresh", &[]).await.failure() != (200, 0, 0) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), recovered).await.unwrap();
    client.text("while away").await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    client.refresh("0").await;
    assert!(contact.truth().own_texts().is_empty(), "what was answered with 1 was taken back");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_begins_too_late_is_ended() {
    for asynchronous in ["false", "true"] {
        let rig = Rig::tuned(|config| config.start_within = Duration::from_secs(5));
        let slow = FaultRule::new(Point::Connect, Fault::Delay(8_000)).when(When::First(1));
        rig.console.network().add(slow);
        let form = [("nickname", "Jane"), ("userData[GCTI_Chat_AsyncMode]", asynchronous)];
        assert_eq!(rig.post(SERVICE, &form).await.failure(), (200, 2, 240));
        let contact = rig.console.wait_for_contact().await;
        contact.wait_for(|truth| truth.ended.is_some()).await;
        rig.start().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_of_which_nobody_knows_is_answered_so() {
    for (unanswered, failure) in
        [(Unanswered::Transient, (200, 1, 0)), (Unanswered::GatewayTimeout, (504, -1, 0))]
    {
        let rig = Rig::tuned(|config| config.unanswered = unanswered);
        let (client, contact) = rig.chat().await;
        let network = rig.console.network();
        network
            .add(FaultRule::new(Point::Submit(CommandKind::Text), Fault::Delay(6_000)).when(When::First(1)));
        assert_eq!(client.call("send", &[("message", "slow")]).await.failure(), failure);
        // It arrives later, and stands once.
        client.text("slow").await;
        assert_eq!(contact.truth().own_texts(), ["slow"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_slow_send_is_taken_back() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let network = rig.console.network();
    network.add(FaultRule::new(Point::Submit(CommandKind::Text), Fault::Delay(9_000)).when(When::First(1)));
    let (slow, behind) = tokio::join!(
        client.call("send", &[("message", "slow")]),
        client.call("send", &[("message", "behind")])
    );
    assert_eq!((slow.failure(), behind.failure()), ((200, 1, 0), (200, 1, 0)));
    client.text("slow").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(contact.truth().own_texts(), ["slow"]);
    client.say("behind").await;
    assert_eq!(contact.truth().own_texts(), ["slow", "behind"]);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_may_have_arrived_is_never_sent_again() {
    for (name, profile) in [
        ("idempotent", Profile::push()),
        ("not idempotent", Profile::push_without_idempotency()),
        ("polling", Profile::polling()),
    ] {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        let network = rig.console.network();
        // The request is held up, then cut: it did not arrive, but nobody can know.
        network
            .add(FaultRule::new(Point::Submit(CommandKind::Text), Fault::Delay(5_000)).when(When::First(1)));
        assert_eq!(client.call("send", &[("message", "once")]).await.failure(), (200, 1, 0), "{name}");
        network.drop_connections();
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.call("refresh", &[("transcriptPosition", "0")]).await;
        }
        // The client has looked for it in vain, and sends it again.
        client.say("once").await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.refresh("0").await;
        }
        assert_eq!(contact.truth().own_texts(), ["once"], "{name}");
        let all = events(&client.refresh("1").await);
        assert_eq!(all.iter().filter(|event| event["text"] == "once").count(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_stored_and_cut_stands_once() {
    for (name, profile) in Profile::all() {
        let rig = Rig::with(profile, |_| {});
        let (client, contact) = rig.chat().await;
        rig.console.network().store_then_cut(CommandKind::Text);
        let answer = client.call("send", &[("message", "once")]).await;
        assert!(matches!(answer.failure(), (200, 0 | 1, 0)), "{name}: {answer:?}");
        client.text("once").await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let all = events(&client.refresh("1").await);
        assert_eq!(all.iter().filter(|event| event["text"] == "once").count(), 1, "{name}");
        assert_eq!(contact.truth().own_texts(), ["once"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_backend_refuses_starts_nothing() {
    let rig = Rig::new();
    let network = rig.console.network();
    network.cut();
    let refused = rig.post(SERVICE, &[("nickname", "Jane")]).await;
    assert_eq!(refused.failure(), (200, 2, 240));
    assert_eq!(rig.front.open_chats(), 0);
    network.heal();
    rig.start().await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_the_backend_no_longer_knows_is_over() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.forget();
    rig.console.network().drop_connections();
    let ended = client.until(|event| event["type"] == "ParticipantLeft").await;
    assert_eq!(ended.last().unwrap()["from"]["type"], "Client");
    assert_eq!(rig.front.open_chats(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_that_does_not_come_through_can_be_repeated() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let network = rig.console.network();
    network.cut();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.call("disconnect", &[]).await.failure(), (200, 1, 0));
    network.heal();
    let ended = async {
        while client.call("disconnect", &[]).await.failure() != (200, 2, 249) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), ended).await.unwrap();
    contact.wait_for(|truth| truth.ended.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_backend_answers_no_poll_the_client_may_try_again() {
    let rig = Rig::with(Profile::polling(), |_| {});
    let (client, contact) = rig.chat().await;
    let error = Fault::Error(FaultError::new(FaultErrorKind::Server));
    let network = rig.console.network();
    network.add(FaultRule::new(Point::Submit(CommandKind::Poll), error).when(When::First(3)));
    contact.as_agent("Maria").say("Hi!").unwrap();
    let mut answers = Vec::new();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answers.push(client.call("refresh", &[]).await.failure().1);
    }
    answers.dedup();
    assert!(answers.ends_with(&[1, 0]) && answers.len() <= 3, "{answers:?}");
    client.text("Hi!").await;
}
