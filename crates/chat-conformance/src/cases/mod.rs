//! Owns the list of cases: the tests, the table and the report come from it.

mod contract;
mod faults;
mod files;
mod lifecycle;
mod receiving;
mod sending;
mod transcript;

use crate::case::{Case, Needs};

/// Makes of one list the table of cases and the macro that makes tests of them. An entry:
/// `name "what must be so" [capabilities] words;`. The words are [`Needs`]' own: `pushed`, `shaped`, `hours`.
macro_rules! cases {
    ($d:tt $($topic:ident {
        $($id:ident $what:literal [$($capability:ident)*] $($word:ident)*;)*
    })*) => {
        /// All cases.
        pub const CASES: &[Case] = &[$($(
            Case::new(
                stringify!($id),
                stringify!($topic),
                $what,
                Needs::all_of(&[$(chat_core::Capability::$capability),*])$(.$word())*,
                |world| Box::pin($topic::$id(world)),
            ),
        )*)*];

        #[doc(hidden)]
        #[macro_export]
        macro_rules! __each_case {
            ($d harness:path) => {
                $($(
                    #[doc = $what]
                    #[test]
                    fn $id() {
                        $d crate::__test(stringify!($id), $d harness);
                    }
                )*)*
            };
        }
    };
}

cases! { $
    contract {
        nothing_starts_before_the_first_poll "Nothing starts before `connect` is polled." [Start];
        an_abandoned_connect_leaves_nothing "Dropping `connect` at any moment leaves no connection." [Start];
        capabilities_are_known_before_connecting "Name and capabilities are there without any I/O." [Start];
        what_comes_during_connect_waits "What arrives before the stream is read waits in it, in order." [Start];
        a_full_channel_never_blocks_connect "A connection to a chat with more messages than the channel holds is made all the same." [Start Restore];
        a_full_channel_stops_no_command "While nobody reads, commands are carried out and answered." [Start];
        a_full_channel_loses_nothing "A reader that comes late gets everything, in order." [Start];
        leaving_ends_the_stream_once "`Leave { end: false }`: one terminal, `Left`, last; the chat goes on." [Start];
        ending_ends_the_stream_once "`Leave { end: true }`: one terminal, ended by us, last; the chat is over." [Start];
        a_loss_ends_the_stream_once "A lost connection has one terminal, `Lost`, last." [Start Restore] pushed;
        an_end_at_the_centre_ends_the_stream_once "The chat's end has one terminal, last, behind all messages." [Start];
        a_dropped_stream_closes_the_connection "Dropping the stream closes the connection and does not end the chat." [Start Restore];
        own_messages_are_reported "An own message is sighted as own, on the same connection and on another one." [Start Restore];
        a_command_after_the_terminal_does_nothing "A command after the terminal fails, not sent, and reaches nobody." [Start];
        commands_under_way_resolve_by_themselves "A command whose connection is lost resolves, not sent or unknown." [Start Restore] shaped;
        verifying_changes_nothing "`verify` says whether a chat exists, and nobody notices." [Start Verify];
        verifying_knows_an_ended_chat "`verify` says that an ended chat is gone." [Start Verify];
    }
    lifecycle {
        a_chat_begins_under_the_given_name "A chat begins, and the customer is in it under the given name." [Start];
        default_user_data_yields_to_the_starts "Default user data are merged under those of the start." [Start UserDataBeforeStart];
        malformed_user_data_starts_nothing "Malformed or too large user data are refused before anything is sent." [Start UserDataBeforeStart];
        user_data_change_during_the_chat "User data change during the chat." [Start UserDataDuringChat];
        who_joins_sees_the_whole_chat "Who joins with credentials sees the whole chat." [Start Join];
        a_second_start_under_one_key_is_refused "A second start under one store key is refused; another key is free." [Start];
        two_starts_at_once_are_one_chat "Of two starts at once under one key, one goes through." [Start];
        a_lost_answer_starts_no_second_chat "A start whose answer is lost is repeated as the same start." [Start IdempotentStart];
        a_start_that_is_denied_fails_at_once "A denied start fails at once, and can be tried again." [Start];
        a_start_without_a_network_fails_after_a_few_attempts "Without a network, a start fails after a few attempts." [Start];
        an_end_by_us_is_told_once_and_closes_the_session "After `end`, the end is told once, and everything else is refused." [Start];
        an_end_by_the_service_is_told_once "The service's end is told once, behind all messages." [Start];
        messages_arrive_until_the_end "After `end`, messages arrive until the centre's own end." [Start Lingering];
        who_left_can_come_back "Leaving does not end the chat; a restore brings what came meanwhile." [Start Restore];
        a_restore_fetches_what_was_missed "A restore in another process fetches what was missed." [Start Restore];
        a_restore_sends_what_was_accepted "A restore sends, once and in order, what an earlier process had accepted." [Start Restore];
        a_lost_answer_is_settled_after_a_restore "A send whose answer an earlier process never got is stored once." [Start Restore];
        an_answer_that_never_came_is_settled_after_a_restore "A send that an earlier process gave up waiting for is stored once." [Start Restore];
        restores_are_refused_in_three_ways "Restoring nothing, while active, and twice at once are three different errors." [Start Restore];
        a_lost_session_is_forgotten "A session that the vendor no longer knows is reported lost and no longer kept." [Start Restore Denials];
        restoring_an_ended_chat_says_so "Restoring a chat that has ended meanwhile says so, and it is no longer kept." [Start Restore];
        session_data_are_kept_from_start_to_end "Session data are kept from the start, and forgotten at the end." [Start];
        changed_session_data_are_saved "Changed session data are saved." [Start ChangingCredentials];
        a_kept_session_can_be_verified "A kept session can be verified without opening it." [Start Verify];
        a_link_given_up_is_taken_up_by_hand "A link that gave up is taken up by hand, and what was missed is filled in." [Start Restore] pushed;
        two_tabs_see_everything_once "Two tabs of one participant see everything once; both tabs' messages are own." [Start Restore];
        one_tab_never_settles_anothers_send "The same text sent by two tabs, one of them unanswered, is two messages." [Start Restore IdempotentSend];
        an_echos_token_settles_its_own_send_alone "The same text sent by two tabs, one of them stored or not and unanswered, is two messages: echoes tell whose they are." [Start Restore EchoToken];
        the_last_handle_closes_and_the_chat_goes_on "Dropping the last handle closes the connection, not the chat." [Start];
        what_was_accepted_leaves_before_the_close "What was accepted is sent before the connection closes." [Start];
        an_end_while_away_is_told_once "An end while the connection was down is told, once." [Start Restore];
        the_final_transcript_comes_before_the_end "Coming back to an ended chat brings its last messages, then the end." [Start Restore FinalTranscript];
        an_ended_chat_is_continued "A chat that continues an ended one shows both, in order." [Start Persistent];
        the_roster_follows_who_comes_and_goes "Participants, agents connected and statistics follow who comes and goes." [Start];
        many_chats_run_over_one_transport "One transport runs many chats, and mixes nothing up." [Start];
    }
    sending {
        a_text_stands_at_once_and_is_stored_once "A text stands at once, is replaced in place by the centre's copy, and is stored once." [Start];
        an_empty_text_is_refused "An empty text is refused before anything is sent." [Start];
        the_longest_text_passes_and_a_longer_one_is_refused "The longest text passes; a longer one is refused with limit and unit." [Start];
        markdown_stays_markdown "Markdown arrives as Markdown." [Start Markdown];
        json_stays_json "JSON arrives as JSON." [Start Json];
        metadata_come_back_with_the_answer "The caller's metadata come back with the answer." [Start];
        messages_leave_in_order "Messages leave one after the other, in order." [Start];
        the_same_text_twice_is_two_messages "The same text sent twice is two messages." [Start];
        a_dropped_future_changes_nothing "Dropping the future of a send changes nothing." [Start];
        an_answer_lost_with_the_connection_doubles_nothing "A send stored and cut before the answer is stored once." [Start Restore];
        an_error_after_storing_doubles_nothing "A send stored and answered with a time-out is stored once." [Start];
        a_request_that_never_arrived_is_repeated "A send that failed underway is repeated until stored." [Start];
        an_echo_before_the_answer_is_the_same_message "An echo that comes before the answer is the same message." [Start];
        an_answer_before_the_echo_is_the_same_message "An answer that comes before the echo is the same message." [Start] shaped;
        without_an_echo_the_answer_is_enough "Without an echo, the answer is enough." [Start] pushed;
        what_waits_leaves_in_order_behind_the_gap "What is sent while cut off leaves in order, behind what was missed." [Start Restore];
        what_waits_can_be_taken_back "What waits can be taken back." [Start Restore];
        a_refused_message_is_kept_and_can_be_retried "A refused message is kept, and a retry sends it once." [Start];
        one_failure_is_not_blamed_on_another_message "One failed send is not blamed on another." [Start];
        a_server_that_asks_for_patience_gets_it "`Retry-After` is obeyed by all sends." [Start] hours;
        revoked_credentials_keep_what_was_accepted "Revoked credentials keep what was accepted; new ones send it." [Start Restore RevocableCredentials];
        an_end_while_sending_keeps_the_text "An end while sending: the caller is told, and the text is kept." [Start] shaped;
        fifty_messages_read_make_one_call "Fifty messages read within a window make one call, for the newest." [Start ReadReceipts MessageIds] hours;
        delivery_is_told_by_itself "A message that arrives is told delivered by itself." [Start DeliveredReceipts MessageIds];
        reading_says_delivered_too "Reading suppresses the delivered receipt, and nothing is told twice." [Start ReadReceipts MessageIds] hours;
        receipts_can_be_switched_off "Receipts can be switched off." [Start ReadReceipts MessageIds] hours;
        receipts_reach_the_sender_and_never_go_back "Receipts reach the sender, up to the message read, and never go back." [Start PeerReceipts MessageIds];
        own_typing_is_throttled_and_stops_by_itself "Own typing is told once for many keys, and stops by itself." [Start Typing] hours;
        a_typing_preview_reaches_the_agent "A typing preview reaches the agent." [Start Typing TypingPreview];
        a_raw_event_reaches_the_centre "A raw event reaches the centre; one of a type that it does not take is refused before it leaves." [Start RawEvents];
        a_notice_reaches_the_centre "A notice reaches the centre." [Start Notice];
        filters_hide_from_people_alone "Filtered messages stay out of the display and in the full view; bad filters are refused." [Start];
        filters_survive_a_restore "Filters survive a restore." [Start Restore];
        a_preprocessor_rewrites_once_a_version "A preprocessor rewrites each version once; the original is kept." [Start];
    }
    files {
        a_file_goes_there_and_back "A file is sent with progress, and fetched again byte by byte." [Start Upload Download];
        files_are_checked_before_they_leave "Files are checked against the limits before they leave." [Start Upload];
        a_lost_answer_to_an_upload_doubles_nothing "An upload whose answer is lost is stored once." [Start Restore Upload];
        an_agents_file_can_be_fetched "An agent's file can be fetched; an unknown one is an error." [Start Download];
        a_files_url_is_a_secret "A file's URL can be had, and shows in no output." [Start FileUrl];
        a_rejected_file_says_so "A file that its scan rejects says so, on the same row." [Start Upload FileScans];
        a_file_can_be_deleted "A file can be deleted." [Start Upload DeleteFile];
    }
    receiving {
        every_reader_gets_everything "Every reader, early or late, can rebuild the transcript." [Start];
        a_slow_reader_misses_and_nobody_waits "A slow reader learns how much it missed, with a snapshot; others never wait." [Start];
        a_late_reader_begins_with_the_transcript "A late reader's first event is the transcript as it stands." [Start];
        messages_are_announced_with_their_session "Messages are announced with sender and session." [Start];
        typing_of_others_shows_and_expires "Typing of others shows, and expires if the stop is lost." [Start Typing] hours;
        typing_of_others_ends_with_their_message "Typing of others ends with their message." [Start Typing];
        a_streamed_answer_is_one_message "An answer in pieces is one message from first to last." [Start Streaming MessageIds];
        an_edit_replaces_the_text_in_place "An edited text is replaced in place." [Start Edits MessageIds];
        the_chat_goes_on_after_a_transfer "After a transfer the chat goes on, and the transfer is told." [Start SystemEvents];
        an_unknown_item_stands_as_other "An item of unknown type stands as `Other`, with its raw body." [Start];
        an_unknown_event_is_told_as_other "A vendor event of unknown type is told as `Other`." [Start RawEvents];
        pushed_urls_and_notices_are_typed "Pushed URLs and notices are typed." [Start Notice];
        a_question_is_answered_by_its_choice "A question's choice brings its own answer." [Start InteractiveResponse];
        a_newer_question_replaces_the_older "A newer question of the same reference replaces the older in the display." [Start InteractiveResponse];
        the_place_in_the_queue_is_told "The place in the queue is told." [Start QueuePosition];
        deep_heartbeats_are_told_with_the_last_good_one "Deep heartbeats are told, with the time of the last good one." [Start DeepHeartbeat];
        authentication_steps_are_told "Authentication steps are told with their session." [Start SystemEvents];
        idling_and_coming_back_are_told "Idling and coming back are told." [Start SystemEvents];
        a_new_name_is_known "A new name is known." [Start];
        supervisors_count_as_agents "Supervisors count as agents, bots do not." [Start];
        the_tap_shows_raw_traffic_without_secrets "The tap shows raw traffic, without secrets." [Start RawTap];
        without_a_tap_no_raw_traffic_is_told "Without a tap, no raw traffic is told." [Start];
        a_poll_is_made_by_hand "Polling can be stopped, made by hand, and started again." [Start Poll];
        a_poll_is_refused_while_one_is_under_way "A poll by hand is refused while one is under way." [Start Poll];
        never_two_polls_at_once "There are never two polls at once." [Start Poll];
    }
    transcript {
        what_is_told_again_stands_once "What is told several times stands once." [Start];
        what_overtakes_is_put_in_order "What arrives out of order is put in order." [Start];
        what_was_missed_is_filled_in_once_and_in_order "0, 1, 15, 99, 100, 101 or 250 messages missed are filled in, once, in order." [Start Restore];
        a_gap_larger_than_a_page_is_filled "A gap of many pages is filled." [Start Restore History];
        live_messages_come_between_while_a_gap_is_filled "Live messages that come while a gap is filled stand behind it." [Start Restore History];
        what_vanishes_unnoticed_is_fetched_on_a_hint "What vanished is fetched when the vendor hints at it." [Start History GapHints] pushed;
        a_failed_fill_leaves_the_gap_open_and_is_tried_again "A failed fill leaves the gap open, is told, and is tried again." [Start Restore History] pushed;
        a_start_that_is_gone_is_no_obstacle "A start position that the centre has forgotten is no obstacle." [Start Restore History HistoryLoss] pushed;
        system_events_stay_out_of_the_display "System events are in the full view, not in the display." [Start];
        history_is_paged_to_its_start "History is paged to its start: then there is no more, however often asked." [Start Restore History];
        history_is_read_from_any_point "History is read from any point, both ways." [Start History MessageIds];
        an_export_imports_to_the_same "An export imports to the same transcript." [Start];
        a_wrong_clock_changes_nothing "A client clock that is wrong by decades changes nothing." [Start];
        chunks_in_any_order_are_one_message "Pieces in any order are one message." [Start Streaming MessageIds];
        a_receipt_may_come_before_its_message "A receipt may come before its message." [Start PeerReceipts MessageIds];
        hostile_text_comes_through_untouched "Markup, escapes and odd characters come through untouched, both ways." [Start];
    }
    faults {
        a_loss_and_the_return_are_told_once "A loss, the failing attempts and the return are each told once." [Start Restore] pushed;
        a_half_open_connection_is_found "A half-open connection is found, and what it swallowed is fetched." [Start Restore] shaped hours;
        a_send_into_a_half_open_connection_arrives_once "A send into a half-open connection arrives once." [Start Restore] shaped hours;
        a_flapping_link_loses_nothing_and_storms_nobody "A flapping link loses nothing and makes no storm." [Start Restore] hours;
        a_renewal_loses_nothing_and_is_no_loss "A connection is replaced before its time, without loss, once." [Start Restore Renewal] hours;
        a_denied_return_is_final "A denied return is final until asked for by hand." [Start Restore Denials] pushed hours;
        hours_without_a_network_are_survived "Hours without a network: then everything is fetched and sent." [Start Restore] hours;
        the_systems_hint_shortens_a_wait "The system's hint that the network is back shortens a wait." [Start Restore] pushed hours;
        a_request_for_patience_on_connecting_is_obeyed "`Retry-After` on connecting is obeyed, whatever the system hints." [Start Restore] pushed hours;
        an_end_at_any_moment_is_told_once "An end at any moment of a send is told once; the text is kept." [Start];
        abandoned_calls_tear_nothing "Calls dropped at any moment tear nothing." [Start];
        what_is_denied_is_refused_before_the_wire "What the capabilities deny is refused by name, and nothing is sent." [Start];
        failing_polls_are_counted_in_succession "Failing polls: pending at the first, offline once past the limit, both back." [Start Poll];
        a_poll_without_an_answer_is_no_exception "Polls without an answer: disconnected once, and no exception." [Start Poll];
        an_outage_of_a_polled_chat_is_told_once "An outage of a polled chat is told once; what waits is sent behind it." [Start Poll] hours;
        a_restore_into_an_offline_server_says_so "Restored while the chat server is offline: told, and again when it is back." [Start Restore Poll] hours;
        a_silent_server_is_warned_of_in_time "Before the server gives a silent chat up, readers are warned, once." [Start Poll] hours;
        everything_at_once_still_comes_right "Duplicates, disorder and losses together still come right." [Start Restore];
    }
}
