//! Owns the session that users hold: one chat, whatever the vendor, from start to end.

mod backfill;
mod builder;
mod connecting;
mod driver;
mod echo;
mod event;
mod fanout;
mod gaps;
mod heard;
mod ingest;
mod leaving;
mod outgoing;
mod pending;
mod settings;
mod settling;
mod shared;
mod state;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use self::{backfill::Older, shared::Shared};
pub use self::{
    builder::SessionBuilder,
    event::{
        AuthenticationEvent, ChatEvent, ConnectionEvent, DeepHeartbeat, MessageBatch, ParticipantEvent,
        ReceiptEvent, SentMessage, SessionEvent,
    },
    fanout::Events,
    pending::PendingSend,
    settings::SessionSettings,
};
use crate::{
    capabilities::{Capabilities, Capability},
    command::{
        Ack, Command, Direction, Download, FileAck, FileCommand, FileLimits, FileUrl, HistoryFrom,
        HistoryRequest, OutgoingBody, ReceiptKind, Upload, UserData, VendorCommand,
    },
    error::{Error, ErrorKind, Result},
    event::EndReason,
    ids::{AttachmentId, ClientToken, MessageId, TransportId},
    link::LinkState,
    message::{Alias, Content, RawEvent, Text},
    poll::PollInput,
    roster::{Member, Stats},
    transcript::{Filter, Row, Snapshot, View},
    transport::{SavedSession, SessionInfo, Transport},
};

/// One chat. Cheap to clone; all clones are the same session.
///
/// The last clone dropped closes the connection in the background, once what was accepted has been sent (or
/// [`SessionSettings::linger`] has passed), and never ends the chat: use [`end`](Self::end) for that.
///
/// Methods that only read or queue are synchronous and never wait for the network.
#[derive(Debug, Clone)]
pub struct ChatSession {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// Tells the driver that the last handle is gone.
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}

/// What a page of history brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageInfo {
    /// Items in the page.
    pub items: usize,
    /// Messages that were not in the transcript before.
    pub added: usize,
    /// Whether there are no more in this direction.
    pub at_end: bool,
}

impl ChatSession {
    /// Prepares a session over `transport`.
    pub fn builder(transport: impl Transport) -> SessionBuilder {
        SessionBuilder::new(Arc::new(transport))
    }

    /// Prepares a session over a shared transport.
    pub fn over(transport: Arc<dyn Transport>) -> SessionBuilder {
        SessionBuilder::new(transport)
    }

    fn new(shared: Arc<Shared>) -> Self {
        Self { _guard: Arc::new(Guard(Arc::clone(&shared))), shared }
    }

    // ---- reading ----------------------------------------------------------------------------------------------------

    /// The events from now on, for the display view. The first is the transcript as it stands.
    pub fn events(&self) -> Events {
        self.subscribe(View::Display)
    }

    /// The events from now on, with the diffs of `view`.
    pub fn subscribe(&self, view: View) -> Events {
        let mut state = self.shared.lock();
        let ring = state.subscribe(view);
        drop(state);
        Events::new(ring, Arc::clone(&self.shared))
    }

    /// The transcript as a person should see it.
    pub fn transcript(&self) -> Snapshot {
        self.snapshot(View::Display)
    }

    /// The transcript in `view`.
    pub fn snapshot(&self, view: View) -> Snapshot {
        self.shared.lock().snapshot(view)
    }

    /// The message with the vendor's id `id`.
    pub fn message(&self, id: &MessageId) -> Option<Arc<Row>> {
        let state = self.shared.lock();
        state.transcript.get(&Alias::message(&state.scope(), id)).cloned()
    }

    /// The transcript as JSON Lines, hidden rows included: importing it gives the same transcript.
    pub fn export(&self) -> String {
        self.shared.lock().transcript.to_json_lines()
    }

    /// The display view as plain text, one line a message.
    pub fn export_text(&self) -> String {
        self.shared.lock().transcript.to_plain_text()
    }

