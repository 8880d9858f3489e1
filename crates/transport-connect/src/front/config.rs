//! Owns what can be set about a front. What is inferred about the service is a field here, with its section.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use chat_core::{SystemClock, WallClock};

use super::faults::Operation;
use crate::wire::start_chat::{AnswerShape, Casing};

/// How a front behaves. The defaults are the service's.
#[derive(Clone)]
#[non_exhaustive]
pub struct FrontConfig {
    /// Where clients reach this front, without a slash at the end. Socket URLs are made from it, and the vendor's client takes
    /// no plain one but `ws://127.0.0.1:<port>` (§7.1).
    pub base_url: String,
    /// Whether the control-plane calls and the front's own call for agents are served. Nothing authorises them: switch them off
    /// where strangers can reach the front.
    pub control_plane: bool,
    /// Path of the start-chat proxy.
    pub start_chat_path: String,
    /// Where the proxy's answer holds the three values (§6).
    pub answer_shape: AnswerShape,
    /// Casing of the proxy's answer.
    pub answer_casing: Casing,
    /// What the proxy's answer permits; `None` to say what the transport can do.
    pub feature_permissions: Option<BTreeMap<String, bool>>,
    /// Time of day, for `Date`, `AbsoluteTime` and what expires on paper. Timers run on tokio's clock.
    pub clock: Arc<dyn WallClock>,
    /// How long a socket URL can be opened (§1).
    pub url_life: Duration,
    /// What an answer names as `ConnectionExpiry` (§1).
    pub connection_expiry: Duration,
    /// Life of a connection token (§1).
    pub token_life: Duration,
    /// By when the customer has to connect after the start (§1).
    pub open_within: Duration,
    /// How long a chat lasts unless its start says otherwise (§4.4).
    pub chat_duration: Duration,
    /// Open sockets per participant (§4.4). A further one is refused; inferred.
    pub sockets_max: usize,
    /// A socket without a frame from its client for so long is closed. Inferred from API gateways (§19).
    pub socket_idle: Duration,
    /// A socket is closed after so long. Inferred from API gateways (§19).
    pub socket_life: Duration,
    /// Longest wait for a client to take a frame.
    pub write_within: Duration,
    /// How long a connection may take to send the head of a request, the pause before it included. `None` for ever.
    pub header_within: Option<Duration>,
    /// Request quotas; `None` for none. See [`published_quotas`].
    pub quotas: Option<BTreeMap<Operation, Quota>>,
    /// Rules for files (§10.3).
    pub attachments: AttachmentRules,
    /// Whether a page holds the item that its start position names. Not documented (§11.2); the sample leaves it out.
    pub start_position_included: bool,
    /// Whether the end of the transcript is `NextToken: ""` instead of none (§11.1: both are seen).
    pub empty_next_token: bool,
    /// How long an operation waits for a backend that is away.
    pub backend_within: Duration,
}

/// Rules for files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttachmentRules {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Files per contact.
    pub max_count: usize,
    /// Accepted endings of names, in lower case; empty for all.
    pub extensions: Vec<String>,
    /// Life of an upload URL.
    pub upload_within: Duration,
    /// Bytes that all stored files of the front may take.
    pub store_max_bytes: u64,
}

/// A token bucket: requests per second, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// Per second.
    pub rate: f64,
    /// At once.
    pub burst: f64,
}

/// The quotas that the vendor publishes, per instance (§4.3).
pub fn published_quotas() -> BTreeMap<Operation, Quota> {
    let quota = |operation| {
        let (rate, burst) = match operation {
            Operation::CreateParticipantConnection => (6.0, 9.0),
            Operation::SendMessage | Operation::SendEvent => (10.0, 15.0),
            Operation::GetTranscript | Operation::GetAttachment => (8.0, 12.0),
            Operation::DisconnectParticipant => (3.0, 5.0),
            Operation::StartChatContact | Operation::StartChatProxy => (5.0, 8.0),
            _ => (2.0, 5.0),
        };
        Quota { rate, burst }
    };
    Operation::ALL.into_iter().filter(|one| one.is_service()).map(|one| (one, quota(one))).collect()
}

impl FrontConfig {
    /// The service's behaviour, reached at `base_url`.
    pub fn new(base_url: impl Into<String>) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            base_url: base_url.into().trim_end_matches('/').to_owned(),
            control_plane: true,
            start_chat_path: "/startChatContact".to_owned(),
            answer_shape: AnswerShape::default(),
            answer_casing: Casing::default(),
            feature_permissions: None,
            clock: Arc::new(SystemClock),
            url_life: Duration::from_secs(100),
            connection_expiry: minutes(66),
            token_life: minutes(24 * 60),
            open_within: minutes(5),
            chat_duration: minutes(25 * 60),
            sockets_max: 5,
            socket_idle: minutes(10),
            socket_life: minutes(120),
            write_within: Duration::from_secs(30),
            header_within: Some(Duration::from_secs(60)),
            quotas: None,
            attachments: AttachmentRules::default(),
            start_position_included: false,
            empty_next_token: false,
            backend_within: Duration::from_secs(10),
        }
    }
}

impl Default for AttachmentRules {
    fn default() -> Self {
        let extensions = "csv doc docx heic jfif jpeg jpg mov mp4 pdf png ppt pptx rtf txt wav xls xlsx";
        Self {
            max_bytes: 20 * 1024 * 1024,
            max_count: 35,
            extensions: extensions.split(' ').map(str::to_owned).collect(),
            upload_within: Duration::from_secs(900),
            store_max_bytes: 256 * 1024 * 1024,
        }
    }
}

impl fmt::Debug for FrontConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontConfig")
            .field("base_url", &self.base_url)
            .field("start_chat_path", &self.start_chat_path)
            .field("answer_shape", &self.answer_shape)
            .field("quotas", &self.quotas.is_some())
            .finish_non_exhaustive()
    }
}
