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
        "a_files_url_is_a_secret",
        "a_lost_answer_starts_no_second_chat",
        "a_newer_question_replaces_the_older",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_question_is_answered_by_its_choice",
        "a_raw_event_reaches_the_centre",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "a_streamed_answer_is_one_message",
        "an_edit_replaces_the_text_in_place",
        "an_ended_chat_is_continued",
        "an_outage_of_a_polled_chat_is_told_once",
        "an_unknown_event_is_told_as_other",
        "authentication_steps_are_told",
        "changed_session_data_are_saved",
        "chunks_in_any_order_are_one_message",
        "deep_heartbeats_are_told_with_the_last_good_one",
        "delivery_is_told_by_itself",
        "failing_polls_are_counted_in_succession",
        "idling_and_coming_back_are_told",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "receipts_reach_the_sender_and_never_go_back",
        "revoked_credentials_keep_what_was_accepted",
        "the_chat_goes_on_after_a_transfer",
        "the_place_in_the_queue_is_told",
    ]
);

chat_conformance::conformance!(
    long_polling,
    harness = Bench::in_memory(Mode::LongPolling),
    not_run = [
        "a_files_url_is_a_secret",
        "a_lost_answer_starts_no_second_chat",
        "a_newer_question_replaces_the_older",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_question_is_answered_by_its_choice",
        "a_raw_event_reaches_the_centre",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "a_streamed_answer_is_one_message",
        "an_edit_replaces_the_text_in_place",
        "an_ended_chat_is_continued",
        "an_outage_of_a_polled_chat_is_told_once",
        "an_unknown_event_is_told_as_other",
        "authentication_steps_are_told",
        "changed_session_data_are_saved",
        "chunks_in_any_order_are_one_message",
        "deep_heartbeats_are_told_with_the_last_good_one",
        "delivery_is_told_by_itself",
        "failing_polls_are_counted_in_succession",
        "idling_and_coming_back_are_told",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "receipts_reach_the_sender_and_never_go_back",
        "revoked_credentials_keep_what_was_accepted",
        "the_chat_goes_on_after_a_transfer",
        "the_place_in_the_queue_is_told",
    ]
);
