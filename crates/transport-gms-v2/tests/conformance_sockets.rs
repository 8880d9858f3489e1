//! The conformance suite: the client, before the front, over the simulated centre, over sockets of this machine.
#![cfg(all(feature = "client", feature = "front"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/bench.rs"]
mod bench;

use bench::{Bench, Mode};

chat_conformance::conformance!(
    polling,
    harness = Bench::over_sockets(Mode::Polling),
    not_run = [
        "a_denied_return_is_final",                             // pushed, hours
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // pushed
        "a_files_url_is_a_secret",                              // FileUrl
        "a_flapping_link_loses_nothing_and_storms_nobody",      // hours
        "a_half_open_connection_is_found",                      // shaped, hours
        "a_link_given_up_is_taken_up_by_hand",                  // pushed
        "a_loss_and_the_return_are_told_once",                  // pushed
        "a_loss_ends_the_stream_once",                          // pushed
        "a_lost_answer_starts_no_second_chat",                  // IdempotentStart
        "a_newer_question_replaces_the_older",                  // InteractiveResponse
        "a_question_is_answered_by_its_choice",                 // InteractiveResponse
        "a_raw_event_reaches_the_centre",                       // RawEvents
        "a_receipt_may_come_before_its_message",                // PeerReceipts
        "a_rejected_file_says_so",                              // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",               // Renewal, hours
        "a_request_for_patience_on_connecting_is_obeyed",       // pushed, hours
        "a_restore_into_an_offline_server_says_so",             // hours
        "a_send_into_a_half_open_connection_arrives_once",      // shaped, hours
        "a_server_that_asks_for_patience_gets_it",              // hours
        "a_silent_server_is_warned_of_in_time",                 // hours
        "a_start_that_is_gone_is_no_obstacle",                  // HistoryLoss, pushed
        "a_streamed_answer_is_one_message",                     // Streaming
        "an_answer_before_the_echo_is_the_same_message",        // shaped
        "an_edit_replaces_the_text_in_place",                   // Edits
        "an_end_while_sending_keeps_the_text",                  // shaped
        "an_ended_chat_is_continued",                           // Persistent
        "an_outage_of_a_polled_chat_is_told_once",              // hours
        "an_unknown_event_is_told_as_other",                    // RawEvents
        "authentication_steps_are_told",                        // SystemEvents
        "chunks_in_any_order_are_one_message",                  // Streaming
        "commands_under_way_resolve_by_themselves",             // shaped
        "deep_heartbeats_are_told_with_the_last_good_one",      // DeepHeartbeat
        "delivery_is_told_by_itself",                           // DeliveredReceipts
        "fifty_messages_read_make_one_call",                    // hours
        "hours_without_a_network_are_survived",                 // hours
        "idling_and_coming_back_are_told",                      // SystemEvents
        "json_stays_json",                                      // Json
        "markdown_stays_markdown",                              // Markdown
        "messages_arrive_until_the_end",                        // Lingering
        "one_tab_never_settles_anothers_send",                  // IdempotentSend
        "own_typing_is_throttled_and_stops_by_itself",          // hours
        "reading_says_delivered_too",                           // hours
        "receipts_can_be_switched_off",                         // hours
        "receipts_reach_the_sender_and_never_go_back",          // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",           // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",                    // SystemEvents
        "the_place_in_the_queue_is_told",                       // QueuePosition
        "the_systems_hint_shortens_a_wait",                     // pushed, hours
        "typing_of_others_shows_and_expires",                   // hours
        "what_vanishes_unnoticed_is_fetched_on_a_hint",         // GapHints, pushed
        "without_an_echo_the_answer_is_enough",                 // pushed
    ]
);

