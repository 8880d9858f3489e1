//! Owns files: what may be sent, sending, fetching, deleting. The same over REST and over the companion of CometD. Source: §7, §9.3.

use chat_core::{AttachmentId, Delivery, Download, Error, ErrorKind, FileLimits, Result, Retry, Upload};
use chat_net::http::Reply as HttpReply;
use futures::StreamExt;
use http::header;

use super::service::{Cookies, Service, Way};
use crate::{
    error::{ChatState, Failure},
    wire::{self, ErrorCode, FILE_ID, Operation, Parameters, Reply},
};

/// Most bytes that are read of an answer that is no file.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// So much of a wrong type is told, in characters.
const EXTENSION_SHOWN: usize = 16;

/// The files of one chat.
pub(crate) struct Files<'a> {
    pub(crate) service: &'a Service,
    pub(crate) way: Way,
    pub(crate) cookies: Cookies,
    /// Of this chat's party.
    pub(crate) parameters: Parameters,
    /// What an answer means to the connection.
    pub(crate) judge: &'a (dyn Fn(Operation, &HttpReply) -> Result<Reply, Failure> + Sync),
}

impl Files<'_> {
    /// What may be sent now. Servers that say nothing about files set no limits that could be checked here.
    pub(crate) async fn limits(&self) -> Result<wire::FileLimits, Failure> {
        const OPERATION: Operation = Operation::FileLimits;
        let answer = self.service.call(self.way, OPERATION, &self.parameters, &self.cookies).await;
        let reply = (self.judge)(OPERATION, &answer.map_err(of_network)?)?;
        Ok(wire::FileLimits::of_reply(&reply).unwrap_or_default())
    }

    /// Asks for the limits, checks them, sends. Gives the file's id, if it is told. `agent`: whether an agent is in the chat, if
    /// known.
    pub(crate) async fn upload(
        &self,
        upload: &Upload,
        agent: Option<bool>,
    ) -> Result<Option<String>, Failure> {
        let limits = self.limits().await.map_err(|failure| {
            // Whatever became of the question, the file did not leave.
            Failure { error: failure.error.with_delivery(Delivery::NotSent), ..failure }
        })?;
        check(upload, &limits, agent).map_err(of_network)?;
        let answer = self.service.upload(self.way, &self.parameters, upload, &self.cookies).await;
        let reply = (self.judge)(Operation::FileUpload, &answer.map_err(of_network)?)
            .map_err(|failure| Failure { error: refused(failure.error, upload), ..failure })?;
        Ok(reply.user_data.and_then(|mut data| data.0.remove(FILE_ID)).filter(|id| !id.is_empty()))
    }

    /// Fetches a file. Each counts against the chat's attempts.
    pub(crate) async fn download(&self, id: &AttachmentId, max_bytes: u64) -> Result<Download, Failure> {
        let parameters = self.about(id);
        let answer = self.service.download(self.way, &parameters, max_bytes, &self.cookies).await;
        let download = answer.map_err(of_network)?;
        if !download.status().is_success() || is_envelope(download.headers()) {
            let answer = download.read(ANSWER_MAX_BYTES).await.map_err(of_network)?;
            (self.judge)(Operation::FileDownload, &answer)?;
            let error =
                Error::new(ErrorKind::UnexpectedResponse, "fileDownload: an answer instead of a file");
            return Err(of_network(error));
        }
        let content_type = download.headers().get(header::CONTENT_TYPE);
        Ok(Download {
            size: download.length(),
            content_type: content_type.and_then(|value| value.to_str().ok()).map(Into::into),
            bytes: download.boxed(),
        })
    }

    /// Deletes a file.
    pub(crate) async fn delete(&self, id: &AttachmentId) -> Result<(), Failure> {
        const OPERATION: Operation = Operation::FileDelete;
        let answer = self.service.call(self.way, OPERATION, &self.about(id), &self.cookies).await;
        (self.judge)(OPERATION, &answer.map_err(of_network)?).map(drop)
    }

    fn about(&self, id: &AttachmentId) -> Parameters {
        let mut parameters = self.parameters.clone();
        parameters.file_id = Some(id.as_str().to_owned());
        parameters
    }
}

/// The limits as the library tells them.
pub(crate) fn told(limits: &wire::FileLimits) -> FileLimits {
    FileLimits {
        max_bytes: limits.max_file_size,
        max_count: limits.max_files.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        types: limits.types.iter().flatten().map(|extension| format!(".{extension}")).collect(),
    }
}

/// A file says what it is; an answer does not.
fn is_envelope(headers: &http::HeaderMap) -> bool {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.split(';').next().is_some_and(|essence| essence.trim().ends_with("/json")));
    json && !headers.contains_key(header::CONTENT_DISPOSITION)
}

fn of_network(error: Error) -> Failure {
    Failure { error, chat: ChatState::GoesOn }
}

