//! Owns what each operation does: one service for REST and CometD (§2, §9.2).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{
    Content, Delivery, Error, ErrorKind, OutgoingBody, PendingSend, SystemEvent, Text, UserData,
    VendorCommand,
};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::{
    Shared,
    chat::Chat,
    config::{IdentityCheck, Unanswered},
    convert::Draft,
    files::Fetched,
    parties::CLIENT,
    start::acceptable,
    state::End,
};
use crate::wire::{
    ErrorCode, ErrorEntry, EventType, Identity, Operation, Parameters, Position, Reply, StatusCode,
};

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

pub(super) fn refused(code: ErrorCode, advice: &str) -> Outcome {
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
pub(super) fn gone(identity: Identity) -> Outcome {
    failed(identity, true, ErrorCode::NOT_EXECUTED, "session not found").into()
}

/// This chat cannot do it; it goes on.
pub(super) fn not_executed(chat: &Chat, advice: &str) -> Outcome {
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
            Ok(()) => {
                let reply = chat.reply(position.unwrap_or(Position::Nothing));
                chat.delivered(reply.events());
                reply.into()
            }
            Err(outcome) => outcome,
        }
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
    pub(super) async fn sent(
        &self,
        chat: &Arc<Chat>,
        mut pending: PendingSend,
        within: Duration,
    ) -> Result<(), Outcome> {
        let token = pending.token().clone();
        let until = Instant::now() + within;
        match timeout_at(until, &mut pending).await {
            Ok(Ok(_)) => {
                // As soon as its echo says where it belongs.
                let _ = timeout_at(until, chat.told(&token)).await;
                Ok(())
            }
            Ok(Err(error)) => {
                if error.delivery() != Delivery::Unknown {
                    chat.not_sent(&token);
                }
                Err(self.outcome_of(chat, &error))
            }
            Err(_) if pending.cancel() => {
                chat.not_sent(&token);
                Err(transient().into())
            }
            Err(_) => {
                // The client may send it again: from here on only what is on its way arrives.
                pending.give_up();
                Err(self.unanswered())
            }
        }
    }

    pub(super) fn unanswered(&self) -> Outcome {
        match self.config.unanswered {
            Unanswered::Transient => transient().into(),
            Unanswered::GatewayTimeout => Outcome::GatewayTimeout,
        }
    }

    /// What a backend's error is to the client.
    pub(super) fn outcome_of(&self, chat: &Chat, error: &Error) -> Outcome {
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
        let until = Instant::now() + self.config.request_within;
        let result = timeout_at(until, said).await;
        let taken = matches!(result, Ok(Ok(())));
        chat.change(|state| state.expected(ticket, taken));
        match result {
            Ok(Ok(())) => {
                let _ = timeout_at(until, chat.said(ticket)).await;
                Ok(())
            }
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
}
