//! Owns what can be configured, with its defaults and its checks. No I/O.

mod endpoint;

use std::{collections::BTreeMap, time::Duration};

use chat_core::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Serialize};

pub(crate) use endpoint::Partition;

/// Everything about a [`ConnectTransport`](crate::ConnectTransport) that is plain data, for configuration files. Build it from
/// [`ConnectConfig::default`] and assignments; the builder has a method for each part.
///
/// ```
/// let config: transport_connect::ConnectConfig = serde_json::from_str(
///     r#"{"region": "eu-central-1", "start_chat": {"url": "https://shop.example/chat"}}"#,
/// )?;
/// assert_eq!(config.region.as_deref(), Some("eu-central-1"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// AWS region of the instance, as `eu-central-1`. Required unless `endpoint` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Base URL of the Participant Service, instead of the region's. Not together with `fips` or `dual_stack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Use FIPS endpoints. Default: no.
    pub fips: bool,
    /// Use endpoints that also have IPv6 addresses. Default: no.
    pub dual_stack: bool,
    /// How chats are started. Without it only `Join` and `Resume` work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_chat: Option<StartChat>,
    /// Which kind of participant uses this transport. Default: customer.
    pub participant: ParticipantKind,
    /// Hosts (with all their subdomains) that socket, upload and download URLs may point to, beside the vendor's own.
    pub allowed_hosts: Vec<String>,
    /// Whether such URLs may point to this machine, and in plain text: simulators and tests. On by itself if `endpoint` is a
    /// loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_loopback: Option<bool>,
    /// Whether such URLs' names may resolve to private addresses, as with private links. Default: no.
    pub allow_private: bool,
    /// Whether raw events of any type may be sent: for a service that takes more than Amazon's (§3.3). Default: no.
    pub any_raw_events: bool,
    /// Keep to the vendor's published request rates (§4.3), over all chats of the transport: waits up to 10 s, and beyond that
    /// fails with `RateLimited` before anything is sent. Default: on, except for a custom endpoint, whose rates are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pacing: Option<bool>,
    /// Appended to the user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent_suffix: Option<String>,
    /// How many events may wait for the session, per connection. Default 64; at least 4.
    pub event_buffer: EventBuffer,
    /// Times. The defaults are the vendor's.
    pub timings: Timings,
}

/// How many events may wait for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventBuffer(pub usize);

impl Default for EventBuffer {
    fn default() -> Self {
        Self(64)
    }
}

/// Which kind of participant a session is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParticipantKind {
    /// The person whom the contact centre serves.
    #[default]
    Customer,
    /// An agent: counted as connected without a socket, ends on transfer, cannot end the chat for the customer.
    Agent,
}

/// The site's own endpoint that calls `StartChatContact`.
///
/// It is sent the widget's request (§6 of the protocol notes) and understood in all answer shapes in use. What a
/// [`StartRequest`](chat_core::StartRequest) holds goes there like this:
///
/// | Field | Member |
/// |---|---|
/// | `nickname`, else first and last name, else [`StartChat::display_name`] | `ParticipantDetails.DisplayName`, `Attributes.customerName` |
/// | `first_name`, `last_name`, `email`, `subject` | `Attributes.firstName`, `.lastName`, `.email`, `.subject` |
/// | `user_data` | `Attributes`, under its own keys; over [`StartChat::attributes`] and the keys above |
/// | `initial_message` | `InitialMessage` |
/// | `formats` | `SupportedMessagingContentTypes` |
/// | `continues` | `PersistentChat` |
/// | `asynchronous` | `ChatDurationInMinutes` 10 080 (7 days, the vendor's longest), unless set |
/// | `key` | `ClientToken` |
/// | `vendor` | members of the same names, over all of the above; its `Attributes` are merged |
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StartChat {
    /// Where it is. `https`, or `http` to this machine.
    pub url: Secret,
    /// Sent along, as an API key.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// `InstanceId`, where the endpoint wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `ContactFlowId`, where the endpoint wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_flow_id: Option<String>,
    /// The name of a customer who gives none. Default: `Customer`.
    #[serde(default = "anonymous")]
    pub display_name: String,
    /// Attributes of every chat; the call's own win.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Send `Attributes` as JSON text instead of a map, for endpoints that expect it. Default: no.
    #[serde(default)]
    pub attributes_as_text: bool,
    /// `ChatDurationInMinutes`, 60 to 10 080. Default: the instance's (25 h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<u32>,
    /// Ask for bot answers in pieces (`INCREMENTAL`) or whole (`COMPLETE`). Default: the instance's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_mode: Option<ResponseMode>,
    /// How long the endpoint may take. Default 30 s.
    #[serde(default = "half_a_minute", rename = "timeout_secs", with = "seconds")]
    pub timeout: Duration,
}

