//! Owns the way in: commands become calls of the Participant Service, straight from the caller's task.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{
    Ack, Capability, Command, ConnectionHandle, Cursor, Delivery, Direction, Error, ErrorKind, HistoryFrom,
    HistoryPage, HistoryRequest, Outgoing, OutgoingBody, RawEvent, ReceiptKind, ReceiptSignal, Result, Retry,
    Sent, TypingSignal, VendorCommand,
};
use chat_net::http::{Body, Reply};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    TRANSPORT_ID,
    details::PAGE_MAX,
    driver::Shared,
    files::Uploads,
    service::{Credentials, Service, text},
    start::content_type,
    vendor,
};
use crate::{
    config::ParticipantKind,
    error::{ended, is_denied_by_service, unexpected},
    map::Chat,
    wire::{
        ContentType,
        participant::{
            AUTHENTICATION_URL_PATH, CANCEL_AUTHENTICATION_PATH, CancelParticipantAuthenticationRequest,
            DISCONNECT_PATH, DisconnectParticipantRequest, EVENT_PATH, GetAuthenticationUrlRequest,
            GetTranscriptAnswer, GetTranscriptRequest, MESSAGE_PATH, ScanDirection, SendAnswer,
            SendEventRequest, SendMessageRequest, SortOrder, StartPosition, TRANSCRIPT_PATH, VIEWS_PATH,
        },
    },
};

/// One connection's way in.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(super) service: Arc<Service>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) chat: Arc<Chat>,
    pub(super) shared: Arc<Shared>,
    pub(super) uploads: Arc<Uploads>,
}

/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[async_trait]
impl ConnectionHandle for Handle {
    async fn submit(&self, command: Command) -> Result<Ack> {
        if self.shared.is_over() {
            return Err(Error::new(ErrorKind::NotActive, "the connection is gone")
                .with_retry(Retry::Backoff)
                .with_delivery(Delivery::NotSent));
        }
        match command {
            Command::Send(Outgoing { token, body: OutgoingBody::Text(text), .. }) => {
                let request = SendMessageRequest {
                    content_type: Some(content_type(&text.format).to_owned()),
                    content: Some((*text.body).to_owned()),
                    client_token: Some(token.as_str().to_owned()),
                };
                let reply = self.post_final("SendMessage", MESSAGE_PATH, &request).await?;
                let answer =
                    SendAnswer::decode(self::text(&reply)?).ok_or_else(|| unexpected("SendMessage"))?;
                Ok(Ack::Sent(Sent { sighting: Some(Box::new(self.chat.sent(&token, &answer))) }))
            }
            Command::Send(Outgoing { token, body: OutgoingBody::File(upload), .. }) => {
                self.upload(&token, &upload).await
            }
            Command::Typing(TypingSignal { on, .. }) => match on {
                true => self.send_event(ContentType::Typing.as_str(), None).await,
                // The vendor has no stop: it expires at the other side.
                false => Ok(Ack::Done),
            },
            Command::Receipt(ReceiptSignal { message, kind }) => {
                let kind = match kind {
                    ReceiptKind::Delivered => ContentType::MessageDelivered,
                    ReceiptKind::Read => ContentType::MessageRead,
                };
                let content = json!({"messageId": message.as_str()}).to_string();
                self.send_event(kind.as_str(), Some(content)).await
            }
            Command::Event(RawEvent { kind, body }) => {
                self.send_event(&kind, (!body.is_empty()).then(|| (*body).to_owned())).await
            }
            Command::History(request) => self.history(request).await,
            Command::File(command) => self.file(command).await,
            Command::Leave { end: false } => {
                self.shared.leave();
                Ok(Ack::Done)
            }
            Command::Leave { end: true } => self.end().await,
            Command::Vendor(command) => self.vendor(command).await,
            Command::UserData(_) => Err(Error::unsupported(Capability::UserDataDuringChat, TRANSPORT_ID)),
            Command::Notice(_) => Err(Error::unsupported(Capability::Notice, TRANSPORT_ID)),
            Command::Poll(_) => Err(Error::unsupported(Capability::Poll, TRANSPORT_ID)),
            _ => Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        }
    }
}

