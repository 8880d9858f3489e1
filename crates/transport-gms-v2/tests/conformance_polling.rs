//! The conformance suite: the polling client, before the front, over the simulated centre, in memory and in paused time.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::{Bench, Mode};

chat_conformance::conformance!(
    polling,
    harness = Bench::in_memory(Mode::Polling),
    not_run = [
        "a_denied_return_is_final",                             // pushed
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // pushed
        "a_files_url_is_a_secret",                              // FileUrl
        "a_link_given_up_is_taken_up_by_hand",                  // pushed
        "a_loss_and_the_return_are_told_once",                  // pushed
        "a_loss_ends_the_stream_once",                          // pushed
        "a_lost_answer_starts_no_second_chat",                  // IdempotentStart
        "a_newer_question_replaces_the_older",                  // InteractiveResponse
        "a_question_is_answered_by_its_choice",                 // InteractiveResponse
        "a_raw_event_reaches_the_centre",                       // RawEvents
        "a_receipt_may_come_before_its_message",                // PeerReceipts
        "a_rejected_file_says_so",                              // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",               // Renewal
        "a_request_for_patience_on_connecting_is_obeyed",       // pushed
        "a_start_that_is_gone_is_no_obstacle",                  // HistoryLoss, pushed
        "a_streamed_answer_is_one_message",                     // Streaming
        "an_edit_replaces_the_text_in_place",                   // Edits
        "an_ended_chat_is_continued",                           // Persistent
        "an_unknown_event_is_told_as_other",                    // RawEvents
        "authentication_steps_are_told",                        // SystemEvents
        "chunks_in_any_order_are_one_message",                  // Streaming
        "deep_heartbeats_are_told_with_the_last_good_one",      // DeepHeartbeat
        "delivery_is_told_by_itself",                           // DeliveredReceipts
        "idling_and_coming_back_are_told",                      // SystemEvents
        "json_stays_json",                                      // Json
        "markdown_stays_markdown",                              // Markdown
        "messages_arrive_until_the_end",                        // Lingering
        "one_tab_never_settles_anothers_send",                  // IdempotentSend
        "receipts_reach_the_sender_and_never_go_back",          // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",           // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",                    // SystemEvents
        "the_place_in_the_queue_is_told",                       // QueuePosition
        "the_systems_hint_shortens_a_wait",                     // pushed
        "what_vanishes_unnoticed_is_fetched_on_a_hint",         // GapHints, pushed
        "without_an_echo_the_answer_is_enough",                 // pushed
    ]
);
