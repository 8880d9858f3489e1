//! Owns how the identity of a chat is kept up to date: the latest that is not empty, from successful replies only (§4).

use crate::wire::{Identity, Reply, StatusCode};

impl Identity {
    /// Takes over what a successful reply tells. Says whether anything changed.
    pub(crate) fn adopt(&mut self, reply: &Reply) -> bool {
        if reply.status_code != Some(StatusCode::Ok) || !self.is_of(reply) {
            return false;
        }
        let before = self.clone();
        let told = &reply.identity;
        let Self { chat_id, user_id, secure_key, alias } = self;
        take(chat_id, &told.chat_id);
        take(user_id, &told.user_id);
        take(secure_key, &told.secure_key);
        take(alias, &told.alias);
        *self != before
    }

    /// Whether a reply can be about this chat: the id never changes while a chat lasts.
    pub(crate) fn is_of(&self, reply: &Reply) -> bool {
        match (&self.chat_id, &reply.identity.chat_id) {
            (Some(own), Some(told)) => own == told,
            _ => true,
        }
    }
}

fn take<T: Clone>(own: &mut Option<T>, told: &Option<T>) {
    if told.is_some() {
        own.clone_from(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply::read(text).unwrap()
    }

    #[test]
    fn the_latest_that_is_not_empty_wins_and_failures_tell_nothing() {
        let mut identity = Identity::default();
        let start =
            r#"{"statusCode":0,"chatId":"c","userId":"u","secureKey":"k","alias":"204","nextPosition":2}"#;
        assert!(identity.adopt(&reply(start)));
        assert!(!identity.adopt(&reply(start)));
        for nothing in [
            r#"{"statusCode":0,"chatId":"c","userId":null,"secureKey":"","alias":7}"#,
            r#"{"statusCode":1,"alias":"317"}"#,
            r#"{"statusCode":2,"alias":"317"}"#,
            r#"{"alias":"317"}"#,
            r#"{"statusCode":0,"chatId":"another","alias":"317"}"#,
        ] {
            assert!(!identity.adopt(&reply(nothing)), "{nothing}");
        }
        assert!(identity.adopt(&reply(r#"{"statusCode":0,"alias":"317"}"#)));
        assert_eq!(identity.alias.as_deref(), Some("317"));
        assert_eq!(identity.secure_key.as_ref().map(|key| key.expose()), Some("k"));
        assert_eq!(identity.user_id.as_deref(), Some("u"));
    }
}
