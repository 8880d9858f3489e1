//! Owns the files of a chat: their ids, their limits, how often they were fetched (§7).

use std::sync::Arc;

use chat_core::{Attachment, AttachmentId, Download, UserData};

use super::{
    config::FileRules,
    convert::{Draft, FileStage, file_stage},
};
use crate::wire::{ErrorCode, ErrorEntry, EventType, FILE_ID, FILE_NAME, FILE_SIZE, FileLimits};

/// A file that was fetched from the backend.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) name: Arc<str>,
    pub(super) download: Download,
}

#[derive(Debug)]
struct Stored {
    id: Arc<str>,
    /// The backend's id; unknown while it is on its way there.
    attachment: Option<AttachmentId>,
    name: Arc<str>,
    size: u64,
    /// The client's: it counts.
    own: bool,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Offered,
    Withdrawn,
}

/// The files of one chat.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    files: Vec<Stored>,
    downloads: u64,
}

fn error(code: ErrorCode, advice: &str) -> ErrorEntry {
    ErrorEntry::new(code, advice)
}

impl Shelf {
    /// Takes in a file of the client's, if the rules let it, and gives its id.
    pub(super) fn reserve(
        &mut self,
        rules: &FileRules,
        name: &str,
        size: u64,
        has_agent: bool,
    ) -> Result<Arc<str>, ErrorEntry> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        let (count, total) = self.used(rules);
        if rules.need_agent && !has_agent {
            return Err(error(ErrorCode::NOT_EXECUTED, "no agent in the chat"));
        }
        if size == 0 {
            return Err(error(ErrorCode::NOT_EXECUTED, "the file is empty"));
        }
        if !rules.types.is_empty() && !rules.types.contains(&ending) {
            return Err(error(ErrorCode::FILE_TYPE, "file type not allowed"));
        }
        if count >= rules.max_files {
            return Err(error(ErrorCode::TOO_MANY_FILES, "too many files"));
        }
        if size > rules.max_file_size || total.saturating_add(size) > rules.max_total_size {
            return Err(error(ErrorCode::FILE_QUOTA, "upload limit exceeded"));
        }
        let id = self.add(None, name, size, true);
        Ok(id)
    }

    /// The client's file did not arrive: as if it had never been.
    pub(super) fn release(&mut self, id: &str) {
        self.files.retain(|file| *file.id != *id || file.told != Told::Nothing);
    }

    fn add(&mut self, attachment: Option<AttachmentId>, name: &str, size: u64, own: bool) -> Arc<str> {
        let mut id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        id.truncate(16);
        let id: Arc<str> = id.into();
        let file =
            Stored { id: Arc::clone(&id), attachment, name: name.into(), size, own, told: Told::Nothing };
        self.files.push(file);
        id
    }

    /// What the backend says about a file, as events. `reserved` is the client's own file that it may be.
    pub(super) fn sighted(&mut self, file: &Attachment, own: bool, reserved: Option<&str>) -> Vec<Draft> {
        let stage = file_stage(file.status);
        if stage == FileStage::Awaited || file.id.as_str().is_empty() {
            return Vec::new();
        }
        let known = self.files.iter().position(|known| {
            known.attachment.as_ref() == Some(&file.id)
                || known.attachment.is_none() && reserved == Some(&*known.id)
        });
        let at = known.unwrap_or_else(|| {
            self.add(Some(file.id.clone()), &file.name, file.size.unwrap_or_default(), own);
            self.files.len() - 1
        });
        let Some(known) = self.files.get_mut(at) else { return Vec::new() };
        known.attachment = Some(file.id.clone());
        let mut events = Vec::new();
        if known.told == Told::Nothing {
            known.told = Told::Offered;
            let size = if known.size == 0 { file.size.unwrap_or_default() } else { known.size };
            let facts = UserData::new()
                .with(FILE_ID, &*known.id)
                .with(FILE_NAME, &*known.name)
                .with(FILE_SIZE, size.to_string());
            events.push(Draft::new(EventType::FileUploaded).with_text("").with_data(facts));
        }
        if stage == FileStage::Withdrawn && known.told == Told::Offered {
            events.push(known.withdraw());
        }
        events
    }

    /// The file is gone: what the client is told, if that is news.
    pub(super) fn withdrawn(&mut self, id: &str) -> Option<Draft> {
        let file = self.files.iter_mut().find(|file| *file.id == *id)?;
        (file.told == Told::Offered).then(|| file.withdraw())
    }

    /// The backend's id of a file that can be fetched or deleted, and its name.
    pub(super) fn find(&self, id: &str) -> Result<(AttachmentId, Arc<str>), ErrorEntry> {
        let unknown = || error(ErrorCode::NOT_EXECUTED, "no such file");
        let file = self.files.iter().find(|file| *file.id == *id && file.told == Told::Offered);
        let file = file.ok_or_else(unknown)?;
        Ok((file.attachment.clone().ok_or_else(unknown)?, Arc::clone(&file.name)))
    }

    /// A download that was counted did not come about.
    pub(super) const fn give_back_download(&mut self) {
        self.downloads = self.downloads.saturating_sub(1);
    }

    /// Counts one more download, if there may be one.
    pub(super) fn count_download(&mut self, rules: &FileRules) -> Result<(), ErrorEntry> {
        if self.downloads >= rules.download_attempts {
            return Err(error(ErrorCode::FILE_QUOTA, "download attempts exceeded"));
        }
        self.downloads += 1;
        Ok(())
    }

    /// How many files the client has sent, and how many bytes they are.
    fn used(&self, rules: &FileRules) -> (u64, u64) {
        let counts = |file: &&Stored| file.own && !(rules.delete_gives_back && file.told == Told::Withdrawn);
        let sizes = self.files.iter().filter(counts).map(|file| file.size);
        sizes.fold((0, 0), |(count, total), size| (count + 1, total.saturating_add(size)))
    }

    /// What the answer to a question for the limits says.
    pub(super) fn limits(&self, rules: &FileRules) -> FileLimits {
        let (count, total) = self.used(rules);
        FileLimits {
            max_files: Some(rules.max_files),
            max_file_size: Some(rules.max_file_size),
            max_total_size: Some(rules.max_total_size),
            types: Some(rules.types.clone()),
            need_agent: Some(rules.need_agent),
            download_attempts: Some(rules.download_attempts),
            used_files: Some(count),
            used_total_size: Some(total),
            used_download_attempts: Some(self.downloads),
            delete_file: Some(rules.delete_policy.clone()),
        }
    }
}

impl Stored {
    fn withdraw(&mut self) -> Draft {
        self.told = Told::Withdrawn;
        Draft::new(EventType::FileDeleted).with_text("").with_data(UserData::new().with(FILE_ID, &*self.id))
    }
}
