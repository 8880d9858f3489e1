//! A vendor of one's own under the session that all vendors share: the line is cut, and nothing is lost.
#![allow(clippy::print_stdout, reason = "it shows something")]

use std::time::Duration;

use chat_transport::{BackoffPolicy, ChatEvent, ChatSession, Role, SessionSettings, StartRequest};
use examples::mailbox::{MailboxTransport, PostOffice};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::new();
    let quick = BackoffPolicy::default().with_base(Duration::from_millis(50));
    let session = ChatSession::builder(MailboxTransport::new(office.clone()))
        .settings(SessionSettings::default().with_backoff(quick))
        .start(StartRequest::named("Ada"))
        .await?;
    let mut events = session.events();

    session.send_text("Where is my parcel?")?.await?;
    let clerk = office.window(0, Role::Agent, "Maria");
    clerk.say("One moment, I shall look.")?;
    office.cut(false);
    for place in ["Lisbon", "Madrid", "Lyon"] {
        clerk.say(&format!("It was seen in {place}."))?;
    }
    let waiting = session.send_text("Are you still there?")?;
    office.heal();
    waiting.await?;
    clerk.say("I am. It comes tomorrow. Goodbye!")?;
    clerk.close();

    // Until the end: the transcript is complete then.
    while let Some(event) = events.next().await {
        if let ChatEvent::Connection(event) = event {
            println!("-- {event:?}");
        }
    }
    print!("{}", session.export_text());
    let shown = session.transcript().len();
    assert_eq!(shown, 7, "every letter, once");
    Ok(())
}
