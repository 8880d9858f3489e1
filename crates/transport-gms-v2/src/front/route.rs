//! Owns the way from a request to its operation and back: paths, keys of gateways, ordered faults.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::{sync::oneshot, time::sleep};

use super::{
    Shared,
    answer::{self, Body, NoAnswer, dress, html, preflight},
    body::{self, Limits, Unread},
    cometd,
    config::Refusals,
    faults::Instead,
    service::{Answered, Call, Outcome, failed, transient},
};
use crate::wire::{ErrorCode, ErrorEntry, Identity, Operation, Parameters, Reply};

/// Affinity cookie, where one is set.
const AFFINITY: &str = "GMSAFFINITY=node1";

/// Answers one request. `Err` cuts the connection instead.
pub(super) async fn handle(
    front: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = answer(&front, request).await?;
    dress(&mut response, origin.as_ref(), &front.config);
    Ok(response)
}

async fn answer(front: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, NoAnswer> {
    if request.method() == Method::OPTIONS {
        return Ok(preflight(request.headers()));
    }
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix('/').and_then(|path| path.strip_prefix(&*front.config.web_app)) else {
        return Ok(html(StatusCode::NOT_FOUND));
    };
    let below =
        |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(rest) = path.strip_prefix("/2/chat/") {
        rest_call(front, request, rest).await
    } else if below("/2/chat-ntf").is_some() {
        cometd::companion(front, request).await
    } else if below("/cometd").is_some() {
        cometd::call(front, request).await
    } else {
        Ok(html(StatusCode::NOT_FOUND))
    }
}

/// A call of §2: `path` begins with the service.
async fn rest_call(
    front: &Arc<Shared>,
    request: Request<Incoming>,
    path: &str,
) -> Result<Response<Body>, NoAnswer> {
    let (service, rest) = path.split_once('/').unwrap_or((path, ""));
    let Some(route) = Operation::from_rest_path(rest).filter(|_| front.serves(service)) else {
        return Ok(html(StatusCode::NOT_FOUND));
    };
    if request.method() != Method::POST {
        return Ok(html(StatusCode::METHOD_NOT_ALLOWED));
    }
    if !has_api_key(front, request.headers()) {
        return Ok(answer::invalid_api_key());
    }
    let operation = route.operation;
    // From its first byte to its answer.
    let refreshed = route.chat_id.as_deref().filter(|_| operation == Operation::Refresh);
    let _refreshing = refreshed.and_then(|id| front.chat(id)).map(|chat| chat.refreshing());
    let (parts, body) = request.into_parts();
    let arrived = match body::read(&parts.headers, body, limits(front)).await {
        Ok(arrived) => arrived,
        Err(unread) => return malformed(front, unread),
    };
    let mut parameters = match Parameters::from_pairs(operation, arrived.pairs) {
        Ok(parameters) => parameters,
        Err(malformed) => {
            return Ok(front.refusal(ErrorEntry::new(ErrorCode::INTERNAL, malformed.to_string())));
        }
    };
    parameters.identity.chat_id = route.chat_id.map(std::borrow::Cow::into_owned);
    parameters.file_id = route.file_id.map(std::borrow::Cow::into_owned);
    front.count_request();
    let starts = operation == Operation::RequestChat;
    if front.config.affinity_cookie && !starts && !has_affinity(&parts.headers) {
        return Ok(answer::reply(StatusCode::OK, &transient()));
    }
    let call = Call { service: Some(service.to_owned()), operation, parameters, file: arrived.file };
    let mut response = disturbed(front, call).await?;
    if front.config.affinity_cookie && starts {
        let cookie = HeaderValue::try_from(format!("{AFFINITY}; Path=/; HttpOnly"));
        response.headers_mut().extend(cookie.ok().map(|cookie| (header::SET_COOKIE, cookie)));
    }
    Ok(response)
}

pub(super) fn limits(front: &Shared) -> Limits {
    Limits { body: front.config.files.body_max, file: front.config.files.max_file_size }
}

pub(super) fn has_api_key(front: &Shared, headers: &HeaderMap) -> bool {
    let Some(key) = &front.config.api_key else { return true };
    ["apikey", "x-api-key"].iter().any(|name| {
        headers.get(*name).and_then(|value| value.to_str().ok()).is_some_and(|sent| sent == key.expose())
    })
}

fn has_affinity(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).any(|cookie| cookie.trim() == AFFINITY)
}

