//! The conformance suite: the CometD client, before the front, over the simulated centre, in memory and in paused time.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::{Bench, Mode};

chat_conformance::conformance!(
    websocket,
    harness = Bench::in_memory(Mode::WebSocket),
    not_run = [
        "a_files_url_is_a_secret",                         // FileUrl
        "a_lost_answer_starts_no_second_chat",             // IdempotentStart
        "a_newer_question_replaces_the_older",             // InteractiveResponse
        "a_poll_is_made_by_hand",                          // Poll
        "a_poll_is_refused_while_one_is_under_way",        // Poll
        "a_poll_without_an_answer_is_no_exception",        // Poll
        "a_question_is_answered_by_its_choice",            // InteractiveResponse
        "a_raw_event_reaches_the_centre",                  // RawEvents
        "a_receipt_may_come_before_its_message",           // PeerReceipts
        "a_rejected_file_says_so",                         // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",          // Renewal
        "a_restore_into_an_offline_server_says_so",        // Poll
        "a_silent_server_is_warned_of_in_time",            // Poll
        "a_start_that_is_gone_is_no_obstacle",             // HistoryLoss
        "a_streamed_answer_is_one_message",                // Streaming
        "an_edit_replaces_the_text_in_place",              // Edits
        "an_ended_chat_is_continued",                      // Persistent
        "an_outage_of_a_polled_chat_is_told_once",         // Poll
        "an_unknown_event_is_told_as_other",               // RawEvents
        "authentication_steps_are_told",                   // SystemEvents
        "chunks_in_any_order_are_one_message",             // Streaming
        "deep_heartbeats_are_told_with_the_last_good_one", // DeepHeartbeat
        "delivery_is_told_by_itself",                      // DeliveredReceipts
        "failing_polls_are_counted_in_succession",         // Poll
        "idling_and_coming_back_are_told",                 // SystemEvents
        "json_stays_json",                                 // Json
        "markdown_stays_markdown",                         // Markdown
        "messages_arrive_until_the_end",                   // Lingering
        "never_two_polls_at_once",                         // Poll
        "one_tab_never_settles_anothers_send",             // IdempotentSend
        "receipts_reach_the_sender_and_never_go_back",     // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",      // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",               // SystemEvents
        "the_place_in_the_queue_is_told",                  // QueuePosition
    ]
);

chat_conformance::conformance!(
    long_polling,
    harness = Bench::in_memory(Mode::LongPolling),
    not_run = [
        "a_files_url_is_a_secret",                         // FileUrl
        "a_lost_answer_starts_no_second_chat",             // IdempotentStart
        "a_newer_question_replaces_the_older",             // InteractiveResponse
        "a_poll_is_made_by_hand",                          // Poll
        "a_poll_is_refused_while_one_is_under_way",        // Poll
        "a_poll_without_an_answer_is_no_exception",        // Poll
        "a_question_is_answered_by_its_choice",            // InteractiveResponse
        "a_raw_event_reaches_the_centre",                  // RawEvents
        "a_receipt_may_come_before_its_message",           // PeerReceipts
        "a_rejected_file_says_so",                         // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",          // Renewal
        "a_restore_into_an_offline_server_says_so",        // Poll
        "a_silent_server_is_warned_of_in_time",            // Poll
        "a_start_that_is_gone_is_no_obstacle",             // HistoryLoss
        "a_streamed_answer_is_one_message",                // Streaming
        "an_edit_replaces_the_text_in_place",              // Edits
        "an_ended_chat_is_continued",                      // Persistent
        "an_outage_of_a_polled_chat_is_told_once",         // Poll
        "an_unknown_event_is_told_as_other",               // RawEvents
        "authentication_steps_are_told",                   // SystemEvents
        "chunks_in_any_order_are_one_message",             // Streaming
        "deep_heartbeats_are_told_with_the_last_good_one", // DeepHeartbeat
        "delivery_is_told_by_itself",                      // DeliveredReceipts
        "failing_polls_are_counted_in_succession",         // Poll
        "idling_and_coming_back_are_told",                 // SystemEvents
        "json_stays_json",                                 // Json
        "markdown_stays_markdown",                         // Markdown
        "messages_arrive_until_the_end",                   // Lingering
        "never_two_polls_at_once",                         // Poll
        "one_tab_never_settles_anothers_send",             // IdempotentSend
        "receipts_reach_the_sender_and_never_go_back",     // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",      // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",               // SystemEvents
        "the_place_in_the_queue_is_told",                  // QueuePosition
    ]
);
