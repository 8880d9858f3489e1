//! Owns the object store: presigned PUT and GET, and the bytes until the contact is over. Source: §10.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{Ack, AttachmentId, Command, FileAck, FileCommand};
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::time::Instant;

use super::{
    answer::{Body, Refusal, full, plain},
    config::AttachmentRules,
    contact::Contact,
};
use crate::wire::errors::ErrorType;

/// How far an upload has come.
#[derive(Debug, Clone)]
enum State {
    Awaited,
    Stored(Bytes),
    Completing(Bytes),
    Complete(Bytes),
}

/// A file on its way in, or here.
#[derive(Debug, Clone)]
struct Stored {
    contact: String,
    participant: Arc<str>,
    name: String,
    content_type: String,
    size: u64,
    signature: String,
    expires: Instant,
    state: State,
}

/// An upload that may begin.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) id: String,
    /// With query.
    pub(super) path: String,
    /// What the PUT must carry.
    pub(super) headers: Vec<(String, String)>,
}

/// A file whose upload is being completed.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) bytes: Bytes,
}

/// Leave to fetch a file.
#[derive(Debug, Clone)]
struct Ticket {
    contact: Arc<Contact>,
    file: String,
    inline: bool,
    expires: Instant,
}

#[derive(Default)]
struct Inner {
    files: HashMap<String, Stored>,
    tickets: HashMap<String, Ticket>,
    bytes: u64,
}

#[derive(Default)]
pub(super) struct Store(Mutex<Inner>);

fn xml(status: StatusCode, code: &str) -> Response<Body> {
    plain(status, "application/xml", format!("<Error><Code>{code}</Code></Error>"))
}

