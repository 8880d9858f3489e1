//! Owns what each operation does: one service for REST and CometD (§2, §9.2).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{
    Capability, ChatSession, Content, Delivery, Error, ErrorKind, KeyRule, OutgoingBody, PendingSend,
    SessionSettings, StartRequest, SystemEvent, Text, TypingPolicy, Upload, UserData, VendorCommand,
    transcript::View,
};
use serde_json::json;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    Shared,
    chat::{Beginning, Chat, End, drive},
    config::{FileRules, FrontConfig, IdentityCheck, Unanswered},
    convert::Draft,
    files::Fetched,
    parties::CLIENT,
};
use crate::wire::{
    ErrorCode, ErrorEntry, EventType, FILE_ID, Identity, Operation, Parameters, Position, Reply, StatusCode,
};

/// User data that asks for an asynchronous chat (§2).
const ASYNC_MODE: &str = "GCTI_Chat_AsyncMode";
/// The first reference that the service gives to an error.
const FIRST_REFERENCE: u64 = 20_000_001;

/// What a client asks for, however it came.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Option<String>,
    pub(super) operation: Operation,
    pub(super) parameters: Parameters,
    pub(super) file: Option<File>,
}

/// A file that came with a call.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) content_type: String,
    /// `None` if it is larger than the rules allow: nobody kept it.
    pub(super) bytes: Option<Bytes>,
}

/// What comes of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An answer in the service's own envelope.
    Reply(Box<Reply>),
    /// The call is not acceptable.
    Refused(ErrorEntry),
    /// Nobody knows.
    GatewayTimeout,
    /// A file.
    File(Fetched),
}

/// A chat that a start made or a call is about, and what came of it.
pub(super) type Answered = (Option<Arc<Chat>>, Outcome);

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

fn refused(code: ErrorCode, advice: &str) -> Outcome {
    Outcome::Refused(ErrorEntry::new(code, advice))
}

/// `statusCode` 1: nothing but that it may be tried again (§3.2).
pub(super) fn transient() -> Reply {
    Reply::failure(StatusCode::Transient, Identity::default(), false, Vec::new())
}

/// `statusCode` 2.
pub(super) fn failed(identity: Identity, ended: bool, code: ErrorCode, advice: &str) -> Reply {
    Reply::failure(StatusCode::Failed, identity, ended, vec![ErrorEntry::new(code, advice)])
}

/// The chat is not there, or no longer.
fn gone(identity: Identity) -> Outcome {
    failed(identity, true, ErrorCode::NOT_EXECUTED, "session not found").into()
}

/// This chat cannot do it; it goes on.
fn not_executed(chat: &Chat, advice: &str) -> Outcome {
    failed(chat.names(), false, ErrorCode::NOT_EXECUTED, advice).into()
}

impl Shared {
    /// Does what a client asks for.
    pub(super) async fn execute(self: &Arc<Self>, call: Call) -> Answered {
        if let Some(failover) = self.faults.failover() {
            self.all_chats().iter().for_each(|chat| chat.fail_over(&failover));
        }
        let (chat, mut outcome) = match call.operation {
            Operation::RequestChat => self.start(call).await,
            _ => match self.admit(&call) {
                Ok(chat) => {
                    chat.touch();
                    let outcome = self.perform(&chat, call).await;
                    chat.touch();
                    (Some(chat), outcome)
                }
                Err(outcome) => (None, outcome),
            },
        };
        match &mut outcome {
            Outcome::Reply(reply) => {
                if let Some(chat) = &chat {
                    self.disturb(chat, reply);
                }
                reply.errors.iter_mut().for_each(|error| self.refer(error));
            }
            Outcome::Refused(error) => self.refer(error),
            _ => {}
        }
        (chat, outcome)
    }

    /// Each error has a reference (§3.1).
    pub(super) fn refer(&self, error: &mut ErrorEntry) {
        if let Some(advice) = error.advice.as_mut().filter(|advice| !advice.contains("referenceId[")) {
            let reference = FIRST_REFERENCE + self.count_error();
            *advice = format!("{advice}. referenceId[{reference}]");
        }
    }

