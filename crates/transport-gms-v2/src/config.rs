//! Owns what can be configured, with its defaults and its checks. No I/O.

use std::{collections::BTreeMap, time::Duration};

use chat_core::{Error, ErrorKind, Result, Secret};
use chat_net::HostPolicy;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

/// Everything about a [`GmsTransport`](crate::GmsTransport) that is plain data, for configuration files. Build it from
/// [`GmsConfig::default`] and assignments; the builder has a method for each part.
///
/// How many failed polls mean that the chat server is offline (`pollExceptionLimit`) is a setting of the session:
/// [`PollPolicy::exception_limit`](chat_core::PollPolicy::exception_limit).
///
/// ```
/// let config: transport_gms_v2::GmsConfig = serde_json::from_str(
///     r#"{"data_url": "https://gms.example/genesys/2/chat/customer-support", "apikey": "n3eNkg"}"#,
/// )?;
/// assert_eq!(config.timings.poll_interval.as_secs(), 3);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GmsConfig {
    /// The *whole* chat URL, service name included: only `/{chatId}/{operation}` is appended to it. Slashes at its end are
    /// dropped. Required, unless chats run over CometD alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_url: Option<String>,
    /// Push instead of polling. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cometd: Option<CometdConfig>,
    /// Allow `http` to other machines than this one. The vendor's development set-up needs it; in production it shows the
    /// chat to everybody on the way. Default: no.
    pub allow_plain_text: bool,
    /// Sent as `apikey` and as `x-api-key`, for an Apigee-like proxy (§1.2). Over REST only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apikey: Option<Secret>,
    /// Sent as `Authorization` with every request, CometD and files included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Secret>,
    /// Further headers of every request, as `gms_user` or `ContactCenterId`.
    pub headers: BTreeMap<String, Secret>,
    /// User data of every chat; the start's own win.
    pub user_data: BTreeMap<String, String>,
    /// Which endpoint a chat starts on, as the form field `endpoint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Chats may be left and resumed days later (`GCTI_Chat_AsyncMode`). The service must be set up for it, and the vendor
    /// forbids it with polling (§8.5): needs `cometd`. Default: no.
    pub asynchronous: bool,
    /// Say who sends which message: `messageType` is `text;token=<uuid>` instead of `text`, and the echo brings it back. GMS has
    /// no idempotency, so this is how an unanswered send is told from another tab's equal text. Switch it off if a desktop shows
    /// the type, or the server does not bring it back (then an unanswered send would be stored twice): unanswered sends are
    /// settled by equal text instead, and another tab's equal text can be taken for one's own. Default: on.
    pub correlation_token: bool,
    /// Send `readReceipt`, which newer servers know. Nothing is ever told back. Default: off.
    pub read_receipts: bool,
    /// What the service hides sensitive characters with (§8.4). Default `*`: of two readings of a message, the one with fewer of
    /// them is kept.
    pub mask: char,
    /// Longest text, in characters. Default 14 700: what a Chat Server's request packet of 32 768 bytes holds (§3.3).
    pub text_max_chars: u32,
    /// Largest file that is fetched, in bytes. Default 100 MiB. (What may be sent, the service says itself.)
    pub download_max_bytes: u64,
    /// Appended to the user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent_suffix: Option<String>,
    /// How many events may wait for the session, per connection. Default 64; at least 4.
    pub event_buffer: usize,
    /// Times. The defaults are the vendor's.
    pub timings: Timings,
}

impl Default for GmsConfig {
    fn default() -> Self {
        Self {
            data_url: None,
            cometd: None,
            allow_plain_text: false,
            apikey: None,
            authorization: None,
            headers: BTreeMap::new(),
            user_data: BTreeMap::new(),
            endpoint: None,
            asynchronous: false,
            correlation_token: true,
            read_receipts: false,
            mask: '*',
            text_max_chars: 14_700,
            download_max_bytes: 100 << 20,
            user_agent_suffix: None,
            event_buffer: 64,
            timings: Timings::default(),
        }
    }
}

