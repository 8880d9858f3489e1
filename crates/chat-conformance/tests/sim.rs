//! The suite on the simulated contact centre, for every kind of centre, and for centres that do all that a vendor may do to a client.

use std::time::Duration;

use chat_conformance::{conformance, sim::SimHarness};
use chat_core::Capability;
use chat_sim::{AckDetail, Order, Profile};

/// One suite for each kind of centre.
macro_rules! suites {
    ($($name:ident = $profile:expr, not_run = [$($id:literal),* $(,)?];)*) => {
        $(conformance!($name, harness = SimHarness::new($profile), not_run = [$($id),*]);)*
    };
}

suites! {
    push = Profile::push(), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_without_echo_token = Profile::push_without_echo_token(), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_without_idempotency = Profile::push_without_idempotency(), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_without_history = Profile::push_without_history(), not_run = [
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // History
        "a_gap_larger_than_a_page_is_filled", // History
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "a_start_that_is_gone_is_no_obstacle", // History, HistoryLoss
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "history_is_paged_to_its_start", // History
        "history_is_read_from_any_point", // History
        "live_messages_come_between_while_a_gap_is_filled", // History
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // History, GapHints
    ];
    polling = Profile::polling(), not_run = [
        "a_denied_return_is_final", // pushed
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // History, pushed
        "a_gap_larger_than_a_page_is_filled", // History
        "a_link_given_up_is_taken_up_by_hand", // pushed
        "a_loss_and_the_return_are_told_once", // pushed
        "a_loss_ends_the_stream_once", // pushed
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // FileScans
        "a_renewal_loses_nothing_and_is_no_loss", // Renewal
        "a_request_for_patience_on_connecting_is_obeyed", // pushed
        "a_start_that_is_gone_is_no_obstacle", // History, HistoryLoss, pushed
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_ended_chat_is_continued", // Persistent
        "delivery_is_told_by_itself", // DeliveredReceipts
        "fifty_messages_read_make_one_call", // ReadReceipts
        "history_is_paged_to_its_start", // History
        "history_is_read_from_any_point", // History
        "json_stays_json", // Json
        "live_messages_come_between_while_a_gap_is_filled", // History
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "the_systems_hint_shortens_a_wait", // pushed
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // History, GapHints, pushed
        "without_an_echo_the_answer_is_enough", // pushed
    ];
    polling_with_history = Profile::polling_with_history(), not_run = [
        "a_denied_return_is_final", // pushed
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // pushed
        "a_link_given_up_is_taken_up_by_hand", // pushed
        "a_loss_and_the_return_are_told_once", // pushed
        "a_loss_ends_the_stream_once", // pushed
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // FileScans
        "a_renewal_loses_nothing_and_is_no_loss", // Renewal
        "a_request_for_patience_on_connecting_is_obeyed", // pushed
        "a_start_that_is_gone_is_no_obstacle", // pushed
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_ended_chat_is_continued", // Persistent
        "delivery_is_told_by_itself", // DeliveredReceipts
        "fifty_messages_read_make_one_call", // ReadReceipts
        "json_stays_json", // Json
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "the_systems_hint_shortens_a_wait", // pushed
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // pushed
        "without_an_echo_the_answer_is_enough", // pushed
    ];
    push_with_tokens = Profile::push_with_tokens(), not_run = [
        "a_lost_answer_starts_no_second_chat", // IdempotentStart
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_ended_chat_is_continued", // Persistent
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "delivery_is_told_by_itself", // DeliveredReceipts
        "failing_polls_are_counted_in_succession", // Poll
        "fifty_messages_read_make_one_call", // ReadReceipts
        "json_stays_json", // Json
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    polling_with_tokens = Profile::polling_with_tokens(), not_run = [
        "a_denied_return_is_final", // pushed
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // pushed
        "a_link_given_up_is_taken_up_by_hand", // pushed
        "a_loss_and_the_return_are_told_once", // pushed
        "a_loss_ends_the_stream_once", // pushed
        "a_lost_answer_starts_no_second_chat", // IdempotentStart
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // FileScans
        "a_renewal_loses_nothing_and_is_no_loss", // Renewal
        "a_request_for_patience_on_connecting_is_obeyed", // pushed
        "a_start_that_is_gone_is_no_obstacle", // pushed
        "an_ended_chat_is_continued", // Persistent
        "delivery_is_told_by_itself", // DeliveredReceipts
        "fifty_messages_read_make_one_call", // ReadReceipts
        "json_stays_json", // Json
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "the_systems_hint_shortens_a_wait", // pushed
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // pushed
        "without_an_echo_the_answer_is_enough", // pushed
    ];
    minimal = Profile::minimal(), not_run = [
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // History
        "a_file_can_be_deleted", // Upload, DeleteFile
        "a_file_goes_there_and_back", // Upload, Download
        "a_files_url_is_a_secret", // FileUrl
        "a_gap_larger_than_a_page_is_filled", // History
        "a_kept_session_can_be_verified", // Verify
        "a_lost_answer_to_an_upload_doubles_nothing", // Upload
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_notice_reaches_the_centre", // Notice
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_raw_event_reaches_the_centre", // RawEvents
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // Upload, FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "a_start_that_is_gone_is_no_obstacle", // History, HistoryLoss
        "a_typing_preview_reaches_the_agent", // Typing, TypingPreview
        "an_agents_file_can_be_fetched", // Download
        "an_ended_chat_is_continued", // Persistent
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "an_unknown_event_is_told_as_other", // RawEvents
        "default_user_data_yields_to_the_starts", // UserDataBeforeStart
        "delivery_is_told_by_itself", // DeliveredReceipts
        "failing_polls_are_counted_in_succession", // Poll
        "fifty_messages_read_make_one_call", // ReadReceipts
        "files_are_checked_before_they_leave", // Upload
        "history_is_paged_to_its_start", // History
        "history_is_read_from_any_point", // History
        "json_stays_json", // Json
        "live_messages_come_between_while_a_gap_is_filled", // History
        "malformed_user_data_starts_nothing", // UserDataBeforeStart
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "own_typing_is_throttled_and_stops_by_itself", // Typing
        "pushed_urls_and_notices_are_typed", // Notice
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "the_tap_shows_raw_traffic_without_secrets", // RawTap
        "typing_of_others_ends_with_their_message", // Typing
        "typing_of_others_shows_and_expires", // Typing
        "user_data_change_during_the_chat", // UserDataDuringChat
        "verifying_changes_nothing", // Verify
        "verifying_knows_an_ended_chat", // Verify
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // History, GapHints
        "who_joins_sees_the_whole_chat", // Join
    ];
    small_limits = Profile::small_limits(), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_that_ends_slowly = Profile::push().tuned(|p| {
        p.capabilities = p.capabilities.with(Capability::Lingering).with(Capability::FinalTranscript);
        p.request_latency = Duration::from_millis(40);
        p.answer_latency = Duration::from_millis(60);
        p.heartbeat = Some(Duration::from_secs(10));
    }), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "never_two_polls_at_once", // Poll
    ];
    push_that_tells_little = Profile::push_without_idempotency().tuned(|p| {
        p.ack = AckDetail::Nothing;
        p.missing_ids = 3;
        p.capabilities = p.capabilities.without(Capability::MessageIds);
        p.answer_latency = Duration::from_millis(80);
    }), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_receipt_may_come_before_its_message", // MessageIds
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "a_streamed_answer_is_one_message", // MessageIds
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_edit_replaces_the_text_in_place", // MessageIds
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "chunks_in_any_order_are_one_message", // MessageIds
        "delivery_is_told_by_itself", // MessageIds
        "failing_polls_are_counted_in_succession", // Poll
        "fifty_messages_read_make_one_call", // MessageIds
        "history_is_read_from_any_point", // MessageIds
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // MessageIds
        "receipts_can_be_switched_off", // MessageIds
        "receipts_reach_the_sender_and_never_go_back", // MessageIds
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_with_odd_pages = Profile::push().tuned(|p| {
        p.empty_pages = true;
        p.history_inclusive = true;
        p.missing_times = 4;
        p.cursor_valid_for = Some(Duration::from_secs(300));
        p.connection_lifetime = Some(Duration::from_secs(1800));
    }), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_rejected_file_says_so", // FileScans
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    push_by_index_through_a_narrow_channel = Profile::push_without_echo_token().tuned(|p| {
        p.order = Order::Index;
        p.channel_capacity = 1;
        p.capabilities = p.capabilities.with(Capability::FileScans);
        p.request_latency = Duration::from_millis(30);
    }), not_run = [
        "a_poll_is_made_by_hand", // Poll
        "a_poll_is_refused_while_one_is_under_way", // Poll
        "a_poll_without_an_answer_is_no_exception", // Poll
        "a_restore_into_an_offline_server_says_so", // Poll
        "a_silent_server_is_warned_of_in_time", // Poll
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_outage_of_a_polled_chat_is_told_once", // Poll
        "failing_polls_are_counted_in_succession", // Poll
        "messages_arrive_until_the_end", // Lingering
        "never_two_polls_at_once", // Poll
        "the_final_transcript_comes_before_the_end", // FinalTranscript
    ];
    polling_that_is_slow = Profile::polling_with_history().tuned(|p| {
        p.request_latency = Duration::from_millis(700);
        p.answer_latency = Duration::from_millis(900);
    }), not_run = [
        "a_denied_return_is_final", // pushed
        "a_failed_fill_leaves_the_gap_open_and_is_tried_again", // pushed
        "a_link_given_up_is_taken_up_by_hand", // pushed
        "a_loss_and_the_return_are_told_once", // pushed
        "a_loss_ends_the_stream_once", // pushed
        "a_newer_question_replaces_the_older", // InteractiveResponse
        "a_question_is_answered_by_its_choice", // InteractiveResponse
        "a_receipt_may_come_before_its_message", // PeerReceipts
        "a_rejected_file_says_so", // FileScans
        "a_renewal_loses_nothing_and_is_no_loss", // Renewal
        "a_request_for_patience_on_connecting_is_obeyed", // pushed
        "a_start_that_is_gone_is_no_obstacle", // pushed
        "an_echos_token_settles_its_own_send_alone", // EchoToken
        "an_ended_chat_is_continued", // Persistent
        "delivery_is_told_by_itself", // DeliveredReceipts
        "fifty_messages_read_make_one_call", // ReadReceipts
        "json_stays_json", // Json
        "markdown_stays_markdown", // Markdown
        "messages_arrive_until_the_end", // Lingering
        "one_tab_never_settles_anothers_send", // IdempotentSend
        "reading_says_delivered_too", // ReadReceipts
        "receipts_can_be_switched_off", // ReadReceipts
        "receipts_reach_the_sender_and_never_go_back", // PeerReceipts
        "the_final_transcript_comes_before_the_end", // FinalTranscript
        "the_systems_hint_shortens_a_wait", // pushed
        "what_vanishes_unnoticed_is_fetched_on_a_hint", // pushed
        "without_an_echo_the_answer_is_enough", // pushed
    ];
}