    /// What was ordered to go wrong with good replies.
    pub(super) fn disturb(&self, chat: &Chat, reply: &mut Reply) {
        if reply.status_code != Some(StatusCode::Ok) || reply.identity.chat_id.is_none() {
            return;
        }
        let fault = self.faults.reply(!reply.events().is_empty());
        if fault.change_alias {
            chat.change_alias();
            reply.identity.alias = Some(chat.alias());
        }
        if let Some(next) = &mut reply.next_position {
            *next = next.saturating_sub(fault.step_back).max(1);
        }
        if let Some(events) = &mut reply.messages {
            if fault.duplicate {
                *events = events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
            }
            if fault.reverse {
                events.reverse();
            }
        }
    }

    /// The chat that a call is about, if whoever calls is its client (§4).
    fn admit(&self, call: &Call) -> Result<Arc<Chat>, Outcome> {
        let identity = &call.parameters.identity;
        let asked = || Identity { user_id: None, secure_key: None, ..identity.clone() };
        let key = identity.secure_key.as_ref();
        let found = match (&identity.chat_id, key) {
            (Some(id), _) => self.chat(id),
            (None, Some(key)) => self.chat_of(key),
            (None, None) => None,
        };
        let found = found.filter(|chat| call.service.as_ref().is_none_or(|service| *service == chat.service));
        let chat = found.ok_or_else(|| gone(asked()))?;
        let strict = self.config.identity == IdentityCheck::Strict;
        let denied = || {
            let advice = "not authorized for this chat";
            Outcome::from(failed(Identity::default(), true, ErrorCode::NOT_AUTHORIZED, advice))
        };
        if key != Some(&chat.secure_key) || strict && identity.user_id.as_deref() != Some(&*chat.user_id) {
            return Err(denied());
        }
        // Another alias is another chat server, which does not know the chat (sample rest-81).
        if strict && identity.alias != Some(chat.alias()) {
            return Err(transient().into());
        }
        Ok(chat)
    }

    async fn perform(self: &Arc<Self>, chat: &Arc<Chat>, call: Call) -> Outcome {
        let Call { operation, parameters, file, .. } = call;
        let position = parameters.position;
        match operation {
            Operation::Refresh => {
                return self.refresh(chat, position.unwrap_or(Position::Everything), parameters.message);
            }
            Operation::RequestNotifications => {
                return self.refresh(chat, position.unwrap_or(Position::Everything), None);
            }
            Operation::FileDownload => return self.download(chat, parameters.file_id).await,
            Operation::FileLimits => return self.limits(chat),
            _ => {}
        }
        if chat.is_over() {
            return gone(chat.names());
        }
        let done = match operation {
            Operation::Send => self.send(chat, parameters).await,
            Operation::StartTyping => self.typing(chat, true, parameters.message),
            Operation::StopTyping => self.typing(chat, false, None),
            Operation::Disconnect => self.disconnect(chat).await,
            Operation::PushUrl => self.push_url(chat, parameters.push_url).await,
            Operation::UpdateNickname => self.rename(chat, parameters.nickname).await,
            Operation::CustomNotice => self.notice(chat, parameters.message).await,
            Operation::UpdateData => self.update_data(chat, parameters.user_data).await,
            Operation::ReadReceipt => self.read_receipt(chat, parameters.read_up_to),
            Operation::FileUpload => return self.upload(chat, file).await,
            Operation::FileDelete => self.delete(chat, parameters.file_id).await,
            _ => Err(not_executed(chat, "unknown operation")),
        };
        match done {
            Ok(()) => chat.reply(position.unwrap_or(Position::Nothing)).into(),
            Err(outcome) => outcome,
        }
    }

    // ---- start ----

    async fn start(self: &Arc<Self>, call: Call) -> Answered {
        match self.try_start(call).await {
            Ok(chat) => {
                let reply = chat.reply(Position::Everything);
                let reply = if self.config.legacy_start { reply.into_legacy_start() } else { reply };
                (Some(chat), reply.into())
            }
            Err(outcome) => (None, outcome),
        }
    }