/// Push over CometD (§9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CometdConfig {
    /// Where it is, as `https://gms.example/genesys/cometd`.
    pub url: String,
    /// The service's channel. Default `/service/chatV2/customer-support`, the widget's.
    #[serde(default = "usual_channel")]
    pub channel: String,
    /// Where files go, as `https://gms.example/genesys/2/chat-ntf`. Without it there are no files over CometD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub companion_url: Option<String>,
    /// Try a WebSocket before long polling. Default: yes.
    #[serde(default = "yes")]
    pub websocket: bool,
    /// Go on by polling when CometD fails too often, if `data_url` is set; asynchronous chats never do (§8.5). Default: yes.
    #[serde(default = "yes")]
    pub fallback: bool,
    /// How many handshakes or connects of a chat may fail in succession before that. Default 5 (§9.4).
    #[serde(default = "usual_fallback")]
    pub fallback_after: u32,
}

fn usual_channel() -> String {
    "/service/chatV2/customer-support".into()
}

const fn yes() -> bool {
    true
}

const fn usual_fallback() -> u32 {
    5
}

impl CometdConfig {
    /// CometD at `url`, with defaults for the rest.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            channel: usual_channel(),
            companion_url: None,
            websocket: true,
            fallback: true,
            fallback_after: usual_fallback(),
        }
    }

    fn check(&self, policy: &HostPolicy) -> Result<()> {
        check_url("cometd.url", &self.url, policy)?;
        if let Some(url) = &self.companion_url {
            check_url("cometd.companion_url", url, policy)?;
        }
        if !self.channel.starts_with('/') || self.channel.ends_with('/') || self.channel.contains('*') {
            return Err(config("cometd.channel must be a channel's whole name, as /service/chatV2/sales"));
        }
        if self.fallback_after == 0 {
            return Err(config("cometd.fallback_after must be at least 1"));
        }
        Ok(())
    }
}

/// Times. In files each is a number of seconds under its name with `_secs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Timings {
    /// How long a request may take (`ajaxTimeout`). Default 3 s.
    #[serde(rename = "ajax_timeout_secs", with = "seconds")]
    pub ajax_timeout: Duration,
    /// From the start of one poll to the start of the next. Default 3 s.
    #[serde(rename = "poll_interval_secs", with = "seconds")]
    pub poll_interval: Duration,
    /// How long after the last sign of life a chat may still be restored (`restoreTimeout`). Default 60 s.
    #[serde(rename = "restore_timeout_secs", with = "seconds")]
    pub restore_timeout: Duration,
    /// How long the service keeps a client that asks for nothing (the Chat Server's `flex-disconnect-timeout`). Default 45 s.
    #[serde(rename = "disconnect_budget_secs", with = "seconds")]
    pub disconnect_budget: Duration,
    /// How long after an unanswered send its echo may still appear in the transcript. Default 10 s.
    #[serde(rename = "settle_within_secs", with = "seconds")]
    pub settle_within: Duration,
    /// How long a file may stand still while it is sent or fetched. Default 30 s.
    #[serde(rename = "file_timeout_secs", with = "seconds")]
    pub file_timeout: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ajax_timeout: Duration::from_secs(3),
            poll_interval: Duration::from_secs(3),
            restore_timeout: Duration::from_secs(60),
            disconnect_budget: Duration::from_secs(45),
            settle_within: Duration::from_secs(10),
            file_timeout: Duration::from_secs(30),
        }
    }
}

impl Timings {
    fn check(&self) -> Result<()> {
        let Self { ajax_timeout, poll_interval, restore_timeout, settle_within, file_timeout, .. } = self;
        if [ajax_timeout, poll_interval, restore_timeout, settle_within, file_timeout]
            .iter()
            .any(|time| time.is_zero())
        {
            return Err(config("no timing may be zero"));
        }
        if *poll_interval + *ajax_timeout >= self.disconnect_budget {
            return Err(config(
                "poll_interval and ajax_timeout together must be shorter than disconnect_budget",
            ));
        }
        Ok(())
    }
}