chat_conformance::conformance!(
    websocket,
    harness = Bench::over_sockets(Mode::WebSocket),
    not_run = [
        "a_denied_return_is_final",                        // hours
        "a_files_url_is_a_secret",                         // FileUrl
        "a_flapping_link_loses_nothing_and_storms_nobody", // hours
        "a_half_open_connection_is_found",                 // shaped, hours
        "a_lost_answer_starts_no_second_chat",             // IdempotentStart
        "a_newer_question_replaces_the_older",             // InteractiveResponse
        "a_poll_is_made_by_hand",                          // Poll
        "a_poll_is_refused_while_one_is_under_way",        // Poll
        "a_poll_without_an_answer_is_no_exception",        // Poll
        "a_question_is_answered_by_its_choice",            // InteractiveResponse
        "a_raw_event_reaches_the_centre",                  // RawEvents
        "a_receipt_may_come_before_its_message",           // PeerReceipts
        "a_rejected_file_says_so",                         // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",          // Renewal, hours
        "a_request_for_patience_on_connecting_is_obeyed",  // hours
        "a_restore_into_an_offline_server_says_so",        // Poll, hours
        "a_send_into_a_half_open_connection_arrives_once", // shaped, hours
        "a_server_that_asks_for_patience_gets_it",         // hours
        "a_silent_server_is_warned_of_in_time",            // Poll, hours
        "a_start_that_is_gone_is_no_obstacle",             // HistoryLoss
        "a_streamed_answer_is_one_message",                // Streaming
        "an_answer_before_the_echo_is_the_same_message",   // shaped
        "an_edit_replaces_the_text_in_place",              // Edits
        "an_end_while_sending_keeps_the_text",             // shaped
        "an_ended_chat_is_continued",                      // Persistent
        "an_outage_of_a_polled_chat_is_told_once",         // Poll, hours
        "an_unknown_event_is_told_as_other",               // RawEvents
        "authentication_steps_are_told",                   // SystemEvents
        "chunks_in_any_order_are_one_message",             // Streaming
        "commands_under_way_resolve_by_themselves",        // shaped
        "deep_heartbeats_are_told_with_the_last_good_one", // DeepHeartbeat
        "delivery_is_told_by_itself",                      // DeliveredReceipts
        "failing_polls_are_counted_in_succession",         // Poll
        "fifty_messages_read_make_one_call",               // hours
        "hours_without_a_network_are_survived",            // hours
        "idling_and_coming_back_are_told",                 // SystemEvents
        "json_stays_json",                                 // Json
        "markdown_stays_markdown",                         // Markdown
        "messages_arrive_until_the_end",                   // Lingering
        "never_two_polls_at_once",                         // Poll
        "one_tab_never_settles_anothers_send",             // IdempotentSend
        "own_typing_is_throttled_and_stops_by_itself",     // hours
        "reading_says_delivered_too",                      // hours
        "receipts_can_be_switched_off",                    // hours
        "receipts_reach_the_sender_and_never_go_back",     // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",      // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",               // SystemEvents
        "the_place_in_the_queue_is_told",                  // QueuePosition
        "the_systems_hint_shortens_a_wait",                // hours
        "typing_of_others_shows_and_expires",              // hours
    ]
);

chat_conformance::conformance!(
    long_polling,
    harness = Bench::over_sockets(Mode::LongPolling),
    not_run = [
        "a_denied_return_is_final",                        // hours
        "a_files_url_is_a_secret",                         // FileUrl
        "a_flapping_link_loses_nothing_and_storms_nobody", // hours
        "a_half_open_connection_is_found",                 // shaped, hours
        "a_lost_answer_starts_no_second_chat",             // IdempotentStart
        "a_newer_question_replaces_the_older",             // InteractiveResponse
        "a_poll_is_made_by_hand",                          // Poll
        "a_poll_is_refused_while_one_is_under_way",        // Poll
        "a_poll_without_an_answer_is_no_exception",        // Poll
        "a_question_is_answered_by_its_choice",            // InteractiveResponse
        "a_raw_event_reaches_the_centre",                  // RawEvents
        "a_receipt_may_come_before_its_message",           // PeerReceipts
        "a_rejected_file_says_so",                         // FileScans
        "a_renewal_loses_nothing_and_is_no_loss",          // Renewal, hours
        "a_request_for_patience_on_connecting_is_obeyed",  // hours
        "a_restore_into_an_offline_server_says_so",        // Poll, hours
        "a_send_into_a_half_open_connection_arrives_once", // shaped, hours
        "a_server_that_asks_for_patience_gets_it",         // hours
        "a_silent_server_is_warned_of_in_time",            // Poll, hours
        "a_start_that_is_gone_is_no_obstacle",             // HistoryLoss
        "a_streamed_answer_is_one_message",                // Streaming
        "an_answer_before_the_echo_is_the_same_message",   // shaped
        "an_edit_replaces_the_text_in_place",              // Edits
        "an_end_while_sending_keeps_the_text",             // shaped
        "an_ended_chat_is_continued",                      // Persistent
        "an_outage_of_a_polled_chat_is_told_once",         // Poll, hours
        "an_unknown_event_is_told_as_other",               // RawEvents
        "authentication_steps_are_told",                   // SystemEvents
        "chunks_in_any_order_are_one_message",             // Streaming
        "commands_under_way_resolve_by_themselves",        // shaped
        "deep_heartbeats_are_told_with_the_last_good_one", // DeepHeartbeat
        "delivery_is_told_by_itself",                      // DeliveredReceipts
        "failing_polls_are_counted_in_succession",         // Poll
        "fifty_messages_read_make_one_call",               // hours
        "hours_without_a_network_are_survived",            // hours
        "idling_and_coming_back_are_told",                 // SystemEvents
        "json_stays_json",                                 // Json
        "markdown_stays_markdown",                         // Markdown
        "messages_arrive_until_the_end",                   // Lingering
        "never_two_polls_at_once",                         // Poll
        "one_tab_never_settles_anothers_send",             // IdempotentSend
        "own_typing_is_throttled_and_stops_by_itself",     // hours
        "reading_says_delivered_too",                      // hours
        "receipts_can_be_switched_off",                    // hours
        "receipts_reach_the_sender_and_never_go_back",     // PeerReceipts
        "revoked_credentials_keep_what_was_accepted",      // RevocableCredentials
        "the_chat_goes_on_after_a_transfer",               // SystemEvents
        "the_place_in_the_queue_is_told",                  // QueuePosition
        "the_systems_hint_shortens_a_wait",                // hours
        "typing_of_others_shows_and_expires",              // hours
    ]
);
