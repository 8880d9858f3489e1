//! Owns lenient reading: one pass, borrowed where the text allows, and a member that does not fit is absent.

use std::{borrow::Cow, fmt, marker::PhantomData};

use chat_core::Secret;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A value that may be absent, `null` or of the wrong type: all three read as `None`.
pub(crate) trait Member<'de>: Sized {
    /// Reads one value. Fails on broken syntax only.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error>;

    /// What can be saved from a value whose syntax `read` does not take (a lone surrogate, a number out of range).
    fn rescue(_raw: &'de RawValue) -> Option<Self> {
        None
    }
}

/// [`Member`] as a seed.
pub(crate) struct Seed<T>(pub(crate) PhantomData<T>);

impl<'de, T: Member<'de>> DeserializeSeed<'de> for Seed<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        T::read(deserializer)
    }
}

/// The visits that mean "wrong type" for every kind of member: consume the value, yield nothing.
macro_rules! otherwise_none {
    (@text) => { $crate::wire::lenient::otherwise_none!(@one visit_str: &str); };
    (@one $visit:ident: $ty:ty) => {
        fn $visit<E: serde::de::Error>(self, _: $ty) -> Result<Self::Value, E> { Ok(None) }
    };
    (@numbers) => {
        $crate::wire::lenient::otherwise_none!(@one visit_u64: u64);
        $crate::wire::lenient::otherwise_none!(@one visit_i64: i64);
        $crate::wire::lenient::otherwise_none!(@one visit_f64: f64);
    };
    (@bool) => { $crate::wire::lenient::otherwise_none!(@one visit_bool: bool); };
    (@unit) => {
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Ok(None) }
    };
    (@seq $l:lifetime) => {
        fn visit_seq<A: serde::de::SeqAccess<$l>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    };
    (@map $l:lifetime) => {
        fn visit_map<A: serde::de::MapAccess<$l>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    };
}
pub(crate) use otherwise_none;

impl<'de> Member<'de> for Cow<'de, str> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Option<Cow<'de, str>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Some(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Some(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Some(Cow::Owned(text)))
            }
            otherwise_none!(@numbers);
            otherwise_none!(@bool);
            otherwise_none!(@unit);
            otherwise_none!(@seq 'de);
            otherwise_none!(@map 'de);
        }
        deserializer.deserialize_any(Text)
    }

    /// A lone surrogate is no reason to lose a message: it becomes U+FFFD.
    fn rescue(raw: &'de RawValue) -> Option<Self> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = String;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(String::from_utf8_lossy(bytes).into_owned())
            }
        }
        if !raw.get().starts_with('"') {
            return None;
        }
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        (&mut deserializer).deserialize_bytes(Bytes).ok().map(Cow::Owned)
    }
}

macro_rules! via_text {
    ($($ty:ty),*) => {$(
        impl<'de> Member<'de> for $ty {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                Ok(<Cow<'de, str> as Member<'de>>::read(deserializer)?.map(|text| text.into_owned().into()))
            }
            fn rescue(raw: &'de RawValue) -> Option<Self> {
                <Cow<'de, str> as Member<'de>>::rescue(raw).map(|text| text.into_owned().into())
            }
        }
    )*};
}
via_text!(String, Secret);

impl<'de> Member<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        struct Flag;
        impl<'de> Visitor<'de> for Flag {
            type Value = Option<bool>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Some(flag))
            }
            otherwise_none!(@text);
            otherwise_none!(@numbers);
            otherwise_none!(@unit);
            otherwise_none!(@seq 'de);
            otherwise_none!(@map 'de);
        }
        deserializer.deserialize_any(Flag)
    }
}

impl<'de> Member<'de> for u64 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        struct Number;
        impl<'de> Visitor<'de> for Number {
            type Value = Option<u64>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Some(number))
            }
            otherwise_none!(@one visit_i64: i64);
            otherwise_none!(@one visit_f64: f64);
            otherwise_none!(@text);
            otherwise_none!(@bool);
            otherwise_none!(@unit);
            otherwise_none!(@seq 'de);
            otherwise_none!(@map 'de);
        }
        deserializer.deserialize_any(Number)
    }
}

impl<'de> Member<'de> for &'de RawValue {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(Some)
    }
}

