//! One chat API, any vendor: the transport contract, the message model, the transcript and the session. No I/O, no vendor.

pub mod backoff;
pub mod capabilities;
pub mod channel;
pub mod command;
pub mod error;
pub mod event;
pub mod ids;
pub mod link;
pub mod message;
pub mod outbox;
pub mod poll;
pub mod receipts;
pub mod roster;
pub mod secret;
pub mod session;
pub mod store;
pub mod time;
pub mod transcript;
pub mod transport;
pub mod typing;

pub use backoff::{Backoff, BackoffPolicy};
pub use capabilities::{Capabilities, Capability, CapabilitySet, KeyRule};
pub use channel::{EventPermit, EventSender, EventStream, StreamDropped, Terminal, event_channel};
pub use command::{
    Ack, Command, Cursor, Direction, Download, FileAck, FileCommand, FileLimits, FileSource, FileUrl,
    HistoryFrom, HistoryPage, HistoryRequest, Outgoing, OutgoingBody, PollScope, Progress, ReceiptKind,
    ReceiptSignal, Sent, TypingSignal, Upload, UserData, VendorCommand,
};
pub use error::{Delivery, Error, ErrorKind, Result, Retry, VendorError};
pub use event::{EndReason, GapHint, Lost, ParticipantUpdate, SessionUpdate, TransportEvent, TypingUpdate};
pub use ids::{AttachmentId, ClientToken, MessageId, ParticipantId, Scope, SegmentId, TransportId};
pub use link::{Link, LinkAction, LinkEvent, LinkInput, LinkState, Purpose};
pub use message::{
    Alias, AliasKind, Aliases, Attachment, AttachmentStatus, AuthenticationPhase, Choice, Chunk, Content,
    Interactive, Participant, Place, Primary, Processing, RawEvent, Receipt, Role, SendStage, SendState,
    Sighting, SystemEvent, Text, TextFormat, ViewReference,
};
pub use outbox::{
    Departure, Outbox, OutboxAction, OutboxInput, OutboxPolicy, StoredBody, StoredSend, StoredStage,
};
pub use poll::{Poll, PollAction, PollClass, PollEvent, PollInput, PollPolicy, ServerHealth};
pub use receipts::{ReceiptPolicy, Receipts};
pub use roster::{Member, Presence, Roster, RosterEvent, RosterFact, Stats};
pub use secret::Secret;
pub use session::{ChatEvent, ChatSession, Events, PendingSend, SessionBuilder, SessionSettings};
pub use store::{MemoryStore, SessionDirectory, SessionStore, StoredSession};
pub use time::{SystemClock, Timestamp, VirtualClock, WallClock};
pub use transcript::{
    DeliveryState, Diff, Filter, Mirror, Row, RowId, Snapshot, Transcript, View, Visibility,
};
pub use transport::{
    ConnectError, ConnectRequest, Connection, ConnectionHandle, Continues, Extent, Intent, SavedSession,
    SessionInfo, StartRequest, Transport,
};
pub use typing::{OthersTyping, OwnTyping, TypingAction, TypingEvent, TypingPolicy};
