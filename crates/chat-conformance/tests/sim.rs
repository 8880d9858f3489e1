//! The suite on the simulated contact centre, for every kind of centre, and for centres that do all that a vendor may do to a client.

use std::time::Duration;

use chat_conformance::{conformance, sim::SimHarness};
use chat_core::Capability;
use chat_sim::{AckDetail, Order, Profile};

/// Polling, and what only some centres do.
macro_rules! suites {
    ($($name:ident = $profile:expr, not_run = [$($id:literal),* $(,)?];)*) => {
        $(conformance!($name, harness = SimHarness::new($profile), not_run = [$($id),*]);)*
    };
}

suites! {
    push = Profile::push(), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
    ];
    push_without_echo_token = Profile::push_without_echo_token(), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_echos_token_settles_its_own_send_alone",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
    ];
    push_without_idempotency = Profile::push_without_idempotency(), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_echos_token_settles_its_own_send_alone",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "the_final_transcript_comes_before_the_end",
    ];
    push_without_history = Profile::push_without_history(), not_run = [
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_gap_larger_than_a_page_is_filled",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "history_is_paged_to_its_start",
        "history_is_read_from_any_point",
        "live_messages_come_between_while_a_gap_is_filled",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
        "what_vanishes_unnoticed_is_fetched_on_a_hint",
    ];
    polling = Profile::polling(), not_run = [
        "a_denied_return_is_final",
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_gap_larger_than_a_page_is_filled",
        "a_link_given_up_is_taken_up_by_hand",
        "a_loss_and_the_return_are_told_once",
        "a_loss_ends_the_stream_once",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_request_for_patience_on_connecting_is_obeyed",
        "a_start_that_is_gone_is_no_obstacle",
        "an_echos_token_settles_its_own_send_alone",
        "an_ended_chat_is_continued",
        "delivery_is_told_by_itself",
        "fifty_messages_read_make_one_call",
        "history_is_paged_to_its_start",
        "history_is_read_from_any_point",
        "json_stays_json",
        "live_messages_come_between_while_a_gap_is_filled",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
        "the_systems_hint_shortens_a_wait",
        "what_vanishes_unnoticed_is_fetched_on_a_hint",
    ];
    polling_with_history = Profile::polling_with_history(), not_run = [
        "a_denied_return_is_final",
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_link_given_up_is_taken_up_by_hand",
        "a_loss_and_the_return_are_told_once",
        "a_loss_ends_the_stream_once",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_request_for_patience_on_connecting_is_obeyed",
        "a_start_that_is_gone_is_no_obstacle",
        "an_echos_token_settles_its_own_send_alone",
        "an_ended_chat_is_continued",
        "delivery_is_told_by_itself",
        "fifty_messages_read_make_one_call",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
        "the_systems_hint_shortens_a_wait",
    ];
    push_with_tokens = Profile::push_with_tokens(), not_run = [
        "a_lost_answer_starts_no_second_chat",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_ended_chat_is_continued",
        "an_outage_of_a_polled_chat_is_told_once",
        "delivery_is_told_by_itself",
        "failing_polls_are_counted_in_succession",
        "fifty_messages_read_make_one_call",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
    ];
    polling_with_tokens = Profile::polling_with_tokens(), not_run = [
        "a_denied_return_is_final",
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_link_given_up_is_taken_up_by_hand",
        "a_loss_and_the_return_are_told_once",
        "a_loss_ends_the_stream_once",
        "a_lost_answer_starts_no_second_chat",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_request_for_patience_on_connecting_is_obeyed",
        "a_start_that_is_gone_is_no_obstacle",
        "an_ended_chat_is_continued",
        "delivery_is_told_by_itself",
        "fifty_messages_read_make_one_call",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
        "the_systems_hint_shortens_a_wait",
    ];
    minimal = Profile::minimal(), not_run = [
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_file_can_be_deleted",
        "a_file_goes_there_and_back",
        "a_files_url_is_a_secret",
        "a_gap_larger_than_a_page_is_filled",
        "a_kept_session_can_be_verified",
        "a_lost_answer_to_an_upload_doubles_nothing",
        "a_notice_reaches_the_centre",
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_raw_event_reaches_the_centre",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_start_that_is_gone_is_no_obstacle",
        "a_typing_preview_reaches_the_agent",
        "an_agents_file_can_be_fetched",
        "an_ended_chat_is_continued",
        "an_outage_of_a_polled_chat_is_told_once",
        "default_user_data_yields_to_the_starts",
        "delivery_is_told_by_itself",
        "failing_polls_are_counted_in_succession",
        "fifty_messages_read_make_one_call",
        "files_are_checked_before_they_leave",
        "history_is_paged_to_its_start",
        "history_is_read_from_any_point",
        "json_stays_json",
        "live_messages_come_between_while_a_gap_is_filled",
        "malformed_user_data_starts_nothing",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "own_typing_is_throttled_and_stops_by_itself",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
        "the_tap_shows_raw_traffic_without_secrets",
        "typing_of_others_ends_with_their_message",
        "typing_of_others_shows_and_expires",
        "user_data_change_during_the_chat",
        "verifying_changes_nothing",
        "verifying_knows_an_ended_chat",
        "what_vanishes_unnoticed_is_fetched_on_a_hint",
        "who_joins_sees_the_whole_chat",
    ];
    small_limits = Profile::small_limits(), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
    ];
    push_that_ends_slowly = Profile::push().tuned(|p| {
        p.capabilities = p.capabilities.with(Capability::Lingering).with(Capability::FinalTranscript);
        p.request_latency = Duration::from_millis(40);
        p.answer_latency = Duration::from_millis(60);
        p.heartbeat = Some(Duration::from_secs(10));
    }), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "never_two_polls_at_once",
    ];
    push_that_tells_little = Profile::push_without_idempotency().tuned(|p| {
        p.ack = AckDetail::Nothing;
        p.missing_ids = 3;
        p.capabilities = p.capabilities.without(Capability::MessageIds);
        p.answer_latency = Duration::from_millis(80);
    }), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "a_streamed_answer_is_one_message",
        "an_echos_token_settles_its_own_send_alone",
        "an_edit_replaces_the_text_in_place",
        "an_outage_of_a_polled_chat_is_told_once",
        "chunks_in_any_order_are_one_message",
        "delivery_is_told_by_itself",
        "failing_polls_are_counted_in_succession",
        "fifty_messages_read_make_one_call",
        "history_is_read_from_any_point",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
    ];
    push_with_odd_pages = Profile::push().tuned(|p| {
        p.empty_pages = true;
        p.history_inclusive = true;
        p.missing_times = 4;
        p.cursor_valid_for = Some(Duration::from_secs(300));
        p.connection_lifetime = Some(Duration::from_secs(1800));
    }), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_rejected_file_says_so",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
    ];
    push_by_index_through_a_narrow_channel = Profile::push_without_echo_token().tuned(|p| {
        p.order = Order::Index;
        p.channel_capacity = 1;
        p.capabilities = p.capabilities.with(Capability::FileScans);
        p.request_latency = Duration::from_millis(30);
    }), not_run = [
        "a_poll_is_made_by_hand",
        "a_poll_is_refused_while_one_is_under_way",
        "a_poll_without_an_answer_is_no_exception",
        "a_restore_into_an_offline_server_says_so",
        "a_silent_server_is_warned_of_in_time",
        "an_echos_token_settles_its_own_send_alone",
        "an_outage_of_a_polled_chat_is_told_once",
        "failing_polls_are_counted_in_succession",
        "messages_arrive_until_the_end",
        "never_two_polls_at_once",
        "the_final_transcript_comes_before_the_end",
    ];
    polling_that_is_slow = Profile::polling_with_history().tuned(|p| {
        p.request_latency = Duration::from_millis(700);
        p.answer_latency = Duration::from_millis(900);
    }), not_run = [
        "a_denied_return_is_final",
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again",
        "a_link_given_up_is_taken_up_by_hand",
        "a_loss_and_the_return_are_told_once",
        "a_loss_ends_the_stream_once",
        "a_receipt_may_come_before_its_message",
        "a_rejected_file_says_so",
        "a_renewal_loses_nothing_and_is_no_loss",
        "a_request_for_patience_on_connecting_is_obeyed",
        "a_start_that_is_gone_is_no_obstacle",
        "an_echos_token_settles_its_own_send_alone",
        "an_ended_chat_is_continued",
        "delivery_is_told_by_itself",
        "fifty_messages_read_make_one_call",
        "json_stays_json",
        "markdown_stays_markdown",
        "messages_arrive_until_the_end",
        "one_tab_never_settles_anothers_send",
        "reading_says_delivered_too",
        "receipts_can_be_switched_off",
        "receipts_reach_the_sender_and_never_go_back",
        "the_final_transcript_comes_before_the_end",
        "the_systems_hint_shortens_a_wait",
    ];
}