impl GmsConfig {
    /// Checks everything.
    ///
    /// # Errors
    /// `Config`, with the reason.
    pub(crate) fn check(&self) -> Result<()> {
        self.timings.check()?;
        let policy = self.policy();
        match (&self.data_url, &self.cometd) {
            (None, None) => return Err(config("data_url is needed: the whole chat URL")),
            (Some(url), _) => check_url("data_url", url, &policy)?,
            (None, Some(_)) => {}
        }
        match &self.cometd {
            Some(cometd) => cometd.check(&policy)?,
            None if self.asynchronous => {
                return Err(config("asynchronous chats need cometd: the vendor forbids them with polling"));
            }
            None => {}
        }
        if self.event_buffer < 4 {
            return Err(config("event_buffer must be at least 4"));
        }
        if self.text_max_chars == 0 || self.download_max_bytes == 0 {
            return Err(config("a limit of 0 allows nothing"));
        }
        if let Some(key) = self.user_data.keys().find(|key| key.is_empty()) {
            return Err(config(format!("user_data must not have the key {key:?}")));
        }
        self.request_headers().map(drop)
    }

    /// Which of the configured addresses are acceptable.
    pub(crate) fn policy(&self) -> HostPolicy {
        match self.allow_plain_text {
            true => HostPolicy::configured().allow_plain_text(),
            false => HostPolicy::configured(),
        }
    }

    /// The chat URL without slashes at its end.
    pub(crate) fn base(&self) -> Option<&str> {
        self.data_url.as_deref().map(|url| url.trim_end_matches('/'))
    }

    /// What every request of the chat URL carries.
    ///
    /// # Errors
    /// `Config` for what is no header; the value is not shown.
    pub(crate) fn request_headers(&self) -> Result<HeaderMap> {
        let mut headers = self.session_headers()?;
        if let Some(key) = &self.apikey {
            for name in ["apikey", "x-api-key"] {
                headers.entry(name).or_insert(value_of(name, key)?);
            }
        }
        Ok(headers)
    }

    /// What every request carries, whatever its way: all but the API key.
    ///
    /// # Errors
    /// As [`request_headers`](Self::request_headers).
    pub(crate) fn session_headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let header = HeaderName::try_from(name)
                .map_err(|_| config(format!("the header name {name:?} is not valid")))?;
            if [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::HOST, header::ACCEPT, header::COOKIE]
                .contains(&header)
            {
                return Err(config(format!("the header {header} cannot be set")));
            }
            headers.insert(header, value_of(name, value)?);
        }
        if let Some(value) = &self.authorization {
            headers.insert(header::AUTHORIZATION, value_of("authorization", value)?);
        }
        if let Some(suffix) = &self.user_agent_suffix {
            let agent = format!("chat-transport/{} {suffix}", env!("CARGO_PKG_VERSION"));
            let agent =
                HeaderValue::try_from(agent).map_err(|_| config("user_agent_suffix is no header value"))?;
            headers.insert(header::USER_AGENT, agent);
        }
        Ok(headers)
    }
}

