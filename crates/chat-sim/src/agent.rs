//! Owns what a [`ContactConsole`] does in a chat, as an agent, a bot, a supervisor or the service.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_core::{
    AttachmentId, AttachmentStatus, Capabilities, Content, EndReason, Error, ErrorKind, GapHint, Interactive,
    Lost, MessageId, Participant, ParticipantId, Processing, RawEvent, ReceiptKind, ReceiptSignal, Result,
    Role, SavedSession, SessionUpdate, SystemEvent, Terminal, Text, TransportEvent, TypingSignal,
};

use crate::{
    console::{Actor, ContactConsole},
    contact::Contact,
    item::{Draft, Member, NewFile, message, other},
    mint::Mint,
    profile::Profile,
    transport::saved_session,
};

/// # Coming and going
impl ContactConsole {
    /// Joins. Nothing happens if it is here.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn join(&self) -> Result<Participant> {
        self.act(|_, _, _, who| Ok(who))
    }

    /// Leaves; the chat goes on.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn leave(&self) -> Result<MessageId> {
        self.depart(SystemEvent::Left)
    }

    /// Is removed for idling.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn auto_disconnect(&self) -> Result<MessageId> {
        self.depart(SystemEvent::AutoDisconnected)
    }

    fn depart(&self, event: SystemEvent) -> Result<MessageId> {
        self.act(|contact, mint, profile, who| {
            gone(contact, &who);
            Ok(contact.post(mint, profile, Draft::new(who, Content::Event(event))))
        })
    }

    /// Hands the chat to another agent: a new segment of the same scope begins, this one leaves, the other joins.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn transfer(&self, to: impl Into<Arc<str>>) -> Result<Self> {
        let next = self.as_agent(to);
        self.act(|contact, mint, profile, who| {
            contact.post(
                mint,
                profile,
                Draft::new(who.clone(), Content::Event(SystemEvent::TransferSucceeded)),
            );
            gone(contact, &who);
            contact.post(mint, profile, Draft::new(who, Content::Event(SystemEvent::Left)));
            contact.begin_segment(mint);
            Ok(())
        })?;
        next.join()?;
        Ok(next)
    }

    /// Tries to hand the chat over, in vain.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn transfer_fails(&self) -> Result<MessageId> {
        self.event(SystemEvent::TransferFailed)
    }

    /// Ends the chat for everybody.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn end(&self) -> Result<()> {
        self.change(|contact, mint, profile| {
            contact.alive()?;
            let who = contact.member(&self.actor.role, &self.actor.name).cloned();
            let who = who.unwrap_or(Participant::new(Role::System));
            contact.end(mint, profile, who, EndReason::EndedByService);
            Ok(())
        })
    }

    /// Has been idle for long.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn go_idle(&self) -> Result<MessageId> {
        self.event(SystemEvent::Idle)
    }

    /// Is back from idling.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn come_back(&self) -> Result<MessageId> {
        self.event(SystemEvent::Returned)
    }

    /// Any system event as an item, with the actor as the one concerned.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn event(&self, event: SystemEvent) -> Result<MessageId> {
        self.post(Content::Event(event))
    }

    /// A change of name: an update about the participant, no item.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn rename(&self, name: impl Into<Arc<str>>) -> Result<Self> {
        let renamed = self.acting_as(self.actor.role.clone(), name);
        self.act(|contact, mint, _, who| {
            let time = mint.instant();
            let now = who.clone().with_name(Arc::clone(&renamed.actor.name));
            for member in contact.members.iter_mut().filter(|member| member.who == who) {
                member.who = now.clone();
            }
            contact.update(now, SystemEvent::NameUpdated, time);
            Ok(())
        })?;
        Ok(renamed)
    }
}

