//! Owns the operations, and their names on each of the three ways in: REST paths, CometD and its companion for files (§2, §9.2, §9.3).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What stands in a path segment as it is: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What a client asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name on CometD, and on the companion if it is about files. Also for logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    /// Start a chat.
    RequestChat = "requestChat";
    /// Take up a chat's notifications (again). CometD only.
    RequestNotifications = "requestNotifications";
    /// Send a message.
    Send = "sendMessage";
    /// Fetch the transcript from a position on, and keep the chat alive.
    Refresh = "refresh";
    /// This party types, perhaps with the text so far.
    StartTyping = "startTyping";
    /// This party no longer types.
    StopTyping = "stopTyping";
    /// Leave, which normally ends the chat.
    Disconnect = "disconnect";
    /// Push a URL to the other side.
    PushUrl = "pushUrl";
    /// Take another name.
    UpdateNickname = "updateNickname";
    /// Send an application's own notice.
    CustomNotice = "customNotice";
    /// Attach data.
    UpdateData = "updateData";
    /// Everything up to an index was read.
    ReadReceipt = "readReceipt";
    /// What files may be sent.
    FileLimits = "fileGetLimits";
    /// Send a file.
    FileUpload = "fileUpload";
    /// Fetch a file.
    FileDownload = "fileDownload";
    /// Delete a file.
    FileDelete = "fileDelete";
}

/// Which operation a REST path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    /// The operation.
    pub operation: Operation,
    /// The chat; `None` for a start.
    pub chat_id: Option<Cow<'a, str>>,
    /// The file, for downloads and deletions.
    pub file_id: Option<Cow<'a, str>>,
}

impl Operation {
    /// The operation of this name on the chat channel of CometD. Files are not handled there.
    pub fn from_channel(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| !operation.is_about_files() && operation.name() == name)
    }

    /// The operation of this name on the companion for files; the vendor's sample spells one with an `s` more.
    pub fn from_companion(name: &str) -> Option<Self> {
        let name = if name == "fileGetsLimits" { Self::FileLimits.name() } else { name };
        Self::ALL.iter().copied().find(|operation| operation.is_about_files() && operation.name() == name)
    }

    /// Whether it goes to the companion in CometD mode.
    pub const fn is_about_files(self) -> bool {
        matches!(self, Self::FileLimits | Self::FileUpload | Self::FileDownload | Self::FileDelete)
    }

    /// The part of its REST path behind the chat's id.
    const fn tail(self) -> Option<&'static str> {
        Some(match self {
            Self::RequestChat | Self::RequestNotifications => return None,
            Self::Send => "send",
            Self::FileLimits => "file/limits",
            Self::FileUpload => "file",
            Self::FileDownload => "download",
            Self::FileDelete => "delete",
            other => other.name(),
        })
    }

    /// Its REST path behind the service, from the slash on; empty for a start. `None` if REST does not know it, or an id is missing
    /// or no segment of a path: an empty one, and those that lead elsewhere whether escaped or not (RFC 3986, 5.2.4).
    pub fn rest_path(self, chat_id: Option<&str>, file_id: Option<&str>) -> Option<String> {
        if self == Self::RequestChat {
            return Some(String::new());
        }
        let segment = |id: Option<&str>| {
            let id = id.filter(|id| !matches!(*id, "" | "." | ".."))?;
            Some(utf8_percent_encode(id, ESCAPED).to_string())
        };
        let (chat, tail) = (segment(chat_id)?, self.tail()?);
        Some(match self {
            Self::FileDownload | Self::FileDelete => format!("/{chat}/file/{}/{tail}", segment(file_id)?),
            _ => format!("/{chat}/{tail}"),
        })
    }

    /// Reads a REST path behind the service, with or without slashes around it.
    pub fn from_rest_path(path: &str) -> Option<Route<'_>> {
        fn id(segment: &str) -> Cow<'_, str> {
            percent_decode_str(segment).decode_utf8_lossy()
        }
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Some(Route { operation: Self::RequestChat, chat_id: None, file_id: None });
        }
        let (chat, tail) = path.split_once('/').filter(|(chat, _)| !chat.is_empty())?;
        let with_file = tail.strip_prefix("file/").and_then(|rest| rest.split_once('/'));
        let (file, tail, about_one) = match with_file {
            Some((file, tail)) if !file.is_empty() => (Some(file), tail, true),
            _ => (None, tail, false),
        };
        let operation = Self::ALL.iter().copied().find(|operation| {
            let needs_file = matches!(operation, Self::FileDownload | Self::FileDelete);
            operation.tail() == Some(tail) && needs_file == about_one
        })?;
        Some(Route { operation, chat_id: Some(id(chat)), file_id: file.map(id) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_start_is_the_service_itself_with_or_without_a_slash() {
        for path in ["", "/"] {
            let route = Operation::from_rest_path(path).unwrap();
            assert_eq!((route.operation, route.chat_id), (Operation::RequestChat, None));
        }
    }

    #[test]
    fn what_is_no_operation_has_no_route() {
        for path in ["/c", "/c/fly", "//send", "/c/file/f", "/c/file//delete", "/c/download", "/c/send/x"] {
            assert_eq!(Operation::from_rest_path(path), None, "{path}");
        }
        assert_eq!(Operation::RequestNotifications.rest_path(Some("c"), Some("f")), None);
        assert_eq!(Operation::FileDelete.rest_path(Some("c"), None), None);
    }

    #[test]
    fn an_id_leads_to_its_own_chat_and_nowhere_else() {
        for id in ["", ".", ".."] {
            assert_eq!(Operation::Send.rest_path(Some(id), None), None, "{id:?}");
            assert_eq!(Operation::FileDownload.rest_path(Some("c"), Some(id)), None, "{id:?}");
        }
        let path = |id| Operation::Send.rest_path(Some(id), None).unwrap();
        assert_eq!(path("../x"), "/..%2Fx/send");
        assert_eq!(path("a?b#c\r\n"), "/a%3Fb%23c%0D%0A/send");
        assert_eq!(path("..."), "/.../send");
    }

    #[test]
    fn names_lead_back_to_their_operation_on_their_own_way_in() {
        for operation in Operation::ALL.iter().copied() {
            let (channel, companion) =
                (Operation::from_channel(operation.name()), Operation::from_companion(operation.name()));
            let expected =
                if operation.is_about_files() { (None, Some(operation)) } else { (Some(operation), None) };
            assert_eq!((channel, companion), expected);
        }
        assert_eq!(Operation::from_companion("fileGetsLimits"), Some(Operation::FileLimits));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_path_leads_back(which in 0..Operation::ALL.len(), chat in ".+", file in ".+", slash in "/?") {
            let operation = Operation::ALL[which];
            let Some(path) = operation.rest_path(Some(&chat), Some(&file)) else { return Ok(()) };
            let path = format!("{path}{slash}");
            let route = Operation::from_rest_path(&path).unwrap();
            prop_assert_eq!(route.operation, operation);
            prop_assert!(route.chat_id.is_none_or(|id| id == chat));
            prop_assert!(route.file_id.is_none_or(|id| id == file));
        }
    }
}
