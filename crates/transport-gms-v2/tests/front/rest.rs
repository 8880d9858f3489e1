//! A chat over REST: start, send, refresh, disconnect; what the transcript shows and where its positions lead.

use serde_json::json;

use crate::rig::{Rig, SERVICE, events, lines};

#[tokio::test(start_paused = true)]
async fn a_chat_begins_with_its_client_in_it() {
    let rig = Rig::new();
    for path in [SERVICE.to_owned(), format!("{SERVICE}/")] {
        let started = rig.post(&path, &[("nickname", "Jane"), ("userData[orderId]", "A-17")]).await.ok();
        assert_eq!(lines(&events(&started)), ["1 ParticipantJoined Jane#1 -"]);
        assert_eq!(started["messages"][0]["from"]["type"], "Client");
        assert_eq!(started["messages"][0]["utcTime"].as_i64().unwrap() % 1000, 0);
        assert_eq!((&started["chatEnded"], &started["nextPosition"]), (&json!(false), &json!(2)));
        let contact = rig.console.last_contact().unwrap();
        assert_eq!(contact.truth().user_data.0.get("orderId").map(String::as_str), Some("A-17"));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_there_and_back() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let sent = client.say("Hello & goodbye").await;
    assert_eq!((&sent["messages"], &sent["nextPosition"]), (&json!([]), &json!(3)));
    contact.wait_for_text("Hello & goodbye").await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    let all = events(&client.refresh("1").await);
    assert_eq!(
        lines(&all),
        [
            "1 ParticipantJoined Jane#1 -",
            "2 Message Jane#1 Hello & goodbye",
            "3 ParticipantJoined Maria#2 -",
            "4 Message Maria#2 Hi!",
        ]
    );
    assert_eq!(all[1]["messageType"], "text");
    assert_eq!(all[3]["from"]["type"], "Agent");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_the_chat() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    let ended = client.call("disconnect", &[]).await.ok();
    assert_eq!((&ended["chatEnded"], &ended["messages"]), (&json!(true), &json!([])));
    contact.wait_for(|truth| truth.ended.is_some()).await;
    assert_eq!(lines(&events(&client.refresh("2").await)), ["2 ParticipantLeft Jane#1 -"]);
    assert_eq!(client.call("disconnect", &[]).await.failure(), (200, 2, 249));
    assert_eq!(client.call("send", &[("message", "too late")]).await.failure(), (200, 2, 249));
}
