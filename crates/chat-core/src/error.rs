//! Owns the one error type. It answers three questions: what happened, may I try again and when, did it arrive.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{capabilities::Capability, ids::TransportId};

/// `Result` with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, whether a retry may help, and whether the request arrived.
///
/// `Display` is one line, of this level only (the chain is in `source()`), and never shows a URL or a secret; its wording
/// is no contract. Branch on [`kind`](Self::kind), [`retry`](Self::retry) and [`delivery`](Self::delivery).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    delivery: Delivery,
    context: Cow<'static, str>,
    vendor: VendorError,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transport cannot do this. Nothing was sent.
    Unsupported {
        /// What was asked for.
        capability: Capability,
        /// Who cannot do it.
        transport: TransportId,
    },
    /// An argument is not acceptable; the text says which and why. Nothing was sent.
    InvalidInput,
    /// An argument exceeds a limit. Nothing was sent.
    TooLarge {
        /// The limit.
        limit: u64,
        /// What was given.
        actual: u64,
        /// The unit of both, as `"bytes"` or `"characters"`.
        unit: &'static str,
    },
    /// The configuration cannot work.
    Config,
    /// The credentials are missing, refused or expired; new ones may help.
    Unauthorized,
    /// The vendor refuses access for good (403).
    AccessDenied,
    /// There is no active session.
    NotActive,
    /// A chat is active already under this store key.
    AlreadyActive,
    /// A restore of this chat is running already.
    AlreadyRestoring,
    /// The vendor no longer knows the session, or nothing was saved.
    SessionLost,
    /// The saved session is older than the vendor allows.
    RestoreTimeout,
    /// The chat has ended.
    SessionEnded,
    /// The vendor asks to slow down (429 and its kin).
    RateLimited,
    /// No answer in time.
    Timeout,
    /// The network failed: name resolution, connection, reset.
    Network,
    /// The server's identity could not be established, or no common TLS version exists.
    Tls,
    /// The answer has another shape than the protocol says: HTML, broken JSON, missing fields, too large.
    UnexpectedResponse,
    /// A URL that the vendor handed out points where the host policy does not allow.
    HostRefused,
    /// The vendor failed (5xx).
    Server,
    /// The vendor refused the request as invalid (4xx without a kind of its own).
    Refused,
    /// The vendor does not know the thing asked for.
    NotFound,
    /// The request conflicts with the vendor's state (409).
    Conflict,
    /// A quota of the vendor is used up (attachments, for instance).
    QuotaExceeded,
    /// The session was displaced by another connection of the same participant.
    Displaced,
    /// The session store failed; nothing was accepted.
    StoreUnavailable,
    /// A bounded queue is full: try again when it has drained.
    QueueFull,
    /// There is no older (or newer) message to fetch.
    NoMoreMessages,
    /// A poll is running already.
    PollRunning,
    /// Taken back by the caller.
    Cancelled,
    /// Waited in the queue for longer than allowed, or a credential expired.
    Expired,
    /// Reading or writing the caller's own data failed (a file source, for instance).
    Io,
    /// A defect in this library or in an adapter.
    Internal,
}

/// May I try again, and when?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// Later, with backoff.
    Backoff,
    /// Not before this has passed: the server said so.
    After(Duration),
    /// With new credentials.
    WithNewCredentials,
}

/// Did the request reach the vendor?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It did not: sending again cannot double it.
    NotSent,
    /// Nobody knows: it may have been stored.
    Unknown,
    /// It arrived and was refused.
    Refused,
}

/// What the vendor said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorError {
    /// HTTP status.
    pub status: Option<u16>,
    /// The vendor's error code or type, as `ValidationException`.
    pub code: Option<String>,
    /// The vendor's id of the request, for its support.
    pub request_id: Option<String>,
    /// The vendor's own words, without secrets; at most 256 characters.
    pub message: Option<String>,
}

impl Error {
    /// An error of `kind`. Retry and delivery start at the kind's usual values; correct them with [`with_retry`](Self::with_retry)
    /// and [`with_delivery`](Self::with_delivery).
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        let (retry, delivery) = kind.usual();
        Self(Arc::new(Inner {
            kind,
            retry,
            delivery,
            context: context.into(),
            vendor: VendorError::default(),
            source: None,
        }))
    }

    /// `transport` lacks `capability`.
    pub fn unsupported(capability: Capability, transport: TransportId) -> Self {
        Self::new(ErrorKind::Unsupported { capability, transport }, "")
    }

    /// An argument is not acceptable.
    pub fn invalid_input(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    /// An argument exceeds a limit.
    pub fn too_large(
        what: impl Into<Cow<'static, str>>,
        actual: u64,
        limit: u64,
        unit: &'static str,
    ) -> Self {
        Self::new(ErrorKind::TooLarge { limit, actual, unit }, what)
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Sets the retry advice.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        self.edit(|inner| inner.retry = retry)
    }

    /// Sets whether the request arrived.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        self.edit(|inner| inner.delivery = delivery)
    }

    /// Adds what the vendor said.
    #[must_use]
    pub fn with_vendor(self, vendor: VendorError) -> Self {
        self.edit(|inner| inner.vendor = vendor)
    }

    /// Adds the cause. Strip URLs and secrets from it first.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source: Box<dyn StdError + Send + Sync> = source.into();
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// May I try again, and when?
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Did it arrive?
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// What the vendor said, if it was the vendor that answered.
    pub fn vendor(&self) -> &VendorError {
        &self.0.vendor
    }

    /// Which argument, operation or limit, in a few words; may be empty.
    pub fn context(&self) -> &str {
        &self.0.context
    }
}

