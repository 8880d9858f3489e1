//! Owns the powers that only this vendor has, as vendor commands: pushing a URL, taking another name, read receipts by hand.
//! Source: §2, operations 7, 8 and 11.

use async_trait::async_trait;
use chat_core::{Capability, ChatSession, Error, MessageId, Result, VendorCommand};
use serde_json::{Value, json};

use super::TRANSPORT_ID;

pub(crate) const PUSH_URL: &str = "pushUrl";
pub(crate) const UPDATE_NICKNAME: &str = "updateNickname";
pub(crate) const READ_RECEIPT: &str = "readReceipt";

/// What only GMS can do, for sessions over [`GmsTransport`](crate::GmsTransport). Over another transport each fails with
/// `Unsupported`, and nothing is sent.
#[async_trait]
pub trait GmsSessionExt {
    /// Pushes a URL to the other side.
    ///
    /// # Errors
    /// `InvalidInput` for an empty one; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether it was pushed.
    async fn push_url(&self, url: &str) -> Result<()>;

    /// Takes another name. The transcript tells it to everybody.
    ///
    /// # Errors
    /// `InvalidInput` for an empty one; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether it was taken; it can be repeated.
    async fn update_nickname(&self, nickname: &str) -> Result<()>;

    /// Says that everything up to this message was read. Only newer servers know it; nothing is ever told back. With
    /// [`GmsConfig::read_receipts`](crate::GmsConfig::read_receipts) the session does it by itself.
    ///
    /// # Errors
    /// `NotFound` for an unknown message; what the vendor says, as `Refused` or `NotFound` where the server is older.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether it was said; it can be repeated.
    async fn read_receipt(&self, message: &MessageId) -> Result<()>;
}

#[async_trait]
impl GmsSessionExt for ChatSession {
    async fn push_url(&self, url: &str) -> Result<()> {
        ask(self, PUSH_URL, json!({PUSH_URL: filled(url, "a URL is needed")?})).await
    }

    async fn update_nickname(&self, nickname: &str) -> Result<()> {
        ask(self, UPDATE_NICKNAME, json!({"nickname": filled(nickname, "a nickname is needed")?})).await
    }

    async fn read_receipt(&self, message: &MessageId) -> Result<()> {
        ask(self, READ_RECEIPT, json!({"message": message.as_str()})).await
    }
}

fn filled<'a>(text: &'a str, reason: &'static str) -> Result<&'a str> {
    let text = text.trim();
    if text.is_empty() { Err(Error::invalid_input(reason)) } else { Ok(text) }
}

async fn ask(session: &ChatSession, name: &'static str, data: Value) -> Result<()> {
    if session.transport() != TRANSPORT_ID {
        return Err(Error::unsupported(Capability::Vendor, session.transport()));
    }
    session.vendor(VendorCommand { name, data }).await.map(drop)
}