    async fn try_start(self: &Arc<Self>, call: Call) -> Result<Arc<Chat>, Outcome> {
        let parameters = call.parameters;
        let named = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.trim().is_empty());
        let (first, last) = (named(&parameters.first_name), named(&parameters.last_name));
        if !named(&parameters.nickname) {
            match (first, last) {
                (true, true) => {}
                (false, false) => {
                    let advice = "nickname, or firstName and lastName, required";
                    return Err(refused(ErrorCode::NAME_REQUIRED, advice));
                }
                (false, true) => return Err(refused(ErrorCode::FIRST_NAME_REQUIRED, "firstName required")),
                (true, false) => return Err(refused(ErrorCode::LAST_NAME_REQUIRED, "lastName required")),
            }
        }
        if parameters.email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(refused(ErrorCode::INVALID_EMAIL, "invalid emailAddress"));
        }
        let cannot = || -> Outcome {
            let advice = "chat service unavailable";
            failed(Identity::default(), true, ErrorCode::CANNOT_START, advice).into()
        };
        if self.chats().by_id.len() >= self.config.chats_max {
            return Err(cannot());
        }
        let wishes_async = parameters.user_data.0.get(ASYNC_MODE).is_some_and(|text| text == "true");
        let asynchronous = wishes_async && self.config.asynchronous;
        let capabilities = self.transport.capabilities();
        let mut start = StartRequest {
            nickname: parameters.nickname,
            first_name: parameters.first_name,
            last_name: parameters.last_name,
            email: parameters.email,
            subject: parameters.subject,
            asynchronous: asynchronous && capabilities.can(Capability::Async),
            ..StartRequest::default()
        };
        if capabilities.can(Capability::UserDataBeforeStart) {
            start.user_data = acceptable(parameters.user_data, capabilities.user_data_keys);
        } else if !parameters.user_data.0.is_empty() {
            warn!(transport = %self.transport.id(), "the backend takes no user data: those of a start are dropped");
        }
        let nickname = start.display_name().unwrap_or_default();
        let started = ChatSession::over(Arc::clone(&self.transport))
            .settings(settings(&self.config))
            .clock(Arc::clone(&self.config.clock))
            .start(start);
        let session = match timeout(self.config.start_within, started).await {
            Ok(Ok(session)) => session,
            Ok(Err(failed)) => {
                debug!(error = %failed.error, "the backend starts no chat");
                return Err(cannot());
            }
            Err(_) => return Err(cannot()),
        };
        let events = session.subscribe(View::Full);
        let chat = Arc::new(Chat::new(
            Beginning {
                id: id(16),
                user_id: id(16),
                secure_key: id(32).to_lowercase().into(),
                service: call.service.unwrap_or_default(),
                asynchronous,
                session,
                nickname: nickname.into(),
            },
            &self.config,
        ));
        self.remember(&chat);
        self.spawn(drive(Arc::clone(self), Arc::clone(&chat), events));
        Ok(chat)
    }

    // ---- the transcript ----

    fn refresh(&self, chat: &Chat, position: Position, preview: Option<String>) -> Outcome {
        if let Some(preview) = preview.filter(|preview| !preview.is_empty()) {
            if chat.is_over() {
                return gone(chat.names());
            }
            if preview.chars().count() > self.config.message_max_chars {
                return refused(ErrorCode::MESSAGE_TOO_LONG, "message too long");
            }
            // The preview is of the moment: a failure is of no consequence.
            let _ = chat.session.key_pressed(Some(&preview));
        }
        if !chat.is_over() && chat.is_cut_off() {
            return transient().into();
        }
        let reply = chat.reply(position);
        // Whoever has heard of the end is told that there is nothing any more.
        if reply.chat_ended == Some(true) && reply.events().is_empty() {
            return gone(chat.names());
        }
        chat.delivered(reply.events());
        reply.into()
    }

    async fn send(&self, chat: &Arc<Chat>, parameters: Parameters) -> Result<(), Outcome> {
        let Some(text) = parameters.message.filter(|text| !text.is_empty()) else {
            return Err(refused(ErrorCode::NOT_EXECUTED, "message required"));
        };
        if text.chars().count() > self.config.message_max_chars {
            return Err(refused(ErrorCode::MESSAGE_TOO_LONG, "message too long"));
        }
        let body = OutgoingBody::Text(Text::plain(text));
        let pending = chat
            .send(body, parameters.message_type.map(Arc::from), None)
            .map_err(|error| self.outcome_of(chat, &error))?;
        self.sent(chat, pending, self.config.request_within).await
    }

    /// Waits for the backend. What it has not taken in time is taken back; of what it may have, nobody knows.
    async fn sent(
        &self,
        chat: &Arc<Chat>,
        mut pending: PendingSend,
        within: Duration,
    ) -> Result<(), Outcome> {
        let token = pending.token().clone();
        match timeout(within, &mut pending).await {
            Ok(Ok(_)) => {
                // Told at once, or as soon as its echo says what it is.
                let _ = timeout(within, chat.told(&token)).await;
                Ok(())
            }
            Ok(Err(error)) => Err(self.outcome_of(chat, &error)),
            Err(_) if pending.cancel() => Err(transient().into()),
            Err(_) => {
                // The client may send it again: from here on only what is on its way arrives.
                pending.give_up();
                Err(self.unanswered())
            }
        }
    }

    fn unanswered(&self) -> Outcome {
        match self.config.unanswered {
            Unanswered::Transient => transient().into(),
            Unanswered::GatewayTimeout => Outcome::GatewayTimeout,
        }
    }

    /// What a backend's error is to the client.
    fn outcome_of(&self, chat: &Chat, error: &Error) -> Outcome {
        debug!(%error, "the backend");
        match error.kind() {
            ErrorKind::TooLarge { .. } => refused(ErrorCode::MESSAGE_TOO_LONG, "message too long"),
            ErrorKind::SessionEnded | ErrorKind::NotActive | ErrorKind::SessionLost => gone(chat.names()),
            _ if error.delivery() == Delivery::Unknown => self.unanswered(),
            ErrorKind::Network
            | ErrorKind::Timeout
            | ErrorKind::Server
            | ErrorKind::RateLimited
            | ErrorKind::QueueFull
            | ErrorKind::Expired
            | ErrorKind::Cancelled
            | ErrorKind::StoreUnavailable => transient().into(),
            _ => not_executed(chat, "Media server could not execute the request"),
        }
    }

    async fn disconnect(&self, chat: &Arc<Chat>) -> Result<(), Outcome> {
        match timeout(self.config.request_within, chat.session.end()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::SessionEnded | ErrorKind::NotActive) => {}
            Ok(Err(error)) => return Err(self.outcome_of(chat, &error)),
            Err(_) => return Err(transient().into()),
        }
        chat.finish(End::ClientGone);
        Ok(())
    }

    // ---- what is of the moment ----

    fn typing(&self, chat: &Chat, on: bool, preview: Option<String>) -> Result<(), Outcome> {
        let preview = preview.filter(|text| !text.is_empty());
        if preview.as_ref().is_some_and(|text| text.chars().count() > self.config.message_max_chars) {
            return Err(refused(ErrorCode::MESSAGE_TOO_LONG, "message too long"));
        }
        // A backend without typing is told nothing, as an agent who does not look.
        let told = if on { chat.session.key_pressed(preview.as_deref()) } else { chat.session.typing(false) };
        if let Err(error) = told
            && !matches!(error.kind(), ErrorKind::Unsupported { .. })
        {
            return Err(self.outcome_of(chat, &error));
        }
        let kind = if on { EventType::TypingStarted } else { EventType::TypingStopped };
        let draft = Draft::new(kind).with_text(preview.unwrap_or_default());
        chat.change(|state| state.own_typing(draft));
        Ok(())
    }

    fn read_receipt(&self, chat: &Chat, up_to: Option<u64>) -> Result<(), Outcome> {
        let Some(up_to) = up_to else {
            return Err(refused(ErrorCode::NOT_EXECUTED, "transcriptPosition required"));
        };
        let Some(message) = chat.state().message_at(up_to) else { return Ok(()) };
        chat.session.mark_read(&message).map_err(|error| self.outcome_of(chat, &error))
    }

    // ---- what is said beside messages ----

    /// Hands something to the backend, and tells it once the backend has it.
    async fn say(
        &self,
        chat: &Chat,
        content: Content,
        said: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Outcome> {
        let ticket = chat.change(|state| state.expect(content));
        let result = timeout(self.config.request_within, said).await;
        let taken = matches!(result, Ok(Ok(())));
        chat.change(|state| state.expected(ticket, taken));
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.outcome_of(chat, &error)),
            Err(_) => Err(self.unanswered()),
        }
    }

    async fn notice(&self, chat: &Chat, message: Option<String>) -> Result<(), Outcome> {
        let text: Arc<str> = message.unwrap_or_default().into();
        let said = chat.session.send_notice(Arc::clone(&text));
        self.say(chat, Content::Notice(text), said).await
    }

    async fn push_url(&self, chat: &Chat, url: Option<String>) -> Result<(), Outcome> {
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            return Err(refused(ErrorCode::NOT_EXECUTED, "pushUrl required"));
        };
        let command = VendorCommand { name: Operation::PushUrl.name(), data: json!({ "pushUrl": url }) };
        let said = async { chat.session.vendor(command).await.map(drop) };
        self.say(chat, Content::PushUrl(url.into()), said).await
    }

    async fn rename(&self, chat: &Chat, nickname: Option<String>) -> Result<(), Outcome> {
        let Some(nickname) = nickname.filter(|name| !name.trim().is_empty()) else {
            return Err(refused(ErrorCode::NAME_REQUIRED, "nickname required"));
        };
        let data = json!({ "nickname": nickname });
        let command = VendorCommand { name: Operation::UpdateNickname.name(), data };
        let said = async {
            chat.session.vendor(command).await?;
            chat.change(|state| state.parties.rename(CLIENT, &nickname));
            Ok(())
        };
        self.say(chat, Content::Event(SystemEvent::NameUpdated), said).await
    }

    async fn update_data(&self, chat: &Chat, data: UserData) -> Result<(), Outcome> {
        let data = acceptable(data, chat.session.capabilities().user_data_keys);
        match timeout(self.config.request_within, chat.session.update_user_data(data)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.outcome_of(chat, &error)),
            Err(_) => Err(self.unanswered()),
        }
    }

    // ---- files (§7) ----

    /// The rules, as far as the backend takes files.
    fn file_rules(&self, chat: &Chat) -> FileRules {
        let mut rules = self.config.files.clone();
        let capabilities = chat.session.capabilities();
        if !capabilities.can(Capability::Upload) {
            rules.max_files = 0;
        }
        rules.max_file_size = rules.max_file_size.min(capabilities.file_max_bytes.unwrap_or(u64::MAX));
        rules.max_files = rules.max_files.min(capabilities.files_max_count.map_or(u64::MAX, u64::from));
        rules
    }

    fn limits(&self, chat: &Chat) -> Outcome {
        if chat.is_over() {
            return gone(chat.names());
        }
        let rules = self.file_rules(chat);
        let state = chat.state();
        let limits = state.files.limits(&rules);
        let event = limits.to_event(state.parties.party(CLIENT), state.utc(None));
        Reply::about_files(vec![event], None).into()
    }

    async fn upload(&self, chat: &Arc<Chat>, file: Option<File>) -> Outcome {
        match self.try_upload(chat, file).await {
            Ok(id) => Reply::about_files(Vec::new(), Some(UserData::new().with(FILE_ID, &*id))).into(),
            Err(outcome) => outcome,
        }
    }

    async fn try_upload(&self, chat: &Arc<Chat>, file: Option<File>) -> Result<Arc<str>, Outcome> {
        let Some(File { name, content_type, bytes }) = file else {
            return Err(refused(ErrorCode::NOT_EXECUTED, "file required"));
        };
        let rules = self.file_rules(chat);
        let size = bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
        let id = {
            let mut state = chat.state();
            let has_agent = state.parties.has_agent();
            state.files.reserve(&rules, &name, size, has_agent).map_err(Outcome::Refused)?
        };
        let upload = Upload::from_bytes(name, content_type, bytes.unwrap_or_default());
        let sent = match chat.send(OutgoingBody::File(upload), None, Some(Arc::clone(&id))) {
            Ok(pending) => self.sent(chat, pending, self.config.start_within).await,
            Err(error) => Err(self.file_outcome(chat, &error)),
        };
        if let Err(outcome) = sent {
            chat.state().files.release(&id);
            return Err(outcome);
        }
        Ok(id)
    }

    fn file_outcome(&self, chat: &Chat, error: &Error) -> Outcome {
        match error.kind() {
            ErrorKind::TooLarge { .. } | ErrorKind::QuotaExceeded => {
                refused(ErrorCode::FILE_QUOTA, "upload limit exceeded")
            }
            ErrorKind::InvalidInput => refused(ErrorCode::FILE_TYPE, "file type not allowed"),
            _ => self.outcome_of(chat, error),
        }
    }

    async fn download(&self, chat: &Chat, file_id: Option<String>) -> Outcome {
        match self.try_download(chat, file_id).await {
            Ok(fetched) => Outcome::File(fetched),
            Err(outcome) => outcome,
        }
    }

    async fn try_download(&self, chat: &Chat, file_id: Option<String>) -> Result<Fetched, Outcome> {
        let (attachment, name) = {
            let mut state = chat.state();
            let found = state.files.find(&file_id.unwrap_or_default()).map_err(Outcome::Refused)?;
            state.files.count_download(&self.config.files).map_err(Outcome::Refused)?;
            found
        };
        match timeout(self.config.start_within, chat.session.download(&attachment)).await {
            Ok(Ok(download)) => Ok(Fetched { name, download }),
            Ok(Err(error)) => Err(self.outcome_of(chat, &error)),
            Err(_) => Err(transient().into()),
        }
    }

    async fn delete(&self, chat: &Chat, file_id: Option<String>) -> Result<(), Outcome> {
        let id = file_id.unwrap_or_default();
        let (attachment, _) = chat.state().files.find(&id).map_err(Outcome::Refused)?;
        match timeout(self.config.request_within, chat.session.delete_file(&attachment)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.outcome_of(chat, &error)),
            Err(_) => return Err(self.unanswered()),
        }
        chat.change(|state| {
            if let Some(draft) = state.files.withdrawn(&id) {
                let time = state.utc(None);
                state.tell(draft, CLIENT, time);
            }
        });
        Ok(())
    }
}

