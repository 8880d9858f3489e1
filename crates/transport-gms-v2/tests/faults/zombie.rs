//! A connection that speaks after the next one stands (F15).

use std::time::Duration;

use chat_core::session::ConnectionEvent;
use chat_core::{ChatEvent, LinkState};
use chat_net::memory::Direction;
use transport_gms_v2::front::{Instead, Operation};

use crate::{
    Way,
    rig::{Rig, event, shows_text, texts},
};

#[tokio::test(start_paused = true)]
async fn what_an_old_connection_says_after_the_new_one_stands_is_told_once_and_changes_nothing() {
    for way in Way::ALL {
        let rig = Rig::new();
        let (session, contact) = rig.chat(way.client(&rig)).await;
        let agent = contact.as_agent("Maria");
        agent.say("before").unwrap();
        shows_text(&session, "before").await;
        // Its words, and the answer to its poll, are under way for longer than the new connection takes to stand.
        rig.instead(Operation::Refresh, Instead::Delay(Duration::from_secs(2)), 1);
        if way == Way::Polling {
            let calls = rig.front.faults().answers;
            while rig.front.faults().answers == calls {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        } else {
            rig.network.delay(Duration::from_secs(2));
        }
        agent.say("under way").unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        rig.network.heal();
        rig.front.set_faults(Default::default());
        // What it asks for does not arrive any more: before long it would find itself lost.
        rig.network.swallow(Direction::ToServer);
        let mut events = session.events();
        session.reconnect(session.session_data()).unwrap();
        event(&mut events, "the new connection", |event| match event {
            ChatEvent::Connection(told) => matches!(&*told, ConnectionEvent::Renewed).then_some(()),
            _ => None,
        })
        .await;
        agent.say("afterwards").unwrap();
        shows_text(&session, "afterwards").await;
        let quiet = tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(told) = events.next().await {
                if let ChatEvent::Connection(told) = told {
                    return told;
                }
            }
            panic!("the session goes on")
        });
        assert!(quiet.await.is_err(), "{way:?}: no change of the connection");
        assert_eq!(session.link_state(), LinkState::Live, "{way:?}");
        agent.say("the last").unwrap();
        shows_text(&session, "the last").await;
        assert_eq!(texts(&session), ["before", "under way", "afterwards", "the last"], "{way:?}");
    }
}