impl ErrorKind {
    /// The retry advice and delivery that this kind has unless told otherwise.
    const fn usual(&self) -> (Retry, Delivery) {
        match self {
            Self::Unauthorized => (Retry::WithNewCredentials, Delivery::Refused),
            Self::RateLimited => (Retry::Backoff, Delivery::Refused),
            Self::Server | Self::Timeout | Self::UnexpectedResponse => (Retry::Backoff, Delivery::Unknown),
            Self::Network | Self::StoreUnavailable | Self::QueueFull | Self::PollRunning => {
                (Retry::Backoff, Delivery::NotSent)
            }
            Self::AccessDenied
            | Self::SessionLost
            | Self::Refused
            | Self::NotFound
            | Self::Conflict
            | Self::QuotaExceeded
            | Self::Displaced => (Retry::Never, Delivery::Refused),
            _ => (Retry::Never, Delivery::NotSent),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported { capability, transport } => {
                return write!(f, "{capability} is not supported by {transport}");
            }
            Self::TooLarge { limit, actual, unit } => {
                return write!(f, "too large: {actual} {unit}, the limit is {limit}");
            }
            Self::InvalidInput => "invalid input",
            Self::Config => "invalid configuration",
            Self::Unauthorized => "credentials refused or expired",
            Self::AccessDenied => "access denied",
            Self::NotActive => "no active session",
            Self::AlreadyActive => "there is already an active chat session",
            Self::AlreadyRestoring => "the chat is being restored already",
            Self::SessionLost => "the session is lost",
            Self::RestoreTimeout => "the saved session is too old to be restored",
            Self::SessionEnded => "the chat has ended",
            Self::RateLimited => "too many requests",
            Self::Timeout => "no answer in time",
            Self::Network => "network failure",
            Self::Tls => "TLS failure",
            Self::UnexpectedResponse => "unexpected response",
            Self::HostRefused => "host refused by policy",
            Self::Server => "the service failed",
            Self::Refused => "refused by the service",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::QuotaExceeded => "quota exceeded",
            Self::Displaced => "displaced by another connection",
            Self::StoreUnavailable => "the session store is unavailable",
            Self::QueueFull => "the queue is full",
            Self::NoMoreMessages => "no more messages to fetch",
            Self::PollRunning => "previous poll has not finished",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Io => "reading or writing failed",
            Self::Internal => "internal error",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, context, vendor, .. } = &*self.0;
        write!(f, "{kind}")?;
        if !context.is_empty() {
            write!(f, ": {context}")?;
        }
        match (&vendor.status, &vendor.code) {
            (Some(status), Some(code)) => write!(f, " ({status} {code})"),
            (Some(status), None) => write!(f, " ({status})"),
            (None, Some(code)) => write!(f, " ({code})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, retry, delivery, context, vendor, source } = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", kind).field("retry", retry).field("delivery", delivery);
        if !context.is_empty() {
            out.field("context", context);
        }
        if vendor != &VendorError::default() {
            out.field("vendor", vendor);
        }
        if let Some(source) = source {
            out.field("source", &format_args!("{source}"));
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answers_three_questions_in_one_line() {
        let error = Error::new(ErrorKind::RateLimited, "send message")
            .with_retry(Retry::After(Duration::from_secs(3)))
            .with_vendor(VendorError {
                status: Some(429),
                code: Some("ThrottlingException".into()),
                ..VendorError::default()
            });
        assert_eq!(error.to_string(), "too many requests: send message (429 ThrottlingException)");
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(3)));
        assert_eq!(error.delivery(), Delivery::Refused);
    }

    #[test]
    fn the_chain_is_in_source_and_not_in_display() {
        let error = Error::new(ErrorKind::Network, "connect").with_source("reset by peer");
        assert_eq!(error.to_string(), "network failure: connect");
        assert_eq!(StdError::source(&error).unwrap().to_string(), "reset by peer");
    }

    #[test]
    fn unsupported_names_the_capability_and_the_transport() {
        let error = Error::unsupported(Capability::Poll, TransportId::new("connect"));
        assert_eq!(error.to_string(), "polling is not supported by connect");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
}