/// # Saying
impl ContactConsole {
    /// Says a plain text.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn say(&self, text: impl Into<Arc<str>>) -> Result<MessageId> {
        self.post(Content::Text(Text::plain(text)))
    }

    /// Says a text of any format.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn say_text(&self, text: Text) -> Result<MessageId> {
        self.post(Content::Text(text))
    }

    /// Says `message 1` to `message {count}`.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn say_many(&self, count: usize) -> Result<Vec<MessageId>> {
        (1..=count).map(|number| self.say(format!("message {number}"))).collect()
    }

    /// Posts any content.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn post(&self, content: Content) -> Result<MessageId> {
        self.act(|contact, mint, profile, who| Ok(contact.post(mint, profile, Draft::new(who, content))))
    }

    /// Sends a file. Its attachment id is in [`Truth::files`](crate::Truth::files).
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn send_file(
        &self,
        name: impl Into<Arc<str>>,
        content_type: impl Into<Arc<str>>,
        bytes: impl Into<Bytes>,
    ) -> Result<MessageId> {
        let file = NewFile { name: name.into(), content_type: content_type.into(), bytes: bytes.into() };
        self.act(|contact, mint, profile, who| Ok(contact.store_file(mint, profile, who, None, file)))
    }

    /// Asks with choices.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn ask(&self, question: Interactive) -> Result<MessageId> {
        self.post(Content::Interactive(Box::new(question)))
    }

    /// Pushes a URL.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn push_url(&self, url: impl Into<Arc<str>>) -> Result<MessageId> {
        self.post(Content::PushUrl(url.into()))
    }

    /// A custom notice.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn notice(&self, notice: impl Into<Arc<str>>) -> Result<MessageId> {
        self.post(Content::Notice(notice.into()))
    }

    /// An item of a type that has no name.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn unknown_item(&self, kind: impl Into<Arc<str>>, body: impl Into<Arc<str>>) -> Result<MessageId> {
        self.post(Content::Other(RawEvent::new(kind, body)))
    }

    /// Begins an answer that comes in pieces: its first piece.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn begin_stream(&self, piece: impl Into<Arc<str>>) -> Result<MessageId> {
        let piece = piece.into();
        self.act(|contact, mint, profile, who| {
            let content = Content::Text(Text::plain(Arc::clone(&piece)));
            let draft = Draft { pieces: Some(vec![piece]), ..Draft::new(who, content) };
            Ok(contact.post(mint, profile, draft))
        })
    }

    /// The next piece.
    ///
    /// # Errors
    /// See [`ContactConsole`]; `Conflict` if the answer is whole.
    pub fn stream_piece(&self, id: &MessageId, piece: impl Into<Arc<str>>) -> Result<()> {
        let piece = piece.into();
        self.change(|contact, _, profile| {
            if contact.item(id)?.pieces.is_none() {
                return Err(Error::new(ErrorKind::Conflict, "the answer is whole"));
            }
            contact.change(id, profile, |item| {
                if let (Some(pieces), Content::Text(text)) = (&mut item.pieces, &mut item.content) {
                    text.body = format!("{}{piece}", text.body).into();
                    pieces.push(piece);
                }
            })
        })
    }

    /// The whole answer, after its pieces.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn finish_stream(&self, id: &MessageId, whole: impl Into<Arc<str>>) -> Result<()> {
        let whole = whole.into();
        self.change(|contact, _, profile| {
            contact.change(id, profile, |item| {
                item.pieces = None;
                item.content = Content::Text(Text::plain(whole));
            })
        })
    }

    /// Types, or stops.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn types(&self, on: bool) -> Result<()> {
        let signal = TypingSignal { on, preview: None };
        self.act(|contact, _, _, who| {
            contact.typing(who, &signal, None);
            Ok(())
        })
    }

    /// Has read a message, and everything older.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn reads(&self, id: &MessageId) -> Result<()> {
        self.receipt(id, ReceiptKind::Read)
    }

    /// Has got a message.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn gets(&self, id: &MessageId) -> Result<()> {
        self.receipt(id, ReceiptKind::Delivered)
    }

    fn receipt(&self, id: &MessageId, kind: ReceiptKind) -> Result<()> {
        let signal = ReceiptSignal { message: id.clone(), kind };
        self.act(|contact, mint, profile, who| {
            let by = who.id.unwrap_or_else(|| ParticipantId::new("system"));
            contact.receipt(mint, profile, &by, &signal, None)
        })
    }
}

