//! Owns the control-plane calls, the start-chat proxy, and the front's own call that makes agents. Source: §5, §6.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use chat_core::{
    Capability, ClientToken, Continues, Extent, StartRequest, Text, TextFormat, TransportId, UserData,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Shared,
    answer::Refusal,
    backend,
    contact::{Beginning, Contact},
    convert,
    operations::{Answer, parse, required},
    tokens::{Caller, Kind},
    truth::{AGENT, CUSTOM_BOT, CUSTOMER, Truth},
};
use crate::wire::{
    ContentType,
    control::{
        CreateParticipantRequest, InitialMessage, PersistentChat, StartChatContactRequest, StopContactRequest,
    },
    errors::ErrorType,
    start_chat::{StartChatAnswer, StartChatError, StartChatRequest},
};

/// What the front's own call takes: who the agent is and which contact it accepts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentTokenRequest {
    contact_id: Option<String>,
    agent_id: Option<String>,
    display_name: Option<String>,
}

/// A contact that has begun.
struct Started {
    contact: Arc<Contact>,
    caller: Caller,
    token: Arc<str>,
    continued: Option<String>,
}

fn parameter(what: &str) -> Refusal {
    Refusal::new(ErrorType::InvalidParameter, format!("Invalid parameter: {what}"))
}

/// The service's names of the errors differ between its two halves.
fn in_control_plane(mut refusal: Refusal) -> Refusal {
    refusal.kind = match refusal.kind {
        ErrorType::Validation => ErrorType::InvalidRequest,
        ErrorType::Throttling => ErrorType::TooManyRequests,
        ErrorType::InternalServer => ErrorType::InternalService,
        other => other,
    };
    refusal
}

impl Shared {
    /// `PUT /contact/chat`.
    pub(super) async fn start_chat_contact(self: &Arc<Self>, body: &[u8]) -> Answer {
        let request: StartChatContactRequest = parse(body).map_err(in_control_plane)?;
        let types = request.connection_types.clone().unwrap_or_default();
        let key = request.client_token.clone();
        let this = Arc::clone(self);
        self.once(key, async move {
            let started = this.start(request).await?;
            let mut answer = json!({
                "ContactId": started.contact.id,
                "ParticipantId": &*started.contact.customer,
                "ParticipantToken": &*started.token,
            });
            if let Some(continued) = started.continued {
                answer["ContinuedFromContactId"] = json!(continued);
            }
            this.add_connection(&started.caller, &types, &mut answer);
            Ok(answer)
        })
        .await
    }

    /// The same start once per client token.
    async fn once(&self, key: Option<String>, start: impl Future<Output = Answer>) -> Answer {
        let Some(key) = key else { return start.await };
        let slot = self.start_slot(key);
        let mut slot = slot.lock().await;
        if let Some(answer) = &*slot {
            return Ok(answer.clone());
        }
        let answer = start.await?;
        *slot = Some(answer.clone());
        Ok(answer)
    }

    /// The start-chat proxy: whatever goes wrong is told in the proxy's own shape.
    pub(super) async fn start_chat_proxy(self: &Arc<Self>, body: &[u8]) -> Result<Value, (u16, Value)> {
        let failed = |refusal: Refusal| {
            let error = StartChatError {
                code: Some(refusal.kind.as_str().to_owned()),
                message: Some(refusal.message.clone()),
                status: Some(refusal.status().as_u16()),
            };
            (refusal.status().as_u16(), error.to_body())
        };
        let request: StartChatRequest = parse(body).map_err(in_control_plane).map_err(failed)?;
        let attributes = match request.attributes.as_ref().map(|attributes| attributes.to_map()) {
            Some(None) => return Err(failed(parameter("Attributes"))),
            Some(Some(map)) => Some(map),
            None => None,
        };
        let mut details = request.participant_details.unwrap_or_default();
        let username = request.extra.get("Username").or_else(|| request.extra.get("username"));
        if details.display_name.is_none() {
            details.display_name = username.and_then(Value::as_str).map(str::to_owned);
        }
        // A proxy knows instance and flow itself.
        let contact = StartChatContactRequest {
            instance_id: request.instance_id.or_else(|| Some("instance".to_owned())),
            contact_flow_id: request.contact_flow_id.or_else(|| Some("flow".to_owned())),
            participant_details: Some(details),
            attributes,
            supported_messaging_content_types: request.supported_messaging_content_types,
            initial_message: request.initial_message,
            chat_duration_in_minutes: request.chat_duration_in_minutes,
            persistent_chat: request.persistent_chat,
            participant_configuration: request.participant_configuration,
            client_token: request.client_token.clone(),
            ..StartChatContactRequest::default()
        };
        let this = Arc::clone(self);
        let answer = self.once(request.client_token, async move {
            let started = this.start(contact).await?;
            let mut answer = StartChatAnswer::new(
                started.contact.id.as_str(),
                &*started.contact.customer,
                (*started.token).into(),
            );
            answer.continued_from_contact_id = started.continued;
            answer.feature_permissions = this.config.feature_permissions.clone().unwrap_or_else(|| {
                let can = |capability| started.contact.capabilities.can(capability);
                BTreeMap::from([
                    ("ATTACHMENTS".to_owned(), can(Capability::Upload)),
                    ("MESSAGING_MARKDOWN".to_owned(), can(Capability::Markdown)),
                ])
            });
            Ok(answer.to_body(this.config.answer_shape, this.config.answer_casing))
        });
        answer.await.map_err(failed)
    }

