//! Owns the house that the vendor's programs visit: a contact centre in memory behind the Connect front, on a loopback port.

use std::sync::Arc;

use chat_core::SystemClock;
use chat_sim::{Centre, ContactConsole, Profile};
use e2e::within;
use transport_connect::front::{ConnectFront, FrontConfig};

pub(crate) struct House {
    pub(crate) centre: Centre,
    pub(crate) front: Arc<ConnectFront>,
    pub(crate) base_url: String,
}

impl House {
    /// Opens on a free port. The centre is like the vendor's: pushed, idempotent, echoes without a client token.
    pub(crate) async fn open() -> Self {
        let centre = Centre::builder()
            .profile(Profile::push_without_echo_token())
            // The front's clock too: both mint times of one transcript.
            .clock(Arc::new(SystemClock))
            .build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let base_url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let front = ConnectFront::new(Arc::new(centre.transport()), FrontConfig::new(&base_url));
        let served = Arc::clone(&front);
        tokio::spawn(async move { served.serve(listener).await });
        Self { centre, front, base_url }
    }

    /// The newest chat, once there is one, with Maria as its agent.
    pub(crate) async fn agent(&self) -> ContactConsole {
        within("a contact", self.centre.console().wait_for_contact()).await.as_agent("Maria")
    }
}
