//! Owns request bodies: forms and multipart, as pairs and at most one file, bounded (§2).

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::{BodyDataStream, BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use multer::{Constraints, Multipart, SizeLimit};

use super::service::File;

/// Largest body that is no upload: the media server takes packets of half the size (§3.3).
const FORM_MAX: usize = 64 * 1024;
/// Longest text part.
const TEXT_MAX: u64 = FORM_MAX as u64;

/// What came with a request.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) pairs: Vec<(String, String)>,
    pub(super) file: Option<File>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    Malformed,
    /// The client went away.
    Cut,
}

/// How much may come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The whole body.
    pub(super) body: u64,
    /// The file in it.
    pub(super) file: u64,
}

/// Reads a body. Whatever is not multipart is taken for a form.
pub(super) async fn read(headers: &HeaderMap, body: Incoming, limits: Limits) -> Result<Arrived, Unread> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match multer::parse_boundary(content_type) {
        Ok(boundary) => multipart(body, boundary, limits).await,
        Err(_) => form(bounded(body, FORM_MAX).await?.as_ref()),
    }
}

/// The whole body, if it is not larger.
pub(super) async fn bounded(body: Incoming, limit: usize) -> Result<Bytes, Unread> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Err(_) => Err(Unread::Cut),
    }
}

fn form(body: &[u8]) -> Result<Arrived, Unread> {
    let pairs = form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.into_owned()));
    Ok(Arrived { pairs: pairs.collect(), file: None })
}

async fn multipart(body: Incoming, boundary: String, limits: Limits) -> Result<Arrived, Unread> {
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(limits.body));
    let mut parts = Multipart::with_constraints(BodyDataStream::new(body), boundary, constraints);
    let mut arrived = Arrived::default();
    while let Some(part) = parts.next_field().await.map_err(|error| unread(&error))? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        if let Some(file_name) = part.file_name().map(str::to_owned) {
            let content_type = part
                .content_type()
                .map_or(Cow::Borrowed("application/octet-stream"), |mime| Cow::Owned(mime.to_string()));
            let content_type = content_type.into_owned();
            let bytes = bytes(part, limits.file).await?;
            arrived.file = Some(File { name: file_name, content_type, bytes });
        } else {
            let text = bytes(part, TEXT_MAX).await?.ok_or(Unread::TooLarge)?;
            arrived.pairs.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(arrived)
}

/// A part; `None` if it is larger. What is too much is read all the same, so that the client gets its answer.
async fn bytes(mut part: multer::Field<'_>, limit: u64) -> Result<Option<Bytes>, Unread> {
    let mut bytes = BytesMut::new();
    let mut fits = true;
    while let Some(chunk) = part.chunk().await.map_err(|error| unread(&error))? {
        fits &= (bytes.len() + chunk.len()) as u64 <= limit;
        if fits {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(fits.then(|| bytes.freeze()))
}

fn unread(error: &multer::Error) -> Unread {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            Unread::TooLarge
        }
        multer::Error::StreamReadFailed(_) => Unread::Cut,
        _ => Unread::Malformed,
    }
}
