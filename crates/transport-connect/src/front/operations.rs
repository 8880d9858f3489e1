//! Owns the eleven operations of the Participant Service. Source: §3, §11, §12.

use std::{borrow::Cow, sync::Arc};

use chat_core::{
    Ack, Capability, ClientToken, Command, Content, Delivery, Direction, HistoryFrom, HistoryRequest,
    Outgoing, OutgoingBody, RawEvent, ReceiptKind, ReceiptSignal, Sent, TypingSignal, Upload, VendorCommand,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Shared,
    answer::Refusal,
    backend::END_WITHIN,
    contact::Contact,
    convert,
    paging::PageQuery,
    tokens::{Caller, Kind},
};
use crate::wire::{
    ContentType, Item,
    errors::ErrorType,
    item::ReceiptContent,
    participant::{
        AUTHENTICATION_URL_COMMAND, CANCEL_AUTHENTICATION_COMMAND, CancelParticipantAuthenticationRequest,
        ConnectionType, CreateParticipantConnectionRequest, DESCRIBE_VIEW_COMMAND,
        GetAuthenticationUrlRequest, GetTranscriptRequest, ScanDirection, SendEventRequest,
        SendMessageRequest, SortOrder,
    },
};

/// What an operation answers.
pub(super) type Answer = Result<Value, Refusal>;

/// Reads a request's body, which is an object; an empty one is `{}`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let invalid = |what: &dyn std::fmt::Display| {
        Refusal::validation(format!("Validation exception due to invalid parameter: {what}"))
    };
    let body = match body.trim_ascii() {
        b"" => b"{}",
        object if object.starts_with(b"{") => object,
        _ => return Err(invalid(&"the request is no object")),
    };
    serde_json::from_slice(body).map_err(|error| invalid(&error))
}

/// A text that must be there and of this many characters at most.
pub(super) fn required(name: &str, text: Option<String>, max: usize) -> Result<String, Refusal> {
    match text {
        Some(text) if (1..=max).contains(&text.chars().count()) => Ok(text),
        _ => Err(Refusal::validation(format!("Validation exception due to invalid parameter: {name}"))),
    }
}

fn optional(name: &str, text: Option<String>, max: usize) -> Result<Option<String>, Refusal> {
    text.map(|text| required(name, Some(text), max)).transpose()
}

/// Largest content, in bytes.
const CONTENT_MAX: usize = 16_384;

impl Shared {
    pub(super) fn create_connection(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: CreateParticipantConnectionRequest = parse(body)?;
        let types = request.r#type.unwrap_or_default();
        if body_has_empty_type(body) {
            return Err(Refusal::validation("Validation exception due to invalid parameter: Type"));
        }
        if request.connect_participant == Some(true) {
            caller.contact.truth().connect(&caller.participant);
        }
        let mut answer = json!({});
        self.add_connection(caller, &types, &mut answer);
        Ok(answer)
    }

    /// Adds the parts of a connection that `types` ask for.
    pub(super) fn add_connection(&self, caller: &Caller, types: &[ConnectionType], answer: &mut Value) {
        let config = &self.config;
        if types.contains(&ConnectionType::Websocket) {
            let token = self.tokens.mint(Kind::SocketUrl, caller.clone(), Some(config.url_life));
            let expiry = self.faults.connection_life().unwrap_or(config.connection_expiry);
            let base = config.base_url.replacen("http", "ws", 1);
            answer["Websocket"] = json!({
                "Url": format!("{base}/gateway?X-Amz-Token={token}"),
                "ConnectionExpiry": self.after(expiry),
            });
        }
        if types.contains(&ConnectionType::ConnectionCredentials) {
            let token = self.tokens.mint(Kind::Connection, caller.clone(), Some(config.token_life));
            answer["ConnectionCredentials"] = json!({
                "ConnectionToken": &*token,
                "Expiry": self.after(config.token_life),
            });
        }
    }

    pub(super) async fn send_message(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: SendMessageRequest = parse(body)?;
        let content_type = required("ContentType", request.content_type, 100)?;
        let content = request.content.unwrap_or_default();
        let client_token = optional("ClientToken", request.client_token, 500)?;
        self.check_message(&caller.contact, &content_type, &content)?;
        let token = client_token.unwrap_or_else(|| ClientToken::random().as_str().to_owned());
        let content = Content::Text(convert::text(&content_type, content));
        let (id, time) = self.say(caller, &token, content, None).await?;
        let mut answer = json!({"Id": id, "AbsoluteTime": time});
        if let Some(status) = caller.contact.truth().processing_status(&id) {
            answer["MessageMetadata"] = json!({"MessageProcessingStatus": status});
        }
        Ok(answer)
    }