/// How bots answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseMode {
    /// In pieces, as they are made.
    Incremental,
    /// Whole.
    Complete,
}

fn anonymous() -> String {
    "Customer".into()
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl StartChat {
    /// The endpoint at `url`, with defaults for the rest.
    pub fn new(url: impl Into<Secret>) -> Self {
        Self {
            url: url.into(),
            headers: BTreeMap::new(),
            instance_id: None,
            contact_flow_id: None,
            display_name: anonymous(),
            attributes: BTreeMap::new(),
            attributes_as_text: false,
            duration_minutes: None,
            response_mode: None,
            timeout: half_a_minute(),
        }
    }

    /// Sends a header along.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Names instance and flow.
    #[must_use]
    pub fn with_flow(mut self, instance_id: impl Into<String>, contact_flow_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self.contact_flow_id = Some(contact_flow_id.into());
        self
    }

    /// Sets an attribute of every chat.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    fn check(&self) -> Result<()> {
        if self.duration_minutes.is_some_and(|minutes| !(60..=10_080).contains(&minutes)) {
            return Err(config("duration_minutes must be 60 to 10080"));
        }
        if self.display_name.is_empty() || self.display_name.chars().count() > 256 {
            return Err(config("display_name must have 1 to 256 characters"));
        }
        if self.timeout.is_zero() {
            return Err(config("the start-chat timeout must not be zero"));
        }
        check_attributes(&self.attributes).map_err(|error| config(error.context().to_owned()))
    }
}

/// The vendor's limits of contact attributes (§5.1).
pub(crate) const ATTRIBUTES_MAX_BYTES: u32 = 32 * 1024;

/// # Errors
/// `InvalidInput` for a key that the vendor refuses, `TooLarge` over 32 KB in all.
pub(crate) fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<()> {
    let rule = chat_core::KeyRule::AlphanumericDashUnderscore;
    if let Some(key) = attributes.keys().find(|key| !rule.accepts(key)) {
        return Err(Error::invalid_input(format!(
            "attribute {key:?} may hold letters, digits, - and _ only"
        )));
    }
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ATTRIBUTES_MAX_BYTES as usize {
        return Err(Error::too_large(
            "contact attributes",
            bytes as u64,
            u64::from(ATTRIBUTES_MAX_BYTES),
            "bytes",
        ));
    }
    Ok(())
}

/// Times. In files each is a number of seconds under its name with `_secs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Timings {
    /// Between two heartbeats, each with a ping before it; something must have been received by the next one, or the connection
    /// is taken to be lost. Default 10 s, the vendor's (§7.3).
    #[serde(rename = "heartbeat_secs", with = "seconds")]
    pub heartbeat: Duration,
    /// How long the subscription may go unanswered; it is asked for again every second. Default 5 s. The vendor's client is deaf
    /// from then on; this one reports a failed connection.
    #[serde(rename = "subscribe_secs", with = "seconds")]
    pub subscribe: Duration,
    /// How long a socket may take to open. Default 10 s; the URL serves for 100 s in all.
    #[serde(rename = "open_secs", with = "seconds")]
    pub open: Duration,
    /// How long a frame may wait to be written. Default 10 s: a half-open link is found by it.
    #[serde(rename = "write_secs", with = "seconds")]
    pub write: Duration,
    /// How long a call of the Participant Service may take. Default 15 s.
    #[serde(rename = "call_secs", with = "seconds")]
    pub call: Duration,
    /// Planned life of a socket. Default 59 min, the vendor's: the gateway may close it after an hour. At least 5 min.
    #[serde(rename = "socket_life_secs", with = "seconds")]
    pub socket_life: Duration,
    /// How long before the end of a socket's life its replacement is asked for. Default 60 s.
    #[serde(rename = "renew_ahead_secs", with = "seconds")]
    pub renew_ahead: Duration,
    /// How long before its expiry the connection token is renewed. Default 10 min: room for many attempts. A tenth of the
    /// token's life, if that is shorter.
    #[serde(rename = "token_ahead_secs", with = "seconds")]
    pub token_ahead: Duration,
    /// How soon a failed renewal of the token is tried again. Default 20 s. (The vendor's client waits 12 h.)
    #[serde(rename = "token_retry_secs", with = "seconds")]
    pub token_retry: Duration,
    /// After leaving with `end`: how long after the last item the vendor's own end is waited for. Default 60 s; surveys
    /// come through meanwhile.
    #[serde(rename = "end_quiet_secs", with = "seconds")]
    pub end_quiet: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            subscribe: Duration::from_secs(5),
            open: Duration::from_secs(10),
            write: Duration::from_secs(10),
            call: Duration::from_secs(15),
            socket_life: Duration::from_secs(59 * 60),
            renew_ahead: Duration::from_secs(60),
            token_ahead: Duration::from_secs(600),
            token_retry: Duration::from_secs(20),
            end_quiet: Duration::from_secs(60),
        }
    }
}

