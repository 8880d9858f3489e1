//! The conformance suite: the client, before the front, over the simulated centre, in memory and in paused time.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::Bench;

chat_conformance::conformance!(
    connect,
    harness = Bench::in_memory(),
    not_run = [
        "a_denied_return_is_final",
        "a_file_can_be_deleted",
        "a_lost_session_is_forgotten",
        "a_notice_reaches_the_centre",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_raw_event_reaches_the_centre",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "a_typing_preview_reaches_the_agent",
        "an_echos_token_settles_its_own_send_alone",
        "an_edit_replaces_the_text_in_place",
        "an_outage_of_a_polled_chat_is_told_once",
        "changed_session_data_are_saved",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "pushed_urls_and_notices_are_typed",
        "revoked_credentials_keep_what_was_accepted",
        "the_final_transcript_comes_before_the_end",
        "the_place_in_the_queue_is_told",
        "user_data_change_during_the_chat",
        "what_vanishes_unnoticed_is_fetched_on_a_hint",
        "without_an_echo_the_answer_is_enough",
    ]
);