/// A list: elements of the wrong type are left out.
impl<'de, T: Member<'de>> Member<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Member<'de>> Visitor<'de> for List<T> {
            type Value = Option<Vec<T>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(element) = seq.next_element_seed(Seed(PhantomData))? {
                    out.extend(element);
                }
                Ok(Some(out))
            }
            otherwise_none!(@text);
            otherwise_none!(@numbers);
            otherwise_none!(@bool);
            otherwise_none!(@unit);
            otherwise_none!(@map 'de);
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

/// The members of an object, unread: the slow path, taken when the fast one met broken syntax inside a member.
pub(crate) struct RawMembers<'de>(pub(crate) Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(key) = map.next_key_seed(Seed::<Cow<'de, str>>(PhantomData))? {
                    match key {
                        Some(key) => out.push((key, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(RawMembers(out))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// One pass over the whole text. `Err` for broken syntax, `Ok(None)` for something else than the shape.
pub(crate) fn read_text<'de, T: Member<'de>>(text: &'de str) -> serde_json::Result<Option<T>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = T::read(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// One unread member.
pub(crate) fn read_raw<'de, T: Member<'de>>(raw: &'de RawValue) -> Option<T> {
    read_text(raw.get()).unwrap_or_else(|_| T::rescue(raw))
}

/// Declares an object whose members are all optional, with its JSON names: read leniently, written without what is absent.
macro_rules! lenient_object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$lt:lifetime> { $($body:tt)* }) => {
        $crate::wire::lenient::lenient_object!(@type [$(#[$meta])*] $vis [$name<$lt>] { $($body)* });
        $crate::wire::lenient::lenient_object!(@read $vis [$lt] [$name<$lt>] { $($body)* });
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($body:tt)* }) => {
        $crate::wire::lenient::lenient_object!(@type [$(#[$meta])*] $vis [$name] { $($body)* });
        $crate::wire::lenient::lenient_object!(@read $vis ['de] [$name] { $($body)* });
    };
    (@type [$($meta:tt)*] $vis:vis [$name:ident $($lt:tt)*] { $($(#[$doc:meta])* $key:literal => $field:ident: $ty:ty),* $(,)? }) => {
        $($meta)*
        #[derive(Debug, Clone, Default, serde::Serialize)]
        #[non_exhaustive]
        $vis struct $name $($lt)* {
            $(
                $(#[$doc])*
                #[serde(rename = $key, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$ty>,
            )*
        }
    };
    (@read $vis:vis [$l:lifetime] [$full:ty] { $($(#[$doc:meta])* $key:literal => $field:ident: $ty:ty),* $(,)? }) => {
        impl<$l> $crate::wire::lenient::Member<$l> for $full {
            fn read<D: serde::Deserializer<$l>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                struct Object;
                impl<$l> serde::de::Visitor<$l> for Object {
                    type Value = Option<$full>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<$l>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        use std::{borrow::Cow, marker::PhantomData};
                        use $crate::wire::lenient::Seed;
                        let mut out = <$full>::default();
                        while let Some(key) = map.next_key_seed(Seed::<Cow<$l, str>>(PhantomData))? {
                            match key.as_deref() {
                                $(Some($key) => out.$field = map.next_value_seed(Seed::<$ty>(PhantomData))?,)*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(Some(out))
                    }
                    $crate::wire::lenient::otherwise_none!(@text);
                    $crate::wire::lenient::otherwise_none!(@numbers);
                    $crate::wire::lenient::otherwise_none!(@bool);
                    $crate::wire::lenient::otherwise_none!(@unit);
                    $crate::wire::lenient::otherwise_none!(@seq $l);
                }
                deserializer.deserialize_any(Object)
            }

            fn rescue(raw: &$l serde_json::value::RawValue) -> Option<Self> {
                Self::decode_member_by_member(raw.get())
            }
        }

        impl<$l> $full {
            /// Reads one JSON object, leniently. `None` if the text is no JSON object; it stays with the caller.
            $vis fn decode(text: &$l str) -> Option<Self> {
                $crate::wire::lenient::read_text(text).unwrap_or_else(|_| Self::decode_member_by_member(text))
            }

            fn decode_member_by_member(text: &$l str) -> Option<Self> {
                let members: $crate::wire::lenient::RawMembers<$l> = serde_json::from_str(text).ok()?;
                let mut out = Self::default();
                for (key, raw) in members.0 {
                    match &*key {
                        $($key => out.$field = $crate::wire::lenient::read_raw::<$ty>(raw),)*
                        _ => {}
                    }
                }
                Some(out)
            }
        }
    };
}
pub(crate) use lenient_object;
