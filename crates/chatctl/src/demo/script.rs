//! Owns what happens in the demo, as data: one list of acts for both sides, played one after the other.

use std::time::Duration;

use chat_core::{Capability, Role};

/// The customer's name.
pub(super) const CUSTOMER: &str = "Ada";

const BOT: Who = Who { name: "Concierge", role: Role::Bot };
const AGENT: Who = Who { name: "Maria", role: Role::Agent };

/// Messages that arrive while the socket is cut.
const BURST: usize = 250;

/// Somebody of the centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    /// The name.
    pub(super) name: &'static str,
    /// The role.
    pub(super) role: Role,
}

/// A file that one side sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    /// Its name.
    pub(super) name: &'static str,
    /// MIME type.
    pub(super) content_type: &'static str,
    /// What it holds.
    pub(super) bytes: &'static [u8],
}

/// One act. The next one begins when this one has had its effect on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// The customer says something.
    CustomerSays(&'static str),
    /// The customer says something while the network is cut: it is accepted now and arrives after [`Heal`](Self::Heal).
    CustomerSaysOffline(&'static str),
    /// The customer types.
    CustomerTypes,
    /// The customer has read everything.
    CustomerReads,
    /// The customer sends a file, and fetches it back.
    CustomerSends(File),
    /// Somebody of the centre says something, having joined if need be.
    Says(Who, &'static str),
    /// Types.
    Types(Who),
    /// Has got, and then read, what the customer said last.
    Reads(Who),
    /// Sends a file, which the customer fetches.
    Sends(Who, File),
    /// Leaves.
    Leaves(Who),
    /// Nothing is due for so long: a person reads.
    Pause(Duration),
    /// The network is cut, and nothing comes through.
    Cut,
    /// Says so many numbered messages at once.
    Burst(Who, usize),
    /// The network is back; the transcript becomes whole.
    Heal,
    /// The centre ends the chat.
    End(Who),
}

impl Act {
    /// What a transport must be able to do for it.
    pub(super) const fn needs(&self) -> &'static [Capability] {
        match self {
            Self::CustomerTypes | Self::Types(_) => &[Capability::Typing],
            Self::CustomerReads | Self::Reads(_) => {
                &[Capability::DeliveredReceipts, Capability::ReadReceipts]
            }
            Self::CustomerSends(_) => &[Capability::Upload, Capability::Download],
            Self::Sends(..) => &[Capability::Download],
            _ => &[],
        }
    }
}

const RECEIPT: File = File {
    name: "receipt.txt",
    content_type: "text/plain",
    bytes: b"Receipt 2041\n250 pieces, one box short\n",
};

const LABEL: File = File {
    name: "return-label.pdf",
    content_type: "application/pdf",
    // No more of a PDF than the demo needs; not all of it is text.
    bytes: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
};

/// A bot, a queue, an agent; files, receipts and typing both ways; 250 messages while the network is cut.
pub(super) fn conversation() -> Vec<Act> {
    let pause = || Act::Pause(Duration::from_millis(250));
    vec![
        Act::Says(BOT, "Welcome! I am a bot. What is it about?"),
        pause(),
        Act::CustomerSays("My order 2041 came one box short."),
        Act::Says(BOT, "I am passing you on. You are number 2 in the queue."),
        pause(),
        Act::Says(BOT, "You are number 1 in the queue."),
        pause(),
        Act::Leaves(BOT),
        Act::Says(AGENT, "Hello Ada, this is Maria. Do you have the receipt?"),
        Act::CustomerReads,
        Act::CustomerTypes,
        pause(),
        Act::CustomerSays("Yes, one moment."),
        Act::Reads(AGENT),
        Act::CustomerSends(RECEIPT),
        Act::Types(AGENT),
        pause(),
        Act::Says(AGENT, "Thank you. I shall read you what was packed."),
        pause(),
        Act::Cut,
        Act::CustomerSaysOffline("Are you still there?"),
        Act::Burst(AGENT, BURST),
        Act::Heal,
        pause(),
        Act::CustomerSays("I have all 250, thank you."),
        Act::Sends(AGENT, LABEL),
        Act::Says(AGENT, "Here is the label for the return. Goodbye!"),
        Act::CustomerReads,
        pause(),
        Act::End(AGENT),
    ]
}