    async fn start(self: &Arc<Self>, request: StartChatContactRequest) -> Result<Started, Refusal> {
        required("InstanceId", request.instance_id, 100).map_err(in_control_plane)?;
        required("ContactFlowId", request.contact_flow_id, 500).map_err(in_control_plane)?;
        let name = request.participant_details.and_then(|details| details.display_name);
        let name = required("ParticipantDetails.DisplayName", name, 256).map_err(in_control_plane)?;
        let attributes = request.attributes.unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let size: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > 32 * 1024 || !attributes.keys().all(|key| !key.is_empty() && key.bytes().all(allowed)) {
            return Err(parameter("Attributes"));
        }
        let plain = ContentType::Plain.as_str();
        let content_types =
            request.supported_messaging_content_types.unwrap_or_else(|| vec![plain.to_owned()]);
        if !content_types.iter().any(|one| one == plain) {
            return Err(parameter("SupportedMessagingContentTypes must contain text/plain"));
        }
        let minutes = match request.chat_duration_in_minutes {
            None => None,
            Some(minutes @ 60..=10_080) => u64::try_from(minutes).ok(),
            Some(_) => return Err(parameter("ChatDurationInMinutes")),
        };
        if request.persistent_chat.is_some() && request.related_contact_id.is_some() {
            return Err(parameter("PersistentChat together with RelatedContactId"));
        }
        let continues = request.persistent_chat.map(continues).transpose()?;
        let initial_message = request.initial_message.map(initial_message).transpose()?;
        if let Some((content_type, _)) = &initial_message
            && !content_types.contains(content_type)
        {
            return Err(parameter("InitialMessage.ContentType"));
        }
        let initial_message = initial_message.map(|(_, text)| text);
        let mode = request.participant_configuration.and_then(|one| one.response_mode);
        let mut vendor = Map::new();
        if self.is_own_service() {
            // Under the names of the service, for a service behind this one.
            let related = request.related_contact_id;
            for (key, value) in [
                ("ParticipantConfiguration", mode.as_ref().map(|mode| json!({ "ResponseMode": mode }))),
                ("ChatDurationInMinutes", minutes.map(|minutes| json!(minutes))),
                ("CustomerId", request.customer_id.map(|id| json!(id))),
                ("RelatedContactId", related.map(|id| json!(id))),
                ("SegmentAttributes", request.segment_attributes),
            ] {
                vendor.extend(value.map(|value| (key.to_owned(), value)));
            }
        }
        let start = StartRequest {
            key: Some(request.client_token.map_or_else(ClientToken::random, Into::into)),
            nickname: Some(name.clone()),
            user_data: UserData(attributes),
            initial_message,
            formats: content_types.iter().map(|one| convert::format(one)).filter(is_message).collect(),
            continues: continues.clone(),
            vendor,
            ..StartRequest::default()
        };
        let connection = backend::begin(self, start).await.map_err(|error| in_control_plane(error.into()))?;
        let session = &connection.session;
        let usable = |id: &str| (1..=256).contains(&id.chars().count());
        let taken = |id: &str| self.contacts().contains_key(id);
        let segment = session.segment.as_str();
        let contact_id = if usable(segment) && !taken(segment) {
            segment.to_owned()
        } else {
            uuid::Uuid::new_v4().to_string()
        };
        let own = session.participant.as_ref().map(|id| id.as_str()).filter(|id| usable(id));
        let customer: Arc<str> = own.map_or_else(|| uuid::Uuid::new_v4().to_string().into(), Into::into);
        let mut truth = Truth::new(
            Arc::clone(&self.config.clock),
            session.scope.clone(),
            session.started_at,
            contact_id,
            Arc::clone(&customer),
            mode.as_deref() != Some("COMPLETE"),
        );
        if truth.initial_id != segment {
            truth.chain.push(segment.to_owned());
        }
        let contact = Arc::new(Contact::new(Beginning {
            truth,
            handle: Arc::clone(&connection.handle),
            capabilities: connection.capabilities,
            content_types,
            continues: continues.is_some(),
        }));
        contact.enter(&customer, CUSTOMER, name, Arc::default());
        self.contacts().insert(contact.id.clone(), Arc::clone(&contact));
        let caller = Caller { contact: Arc::clone(&contact), participant: customer };
        let token = self.tokens.mint(Kind::Participant, caller.clone(), None);
        let life = minutes.map_or(self.config.chat_duration, |minutes| Duration::from_secs(minutes * 60));
        let driver =
            backend::drive(Arc::clone(self), Arc::clone(&contact), connection, Instant::now() + life);
        self.spawn(driver);
        Ok(Started { contact, caller, token, continued: continues.map(|one| one.source) })
    }