    /// The rules of a message (§3.2).
    pub(super) fn check_message(
        &self,
        contact: &Contact,
        content_type: &str,
        content: &str,
    ) -> Result<(), Refusal> {
        if !(1..=CONTENT_MAX).contains(&content.len()) {
            return Err(Refusal::validation(format!(
                "Validation exception due to invalid parameter: Content must be 1 to {CONTENT_MAX} bytes"
            )));
        }
        if !contact.content_types.iter().any(|supported| supported == content_type) {
            return Err(Refusal::validation("Validation exception due to invalid parameter: ContentType"));
        }
        Ok(())
    }

    /// Says something once per token, however often it is asked to (§3.2).
    pub(super) async fn say(
        &self,
        caller: &Caller,
        token: &str,
        content: Content,
        file: Option<(String, Upload)>,
    ) -> Result<(String, String), Refusal> {
        let slot = caller.contact.send_slot(&caller.participant, token);
        let mut slot = slot.lock().await;
        if let Some(answer) = &*slot {
            return Ok(answer.clone());
        }
        let contact = &caller.contact;
        let key = if contact.is_customer(&caller.participant) {
            self.say_to_backend(contact, token, content, file).await?
        } else {
            let mut truth = contact.truth();
            let sender = truth.person(&caller.participant).ok_or_else(Refusal::denied)?;
            truth.say(sender, convert::draft(&content))
        };
        let truth = contact.truth();
        let item = &truth.entry(key).ok_or_else(|| Refusal::of_status(500))?.item;
        let member = |member: &Option<Cow<'_, str>>| member.as_deref().unwrap_or_default().to_owned();
        let answer = (member(&item.id), member(&item.absolute_time));
        *slot = Some(answer.clone());
        Ok(answer)
    }

    async fn say_to_backend(
        &self,
        contact: &Contact,
        token: &str,
        content: Content,
        file: Option<(String, Upload)>,
    ) -> Result<super::paging::Key, Refusal> {
        let body = match (&content, &file) {
            (_, Some((_, upload))) => OutgoingBody::File(upload.clone()),
            (Content::Text(text), None) => OutgoingBody::Text(text.clone()),
            _ => return Err(Refusal::of_status(500)),
        };
        let _lane = contact.lane.lock().await;
        contact.truth().take_off(content, file.map(|(id, _)| id));
        let mut attempt = 0;
        loop {
            let outgoing = Outgoing { token: token.into(), attempt, body: body.clone() };
            match contact.submit(Command::Send(outgoing), self.config.backend_within).await {
                Ok(ack) => {
                    let sighting = match ack {
                        Ack::Sent(Sent { sighting }) => sighting.map(|sighting| *sighting),
                        _ => None,
                    };
                    return contact.truth().land(token, sighting).ok_or_else(Refusal::denied);
                }
                Err(error) if error.delivery() == Delivery::Unknown && attempt == 0 => {
                    // The same token may be sent again where the vendor swallows it; elsewhere the echo tells.
                    if contact.capabilities.can(Capability::IdempotentSend) {
                        attempt = 1;
                        continue;
                    }
                    let settle = contact.capabilities.settle_within;
                    let key = timeout(settle, contact.echo()).await.ok();
                    return contact.truth().crash().or(key).ok_or_else(|| error.into());
                }
                Err(error) => return contact.truth().crash().ok_or_else(|| error.into()),
            }
        }
    }

    pub(super) async fn send_event(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: SendEventRequest = parse(body)?;
        let content_type = required("ContentType", request.content_type, 100)?;
        let contact = &caller.contact;
        let customer = contact.is_customer(&caller.participant);
        // No deduplication by client token: the vendor's client sends a constant one (§3.3).
        let (id, time) = match ContentType::from(content_type.as_str()) {
            ContentType::Typing => {
                if customer && contact.capabilities.can(Capability::Typing) {
                    let signal = TypingSignal { on: true, preview: None };
                    contact.submit(Command::Typing(signal), self.config.backend_within).await?;
                }
                let mut truth = contact.truth();
                let sender = truth.person(&caller.participant);
                truth.emit_typing(sender)
            }
            ContentType::ConnectionAcknowledged => {
                // All that a client may send and the service does not act on.
                if customer && contact.capabilities.can(Capability::RawEvents) {
                    let event = RawEvent::new(content_type, request.content.unwrap_or_default());
                    contact.submit(Command::Event(event), self.config.backend_within).await?;
                }
                let mut truth = contact.truth();
                truth.connect(&caller.participant);
                let (id, time) = truth.mint();
                (id, time.to_string())
            }
            kind @ (ContentType::MessageDelivered | ContentType::MessageRead) => {
                let content = request.content.unwrap_or_default();
                let kind = match kind {
                    ContentType::MessageRead => ReceiptKind::Read,
                    _ => ReceiptKind::Delivered,
                };
                self.receipt(caller, customer, kind, &content).await?
            }
            _ => {
                return Err(Refusal::validation(
                    "Validation exception due to invalid parameter: ContentType",
                ));
            }
        };
        Ok(json!({"Id": id, "AbsoluteTime": time}))
    }

