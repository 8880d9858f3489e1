//! Owns the way in: which command becomes which operation.

use async_trait::async_trait;
use chat_core::{
    Ack, Capability, ClientToken, Command, ConnectionHandle, Delivery, EndReason, Error, ErrorKind, FileAck,
    FileCommand, MessageId, Outgoing, OutgoingBody, ReceiptKind, ReceiptSignal, Result, Retry, Sent,
    Terminal, Text, TextFormat, TypingSignal, VendorCommand,
};
use serde_json::Value;

use super::{ChatConnection, Line};
use crate::{
    client::{TRANSPORT_ID, vendor},
    error::{ChatState, Failure},
    machine::{Epochs, tag},
    wire::{ErrorCode, Operation, Parameters, Reply},
};

/// As the vendor's widget names a text.
const TEXT: &str = "text";

#[async_trait]
impl ConnectionHandle for ChatConnection {
    async fn submit(&self, command: Command) -> Result<Ack> {
        self.still_there()?;
        match command {
            Command::Poll(scope) => self.poll(scope).await,
            Command::Send(Outgoing { token, body: OutgoingBody::Text(text), .. }) => {
                self.send_text(&token, &text).await?;
                let sighting = self.chat().followed.mapper().sent(&token);
                Ok(Ack::Sent(Sent { sighting: Some(Box::new(sighting)) }))
            }
            Command::Send(Outgoing { token, body: OutgoingBody::File(upload), .. }) => {
                let _turn = self.sending.lock().await;
                self.upload(&token, &upload).await
            }
            Command::Typing(signal) => self.typing(signal).await,
            Command::Receipt(ReceiptSignal { message, kind: ReceiptKind::Read }) => self.read(&message).await,
            Command::Receipt(_) => Err(Error::unsupported(Capability::DeliveredReceipts, TRANSPORT_ID)),
            Command::History(request) => self.history(&request).await,
            Command::UserData(data) => self.done(Operation::UpdateData, |all| all.user_data = data).await,
            Command::Notice(notice) => {
                self.done(Operation::CustomNotice, |all| all.message = Some((*notice).to_owned())).await
            }
            Command::File(command) => self.file(command).await.map(Ack::File),
            Command::Leave { end: false } => {
                self.finish(Terminal::Ended(EndReason::Left));
                Ok(Ack::Done)
            }
            Command::Leave { end: true } => self.end().await,
            Command::Vendor(command) => self.vendor(command).await,
            Command::Event(_) => Err(Error::unsupported(Capability::RawEvents, TRANSPORT_ID)),
            _ => Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        }
    }
}

impl ChatConnection {
    /// # Errors
    /// `NotActive` once the terminal is set, or nobody listens.
    pub(super) fn still_there(&self) -> Result<()> {
        if self.is_over() {
            return Err(Error::new(ErrorKind::NotActive, "the connection is gone")
                .with_retry(Retry::Backoff)
                .with_delivery(Delivery::NotSent));
        }
        Ok(())
    }

    /// One operation of this chat's party. What it says about the chat is followed up.
    pub(super) async fn order(&self, operation: Operation, parameters: &Parameters) -> Result<Reply> {
        match self.ask(operation, parameters).await {
            Ok(reply) => {
                // Over CometD, whatever comes is told where it arrives.
                if let Line::Rest(_) = self.line {
                    // Its events, if it has any, come with the next refresh: this answer proves nothing about those before them.
                    self.chat().take(operation, None, &reply);
                    self.save();
                    if reply.chat_ended == Some(true) {
                        self.last_look().await;
                    }
                }
                Ok(reply)
            }
            Err(failure) => Err(self.examine(failure).await),
        }
    }

    async fn done(&self, operation: Operation, fill: impl FnOnce(&mut Parameters) + Send) -> Result<Ack> {
        let mut parameters = self.parameters();
        fill(&mut parameters);
        self.order(operation, &parameters).await?;
        Ok(Ack::Done)
    }