/// What a session does for the client of this service: what it could not say itself, it says nothing of.
fn settings(config: &FrontConfig) -> SessionSettings {
    let mut typing = TypingPolicy::default();
    // The client says itself when it stops; this is for one that does not.
    typing.stop_after = Duration::from_secs(30);
    typing.preview_every = Duration::from_secs(1);
    typing.restart_at_once = true;
    SessionSettings::default()
        .with_typing(typing)
        .with_auto_delivered(false)
        .with_reader_capacity(1024)
        .with_outbox_ttl(Some(config.request_within))
}

/// User data under keys that the backend accepts: whatever it does not, becomes `_`.
fn acceptable(data: UserData, rule: KeyRule) -> UserData {
    let key = |key: String| {
        if rule.accepts(&key) {
            return key;
        }
        let fits = |c: char| rule.accepts(c.encode_utf8(&mut [0; 4]));
        let fitted: String = key.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        if fitted.is_empty() { "_".to_owned() } else { fitted }
    };
    UserData(data.0.into_iter().map(|(name, value)| (key(name), value)).collect())
}

fn is_email(text: &str) -> bool {
    let (name, host) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !text.contains(' ')
}

/// An id of the service: so many upper-case hexadecimal digits.
fn id(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        text.push_str(&uuid::Uuid::new_v4().simple().to_string().to_uppercase());
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_to_fit_the_backend() {
        let data = UserData::new().with("order.id", "A-17").with("_genesys_url", "x");
        let fitted = acceptable(data, KeyRule::AlphanumericDashUnderscore);
        assert_eq!(fitted, UserData::new().with("order_id", "A-17").with("_genesys_url", "x"));
    }

    #[test]
    fn addresses_have_a_name_and_a_host() {
        assert!(is_email("jon@example.test"));
        for text in ["not-an-email", "@example.test", "jon@", "jon@host", "j on@example.test", ""] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn ids_are_as_long_as_asked() {
        assert_eq!(id(16).len(), 16);
        assert_eq!(id(100).len(), 100);
    }
}
