//! Owns what readers see of one row.

use std::{fmt, sync::Arc};

use crate::{
    ids::{ClientToken, MessageId, SegmentId},
    message::{AliasKind, Aliases, Content, Participant, Place, Primary, Processing, Receipt, SendState},
    time::Timestamp,
};

use super::{
    facts::Gap,
    fingerprint::Print,
    known::{Joined, Known, Version},
    place::{Mark, Point, Tie},
    views::View,
};

/// Names a row for one reader: local, never reused, outside equality and export. Greater is younger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    pub(super) serial: u32,
    pub(super) slot: u32,
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId({})", self.serial)
    }
}

/// Whether and where a row is shown, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Visibility {
    /// In both views.
    Shown,
    /// A system event: in the full view.
    Event,
    /// The vendor's own traffic, as an answer that only turns pages: in the full view.
    Quiet,
    /// A filter matches: in the full view.
    Filtered,
    /// A newer interactive message with the same reference stands for it: in the full view.
    Superseded,
    /// Nothing is known but receipts or progress: hidden until more is.
    Empty,
    /// The first piece of a streamed message is missing: hidden until it or the whole comes.
    Incomplete,
    /// An item without an id, of which an identified copy exists: hidden.
    Duplicate,
    /// Taken back before it was sent: hidden.
    Cancelled,
    /// A gap that is closed: hidden.
    Closed,
}

impl Visibility {
    /// Whether rows like this are in `view`.
    pub const fn is_in(self, view: View) -> bool {
        match self {
            Self::Shown => true,
            Self::Event | Self::Quiet | Self::Filtered | Self::Superseded => matches!(view, View::Full),
            Self::Empty | Self::Incomplete | Self::Duplicate | Self::Cancelled | Self::Closed => false,
        }
    }
}

/// How far a sent message has come with its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeliveryState {
    /// The vendor has it.
    Sent,
    /// Another participant has it.
    Delivered,
    /// Another participant has read it, or something newer of the same sender.
    Read,
}

/// When a row happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowTime {
    /// The instant.
    pub at: Timestamp,
    /// Not from the vendor: taken from neighbours, or from this machine's clock for what is not yet sent.
    pub estimated: bool,
}

/// The content that a row shows.
#[derive(Debug, Clone, Default)]
pub(super) enum Current {
    #[default]
    Nothing,
    /// As told: look into what is known.
    Told,
    Made(Box<Content>),
}

/// One row of the transcript: a message, an event or a gap.
#[derive(Clone)]
pub struct Row {
    pub(super) id: RowId,
    pub(super) known: Known,
    pub(super) current: Current,
    pub(super) processed: Option<Box<Content>>,
    pub(super) print: Option<Arc<Print>>,
    pub(super) gap: Option<Box<Gap>>,
    pub(super) visibility: Visibility,
    pub(super) filtered: bool,
    pub(super) delivery: Option<DeliveryState>,
    /// Which of its seats counts: with several, that depends on the order of segments.
    pub(super) standing: u32,
}

impl Row {
    /// Names the row for this reader.
    pub const fn handle(&self) -> RowId {
        self.id
    }

    /// The vendor's id of the message.
    pub fn message_id(&self) -> Option<MessageId> {
        self.known.aliases().message_id()
    }

    /// The client token, if this participant sent it with one.
    pub fn token(&self) -> Option<ClientToken> {
        let alias = self.known.aliases().least(AliasKind::Token)?;
        Some(ClientToken::new(Arc::clone(&alias.value)))
    }

    /// All names under which it is known.
    pub const fn aliases(&self) -> &Aliases {
        self.known.aliases()
    }

    /// The vendor session that it belongs to; `None` for what has not reached one.
    pub fn segment(&self) -> Option<&SegmentId> {
        match &self.gap {
            Some(gap) => gap.after().map(Mark::segment),
            None => self.seat().map(|(segment, _)| segment),
        }
    }

    fn seat(&self) -> Option<(&SegmentId, Option<Place>)> {
        let seat = self.known.seats().nth(self.standing as usize)?;
        Some((&seat.segment, seat.place))
    }

