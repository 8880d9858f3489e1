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
        "a_denied_return_is_final",                     // Denials
        "a_file_can_be_deleted",                        // DeleteFile
        "a_lost_session_is_forgotten",                  // Denials
        "a_notice_reaches_the_centre",                  // Notice
        "a_poll_is_made_by_hand",                       // Poll
        "a_poll_is_refused_while_one_is_under_way",     // Poll
        "a_poll_without_an_answer_is_no_exception",     // Poll
        "a_restore_into_an_offline_server_says_so",     // Poll
        "a_silent_server_is_warned_of_in_time",         // Poll
        "a_typing_preview_reaches_the_agent",           // TypingPreview
        "an_echos_token_settles_its_own_send_alone",    // EchoToken
        "an_edit_replaces_the_text_in_place",           // Edits
        "an_outage_of_a_polled_chat_is_told_once",      // Poll
        "changed_session_data_are_saved",               // ChangingCredentials
        "failing_polls_are_counted_in_succession",      // Poll
        "never_two_polls_at_once",                      // Poll
        "pushed_urls_and_notices_are_typed",            // Notice
        "revoked_credentials_keep_what_was_accepted",   // RevocableCredentials
        "the_final_transcript_comes_before_the_end",    // FinalTranscript
        "the_place_in_the_queue_is_told",               // QueuePosition
        "user_data_change_during_the_chat",             // UserDataDuringChat
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // GapHints
    ]
);
