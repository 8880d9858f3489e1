//! Owns the check with AWS's official SDK for Rust: unmodified but for its endpoint, it drives the front through every operation
//! of the Participant Service, its successes and each of its modelled errors, over loopback sockets.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod support;

use std::fmt::Debug;

use aws_credential_types::Credentials;
use aws_sdk_connectparticipant::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata as _, SdkError},
    operation::RequestId as _,
    types::{
        ArtifactStatus, ChatItemType, ConnectionType, ParticipantRole, ScanDirection, SortKey, StartPosition,
    },
};
use bytes::Bytes;
use e2e::within;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::House;
use transport_connect::front::{AnswerFault, FrontFaults, Instead, Operation};

const TYPING: &str = "application/vnd.amazonaws.connect.event.typing";
const DELIVERED: &str = "application/vnd.amazonaws.connect.event.message.delivered";
const READ: &str = "application/vnd.amazonaws.connect.event.message.read";
const JOINED: &str = "application/vnd.amazonaws.connect.event.participant.joined";
const SESSION: &str = "00000000-0000-4000-8000-000000000001";

/// A house with a customer in it, who uses the SDK.
struct Visit {
    house: House,
    client: Client,
    contact_id: String,
    participant_token: String,
    token: String,
}

impl Visit {
    async fn begin(retry: RetryConfig) -> Self {
        let house = House::open().await;
        house.front.put_authentication(SESSION, "https://login.example/authorize");
        let view = json!({
            "Id": "view-1", "Arn": "arn:aws:connect:view/1", "Name": "Form", "Version": 1,
            "Content": {"InputSchema": "{}", "Template": "{\"Head\":{}}", "Actions": ["Next"]},
        });
        house.front.put_view("token/with+odd=characters", view);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-west-2"))
            .endpoint_url(&house.base_url)
            // The service ignores signatures, but the SDK insists on making one.
            .credentials_provider(Credentials::new("key", "secret", None, None, "a test"))
            .retry_config(retry)
            .build();
        let client = Client::from_conf(config);

        let request = json!({"ParticipantDetails": {"DisplayName": "Jane"}, "Attributes": {}});
        let (status, answer) =
            http("POST", &format!("{}/startChatContact", house.base_url), &[], request.to_string().into())
                .await;
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let details = &answer["data"]["startChatResult"];
        let participant_token = details["ParticipantToken"].as_str().unwrap().to_owned();

        let connection = client
            .create_participant_connection()
            .participant_token(&participant_token)
            .r#type(ConnectionType::Websocket)
            .r#type(ConnectionType::ConnectionCredentials)
            .connect_participant(true)
            .send()
            .await
            .unwrap();
        let socket = connection.websocket().unwrap();
        assert!(socket.url().unwrap().starts_with("ws://127.0.0.1:"));
        assert!(socket.connection_expiry().unwrap().ends_with('Z'));
        let credentials = connection.connection_credentials().unwrap();
        assert!(credentials.expiry().unwrap() > socket.connection_expiry().unwrap());
        Self {
            token: credentials.connection_token().unwrap().to_owned(),
            contact_id: details["ContactId"].as_str().unwrap().to_owned(),
            participant_token,
            house,
            client,
        }
    }

    async fn say(&self, text: &str) -> String {
        let send = self.client.send_message().connection_token(&self.token);
        send.content_type("text/plain").content(text).send().await.unwrap().id().unwrap().to_owned()
    }

    /// An agent comes in through the front as well, and acknowledges the connection.
    async fn agent_joins(&self, name: &str) {
        let request = json!({"ContactId": self.contact_id, "AgentId": name, "DisplayName": name});
        let url = format!("{}/front/agent-token", self.house.base_url);
        let (status, answer) = http("POST", &url, &[], request.to_string().into()).await;
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let token = answer["ParticipantToken"].as_str().unwrap();
        let connect = self.client.create_participant_connection().participant_token(token);
        let connected = connect.connect_participant(true).send().await.unwrap();
        assert!(connected.websocket().is_none() && connected.connection_credentials().is_none());
    }

    /// Announces a file of ten bytes: its id, and where to put it.
    async fn announce(&self, name: &str) -> (String, String, Vec<(String, String)>) {
        let start = self.client.start_attachment_upload().connection_token(&self.token);
        let start = start
            .content_type("text/plain")
            .attachment_name(name)
            .attachment_size_in_bytes(10)
            .send()
            .await
            .unwrap();
        let upload = start.upload_metadata().unwrap();
        assert!(upload.url_expiry().unwrap().ends_with('Z'));
        let headers = upload.headers_to_include().unwrap().clone().into_iter().collect();
        (start.attachment_id().unwrap().to_owned(), upload.url().unwrap().to_owned(), headers)
    }