impl Handle {
    /// One operation with the connection token. A denial renews the token once and tries once more; if the renewal is denied,
    /// too, the chat is over.
    pub(super) async fn post(
        &self,
        operation: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Reply> {
        self.post_with(operation, path, body, false).await
    }

    /// As [`post`](Self::post); a second denial, with fresh credentials, means that the chat is over.
    async fn post_final(
        &self,
        operation: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Reply> {
        self.post_with(operation, path, body, true).await
    }

    async fn post_with(
        &self,
        operation: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
        last: bool,
    ) -> Result<Reply> {
        let body = serde_json::to_vec(body)
            .map(bytes::Bytes::from)
            .map_err(|_| Error::new(ErrorKind::Internal, "a request that cannot be written"))?;
        self.authorized(operation, Method::POST, path, body, last).await
    }

    async fn authorized(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        body: bytes::Bytes,
        last: bool,
    ) -> Result<Reply> {
        let call = |token: chat_core::Secret| {
            let (method, body) = (method.clone(), Body::from(body.clone()));
            async move { self.service.call(operation, method, path, &token, body, &self.credentials.tap).await }
        };
        let token = self.credentials.current();
        let denied = match call(token.value).await {
            Err(error) if is_denied_by_service(&error) || error.kind() == &ErrorKind::Unauthorized => error,
            result => return result,
        };
        if let Err(error) = self.credentials.renew(&self.service, token.generation).await {
            if is_denied_by_service(&error) {
                self.shared.ended();
                return Err(ended(&denied));
            }
            // The request was refused, so it can be sent again once renewing succeeds.
            return Err(error.with_delivery(Delivery::NotSent));
        }
        match call(self.credentials.current().value).await {
            Err(error) if last && is_denied_by_service(&error) => {
                self.shared.ended();
                Err(ended(&error))
            }
            result => result,
        }
    }

    async fn send_event(&self, kind: &str, content: Option<String>) -> Result<Ack> {
        let request = SendEventRequest { content_type: Some(kind.to_owned()), content, client_token: None };
        self.post("SendEvent", EVENT_PATH, &request).await?;
        Ok(Ack::Done)
    }

    async fn end(&self) -> Result<Ack> {
        if self.chat.kind == ParticipantKind::Agent {
            return Err(Error::invalid_input(
                "an agent does not end the chat for the customer: leave it, and clear the contact in the contact centre",
            ));
        }
        let request = DisconnectParticipantRequest { client_token: None };
        // The end may be told before the answer.
        self.shared.ending(true);
        match self.post_final("DisconnectParticipant", DISCONNECT_PATH, &request).await {
            Ok(_) => {
                self.shared.leaving();
                Ok(Ack::Done)
            }
            // Over already: the terminal says so.
            Err(error) if error.kind() == &ErrorKind::SessionEnded => Ok(Ack::Done),
            Err(error) => {
                self.shared.ending(error.delivery() == Delivery::Unknown);
                Err(error)
            }
        }
    }

    async fn history(&self, request: HistoryRequest) -> Result<Ack> {
        const OPERATION: &str = "GetTranscript";
        let request = transcript_request(&request)?;
        let reply = self.post(OPERATION, TRANSCRIPT_PATH, &request).await?;
        let answer = GetTranscriptAnswer::decode(text(&reply)?).ok_or_else(|| unexpected(OPERATION))?;
        let items = answer.transcript.iter().flatten().map(|item| item.get());
        let items = self.chat.page(answer.initial_contact_id.as_deref(), items);
        let next = answer.next_token.filter(|token| !token.is_empty());
        if next.is_some() && next == request.next_token {
            return Err(unexpected("GetTranscript: the next page is this one"));
        }
        Ok(Ack::History(HistoryPage { items, next: next.map(|token| Cursor(token.into())) }))
    }

    async fn vendor(&self, command: VendorCommand) -> Result<Ack> {
        let argument = |name: &str| {
            command
                .data
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid_input(format!("{} needs {name}", command.name)))
        };
        let reply = match command.name {
            vendor::DESCRIBE_VIEW => {
                let path = format!("{VIEWS_PATH}{}", utf8_percent_encode(&argument("ViewToken")?, SEGMENT));
                self.authorized("DescribeView", Method::GET, &path, bytes::Bytes::new(), false).await?
            }
            vendor::AUTHENTICATION_URL => {
                let request = GetAuthenticationUrlRequest {
                    session_id: Some(argument("SessionId")?),
                    redirect_uri: Some(argument("RedirectUri")?),
                };
                self.post("GetAuthenticationUrl", AUTHENTICATION_URL_PATH, &request).await?
            }
            vendor::CANCEL_AUTHENTICATION => {
                let request =
                    CancelParticipantAuthenticationRequest { session_id: Some(argument("SessionId")?) };
                self.post("CancelParticipantAuthentication", CANCEL_AUTHENTICATION_PATH, &request).await?
            }
            vendor::ACKNOWLEDGE => {
                self.credentials.acknowledge(&self.service).await?;
                return Ok(Ack::Vendor(Value::Null));
            }
            _ => return Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        };
        serde_json::from_slice(&reply.body).map(Ack::Vendor).map_err(|_| unexpected(command.name))
    }
}

/// The page that is asked for. Pages are always ascending, so that they arrive oldest first.
fn transcript_request(request: &HistoryRequest) -> Result<GetTranscriptRequest> {
    let mut out = GetTranscriptRequest {
        max_results: Some(request.limit.clamp(1, PAGE_MAX).into()),
        scan_direction: Some(match request.direction {
            Direction::Older => ScanDirection::Backward,
            Direction::Newer => ScanDirection::Forward,
        }),
        sort_order: Some(SortOrder::Ascending),
        ..GetTranscriptRequest::default()
    };
    let at = |time: String| StartPosition { absolute_time: Some(time), ..StartPosition::default() };
    match (&request.from, request.direction) {
        (HistoryFrom::Newest, Direction::Older) => {}
        // Forward from nothing is refused (§11.2); no chat is older than this.
        (HistoryFrom::Oldest, Direction::Newer) => {
            out.start_position = Some(at("1970-01-01T00:00:00.000Z".to_owned()));
        }
        (HistoryFrom::Message(id), _) => {
            let id = Some(id.as_str().to_owned());
            out.start_position = Some(StartPosition { id, ..StartPosition::default() });
        }
        (HistoryFrom::Time(time), _) => out.start_position = Some(at(time.to_string())),
        (HistoryFrom::Cursor(cursor), _) => out.next_token = Some((*cursor.0).to_owned()),
        _ => return Err(Error::invalid_input("a page cannot start there and go that way")),
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use chat_core::{MessageId, Timestamp};

    use super::*;

    fn body(direction: Direction, from: HistoryFrom) -> Value {
        serde_json::to_value(transcript_request(&HistoryRequest { direction, from, limit: 500 }).unwrap())
            .unwrap()
    }

    #[test]
    fn pages_are_asked_for_as_the_service_wants_it() {
        assert_eq!(
            body(Direction::Older, HistoryFrom::Newest),
            json!({"MaxResults": 100, "ScanDirection": "BACKWARD", "SortOrder": "ASCENDING"})
        );
        assert_eq!(
            body(Direction::Newer, HistoryFrom::Message(MessageId::from("m")))["StartPosition"],
            json!({"Id": "m"})
        );
        assert_eq!(
            body(Direction::Newer, HistoryFrom::Time(Timestamp::parse("2026-05-04T11:00:00+02:00").unwrap()))
                ["StartPosition"],
            json!({"AbsoluteTime": "2026-05-04T09:00:00.000Z"})
        );
        let cursor = body(Direction::Older, HistoryFrom::Cursor(Cursor("t".into())));
        assert_eq!((&cursor["NextToken"], cursor.get("StartPosition")), (&json!("t"), None));
        // Forward without a start position is a validation error of the service.
        assert!(body(Direction::Newer, HistoryFrom::Oldest)["StartPosition"]["AbsoluteTime"].is_string());
        let nonsense = HistoryRequest { direction: Direction::Newer, from: HistoryFrom::Newest, limit: 1 };
        assert_eq!(transcript_request(&nonsense).unwrap_err().kind(), &ErrorKind::InvalidInput);
    }
}
