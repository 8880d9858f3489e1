//! Owns what can be set about a front. What is inferred about the service is a field here, with its section.

use std::{fmt, sync::Arc, time::Duration};

use chat_core::{Secret, SystemClock, WallClock};
use http::HeaderValue;

use crate::bayeux::server::ServerConfig;

/// How a front behaves. The defaults are the service's.
#[derive(Clone)]
#[non_exhaustive]
pub struct FrontConfig {
    /// Name of the web application: the first part of every path (§1.1).
    pub web_app: String,
    /// The services that exist; a chat belongs to one (§1.1).
    pub services: Vec<String>,
    /// Refuse whoever does not send this key, as a gateway in front of the service does (§1.2).
    pub api_key: Option<Secret>,
    /// Set an affinity cookie at the start, and answer calls that come without it as another node would (§4.1).
    pub affinity_cookie: bool,
    /// What of a party's identity is checked (§4).
    pub identity: IdentityCheck,
    /// How a call that is not acceptable is refused (§13.2).
    pub refusals: Refusals,
    /// Answer starts as services of the 8.5.1 age do (§3.1).
    pub legacy_start: bool,
    /// How bots are told apart (§5.3, §13.3).
    pub bots: BotStyle,
    /// How a send is answered of which nobody knows whether it arrived (§3.2).
    pub unanswered: Unanswered,
    /// From where browsers may call; `None` for everywhere.
    pub allowed_origins: Option<Vec<String>>,
    /// Time of day, for `Date` and `utcTime`. Timers run on tokio's clock.
    pub clock: Arc<dyn WallClock>,
    /// Longest message, in characters (§3.3).
    pub message_max_chars: usize,
    /// How long a call waits for the backend. Below the three seconds that the vendor's widget waits (§6).
    pub request_within: Duration,
    /// How long a start waits for the backend.
    pub start_within: Duration,
    /// For how long what was said may wait for its index until everything before it is known: what the client says until the backend
    /// shows it among what others said, and all of it while the session fetches what it missed. An answer may overtake messages that
    /// were stored before. After this it is numbered all the same, since some backends show some things never. Below
    /// [`request_within`](Self::request_within), since the client waits for its index; above the second after which a backend that is
    /// polled is asked again.
    pub order_within: Duration,
    /// A chat without a request for so long loses its client, and is over (§6: `flex-disconnect-timeout`).
    pub flex_disconnect: Duration,
    /// Whether asynchronous chats can be asked for; nothing of the above happens to them (§6).
    pub asynchronous: bool,
    /// Closes chats in which nothing happens; off by default (§6).
    pub inactivity: Option<Inactivity>,
    /// For how long typing stands in the transcript before only its index is left. Inferred (§5.4).
    pub typing_kept: Duration,
    /// Whether the client's own typing is shown to itself, or only takes an index. Inferred (§5.4).
    pub own_typing_shown: bool,
    /// For how long the last events of an ended chat can be fetched. Inferred (§3.2).
    pub ended_kept: Duration,
    /// Rules for files (§7).
    pub files: FileRules,
    /// The CometD mode; `None` to have none (§9).
    pub cometd: Option<ServerConfig>,
    /// Over CometD, only the session that asked last for a chat's notifications gets them; the others are closed. Inferred: one
    /// of the ways in which a service may treat several tabs (§10.7). Off by default: all of them hear of it.
    pub newest_listener_only: bool,
    /// Refuse calls to CometD's companion for files that come without the cookie of a session (§9.3).
    pub companion_cookie: bool,
    /// How long a connection may take to send the head of a request, the pause before it included. `None` for ever.
    pub header_within: Option<Duration>,
    /// Chats at a time, ended ones that can still be read included; a further start is refused.
    pub chats_max: usize,
}

/// What of a party's identity is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IdentityCheck {
    /// The key alone, as since 8.5.112: it carries the rest.
    #[default]
    SecureKey,
    /// The key, the user and the alias.
    Strict,
}

/// How a call that is not acceptable is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Refusals {
    /// HTTP status 400 with `errors`.
    #[default]
    BadRequest,
    /// HTTP status 200 with `statusCode` 2 and `errors`.
    StatusCode,
}

