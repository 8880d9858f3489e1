//! Owns the calls of the Participant Service, one attempt each, and the credentials that they need. Source: §2.2, §3.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chat_core::{Delivery, Error, ErrorKind, Result, Retry, Secret, Timestamp};
use chat_net::{
    HostPolicy, Net,
    http::{Body, Operation, Reply, RequestTimeout},
};
use http::{HeaderValue, Method, Request, header};
use serde::Serialize;
use tokio::time::Instant;

use super::tap::Tap;
use crate::{
    config::{ConnectConfig, Timings},
    error::{Failure, is_denied_by_service, unexpected},
    machine::{Pace, TokenClock, published},
    wire::{
        errors::{BEARER_HEADER, ERROR_TYPE_HEADER, REQUEST_ID_HEADER},
        participant::{
            CONNECTION_PATH, ConnectionType, CreateParticipantConnectionAnswer,
            CreateParticipantConnectionRequest,
        },
    },
};

/// The Participant Service at one endpoint.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) net: Net,
    base: String,
    agent: Option<HeaderValue>,
    pub(crate) timings: Timings,
    /// For sockets and presigned URLs.
    pub(crate) handed_out: HostPolicy,
    /// By operation; `None` without pacing.
    paces: Option<Mutex<HashMap<&'static str, Pace>>>,
}

/// How long a request may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    /// # Errors
    /// `Config` if the endpoint is no URL, or not allowed.
    pub(crate) fn new(config: &ConnectConfig, net: Net) -> Result<Self> {
        let base = config.check()?;
        let endpoint = HostPolicy::configured()
            .check(&base)
            .map_err(|error| Error::new(ErrorKind::Config, format!("endpoint: {}", error.context())))?;
        let loopback =
            config.allow_loopback.unwrap_or_else(|| is_loopback(endpoint.host().unwrap_or_default()));
        let mut handed_out = HostPolicy::vendor(
            config.vendor_suffixes().into_iter().chain(config.allowed_hosts.iter().map(String::as_str)),
        );
        if config.endpoint.is_some() {
            // Sockets and files of a custom endpoint may live on its own host.
            handed_out = handed_out.allow_host(endpoint.host().unwrap_or_default());
        }
        if loopback {
            handed_out = handed_out.loopback();
        }
        if config.allow_private {
            handed_out = handed_out.allow_private();
        }
        let paced = config.pacing.unwrap_or(config.endpoint.is_none());
        let agent = config
            .user_agent_suffix
            .as_deref()
            .map(|suffix| {
                HeaderValue::try_from(format!("chat-transport/{} {suffix}", env!("CARGO_PKG_VERSION")))
            })
            .transpose()
            .map_err(|_| Error::new(ErrorKind::Config, "user_agent_suffix is no header value"))?;
        Ok(Self { net, base, agent, timings: config.timings, handed_out, paces: paced.then(Mutex::default) })
    }

    /// Waits for the operation's turn.
    ///
    /// # Errors
    /// `RateLimited`, not sent, if its turn is far away.
    async fn turn(&self, operation: &'static str) -> Result<()> {
        let Some(paces) = &self.paces else { return Ok(()) };
        let now = Instant::now();
        let admitted = {
            let mut paces = paces.lock().unwrap_or_else(PoisonError::into_inner);
            let pace = paces.entry(operation).or_insert_with(|| {
                let (rate, burst) = published(operation);
                Pace::new(rate, burst)
            });
            pace.admit(now, PATIENCE)
        };
        match admitted {
            Ok(at) if at <= now => Ok(()),
            Ok(at) => {
                tokio::time::sleep_until(at).await;
                Ok(())
            }
            Err(wait) => Err(Error::new(ErrorKind::RateLimited, operation)
                .with_delivery(Delivery::NotSent)
                .with_retry(Retry::After(wait))),
        }
    }

    /// One operation with a JSON body.
    pub(crate) async fn post(
        &self,
        operation: &'static str,
        path: &str,
        bearer: &Secret,
        body: &(impl Serialize + Sync),
        tap: &Tap,
    ) -> Result<Reply> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Error::new(ErrorKind::Internal, "a request that cannot be written"))?;
        self.call(operation, Method::POST, path, bearer, body.into(), tap).await
    }

    /// One operation. Answers with a success in JSON, or an error.
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        bearer: &Secret,
        body: Body,
        tap: &Tap,
    ) -> Result<Reply> {
        self.turn(operation).await?;
        let mut header_value = HeaderValue::try_from(bearer.expose())
            .map_err(|_| Error::invalid_input("a token that is no header value"))?;
        header_value.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(BEARER_HEADER, header_value)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .extension(Operation(operation))
            .extension(RequestTimeout(self.timings.call))
            .body(body)
            .map_err(|_| Error::invalid_input("a request that is no URL"))?;
        if let Some(agent) = &self.agent {
            request.headers_mut().insert(header::USER_AGENT, agent.clone());
        }
        let reply = self.net.http().send(request).await?;
        tap.show(operation, &reply.body, bearer);
        if reply.status.is_success() {
            reply.json(operation)?;
            return Ok(reply);
        }
        Err(failure(&reply).of_operation(operation))
    }

    /// `CreateParticipantConnection`.
    pub(crate) async fn create_connection(
        &self,
        participant_token: &Secret,
        types: &[ConnectionType],
        connect_participant: bool,
        tap: &Tap,
    ) -> Result<(CreateParticipantConnectionAnswer, Option<Timestamp>)> {
        const OPERATION: &str = "CreateParticipantConnection";
        let request = CreateParticipantConnectionRequest {
            r#type: (!types.is_empty()).then(|| types.to_vec()),
            connect_participant: connect_participant.then_some(true),
        };
        let reply = self.post(OPERATION, CONNECTION_PATH, participant_token, &request, tap).await?;
        let answer =
            CreateParticipantConnectionAnswer::decode(text(&reply)?).ok_or_else(|| unexpected(OPERATION))?;
        Ok((answer, reply.server_date()))
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What an unsuccessful answer tells.
pub(crate) fn failure(reply: &Reply) -> Failure<'_> {
    let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
    Failure {
        status: reply.status.as_u16(),
        error_type: header(ERROR_TYPE_HEADER),
        request_id: header(REQUEST_ID_HEADER),
        retry_after: reply.retry_after(),
        body: std::str::from_utf8(&reply.body).unwrap_or_default(),
    }
}

