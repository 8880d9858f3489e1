//! Owns the faults that a test can order: data, set at any time, used up as they happen.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An operation of the front, as faults and quotas name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Operation { $($(#[$doc])* $name,)* }

        impl Operation {
            /// Every operation.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }
    };
}

operations! {
    /// §3.1.
    CreateParticipantConnection,
    /// §3.2.
    SendMessage,
    /// §3.3.
    SendEvent,
    /// §11.
    GetTranscript,
    /// §3.5.
    DisconnectParticipant,
    /// §10.1.
    StartAttachmentUpload,
    /// §10.1.
    CompleteAttachmentUpload,
    /// §10.2.
    GetAttachment,
    /// §12.3.
    DescribeView,
    /// §12.4.
    GetAuthenticationUrl,
    /// §12.4.
    CancelParticipantAuthentication,
    /// §5.1.
    StartChatContact,
    /// §5.2.
    CreateParticipant,
    /// §5.3.
    StopContact,
    /// §6.
    StartChatProxy,
    /// The front's own call that makes agents.
    AgentToken,
    /// The object store's PUT.
    StorePut,
    /// The object store's GET.
    StoreGet,
}

impl Operation {
    /// Whether it is for servers, not for the clients of participants.
    pub(super) const fn is_control_plane(self) -> bool {
        matches!(
            self,
            Self::StartChatContact | Self::CreateParticipant | Self::StopContact | Self::AgentToken
        )
    }

    /// Whether the vendor's service has it, and thus quotas for it.
    pub(super) const fn is_service(self) -> bool {
        !matches!(self, Self::AgentToken | Self::StorePut | Self::StoreGet)
    }
}

/// What goes wrong. Counts say how often; each time takes one away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FrontFaults {
    /// Answers that are replaced; the first that fits is used.
    pub answers: Vec<AnswerFault>,
    /// Upgrades refused with 403.
    pub refuse_upgrades: u32,
    /// Subscriptions that get no answer.
    pub ignore_subscribes: u32,
    /// Subscriptions that are refused.
    pub refuse_subscribes: u32,
    /// Heartbeats that get no answer.
    pub ignore_heartbeats: u32,
    /// Pings that get no answer.
    pub ignore_pings: u32,
    /// Pings answered with status 500.
    pub fail_pings: u32,
    /// Items that are sent twice.
    pub duplicate_items: u32,
    /// Items that are held until the next one has gone out, or a second has passed.
    pub reorder_items: u32,
    /// Items that are not sent at all.
    pub drop_items: u32,
    /// How long connections live that are made now, instead of what the configuration says.
    pub connection_life: Option<Duration>,
    /// Members that socket items go without, as `Id` or `Content`.
    pub omit_members: Vec<String>,
    /// Pages of the transcript that are empty and still have a token.
    pub empty_pages: u32,
}

/// A replaced answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerFault {
    /// Which operation; `None` for any.
    pub operation: Option<Operation>,
    /// What happens instead.
    pub instead: Instead,
    /// How often.
    pub times: u32,
}

/// What happens instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Instead {
    /// The service's error of this status; nothing is done.
    Error(u16),
    /// A web page of this status, as a proxy in between would send; nothing is done.
    Html(u16),
    /// JSON that is cut off, with status 200; nothing is done.
    BrokenJson,
    /// An API gateway's 403 without an error type; nothing is done.
    GatewayForbidden,
    /// No answer, ever; nothing is done.
    Hang,
    /// The connection is cut; nothing is done.
    Cut,
    /// Everything is done, and the connection is cut instead of an answer.
    LoseAnswer,
    /// Everything is done, and the connection is cut instead of an answer, with every socket.
    LoseEverything,
    /// Everything is done, and no answer ever comes.
    HangAfterwards,
    /// The answer comes, so much later.
    Delay(Duration),
    /// `Retry-After` in seconds on a 429; nothing is done.
    RetryAfter(u64),
}

impl AnswerFault {
    /// `times` times, `operation` answers otherwise.
    pub const fn new(operation: Operation, instead: Instead, times: u32) -> Self {
        Self { operation: Some(operation), instead, times }
    }
}

/// What to do with one item on its way to a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ItemFault {
    pub(super) drop: bool,
    pub(super) duplicate: bool,
    pub(super) hold: bool,
}

/// The faults that are left.
#[derive(Debug, Default)]
pub(super) struct FaultState(Mutex<FrontFaults>);

fn take(count: &mut u32) -> bool {
    let due = *count > 0;
    *count = count.saturating_sub(1);
    due
}

impl FaultState {
    fn lock(&self) -> MutexGuard<'_, FrontFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: FrontFaults) {
        *self.lock() = faults;
    }

    pub(super) fn get(&self) -> FrontFaults {
        self.lock().clone()
    }

    pub(super) fn answer(&self, operation: Operation) -> Option<Instead> {
        let mut faults = self.lock();
        let found = faults
            .answers
            .iter_mut()
            .find(|fault| fault.times > 0 && fault.operation.is_none_or(|one| one == operation))?;
        found.times -= 1;
        Some(found.instead.clone())
    }

    pub(super) fn connection_life(&self) -> Option<Duration> {
        self.lock().connection_life
    }

    pub(super) fn refuse_upgrade(&self) -> bool {
        take(&mut self.lock().refuse_upgrades)
    }

    pub(super) fn ignore_subscribe(&self) -> bool {
        take(&mut self.lock().ignore_subscribes)
    }

    pub(super) fn refuse_subscribe(&self) -> bool {
        take(&mut self.lock().refuse_subscribes)
    }

    pub(super) fn ignore_heartbeat(&self) -> bool {
        take(&mut self.lock().ignore_heartbeats)
    }

    pub(super) fn ignore_ping(&self) -> bool {
        take(&mut self.lock().ignore_pings)
    }

    pub(super) fn fail_ping(&self) -> bool {
        take(&mut self.lock().fail_pings)
    }

    pub(super) fn empty_page(&self) -> bool {
        take(&mut self.lock().empty_pages)
    }

    pub(super) fn item(&self) -> ItemFault {
        let mut faults = self.lock();
        if take(&mut faults.drop_items) {
            return ItemFault { drop: true, ..ItemFault::default() };
        }
        ItemFault {
            drop: false,
            duplicate: take(&mut faults.duplicate_items),
            hold: take(&mut faults.reorder_items),
        }
    }

    pub(super) fn omitted(&self) -> Vec<String> {
        self.lock().omit_members.clone()
    }
}
