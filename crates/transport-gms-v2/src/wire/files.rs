//! Owns what the service tells about files: its limits, and how much of them is used (§7).

use std::str::FromStr;

use chat_core::UserData;

use super::{
    event::{EventType, Party, TranscriptEvent},
    reply::Reply,
};

/// What the answer to [`Operation::FileLimits`](super::Operation::FileLimits) says. A limit of 0 forbids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLimits {
    /// Files per chat.
    pub max_files: Option<u64>,
    /// Largest file, in bytes.
    pub max_file_size: Option<u64>,
    /// All files together, in bytes.
    pub max_total_size: Option<u64>,
    /// Extensions, without dots; `None` if not told.
    pub types: Option<Vec<String>>,
    /// Whether an agent must be in the chat.
    pub need_agent: Option<bool>,
    /// Downloads per chat.
    pub download_attempts: Option<u64>,
    /// Files sent so far.
    pub used_files: Option<u64>,
    /// Bytes sent so far.
    pub used_total_size: Option<u64>,
    /// Downloads so far.
    pub used_download_attempts: Option<u64>,
    /// Whether deleting gives back: the vendor's word.
    pub delete_file: Option<String>,
}

impl FileLimits {
    /// The text of the notice that carries limits: no message.
    pub const NOTICE: &'static str = "file-client-cfg-get";

    /// The limits that a reply holds.
    pub fn of_reply(reply: &Reply) -> Option<Self> {
        reply.events().iter().find_map(Self::of)
    }

    /// The limits that an event holds; `None` if it is another event.
    pub fn of(event: &TranscriptEvent) -> Option<Self> {
        Self::is_notice(event).then(|| event.user_data.as_ref().map(Self::read).unwrap_or_default())
    }

    /// Whether the event is the carrier of limits, and no part of the transcript.
    pub fn is_notice(event: &TranscriptEvent) -> bool {
        event.kind == Some(EventType::Notice)
            && event.index.is_none()
            && event.text.as_deref() == Some(Self::NOTICE)
    }

    /// The notice that carries these limits, as the service makes it.
    pub fn to_event(&self, from: Party, utc_time: i64) -> TranscriptEvent {
        let mut event = TranscriptEvent::new(EventType::Notice, from, None, utc_time);
        event.text = Some(Self::NOTICE.into());
        event.user_data = Some(self.write());
        event
    }

    fn read(data: &UserData) -> Self {
        fn fact<T: FromStr>(data: &UserData, key: &str) -> Option<T> {
            data.0.get(key)?.trim().to_ascii_lowercase().parse().ok()
        }
        let types = data.0.get("upload-file-types");
        Self {
            max_files: fact(data, "upload-max-files"),
            max_file_size: fact(data, "upload-max-file-size"),
            max_total_size: fact(data, "upload-max-total-size"),
            types: types.map(|types| {
                types.split(':').map(str::trim).filter(|one| !one.is_empty()).map(String::from).collect()
            }),
            need_agent: fact(data, "upload-need-agent"),
            download_attempts: fact(data, "download-attempts"),
            used_files: fact(data, "used-upload-max-files"),
            used_total_size: fact(data, "used-upload-max-total-size"),
            used_download_attempts: fact(data, "used-download-attempts"),
            delete_file: data.0.get("delete-file").cloned(),
        }
    }

    fn write(&self) -> UserData {
        fn text(fact: Option<impl ToString>) -> Option<String> {
            fact.map(|fact| fact.to_string())
        }
        let facts = [
            ("upload-max-files", text(self.max_files)),
            ("upload-max-file-size", text(self.max_file_size)),
            ("upload-max-total-size", text(self.max_total_size)),
            ("upload-file-types", self.types.as_ref().map(|types| types.join(":"))),
            ("upload-need-agent", text(self.need_agent)),
            ("download-attempts", text(self.download_attempts)),
            ("used-upload-max-files", text(self.used_files)),
            ("used-upload-max-total-size", text(self.used_total_size)),
            ("used-download-attempts", text(self.used_download_attempts)),
            ("delete-file", self.delete_file.clone()),
        ];
        UserData(facts.into_iter().filter_map(|(key, fact)| Some((key.to_owned(), fact?))).collect())
    }
}