    async fn receipt(
        &self,
        caller: &Caller,
        customer: bool,
        kind: ReceiptKind,
        content: &str,
    ) -> Result<(String, String), Refusal> {
        let contact = &caller.contact;
        let invalid = || Refusal::validation("Validation exception due to invalid parameter: messageId");
        let message_id =
            ReceiptContent::decode(content).and_then(|content| content.message_id).ok_or_else(invalid)?;
        let (key, backend) = {
            let truth = contact.truth();
            if truth.people.values().filter(|person| person.is_active_human()).count() > 2 {
                return Err(Refusal::new(ErrorType::Conflict, "More than two participants are active"));
            }
            truth.message(&message_id).ok_or_else(invalid)?
        };
        let able = match kind {
            ReceiptKind::Delivered => Capability::DeliveredReceipts,
            ReceiptKind::Read => Capability::ReadReceipts,
        };
        if let (true, Some(message), true) = (customer, backend, contact.capabilities.can(able)) {
            let signal = ReceiptSignal { message, kind };
            contact.submit(Command::Receipt(signal), self.config.backend_within).await?;
        }
        let mut truth = contact.truth();
        let (id, now) = truth.mint();
        let read = (kind == ReceiptKind::Read).then_some(now);
        truth.receipt(key, caller.participant.to_string(), Some(now), read);
        Ok((id, now.to_string()))
    }

    pub(super) async fn get_transcript(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: GetTranscriptRequest = parse(body)?;
        let contact = &caller.contact;
        let mut answer = json!({"InitialContactId": contact.id, "Transcript": []});
        {
            let truth = contact.truth();
            if request.contact_id.as_ref().is_some_and(|asked| !truth.chain.contains(asked)) {
                answer["NextToken"] = json!("");
                return Ok(answer);
            }
        }
        let past = request.next_token.as_deref().and_then(|token| contact.past_cursor(token));
        let (items, next) = match past {
            Some(cursor) => {
                let from = cursor.map(HistoryFrom::Cursor);
                self.past_page(contact, from, &request).await?
            }
            None => {
                let truth = contact.truth();
                let query = PageQuery::read(&request, &*truth, self.config.start_position_included)?;
                if self.faults.empty_page() {
                    (Vec::new(), Some(query.again()))
                } else {
                    use super::paging::Shelf;
                    let (keys, next) = query.page(&truth.keys());
                    // The past lies behind the oldest item, and only backwards (§11.4).
                    let past = contact.continues
                        && query.direction == ScanDirection::Backward
                        && contact.capabilities.can(Capability::History);
                    let next = next.or_else(|| past.then(|| "p.0".to_owned()));
                    (keys.into_iter().filter_map(|key| truth.transcript_item(key)).collect(), next)
                }
            }
        };
        answer["Transcript"] = serde_json::to_value(items).expect("texts and lists always serialise");
        match next {
            Some(next) => answer["NextToken"] = json!(next),
            None if self.config.empty_next_token => answer["NextToken"] = json!(""),
            None => {}
        }
        Ok(answer)
    }

    /// A page of the sessions before this chat, from the transport's history.
    async fn past_page(
        &self,
        contact: &Contact,
        from: Option<HistoryFrom>,
        request: &GetTranscriptRequest,
    ) -> Result<(Vec<Item<'static>>, Option<String>), Refusal> {
        let oldest = || contact.truth().oldest_backend().map_or(HistoryFrom::Newest, HistoryFrom::Message);
        let limit = request.max_results.and_then(|max| u32::try_from(max).ok()).filter(|max| *max > 0);
        let from = from.unwrap_or_else(oldest);
        let command = Command::History(HistoryRequest {
            direction: Direction::Older,
            from: from.clone(),
            limit: limit.unwrap_or(10).min(100),
        });
        let page = match contact.submit(command, self.config.backend_within).await {
            Ok(Ack::History(page)) => page,
            Ok(_) => return Err(Refusal::of_status(500)),
            Err(error) if *error.kind() == chat_core::ErrorKind::NoMoreMessages => {
                return Ok((Vec::new(), None));
            }
            Err(error) => return Err(error.into()),
        };
        let mut truth = contact.truth();
        let old: Vec<_> = page.items.iter().filter(|one| !truth.knows(one)).collect();
        let mut items: Vec<_> = old.into_iter().filter_map(|sighting| truth.past(sighting)).collect();
        drop(truth);
        if request.sort_order.unwrap_or(SortOrder::Descending) == SortOrder::Descending {
            items.reverse();
        }
        // A cursor that leads to itself leads nowhere.
        let next = page.next.filter(|cursor| from != HistoryFrom::Cursor(cursor.clone()));
        Ok((items, next.map(|cursor| contact.past_token(cursor))))
    }

