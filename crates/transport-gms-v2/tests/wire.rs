//! The shapes against the samples: everything decodes, encodes to the same, and survives any damage.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/samples.rs"]
mod samples;

use chat_core::UserData;
use proptest::prelude::*;
use samples::{damages, envelopes, sample, samples};
use serde_json::{Value, json};
use transport_gms_v2::wire::*;

fn read(value: &Value) -> Reply {
    Reply::read(&value.to_string()).unwrap()
}

#[test]
fn every_envelope_reads_and_writes_to_the_same() {
    let mut checked = 0;
    for (name, envelope) in envelopes() {
        // Damaged ones cannot come out as they went in; a gateway's answer is no envelope.
        if name.starts_with("bad-0") || name == "rest-83-gateway-401" {
            continue;
        }
        let reply = read(&envelope);
        assert_eq!(serde_json::from_str::<Value>(&reply.to_json()).unwrap(), envelope, "{name}");
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn only_the_unknown_types_of_the_samples_are_unknown() {
    for (name, envelope) in envelopes() {
        for event in read(&envelope).events() {
            let party = event.from.as_ref().and_then(|from| from.kind.as_ref());
            let unknown = matches!(event.kind, Some(EventType::Other(_)) | None)
                || matches!(party, Some(PartyType::Other(_)));
            assert_eq!(unknown, name == "rest-48-unknown-type" && event.index == Some(46), "{name}");
        }
    }
}

/// The parameters of a call, as pairs.
fn pairs(request: &Value) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let form = request["form"]
        .as_array()
        .map(|form| form.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect());
    let part = |part: &Value| Some((text(&part["name"]), part["value"].as_str()?.to_owned()));
    form.or_else(|| Some(request["parts"].as_array()?.iter().filter_map(part).collect()))
}

fn sorted(mut pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    pairs.sort();
    pairs
}

fn owned(pairs: Vec<(std::borrow::Cow<'static, str>, String)>) -> Vec<(String, String)> {
    sorted(pairs.into_iter().map(|(key, value)| (key.into_owned(), value)).collect())
}

#[test]
fn every_rest_call_is_routed_read_and_written_to_the_same() {
    let mut seen = Vec::new();
    for (name, sample) in samples() {
        let request = &sample["request"];
        let (Some(path), Some(pairs)) = (request["path"].as_str(), pairs(request)) else { continue };
        let Some(path) = path.strip_prefix("/genesys/2/chat/") else { continue };
        let path = path.find('/').map_or("", |at| &path[at..]);
        let route = Operation::from_rest_path(path).unwrap_or_else(|| panic!("{name}: {path}"));
        let again = route.operation.rest_path(route.chat_id.as_deref(), route.file_id.as_deref()).unwrap();
        assert_eq!(again, path.trim_end_matches('/'), "{name}");

        let parameters = Parameters::from_pairs(route.operation, pairs.iter().map(|(k, v)| (k, v))).unwrap();
        // What is empty says nothing, except a message.
        let said = |(key, value): &(String, String)| {
            !value.is_empty() || key == "message" || key.contains('[') || key == "text"
        };
        let expected = sorted(pairs.into_iter().filter(said).collect());
        assert_eq!(owned(parameters.to_pairs(route.operation)), expected, "{name}");
        let form = parameters.to_form(route.operation);
        assert_eq!(Parameters::from_form(route.operation, form.as_bytes()).unwrap(), parameters, "{name}");
        seen.push(route.operation);
    }
    for operation in Operation::ALL {
        let over_rest = *operation != Operation::RequestNotifications;
        assert_eq!(seen.contains(operation), over_rest, "{operation:?}");
    }
}

#[test]
fn every_cometd_call_is_read_and_written_to_the_same() {
    let mut seen = 0;
    for (name, sample) in samples() {
        let request = &sample["request"];
        for message in request["json"].as_array().into_iter().flatten() {
            let data = &message["data"];
            if data.is_object() {
                let (operation, parameters) = Parameters::from_data(&data.to_string()).unwrap();
                assert_eq!(Value::Object(parameters.to_data(operation)), *data, "{name}");
                seen += 1;
            }
        }
        if request["path"] == "/genesys/2/chat-ntf" {
            let pairs = pairs(request).unwrap();
            let (operation, parameters) =
                Parameters::from_companion(pairs.iter().map(|(k, v)| (k, v))).unwrap();
            assert_eq!(owned(parameters.to_companion(operation)), sorted(pairs), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn a_position_means_what_the_operation_takes_it_for() {
    let position = |operation, number: &str| {
        Parameters::from_pairs(operation, [("transcriptPosition", number)])
            .map(|parameters| parameters.position)
    };
    assert_eq!(position(Operation::Refresh, "0"), Ok(Some(Position::Nothing)));
    assert_eq!(position(Operation::Refresh, "1"), Ok(Some(Position::Everything)));
    assert_eq!(position(Operation::Refresh, "-1"), Ok(Some(Position::Last)));
    assert_eq!(position(Operation::Send, "3"), Ok(Some(Position::From(3))));
    assert_eq!(position(Operation::RequestNotifications, "0"), Ok(Some(Position::Everything)));
    assert_eq!(position(Operation::Refresh, ""), Ok(None));
    for wrong in ["x", "1.5", "-2", "99999999999999999999"] {
        let error = position(Operation::Refresh, wrong).unwrap_err();
        assert_eq!(error.to_string(), "transcriptPosition is not a position");
    }
    assert!(position(Operation::RequestNotifications, "-1").is_err());
    let receipt = Parameters::from_pairs(Operation::ReadReceipt, [("transcriptPosition", "1")]).unwrap();
    assert_eq!((receipt.read_up_to, receipt.position), (Some(1), None));
}

#[test]
fn calls_over_cometd_are_read_strictly() {
    for (wrong, why) in [
        (json!([]), "not a JSON object"),
        (json!({}), "operation is not a known operation"),
        (json!({"operation": "fly"}), "operation is not a known operation"),
        (json!({"operation": "fileUpload"}), "operation is not a known operation"),
        (json!({"operation": "sendMessage", "message": 7}), "message is not a text"),
        (json!({"operation": "sendMessage", "secureKey": 7}), "secureKey is not a text"),
        (json!({"operation": "refresh", "transcriptPosition": 1.5}), "transcriptPosition is not a position"),
        (json!({"operation": "refresh", "transcriptPosition": []}), "transcriptPosition is not a position"),
        (json!({"operation": "requestChat", "userData": {"a": 1}}), "userData is not an object of texts"),
        (json!({"operation": "requestChat", "auth": {"username": "u"}}), "auth is not a pair of credentials"),
    ] {
        assert_eq!(Parameters::from_data(&wrong.to_string()).unwrap_err().to_string(), why);
    }
    let fine = json!({"operation": "requestChat", "nickname": null, "subject": "", "chatId": "c", "extra": {"a": 1},
        "transcriptPosition": "4", "auth": {"username": "u", "password": "p"}});
    let (operation, parameters) = Parameters::from_data(&fine.to_string()).unwrap();
    assert_eq!(operation, Operation::RequestChat);
    assert_eq!((&parameters.nickname, &parameters.subject), (&None, &None));
    assert_eq!(parameters.identity.chat_id.as_deref(), Some("c"));
    assert_eq!(parameters.position, Some(Position::From(4)));
    assert_eq!(parameters.other["extra"], r#"{"a":1}"#);
    assert!(matches!(&parameters.auth, Some(Auth::Basic { username, .. }) if username == "u"));
    assert!(Parameters::from_companion([("secureKey", "k")]).is_err());
    let limits = Parameters::from_companion([("operation", "fileGetsLimits")]).unwrap();
    assert_eq!(limits.0, Operation::FileLimits);
}

#[test]
fn damaged_replies_keep_what_is_sound() {
    let reply = |name: &str| read(&sample(name)["response"]["json"]);
    let strings = reply("bad-04");
    assert_eq!(strings.status_code, Some(StatusCode::Ok));
    assert_eq!((strings.chat_ended, strings.next_position), (Some(false), Some(8)));
    assert_eq!(reply("bad-05").messages, None);
    let nulls = reply("bad-06");
    assert_eq!((&nulls.identity.alias, &nulls.identity.secure_key, &nulls.messages), (&None, &None, &None));
    assert_eq!(nulls.identity.chat_id.as_deref(), Some("0001LaGMS7K2000A"));
    let orphan = reply("bad-07");
    assert_eq!(orphan.events().iter().map(|event| event.index).collect::<Vec<_>>(), [Some(8), Some(9)]);
    assert!(orphan.events()[0].from.is_none() && orphan.events()[1].from.is_some());
    assert!(reply("bad-08").events().iter().all(|event| event.index.is_none()));
    let hostile = reply("bad-09");
    assert_eq!(
        hostile.events().iter().map(|event| event.index).collect::<Vec<_>>(),
        [None, Some(9_007_199_254_740_993)]
    );
    let surrogate = sample("bad-12")["response"]["text"].as_str().unwrap().to_owned();
    let surrogate = Reply::read(&surrogate).unwrap();
    let text = surrogate.events()[0].text.as_deref().unwrap();
    assert!(!text.is_empty() && text.chars().all(|c| c == '\u{fffd}'), "{text:?}");
    assert!(surrogate.events()[0].raw.contains(r"\ud83d"), "as it came");
    let errors = reply("bad-15");
    assert_eq!((errors.status_code, errors.errors[0].code), (None, Some(ErrorCode::NOT_EXECUTED)));
    for nothing in ["", "[]", "7", "null", "Forbidden", "{", r#"{"messages":["#, "{} {}"] {
        assert_eq!(Reply::read(nothing), None, "{nothing}");
    }
    for name in ["bad-01", "bad-02", "bad-03", "bad-14"] {
        assert_eq!(Reply::read(sample(name)["response"]["text"].as_str().unwrap()), None, "{name}");
    }
    assert_eq!(
        Reply::read_bytes(b"{\"alias\":\"caf\xe9\"}").unwrap().identity.alias.as_deref(),
        Some("caf\u{fffd}")
    );
    assert!(Reply::read("\u{feff}{}").is_some(), "a byte order mark");
    let deep = format!(r#"{{"statusCode":0,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Reply::read(&deep).unwrap().status_code, Some(StatusCode::Ok));
}

#[test]
fn numbers_and_names_are_read_in_every_spelling() {
    let event = |text: &str| TranscriptEvent::read(text);
    let from = event(r#"{"from":{"participantId":"2"},"utcTime":1.75e12,"index":"7"}"#);
    assert_eq!(from.from.unwrap().participant_id, Some(2));
    assert_eq!((from.utc_time, from.index), (Some(1_750_000_000_000), Some(7)));
    let twice = event(r#"{"index":7,"index":8,"\ud83d":1}"#);
    assert_eq!(twice.index, Some(8), "of two with one name the later counts");
    let data = event(r#"{"userData":{"a":"x","b":7,"c":null,"d":{"e":1}}}"#).user_data.unwrap();
    assert_eq!(data, UserData::new().with("a", "x").with("b", "7").with("d", r#"{"e":1}"#));
    for bot in [
        r#"{"from":{"type":"Bot"}}"#,
        r#"{"eventAttributes":{"GCTI_SYSTEM":{"party-info":{"style":"bot"}}}}"#,
        r#"{"userData":{"GCTI_Chat_SetPartyStyle":"BOT"}}"#,
    ] {
        assert!(event(bot).marks_bot(), "{bot}");
    }
    assert!(!event(r#"{"from":{"type":"Agent"},"eventAttributes":{"GCTI_SYSTEM":"BOT"}}"#).marks_bot());
}

#[test]
fn limits_of_files_are_read_and_written_to_the_same() {
    let sample = sample("rest-60");
    let reply = read(&sample["response"]["json"]);
    let limits = FileLimits::of_reply(&reply).unwrap();
    let expect = &sample["expect"];
    assert_eq!(limits.max_files, expect["maxFiles"].as_u64());
    assert_eq!(limits.max_file_size, expect["maxFileSize"].as_u64());
    assert_eq!(json!(limits.types), expect["types"]);
    assert_eq!(
        (limits.need_agent, limits.used_files, limits.download_attempts),
        (Some(false), Some(0), Some(5))
    );
    let event = &reply.events()[0];
    let again = limits.to_event(event.from.clone().unwrap(), event.utc_time.unwrap());
    assert_eq!(serde_json::to_value(&again).unwrap(), sample["response"]["json"]["messages"][0]);
    let late = FileLimits::of_reply(&read(&self::sample("rest-61")["response"]["json"])).unwrap();
    assert_eq!((late.need_agent, late.used_files), (Some(true), Some(3)));
    let odd = TranscriptEvent::read(
        r#"{"type":"Notice","text":"file-client-cfg-get","userData":{"upload-max-files":"many","upload-need-agent":"TRUE"}}"#,
    );
    let odd = FileLimits::of(&odd).unwrap();
    assert_eq!((odd.max_files, odd.need_agent, odd.types), (None, Some(true), None));
    assert_eq!(FileLimits::of(&TranscriptEvent::read(r#"{"type":"Notice","text":"hello"}"#)), None);
    assert_eq!(
        FileLimits::of(&TranscriptEvent::read(r#"{"type":"Notice","index":4,"text":"file-client-cfg-get"}"#)),
        None,
        "with an index it is somebody's words"
    );
}

#[test]
fn a_server_writes_what_the_service_writes() {
    let mut identity = Identity::default();
    identity.chat_id = Some("0001LaGMS7K2000A".into());
    identity.user_id = Some("00A16A0C4F1B0001".into());
    identity.secure_key = Some("7c1fe2b09ad4436e".into());
    identity.alias = Some("204".into());
    let json = |reply: Reply| serde_json::from_str::<Value>(&reply.to_json()).unwrap();
    let expected = |name: &str| sample(name)["response"]["json"].clone();

    let joined = |name| {
        let client = Party::new(PartyType::Client, 1, name);
        TranscriptEvent::new(EventType::ParticipantJoined, client, Some(1), 1_750_000_000_000)
    };
    let start = Reply::success(identity.clone(), vec![joined("Jonny")], 2, false);
    assert_eq!(json(start), expected("rest-01"));
    let legacy = Reply::success(identity.clone(), vec![joined("Ana Ruiz")], 2, false).into_legacy_start();
    assert_eq!(json(legacy), expected("rest-02"));
    let gone = ErrorEntry::new(ErrorCode::NOT_EXECUTED, "session not found. referenceId[20000007]");
    assert_eq!(gone.reference(), Some("20000007"));
    assert_eq!(json(Reply::failure(StatusCode::Failed, identity, true, vec![gone])), expected("rest-33"));
    let many = ErrorEntry::new(ErrorCode::TOO_MANY_FILES, "too many files. referenceId[20000009]");
    assert_eq!(json(Reply::refusal(vec![many])), expected("rest-68"));
    let stored = UserData::new().with(FILE_ID, "00B16A0C52D00042");
    assert_eq!(json(Reply::about_files(Vec::new(), Some(stored))), expected("rest-62"));
}

#[test]
fn keys_do_not_show_in_debug() {
    for (name, envelope) in envelopes() {
        let shown = format!("{:?}", read(&envelope));
        assert!(!shown.contains("7c1fe2b09ad4436e") && !shown.contains("NSgiKiYf"), "{name}: {shown}");
    }
    let pairs = [("secureKey", "7c1fe2b09ad4436e")];
    let parameters = Parameters::from_pairs(Operation::Send, pairs).unwrap();
    assert!(!format!("{parameters:?}").contains("7c1f"));
    for (name, envelope) in envelopes() {
        let text = envelope.to_string();
        let redacted = redact(&text);
        assert!(
            !redacted.contains("7c1fe2b09ad4436e") && !redacted.contains("NSgiKiYf"),
            "{name}: {redacted}"
        );
        assert_eq!(read(&envelope).events(), Reply::read(&redacted).unwrap().events(), "{name}");
    }
}

/// The envelope without what it carries.
fn around(mut reply: Reply) -> Reply {
    reply.messages = None;
    reply
}

#[test]
fn an_envelope_survives_the_loss_of_every_member() {
    for (name, envelope) in envelopes() {
        let sound = read(&envelope);
        let mut damaged = Vec::new();
        damages(&envelope, "", &mut damaged);
        for (path, one) in damaged {
            let reply = read(&one);
            let entries = one["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert_eq!(reply.events().len(), entries.len(), "{name} {path}: one event for each entry");
            for (event, entry) in reply.events().iter().zip(entries) {
                assert_eq!(*event.raw, *entry.to_string(), "{name} {path}: the text is kept");
            }
            // What was not touched says what it said.
            if !path.starts_with("/messages") && one["messages"] == envelope["messages"] {
                assert_eq!(reply.messages, sound.messages, "{name} {path}");
            }
            for (at, event) in sound.events().iter().enumerate() {
                let touched = path == "/messages" || path.starts_with(&format!("/messages/{at}"));
                if !touched && entries.len() == sound.events().len() {
                    assert_eq!(reply.events()[at], *event, "{name} {path}");
                }
            }
            if path.starts_with("/messages") {
                assert_eq!(around(reply), around(sound.clone()), "{name} {path}");
            }
        }
    }
}

#[test]
fn a_call_survives_the_loss_of_every_member() {
    for (_, sample) in samples() {
        for message in sample["request"]["json"].as_array().into_iter().flatten() {
            let mut damaged = Vec::new();
            damages(&message["data"], "", &mut damaged);
            for (_, one) in damaged {
                if let Ok((operation, parameters)) = Parameters::from_data(&one.to_string()) {
                    let again = Value::Object(parameters.to_data(operation)).to_string();
                    assert_eq!(Parameters::from_data(&again), Ok((operation, parameters)));
                }
            }
        }
    }
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof!["[&+%=;\\[\\]\"é👩 a\n]{1,8}", "\\PC{1,8}"])
}

prop_compose! {
    fn parameters()(
        texts in prop::array::uniform9(some_text()),
        identity in prop::array::uniform4(some_text()),
        position in prop::option::of(prop_oneof![
            Just(Position::Everything), Just(Position::Nothing), Just(Position::Last), (2u64..u64::from(u32::MAX)).prop_map(Position::From),
        ]),
        read_up_to in prop::option::of(0..u64::from(u32::MAX)),
        user_data in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..4),
    ) -> Parameters {
        let mut parameters = Parameters::default();
        let [user_id, secure_key, alias, message] = identity;
        (parameters.identity.user_id, parameters.identity.alias) = (user_id, alias);
        parameters.identity.secure_key = secure_key.map(Into::into);
        parameters.message = message;
        [parameters.nickname, parameters.first_name, parameters.last_name, parameters.subject, parameters.email,
            parameters.endpoint, parameters.message_type, parameters.push_url, _] = texts;
        (parameters.position, parameters.read_up_to) = (position, read_up_to);
        parameters.user_data = UserData(user_data);
        parameters
    }
}

/// What an operation can say of `parameters`.
fn sayable(operation: Operation, mut parameters: Parameters) -> Parameters {
    match operation {
        Operation::ReadReceipt => parameters.position = None,
        Operation::RequestNotifications => {
            parameters.read_up_to = None;
            parameters.position = parameters
                .position
                .filter(|position| matches!(position, Position::Everything | Position::From(_)));
        }
        _ => parameters.read_up_to = None,
    }
    parameters
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// F50: whatever the texts, they arrive as they were, by every carrier.
    #[test]
    fn parameters_survive_every_carrier(which in 0..Operation::ALL.len(), parameters in parameters()) {
        let operation = Operation::ALL[which];
        let parameters = sayable(operation, parameters);
        if operation.is_about_files() {
            let mut parameters = parameters;
            parameters.file_id = Some("f&1".into());
            let again = Parameters::from_companion(parameters.to_companion(operation)).unwrap();
            prop_assert_eq!(again, (operation, parameters));
            return Ok(());
        }
        let form = parameters.to_form(operation);
        prop_assert!(form.is_ascii());
        prop_assert_eq!(Parameters::from_form(operation, form.as_bytes()).unwrap(), parameters.clone());
        let data = Value::Object(parameters.to_data(operation)).to_string();
        prop_assert_eq!(Parameters::from_data(&data).unwrap(), (operation, parameters));
    }

    #[test]
    fn any_body_is_read_without_a_panic(body: Vec<u8>, text in "\\PC*") {
        let _ = Reply::read_bytes(&body);
        let _ = Reply::read(&text);
        let _ = TranscriptEvent::read(&text);
        let _ = redact(&text);
        let _ = Parameters::from_data(&text);
        for operation in Operation::ALL {
            let _ = Parameters::from_form(*operation, &body);
        }
        let _ = Operation::from_rest_path(&text);
    }

    /// Cut, overwrite and splice at random: never a panic, and as many events as entries.
    #[test]
    fn damage_never_panics(which in 0usize..200, edits in prop::collection::vec((any::<u16>(), 0u8..4, any::<char>()), 1..8)) {
        let all = envelopes();
        let mut chars: Vec<char> = all[which % all.len()].1.to_string().chars().collect();
        for (at, kind, with) in edits {
            let at = usize::from(at) % chars.len().max(1);
            match kind {
                0 if at < chars.len() => { chars.remove(at); }
                1 if at < chars.len() => chars[at] = with,
                2 => chars.truncate(at),
                _ => chars.insert(at.min(chars.len()), with),
            }
        }
        let damaged: String = chars.into_iter().collect();
        let strict: Option<Value> = serde_json::from_str(&damaged).ok();
        let reply = Reply::read(&damaged);
        prop_assert!(reply.is_some() || strict.as_ref().is_none_or(|value| !value.is_object()));
        if let (Some(reply), Some(strict)) = (reply, strict) {
            let entries = strict["messages"].as_array().map_or(0, Vec::len);
            prop_assert_eq!(reply.events().len(), entries);
        }
    }
}
