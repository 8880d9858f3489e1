//! Owns the console: find a chat, say who acts in it, read the server's truth, wait for it.

use std::{fmt, sync::Arc};

use chat_core::{Role, SavedSession};

use crate::{
    centre::Centre,
    contact::Contact,
    network::Network,
    transport::saved_session,
    truth::{CentreTruth, Truth},
};

/// What tests hold of a whole [`Centre`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Console {
    centre: Centre,
}

impl Console {
    pub(crate) const fn new(centre: Centre) -> Self {
        Self { centre }
    }

    /// The network, to disturb it.
    pub fn network(&self) -> Network {
        Network::new(self.centre.clone())
    }

    /// All chats, in order of their start.
    pub fn contacts(&self) -> Vec<ContactConsole> {
        let count = self.centre.inner.quietly(|state| state.contacts.len());
        (0..count).map(|at| ContactConsole::new(self.centre.clone(), at)).collect()
    }

    /// The chat with this id ([`Truth::contact`]), or else the newest one with a segment of this id.
    pub fn contact(&self, id: &str) -> Option<ContactConsole> {
        let at = self.centre.inner.quietly(|state| {
            let exact = state.contacts.iter().position(|contact| &*contact.id == id);
            exact.or_else(|| {
                let has =
                    |contact: &Contact| contact.segments.iter().any(|segment| segment.id.as_str() == id);
                state.contacts.iter().rposition(has)
            })
        });
        at.map(|at| ContactConsole::new(self.centre.clone(), at))
    }

    /// The chat that started last.
    pub fn last_contact(&self) -> Option<ContactConsole> {
        self.contacts().pop()
    }

    /// Waits for the first chat; the last one, if there are several.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for_contact(&self) -> ContactConsole {
        self.wait_for(|truth| truth.contacts > 0).await;
        self.last_contact().expect("waited for it")
    }

    /// The centre now.
    pub fn truth(&self) -> CentreTruth {
        self.centre.inner.quietly(|state| CentreTruth::of(state))
    }

    /// Waits until `met` holds of the centre. Put a time-out around it where it may never do.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for(&self, met: impl Fn(&CentreTruth) -> bool) -> CentreTruth {
        wait_for(&self.centre, || self.truth(), met).await
    }

    /// Every participant's token is worth nothing from here on: commands and resumptions fail with `Unauthorized`.
    /// [`ContactConsole::credentials`] has new ones. Open connections go on receiving.
    pub fn revoke_tokens(&self) {
        self.centre.inner.change(|state| {
            for contact in &mut state.contacts {
                contact.token = state.mint.id();
            }
        });
    }
}

/// Who acts.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) role: Role,
    pub(crate) name: Arc<str>,
}

/// What tests hold of one chat. Cheap to clone.
///
/// Acts as an agent called "Agent" unless told otherwise: `contact.as_bot("Bot").say("Welcome")`. Whoever acts and is not in the
/// chat joins first, which is an item of its own; the system never joins. Everything that acts fails with `SessionEnded` after the
/// end, and with `NotFound` for unknown ids.
#[derive(Clone)]
pub struct ContactConsole {
    pub(crate) centre: Centre,
    pub(crate) at: usize,
    pub(crate) actor: Actor,
}

impl fmt::Debug for ContactConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactConsole").field("id", &self.id()).field("actor", &self.actor).finish()
    }
}

/// # Who acts
impl ContactConsole {
    pub(crate) fn new(centre: Centre, at: usize) -> Self {
        Self { centre, at, actor: Actor { role: Role::Agent, name: "Agent".into() } }
    }

    /// As this participant from here on.
    #[must_use]
    pub fn acting_as(&self, role: Role, name: impl Into<Arc<str>>) -> Self {
        Self { actor: Actor { role, name: name.into() }, ..self.clone() }
    }

    /// As this agent.
    #[must_use]
    pub fn as_agent(&self, name: impl Into<Arc<str>>) -> Self {
        self.acting_as(Role::Agent, name)
    }

    /// As this supervisor.
    #[must_use]
    pub fn as_supervisor(&self, name: impl Into<Arc<str>>) -> Self {
        self.acting_as(Role::Supervisor, name)
    }

    /// As this bot.
    #[must_use]
    pub fn as_bot(&self, name: impl Into<Arc<str>>) -> Self {
        self.acting_as(Role::Bot, name)
    }

    /// As the centre itself.
    #[must_use]
    pub fn as_system(&self) -> Self {
        self.acting_as(Role::System, "System")
    }
}

/// # The truth
impl ContactConsole {
    /// The contact's id.
    pub fn id(&self) -> Arc<str> {
        self.centre.inner.quietly(|state| Arc::clone(&state.contacts[self.at].id))
    }

    /// The chat now.
    pub fn truth(&self) -> Truth {
        self.centre.inner.quietly(|state| Truth::of(&state.contacts[self.at]))
    }

    /// Waits until `met` holds of the chat. Put a time-out around it where it may never do.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for(&self, met: impl Fn(&Truth) -> bool) -> Truth {
        wait_for(&self.centre, || self.truth(), met).await
    }

    /// Waits until the customer has said `text`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for_text(&self, text: &str) -> Truth {
        self.wait_for(|truth| truth.own_texts().contains(&text)).await
    }

    /// What the customer would save, good now: for joining, and after [`Console::revoke_tokens`].
    pub fn credentials(&self) -> SavedSession {
        self.centre.inner.quietly(|state| saved_session(&state.contacts[self.at]))
    }

    /// The items of this chat, as the customer's connections would be told them: for tests that compare.
    pub fn sightings(&self) -> Vec<chat_core::Sighting> {
        self.centre.inner.quietly(|state| {
            let contact = &state.contacts[self.at];
            contact
                .items
                .iter()
                .flat_map(|item| contact.sightings(item, &self.centre.inner.profile))
                .collect()
        })
    }
}

/// Reads after each change of the centre, until what was read is as wanted.
async fn wait_for<T>(centre: &Centre, read: impl Fn() -> T, met: impl Fn(&T) -> bool) -> T {
    let mut changes = centre.inner.changed.subscribe();
    loop {
        changes.mark_unchanged();
        let truth = read();
        if met(&truth) {
            return truth;
        }
        // The sender lives in the centre, which the caller holds.
        let _ = changes.changed().await;
    }
}
