//! Writes the table of cases: `cargo run -p chat-conformance --example table > crates/chat-conformance/CASES.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(chat_conformance::table().as_bytes())
}
