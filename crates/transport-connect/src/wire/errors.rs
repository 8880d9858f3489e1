//! Owns how errors travel: the type in a header, the text in the body. Source: §4.1.

use serde::Serialize;

use super::lenient::lenient_object;

/// The header that names an error's type.
pub const ERROR_TYPE_HEADER: &str = "x-amzn-errortype";
/// The header that identifies a request.
pub const REQUEST_ID_HEADER: &str = "x-amzn-requestid";
/// The header that carries the bearer token.
pub const BEARER_HEADER: &str = "x-amz-bearer";

macro_rules! error_types {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The service's error types, of both services.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorType {
            $($(#[$doc])* $variant,)*
            /// A type that this library does not know, as written.
            Other(String),
        }

        impl ErrorType {
            /// As it stands in the header.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// The HTTP status that belongs to it; `None` for unknown types.
            pub const fn status(&self) -> Option<u16> {
                match self {
                    $(Self::$variant => Some($status),)*
                    Self::Other(_) => None,
                }
            }

            fn named(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

error_types! {
    /// An argument is invalid.
    Validation = "ValidationException", 400;
    /// A quota of attachments or participants is used up.
    ServiceQuotaExceeded = "ServiceQuotaExceededException", 402;
    /// Wrong token, or the contact has ended.
    AccessDenied = "AccessDeniedException", 403;
    /// No such view, flow or contact.
    ResourceNotFound = "ResourceNotFoundException", 404;
    /// In conflict with the state: being uploaded already, more than two participants.
    Conflict = "ConflictException", 409;
    /// Too many requests.
    Throttling = "ThrottlingException", 429;
    /// The service failed.
    InternalServer = "InternalServerException", 500;
    /// Control plane: the request is invalid.
    InvalidRequest = "InvalidRequestException", 400;
    /// Control plane: a parameter is invalid.
    InvalidParameter = "InvalidParameterException", 400;
    /// Control plane: no such contact.
    ContactNotFound = "ContactNotFoundException", 410;
    /// Control plane: too many active chats.
    LimitExceeded = "LimitExceededException", 429;
    /// Control plane: too many requests.
    TooManyRequests = "TooManyRequestsException", 429;
    /// Control plane: the service failed.
    InternalService = "InternalServiceException", 500;
}

impl ErrorType {
    /// Reads a header, or a `code` or `__type` in a body: what stands before `#` and after `:` is decoration.
    pub fn parse(text: &str) -> Self {
        let text = text.split(':').next().unwrap_or_default();
        let text = text.rsplit('#').next().unwrap_or_default();
        Self::named(text.trim())
    }
}

lenient_object! {
    /// The body of an error, in all the spellings seen.
    struct AnyErrorBody {
        "Message" => upper: String,
        "message" => lower: String,
        "__type" => kind: String,
        "code" => code: String,
        "ResourceId" => resource_id: String,
        "ResourceType" => resource_type: String,
    }
}

/// An error as a client understands it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorAnswer {
    /// From the header, else from the body. `None` if an API gateway answered: go by the status then.
    pub kind: Option<ErrorType>,
    /// The service's words.
    pub message: Option<String>,
    /// Of `ResourceNotFoundException`.
    pub resource_id: Option<String>,
    /// Of `ResourceNotFoundException`.
    pub resource_type: Option<String>,
}

impl ErrorAnswer {
    /// Reads what there is. Total: a body that is no JSON gives an error without a message.
    pub fn read(error_type_header: Option<&str>, body: &str) -> Self {
        let body = AnyErrorBody::decode(body).unwrap_or_default();
        let kind = error_type_header.or(body.kind.as_deref()).or(body.code.as_deref());
        Self {
            kind: kind.map(ErrorType::parse),
            message: body.upper.or(body.lower),
            resource_id: body.resource_id,
            resource_type: body.resource_type,
        }
    }
}

/// The body of an error as the service writes it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody<'a> {
    /// In words.
    pub message: &'a str,
    /// Of `ResourceNotFoundException`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<&'a str>,
    /// Of `ResourceNotFoundException`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<&'a str>,
}
