//! Owns the error entries of a reply, and the codes that have a known meaning (§3.3).

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::lenient::{self, Members};

/// What the service calls an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// A first name is required.
    pub const FIRST_NAME_REQUIRED: Self = Self(102);
    /// A last name is required.
    pub const LAST_NAME_REQUIRED: Self = Self(103);
    /// A name is required: a nickname, or first and last name.
    pub const NAME_REQUIRED: Self = Self(161);
    /// Too many files.
    pub const TOO_MANY_FILES: Self = Self(201);
    /// The number or the total size of files would exceed its limit.
    pub const FILE_QUOTA: Self = Self(202);
    /// Files of this type are not allowed.
    pub const FILE_TYPE: Self = Self(203);
    /// The message, or the preview of one, is too long.
    pub const MESSAGE_TOO_LONG: Self = Self(204);
    /// A chat cannot be started now.
    pub const CANNOT_START: Self = Self(240);
    /// The media server could not execute the request: the session is gone, ids are wrong.
    pub const NOT_EXECUTED: Self = Self(249);
    /// The e-mail address is invalid.
    pub const INVALID_EMAIL: Self = Self(364);
    /// Not authorised for this chat.
    pub const NOT_AUTHORIZED: Self = Self(401);
    /// The earlier chat cannot be found.
    pub const CHAT_NOT_FOUND: Self = Self(404);
    /// The service failed, or is unavailable.
    pub const SERVICE_ERROR: Self = Self(416);
    /// The service failed.
    pub const INTERNAL: Self = Self(500);
    /// The service is busy or unavailable.
    pub const UNAVAILABLE: Self = Self(503);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry of `errors[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErrorEntry {
    /// What.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// In words, with a reference for the vendor's support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl ErrorEntry {
    /// An error with its words.
    pub fn new(code: ErrorCode, advice: impl Into<String>) -> Self {
        Self { code: Some(code), advice: Some(advice.into()) }
    }

    /// The vendor's id of the request: `20000005` in `… referenceId[20000005]`.
    pub fn reference(&self) -> Option<&str> {
        let (_, rest) = self.advice.as_deref()?.split_once("referenceId[")?;
        rest.split_once(']').map(|(reference, _)| reference).filter(|reference| !reference.is_empty())
    }

    pub(super) fn read(raw: &RawValue) -> Self {
        let mut entry = Self::default();
        for (key, raw) in Members::of(raw.get()).into_iter().flatten() {
            match &*key {
                "code" => entry.code = lenient::number(raw).map(ErrorCode),
                "advice" => entry.advice = lenient::filled(raw),
                _ => {}
            }
        }
        entry
    }
}
