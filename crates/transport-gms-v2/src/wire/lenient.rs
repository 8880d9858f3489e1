//! Owns lenient reading: what is absent, `null` or of the wrong type is absent, and whoever reads still has the text it came from.
//!
//! Values are read from their text and never through a generic tree: a tree refuses a whole reply for one lone surrogate.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// The members of an object, unread, in the order of the text. Of two with one name, the later counts.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// `None` if the text is no JSON object.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()
    }
}

impl<'a> IntoIterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a RawValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(key) = map.next_key_seed(Lossy(PhantomData))? {
                    out.push((key, map.next_value()?));
                }
                Ok(Members(out))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A text in which a lone surrogate is no error: it becomes U+FFFD.
struct Lossy<'de>(PhantomData<&'de ()>);

impl<'de> DeserializeSeed<'de> for Lossy<'de> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Lossy<'de> {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }
    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(bytes))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// A text.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    if !raw.get().starts_with('"') {
        return None;
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    Lossy(PhantomData).deserialize(&mut deserializer).ok()
}

/// A text that says something: an empty one is absent.
pub(crate) fn filled<T: From<String>>(raw: &RawValue) -> Option<T> {
    text(raw).filter(|text| !text.is_empty()).map(|text| text.into_owned().into())
}

/// A whole number, or a text that holds one.
pub(crate) fn number<T: FromStr>(raw: &RawValue) -> Option<T> {
    /// Up to here a double counts one by one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let text = text(raw).unwrap_or(Cow::Borrowed(raw.get()));
    let text = text.trim();
    text.parse().ok().or_else(|| {
        // `1.75e12`, as some JSON libraries write a number.
        let number: f64 = text.parse().ok()?;
        (number.abs() <= EXACT && number.fract() == 0.0).then(|| (number as i64).to_string().parse().ok())?
    })
}

/// `true` or `false`, or a text that says so.
pub(crate) fn flag(raw: &RawValue) -> Option<bool> {
    let text = text(raw).unwrap_or(Cow::Borrowed(raw.get()));
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The elements of a list, unread.
pub(crate) fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// Any value, unless it holds what a tree cannot.
pub(crate) fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok().filter(|value| *value != Value::Null)
}

/// A value as a text: a text as it is, `null` as nothing, anything else as its JSON.
pub(crate) fn as_text(raw: &RawValue) -> Option<String> {
    match text(raw) {
        Some(text) => Some(text.into_owned()),
        None if raw.get() == "null" => None,
        None => Some(raw.get().to_owned()),
    }
}