/// # What the service does
impl ContactConsole {
    /// Tells the position in the queue, from 1.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn queue(&self, position: Option<u32>) -> Result<()> {
        self.tell(TransportEvent::Session(Box::new(SessionUpdate::Queue { position })))
    }

    /// A deep heartbeat's result.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn deep_heartbeat(&self, result: Result<()>) -> Result<()> {
        self.tell(TransportEvent::Session(Box::new(SessionUpdate::DeepHeartbeat(result))))
    }

    /// Says that something may be missing.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn hint_gap(&self) -> Result<()> {
        self.tell(TransportEvent::Gap(GapHint::SinceConfirmed))
    }

    /// A vendor message that is no item and has no type.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn unknown_event(&self, kind: impl Into<Arc<str>>, body: impl Into<Arc<str>>) -> Result<()> {
        self.tell(TransportEvent::Other(Box::new(RawEvent::new(kind, body))))
    }

    /// New credentials, told to the open connections, whose own become them; older ones are worth nothing.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn rotate_token(&self) -> Result<SavedSession> {
        self.change(|contact, mint, _| {
            contact.alive()?;
            contact.token = mint.id();
            for wire in &mut contact.wires {
                wire.token = Arc::clone(&contact.token);
            }
            let saved = saved_session(contact);
            contact.tell(other(TransportEvent::Session(Box::new(SessionUpdate::Saved(saved.clone())))));
            Ok(saved)
        })
    }

    /// Changes a text that stands, whoever said it: a higher version of the same item.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn edit(&self, id: &MessageId, text: impl Into<Arc<str>>) -> Result<()> {
        let text = text.into();
        self.change(|contact, _, profile| {
            contact.alive()?;
            contact.change(id, profile, |item| {
                item.version += 1;
                item.content = Content::Text(Text::plain(text));
            })
        })
    }

    /// The vendor's processing of an item moves on.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn process(&self, id: &MessageId, processing: Processing) -> Result<()> {
        self.change(|contact, _, profile| {
            contact.change(id, profile, |item| item.processing = Some(processing))
        })
    }

    /// A file's scan comes to a result, or the file is deleted.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn set_file_status(&self, id: &AttachmentId, status: AttachmentStatus) -> Result<()> {
        self.change(|contact, _, profile| contact.set_file_status(id, profile, status))
    }

    /// Tells an item again.
    ///
    /// # Errors
    /// See [`ContactConsole`].
    pub fn tell_again(&self, id: &MessageId) -> Result<()> {
        self.change(|contact, _, profile| {
            let item = contact.item(id)?;
            for sighting in contact.sightings(item, profile) {
                contact.tell(message(sighting));
            }
            Ok(())
        })
    }

    /// Tells the connections any event, as it is. Terminals come from [`end`](Self::end) and the [`Network`](crate::Network) alone.
    ///
    /// # Errors
    /// `InvalidInput` for a terminal; see [`ContactConsole`].
    pub fn tell(&self, event: TransportEvent) -> Result<()> {
        if matches!(event, TransportEvent::Lost(_) | TransportEvent::Ended(_)) {
            return Err(Error::invalid_input("a terminal is no event to tell"));
        }
        self.change(|contact, _, _| {
            contact.alive()?;
            contact.tell(other(event));
            Ok(())
        })
    }

    /// Other limits and flags hold in this chat from here on; [`tell`](Self::tell) its connections with
    /// `SessionUpdate::Capabilities`, or let them find out.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.centre.inner.contact(self.at, |contact, _| contact.capabilities = capabilities);
    }

    /// Forgets all but the newest `keep` items, as a service that caps its history.
    pub fn prune(&self, keep: usize) {
        self.centre.inner.contact(self.at, |contact, _| {
            let gone = contact.items.len().saturating_sub(keep);
            contact.items.drain(..gone);
        });
    }

    /// The centre no longer knows the chat: connections are lost for good, everything about it fails with `SessionLost`, verifying it
    /// says no. What the console reads stays.
    pub fn forget(&self) {
        self.centre.inner.contact(self.at, |contact, _| {
            contact.forgotten = true;
            for wire in &mut contact.wires {
                let error = Error::new(ErrorKind::SessionLost, "the centre does not know the chat");
                wire.fail(Terminal::Lost(Lost { error, resumable: false }));
            }
        });
    }

    /// Every open connection of this chat should be replaced within `within`, and is lost then.
    pub fn renew(&self, within: Duration) {
        self.centre.inner.contact(self.at, |contact, _| {
            for wire in &mut contact.wires {
                wire.renew(within);
            }
        });
    }

    /// Every connection of this chat is lost, once.
    pub fn drop_connections(&self) {
        self.centre.inner.contact(self.at, |contact, _| {
            for wire in &mut contact.wires {
                wire.cut();
            }
        });
    }
}

impl ContactConsole {
    fn change<R>(&self, act: impl FnOnce(&mut Contact, &mut Mint, &Profile) -> Result<R>) -> Result<R> {
        let inner = &self.centre.inner;
        inner.contact(self.at, |contact, mint| act(contact, mint, &inner.profile))
    }

    /// Acts as the actor, who joins first if it is not here.
    fn act<R>(
        &self,
        act: impl FnOnce(&mut Contact, &mut Mint, &Profile, Participant) -> Result<R>,
    ) -> Result<R> {
        self.change(|contact, mint, profile| {
            contact.alive()?;
            let who = self.present(contact, mint, profile);
            act(contact, mint, profile, who)
        })
    }

    fn present(&self, contact: &mut Contact, mint: &mut Mint, profile: &Profile) -> Participant {
        let Actor { role, name } = &self.actor;
        if *role == Role::System {
            return Participant::new(Role::System).with_name(Arc::clone(name));
        }
        if let Some(who) = contact.member(role, name) {
            return who.clone();
        }
        // Who comes back is who it was.
        let known = contact
            .members
            .iter_mut()
            .find(|member| member.who.role == *role && member.who.name.as_ref() == Some(name));
        let who = if let Some(member) = known {
            member.here = true;
            member.who.clone()
        } else {
            let who = Participant::new(role.clone()).with_id(mint.id()).with_name(Arc::clone(name));
            contact.members.push(Member { who: who.clone(), here: true });
            who
        };
        contact.post(mint, profile, Draft::new(who.clone(), Content::Event(SystemEvent::Joined)));
        who
    }
}

fn gone(contact: &mut Contact, who: &Participant) {
    for member in contact.members.iter_mut().filter(|member| member.who == *who) {
        member.here = false;
    }
}
