//! Owns the correlation token in `messageType`, which is free text and comes back with the message (§12.1 rule 5).

use chat_core::ClientToken;

const TOKEN: &str = ";token=";

/// A message type that carries a token.
pub(crate) fn tag(kind: &str, token: &ClientToken) -> String {
    format!("{kind}{TOKEN}{token}")
}

/// The message type without its token, and the token.
pub(crate) fn read_tag(message_type: &str) -> (&str, Option<ClientToken>) {
    match message_type.split_once(TOKEN) {
        Some((kind, token)) if !token.is_empty() => (kind, Some(token.into())),
        _ => (message_type, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back() {
        let token = ClientToken::from("0b5c");
        assert_eq!(tag("text", &token), "text;token=0b5c");
        assert_eq!(read_tag("text;token=0b5c"), ("text", Some(token)));
        assert_eq!(read_tag("rich-card"), ("rich-card", None));
        assert_eq!(read_tag("text;token="), ("text;token=", None));
    }
}
