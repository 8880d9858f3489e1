//! Owns the identifiers: cheap to clone, compared as text, never mixed up with one another.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The shared text, without a copy.
            pub fn to_shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// The vendor's id of one message or item, opaque.
    MessageId
}
text_id! {
    /// The vendor's id of one participant of a chat, opaque.
    ParticipantId
}
text_id! {
    /// One vendor session: a segment of the transcript. On Connect the whole chain of contacts.
    SegmentId
}
text_id! {
    /// The vendor's id of one file.
    AttachmentId
}
text_id! {
    /// Within which ids are unique: on Connect the contact chain (`InitialContactId`), on GMS session and epoch.
    Scope
}
text_id! {
    /// The idempotency key of one send: made once, kept over retries and restarts.
    ClientToken
}

impl ClientToken {
    /// A new random token (UUID version 4).
    pub fn random() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        Self::new(&*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer))
    }
}

/// Which transport: the name that an adapter gives itself, as in configuration and errors (`"connect"`, `"gms-v2"`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TransportId(&'static str);

impl TransportId {
    /// Names a transport. Use lower case and hyphens.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