    /// A message, without a position: its answer then brings nothing, and nothing that came in between is passed over (§5.4).
    pub(in crate::client) async fn send_text(&self, token: &ClientToken, text: &Text) -> Result<Reply> {
        if text.format != TextFormat::Plain {
            let capability = OutgoingBody::Text(text.clone()).capability().unwrap_or(Capability::RawEvents);
            return Err(Error::unsupported(capability, TRANSPORT_ID));
        }
        let _turn = self.sending.lock().await;
        let mut parameters = self.parameters();
        parameters.message = Some((*text.body).to_owned());
        parameters.message_type = Some(match self.inner.config.correlation_token {
            true => tag(TEXT, token),
            false => TEXT.to_owned(),
        });
        // What was typed is said now.
        self.chat().preview = None;
        self.order(Operation::Send, &parameters).await.map_err(|error| self.too_long(error, text))
    }

    /// The service's own limit is the same error as this side's (F83).
    fn too_long(&self, error: Error, text: &Text) -> Error {
        if error.vendor().code.as_deref() != Some(&*ErrorCode::MESSAGE_TOO_LONG.to_string()) {
            return error;
        }
        let limit = u64::from(self.inner.config.text_max_chars);
        Error::too_large("text", text.body.chars().count() as u64, limit, "characters")
            .with_vendor(error.vendor().clone())
            .with_delivery(Delivery::Refused)
    }

    async fn typing(&self, TypingSignal { on, preview }: TypingSignal) -> Result<Ack> {
        let limit = self.inner.config.text_max_chars as usize;
        let preview = preview.filter(|text| on && text.chars().count() <= limit);
        self.chat().preview.clone_from(&preview);
        let operation = if on { Operation::StartTyping } else { Operation::StopTyping };
        self.done(operation, |all| all.message = preview.as_deref().map(str::to_owned)).await
    }

    /// Everything up to this message was read.
    async fn read(&self, message: &MessageId) -> Result<Ack> {
        let index = Epochs::index(message).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no message of this chat").with_delivery(Delivery::NotSent)
        })?;
        self.done(Operation::ReadReceipt, |all| all.read_up_to = Some(index)).await
    }

    /// Fetches what was said so far, then ends the chat.
    async fn end(&self) -> Result<Ack> {
        {
            let _turn = self.refreshing.lock().await;
            let position = self.chat().followed.position();
            // The end does not depend on it.
            let _ = self.refresh(position).await;
        }
        if self.is_over() {
            return Ok(Ack::Done);
        }
        self.chat().ending = true;
        match self.ask(Operation::Disconnect, &self.parameters()).await {
            Ok(_) | Err(Failure { chat: ChatState::Over, .. }) => {
                self.over();
                Ok(Ack::Done)
            }
            Err(failure) => {
                let error = self.examine(failure).await;
                if self.is_over() {
                    return Ok(Ack::Done);
                }
                self.chat().ending = false;
                Err(error)
            }
        }
    }

    async fn file(&self, command: FileCommand) -> Result<FileAck> {
        match command {
            FileCommand::Limits => self.file_limits().await.map(FileAck::Limits),
            FileCommand::Download { id } => self.download(&id).await.map(FileAck::Download),
            FileCommand::Delete { id } => self.delete(&id).await.map(|()| FileAck::Deleted),
            FileCommand::Url { .. } => Err(Error::unsupported(Capability::FileUrl, TRANSPORT_ID)),
            _ => Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        }
    }

    async fn vendor(&self, VendorCommand { name, data }: VendorCommand) -> Result<Ack> {
        let argument = |key: &'static str| {
            data.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let missing = || Error::invalid_input(format!("{name}: an argument is missing"));
        match name {
            vendor::PUSH_URL => {
                let url = argument(vendor::PUSH_URL).ok_or_else(missing)?;
                self.done(Operation::PushUrl, |all| all.push_url = Some(url)).await
            }
            vendor::UPDATE_NICKNAME => {
                let nickname = argument("nickname").ok_or_else(missing)?;
                self.done(Operation::UpdateNickname, |all| all.nickname = Some(nickname)).await
            }
            vendor::READ_RECEIPT => {
                let message = argument("message").ok_or_else(missing)?;
                self.read(&message.into()).await
            }
            _ => Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        }
    }
}
