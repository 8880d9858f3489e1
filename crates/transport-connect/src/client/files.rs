//! Owns files: upload in three steps, URL, download. Source: §10.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_core::{
    Ack, Alias, AttachmentId, Capability, ClientToken, Delivery, Download, Error, ErrorKind, FileAck,
    FileCommand, FileLimits, FileUrl, Result, Retry, Secret, Sent, Sighting, Timestamp, Upload,
};
use chat_net::http::{Body, HandedOut, Operation};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderName, HeaderValue, Request, header};

use super::{
    TRANSPORT_ID,
    details::{FILE_MAX_BYTES, FILE_TYPES, FILES_MAX_COUNT},
    handle::Handle,
    service::{life, text},
};
use crate::{
    error::unexpected,
    wire::participant::{
        ATTACHMENT_PATH, COMPLETE_UPLOAD_PATH, CompleteAttachmentUploadRequest, GetAttachmentAnswer,
        GetAttachmentRequest, START_UPLOAD_PATH, StartAttachmentUploadAnswer, StartAttachmentUploadRequest,
        UploadMetadata,
    },
};

/// How long a download URL is asked to serve, in seconds: the vendor's longest.
const URL_SECONDS: u16 = 300;

/// Files whose bytes are in the store while their completion is not confirmed: a retry completes them and sends no byte again.
/// Shared by all connections of a transport, because the retry may use the next one.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<VecDeque<(ClientToken, String)>>);

impl Uploads {
    const MAX: usize = 64;

    fn find(&self, token: &ClientToken) -> Option<String> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|(known, _)| known == token).map(|(_, id)| id.clone())
    }

    fn remember(&self, token: &ClientToken, id: &str) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == Self::MAX {
            list.pop_front();
        }
        list.push_back((token.clone(), id.to_owned()));
    }

    fn forget(&self, token: &ClientToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != token);
    }
}

/// What may be sent.
pub(crate) fn limits() -> FileLimits {
    FileLimits {
        max_bytes: Some(FILE_MAX_BYTES),
        max_count: Some(FILES_MAX_COUNT),
        types: FILE_TYPES.iter().map(|kind| (*kind).to_owned()).collect(),
    }
}

/// # Errors
/// `InvalidInput` or `TooLarge`, before anything is sent.
fn check(upload: &Upload) -> Result<()> {
    let name = upload.name.chars().count() as u64;
    if name == 0 {
        return Err(Error::invalid_input("a file needs a name"));
    }
    if name > 256 {
        return Err(Error::too_large("file name", name, 256, "characters"));
    }
    if upload.size == 0 {
        return Err(Error::invalid_input("the file is empty"));
    }
    if upload.size > FILE_MAX_BYTES {
        return Err(Error::too_large("file", upload.size, FILE_MAX_BYTES, "bytes"));
    }
    let essence = upload.content_type.split(';').next().unwrap_or_default().trim();
    if !FILE_TYPES.iter().any(|kind| kind.eq_ignore_ascii_case(essence)) {
        return Err(Error::invalid_input(format!("files of type {essence:?} are not accepted")));
    }
    Ok(())
}

/// Why a step before the last failed: nothing was posted, so the whole can be repeated.
fn not_posted(error: Error) -> Error {
    match error.delivery() {
        Delivery::Unknown => error.with_delivery(Delivery::NotSent),
        _ => error,
    }
}

