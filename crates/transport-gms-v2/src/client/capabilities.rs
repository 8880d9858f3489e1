//! Owns what can be done in a chat, by how it is followed.

use std::time::Duration;

use chat_core::{Capabilities, Capability};

use super::chat::Mode;
use crate::config::GmsConfig;

/// When a typing indication of the other side is over: GMS has no time of its own.
const TYPING_EXPIRES_AFTER: Duration = Duration::from_secs(5);
/// What a request packet of the Chat Server holds (§3.3).
const USER_DATA_MAX_BYTES: u32 = 32_768;

/// What can be done in a chat that is followed like this.
pub(crate) fn capabilities(config: &GmsConfig, mode: Mode) -> Capabilities {
    let mut capabilities = [
        Capability::Start,
        Capability::Join,
        Capability::Restore,
        Capability::Verify,
        Capability::Typing,
        Capability::TypingPreview,
        Capability::Notice,
        Capability::History,
        Capability::UserDataBeforeStart,
        Capability::UserDataDuringChat,
        // Events have indexes (§5.4).
        Capability::MessageIds,
        // Who is back in time reads all of it, the end included (§6).
        Capability::FinalTranscript,
        Capability::Denials,
        // Another chat server gives another alias (§4).
        Capability::ChangingCredentials,
        Capability::RawTap,
        Capability::Vendor,
    ]
    .into_iter()
    .fold(Capabilities::new(), Capabilities::with);
    let files = match mode {
        Mode::Polling => true,
        Mode::Cometd => config.cometd.as_ref().is_some_and(|cometd| cometd.companion_url.is_some()),
    };
    if files {
        capabilities = [Capability::Upload, Capability::Download, Capability::DeleteFile]
            .into_iter()
            .fold(capabilities, Capabilities::with);
    }
    if config.correlation_token {
        capabilities = capabilities.with(Capability::EchoToken);
    }
    if config.read_receipts {
        capabilities = capabilities.with(Capability::ReadReceipts);
    }
    let timings = &config.timings;
    match mode {
        Mode::Polling => {
            capabilities = capabilities.with(Capability::Poll);
            capabilities.poll_interval = Some(timings.poll_interval);
        }
        Mode::Cometd => {
            // A jump in the indexes of what is pushed (§5.4).
            capabilities = capabilities.with(Capability::GapHints);
            if config.asynchronous {
                capabilities = capabilities.with(Capability::Async);
            }
        }
    }
    if !capabilities.can(Capability::Async) {
        capabilities.detached_for = Some(timings.disconnect_budget);
        capabilities.restore_within = Some(timings.restore_timeout);
    }
    capabilities.text_max_chars = Some(config.text_max_chars);
    capabilities.user_data_max_bytes = Some(USER_DATA_MAX_BYTES);
    capabilities.typing_expires_after = TYPING_EXPIRES_AFTER;
    capabilities.settle_within = timings.settle_within;
    capabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CometdConfig;

    #[test]
    fn the_mode_decides_what_can_be_done() {
        let mut config = GmsConfig::default();
        let polling = capabilities(&config, Mode::Polling);
        assert!(polling.can(Capability::Poll) && polling.can(Capability::Upload));
        assert!(polling.can(Capability::EchoToken));
        assert!(!polling.can(Capability::Async) && !polling.can(Capability::ReadReceipts));
        assert_eq!(polling.restore_within, Some(Duration::from_secs(60)));
        assert_eq!(polling.detached_for, Some(Duration::from_secs(45)));

        config.cometd = Some(CometdConfig::new("https://x/cometd"));
        config.read_receipts = true;
        config.correlation_token = false;
        config.asynchronous = true;
        let push = capabilities(&config, Mode::Cometd);
        assert!(!push.can(Capability::Poll) && !push.can(Capability::Upload));
        assert!(push.can(Capability::Async) && push.can(Capability::ReadReceipts));
        assert!(!push.can(Capability::EchoToken), "an equal text is all there is");
        assert_eq!((push.restore_within, push.detached_for), (None, None));
        assert!(!capabilities(&config, Mode::Polling).can(Capability::Async), "after a fallback");
    }
}
