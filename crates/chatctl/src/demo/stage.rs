//! Owns where the demo is held: a centre, a vendor's front on a real socket behind a cable, and a client that speaks to it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chat_core::{SystemClock, Transport};
use chat_net::{Net, NetConfig};
use chat_sim::Centre;
use tokio::{net::TcpListener, task::JoinSet};
use transport_connect::{
    ConnectTransport, StartChat,
    front::{ConnectFront, FrontConfig},
};

use transport_gms_v2::{
    CometdConfig, GmsTransport, Timings,
    front::{FrontConfig as GmsFrontConfig, GmsFront},
};

use super::cable::Cable;
use crate::{
    failure::{Context, Result},
    sim::GmsUrls,
};

/// The vendor's 3 s would make the demo a matter of patience.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// After so long a message whose answer was lost is known not to have arrived: this service stores at once what it gets.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Amazon Connect.
    Connect,
    /// Genesys GMS, polling.
    Gms,
    /// Genesys GMS, pushed over CometD.
    GmsCometd,
}

impl Way {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Connect, Self::Gms, Self::GmsCometd];

    /// Its name on the command line, and in JSON.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Gms => "gms",
            Self::GmsCometd => "gms-cometd",
        }
    }

    /// Its name in print.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "Amazon Connect",
            Self::Gms => "Genesys GMS, polling",
            Self::GmsCometd => "Genesys GMS, CometD",
        }
    }
}

/// One place, for one chat.
pub(super) struct Stage {
    /// The contact centre.
    pub(super) centre: Centre,
    /// What the customer's session is held over.
    pub(super) transport: Arc<dyn Transport>,
    /// Between the two.
    pub(super) cable: Cable,
    /// Serves until the stage is gone.
    _serving: JoinSet<()>,
}

impl Stage {
    /// Everything that `way` needs, on the loopback interface.
    pub(super) async fn set(way: Way) -> Result<Self> {
        let listening = "listening on the loopback interface";
        let centre = Centre::builder().clock(Arc::new(SystemClock)).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.context(listening)?;
        let cable = Cable::lay(listener.local_addr().context(listening)?).await.context(listening)?;
        let net = Net::new(&NetConfig::default()).context("the network stack")?;
        let backend: Arc<dyn Transport> = Arc::new(centre.transport());
        let mut serving = JoinSet::new();
        let transport = match way {
            Way::Connect => connect(backend, listener, cable.address(), net, &mut serving),
            Way::Gms | Way::GmsCometd => {
                let front = GmsFront::new(backend, GmsFrontConfig::new());
                serving.spawn(async move {
                    // Ends with the demo, which misses the service if it ends before.
                    let _ = front.serve(listener).await;
                });
                gms(cable.address(), net, way == Way::GmsCometd)
            }
        };
        let transport = transport.context("the client")?;
        Ok(Self { centre, transport, cable, _serving: serving })
    }
}

fn connect(
    backend: Arc<dyn Transport>,
    listener: TcpListener,
    address: SocketAddr,
    net: Net,
    serving: &mut JoinSet<()>,
) -> chat_core::Result<Arc<dyn Transport>> {
    let endpoint = format!("http://{address}");
    let config = FrontConfig::new(&*endpoint);
    let start_chat = StartChat::new(format!("{endpoint}{}", config.start_chat_path));
    let front = ConnectFront::new(backend, config);
    serving.spawn(async move {
        // Ends with the demo, which misses the service if it ends before.
        let _ = front.serve(listener).await;
    });
    Ok(Arc::new(ConnectTransport::builder().endpoint(endpoint).start_chat(start_chat).net(net).build()?))
}

fn gms(address: SocketAddr, net: Net, pushed: bool) -> chat_core::Result<Arc<dyn Transport>> {
    let urls = GmsUrls::new(&format!("http://{address}"));
    let mut timings = Timings::default();
    timings.poll_interval = POLL_INTERVAL;
    timings.settle_within = SETTLE_WITHIN;
    let mut builder = GmsTransport::builder().net(net).timings(timings);
    if pushed {
        let mut cometd = CometdConfig::new(urls.cometd);
        cometd.companion_url = Some(urls.companion);
        builder = builder.cometd(cometd);
    } else {
        builder = builder.data_url(urls.data);
    }
    Ok(Arc::new(builder.build()?))
}