impl Handle {
    pub(super) async fn upload(&self, token: &ClientToken, upload: &Upload) -> Result<Ack> {
        let id = match self.uploads.find(token) {
            Some(id) => id,
            None => {
                check(upload)?;
                let id = self.store(token, upload).await.map_err(not_posted)?;
                self.uploads.remember(token, &id);
                id
            }
        };
        let request = CompleteAttachmentUploadRequest {
            attachment_ids: Some(vec![id.clone()]),
            client_token: Some(token.as_str().to_owned()),
        };
        match self.post("CompleteAttachmentUpload", COMPLETE_UPLOAD_PATH, &request).await {
            Ok(_) => {}
            // An earlier attempt, whose answer was lost, is completing it already.
            Err(error) if error.kind() == &ErrorKind::Conflict => {}
            Err(error) => {
                if error.delivery() == Delivery::Refused && error.retry() == Retry::Never {
                    // Nothing to complete: the next attempt begins anew.
                    self.uploads.forget(token);
                }
                return Err(error);
            }
        }
        self.uploads.forget(token);
        let mut sighting = Sighting::new(self.chat.segment.clone())
            .with_alias(Alias::token(&self.chat.scope, token))
            .with_alias(Alias::attachment(&self.chat.scope, &AttachmentId::from(id)));
        sighting.own = Some(true);
        Ok(Ack::Sent(Sent { sighting: Some(Box::new(sighting)) }))
    }

    /// Brings the bytes into the store; an expired URL is replaced once.
    async fn store(&self, token: &ClientToken, upload: &Upload) -> Result<String> {
        let (id, place) = self.announce(upload, token.as_str()).await?;
        match self.put(upload, &place).await {
            Err(error) if error.kind() == &ErrorKind::Expired => {
                let (id, place) = self.announce(upload, ClientToken::random().as_str()).await?;
                self.put(upload, &place).await?;
                Ok(id)
            }
            result => result.map(|()| id),
        }
    }

    async fn announce(&self, upload: &Upload, token: &str) -> Result<(String, UploadMetadata)> {
        const OPERATION: &str = "StartAttachmentUpload";
        let request = StartAttachmentUploadRequest {
            content_type: Some((*upload.content_type).to_owned()),
            attachment_size_in_bytes: Some(
                upload.size.try_into().map_err(|_| Error::invalid_input("the file is too large"))?,
            ),
            attachment_name: Some((*upload.name).to_owned()),
            client_token: Some(token.to_owned()),
        };
        let reply = self.post(OPERATION, START_UPLOAD_PATH, &request).await?;
        let answer = StartAttachmentUploadAnswer::decode(text(&reply)?).unwrap_or_default();
        match (answer.attachment_id, answer.upload_metadata) {
            (Some(id), Some(place)) if place.url.is_some() => Ok((id, place)),
            _ => Err(unexpected(OPERATION)),
        }
    }