fn disposition(kind: &str, name: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' };
    format!("{kind}; filename=\"{}\"", name.chars().map(safe).collect::<String>())
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a file (§10.1).
    pub(super) fn announce(
        &self,
        rules: &AttachmentRules,
        (contact, participant): (&str, &Arc<str>),
        (name, content_type, size): (String, String, u64),
    ) -> Result<Announced, Refusal> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        if !rules.extensions.is_empty() && !rules.extensions.contains(&ending) {
            return Err(Refusal::validation(format!("Attachment type .{ending} is not supported")));
        }
        if size > rules.max_bytes {
            return Err(Refusal::validation(format!(
                "Attachment size {size} exceeds the limit of {} bytes",
                rules.max_bytes
            )));
        }
        let mut inner = self.lock();
        let count = inner.files.values().filter(|file| file.contact == contact).count();
        if count >= rules.max_count || inner.bytes.saturating_add(size) > rules.store_max_bytes {
            return Err(Refusal::new(ErrorType::ServiceQuotaExceeded, "Attachment quota exceeded"));
        }
        inner.bytes += size;
        let id = uuid::Uuid::new_v4().to_string();
        let signature = uuid::Uuid::new_v4().simple().to_string();
        let life = rules.upload_within;
        let path =
            format!("/bucket/staging/{id}?X-Amz-Expires={}&X-Amz-Signature={signature}", life.as_secs());
        let headers = vec![
            ("Content-Type".to_owned(), content_type.clone()),
            ("Content-Length".to_owned(), size.to_string()),
            ("Content-Disposition".to_owned(), disposition("attachment", &name)),
        ];
        let file = Stored {
            contact: contact.to_owned(),
            participant: Arc::clone(participant),
            name,
            content_type,
            size,
            signature,
            expires: Instant::now() + life,
            state: State::Awaited,
        };
        inner.files.insert(id.clone(), file);
        Ok(Announced { id, path, headers })
    }

    /// The store's PUT. It is as strict as a presigned URL: the announced type and length, nothing else.
    pub(super) fn put(&self, id: &str, signature: &str, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        let mut inner = self.lock();
        let Some(file) = inner.files.get_mut(id) else { return xml(StatusCode::FORBIDDEN, "AccessDenied") };
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if file.signature != signature || Instant::now() >= file.expires {
            return xml(StatusCode::FORBIDDEN, "AccessDenied");
        }
        if content_type != Some(file.content_type.as_str()) {
            return xml(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
        }
        if body.len() as u64 != file.size {
            return xml(StatusCode::BAD_REQUEST, "IncompleteBody");
        }
        match file.state {
            State::Awaited | State::Stored(_) => file.state = State::Stored(body),
            State::Completing(_) | State::Complete(_) => return xml(StatusCode::FORBIDDEN, "AccessDenied"),
        }
        plain(StatusCode::OK, "application/xml", "")
    }

    /// Largest body that the store takes for `id`.
    pub(super) fn expected(&self, id: &str) -> u64 {
        self.lock().files.get(id).map_or(0, |file| file.size)
    }

    /// The upload is to be completed: the bytes, for whoever passes them on.
    pub(super) fn complete(&self, id: &str, participant: &str) -> Result<Arrived, Refusal> {
        let mut inner = self.lock();
        let file = inner.files.get_mut(id).filter(|file| *file.participant == *participant);
        let Some(file) = file else { return Err(Refusal::validation("Attachment not found")) };
        let bytes = match &file.state {
            State::Stored(bytes) => bytes.clone(),
            State::Awaited => return Err(Refusal::validation("Attachment has not been uploaded")),
            State::Completing(_) | State::Complete(_) => {
                return Err(Refusal::new(ErrorType::Conflict, "Attachment is already being uploaded"));
            }
        };
        file.state = State::Completing(bytes.clone());
        Ok(Arrived { name: file.name.clone(), content_type: file.content_type.clone(), bytes })
    }

    /// The completion succeeded, or may be tried again.
    pub(super) fn completed(&self, id: &str, success: bool) {
        if let Some(file) = self.lock().files.get_mut(id)
            && let State::Completing(bytes) = &file.state
        {
            file.state = if success { State::Complete(bytes.clone()) } else { State::Stored(bytes.clone()) };
        }
    }

    /// Leave to fetch a file of `contact`: path with query, and the size if the file is here.
    pub(super) fn ticket(
        &self,
        contact: &Arc<Contact>,
        file: &str,
        inline: bool,
        life: Duration,
    ) -> (String, Option<u64>) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.tickets.retain(|_, ticket| ticket.expires > now);
        let size = inner.files.get(file).map(|file| file.size);
        let signature = uuid::Uuid::new_v4().simple().to_string();
        let ticket =
            Ticket { contact: Arc::clone(contact), file: file.to_owned(), inline, expires: now + life };
        inner.tickets.insert(signature.clone(), ticket);
        let id = percent_encoding::utf8_percent_encode(file, percent_encoding::NON_ALPHANUMERIC);
        (format!("/bucket/{id}?X-Amz-Expires={}&X-Amz-Signature={signature}", life.as_secs()), size)
    }

    /// The store's GET. What is not here is streamed from the transport.
    pub(super) async fn get(&self, signature: &str, within: Duration) -> Response<Body> {
        let (ticket, here) = {
            let inner = self.lock();
            let ticket =
                inner.tickets.get(signature).filter(|ticket| Instant::now() < ticket.expires).cloned();
            let Some(ticket) = ticket else { return xml(StatusCode::FORBIDDEN, "AccessDenied") };
            let here = inner.files.get(&ticket.file).cloned();
            (ticket, here)
        };
        let kind = if ticket.inline { "inline" } else { "attachment" };
        let (body, name, content_type, size) = match here {
            Some(Stored { state: State::Complete(bytes), name, content_type, size, .. }) => {
                (full(bytes), name, content_type, Some(size))
            }
            Some(_) => return xml(StatusCode::NOT_FOUND, "NoSuchKey"),
            None => {
                let id = AttachmentId::new(ticket.file.as_str());
                let name =
                    ticket.contact.truth().file(&ticket.file).map(|(name, _)| name).unwrap_or_default();
                let command = Command::File(FileCommand::Download { id });
                let Ok(Ack::File(FileAck::Download(file))) = ticket.contact.submit(command, within).await
                else {
                    return xml(StatusCode::NOT_FOUND, "NoSuchKey");
                };
                let content_type =
                    file.content_type.as_deref().unwrap_or("application/octet-stream").to_owned();
                let frames = file.bytes.map_ok(Frame::data).map_err(std::io::Error::other);
                (BodyExt::boxed_unsync(StreamBody::new(frames)), name, content_type, file.size)
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        headers.extend(value(&content_type).map(|value| (header::CONTENT_TYPE, value)));
        headers.extend(value(&disposition(kind, &name)).map(|value| (header::CONTENT_DISPOSITION, value)));
        headers.extend(size.map(|size| (header::CONTENT_LENGTH, HeaderValue::from(size))));
        response
    }

    /// The signatures of all presigned URLs that are known.
    pub(super) fn signatures(&self) -> Vec<String> {
        let inner = self.lock();
        let uploads = inner.files.values().map(|file| file.signature.clone());
        uploads.chain(inner.tickets.keys().cloned()).collect()
    }

    /// The contact is over: its files go.
    pub(super) fn forget(&self, contact: &str) {
        let mut inner = self.lock();
        let Inner { files, tickets, bytes } = &mut *inner;
        files.retain(|_, file| {
            let keep = file.contact != contact;
            if !keep {
                *bytes = bytes.saturating_sub(file.size);
            }
            keep
        });
        tickets.retain(|_, ticket| ticket.contact.id != contact);
    }
}
