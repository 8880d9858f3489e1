//! Owns the start of a chat: what is refused, and what the backend is asked for (§2, operation 1).

use std::{sync::Arc, time::Duration};

use chat_core::{
    Capability, ChatSession, KeyRule, SessionSettings, StartRequest, TypingPolicy, UserData, transcript::View,
};
use tokio::{sync::oneshot, time::timeout};
use tracing::{debug, warn};

use super::{
    Shared,
    chat::{Beginning, Chat, drive},
    config::FrontConfig,
    service::{Answered, Call, Outcome, failed, refused},
};
use crate::wire::{ErrorCode, Identity, Position};

impl Shared {
    pub(super) async fn start(self: &Arc<Self>, call: Call) -> Answered {
        match self.try_start(call).await {
            Ok(chat) => {
                let reply = chat.reply(Position::Everything);
                let reply = if self.config.legacy_start { reply.into_legacy_start() } else { reply };
                (Some(chat), reply.into())
            }
            Err(outcome) => (None, outcome),
        }
    }

    async fn try_start(self: &Arc<Self>, call: Call) -> Result<Arc<Chat>, Outcome> {
        let parameters = call.parameters;
        let named = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.trim().is_empty());
        let (first, last) = (named(&parameters.first_name), named(&parameters.last_name));
        if !named(&parameters.nickname) {
            match (first, last) {
                (true, true) => {}
                (false, false) => {
                    let advice = "nickname, or firstName and lastName, required";
                    return Err(refused(ErrorCode::NAME_REQUIRED, advice));
                }
                (false, true) => return Err(refused(ErrorCode::FIRST_NAME_REQUIRED, "firstName required")),
                (true, false) => return Err(refused(ErrorCode::LAST_NAME_REQUIRED, "lastName required")),
            }
        }
        if parameters.email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(refused(ErrorCode::INVALID_EMAIL, "invalid emailAddress"));
        }
        let cannot = || -> Outcome {
            let advice = "chat service unavailable";
            failed(Identity::default(), true, ErrorCode::CANNOT_START, advice).into()
        };
        let place = self.place().ok_or_else(cannot)?;
        let asynchronous = parameters.is_asynchronous() && self.config.asynchronous;
        let capabilities = self.transport.capabilities();
        let mut start = StartRequest {
            nickname: parameters.nickname,
            first_name: parameters.first_name,
            last_name: parameters.last_name,
            email: parameters.email,
            subject: parameters.subject,
            asynchronous: asynchronous && capabilities.can(Capability::Async),
            ..StartRequest::default()
        };
        if capabilities.can(Capability::UserDataBeforeStart) {
            start.user_data = acceptable(parameters.user_data, capabilities.user_data_keys);
        } else if !parameters.user_data.0.is_empty() {
            warn!(transport = %self.transport.id(), "the backend takes no user data: those of a start are dropped");
        }
        let nickname = start.display_name().unwrap_or_default();
        let started = ChatSession::over(Arc::clone(&self.transport))
            .settings(settings(&self.config))
            .clock(Arc::clone(&self.config.clock))
            .start(start);
        let service = call.service.unwrap_or_default();
        let (tell, told) = oneshot::channel();
        let front = Arc::clone(self);
        // A task of its own: whoever asks may be gone before the backend has answered, and the chat is there all the same.
        self.spawn(async move {
            let chat = match started.await {
                Ok(session) => front.open(session, service, asynchronous, nickname.into()),
                Err(failed) => return debug!(error = %failed.error, "the backend starts no chat"),
            };
            drop(place);
            if let Err(unheard) = tell.send(chat) {
                unheard.give_up().await;
            }
        });
        match timeout(self.config.start_within, told).await {
            Ok(Ok(chat)) => Ok(chat),
            _ => Err(cannot()),
        }
    }

    /// A chat that has begun at the backend begins here.
    fn open(
        self: &Arc<Self>,
        session: ChatSession,
        service: String,
        asynchronous: bool,
        nickname: Arc<str>,
    ) -> Arc<Chat> {
        let events = session.subscribe(View::Full);
        let chat = Arc::new(Chat::new(
            Beginning {
                id: id(16),
                user_id: id(16),
                secure_key: id(32).to_lowercase().into(),
                service,
                asynchronous,
                session,
                nickname,
            },
            &self.config,
        ));
        self.remember(&chat);
        self.spawn(drive(Arc::clone(self), Arc::clone(&chat), events));
        chat
    }

    /// A place for one more chat, if there is room.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let mut chats = self.chats();
        let room = chats.by_id.len() + chats.starting < self.config.chats_max;
        room.then(|| {
            chats.starting += 1;
            Place(Arc::clone(self))
        })
    }
}

/// The place of a chat that is about to begin.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.chats().starting -= 1;
    }
}

/// User data under keys that the backend accepts: whatever it does not, becomes `_`.
pub(super) fn acceptable(data: UserData, rule: KeyRule) -> UserData {
    let key = |key: String| {
        if rule.accepts(&key) {
            return key;
        }
        let fits = |c: char| rule.accepts(c.encode_utf8(&mut [0; 4]));
        let fitted: String = key.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        if fitted.is_empty() { "_".to_owned() } else { fitted }
    };
    UserData(data.0.into_iter().map(|(name, value)| (key(name), value)).collect())
}

/// What a session does for the client of this service: what it could not say itself, it says nothing of.
fn settings(config: &FrontConfig) -> SessionSettings {
    let mut typing = TypingPolicy::default();
    // The client says itself when it stops; this is for one that does not.
    typing.stop_after = Duration::from_secs(30);
    typing.preview_every = Duration::from_secs(1);
    typing.restart_at_once = true;
    SessionSettings::default()
        .with_typing(typing)
        .with_auto_delivered(false)
        .with_reader_capacity(1024)
        .with_outbox_ttl(Some(config.request_within))
}

fn is_email(text: &str) -> bool {
    let (name, host) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !text.contains(' ')
}

/// An id of the service: so many upper-case hexadecimal digits.
fn id(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        text.push_str(&uuid::Uuid::new_v4().simple().to_string().to_uppercase());
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_to_fit_the_backend() {
        let data = UserData::new().with("order.id", "A-17").with("_genesys_url", "x");
        let fitted = acceptable(data, KeyRule::AlphanumericDashUnderscore);
        assert_eq!(fitted, UserData::new().with("order_id", "A-17").with("_genesys_url", "x"));
    }

    #[test]
    fn addresses_have_a_name_and_a_host() {
        assert!(is_email("jon@example.test"));
        for text in ["not-an-email", "@example.test", "jon@", "jon@host", "j on@example.test", ""] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn ids_are_as_long_as_asked() {
        assert_eq!(id(16).len(), 16);
        assert_eq!(id(100).len(), 100);
    }
}
