//! Owns the three operations of files: announce, complete, fetch. Source: §10.

use std::time::Duration;

use chat_core::{Attachment, AttachmentStatus, Capability, Content, Upload};
use serde_json::{Value, json};

use super::{
    Shared,
    answer::Refusal,
    files::Announced,
    operations::{Answer, parse, required},
    tokens::Caller,
    truth::CUSTOM_BOT,
};
use crate::wire::participant::{
    CompleteAttachmentUploadRequest, GetAttachmentRequest, StartAttachmentUploadRequest,
};

impl Shared {
    pub(super) fn start_upload(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: StartAttachmentUploadRequest = parse(body)?;
        let content_type = required("ContentType", request.content_type, 255)?;
        let name = required("AttachmentName", request.attachment_name, 256)?;
        required("ClientToken", request.client_token, 500)?;
        let size = request.attachment_size_in_bytes.and_then(|size| u64::try_from(size).ok());
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err(Refusal::validation(
                "Validation exception due to invalid parameter: AttachmentSizeInBytes",
            ));
        };
        let contact = &caller.contact;
        if contact.is_customer(&caller.participant) && !contact.capabilities.can(Capability::Upload) {
            return Err(Refusal::validation("Attachments are not enabled for this instance"));
        }
        let rules = &self.config.attachments;
        let owner = (contact.id.as_str(), &caller.participant);
        let Announced { id, path, headers } =
            self.store.announce(rules, owner, (name, content_type, size))?;
        let headers: serde_json::Map<String, Value> =
            headers.into_iter().map(|(name, value)| (name, json!(value))).collect();
        Ok(json!({
            "AttachmentId": id,
            "UploadMetadata": {
                "Url": format!("{}{path}", self.config.base_url),
                "UrlExpiry": self.after(rules.upload_within),
                "HeadersToInclude": headers,
            },
        }))
    }

    pub(super) async fn complete_upload(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: CompleteAttachmentUploadRequest = parse(body)?;
        let token = required("ClientToken", request.client_token, 500)?;
        let ids = request.attachment_ids.unwrap_or_default();
        let [id] = ids.as_slice() else {
            return Err(Refusal::validation("Validation exception due to invalid parameter: AttachmentIds"));
        };
        let slot = caller.contact.send_slot(&caller.participant, &token);
        if slot.lock().await.is_some() {
            return Ok(json!({}));
        }
        let arrived = self.store.complete(id, &caller.participant)?;
        let mut undo = Undo { front: self, id, success: false };
        let content = Content::Files(vec![Attachment {
            id: id.as_str().into(),
            name: arrived.name.as_str().into(),
            content_type: arrived.content_type.as_str().into(),
            size: Some(arrived.bytes.len() as u64),
            status: AttachmentStatus::Approved,
        }]);
        let upload = Upload::from_bytes(arrived.name, arrived.content_type, arrived.bytes);
        self.say(caller, &token, content, Some((id.clone(), upload))).await?;
        undo.success = true;
        Ok(json!({}))
    }

    pub(super) fn get_attachment(&self, caller: &Caller, body: &[u8]) -> Answer {
        let request: GetAttachmentRequest = parse(body)?;
        let id = required("AttachmentId", request.attachment_id, 256)?;
        let life = match request.url_expiry_in_seconds {
            None => 300,
            Some(seconds @ 5..=300) => u64::try_from(seconds).expect("5 to 300"),
            Some(_) => {
                return Err(Refusal::validation(
                    "Validation exception due to invalid parameter: UrlExpiryInSeconds",
                ));
            }
        };
        let inline = match request.url_content_disposition.as_deref() {
            None | Some("ATTACHMENT") => false,
            Some("INLINE") => true,
            Some(_) => {
                return Err(Refusal::validation(
                    "Validation exception due to invalid parameter: UrlContentDisposition",
                ));
            }
        };
        let shown = {
            let truth = caller.contact.truth();
            if truth.people.get(&caller.participant).is_some_and(|person| person.role == CUSTOM_BOT) {
                return Err(Refusal::denied());
            }
            truth.file(&id)
        };
        let Some((_, size)) = shown else { return Err(Refusal::validation("Attachment not found")) };
        let life = Duration::from_secs(life);
        let (path, stored) = self.store.ticket(&caller.contact, &id, inline, life);
        Ok(json!({
            "Url": format!("{}{path}", self.config.base_url),
            "UrlExpiry": self.after(life),
            "AttachmentSizeInBytes": stored.or(size).unwrap_or_default(),
        }))
    }
}

/// A completion that did not come to its end may be tried again.
struct Undo<'a> {
    front: &'a Shared,
    id: &'a str,
    success: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.front.store.completed(self.id, self.success);
    }
}
