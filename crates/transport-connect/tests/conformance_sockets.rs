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
        "a_denied_return_is_final",                        // Denials, hours
        "a_file_can_be_deleted",                           // DeleteFile
        "a_flapping_link_loses_nothing_and_storms_nobody", // hours
        "a_half_open_connection_is_found",                 // shaped, hours
        "a_lost_session_is_forgotten",                     // Denials
        "a_notice_reaches_the_centre",                     // Notice
        "a_poll_is_made_by_hand",                          // Poll
        "a_poll_is_refused_while_one_is_under_way",        // Poll
        "a_poll_without_an_answer_is_no_exception",        // Poll
        "a_renewal_loses_nothing_and_is_no_loss",          // hours
        "a_request_for_patience_on_connecting_is_obeyed",  // hours
        "a_restore_into_an_offline_server_says_so",        // Poll, hours
        "a_send_into_a_half_open_connection_arrives_once", // shaped, hours
        "a_server_that_asks_for_patience_gets_it",         // hours
        "a_silent_server_is_warned_of_in_time",            // Poll, hours
        "a_typing_preview_reaches_the_agent",              // TypingPreview
        "an_answer_before_the_echo_is_the_same_message",   // shaped
        "an_echos_token_settles_its_own_send_alone",       // EchoToken
        "an_edit_replaces_the_text_in_place",              // Edits
        "an_end_while_sending_keeps_the_text",             // shaped
        "an_outage_of_a_polled_chat_is_told_once",         // Poll, hours
        "changed_session_data_are_saved",                  // ChangingCredentials
        "commands_under_way_resolve_by_themselves",        // shaped
        "failing_polls_are_counted_in_succession",         // Poll
        "fifty_messages_read_make_one_call",               // hours
        "hours_without_a_network_are_survived",            // hours
        "never_two_polls_at_once",                         // Poll
        "own_typing_is_throttled_and_stops_by_itself",     // hours
        "pushed_urls_and_notices_are_typed",               // Notice
        "reading_says_delivered_too",                      // hours
        "receipts_can_be_switched_off",                    // hours
        "revoked_credentials_keep_what_was_accepted",      // RevocableCredentials
        "the_final_transcript_comes_before_the_end",       // FinalTranscript
        "the_place_in_the_queue_is_told",                  // QueuePosition
        "the_systems_hint_shortens_a_wait",                // hours
        "typing_of_others_shows_and_expires",              // hours
        "user_data_change_during_the_chat",                // UserDataDuringChat
        "what_vanishes_unnoticed_is_fetched_on_a_hint",    // GapHints
    ]
);
