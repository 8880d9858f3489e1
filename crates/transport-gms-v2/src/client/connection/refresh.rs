//! Owns refreshing: polls, the look after a doubtful answer, and the end. Source: §5.4, §12.1 rules 1, 2, 7 and 8.

use chat_core::{Ack, Capability, Delivery, Error, ErrorKind, Lost, PollScope, Result, Retry, Terminal};

use super::{ChatConnection, Line, is_gone};
use crate::{
    client::TRANSPORT_ID,
    error::{ChatState, Failure},
    machine::Taken,
    wire::{ErrorCode, Operation, Position, Reply},
};

impl ChatConnection {
    /// A poll. What it brings is told before it is answered.
    ///
    /// # Errors
    /// `Unsupported` where events are pushed.
    pub(super) async fn poll(&self, scope: PollScope) -> Result<Ack> {
        if let Line::Channel(_) = self.line {
            return Err(Error::unsupported(Capability::Poll, TRANSPORT_ID));
        }
        let _turn = self.refreshing.lock().await;
        self.still_there()?;
        let position = match scope {
            PollScope::Full => Position::Everything,
            _ => self.chat().followed.position(),
        };
        match self.refresh(position).await {
            Ok(_) => Ok(Ack::Done),
            Err(Failure { chat: ChatState::Doubtful, .. }) => match self.refresh(position).await {
                Ok(_) => Ok(Ack::Done),
                Err(failure) => Err(self.conclude(failure)),
            },
            Err(failure) => Err(self.conclude(failure)),
        }
    }

    /// One refresh from `position`, while the caller holds the turn. Whatever it brings is told, the end included.
    pub(in crate::client) async fn refresh(&self, position: Position) -> Result<(), Failure> {
        let reply = self.fetch(position).await?;
        if self.take_in(position, &reply).await {
            let again = self.chat().followed.position();
            let reply = self.fetch(again).await?;
            self.take_in(again, &reply).await;
        }
        Ok(())
    }

    /// Asks for the transcript from `position` on, and tells nothing. The preview of what is being typed rides along; if the
    /// service finds that too long, it goes without.
    pub(super) async fn fetch(&self, position: Position) -> Result<Reply, Failure> {
        let mut parameters = self.parameters();
        parameters.position = Some(position);
        if let Line::Rest(_) = self.line {
            parameters.message = self.chat().preview.as_deref().map(str::to_owned);
        }
        let too_long = |failure: &Failure| {
            failure.error.vendor().code.as_deref() == Some(&*ErrorCode::MESSAGE_TOO_LONG.to_string())
        };
        match self.ask(Operation::Refresh, &parameters).await {
            Err(failure) if parameters.message.is_some() && too_long(&failure) => {
                self.chat().preview = None;
                parameters.message = None;
                self.ask(Operation::Refresh, &parameters).await
            }
            result => result,
        }
    }

    /// Tells what a good refresh brought, the end included. Says whether it can only be understood with another one.
    pub(super) async fn take_in(&self, asked: Position, reply: &Reply) -> bool {
        let Taken { events, over, ask_again, .. } = self.chat().take(Operation::Refresh, Some(asked), reply);
        if self.outlet.tell(events).await.is_err() {
            // Nobody listens: nothing needs to be understood.
            return false;
        }
        self.save();
        if over {
            self.over();
        }
        ask_again
    }

    /// Tells what is to be saved, if it is time to.
    pub(in crate::client) fn save(&self) {
        let saved = self.chat().save();
        if let Some(saved) = saved {
            self.outlet.hint(saved);
        }
    }

    /// The chat is over.
    pub(in crate::client) fn over(&self) {
        let reason = self.chat().end_reason();
        self.finish(Terminal::Ended(reason));
    }

    /// What a failed refresh that has the last word says about the chat.
    fn conclude(&self, failure: Failure) -> Error {
        let Failure { error, chat } = failure;
        match chat {
            ChatState::GoesOn => error,
            // The keys are refused; whether the chat is over, whoever holds good ones knows.
            ChatState::Over | ChatState::Doubtful if *error.kind() == ErrorKind::AccessDenied => {
                self.lose(error)
            }
            ChatState::Over => {
                self.over();
                ended(&error)
            }
            ChatState::Doubtful if is_gone(&error) => self.lose(error),
            ChatState::Doubtful if *error.kind() == ErrorKind::Refused => {
                let gone = Error::new(ErrorKind::SessionLost, "the service does not know the chat any more");
                self.lose(gone.with_vendor(error.vendor().clone()))
            }
            // As a page that is not found: somebody else than the service says so.
            ChatState::Doubtful => error,
        }
    }

    /// Nothing more can be had with these keys.
    fn lose(&self, error: Error) -> Error {
        self.finish(Terminal::Lost(Lost { error: error.clone(), resumable: false }));
        error
    }

    /// The service cannot be understood without another refresh.
    pub(in crate::client) async fn look_again(&self) {
        let _turn = self.refreshing.lock().await;
        if !self.is_over() {
            let position = self.chat().followed.position();
            if let Err(failure) = self.refresh(position).await {
                tracing::debug!(error = %failure.error, "the transcript could not be read again; the next event asks again");
            }
        }
    }

    /// Asks for the chat's notifications (again), and for what was missed of them. Says whether they come now.
    pub(in crate::client) async fn attach(&self) -> bool {
        const OPERATION: Operation = Operation::RequestNotifications;
        let _turn = self.refreshing.lock().await;
        if self.is_over() {
            return false;
        }
        let asked = self.chat().followed.position();
        let mut parameters = self.parameters();
        parameters.position = Some(asked);
        // What a failure means is seen where it arrives.
        let Ok(reply) = self.ask(OPERATION, &parameters).await else { return false };
        let Taken { events, over, .. } = self.chat().take(OPERATION, Some(asked), &reply);
        if self.outlet.tell(events).await.is_ok() && over {
            self.over();
        }
        true
    }

    /// A good answer said that the chat is over. One last look brings what was said before.
    pub(super) async fn last_look(&self) {
        let _turn = self.refreshing.lock().await;
        if !self.is_over() {
            let position = self.chat().followed.position();
            // Nothing depends on it: over is over.
            let _ = self.refresh(position).await;
            self.over();
        }
    }

    /// What a failed operation says about the chat is confirmed with one refresh.
    pub(in crate::client) async fn examine(&self, failure: Failure) -> Error {
        let Failure { error, chat } = failure;
        if chat == ChatState::GoesOn {
            return error;
        }
        let _turn = self.refreshing.lock().await;
        if !self.is_over() {
            let position = self.chat().followed.position();
            match self.refresh(position).await {
                Ok(_) => {}
                Err(second) if second.chat == ChatState::GoesOn && chat == ChatState::Over => self.over(),
                Err(second) => drop(self.conclude(second)),
            }
        }
        match error.kind() {
            _ if self.is_over() => ended(&error),
            // The chat goes on, so another node has it than the one that was asked (§4.1); the next one may.
            ErrorKind::SessionLost | ErrorKind::SessionEnded => elsewhere(&error),
            _ => error,
        }
    }
}

/// What was asked for came too late.
fn ended(error: &Error) -> Error {
    Error::new(ErrorKind::SessionEnded, error.context().to_owned())
        .with_vendor(error.vendor().clone())
        .with_delivery(error.delivery())
}

/// What was asked for came to a node that does not have the chat.
fn elsewhere(error: &Error) -> Error {
    Error::new(ErrorKind::Server, error.context().to_owned())
        .with_vendor(error.vendor().clone())
        .with_delivery(Delivery::NotSent)
        .with_retry(Retry::Backoff)
}