impl Timings {
    fn check(&self) -> Result<()> {
        let Self { heartbeat, subscribe, open, write, call, token_retry, .. } = self;
        if [heartbeat, subscribe, open, write, call, token_retry].iter().any(|time| time.is_zero()) {
            return Err(config("no timing may be zero"));
        }
        if self.socket_life < Duration::from_secs(300) {
            return Err(config("socket_life must be at least 5 minutes"));
        }
        if self.renew_ahead >= self.socket_life {
            return Err(config("renew_ahead must be shorter than socket_life"));
        }
        Ok(())
    }
}

impl ConnectConfig {
    /// Checks everything and gives the base URL of the Participant Service, without a slash at its end.
    ///
    /// # Errors
    /// `Config`, with the reason.
    pub(crate) fn check(&self) -> Result<String> {
        self.timings.check()?;
        if self.event_buffer.0 < 4 {
            return Err(config("event_buffer must be at least 4"));
        }
        if let Some(start) = &self.start_chat {
            start.check()?;
        }
        if self
            .user_agent_suffix
            .as_deref()
            .is_some_and(|text| !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
        {
            return Err(config("user_agent_suffix must be printable ASCII"));
        }
        match (&self.endpoint, &self.region) {
            (Some(_), _) if self.fips || self.dual_stack => {
                Err(config("a custom endpoint cannot be combined with fips or dual_stack"))
            }
            (Some(endpoint), _) => Ok(endpoint.trim_end_matches('/').to_owned()),
            (None, Some(region)) => {
                Ok(Partition::of(region)?.participant_service(region, self.fips, self.dual_stack))
            }
            (None, None) => Err(config("a region or an endpoint is needed")),
        }
    }

    /// Under which suffixes the vendor's own hosts are: of the region's partition, or of all of them.
    pub(crate) fn vendor_suffixes(&self) -> Vec<&'static str> {
        match self.region.as_deref().map(Partition::of) {
            Some(Ok(partition)) => vec![partition.dns_suffix, partition.dual_stack_dns_suffix],
            _ => vec!["amazonaws.com", "api.aws", "amazonaws.com.cn", "api.amazonwebservices.com.cn"],
        }
    }
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

    fn refused(change: impl FnOnce(&mut ConnectConfig)) -> String {
        let mut config = ConnectConfig { region: Some("us-west-2".into()), ..ConnectConfig::default() };
        change(&mut config);
        let error = config.check().expect_err("must be refused");
        assert_eq!(error.kind(), &ErrorKind::Config);
        error.context().to_owned()
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        assert!(refused(|c| c.region = None).contains("region"));
        assert!(refused(|c| (c.endpoint, c.fips) = (Some("https://x".into()), true)).contains("fips"));
        assert!(
            refused(|c| (c.endpoint, c.dual_stack) = (Some("https://x".into()), true)).contains("dual_stack")
        );
        assert!(refused(|c| c.timings.socket_life = Duration::from_secs(299)).contains("5 minutes"));
        assert!(refused(|c| c.timings.heartbeat = Duration::ZERO).contains("zero"));
        assert!(
            refused(|c| {
                c.start_chat = Some(StartChat { duration_minutes: Some(59), ..StartChat::new("https://x") })
            })
            .contains("10080")
        );
        assert!(
            refused(|c| {
                c.start_chat = Some(StartChat::new("https://x").with_attribute("no blanks", "x"));
            })
            .contains("no blanks")
        );
    }

    #[test]
    fn files_give_seconds_and_unknown_names_are_refused() {
        let config: ConnectConfig =
            serde_json::from_str(r#"{"region": "us-west-2", "timings": {"heartbeat_secs": 2.5}}"#).unwrap();
        assert_eq!(config.timings.heartbeat, Duration::from_millis(2500));
        assert_eq!(config.timings.call, Duration::from_secs(15), "others keep their defaults");
        assert!(serde_json::from_str::<ConnectConfig>(r#"{"regoin": "x"}"#).is_err());
        assert!(serde_json::from_str::<ConnectConfig>(r#"{"timings": {"call_secs": -1}}"#).is_err());
    }

    #[test]
    fn no_secret_is_printed() {
        let start =
            StartChat::new("https://shop.example/chat?code=hunter2").with_header("x-api-key", "hunter2");
        let config = ConnectConfig { start_chat: Some(start), ..ConnectConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