    /// Where it stands in its segment, if the vendor told or it could be estimated.
    pub fn place(&self) -> Option<Place> {
        self.seat()?.1
    }

    /// The point right behind this row, if it has a place.
    pub fn mark(&self) -> Option<Mark> {
        self.point().map(Point::to_mark)
    }

    pub(super) fn point(&self) -> Option<Point<'_>> {
        let (segment, place) = self.seat()?;
        Some(Point { segment, place: place?, id: self.known.least_alias() })
    }

    /// When it happened.
    pub fn time(&self) -> Option<RowTime> {
        if let Some(at) = self.known.time() {
            return Some(RowTime { at, estimated: false });
        }
        if let Some(Place { primary: Primary::Instant(at), estimated, .. }) = self.place() {
            return Some(RowTime { at, estimated });
        }
        Some(RowTime { at: self.known.local()?.at?, estimated: true })
    }

    /// Who sent it, or whom the event is about.
    pub const fn from(&self) -> Option<&Participant> {
        self.known.sender()
    }

    /// Whether this session's participant sent it.
    pub fn is_own(&self) -> bool {
        self.known.own() == Some(true)
    }

    /// Whether the chat itself has told of it, live or in its history, and not only the answer to sending it. An answer may overtake
    /// messages that were stored before; what the chat tells in order, as most do, does not.
    pub const fn is_heard(&self) -> bool {
        self.known.is_heard()
    }

    /// What to show: after the preprocessor. `None` for gaps and for rows of which no content is known.
    pub fn content(&self) -> Option<&Content> {
        self.processed.as_deref().or_else(|| self.original())
    }

    /// The content before the preprocessor.
    pub fn original(&self) -> Option<&Content> {
        match &self.current {
            Current::Nothing => None,
            Current::Made(content) => Some(content),
            Current::Told => match self.known.content() {
                Joined::Told(content) => Some(content),
                Joined::Nothing | Joined::Made(_) => None,
            },
        }
    }

    /// All contents that the message ever had, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.known.versions()
    }

    /// The files of it; empty if it has none.
    pub fn attachments(&self) -> &[crate::message::Attachment] {
        match self.content() {
            Some(Content::Files(files)) => files,
            _ => &[],
        }
    }

    /// Who got or read it, as told: reading something newer is not counted here.
    pub fn receipts(&self) -> &[Receipt] {
        self.known.receipts()
    }

    /// How far sending it has come, if this session sends it.
    pub fn send_state(&self) -> Option<SendState> {
        self.known.state()
    }

    /// How far it has come with its recipients; `None` for what others sent or what is not sent yet.
    pub const fn delivery(&self) -> Option<DeliveryState> {
        self.delivery
    }

    /// The vendor's processing.
    pub fn processing(&self) -> Option<Processing> {
        self.known.processing()
    }

    /// Whether and where it is shown.
    pub const fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The vendor's original text, if kept.
    pub fn raw(&self) -> Option<&Arc<str>> {
        self.known.raw()
    }

    /// Set if the row is no message but a hole in the transcript.
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_deref()
    }

    pub(super) fn tie(&self) -> Tie<'_> {
        match (self.known.least_alias(), &self.print) {
            (Some(alias), _) => Tie::Id(alias),
            (None, Some(print)) => Tie::Print(print),
            (None, None) => Tie::End,
        }
    }
}

impl PartialEq for Row {
    /// Whether two readers know and show the same. Handles are local and do not count.
    fn eq(&self, other: &Self) -> bool {
        self.known == other.known
            && self.gap == other.gap
            && self.visibility == other.visibility
            && self.delivery == other.delivery
            && self.content() == other.content()
    }
}

impl Eq for Row {}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Row");
        out.field("handle", &self.id);
        if let Some(gap) = &self.gap {
            return out.field("gap", gap).finish();
        }
        out.field("aliases", self.aliases())
            .field("place", &self.seat())
            .field("from", &self.from())
            .field("own", &self.known.own())
            .field("content", &self.content())
            .field("visibility", &self.visibility)
            .field("state", &self.send_state())
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}
