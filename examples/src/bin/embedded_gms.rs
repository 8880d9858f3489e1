//! Genesys GMS inside a program, for its tests: the service on a loopback port, with a scripted agent behind it, and a chat that is
//! held with it over polling and then over CometD. It ends by itself.
#![allow(clippy::print_stdout, reason = "it shows something")]

use std::sync::Arc;

use chat_transport::{
    ChatEvent, ChatSession, StartRequest, Transport,
    gms_v2::{CometdConfig, GmsTransport},
    sim::{Centre, Script, Step},
};
use tokio::net::TcpListener;
use transport_gms_v2::front::{FrontConfig, GmsFront};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let base = serve().await?;
    let polled = GmsTransport::builder().data_url(format!("{base}/2/chat/customer-support")).build()?;
    let pushed = GmsTransport::builder().cometd(CometdConfig::new(format!("{base}/cometd"))).build()?;
    for transport in [polled, pushed] {
        // Nothing in here depends on the vendor.
        chat(transport).await?;
    }
    Ok(())
}

/// Starts the service; where it is. An unmodified GMS client can be pointed at it, too.
async fn serve() -> Result<String, Failure> {
    let script = Script::new(vec![
        Step::Join { name: "Maria".into(), role: chat_transport::Role::Agent },
        Step::Say("Hello, this is Maria.".into()),
        Step::WaitForCustomer,
        Step::Say("It will be with you tomorrow.".into()),
        Step::End,
    ]);
    let centre = Centre::builder().script(script).build();
    let front = GmsFront::new(Arc::new(centre.transport()), FrontConfig::new());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}/genesys", listener.local_addr()?);
    tokio::spawn(async move { front.serve(listener).await });
    Ok(base)
}

async fn chat(transport: impl Transport) -> Result<(), Failure> {
    let session = ChatSession::builder(transport).start(StartRequest::named("Ada")).await?;
    let mut events = session.events();
    session.send_text("Where is my parcel?")?.await?;
    while let Some(event) = events.next().await {
        if let ChatEvent::Ended(reason) = event {
            println!("{}-- over: {reason:?}\n", session.export_text());
        }
    }
    Ok(())
}
