//! Faults that have no other place: the client, before the front, over the simulated centre, in memory and in paused time.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod nodes;
#[path = "../cometd/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of CometD")]
mod rig;
mod starved;
mod uploads;
mod zombie;

use transport_gms_v2::GmsTransport;

use rig::{Rig, data_url, long_polling};

/// How a chat is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Polling,
    LongPolling,
    WebSocket,
}

impl Way {
    const ALL: [Self; 3] = [Self::Polling, Self::LongPolling, Self::WebSocket];

    fn client(self, rig: &Rig) -> GmsTransport {
        rig.client_with(|config| match self {
            Self::Polling => {
                config.cometd = None;
                config.data_url = Some(data_url());
            }
            Self::LongPolling => long_polling(config),
            Self::WebSocket => {}
        })
    }
}
