//! Owns the removal of keys from raw texts: for taps and for errors that quote a body.

use std::borrow::Cow;

const KEY: &str = "securekey";
const HIDDEN: &str = "[secret]";

/// The text without the values of `secureKey`, whether it is JSON, a form or the middle of either.
pub fn redact(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains(KEY) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(found) = lower[done..].find(KEY) {
        let name_end = done + found + KEY.len();
        let value_at = text.len() - value_after(&text[name_end..]).len();
        let value = &text[value_at..];
        let length = length_of(value);
        out.push_str(&text[done..value_at]);
        out.push_str(match &value[..length] {
            // Nothing to hide; or the end of a sentence that happens to name keys.
            kept if kept.is_empty() || kept == "null" || value_at == name_end => kept,
            // A bare number stays JSON.
            _ if text[..value_at].trim_end().ends_with(':') => "\"[secret]\"",
            _ => HIDDEN,
        });
        done = value_at + length;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// What stands behind `": "`, `=` or the like; quotes may be escaped, once or more often. All of it if there is no such thing.
fn value_after(rest: &str) -> &str {
    let quote = |text| {
        let text: &str = text;
        let bare = text.trim_start_matches('\\');
        bare.strip_prefix(['"', '\'']).unwrap_or(text)
    };
    let spaced = quote(rest).trim_start();
    let Some(value) = spaced.strip_prefix([':', '=']) else { return rest };
    quote(value.trim_start())
}

/// Up to what cannot stand in a key. An escaped quote ends it; an escaped slash does not.
fn length_of(value: &str) -> usize {
    let mut rest = value;
    while let Some(at) = rest.find(['"', '\'', '&', '\\', '<', ',', ' ', '}', '\r', '\n']) {
        let behind = rest[at..].trim_start_matches('\\');
        let is_escape = behind.len() < rest.len() - at;
        if !is_escape || behind.starts_with(['"', '\'']) {
            return value.len() - rest.len() + at;
        }
        rest = behind;
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_removed_from_whatever_it_stands_in() {
        for (text, expected) in [
            (r#"{"secureKey":"7c1f+/e2==","alias":"204"}"#, r#"{"secureKey":"[secret]","alias":"204"}"#),
            (r#"{"secureKey" : "7c1f"#, r#"{"secureKey" : "[secret]"#),
            (r#"{"secureKey":"7c1f\/e2==","alias":"204"}"#, r#"{"secureKey":"[secret]","alias":"204"}"#),
            ("userId=1&secureKey=7c%2B1f&alias=204", "userId=1&secureKey=[secret]&alias=204"),
            (r#"{"body":"{\"secureKey\":\"7c1f\"}"}"#, r#"{"body":"{\"secureKey\":\"[secret]\"}"}"#),
            (
                r#"{"secureKey":"a","x":{"SecureKey":"b"}}"#,
                r#"{"secureKey":"[secret]","x":{"SecureKey":"[secret]"}}"#,
            ),
            (r#"{"secureKey":null}"#, r#"{"secureKey":null}"#),
            (r#"{"secureKey": 7}"#, r#"{"secureKey": "[secret]"}"#),
            (r#"{"secureKey":"","alias":"204"}"#, r#"{"secureKey":"","alias":"204"}"#),
            ("é secureKey", "é secureKey"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
        assert!(matches!(redact("nothing"), Cow::Borrowed(_)));
    }
}