    async fn put(&self, name: &str) -> String {
        let (id, url, headers) = self.announce(name).await;
        assert_eq!(http("PUT", &url, &headers, Bytes::from_static(b"0123456789")).await.0, 200);
        id
    }

    /// Calls `operation` with arguments that nothing is wrong with.
    async fn call(&self, operation: Operation) -> Result<(), Failure> {
        let (client, token) = (&self.client, &self.token);
        match operation {
            Operation::CreateParticipantConnection => done(
                client
                    .create_participant_connection()
                    .participant_token(&self.participant_token)
                    .r#type(ConnectionType::ConnectionCredentials)
                    .send()
                    .await,
            ),
            Operation::SendMessage => done(
                client
                    .send_message()
                    .connection_token(token)
                    .content_type("text/plain")
                    .content("hi")
                    .send()
                    .await,
            ),
            Operation::SendEvent => {
                done(client.send_event().connection_token(token).content_type(TYPING).send().await)
            }
            Operation::GetTranscript => done(client.get_transcript().connection_token(token).send().await),
            Operation::DisconnectParticipant => {
                done(client.disconnect_participant().connection_token(token).send().await)
            }
            Operation::StartAttachmentUpload => done(
                client
                    .start_attachment_upload()
                    .connection_token(token)
                    .content_type("text/plain")
                    .attachment_name("a.txt")
                    .attachment_size_in_bytes(1)
                    .send()
                    .await,
            ),
            Operation::CompleteAttachmentUpload => {
                let id = self.put("b.txt").await;
                done(
                    client
                        .complete_attachment_upload()
                        .connection_token(token)
                        .attachment_ids(id)
                        .send()
                        .await,
                )
            }
            Operation::GetAttachment => {
                let id = self.put("c.txt").await;
                let complete =
                    client.complete_attachment_upload().connection_token(token).attachment_ids(&id);
                complete.send().await.unwrap();
                done(client.get_attachment().connection_token(token).attachment_id(id).send().await)
            }
            Operation::DescribeView => done(
                client
                    .describe_view()
                    .connection_token(token)
                    .view_token("token/with+odd=characters")
                    .send()
                    .await,
            ),
            Operation::GetAuthenticationUrl => done(
                client
                    .get_authentication_url()
                    .connection_token(token)
                    .session_id(SESSION)
                    .redirect_uri("https://shop.example/back")
                    .send()
                    .await,
            ),
            Operation::CancelParticipantAuthentication => done(
                client
                    .cancel_participant_authentication()
                    .connection_token(token)
                    .session_id(SESSION)
                    .send()
                    .await,
            ),
            other => panic!("not an operation of the service: {other:?}"),
        }
    }
}

/// What the SDK makes of a refusal.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    status: u16,
    code: String,
    /// The SDK knows the error as one of the operation's own, not as something unhandled.
    modelled: bool,
    told: bool,
}

impl Failure {
    fn of(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), modelled: true, told: true }
    }
}

fn done<T, E>(result: Result<T, SdkError<E>>) -> Result<(), Failure>
where
    E: aws_sdk_connectparticipant::error::ProvideErrorMetadata
        + std::error::Error
        + Debug
        + Send
        + Sync
        + 'static,
{
    let Err(error) = result else { return Ok(()) };
    assert!(error.raw_response().is_some(), "an answer came: {error:?}");
    assert!(error.raw_response().unwrap().headers().get("x-amzn-requestid").is_some());
    let code = error.code().unwrap_or_default().to_owned();
    Err(Failure {
        status: error.raw_response().unwrap().status().as_u16(),
        told: error.message().is_some_and(|message| !message.is_empty()),
        modelled: format!("{:?}", error.as_service_error().unwrap()).starts_with(&format!("{code}(")),
        code,
    })
}