/// The body as text.
pub(crate) fn text(reply: &Reply) -> Result<&str> {
    std::str::from_utf8(&reply.body).map_err(|_| unexpected("an answer that is no UTF-8"))
}

/// How long something lasts that the server says expires at `expiry`, by the server's own clock. `None` without one of them:
/// the local clock proves nothing.
pub(crate) fn life(expiry: Option<&str>, server_now: Option<Timestamp>) -> Option<Duration> {
    Some(Timestamp::parse(expiry?)?.saturating_since(server_now?))
}

/// The credentials of one connection. The connection token is renewed ahead of time, and once after a denial.
#[derive(Debug)]
pub(crate) struct Credentials {
    participant_token: Secret,
    token: Mutex<Token>,
    pub(crate) tap: Tap,
    /// Held while a renewal is under way: single flight.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    pub(crate) generation: u64,
    clock: TokenClock,
}

impl Credentials {
    pub(crate) fn new(
        participant_token: Secret,
        token: Secret,
        life: Option<Duration>,
        timings: &Timings,
        tap: Tap,
    ) -> Self {
        let mut clock = TokenClock::new(timings.token_ahead, timings.token_retry);
        clock.issued(Instant::now(), life);
        Self {
            participant_token,
            token: Mutex::new(Token { value: token, generation: 0, clock }),
            tap,
            renewing: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token to use now.
    pub(crate) fn current(&self) -> Token {
        self.lock().clone()
    }

    /// When the token should be renewed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lock().clock.due()
    }

    /// Renews the token, unless somebody has renewed the one of generation `seen` already. Fetches no URL.
    ///
    /// # Cancel safety
    /// Cancel safe: the old token stays, and the renewal stays due.
    pub(crate) async fn renew(&self, service: &Service, seen: u64) -> Result<()> {
        let _flight = self.renewing.lock().await;
        if self.lock().generation != seen {
            return Ok(());
        }
        let types = [ConnectionType::ConnectionCredentials];
        let answer = service.create_connection(&self.participant_token, &types, false, &self.tap).await;
        let mut token = self.lock();
        let renewed = answer.and_then(|(answer, server_now)| {
            let issued = answer.connection_credentials.unwrap_or_default();
            let value = issued.connection_token.ok_or_else(|| unexpected("no connection token"))?;
            Ok((value, life(issued.expiry.as_deref(), server_now)))
        });
        match renewed {
            Ok((value, life)) => {
                token.value = value;
                token.generation += 1;
                token.clock.issued(Instant::now(), life);
                Ok(())
            }
            Err(error) => {
                match is_denied_by_service(&error) {
                    true => token.clock.stop(),
                    false => token.clock.failed(Instant::now()),
                }
                Err(error)
            }
        }
    }

    /// Marks the participant as connected without a socket (agents; message streaming).
    pub(crate) async fn acknowledge(&self, service: &Service) -> Result<()> {
        service.create_connection(&self.participant_token, &[], true, &self.tap).await.map(drop)
    }
}
