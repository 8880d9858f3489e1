//! Programs that use `chat-transport` the way an application does: through its public API alone.
//!
//! | Program | What |
//! |---|---|
//! | `bot` | a bot that answers frequent questions |
//! | `terminal` | a chat in the terminal, with the simulated centre, Amazon Connect or Genesys GMS |
//! | `embedded_gms` | Genesys GMS inside a program, for its tests |
//! | `custom_transport` | a vendor of one's own: [`mailbox`], under the same session as all others |

pub mod mailbox;
