//! Owns the operations on files: limits, upload, download, deletion (§7).

use std::sync::Arc;

use chat_core::{Capability, Error, ErrorKind, OutgoingBody, Upload, UserData};
use tokio::time::timeout;

use super::{
    Shared,
    chat::Chat,
    config::FileRules,
    files::Fetched,
    parties::CLIENT,
    service::{File, Outcome, gone, refused, transient},
};
use crate::wire::{ErrorCode, FILE_ID, Reply};

impl Shared {
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

    pub(super) fn limits(&self, chat: &Chat) -> Outcome {
        if chat.is_over() {
            return gone(chat.names());
        }
        let rules = self.file_rules(chat);
        let state = chat.state();
        let limits = state.files.limits(&rules);
        let event = limits.to_event(state.parties.party(CLIENT), state.utc(None));
        Reply::about_files(vec![event], None).into()
    }

    pub(super) async fn upload(&self, chat: &Arc<Chat>, file: Option<File>) -> Outcome {
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

    pub(super) async fn download(&self, chat: &Chat, file_id: Option<String>) -> Outcome {
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
        let failed = match timeout(self.config.start_within, chat.session.download(&attachment)).await {
            Ok(Ok(download)) => return Ok(Fetched { name, download }),
            Ok(Err(error)) => self.outcome_of(chat, &error),
            Err(_) => transient().into(),
        };
        chat.state().files.give_back_download();
        Err(failed)
    }

    pub(super) async fn delete(&self, chat: &Chat, file_id: Option<String>) -> Result<(), Outcome> {
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