/// # Errors
/// What the service would refuse, before a byte leaves.
fn check(upload: &Upload, limits: &wire::FileLimits, agent: Option<bool>) -> Result<()> {
    let quota =
        |what: &'static str| Err(Error::new(ErrorKind::QuotaExceeded, what).with_delivery(Delivery::NotSent));
    if limits.need_agent == Some(true) && agent == Some(false) {
        return Err(Error::new(ErrorKind::Conflict, "files can be sent once an agent is in the chat")
            .with_delivery(Delivery::NotSent));
    }
    if let Some(types) = limits.types.as_deref().filter(|types| !types.is_empty())
        && !types.iter().any(|known| known.eq_ignore_ascii_case(extension(&upload.name)))
    {
        return Err(wrong_type(upload));
    }
    if let Some(limit) = limits.max_file_size
        && upload.size > limit
    {
        return Err(Error::too_large("file", upload.size, limit, "bytes"));
    }
    if let Some(limit) = limits.max_files
        && limits.used_files.unwrap_or(0) >= limit
    {
        return quota("no more files may be sent");
    }
    if let Some(limit) = limits.max_total_size
        && limits.used_total_size.unwrap_or(0).saturating_add(upload.size) > limit
    {
        return quota("the files of this chat would be too large together");
    }
    Ok(())
}

/// Behind the last dot; empty without one.
fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn wrong_type(upload: &Upload) -> Error {
    let kind: String = extension(&upload.name).chars().take(EXTENSION_SHOWN).collect();
    Error::invalid_input(format!("files of type {kind:?} are not accepted"))
}

/// The service's refusal is the same error as this side's: its limits may have changed since they were asked for (F83).
fn refused(error: Error, upload: &Upload) -> Error {
    let typed = match error.vendor().code.as_deref().and_then(|code| code.parse().ok()).map(ErrorCode) {
        Some(ErrorCode::FILE_TYPE) => wrong_type(upload),
        _ => return error,
    };
    typed.with_vendor(error.vendor().clone()).with_delivery(error.delivery()).with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut wire::FileLimits)) -> wire::FileLimits {
        let mut limits = wire::FileLimits {
            max_files: Some(3),
            max_file_size: Some(10),
            max_total_size: Some(25),
            types: Some(vec!["jpg".into(), "PDF".into()]),
            used_files: Some(1),
            used_total_size: Some(10),
            ..wire::FileLimits::default()
        };
        change(&mut limits);
        limits
    }

    fn checked(
        name: &str,
        size: usize,
        limits: &wire::FileLimits,
        agent: Option<bool>,
    ) -> Result<(), ErrorKind> {
        let upload = Upload::from_bytes(name, "text/plain", vec![0; size]);
        check(&upload, limits, agent).map_err(|error| {
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert_eq!(error.retry(), Retry::Never);
            error.kind().clone()
        })
    }

    #[test]
    fn what_would_be_refused_does_not_leave() {
        let usual = limits(|_| {});
        assert_eq!(checked("a.pdf", 10, &usual, None), Ok(()));
        assert_eq!(checked("a.JPG", 1, &usual, Some(false)), Ok(()));
        for name in ["a.exe", "jpg", "jpg.exe", "a.jp", "a.jpg.", "a.jpgx"] {
            assert_eq!(checked(name, 1, &usual, None), Err(ErrorKind::InvalidInput), "{name}");
        }
        let long = Upload::from_bytes(format!("a.{}", "x".repeat(10_000)), "text/plain", "x");
        assert!(check(&long, &usual, None).unwrap_err().context().len() < 100, "of a name little is told");
        let too_large = ErrorKind::TooLarge { limit: 10, actual: 11, unit: "bytes" };
        assert_eq!(checked("a.pdf", 11, &usual, None), Err(too_large));
        let quota = Err(ErrorKind::QuotaExceeded);
        assert_eq!(checked("a.pdf", 1, &limits(|all| all.used_files = Some(3)), None), quota);
        assert_eq!(checked("a.pdf", 1, &limits(|all| all.max_files = Some(0)), None), quota);
        assert_eq!(checked("a.pdf", 6, &limits(|all| all.used_total_size = Some(20)), None), quota);
        let agent = limits(|all| all.need_agent = Some(true));
        assert_eq!(checked("a.pdf", 1, &agent, Some(false)), Err(ErrorKind::Conflict));
        assert_eq!(checked("a.pdf", 1, &agent, Some(true)), Ok(()));
        assert_eq!(checked("a.pdf", 1, &agent, None), Ok(()), "the service knows");
        assert_eq!(checked("x", 1, &wire::FileLimits::default(), None), Ok(()), "nothing is said");
    }

    #[test]
    fn limits_are_told_in_the_librarys_words() {
        let told = told(&limits(|_| {}));
        assert_eq!((told.max_bytes, told.max_count), (Some(10), Some(3)));
        assert_eq!(told.types, [".jpg", ".PDF"]);
    }
}
