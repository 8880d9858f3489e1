//! Owns the way from a request to its operation and back: paths, bearers, quotas, ordered faults, upgrades.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{sync::oneshot, time::sleep};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Shared,
    answer::{Body, NoAnswer, Refusal, dress, full, json, plain, preflight},
    faults::{Instead, Operation},
    mailbox::Post,
    operations::Answer,
    socket::{self, Place},
    tokens::{Caller, Kind},
};
use crate::wire::{control, errors::BEARER_HEADER, participant};

/// Path of the gateway in socket URLs.
const GATEWAY_PATH: &str = "/gateway";
/// The front's own call.
pub(super) const AGENT_TOKEN_PATH: &str = "/front/agent-token";
/// Prefix of the object store.
const BUCKET_PATH: &str = "/bucket/";
/// Where uploads go.
const STAGING_PATH: &str = "/bucket/staging/";
/// Largest JSON request.
const BODY_MAX: usize = 512 * 1024;

/// What an operation needs to know of its request.
struct Call {
    operation: Operation,
    headers: HeaderMap,
    path: String,
    query: String,
    body: Bytes,
}

fn operation(front: &Shared, method: &Method, path: &str) -> Option<Operation> {
    let operation = named(front, method, path)?;
    (front.config.control_plane || !operation.is_control_plane()).then_some(operation)
}

fn named(front: &Shared, method: &Method, path: &str) -> Option<Operation> {
    use Operation as Op;
    Some(match (method.as_str(), path) {
        ("POST", participant::CONNECTION_PATH) => Op::CreateParticipantConnection,
        ("POST", participant::MESSAGE_PATH) => Op::SendMessage,
        ("POST", participant::EVENT_PATH) => Op::SendEvent,
        ("POST", participant::TRANSCRIPT_PATH) => Op::GetTranscript,
        ("POST", participant::DISCONNECT_PATH) => Op::DisconnectParticipant,
        ("POST", participant::START_UPLOAD_PATH) => Op::StartAttachmentUpload,
        ("POST", participant::COMPLETE_UPLOAD_PATH) => Op::CompleteAttachmentUpload,
        ("POST", participant::ATTACHMENT_PATH) => Op::GetAttachment,
        ("POST", participant::AUTHENTICATION_URL_PATH) => Op::GetAuthenticationUrl,
        ("POST", participant::CANCEL_AUTHENTICATION_PATH) => Op::CancelParticipantAuthentication,
        ("GET", path) if path.starts_with(participant::VIEWS_PATH) => Op::DescribeView,
        ("PUT", control::START_CHAT_CONTACT_PATH) => Op::StartChatContact,
        ("POST", control::CREATE_PARTICIPANT_PATH) => Op::CreateParticipant,
        ("POST", control::STOP_CONTACT_PATH) => Op::StopContact,
        ("POST", AGENT_TOKEN_PATH) => Op::AgentToken,
        ("PUT", path) if path.starts_with(STAGING_PATH) => Op::StorePut,
        ("GET", path) if path.starts_with(BUCKET_PATH) => Op::StoreGet,
        ("POST", path) if path == front.config.start_chat_path => Op::StartChatProxy,
        _ => return None,
    })
}

/// One value of a query. Tokens and signatures need no decoding.
fn query_value<'a>(query: &'a str, name: &str) -> &'a str {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

/// Answers one request. `Err` cuts the connection instead.
pub(super) async fn handle(
    front: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let mut response = answer(&front, request).await?;
    dress(&mut response, &*front.config.clock);
    Ok(response)
}

async fn answer(front: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, NoAnswer> {
    let path = request.uri().path().to_owned();
    if request.method() == Method::OPTIONS {
        return Ok(preflight(request.headers()));
    }
    if path == GATEWAY_PATH && request.method() == Method::GET {
        return Ok(upgrade(front, request));
    }
    let Some(operation) = operation(front, request.method(), &path) else {
        return Ok(json(StatusCode::NOT_FOUND, &json!({"message": "Not Found"})));
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let headers = request.headers().clone();
    let limit = match operation {
        Operation::StorePut => {
            let expected = front.store.expected(path.trim_start_matches(STAGING_PATH));
            usize::try_from(expected).unwrap_or(BODY_MAX).max(1)
        }
        _ => BODY_MAX,
    };
    let body = match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, &json!({"message": "Request Too Long"})));
        }
        Err(_) => return Err(NoAnswer),
    };
    let call = Call { operation, headers, path, query, body };
    front.requests.fetch_add(1, Ordering::Relaxed);
    let fault = front.faults.answer(operation);
    let delay = match &fault {
        Some(Instead::Delay(delay)) => Some(*delay),
        _ => None,
    };
    match fault {
        Some(Instead::LoseAnswer) => {
            run(front, call).await?;
            return Err(NoAnswer);
        }
        Some(Instead::LoseEverything) => {
            run(front, call).await?;
            front.tell(&Post::Cut);
            return Err(NoAnswer);
        }
        Some(Instead::HangAfterwards) => {
            run(front, call).await?;
            return std::future::pending().await;
        }
        Some(Instead::Delay(_)) | None => {}
        Some(Instead::Hang) => return std::future::pending().await,
        Some(Instead::Cut) => return Err(NoAnswer),
        Some(other) => return Ok(replaced(other)),
    }
    let quota = front.config.quotas.as_ref().and_then(|quotas| quotas.get(&operation));
    if quota.is_some_and(|quota| !front.buckets.take(operation, *quota)) {
        return Ok(Refusal::of_status(429).into_response());
    }
    let response = run(front, call).await?;
    if let Some(delay) = delay {
        sleep(delay).await;
    }
    Ok(response)
}