    /// `POST /contact/create-participant`.
    pub(super) fn create_participant(&self, body: &[u8]) -> Answer {
        let request: CreateParticipantRequest = parse(body).map_err(in_control_plane)?;
        required("InstanceId", request.instance_id, 100).map_err(in_control_plane)?;
        let contact = self.contact_of(request.contact_id)?;
        let details = request.participant_details.unwrap_or_default();
        if details.participant_role.as_deref() != Some(CUSTOM_BOT) {
            return Err(Refusal::new(ErrorType::InvalidRequest, "Only CUSTOM_BOT may be created for chat"));
        }
        let name = required("ParticipantDetails.DisplayName", details.display_name, 256)
            .map_err(in_control_plane)?;
        let participant: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        contact.enter(&participant, CUSTOM_BOT, name, Arc::default());
        let caller = Caller { contact, participant: Arc::clone(&participant) };
        let token = self.tokens.mint(Kind::Participant, caller, None);
        Ok(json!({
            "ParticipantCredentials": {"ParticipantToken": &*token, "Expiry": self.after(self.config.token_life)},
            "ParticipantId": &*participant,
        }))
    }

    /// `POST /front/agent-token`: not of the vendor. An agent accepts a contact and gets its token. All tokens of one `AgentId`
    /// share the agent's sockets, as an agent's page has one socket for all its contacts.
    pub(super) fn agent_token(&self, body: &[u8]) -> Answer {
        let request: AgentTokenRequest = parse(body)?;
        let contact = self.contact_of(request.contact_id)?;
        let agent = required("AgentId", request.agent_id, 256)?;
        let name = required("DisplayName", request.display_name, 256)?;
        let mailbox = {
            let mut agents = self.agents();
            agents.retain(|_, mailbox| mailbox.strong_count() > 0);
            match agents.get(&agent).and_then(Weak::upgrade) {
                Some(mailbox) => mailbox,
                None => {
                    let mailbox = Arc::default();
                    agents.insert(agent, Arc::downgrade(&mailbox));
                    mailbox
                }
            }
        };
        let participant: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        contact.enter(&participant, AGENT, name, mailbox);
        let caller = Caller { contact: Arc::clone(&contact), participant: Arc::clone(&participant) };
        let token = self.tokens.mint(Kind::Participant, caller, None);
        let contact_id = contact.truth().contact_id.clone();
        Ok(json!({
            "ContactId": contact_id,
            "InitialContactId": contact.id,
            "ParticipantId": &*participant,
            "ParticipantToken": &*token,
        }))
    }

    /// `POST /contact/stop`.
    pub(super) async fn stop_contact(&self, body: &[u8]) -> Answer {
        let request: StopContactRequest = parse(body).map_err(in_control_plane)?;
        required("InstanceId", request.instance_id, 100).map_err(in_control_plane)?;
        let contact_id = required("ContactId", request.contact_id, 256).map_err(in_control_plane)?;
        let Some(contact) = self.find_contact(&contact_id) else {
            return Err(Refusal::new(ErrorType::ContactNotFound, "Contact not found"));
        };
        let _lane = contact.lane.lock().await;
        self.end(&contact, false).await.map_err(in_control_plane)?;
        Ok(json!({}))
    }

    /// Whether the transport speaks to the very service that this front is.
    pub(super) fn is_own_service(&self) -> bool {
        self.transport.id() == TransportId::new("connect")
    }

    fn contact_of(&self, id: Option<String>) -> Result<Arc<Contact>, Refusal> {
        let id = required("ContactId", id, 256).map_err(in_control_plane)?;
        self.find_contact(&id).ok_or_else(|| Refusal::new(ErrorType::ResourceNotFound, "Contact not found"))
    }
}

fn continues(persistent: PersistentChat) -> Result<Continues, Refusal> {
    let extent = match persistent.rehydration_type.as_deref() {
        Some("ENTIRE_PAST_SESSION") => Extent::EntirePast,
        Some("FROM_SEGMENT") => Extent::FromSegment,
        _ => return Err(parameter("PersistentChat.RehydrationType")),
    };
    let source = required("PersistentChat.SourceContactId", persistent.source_contact_id, 256)
        .map_err(in_control_plane)?;
    Ok(Continues { source, extent })
}

/// The first message and its type.
fn initial_message(message: InitialMessage) -> Result<(String, Text), Refusal> {
    let content_type = required("InitialMessage.ContentType", message.content_type, 100);
    let content_type = content_type.map_err(in_control_plane)?;
    let content = message.content.unwrap_or_default();
    if !(1..=16_384).contains(&content.len()) {
        return Err(parameter("InitialMessage.Content"));
    }
    let text = convert::text(&content_type, content);
    Ok((content_type, text))
}

/// Interactive messages are shown, not sent: a format is one that can be sent or read as text.
fn is_message(format: &TextFormat) -> bool {
    !matches!(format, TextFormat::Other(other) if &**other == ContentType::Interactive.as_str())
}
