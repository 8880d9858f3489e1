//! CPU per message, from a frame on the socket to a subscriber's event with the transcript updated, beside the same frames through bare
//! tokio-tungstenite and serde_json into a plain map. Both on one thread, in turn, against a service in a process of its own.
//!
//! `cargo bench -p transport-connect --bench receive [-- FRAMES]`; figures are the thread's own CPU time, so that other load on the machine
//! counts little.
#![allow(missing_docs, clippy::print_stdout)]

mod support;

use std::collections::HashMap;

use chat_core::{ChatEvent, ChatSession};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use support::{Outcome, Service, serve_if_asked};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use transport_connect::ConnectTransport;

const ROUNDS: usize = 7;

fn main() -> Outcome {
    if serve_if_asked()? {
        return Ok(());
    }
    let frames = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let service = Service::start(frames)?;
        println!("{frames} frames over loopback, thread CPU per message, {ROUNDS} rounds in turn");
        println!("{:>12} {:>12} {:>8}", "bare", "session", "ratio");
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let bare = bare(&service, frames).await?;
            let session = session(&service, frames).await?;
            println!("{bare:>9.0} ns {session:>9.0} ns {:>8.2}", session / bare);
            ratios.push(session / bare);
        }
        ratios.sort_by(f64::total_cmp);
        println!("median ratio {:.2} (aim: at most 1.8)", ratios[ratios.len() / 2]);
        Ok(())
    })
}

/// This thread's CPU time so far, in nanoseconds.
fn cpu() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no figure")?.parse()?)
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    content: std::borrow::Cow<'a, str>,
}

/// An item as plainly as serde does it: every member owned.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code)]
struct Item {
    id: String,
    absolute_time: String,
    content: Option<String>,
    content_type: String,
    r#type: String,
    participant_id: Option<String>,
    display_name: Option<String>,
    participant_role: Option<String>,
    initial_contact_id: Option<String>,
    contact_id: Option<String>,
}

async fn bare(service: &Service, frames: usize) -> Outcome<f64> {
    let stream = tokio::net::TcpStream::connect(&service.at.ws).await?;
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let url = format!("ws://{}/gateway", service.at.ws);
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
    socket.send(Message::text(r#"{"topic":"aws/subscribe","content":{"topics":["aws/chat"]}}"#)).await?;
    socket.next().await;
    let before = cpu()?;
    service.go().await?;
    let mut map: HashMap<String, Item> = HashMap::new();
    while map.len() < frames {
        let Some(message) = socket.next().await else { return Err("the socket closed".into()) };
        if let Message::Text(text) = message? {
            let frame: Frame<'_> = serde_json::from_str(&text)?;
            let item: Item = serde_json::from_str(&frame.content)?;
            map.insert(item.id.clone(), item);
        }
    }
    Ok((cpu()? - before) / frames as f64)
}

async fn session(service: &Service, frames: usize) -> Outcome<f64> {
    let transport = ConnectTransport::builder().endpoint(format!("http://{}", service.at.http)).build()?;
    let settings = chat_core::SessionSettings::default().with_auto_delivered(false);
    let session = ChatSession::builder(transport).settings(settings).join(Service::credentials(0)).await?;
    let mut events = session.events();
    let before = cpu()?;
    service.go().await?;
    let mut heard = 0;
    while heard < frames {
        match events.next().await {
            Some(ChatEvent::Messages(batch)) => heard += batch.messages.len(),
            // Each message is to be heard as an event; a snapshot instead is another work, and no good sign.
            Some(ChatEvent::Missed { .. }) => return Err("the reader was overrun".into()),
            Some(_) => {}
            None => return Err("the session ended".into()),
        }
    }
    let used = (cpu()? - before) / frames as f64;
    if session.transcript().len() != frames {
        return Err("the transcript is not whole".into());
    }
    Ok(used)
}