fn replaced(instead: Instead) -> Response<Body> {
    let status = |status: u16| StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match instead {
        Instead::Error(code) => Refusal::of_status(code).with_status(status(code)),
        Instead::Html(code) => {
            plain(status(code), "text/html", "<html><head><title>Proxy</title></head><body>…</body></html>")
        }
        Instead::BrokenJson => plain(StatusCode::OK, "application/json", r#"{"Id":"0"#),
        Instead::RetryAfter(seconds) => {
            let mut response = Refusal::of_status(429).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        _ => json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"})),
    }
}

/// Runs an operation on a task of its own: a client that gives up does not stop it halfway.
async fn run(front: &Arc<Shared>, call: Call) -> Result<Response<Body>, NoAnswer> {
    let (done, outcome) = oneshot::channel();
    let shared = Arc::clone(front);
    front.spawn(async move {
        // Nobody may be waiting any more.
        let _ = done.send(perform(&shared, call).await);
    });
    outcome.await.map_err(|_| NoAnswer)
}

async fn perform(front: &Arc<Shared>, call: Call) -> Response<Body> {
    let body = &*call.body;
    let answer = match call.operation {
        Operation::StorePut => {
            let id = call.path.trim_start_matches(STAGING_PATH);
            let signature = query_value(&call.query, "X-Amz-Signature");
            return front.store.put(id, signature, &call.headers, call.body.clone());
        }
        Operation::StoreGet => {
            let signature = query_value(&call.query, "X-Amz-Signature");
            return front.store.get(signature, front.config.backend_within).await;
        }
        Operation::StartChatProxy => {
            return match front.start_chat_proxy(body).await {
                Ok(answer) => json(StatusCode::OK, &answer),
                Err((status, answer)) => {
                    json(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &answer)
                }
            };
        }
        Operation::StartChatContact => front.start_chat_contact(body).await,
        Operation::CreateParticipant => front.create_participant(body),
        Operation::StopContact => front.stop_contact(body).await,
        Operation::AgentToken => front.agent_token(body),
        Operation::CreateParticipantConnection => match bearer(front, Kind::Participant, &call.headers) {
            Ok(caller) => front.create_connection(&caller, body),
            Err(refusal) => Err(refusal),
        },
        operation => match bearer(front, Kind::Connection, &call.headers) {
            Ok(caller) => participant_operation(front, operation, &caller, &call).await,
            Err(refusal) => Err(refusal),
        },
    };
    match answer {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(refusal) => refusal.into_response(),
    }
}

fn participant_operation<'a>(
    front: &'a Shared,
    operation: Operation,
    caller: &'a Caller,
    call: &'a Call,
) -> impl Future<Output = Answer> + Send + 'a {
    let body = &*call.body;
    async move {
        match operation {
            Operation::SendMessage => front.send_message(caller, body).await,
            Operation::SendEvent => front.send_event(caller, body).await,
            Operation::GetTranscript => front.get_transcript(caller, body).await,
            Operation::DisconnectParticipant => front.disconnect(caller).await,
            Operation::StartAttachmentUpload => front.start_upload(caller, body),
            Operation::CompleteAttachmentUpload => front.complete_upload(caller, body).await,
            Operation::GetAttachment => front.get_attachment(caller, body),
            Operation::DescribeView => {
                front.describe_view(caller, call.path.trim_start_matches(participant::VIEWS_PATH)).await
            }
            Operation::GetAuthenticationUrl => front.authentication_url(caller, body).await,
            Operation::CancelParticipantAuthentication => front.cancel_authentication(caller, body).await,
            _ => Err(Refusal::of_status(500)),
        }
    }
}

fn bearer(front: &Shared, kind: Kind, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let token = headers.get(BEARER_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    front.tokens.check(kind, token).ok_or_else(Refusal::denied)
}

/// Opens a socket: one URL, one socket, within its time (§7.1).
fn upgrade(front: &Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let forbidden = || json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"}));
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(key) = key else {
        return json(StatusCode::BAD_REQUEST, &json!({"message": "Bad Request"}));
    };
    if front.faults.refuse_upgrade() {
        return forbidden();
    }
    let token = query_value(request.uri().query().unwrap_or_default(), "X-Amz-Token");
    let Some(caller) = front.tokens.redeem(Kind::SocketUrl, token) else { return forbidden() };
    let Some(mailbox) = caller.contact.mailbox(&caller.participant) else { return forbidden() };
    let Some((id, posts)) = mailbox.open(front.config.sockets_max) else { return forbidden() };
    let place = Place { mailbox, id };
    let upgraded = hyper::upgrade::on(&mut request);
    let shared = Arc::clone(front);
    front.spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            socket::serve(shared, caller, place, posts, TokioIo::new(upgraded)).await;
        }
    });
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers
        .insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(key).expect("base64 is a header value"));
    response
}