    /// Where the connection is.
    pub fn link_state(&self) -> LinkState {
        self.shared.lock().link.state()
    }

    /// Whether the chat has ended, and why.
    pub fn ended(&self) -> Option<EndReason> {
        self.shared.lock().ended.clone()
    }

    /// Which chat, and who we are in it. `None` before the first connect.
    pub fn info(&self) -> Option<SessionInfo> {
        self.shared.lock().info.clone()
    }

    /// Which transport.
    pub fn transport(&self) -> TransportId {
        self.shared.lock().transport
    }

    /// What can be done now.
    pub fn capabilities(&self) -> Capabilities {
        self.shared.lock().capabilities
    }

    /// What it takes to come back to this chat. Holds credentials.
    pub fn session_data(&self) -> Option<SavedSession> {
        self.shared.lock().saved.clone()
    }

    /// Start, end, duration, agents.
    pub fn stats(&self) -> Stats {
        self.shared.lock().roster.stats()
    }

    /// Everybody who is or was in the chat.
    pub fn participants(&self) -> Vec<Member> {
        self.shared.lock().roster.members().to_vec()
    }

    // ---- sending ----------------------------------------------------------------------------------------------------

    /// Accepts a plain text. It stands in the transcript at once.
    ///
    /// # Errors
    /// Refused before it is queued: `InvalidInput` for empty text, `TooLarge`, `NotActive`, `QueueFull`.
    pub fn send_text(&self, text: impl Into<Arc<str>>) -> Result<PendingSend> {
        self.send(Text::plain(text))
    }

