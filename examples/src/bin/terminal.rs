//! A chat in the terminal: what is typed is sent, what is said is printed.
//!
//! ```text
//! terminal --sim                                    the simulated centre (the default)
//! terminal --connect ENDPOINT START_CHAT_URL [NAME] Amazon Connect, or `chatctl sim`
//! terminal --gms CHAT_URL [NAME]                    Genesys GMS, or `chatctl sim`
//! ```
//!
//! `/quit` or the end of the input ends the chat.
#![allow(clippy::print_stdout, reason = "it is a terminal")]

use std::sync::Arc;

use chat_transport::{
    ChatEvent, ChatSession, Content, Diff, Row, StartRequest, Transport, TypingEvent,
    connect::{ConnectTransport, StartChat},
    gms_v2::GmsTransport,
    sim::{Centre, Script},
};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn std::error::Error>;

/// Which contact centre, and under which name. From here on nothing depends on the vendor.
fn transport() -> Result<(Arc<dyn Transport>, String), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] | ["--sim"] => {
            let centre = Centre::builder().script(Script::demo()).build();
            Ok((Arc::new(centre.transport()), "Ada".into()))
        }
        ["--connect", endpoint, start_chat_url, ref name @ ..] => {
            let transport = ConnectTransport::builder()
                .endpoint(endpoint)
                .start_chat(StartChat::new(start_chat_url))
                .build()?;
            Ok((Arc::new(transport), name.first().unwrap_or(&"Customer").to_string()))
        }
        ["--gms", chat_url, ref name @ ..] => {
            let transport = GmsTransport::builder().data_url(chat_url).build()?;
            Ok((Arc::new(transport), name.first().unwrap_or(&"Customer").to_string()))
        }
        _ => {
            Err("usage: terminal [--sim | --connect ENDPOINT START_CHAT_URL [NAME] | --gms CHAT_URL [NAME]]"
                .into())
        }
    }
}

/// Never print what others wrote as it is: a terminal obeys control characters.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn show(row: &Row) {
    let name = row.from().and_then(|from| from.name.as_deref()).unwrap_or("…");
    let what = match row.content() {
        Some(Content::Text(text)) => harmless(&text.body),
        Some(Content::Files(files)) => {
            files.iter().map(|file| format!("[{}]", harmless(&file.name))).collect()
        }
        _ => return,
    };
    println!("{}: {what}", if row.is_own() { "you".into() } else { harmless(name) });
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (transport, name) = transport()?;
    let session = ChatSession::over(transport).start(StartRequest::named(name)).await?;
    let mut events = session.events();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    loop {
        tokio::select! {
            line = input.next_line(), if typing => match line?.as_deref().map(str::trim) {
                None | Some("/quit") => {
                    typing = false;
                    // What was accepted before goes out first. Asked for once: the end comes as an event.
                    if let Err(error) = session.end().await
                        && session.ended().is_none()
                    {
                        return Err(error.into());
                    }
                }
                Some("") => {}
                // Accepted is enough: it stands in the transcript, and is sent as soon as the connection allows.
                Some(text) => if let Err(error) = session.send_text(text) {
                    println!("-- not sent: {error}");
                },
            },
            event = events.next() => match event {
                None => break,
                Some(ChatEvent::Transcript(diff)) => match &*diff {
                    Diff::Insert { row, .. } => show(row),
                    Diff::Reset(rows) => rows.iter().for_each(|row| show(row)),
                    _ => {}
                },
                Some(ChatEvent::Typing(event)) => if let TypingEvent::Started { .. } = &*event {
                    println!("-- somebody is typing");
                },
                Some(ChatEvent::Ended(_)) => println!("-- the chat has ended"),
                Some(_) => {}
            },
        }
    }
    Ok(())
}
