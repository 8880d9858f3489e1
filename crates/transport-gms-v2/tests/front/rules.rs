//! Who may call, what is refused, and each knob.

use std::time::Duration;

use bytes::Bytes;
use chat_sim::Profile;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use transport_gms_v2::front::{IdentityCheck, Inactivity, Refusals};

use crate::rig::{Client, Rig, SERVICE, events, lines};

#[tokio::test(start_paused = true)]
async fn a_start_needs_a_name_and_takes_no_bad_address() {
    let rig = Rig::new();
    for (form, code) in [
        (&[("subject", "no name")][..], 161),
        (&[("nickname", " ")], 161),
        (&[("firstName", "Ana")], 103),
        (&[("lastName", "Ruiz")], 102),
        (&[("nickname", "Jane"), ("emailAddress", "not-an-email")], 364),
    ] {
        let answer = rig.post(SERVICE, form).await;
        assert_eq!(answer.failure(), (400, -1, code), "{form:?}");
        let advice = answer.json()["errors"][0]["advice"].as_str().unwrap().to_owned();
        assert!(advice.contains("referenceId[20000"), "{advice}");
    }
    let started =
        rig.post(SERVICE, &[("firstName", "Ana"), ("lastName", "Ruiz"), ("nickname", "")]).await.ok();
    assert_eq!(started["messages"][0]["from"]["nickname"], "Ana Ruiz");
    assert!(rig.console.contacts().len() == 1, "refused starts start nothing");
}

#[tokio::test(start_paused = true)]
async fn refusals_can_have_status_200() {
    let rig = Rig::tuned(|config| config.refusals = Refusals::StatusCode);
    let answer = rig.post(SERVICE, &[("subject", "no name")]).await;
    assert_eq!(answer.failure(), (200, 2, 161));
    assert_eq!(answer.json()["chatEnded"], false);
}

#[tokio::test(start_paused = true)]
async fn a_start_can_be_multipart() {
    let rig = Rig::new();
    let body = "--x\r\nContent-Disposition: form-data; name=\"nickname\"\r\n\r\nJane\r\n\
                --x\r\nContent-Disposition: form-data; name=\"userData[a]\"\r\n\r\nb & c\r\n--x--\r\n";
    let request = Request::post(SERVICE)
        .header("host", "gms.example.test")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    rig.send(request).await.unwrap().ok();
    let truth = rig.console.last_contact().unwrap().truth();
    assert_eq!(truth.user_data.0.get("a").map(String::as_str), Some("b & c"));
}

#[tokio::test(start_paused = true)]
async fn unknown_services_paths_and_methods_are_pages() {
    let rig = Rig::new();
    let client = rig.start().await;
    for path in ["/genesys/2/chat/nope", "/elsewhere", "/genesys/2/chat/customer-support/c/fly"] {
        let answer = rig.post(path, &[("nickname", "Jane")]).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, "text/html"), "{path}");
    }
    let request = Request::get(client.path("refresh")).header("host", "gms").body(Full::default()).unwrap();
    assert_eq!(rig.send(request).await.unwrap().status, 405);
}