fn value_of(name: &str, value: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(value.expose())
        .map_err(|_| config(format!("the value of the header {name} is not valid")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn check_url(what: &str, url: &str, policy: &HostPolicy) -> Result<()> {
    let url = policy.check(url).map_err(|error| config(format!("{what}: {}", error.context())))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(config(format!("{what} must begin with https")));
    }
    if url.query().is_some() {
        return Err(config(format!("{what} must not have a query: paths are appended to it")));
    }
    Ok(())
}

fn config(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, reason)
}

/// Durations as seconds, with a fraction if need be.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| duration.as_secs() <= 10 * 365 * 24 * 3600)
            .ok_or_else(|| D::Error::custom("no sensible number of seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> GmsConfig {
        GmsConfig {
            data_url: Some("https://gms.example/genesys/2/chat/sales".into()),
            ..GmsConfig::default()
        }
    }

    fn refused(change: impl FnOnce(&mut GmsConfig)) -> String {
        let mut config = good();
        config.check().expect("good before the change");
        change(&mut config);
        let error = config.check().expect_err("must be refused");
        assert_eq!(error.kind(), &ErrorKind::Config);
        error.context().to_owned()
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        assert!(refused(|c| c.data_url = None).contains("data_url"));
        assert!(refused(|c| c.data_url = Some("gms.example".into())).contains("data_url"));
        assert!(refused(|c| c.data_url = Some("wss://gms.example/x".into())).contains("https"));
        assert!(refused(|c| c.data_url = Some("https://gms.example/x?y=1".into())).contains("query"));
        assert!(refused(|c| c.data_url = Some("http://gms.example/x".into())).contains("plain text"));
        assert!(refused(|c| c.asynchronous = true).contains("cometd"));
        assert!(refused(|c| c.timings.ajax_timeout = Duration::ZERO).contains("zero"));
        assert!(refused(|c| c.timings.poll_interval = Duration::from_secs(42)).contains("disconnect_budget"));
        assert!(refused(|c| c.event_buffer = 3).contains("event_buffer"));
        assert!(refused(|c| c.text_max_chars = 0).contains("limit"));
        assert!(refused(|c| drop(c.user_data.insert(String::new(), "x".into()))).contains("user_data"));
        assert!(refused(|c| c.cometd = Some(CometdConfig::new("nonsense"))).contains("cometd.url"));
        let cometd = |change: fn(&mut CometdConfig)| {
            let mut cometd = CometdConfig::new("https://gms.example/genesys/cometd");
            change(&mut cometd);
            refused(|c| c.cometd = Some(cometd))
        };
        assert!(cometd(|c| c.channel = "/service/**".into()).contains("channel"));
        assert!(cometd(|c| c.companion_url = Some("ftp://x".into())).contains("companion_url"));
        assert!(cometd(|c| c.fallback_after = 0).contains("fallback_after"));
    }

    #[test]
    fn headers_are_checked_and_their_values_never_shown() {
        let secret = |name: &'static str, value: &'static str| {
            refused(|c| drop(c.headers.insert(name.into(), value.into())))
        };
        assert!(secret("no blanks", "x").contains("no blanks"));
        assert!(secret("Content-Type", "x").contains("content-type"));
        for reason in [
            secret("gms_user", "hunter2\n"),
            refused(|c| c.apikey = Some("hunter2\n".into())),
            refused(|c| c.authorization = Some("hunter2\n".into())),
        ] {
            assert!(!reason.contains("hunter2") && reason.contains("value"), "{reason}");
        }
    }

    #[test]
    fn the_key_goes_under_both_names_and_with_rest_alone() {
        let mut config = good();
        config.apikey = Some("key".into());
        config.authorization = Some("Bearer t".into());
        let rest = config.request_headers().unwrap();
        assert_eq!(
            (&rest["apikey"], &rest["x-api-key"], &rest["authorization"]),
            (
                &HeaderValue::from_static("key"),
                &HeaderValue::from_static("key"),
                &HeaderValue::from_static("Bearer t")
            )
        );
        let push = config.session_headers().unwrap();
        assert!(!push.contains_key("apikey") && push.contains_key("authorization"));
    }

    #[test]
    fn files_give_seconds_and_unknown_names_are_refused() {
        let config: GmsConfig = serde_json::from_str(
            r#"{"data_url": "https://x/y///", "timings": {"ajax_timeout_secs": 2.5},
                "cometd": {"url": "https://x/cometd"}}"#,
        )
        .unwrap();
        assert_eq!(config.timings.ajax_timeout, Duration::from_millis(2500));
        assert_eq!(config.timings.disconnect_budget, Duration::from_secs(45), "others keep their defaults");
        assert_eq!(config.base(), Some("https://x/y"), "slashes at the end are dropped");
        let cometd = config.cometd.unwrap();
        assert_eq!(cometd.channel, "/service/chatV2/customer-support");
        assert!(cometd.websocket && cometd.fallback && cometd.fallback_after == 5);
        assert!(serde_json::from_str::<GmsConfig>(r#"{"dataURL": "x"}"#).is_err());
        assert!(serde_json::from_str::<GmsConfig>(r#"{"timings": {"poll_interval_secs": -1}}"#).is_err());
    }

    #[test]
    fn no_secret_is_printed() {
        let mut config = good();
        config.apikey = Some("hunter2".into());
        config.authorization = Some("hunter2".into());
        config.headers.insert("gms_user".into(), "hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