/// How bots are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BotStyle {
    /// An `Agent` whose joining says so in its attributes.
    #[default]
    Marked,
    /// A party of type `Bot`.
    Typed,
}

/// How a send is answered of which nobody knows whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unanswered {
    /// `statusCode` 1.
    #[default]
    Transient,
    /// HTTP status 504.
    GatewayTimeout,
}

/// Closes chats in which nothing happens. Joins, leaves, messages, pushed URLs and files count; notices do not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inactivity {
    /// After how long the warning comes.
    pub alert_after: Duration,
    /// How long after the warning the chat is closed.
    pub close_after: Duration,
    /// The warning.
    pub alert_text: String,
    /// The last words.
    pub close_text: String,
}

impl Default for Inactivity {
    fn default() -> Self {
        Self {
            alert_after: Duration::from_secs(255),
            close_after: Duration::from_secs(45),
            alert_text: "This chat will close soon because nobody is typing.".to_owned(),
            close_text: "This chat was closed because of inactivity.".to_owned(),
        }
    }
}

/// Rules for files (§7). What the transport behind the front does not take is refused, too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRules {
    /// Files that a chat's client may send.
    pub max_files: u64,
    /// Largest file, in bytes. A file is held in memory while it passes.
    pub max_file_size: u64,
    /// All files of a chat's client together, in bytes.
    pub max_total_size: u64,
    /// Accepted endings of names, in lower case; empty for all.
    pub types: Vec<String>,
    /// Whether an agent must be in the chat.
    pub need_agent: bool,
    /// Downloads per chat.
    pub download_attempts: u64,
    /// What the answer says about deletions: the vendor's word (§13.3).
    pub delete_policy: String,
    /// Whether deleting a file gives its share of the limits back.
    pub delete_gives_back: bool,
    /// Largest body that a gateway in front of the service lets through, in bytes; a larger one is answered with 413.
    pub body_max: u64,
}

impl Default for FileRules {
    fn default() -> Self {
        let types = ["csv", "doc", "docx", "gif", "jpeg", "jpg", "pdf", "png", "txt", "xls", "xlsx", "zip"];
        Self {
            max_files: 3,
            max_file_size: 2_097_152,
            max_total_size: 5_242_880,
            types: types.map(str::to_owned).to_vec(),
            need_agent: false,
            download_attempts: 5,
            delete_policy: "odd".to_owned(),
            delete_gives_back: true,
            body_max: 16 * 1024 * 1024,
        }
    }
}

impl FrontConfig {
    /// The service's behaviour, with one service, `customer-support`.
    pub fn new() -> Self {
        let seconds = Duration::from_secs;
        Self {
            web_app: "genesys".to_owned(),
            services: vec!["customer-support".to_owned()],
            api_key: None,
            affinity_cookie: false,
            identity: IdentityCheck::default(),
            refusals: Refusals::default(),
            legacy_start: false,
            bots: BotStyle::default(),
            unanswered: Unanswered::default(),
            allowed_origins: None,
            clock: Arc::new(SystemClock),
            message_max_chars: 14_700,
            request_within: Duration::from_millis(2_500),
            start_within: seconds(10),
            order_within: Duration::from_millis(1_500),
            flex_disconnect: seconds(45),
            asynchronous: true,
            inactivity: None,
            typing_kept: seconds(45),
            own_typing_shown: false,
            ended_kept: seconds(45),
            files: FileRules::default(),
            cometd: Some(ServerConfig::default()),
            newest_listener_only: false,
            companion_cookie: false,
            header_within: Some(seconds(60)),
            chats_max: 10_000,
        }
    }

    /// Whether browsers may call from this origin.
    pub(super) fn lets_in(&self, origin: &HeaderValue) -> bool {
        let allowed = |origins: &Vec<String>| origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
        self.allowed_origins.as_ref().is_none_or(allowed)
    }
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrontConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontConfig")
            .field("web_app", &self.web_app)
            .field("services", &self.services)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