#[tokio::test(start_paused = true)]
async fn a_chat_belongs_to_its_service_and_its_key() {
    let rig = Rig::tuned(|config| config.services.push("sales".to_owned()));
    let client = rig.start().await;
    let other = rig.post(&format!("/genesys/2/chat/sales/{}/refresh", client.chat), &client.form(&[])).await;
    assert_eq!(other.failure(), (200, 2, 249));
    let denied = rig.post(&client.path("refresh"), &[("secureKey", "deadbeefdeadbeef")]).await;
    assert_eq!(denied.failure(), (200, 2, 401));
    let json = denied.json();
    assert_eq!((&json["chatEnded"], &json["secureKey"]), (&json!(true), &json!(null)));
    assert_eq!(rig.post(&client.path("refresh"), &[]).await.failure(), (200, 2, 401));
    let unknown = rig.post(&format!("{SERVICE}/0001XX/refresh"), &client.form(&[])).await;
    assert_eq!(unknown.failure(), (200, 2, 249));
    assert_eq!(unknown.json()["chatId"], "0001XX");
    rig.post(&client.path("refresh"), &[("secureKey", &client.key)]).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_strict_service_wants_user_and_alias_too() {
    let rig = Rig::tuned(|config| config.identity = IdentityCheck::Strict);
    let client = rig.start().await;
    client.call("refresh", &[]).await.ok();
    let key = ("secureKey", &*client.key);
    let alias = ("alias", &*client.alias);
    let user = ("userId", &*client.user);
    let path = client.path("refresh");
    assert_eq!(rig.post(&path, &[key, alias]).await.failure(), (200, 2, 401));
    assert_eq!(rig.post(&path, &[key, user, ("alias", "1")]).await.failure(), (200, 1, 0));
    assert_eq!(rig.post(&path, &[key, user]).await.failure(), (200, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_wants_its_key_under_either_name() {
    let rig = Rig::tuned(|config| config.api_key = Some("k-1".into()));
    let form = [("nickname", "Jane")];
    for headers in [&[][..], &[("apikey", "k-2")]] {
        let answer = rig.try_post(SERVICE, headers, &form).await.unwrap();
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["fault"]["faultstring"], "Invalid ApiKey");
    }
    for name in ["apikey", "x-api-key"] {
        rig.try_post(SERVICE, &[(name, "k-1")], &form).await.unwrap().ok();
    }
}

#[tokio::test(start_paused = true)]
async fn an_affinity_cookie_is_wanted_back() {
    let rig = Rig::tuned(|config| config.affinity_cookie = true);
    let started = rig.post(SERVICE, &[("nickname", "Jane")]).await;
    assert_eq!(started.header("set-cookie"), "GMSAFFINITY=node1; Path=/; HttpOnly");
    let client = Client::of(&rig, &started.ok());
    assert_eq!(client.call("refresh", &[]).await.failure(), (200, 1, 0));
    let cookie = [("cookie", "a=b; GMSAFFINITY=node1")];
    rig.try_post(&client.path("refresh"), &cookie, &client.form(&[])).await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn an_old_service_says_less_at_the_start() {
    let rig = Rig::tuned(|config| config.legacy_start = true);
    let started = rig.start().await.started;
    assert!(started.get("chatEnded").is_none() && started.get("nextPosition").is_none());
    assert_eq!(lines(&events(&started)), ["1 ParticipantJoined Jane#1 -"]);
}

#[tokio::test(start_paused = true)]
async fn browsers_may_call_from_where_they_are_let() {
    let rig =
        Rig::tuned(|config| config.allowed_origins = Some(vec!["https://shop.example.test".to_owned()]));
    let form = [("nickname", "Jane")];
    for (origin, allowed) in [("https://shop.example.test", true), ("https://evil.example.test", false)] {
        let answer = rig.try_post(SERVICE, &[("origin", origin)], &form).await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin") == origin, allowed);
        assert_eq!(answer.header("access-control-allow-credentials") == "true", allowed);
    }
    let request = Request::options(SERVICE)
        .header("host", "gms")
        .header("origin", "https://shop.example.test")
        .header("access-control-request-headers", "apikey")
        .body(Full::default())
        .unwrap();
    let answer = rig.send(request).await.unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, "apikey"));
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example.test");
}

#[tokio::test(start_paused = true)]
async fn long_texts_are_refused_and_the_chat_goes_on() {
    let rig = Rig::tuned(|config| config.message_max_chars = 10);
    let (client, contact) = rig.chat().await;
    for (operation, text) in
        [("send", "01234567890"), ("refresh", "01234567890"), ("startTyping", "01234567890")]
    {
        assert_eq!(
            client.call(operation, &[("message", text)]).await.failure(),
            (400, -1, 204),
            "{operation}"
        );
    }
    client.say("ééééééééée").await;
    assert_eq!(contact.truth().own_texts(), ["ééééééééée"]);
    assert_eq!(client.call("send", &[("message", "")]).await.failure(), (400, -1, 249));
    let small = Rig::with(Profile::small_limits(), |_| {});
    let client = small.start().await;
    assert_eq!(
        client.call("send", &[("message", "longer than the backend takes")]).await.failure(),
        (400, -1, 204)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_cannot_do_is_refused_and_the_chat_goes_on() {
    let rig = Rig::with(Profile::minimal(), |_| {});
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    for (operation, form) in [
        ("customNotice", ("message", "bye")),
        ("pushUrl", ("pushUrl", "https://shop.example.test")),
        ("updateNickname", ("nickname", "Joan")),
        ("updateData", ("userData[a]", "b")),
        ("readReceipt", ("transcriptPosition", "9")),
    ] {
        let answer = client.call(operation, &[form]).await;
        assert_eq!(answer.failure(), (200, 2, 249), "{operation}");
        assert_eq!(answer.json()["chatEnded"], false);
    }
    assert_eq!(client.refresh("1").await["nextPosition"], 4, "nothing of it is told");
    client.call("startTyping", &[("message", "I")]).await.ok();
    assert_eq!(client.refresh("1").await["messages"][0]["from"]["nickname"], "Jane");
}

#[tokio::test(start_paused = true)]
async fn there_is_an_end_to_the_number_of_chats() {
    let rig = Rig::tuned(|config| config.chats_max = 1);
    let client = rig.start().await;
    let refused = rig.post(SERVICE, &[("nickname", "Joe")]).await;
    assert_eq!(refused.failure(), (200, 2, 240));
    assert_eq!(refused.json()["chatEnded"], true);
    client.call("disconnect", &[]).await.ok();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let form = [("nickname", "Joe")];
    let (one, other) = tokio::join!(rig.post(SERVICE, &form), rig.post(SERVICE, &form));
    assert_eq!(
        [one.failure(), other.failure()],
        [(200, 0, 0), (200, 2, 240)],
        "starts at once count as well"
    );
}

#[tokio::test(start_paused = true)]
async fn a_chat_without_requests_is_over_after_45_seconds() {
    let rig = Rig::new();
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(44)).await;
        client.refresh("0").await;
    }
    assert!(contact.truth().ended.is_none());
    tokio::time::sleep(Duration::from_secs(46)).await;
    contact.wait_for(|truth| truth.ended.is_some()).await;
    let reply = client.refresh("4").await;
    assert_eq!(reply["chatEnded"], true);
    assert_eq!(lines(&events(&reply)), ["4 ParticipantLeft Jane#1 -"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.call("refresh", &[("transcriptPosition", "1")]).await.failure(), (200, 2, 249));
    assert_eq!(rig.front.running_tasks(), 0, "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_chat_waits() {
    for honoured in [true, false] {
        let rig = Rig::tuned(|config| config.asynchronous = honoured);
        let client = rig.start_with(&[("userData[GCTI_Chat_AsyncMode]", "true")]).await;
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        let answer = client.call("refresh", &[("transcriptPosition", "1")]).await;
        assert_eq!(answer.json()["statusCode"] == 0, honoured);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_in_which_nothing_happens_is_warned_and_closed() {
    let rig = Rig::tuned(|config| config.inactivity = Some(Inactivity::default()));
    let (client, contact) = rig.chat().await;
    let wait = async |seconds: u64| {
        for _ in 0..seconds / 5 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            client.refresh("0").await;
        }
    };
    wait(200).await;
    client.say("still here").await;
    wait(250).await;
    assert_eq!(client.refresh("1").await["nextPosition"], 3, "a message counts");
    wait(10).await;
    let alert = client.event("Notice").await;
    assert_eq!(alert["from"], json!({"nickname": "system", "participantId": 2, "type": "External"}));
    wait(30).await;
    client.say("once more").await;
    wait(250).await;
    assert_eq!(contact.truth().ended, None, "a message after the warning counts");
    wait(45).await;
    assert_eq!(contact.truth().ended, None, "not before its time");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let reply = client.refresh("5").await;
    assert_eq!(reply["chatEnded"], true, "{reply}");
    let kinds: Vec<_> = events(&reply).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, [json!("Notice"), json!("Notice"), json!("ParticipantLeft")]);
    contact.wait_for(|truth| truth.ended.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn who_warns_has_not_come_and_does_not_go() {
    let rig = Rig::tuned(|config| {
        let mut rules = Inactivity::default();
        rules.alert_after = Duration::from_secs(20);
        config.inactivity = Some(rules);
    });
    let (client, contact) = rig.chat().await;
    contact.as_agent("Maria").say("Hi!").unwrap();
    client.text("Hi!").await;
    tokio::time::sleep(Duration::from_secs(21)).await;
    client.event("Notice").await;
    contact.as_agent("Maria").end().unwrap();
    client.event("ParticipantLeft").await;
    let told = lines(&events(&client.refresh("4").await));
    assert_eq!(told[0].split_once(" This").unwrap().0, "4 Notice system#3");
    assert_eq!(told[1..], ["5 ParticipantLeft Maria#2 -", "6 ParticipantLeft Jane#1 -"]);
}

#[tokio::test(start_paused = true)]
async fn notices_and_names_are_no_activity() {
    for (operation, key, value, counts) in [
        ("customNotice", "message", "{}", false),
        ("updateNickname", "nickname", "Janet", false),
        ("pushUrl", "pushUrl", "https://shop.example.test", true),
    ] {
        let rig = Rig::tuned(|config| {
            let mut rules = Inactivity::default();
            rules.alert_after = Duration::from_secs(20);
            config.inactivity = Some(rules);
        });
        let client = rig.start().await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        client.call(operation, &[(key, value)]).await.ok();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let told = events(&client.refresh("1").await);
        let warned = told.iter().any(|event| event["type"] == "Notice");
        assert_eq!(warned, !counts, "{operation}: {told:?}");
    }
}