/// A call, and what was ordered to go wrong with it.
pub(super) async fn disturbed(front: &Arc<Shared>, call: Call) -> Result<Response<Body>, NoAnswer> {
    let fault = front.faults.answer(call.operation);
    let status = answer::status;
    match fault {
        None => run(front, call).await,
        Some(Instead::Transient) => Ok(answer::reply(StatusCode::OK, &transient())),
        Some(Instead::Failed { code, ended }) => {
            let names = Identity { chat_id: call.parameters.identity.chat_id, ..Identity::default() };
            let advice = "Media server could not execute the request. referenceId[20000005]";
            Ok(answer::reply(StatusCode::OK, &failed(names, ended, ErrorCode(code), advice)))
        }
        Some(Instead::Refused { status: code, code: error }) => {
            let error = ErrorEntry::new(ErrorCode(error), "refused. referenceId[20000005]");
            Ok(answer::reply(status(code), &Reply::refusal(vec![error])))
        }
        Some(Instead::Html(code)) => Ok(html(status(code))),
        Some(Instead::Text(text)) => Ok(answer::plain(StatusCode::OK, "text/plain", text)),
        Some(Instead::BrokenJson) => Ok(answer::json(StatusCode::OK, r#"{"messages":[{"from":{"nick"#)),
        Some(Instead::RetryAfter(seconds)) => {
            Ok(answer::retry_after(StatusCode::SERVICE_UNAVAILABLE, seconds))
        }
        Some(Instead::TooManyRequests(seconds)) => {
            Ok(answer::retry_after(StatusCode::TOO_MANY_REQUESTS, seconds))
        }
        Some(Instead::Hang) => std::future::pending().await,
        Some(Instead::Cut) => Err(NoAnswer),
        Some(Instead::Delay(delay)) => {
            let response = run(front, call).await;
            sleep(delay).await;
            response
        }
        Some(Instead::Late(by)) => run_after(front, call, by).await,
        Some(Instead::TransientAfterwards) => {
            run(front, call).await?;
            Ok(answer::reply(StatusCode::OK, &transient()))
        }
        Some(Instead::HtmlAfterwards(code)) => {
            run(front, call).await?;
            Ok(html(status(code)))
        }
        Some(Instead::TruncateAnswer) => Ok(answer::truncated(run(front, call).await?).await),
        Some(Instead::LoseAnswer) => {
            run(front, call).await?;
            Err(NoAnswer)
        }
        Some(Instead::LoseEverything) => {
            run(front, call).await?;
            front.cut_connections();
            Err(NoAnswer)
        }
        Some(Instead::HangAfterwards) => {
            run(front, call).await?;
            std::future::pending().await
        }
    }
}

/// Runs an operation on a task of its own: a client that gives up does not stop it halfway.
async fn run(front: &Arc<Shared>, call: Call) -> Result<Response<Body>, NoAnswer> {
    run_after(front, call, Duration::ZERO).await
}

async fn run_after(front: &Arc<Shared>, call: Call, delay: Duration) -> Result<Response<Body>, NoAnswer> {
    let (done, outcome) = oneshot::channel();
    let shared = Arc::clone(front);
    front.spawn(async move {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        // Nobody may be waiting any more.
        let _ = done.send(shared.execute(call).await);
    });
    let answered = outcome.await.map_err(|_| NoAnswer)?;
    Ok(response(front, answered))
}

fn response(front: &Shared, (_, outcome): Answered) -> Response<Body> {
    match outcome {
        Outcome::Reply(reply) => answer::reply(StatusCode::OK, &reply),
        Outcome::Refused(error) => front.refusal(error),
        Outcome::GatewayTimeout => answer::plain(StatusCode::GATEWAY_TIMEOUT, "text/html", ""),
        Outcome::File(file) => answer::file(file),
    }
}

/// A body that could not be read.
pub(super) fn malformed(front: &Shared, unread: Unread) -> Result<Response<Body>, NoAnswer> {
    match unread {
        Unread::TooLarge => Ok(html(StatusCode::PAYLOAD_TOO_LARGE)),
        Unread::Malformed => Ok(front.refusal(ErrorEntry::new(ErrorCode::INTERNAL, "malformed body"))),
        Unread::Cut => Err(NoAnswer),
    }
}

impl Shared {
    pub(super) fn serves(&self, service: &str) -> bool {
        self.config.services.iter().any(|known| known == service)
    }

    /// The call is not acceptable (§13.2).
    pub(super) fn refusal(&self, mut error: ErrorEntry) -> Response<Body> {
        self.refer(&mut error);
        match self.config.refusals {
            Refusals::BadRequest => answer::reply(StatusCode::BAD_REQUEST, &Reply::refusal(vec![error])),
            Refusals::StatusCode => {
                let status = crate::wire::StatusCode::Failed;
                let reply = Reply::failure(status, Identity::default(), false, vec![error]);
                answer::reply(StatusCode::OK, &reply)
            }
        }
    }
}
