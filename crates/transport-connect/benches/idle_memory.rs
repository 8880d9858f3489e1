//! Heap per idle session: a thousand sessions of one transport over plain loopback sockets, all sharing one HTTP client. The service runs
//! in a process of its own.
//!
//! `cargo bench -p transport-connect --bench idle_memory [-- SESSIONS]`
#![allow(missing_docs, clippy::print_stdout)]

mod support;

use chat_core::ChatSession;
use support::{Outcome, Service, serve_if_asked};
use transport_connect::ConnectTransport;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> Outcome {
    if serve_if_asked()? {
        return Ok(());
    }
    let sessions: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let profiler = dhat::Profiler::builder().testing().build();
    runtime.block_on(async {
        let service = Service::start(0)?;
        let transport =
            ConnectTransport::builder().endpoint(format!("http://{}", service.at.http)).build()?;
        // The first ones pay for what all share.
        let mut held = Vec::new();
        for contact in 0..10 {
            held.push(ChatSession::builder(transport.clone()).join(Service::credentials(contact)).await?);
        }
        let before = settled().await;
        for contact in 10..10 + sessions {
            held.push(ChatSession::builder(transport.clone()).join(Service::credentials(contact)).await?);
        }
        let after = settled().await;
        let each = (after - before) as f64 / sessions as f64;
        println!("{sessions} idle sessions: {each:.0} bytes of heap each (aim: at most 10000)");
        drop(held);
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    drop(profiler);
    Ok(())
}

/// Heap in use once nothing more happens.
async fn settled() -> usize {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    dhat::HeapStats::get().curr_bytes
}