/// One plain HTTP exchange: what a browser does with presigned URLs and the start-chat proxy.
async fn http(method: &str, url: &str, headers: &[(String, String)], body: Bytes) -> (u16, Bytes) {
    let (authority, _) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let path = &url["http://".len() + authority.len()..];
    let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

const OPERATIONS: [Operation; 11] = [
    Operation::CreateParticipantConnection,
    Operation::SendMessage,
    Operation::SendEvent,
    Operation::GetTranscript,
    Operation::StartAttachmentUpload,
    Operation::CompleteAttachmentUpload,
    Operation::GetAttachment,
    Operation::DescribeView,
    Operation::GetAuthenticationUrl,
    Operation::CancelParticipantAuthentication,
    Operation::DisconnectParticipant,
];

/// The errors that the service's model lists for each operation (section 4.1 of the protocol notes).
fn modelled_errors(operation: Operation) -> Vec<(u16, &'static str)> {
    let mut errors = vec![
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
    ];
    match operation {
        Operation::StartAttachmentUpload => errors.push((402, "ServiceQuotaExceededException")),
        Operation::CompleteAttachmentUpload => {
            errors.push((402, "ServiceQuotaExceededException"));
            errors.push((409, "ConflictException"));
        }
        Operation::SendEvent => errors.push((409, "ConflictException")),
        Operation::DescribeView => errors.push((404, "ResourceNotFoundException")),
        _ => {}
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn each_modelled_error_of_each_operation_arrives_as_itself_and_changes_nothing() {
    let visit = Visit::begin(RetryConfig::disabled()).await;
    for operation in OPERATIONS {
        for (status, code) in modelled_errors(operation) {
            let mut faults = FrontFaults::default();
            faults.answers.push(AnswerFault::new(operation, Instead::Error(status), 1));
            visit.house.front.set_faults(faults);
            let failure = visit.call(operation).await;
            assert_eq!(failure, Err(Failure::of(status, code)), "{operation:?}");
        }
        // What was refused was not done, and the operation works after its errors.
        visit.call(operation).await.unwrap_or_else(|failure| panic!("{operation:?}: {failure:?}"));
    }
    let agent = visit.house.agent().await;
    assert_eq!(agent.truth().own_texts(), ["hi"]);
    // One completed; each try to fetch one brought its own, and there were four errors and a success.
    assert_eq!(agent.truth().files.len(), 1 + 5);
    assert!(agent.truth().ended.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_events_and_the_transcript() {
    let visit = Visit::begin(RetryConfig::disabled()).await;
    let (client, token) = (&visit.client, &visit.token);
    let agent = visit.house.agent().await;
    agent.say("Hello").unwrap();
    let hello = agent.truth().items.last().unwrap().id.clone();

    let first = visit.say("first").await;
    within("the message", agent.wait_for_text("first")).await;
    client.send_event().connection_token(token).content_type(TYPING).send().await.unwrap();
    assert!(agent.truth().typing.iter().any(|typing| typing.on));

    // The agent's message, as the customer knows it.
    let page = client.get_transcript().connection_token(token).send().await.unwrap();
    let greeting = page.transcript().iter().find(|item| item.content() == Some("Hello")).unwrap();
    for kind in [DELIVERED, READ] {
        let content = json!({"messageId": greeting.id().unwrap()}).to_string();
        let event = client.send_event().connection_token(token).content_type(kind).content(content);
        let event = event.send().await.unwrap();
        assert!(event.id().is_some() && event.absolute_time().is_some());
    }
    let receipts = agent.truth().receipts;
    assert_eq!(receipts.iter().filter(|receipt| receipt.message == hello).count(), 2, "{receipts:?}");

    agent.reads(&agent.truth().items.iter().find(|item| item.text() == Some("first")).unwrap().id).unwrap();
    let mut sent = vec![first.clone()];
    for number in 0..24 {
        sent.push(visit.say(&format!("message {number}")).await);
    }

    // Both directions give every item once, in order.
    let backwards = pages(&visit, ScanDirection::Backward, None).await;
    let start = StartPosition::builder().absolute_time("2000-01-01T00:00:00.000Z").build();
    let forwards = pages(&visit, ScanDirection::Forward, Some(start)).await;
    assert_eq!(ids(&backwards), ids(&forwards));
    let own: Vec<String> = backwards
        .iter()
        .filter(|item| item.r#type() == Some(&ChatItemType::Message))
        .filter(|item| item.participant_role() == Some(&ParticipantRole::Customer))
        .map(|item| item.id().unwrap().to_owned())
        .collect();
    assert_eq!(own, sent);
    let times: Vec<_> = backwards.iter().map(|item| item.absolute_time().unwrap().to_owned()).collect();
    assert!(times.is_sorted(), "{times:?}");
    for role in [ParticipantRole::Customer, ParticipantRole::Agent] {
        let mut joined = backwards.iter().filter(|item| item.content_type() == Some(JOINED));
        assert!(joined.any(|item| item.participant_role() == Some(&role)), "{role:?}");
    }
    // The agent's receipt stands on the message that it is about.
    let read = backwards.iter().find(|item| item.id() == Some(first.as_str())).unwrap();
    let receipts = read.message_metadata().unwrap().receipts();
    assert!(receipts.iter().any(|receipt| receipt.read_timestamp().is_some()), "{receipts:?}");

    // From a message on, and from the newest back.
    let after = StartPosition::builder().id(&sent[20]).build();
    let newer = pages(&visit, ScanDirection::Forward, Some(after)).await;
    let newer: Vec<_> = ids(&newer).into_iter().filter(|id| *id != sent[20]).collect();
    assert_eq!(newer, sent[21..]);
    let recent = StartPosition::builder().most_recent(3).build();
    let newest = pages(&visit, ScanDirection::Forward, Some(recent)).await;
    assert_eq!(ids(&newest), sent[22..]);
}

fn ids(items: &[aws_sdk_connectparticipant::types::Item]) -> Vec<String> {
    items.iter().map(|item| item.id().unwrap().to_owned()).collect()
}

/// Every page of a scan, oldest item first.
async fn pages(
    visit: &Visit,
    direction: ScanDirection,
    start: Option<StartPosition>,
) -> Vec<aws_sdk_connectparticipant::types::Item> {
    let mut items = Vec::new();
    let mut next = None;
    loop {
        let page = visit
            .client
            .get_transcript()
            .connection_token(&visit.token)
            .max_results(6)
            .sort_order(SortKey::Ascending)
            .scan_direction(direction.clone())
            .set_start_position(start.clone())
            .set_next_token(next)
            .send()
            .await
            .unwrap();
        assert_eq!(page.initial_contact_id(), Some(visit.contact_id.as_str()));
        assert!(page.transcript().len() <= 6);
        let found = page.transcript().to_vec();
        let at = if direction == ScanDirection::Forward { items.len() } else { 0 };
        items.splice(at..at, found);
        match page.next_token().filter(|token| !token.is_empty()) {
            Some(token) => next = Some(token.to_owned()),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_views_and_authentication() {
    let visit = Visit::begin(RetryConfig::disabled()).await;
    let (client, token) = (&visit.client, &visit.token);
    let id = visit.put("note.txt").await;
    client.complete_attachment_upload().connection_token(token).attachment_ids(&id).send().await.unwrap();
    let page = client.get_transcript().connection_token(token).send().await.unwrap();
    let shown =
        page.transcript().iter().find(|item| item.r#type() == Some(&ChatItemType::Attachment)).unwrap();
    let [file] = shown.attachments() else { panic!("one file: {shown:?}") };
    assert_eq!(file.attachment_id(), Some(id.as_str()));
    assert_eq!(file.attachment_name(), Some("note.txt"));
    assert_eq!(file.content_type(), Some("text/plain"));
    assert_eq!(file.status(), Some(&ArtifactStatus::Approved));

    let place = client.get_attachment().connection_token(token).attachment_id(&id).send().await.unwrap();
    assert_eq!(place.attachment_size_in_bytes(), 10);
    let fetched = http("GET", place.url().unwrap(), &[], Bytes::new()).await;
    assert_eq!(fetched, (200, Bytes::from_static(b"0123456789")));

    let view = client.describe_view().connection_token(token).view_token("token/with+odd=characters");
    let view = view.send().await.unwrap();
    let view = view.view().unwrap();
    assert_eq!((view.name(), view.version()), (Some("Form"), Some(1)));
    assert_eq!(view.content().unwrap().template(), Some("{\"Head\":{}}"));
    assert_eq!(view.content().unwrap().actions(), ["Next"]);

    let url = client.get_authentication_url().connection_token(token).session_id(SESSION);
    let url = url.redirect_uri("https://shop.example/back").send().await.unwrap();
    assert_eq!(url.authentication_url(), Some("https://login.example/authorize"));
    visit.call(Operation::CancelParticipantAuthentication).await.unwrap();
    let again = visit.call(Operation::GetAuthenticationUrl).await;
    assert_eq!(again, Err(Failure::of(400, "ValidationException")), "a cancelled session leads nowhere");
}

/// The refusals that need no fault: the service's own rules.
#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_rules_are_kept() {
    let visit = Visit::begin(RetryConfig::disabled()).await;
    let (client, token) = (&visit.client, &visit.token);
    let agent = visit.house.agent().await;
    let validation = || Err(Failure::of(400, "ValidationException"));
    let denied = || Err(Failure::of(403, "AccessDeniedException"));

    let send = || client.send_message().connection_token(token).content_type("text/plain");
    assert_eq!(done(send().content("").send().await), validation());
    assert_eq!(done(send().content("é".repeat(8_193)).send().await), validation(), "16 386 bytes");
    done(send().content("é".repeat(8_192)).send().await).unwrap();
    let other = client.send_message().connection_token(token).content_type("text/html").content("hi");
    assert_eq!(done(other.send().await), validation());

    let event = client.send_event().connection_token(token).content_type(JOINED);
    assert_eq!(done(event.send().await), validation(), "only the service announces who joined");
    let forward = client.get_transcript().connection_token(token).scan_direction(ScanDirection::Forward);
    assert_eq!(done(forward.send().await), validation(), "forwards from nowhere");
    let page = client.get_transcript().connection_token(token).max_results(101);
    assert_eq!(done(page.send().await), validation());

    let start = |name: &str, size| {
        let start = client.start_attachment_upload().connection_token(token).content_type("text/plain");
        start.attachment_name(name).attachment_size_in_bytes(size).send()
    };
    assert_eq!(done(start("virus.exe", 1).await), validation());
    assert_eq!(done(start("large.txt", 20 * 1024 * 1024 + 1).await), validation());
    assert_eq!(done(start("empty.txt", 0).await), validation());
    let (early, ..) = visit.announce("early.txt").await;
    let complete =
        |id: &str| client.complete_attachment_upload().connection_token(token).attachment_ids(id).send();
    assert_eq!(done(complete(&early).await), validation(), "its bytes have not come");
    let whole = visit.put("whole.txt").await;
    done(complete(&whole).await).unwrap();
    let conflict = || Err(Failure::of(409, "ConflictException"));
    assert_eq!(done(complete(&whole).await), conflict(), "completed already, by another call");
    let mut announced = 2;
    let quota = loop {
        match done(start("one.txt", 1).await) {
            Ok(()) => announced += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!((announced, quota), (35, Failure::of(402, "ServiceQuotaExceededException")));

    let unknown = client.describe_view().connection_token(token).view_token("nobody's").send().await;
    let unknown = unknown.unwrap_err().into_service_error();
    assert!(unknown.is_resource_not_found_exception(), "{unknown:?}");
    assert!(unknown.meta().request_id().is_some());

    // A third active person makes receipts a conflict.
    agent.say("Hello").unwrap();
    let page = client.get_transcript().connection_token(token).send().await.unwrap();
    let hello = page.transcript().iter().find(|item| item.content() == Some("Hello")).unwrap();
    visit.agent_joins("Ann").await;
    visit.agent_joins("Sam").await;
    let content = json!({"messageId": hello.id().unwrap()}).to_string();
    let receipt = client.send_event().connection_token(token).content_type(READ).content(content);
    assert_eq!(done(within("a receipt", receipt.send()).await), conflict());

    // Each token is good for its own calls, and for none after the end.
    let connect = |token: &str| {
        let connect = client.create_participant_connection().participant_token(token);
        connect.r#type(ConnectionType::ConnectionCredentials).send()
    };
    assert_eq!(done(connect(token).await), denied());
    let mixed = client.get_transcript().connection_token(&visit.participant_token).send().await;
    assert_eq!(done(mixed), denied());
    assert_eq!(done(client.get_transcript().connection_token("made up").send().await), denied());
    visit.call(Operation::DisconnectParticipant).await.unwrap();
    assert_eq!(visit.call(Operation::GetTranscript).await, denied());
    assert_eq!(visit.call(Operation::SendMessage).await, denied());
    assert_eq!(done(connect(&visit.participant_token).await), denied());
    assert!(agent.truth().ended.is_some());
}

/// The SDK retries by itself, with the client token that it made: nothing is posted twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_own_retries_post_once() {
    let visit = Visit::begin(RetryConfig::standard()).await;
    for (instead, text) in [
        (Instead::Error(500), "after a failure"),
        (Instead::Error(429), "after throttling"),
        (Instead::Html(503), "after a proxy's page"),
        (Instead::Cut, "after a cut before"),
        (Instead::LoseAnswer, "after a cut behind"),
    ] {
        let mut faults = FrontFaults::default();
        faults.answers.push(AnswerFault::new(Operation::SendMessage, instead, 1));
        visit.house.front.set_faults(faults);
        visit.say(text).await;
        assert!(
            visit.house.front.faults().answers.iter().all(|fault| fault.times == 0),
            "{text}: it happened"
        );
    }
    assert_eq!(
        visit.house.agent().await.truth().own_texts(),
        [
            "after a failure",
            "after throttling",
            "after a proxy's page",
            "after a cut before",
            "after a cut behind"
        ]
    );
}