    /// The vendor's own client does not look at the status of this step.
    async fn put(&self, upload: &Upload, place: &UploadMetadata) -> Result<()> {
        const OPERATION: &str = "upload";
        let url = place.url.as_ref().map(Secret::expose).unwrap_or_default();
        let url = self.service.handed_out.check(url)?;
        let progress = upload.progress.clone();
        progress.report(0);
        let sent = AtomicU64::new(0);
        let source = upload.source.open().inspect_ok(move |bytes| {
            let chunk = bytes.len() as u64;
            progress.report(sent.fetch_add(chunk, Ordering::Relaxed) + chunk);
        });
        let mut request = Request::put(url)
            .extension(Operation(OPERATION))
            .extension(HandedOut(self.service.handed_out.clone()))
            .body(Body::from_stream(upload.size, source))
            .map_err(|_| unexpected("StartAttachmentUpload"))?;
        for (name, value) in place.headers_to_include.iter().flat_map(|headers| &headers.0) {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                return Err(unexpected("StartAttachmentUpload: a header that is none"));
            };
            // The length is the body's own; stated twice it would be wrong.
            if name != header::CONTENT_LENGTH {
                request.headers_mut().append(name, value);
            }
        }
        let reply = self.service.net.http().send(request).await?;
        if reply.status.is_success() { Ok(()) } else { Err(of_store(reply.status_error(OPERATION))) }
    }

    pub(super) async fn file(&self, command: FileCommand) -> Result<Ack> {
        Ok(Ack::File(match command {
            FileCommand::Limits => FileAck::Limits(limits()),
            FileCommand::Url { id } => FileAck::Url(self.file_url(&id).await?.0),
            FileCommand::Download { id } => FileAck::Download(self.download(&id).await?),
            FileCommand::Delete { .. } => {
                return Err(Error::unsupported(Capability::DeleteFile, TRANSPORT_ID));
            }
            _ => return Err(Error::unsupported(Capability::Vendor, TRANSPORT_ID)),
        }))
    }

    async fn file_url(&self, id: &AttachmentId) -> Result<(FileUrl, Option<u64>)> {
        const OPERATION: &str = "GetAttachment";
        let request = GetAttachmentRequest {
            attachment_id: Some(id.as_str().to_owned()),
            url_expiry_in_seconds: Some(URL_SECONDS.into()),
            url_content_disposition: Some("ATTACHMENT".to_owned()),
        };
        let reply = self.post(OPERATION, ATTACHMENT_PATH, &request).await?;
        let answer = GetAttachmentAnswer::decode(text(&reply)?).unwrap_or_default();
        let url = answer.url.ok_or_else(|| unexpected(OPERATION))?;
        let valid_for = life(answer.url_expiry.as_deref(), reply.server_date())
            .unwrap_or(Duration::from_secs(URL_SECONDS.into()));
        let url = FileUrl {
            url,
            expires: answer.url_expiry.as_deref().and_then(Timestamp::parse),
            valid_for: Some(valid_for),
        };
        Ok((url, answer.attachment_size_in_bytes))
    }

    async fn download(&self, id: &AttachmentId) -> Result<Download> {
        match self.fetch(id).await {
            Err(error) if error.kind() == &ErrorKind::Expired => self.fetch(id).await,
            result => result,
        }
    }

    /// A plain GET, without the bearer.
    async fn fetch(&self, id: &AttachmentId) -> Result<Download> {
        let (url, size) = self.file_url(id).await?;
        let url = self.service.handed_out.check(url.url.expose())?;
        let request = Request::get(url)
            .extension(Operation("download"))
            .extension(HandedOut(self.service.handed_out.clone()))
            .body(Body::empty())
            .map_err(|_| unexpected("GetAttachment"))?;
        let most = size.unwrap_or(FILE_MAX_BYTES * 5);
        let download = self.service.net.http().download(request, most).await.map_err(of_store)?;
        let content_type = download
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(Into::into);
        let length = download.length();
        if let (Some(size), Some(length)) = (size, length)
            && size != length
        {
            return Err(unexpected("download: another length than announced"));
        }
        let announced = size.or(length);
        let mut seen = 0_u64;
        let end = futures::stream::once(async {}).map(|()| None);
        let bytes = download
            .map(Some)
            .chain(end)
            .filter_map(move |chunk| {
                let out = match chunk {
                    Some(Ok(bytes)) => {
                        seen += bytes.len() as u64;
                        Some(Ok(bytes))
                    }
                    Some(Err(error)) => {
                        // The shortage that follows is told already.
                        seen = announced.unwrap_or(seen);
                        Some(Err(error))
                    }
                    None if announced.is_some_and(|announced| announced != seen) => {
                        Some(Err(unexpected("download: another length than announced")))
                    }
                    None => None,
                };
                std::future::ready(out)
            })
            .boxed();
        Ok(Download { size: announced, content_type, bytes })
    }
}

/// A failure of the object store, which knows nothing about the chat: its denials mean that the URL has expired.
fn of_store(error: Error) -> Error {
    match error.kind() {
        ErrorKind::AccessDenied | ErrorKind::Unauthorized => {
            Error::new(ErrorKind::Expired, "the store refuses the URL")
                .with_retry(Retry::Backoff)
                .with_delivery(Delivery::NotSent)
                .with_vendor(error.vendor().clone())
        }
        _ => error,
    }
}
