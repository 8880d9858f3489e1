//! The conformance suite: the client, before the front, over the simulated centre, over sockets of this machine.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::Bench;

chat_conformance::conformance!(
    connect,
    harness = Bench::over_sockets().await,
    not_run = [
        "a_denied_return_is_final",
        "a_file_can_be_deleted",
        "a_flapping_link_loses_nothing_and_storms_nobody",
        "a_half_open_connection_is_found",
        "a_lost_session_is_forgotten",
        "a_notice_reaches_the_centre",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_raw_event_reaches_the_centre",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_request_for_patience_on_connecting_is_obeyed",
        "a_restore_into_an_offline_server_says_so",
        "a_send_into_a_half_open_connection_arrives_once",
        "a_server_that_asks_for_patience_gets_it",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "a_typing_preview_reaches_the_agent",
        "an_answer_before_the_echo_is_the_same_message",
        "an_echos_token_settles_its_own_send_alone",
        "an_edit_replaces_the_text_in_place",
        "an_end_while_sending_keeps_the_text",
        "an_outage_of_a_polled_chat_is_told_once",
        "changed_session_data_are_saved",
        "commands_under_way_resolve_by_themselves",
        "failing_polls_are_counted_in_succession",
        "fifty_messages_read_make_one_call",
        "hours_without_a_network_are_survived",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "own_typing_is_throttled_and_stops_by_itself",
        "pushed_urls_and_notices_are_typed",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "revoked_credentials_keep_what_was_accepted",
        "the_final_transcript_comes_before_the_end",
        "the_place_in_the_queue_is_told",
        "the_systems_hint_shortens_a_wait",
        "typing_of_others_shows_and_expires",
        "user_data_change_during_the_chat",
        "what_vanishes_unnoticed_is_fetched_on_a_hint",
        "without_an_echo_the_answer_is_enough",
    ]
);
