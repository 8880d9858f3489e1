//! Owns the list of cases: the tests, the table and the report come from it.

mod contract;

use crate::case::{Case, Needs};

/// Makes of one list the table of cases and the macro that makes tests of them. An entry:
/// `name "what must be so" [capabilities] [powers] hours;`, the last word where only virtual time will do.
macro_rules! cases {
    ($d:tt $($topic:ident {
        $($id:ident $what:literal [$($capability:ident)*] [$($power:ident)*] $($hours:ident)?;)*
    })*) => {
        /// All cases.
        pub const CASES: &[Case] = &[$($(
            Case::new(
                stringify!($id),
                stringify!($topic),
                $what,
                Needs::new(
                    &[$(chat_core::Capability::$capability),*],
                    &[$(crate::harness::Power::$power),*],
                    false $(|| hours!($hours))?,
                ),
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

macro_rules! hours {
    (hours) => {
        true
    };
}

cases! { $
    contract {
        nothing_starts_before_the_first_poll "Nothing starts before `connect` is polled." [Start] [];
        an_abandoned_connect_leaves_nothing "Dropping `connect` at any moment leaves no connection." [Start] [];
        capabilities_are_known_before_connecting "Name and capabilities are there without any I/O." [Start] [];
        what_comes_during_connect_waits "What arrives before the stream is read waits in it, in order." [Start] [];
        a_full_channel_never_blocks_connect "A connection to a chat with more messages than the channel holds is made all the same." [Start Restore] [];
        a_full_channel_stops_no_command "While nobody reads, commands are carried out and answered." [Start] [];
        a_full_channel_loses_nothing "A reader that comes late gets everything, in order." [Start] [];
        leaving_ends_the_stream_once "`Leave { end: false }`: one terminal, `Left`, last; the chat goes on." [Start] [];
        ending_ends_the_stream_once "`Leave { end: true }`: one terminal, ended by us, last; the chat is over." [Start] [];
        a_loss_ends_the_stream_once "A lost connection has one terminal, `Lost`, last." [Start] [Cut];
        an_end_at_the_centre_ends_the_stream_once "The chat's end has one terminal, last, behind all messages." [Start] [];
        a_dropped_stream_closes_the_connection "Dropping the stream closes the connection and does not end the chat." [Start Restore] [];
        own_messages_are_reported "An own message is sighted as own, on the same connection and on another one." [Start Restore] [];
        a_command_after_the_terminal_does_nothing "A command after the terminal fails, not sent, and reaches nobody." [Start] [];
        commands_under_way_resolve_by_themselves "A command whose connection is lost resolves, not sent or unknown." [Start] [Cut Delay];
        verifying_changes_nothing "`verify` says whether a chat exists, and nobody notices." [Start Verify] [];
        verifying_knows_an_ended_chat "`verify` says that an ended chat is gone." [Start Verify] [];
    }
}
