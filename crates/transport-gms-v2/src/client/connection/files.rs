//! Owns the files of a connection.

use chat_core::{Ack, AttachmentId, ClientToken, Download, FileLimits, Result, Sent, Upload};

use super::{ChatConnection, Line};
use crate::{
    client::{
        files::{Files, told},
        service::{Cookies, Way},
    },
    error::Failure,
};

impl ChatConnection {
    /// Runs `ask` over the files of this chat; what a failure says about the chat is followed up.
    async fn with_files<T>(&self, ask: impl AsyncFnOnce(Files<'_>) -> Result<T, Failure>) -> Result<T> {
        let service = &self.inner.service;
        let (way, cookies) = match &self.line {
            Line::Rest(cookies) => (Way::Rest, cookies.clone()),
            Line::Channel(line) => {
                (Way::Companion, Cookies::Header(service.companion_cookies(line.publisher())))
            }
        };
        let files = Files {
            service,
            way,
            cookies,
            parameters: self.parameters(),
            judge: &|operation, answer| self.judge(operation, answer),
        };
        match ask(files).await {
            Ok(done) => Ok(done),
            Err(failure) => Err(self.examine(failure).await),
        }
    }

    pub(super) async fn file_limits(&self) -> Result<FileLimits> {
        let limits = self.with_files(async |files| files.limits().await).await?;
        Ok(told(&limits))
    }

    pub(super) async fn upload(&self, token: &ClientToken, upload: &Upload) -> Result<Ack> {
        let agent = self.chat().agent();
        let id = self.with_files(async |files| files.upload(upload, agent).await).await?;
        let chat = self.chat();
        let mapper = chat.followed.mapper();
        let sighting = match id {
            Some(id) => mapper.uploaded(token, &id.into()),
            None => mapper.sent(token),
        };
        Ok(Ack::Sent(Sent { sighting: Some(Box::new(sighting)) }))
    }

    pub(super) async fn download(&self, id: &AttachmentId) -> Result<Download> {
        let most = self.inner.config.download_max_bytes;
        self.with_files(async |files| files.download(id, most).await).await
    }

    pub(super) async fn delete(&self, id: &AttachmentId) -> Result<()> {
        self.with_files(async |files| files.delete(id).await).await
    }
}
