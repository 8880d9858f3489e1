//! Owns files: upload with its checks, download, URL, limits, deletion.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use chat_core::{
    Ack, AttachmentId, AttachmentStatus, ClientToken, Delivery, Download, Error, ErrorKind, FileAck,
    FileCommand, FileLimits, FileUrl, Result, Secret, Upload,
};
use futures::StreamExt;

use crate::{
    connection::{Handle, still_in},
    contact::{Contact, not_found},
    item::NewFile,
    mint::Mint,
    profile::Profile,
};

/// How long a URL serves.
const URL_SERVES: Duration = Duration::from_secs(600);
/// Bytes of a piece of a download.
const PIECE: usize = 16 * 1024;

impl Handle {
    /// Takes a file in and posts it; with `cut_at`, breaks after so many per cent.
    pub(crate) async fn upload(&self, token: ClientToken, upload: Upload, cut_at: Option<u8>) -> Result<Ack> {
        let profile = &self.centre.profile;
        let repeated = self.apply(|contact, _| {
            if let Some(first) = contact.sent.get(&token).filter(|_| self.swallows_repeats()).cloned() {
                return self.sent(contact, &first).map(Some);
            }
            contact.alive()?;
            still_in(contact)?;
            check(&upload, contact)?;
            Ok(None)
        })?;
        if let Some(answer) = repeated {
            return Ok(answer);
        }
        let wrong_size = || Error::new(ErrorKind::Io, "the file has another size than announced");
        let cut_at = cut_at.map(|percent| upload.size.saturating_mul(u64::from(percent)) / 100);
        let mut source = upload.source.open();
        let mut bytes = BytesMut::new();
        upload.progress.report(0);
        loop {
            if cut_at.is_some_and(|cut| bytes.len() as u64 >= cut) {
                let error = Error::new(ErrorKind::Network, "the upload broke off");
                return Err(error.with_delivery(Delivery::NotSent));
            }
            let Some(piece) = source.next().await else { break };
            let piece =
                piece.map_err(|error| Error::new(ErrorKind::Io, "reading the file").with_source(error))?;
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > upload.size {
                return Err(wrong_size());
            }
            upload.progress.report(bytes.len() as u64);
        }
        if bytes.len() as u64 != upload.size {
            return Err(wrong_size());
        }
        self.apply(|contact, mint| {
            // Another tab may have been faster while the bytes were under way.
            if let Some(first) = contact.sent.get(&token).filter(|_| self.swallows_repeats()).cloned() {
                return self.sent(contact, &first);
            }
            contact.alive()?;
            check(&upload, contact)?;
            let file =
                NewFile { name: upload.name, content_type: upload.content_type, bytes: bytes.freeze() };
            let customer = contact.customer.clone();
            let message = contact.store_file(mint, profile, customer, Some(token), file);
            self.sent(contact, &message)
        })
    }
}

/// The server's own check of a file.
fn check(upload: &Upload, contact: &Contact) -> Result<()> {
    let capabilities = contact.capabilities;
    if let Some(limit) = capabilities.file_max_bytes.filter(|limit| upload.size > *limit) {
        return Err(Error::too_large("file", upload.size, limit, "bytes").with_delivery(Delivery::Refused));
    }
    let own = contact.files.iter().filter(|file| file.own).count();
    if capabilities.files_max_count.is_some_and(|limit| own >= limit as usize) {
        return Err(Error::new(ErrorKind::QuotaExceeded, "files of this chat"));
    }
    let types = capabilities.file_types;
    let accepted = |entry: &&str| **entry == *upload.content_type || upload.name.ends_with(*entry);
    if !types.is_empty() && !types.iter().any(accepted) {
        return Err(Error::new(ErrorKind::Refused, "the type of the file"));
    }
    Ok(())
}

/// Limits, URL, deletion.
pub(crate) fn query(
    contact: &mut Contact,
    profile: &Profile,
    mint: &mut Mint,
    command: FileCommand,
) -> Result<FileAck> {
    match command {
        FileCommand::Limits => Ok(FileAck::Limits(FileLimits {
            max_bytes: contact.capabilities.file_max_bytes,
            max_count: contact.capabilities.files_max_count,
            types: contact.capabilities.file_types.iter().map(|entry| String::from(*entry)).collect(),
        })),
        FileCommand::Url { id } => {
            ready(contact, &id)?;
            let url = format!("sim:{}/{id}?token={}", contact.id, mint.id());
            Ok(FileAck::Url(FileUrl {
                url: Secret::from(url),
                expires: Some(mint.now().saturating_add(URL_SERVES)),
                valid_for: Some(URL_SERVES),
            }))
        }
        FileCommand::Delete { id } => {
            contact.alive()?;
            ready(contact, &id)?;
            contact.set_file_status(&id, profile, AttachmentStatus::Deleted)?;
            Ok(FileAck::Deleted)
        }
        _ => Err(Error::new(ErrorKind::Refused, "this request about files")),
    }
}

/// The file, streamed; with `truncate`, it ends early and says so.
pub(crate) fn download(contact: &Contact, id: &AttachmentId, truncate: Option<u8>) -> Result<Ack> {
    let (content_type, bytes) = ready(contact, id)?;
    let size = bytes.len();
    let end = truncate.map_or(size, |percent| size * usize::from(percent) / 100);
    let mut left = bytes.slice(..end);
    let mut short = end < size;
    let pieces = std::iter::from_fn(move || {
        if left.is_empty() {
            let error = Error::new(ErrorKind::UnexpectedResponse, "the file ended early");
            return std::mem::take(&mut short).then_some(Err(error));
        }
        Some(Ok(left.split_to(left.len().min(PIECE))))
    });
    Ok(Ack::File(FileAck::Download(Download {
        size: Some(size as u64),
        content_type: Some(content_type),
        bytes: Box::pin(futures::stream::iter(pieces)),
    })))
}

/// A file that may be fetched.
fn ready(contact: &Contact, id: &AttachmentId) -> Result<(Arc<str>, Bytes)> {
    let file = contact.files.iter().find(|file| file.id == *id).ok_or_else(|| not_found("file"))?;
    match file.status {
        AttachmentStatus::Approved => Ok((Arc::clone(&file.content_type), file.bytes.clone())),
        AttachmentStatus::Rejected => Err(Error::new(ErrorKind::AccessDenied, "the file was rejected")),
        AttachmentStatus::Deleted => Err(Error::new(ErrorKind::NotFound, "the file was deleted")),
        _ => Err(Error::new(ErrorKind::Conflict, "the file is being scanned")),
    }
}