    /// Accepts a text in any format: markdown, JSON, or the ready-made reply of a [`Choice`](crate::Choice).
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text); `Unsupported` if the transport does not know the format.
    pub fn send(&self, text: Text) -> Result<PendingSend> {
        self.send_with(OutgoingBody::Text(text), Value::Null)
    }

    /// Accepts a file. Its bytes are read when its turn comes.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text), by the limits for files.
    pub fn send_file(&self, upload: Upload) -> Result<PendingSend> {
        self.send_with(OutgoingBody::File(upload), Value::Null)
    }

    /// Accepts a message with metadata of the caller's, which comes back with [`SentMessage`].
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    pub fn send_with(&self, body: OutgoingBody, metadata: Value) -> Result<PendingSend> {
        let (token, outcome) = self.shared.change(|state, now| state.push(now, body, metadata))?;
        Ok(PendingSend::new(token, outcome, Arc::clone(&self.shared)))
    }

    /// Accepts a text that is not to be shown: adds `pattern` to the pre-filters, then sends.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text) and [`add_prefilter`](Self::add_prefilter).
    pub fn send_filtered(&self, text: impl Into<Arc<str>>, pattern: &str) -> Result<PendingSend> {
        self.add_prefilter(pattern)?;
        self.send_text(text)
    }

    /// Tries a failed message again, under the same idempotency key.
    ///
    /// # Errors
    /// `NotFound` if it is not a failed message of this session, `NotActive`, `QueueFull`.
    pub fn retry(&self, token: &ClientToken) -> Result<()> {
        self.shared.change(|state, now| {
            if let Some(error) = state.inactive() {
                return Err(error);
            }
            let actions = state.outbox.retry(now, token)?;
            state.obey_outbox(now, actions);
            Ok(())
        })
    }

    /// A key was pressed: typing starts by itself, and stops by itself some time after the last. `preview` is the text so far,
    /// which is sent where the vendor shows it.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`.
    pub fn key_pressed(&self, preview: Option<&str>) -> Result<()> {
        self.typing_change(|state, now| state.own_typing.key(now, preview.map(Arc::from)))
    }

    /// Typing starts, or stops. A stop that the vendor cannot express succeeds and sends nothing.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`.
    pub fn typing(&self, on: bool) -> Result<()> {
        self.typing_change(
            |state, now| {
                if on { state.own_typing.start(now, None) } else { state.own_typing.stop(now) }
            },
        )
    }

    fn typing_change(
        &self,
        change: impl FnOnce(&mut state::State, tokio::time::Instant) -> Vec<crate::typing::TypingAction>,
    ) -> Result<()> {
        self.shared.change(|state, now| {
            state.require(Capability::Typing)?;
            if let Some(error) = state.inactive() {
                return Err(error);
            }
            let actions = change(state, now);
            state.obey_typing_all(actions);
            Ok(())
        })
    }

    /// This message, and everything older, was read here. Goes out with the receipts' window; a message is never told twice.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`, `NotFound` if the transcript does not hold the message.
    pub fn mark_read(&self, id: &MessageId) -> Result<()> {
        self.mark(id, ReceiptKind::Read)
    }

    /// This message was delivered here. By default the session says so by itself.
    ///
    /// # Errors
    /// As [`mark_read`](Self::mark_read).
    pub fn mark_delivered(&self, id: &MessageId) -> Result<()> {
        self.mark(id, ReceiptKind::Delivered)
    }

    fn mark(&self, id: &MessageId, kind: ReceiptKind) -> Result<()> {
        self.shared.change(|state, now| {
            state.require(match kind {
                ReceiptKind::Read => Capability::ReadReceipts,
                ReceiptKind::Delivered => Capability::DeliveredReceipts,
            })?;
            if let Some(error) = state.inactive() {
                return Err(error);
            }
            let row =
                state.transcript.get(&Alias::message(&state.scope(), id)).cloned().ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "the transcript does not hold this message")
                })?;
            state.mark(now, &row, kind);
            Ok(())
        })
    }

    /// Switches receipts on or off.
    pub fn set_receipts(&self, enabled: bool) {
        self.shared.change(|state, _| state.receipts.set_enabled(enabled));
    }

    /// Sends a raw vendor event.
    ///
    /// # Errors
    /// `Unsupported`, and `InvalidInput` if the vendor takes no events of this type, before anything is sent; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the event was sent.
    pub async fn send_event(&self, event: RawEvent) -> Result<()> {
        self.call(Command::Event(event)).await.map(drop)
    }

    /// Sends a custom notice.
    ///
    /// # Errors
    /// `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the notice was sent.
    pub async fn send_notice(&self, notice: impl Into<Arc<str>>) -> Result<()> {
        self.call(Command::Notice(notice.into())).await.map(drop)
    }

    /// Changes user data during the chat.
    ///
    /// # Errors
    /// `Unsupported`, `InvalidInput` and `TooLarge` before anything is sent; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the data were changed.
    pub async fn update_user_data(&self, data: UserData) -> Result<()> {
        builder::check_user_data(&data, &self.capabilities())?;
        self.call(Command::UserData(data)).await.map(drop)
    }

    /// A power that only this vendor has; use the vendor crate's extension trait.
    ///
    /// # Errors
    /// `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    pub async fn vendor(&self, command: VendorCommand) -> Result<Value> {
        match self.call(Command::Vendor(command)).await? {
            Ack::Vendor(value) => Ok(value),
            Ack::Done => Ok(Value::Null),
            _ => Err(mismatch()),
        }
    }

    async fn call(&self, command: Command) -> Result<Ack> {
        let handle = {
            let state = self.shared.lock();
            state.check(&command)?;
            state.handle()?
        };
        let result = handle.submit(command).await;
        match &result {
            Ok(_) => self.shared.lock().served(tokio::time::Instant::now()),
            Err(error) => self.shared.change(|state, _| state.publish(ChatEvent::Error(error.clone()))),
        }
        result
    }

    // ---- files ------------------------------------------------------------------------------------------------------

    /// What files may be sent, asked from the vendor where it tells.
    ///
    /// # Errors
    /// `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn file_limits(&self) -> Result<FileLimits> {
        match self.call(Command::File(FileCommand::Limits)).await? {
            Ack::File(FileAck::Limits(limits)) => Ok(limits),
            _ => Err(mismatch()),
        }
    }

    /// A URL from which the file can be fetched without credentials for a while.
    ///
    /// # Errors
    /// `Unsupported`, `NotFound`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn file_url(&self, id: &AttachmentId) -> Result<FileUrl> {
        match self.call(Command::File(FileCommand::Url { id: id.clone() })).await? {
            Ack::File(FileAck::Url(url)) => Ok(url),
            _ => Err(mismatch()),
        }
    }

    /// The file, streamed.
    ///
    /// # Errors
    /// `Unsupported`, `NotFound`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn download(&self, id: &AttachmentId) -> Result<Download> {
        match self.call(Command::File(FileCommand::Download { id: id.clone() })).await? {
            Ack::File(FileAck::Download(download)) => Ok(download),
            _ => Err(mismatch()),
        }
    }

    /// Deletes the file.
    ///
    /// # Errors
    /// `Unsupported`, `NotFound`; what the vendor says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it unknown whether the file was deleted.
    pub async fn delete_file(&self, id: &AttachmentId) -> Result<()> {
        self.call(Command::File(FileCommand::Delete { id: id.clone() })).await.map(drop)
    }

    // ---- history ----------------------------------------------------------------------------------------------------

    /// Fetches older messages into the transcript.
    ///
    /// # Errors
    /// `NoMoreMessages` at the start, `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe: a page that has not arrived is fetched again by the next call.
    pub async fn older(&self, limit: u32) -> Result<PageInfo> {
        let from = {
            let state = self.shared.lock();
            state.require(Capability::History)?;
            match &state.older {
                Older::None => return Err(Error::new(ErrorKind::NoMoreMessages, "")),
                Older::From(cursor) => HistoryFrom::Cursor(cursor.clone()),
                Older::Unchanged => match state.transcript.oldest_placed().and_then(|row| row.message_id()) {
                    Some(id) => HistoryFrom::Message(id),
                    None => HistoryFrom::Newest,
                },
            }
        };
        let (info, next) = self.page(HistoryRequest { direction: Direction::Older, from, limit }).await?;
        self.shared.lock().older = next.map_or(Older::None, Older::From);
        Ok(info)
    }

    /// Fetches newer messages from the newest known one on. The session does so by itself after a loss.
    ///
    /// # Errors
    /// `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn newer(&self, limit: u32) -> Result<PageInfo> {
        let from = match self.shared.lock().transcript.newest_placed().and_then(|row| row.message_id()) {
            Some(id) => HistoryFrom::Message(id),
            None => HistoryFrom::Oldest,
        };
        Ok(self.page(HistoryRequest { direction: Direction::Newer, from, limit }).await?.0)
    }

    /// Fetches any page into the transcript: by id, by time, in either direction.
    ///
    /// # Errors
    /// `Unsupported`; what the vendor says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn history(&self, request: HistoryRequest) -> Result<PageInfo> {
        Ok(self.page(request).await?.0)
    }

    async fn page(&self, mut request: HistoryRequest) -> Result<(PageInfo, Option<crate::command::Cursor>)> {
        if request.limit == 0 {
            return Err(Error::invalid_input("a page needs at least one item"));
        }
        if let Some(most) = self.capabilities().history_page_max {
            request.limit = request.limit.min(most);
        }
        let Ack::History(page) = self.call(Command::History(request)).await? else { return Err(mismatch()) };
        let added = self.shared.change(|state, now| {
            let before = state.transcript.len(View::Full);
            state.sight_page(now, &page);
            state.transcript.len(View::Full).saturating_sub(before)
        });
        let info = PageInfo { items: page.items.len(), added, at_end: page.next.is_none() };
        Ok((info, page.next))
    }

    // ---- filters ----------------------------------------------------------------------------------------------------

    /// Hides messages that match `pattern` from the display view, those already there included. Kept over a restore.
    ///
    /// # Errors
    /// `InvalidInput` if it is no regular expression of the `regex` crate (no look-around, no back references) or too large.
    pub fn add_prefilter(&self, pattern: &str) -> Result<()> {
        Filter::new(pattern)?;
        self.shared.change(|state, _| {
            if !state.filters.iter().any(|known| known == pattern) {
                state.filters.push(pattern.into());
                state.apply_filters();
                state.changed();
            }
        });
        Ok(())
    }

    /// The pre-filters.
    pub fn prefilters(&self) -> Vec<String> {
        self.shared.lock().filters.clone()
    }

    /// Lets `rewrite` change what is shown of each message, once per version; `None` keeps it. The original is kept. Keep it
    /// quick and free of calls into this session: it runs while the transcript is locked.
    pub fn set_preprocessor(&self, rewrite: impl Fn(&Row) -> Option<Content> + Send + Sync + 'static) {
        self.shared.change(|state, _| state.transcript.set_preprocessor(Some(Arc::new(rewrite))));
    }

    // ---- polling ----------------------------------------------------------------------------------------------------

    /// Polls now.
    ///
    /// # Errors
    /// `PollRunning` if a poll has not finished, `Unsupported`, `NotActive`, `Network` while no connection stands.
    pub fn poll(&self) -> Result<()> {
        self.shared.change(|state, now| {
            state.pollable()?;
            if let Some(poll) = &mut state.poll {
                let actions = poll.manual(now)?;
                state.obey_poll(now, actions);
            }
            Ok(())
        })
    }

    /// Starts the poll loop; the session does so by itself with each connection that is polled.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`.
    pub fn start_poll(&self) -> Result<()> {
        self.poll_control(PollInput::Start)
    }

    /// Stops the poll loop.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`.
    pub fn stop_poll(&self) -> Result<()> {
        self.poll_control(PollInput::Stop)
    }

    /// Counts poll exceptions from 0 again.
    ///
    /// # Errors
    /// `Unsupported`, `NotActive`.
    pub fn reset_poll_exceptions(&self) -> Result<()> {
        self.poll_control(PollInput::ResetExceptions)
    }

    fn poll_control(&self, input: PollInput) -> Result<()> {
        self.shared.change(|state, now| {
            state.pollable()?;
            state.poll_input(now, input);
            Ok(())
        })
    }

    // ---- connection -------------------------------------------------------------------------------------------------

    /// Connects again by hand: after the link gave up, or at once while it waits. With `credentials` (what
    /// [`session_data`](Self::session_data) gives, renewed) a refusal for want of credentials can be overcome.
    ///
    /// # Errors
    /// `SessionEnded` once the chat has ended.
    pub fn reconnect(&self, credentials: Option<SavedSession>) -> Result<()> {
        self.shared.change(|state, now| state.reconnect(now, credentials))
    }

    /// The system says that the network is back: shortens a wait, and never gates one.
    pub fn network_up(&self) {
        self.shared.change(|state, now| {
            state.link_input(now, crate::link::LinkInput::NetworkUp);
            state.poll_input(now, PollInput::NetworkUp);
        });
    }

    /// Ends the chat. Messages still arrive until the vendor's own end, which comes as [`ChatEvent::Ended`].
    ///
    /// # Errors
    /// `NotActive`; what the vendor says: the chat then goes on.
    ///
    /// # Cancel safety
    /// Dropping the future does not call it off.
    pub async fn end(&self) -> Result<()> {
        self.leave_with(true).await
    }

    /// Leaves without ending the chat: it can be resumed later, within what the vendor allows.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    ///
    /// # Cancel safety
    /// Dropping the future does not call it off.
    pub async fn leave(&self) -> Result<()> {
        self.leave_with(false).await
    }

    async fn leave_with(&self, end: bool) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        self.shared.change(|state, now| state.leave(now, end, done));
        // The end may come before the answer to the request for it.
        outcome.await.unwrap_or_else(|_| {
            if self.ended().is_some() { Ok(()) } else { Err(Error::new(ErrorKind::NotActive, "")) }
        })
    }
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Internal, "the adapter answered another question")
}
