//! The suite on the simulated contact centre, behind the network of adapters that are called directly.

use std::sync::Arc;

use async_trait::async_trait;
use chat_conformance::{Clock, ContactCentre, DirectNetwork, Harness, Network, NetworkKind, conformance};
use chat_core::{Result, SavedSession, Transport};
use chat_sim::{Centre, Console, Profile};

#[derive(Debug)]
struct Direct {
    centre: Centre,
    console: Console,
    network: DirectNetwork,
}

impl Direct {
    fn new() -> Self {
        let centre = Centre::builder().profile(Profile::push()).build();
        let console = centre.console();
        Self { centre, console, network: DirectNetwork::default() }
    }
}

#[async_trait]
impl Harness for Direct {
    fn transport(&self) -> Arc<dyn Transport> {
        self.network.before(self.centre.transport())
    }

    fn centre(&self) -> &dyn ContactCentre {
        &self.console
    }

    fn network(&self) -> &dyn Network {
        &self.network
    }

    fn clock(&self) -> Clock {
        Clock::Virtual
    }

    fn network_kind(&self) -> NetworkKind {
        NetworkKind::None
    }

    async fn credentials(&self, chat: usize) -> Result<SavedSession> {
        Ok(self.console.contacts()[chat].credentials())
    }
}

conformance!(
    direct,
    harness = Direct::new(),
    not_run = [
        "a_poll_is_made_by_hand",                    // Poll
        "a_poll_is_refused_while_one_is_under_way",  // Poll
        "a_poll_without_an_answer_is_no_exception",  // Poll
        "a_rejected_file_says_so",                   // FileScans
        "a_restore_into_an_offline_server_says_so",  // Poll
        "a_silent_server_is_warned_of_in_time",      // Poll
        "an_outage_of_a_polled_chat_is_told_once",   // Poll
        "failing_polls_are_counted_in_succession",   // Poll
        "messages_arrive_until_the_end",             // Lingering
        "never_two_polls_at_once",                   // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ]
);