    pub(super) async fn disconnect(&self, caller: &Caller) -> Answer {
        let contact = &caller.contact;
        if !contact.is_customer(&caller.participant) {
            contact.truth().leave(&caller.participant);
            self.tokens.revoke(&caller.participant);
            return Ok(json!({}));
        }
        // Settled by now: nothing that was accepted is overtaken by the end.
        let _lane = contact.lane.lock().await;
        self.end(contact, true).await?;
        Ok(json!({}))
    }

    /// Ends a contact at the backend and here.
    pub(super) async fn end(&self, contact: &Arc<Contact>, customer_leaves: bool) -> Result<(), Refusal> {
        use chat_core::ErrorKind as Kind;
        match contact.submit(Command::Leave { end: true }, self.config.backend_within).await {
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), Kind::SessionEnded | Kind::SessionLost | Kind::AccessDenied) => {}
            Err(error) => return Err(error.into()),
        }
        if customer_leaves {
            contact.truth().leave(&contact.customer);
            // A flow may go on, with a survey for instance: then the end is the transport's to tell (§1).
            if contact.capabilities.can(Capability::Lingering) {
                return Ok(());
            }
        }
        // The transport's own last words come first, if it has any.
        let _ = timeout(END_WITHIN, contact.over()).await;
        self.finish(contact);
        Ok(())
    }

    /// From the registry, else from a transport of this very service (§12.3).
    pub(super) async fn describe_view(&self, caller: &Caller, token: &str) -> Answer {
        let token = percent_encoding::percent_decode_str(token).decode_utf8_lossy();
        if let Some(view) = self.views().get(&*token) {
            return Ok(json!({ "View": view }));
        }
        let data = json!({ "ViewToken": token });
        match self.vendor(caller, DESCRIBE_VIEW_COMMAND, data).await {
            Some(Ok(answer)) if answer.get("View").is_some() => Ok(answer),
            Some(Err(refusal)) if refusal.kind != ErrorType::Validation => Err(refusal),
            _ => {
                let mut refusal = Refusal::new(ErrorType::ResourceNotFound, "View not found");
                refusal.resource = Some((token.into_owned(), "CONTACT_FLOW"));
                Err(refusal)
            }
        }
    }

    /// A power of this service, where the customer's transport has it too.
    async fn vendor(&self, caller: &Caller, name: &'static str, data: Value) -> Option<Answer> {
        let contact = &caller.contact;
        let able = contact.capabilities.can(Capability::Vendor) && contact.is_customer(&caller.participant);
        if !able || !self.is_own_service() {
            return None;
        }
        let command = Command::Vendor(VendorCommand { name, data });
        Some(match contact.submit(command, self.config.backend_within).await {
            Ok(Ack::Vendor(answer)) => Ok(answer),
            Ok(_) => Ok(json!({})),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) async fn authentication_url(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: GetAuthenticationUrlRequest = parse(body)?;
        let session = required("SessionId", request.session_id, 36)?;
        let redirect = required("RedirectUri", request.redirect_uri, 1024)?;
        let registered = self.authentications().get(&session).cloned();
        if let Some(url) = registered {
            return Ok(json!({ "AuthenticationUrl": url }));
        }
        let data = json!({"SessionId": session, "RedirectUri": redirect});
        let unknown = || Err(Refusal::validation("Validation exception due to invalid parameter: SessionId"));
        self.vendor(caller, AUTHENTICATION_URL_COMMAND, data).await.unwrap_or_else(unknown)
    }

    pub(super) async fn cancel_authentication(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: CancelParticipantAuthenticationRequest = parse(body)?;
        let session = required("SessionId", request.session_id, 36)?;
        if self.authentications().remove(&session).is_some() {
            let phase = chat_core::AuthenticationPhase::Cancelled;
            let event = chat_core::SystemEvent::Authentication { phase, session: Some(session.into()) };
            caller.contact.truth().happened(&event, None, None);
            return Ok(json!({}));
        }
        let data = json!({ "SessionId": session });
        let unknown = || Err(Refusal::validation("Validation exception due to invalid parameter: SessionId"));
        self.vendor(caller, CANCEL_AUTHENTICATION_COMMAND, data).await.unwrap_or_else(unknown)
    }
}

/// `"Type": []` is refused, no `Type` is not.
fn body_has_empty_type(body: &[u8]) -> bool {
    let request = parse::<CreateParticipantConnectionRequest>(body).unwrap_or_default();
    request.r#type.is_some_and(|types| types.is_empty())
}
