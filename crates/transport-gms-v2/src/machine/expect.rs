//! Owns which message of the chat channel answers which operation: the service gives no correlation (§9.2), so that one operation
//! at a time waits, and is answered by what shows its effect.

use crate::{
    machine::Own,
    wire::{EventType, Reply, StatusCode, TranscriptEvent},
};

/// What the answer to the operation under way must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A chat: its key.
    Started,
    /// The own message with this `messageType`.
    Message {
        /// With its token.
        message_type: String,
    },
    /// An own message with this text at this index or later: all there is to go by without a token.
    Text {
        /// As sent.
        text: String,
        /// The cursor when it was sent.
        from: u64,
    },
    /// An own event of this kind with this text (if it matters), or an answer that brings no events at all.
    Event {
        /// What the operation makes.
        kind: EventType,
        /// As sent.
        text: Option<String>,
    },
    /// A piece of the transcript from `from` on, of which everything before `read_to` was read: pushes are never so old.
    Replay {
        /// As asked.
        from: u64,
        /// The cursor when it was asked.
        read_to: u64,
    },
    /// The end of the chat.
    End,
    /// Any good answer.
    Any,
    /// Any answer that brings no events.
    Nothing,
}

impl Expect {
    /// Whether `reply` answers the one operation that waits. Failures do, whatever they are about: nothing else is under way.
    pub(crate) fn is_met(&self, own: &Own, reply: &Reply) -> bool {
        let failed = matches!(reply.status_code, Some(StatusCode::Failed | StatusCode::Transient))
            || reply.status_code.is_none() && !reply.errors.is_empty();
        if failed {
            return true;
        }
        let events = reply.events();
        let by_us = |event: &&TranscriptEvent| own.sent(event) != Some(false);
        match self {
            Self::Started => reply.identity.secure_key.is_some(),
            Self::Message { message_type } => {
                events.iter().filter(by_us).any(|event| event.message_type.as_deref() == Some(message_type))
            }
            Self::Text { text, from } => events.iter().filter(by_us).any(|event| {
                event.kind == Some(EventType::Message)
                    && event.text.as_deref() == Some(text)
                    && event.index.is_some_and(|index| index >= *from)
            }),
            Self::Event { kind, text } => {
                events.is_empty()
                    || events.iter().filter(by_us).any(|event| {
                        event.kind.as_ref() == Some(kind)
                            && (text.is_none() || event.text.as_deref() == text.as_deref())
                    })
            }
            Self::Replay { from, read_to } => {
                let mut indexes = events.iter().filter_map(|event| event.index);
                // With nothing read before, whatever comes is what was asked for, or is followed by it.
                events.is_empty()
                    || read_to <= from
                    || indexes.any(|index| (*from..*read_to).contains(&index))
            }
            Self::Any => true,
            Self::End => reply.chat_ended == Some(true),
            Self::Nothing => events.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(events: &str) -> Reply {
        Reply::read(&format!(r#"{{"statusCode":0,"messages":[{events}]}}"#)).unwrap()
    }

    fn message(index: u64, id: u64, text: &str, message_type: &str) -> String {
        format!(
            r#"{{"index":{index},"type":"Message","text":"{text}","messageType":"{message_type}","from":{{"participantId":{id},"type":"Client"}}}}"#
        )
    }

    #[test]
    fn a_send_is_answered_by_its_echo_alone() {
        let own = Own::known(Some(1));
        let expect = Expect::Message { message_type: "text;token=a".into() };
        assert!(expect.is_met(&own, &reply(&message(7, 1, "hi", "text;token=a"))));
        for other in [
            message(7, 1, "hi", "text;token=b"),
            message(7, 1, "hi", "text"),
            message(7, 2, "hi", "text;token=a"),
            String::new(),
        ] {
            assert!(!expect.is_met(&own, &reply(&other)), "{other}");
        }
        let expect = Expect::Text { text: "hi".into(), from: 5 };
        assert!(expect.is_met(&own, &reply(&message(5, 1, "hi", "text"))));
        assert!(!expect.is_met(&own, &reply(&message(4, 1, "hi", "text"))), "an older one");
        assert!(!expect.is_met(&own, &reply(&message(5, 2, "hi", "text"))), "somebody else's");
    }

    #[test]
    fn a_piece_of_the_transcript_is_told_from_news_by_what_was_read_before() {
        let own = Own::known(Some(1));
        let expect = Expect::Replay { from: 3, read_to: 7 };
        for answer in ["", r#"{"index":4},{"index":7}"#, r#"{"index":3}"#] {
            assert!(expect.is_met(&own, &reply(answer)), "{answer}");
        }
        for news in [r#"{"index":7}"#, r#"{"index":8},{"index":9}"#, r#"{"type":"Notice"}"#] {
            assert!(!expect.is_met(&own, &reply(news)), "{news}");
        }
        assert!(Expect::Replay { from: 7, read_to: 7 }.is_met(&own, &reply(r#"{"index":9}"#)));
        assert!(Expect::Any.is_met(&own, &reply(r#"{"index":9}"#)));
    }

    #[test]
    fn a_failure_answers_whatever_waits_and_a_push_answers_nothing_else() {
        let own = Own::known(Some(1));
        let push =
            reply(r#"{"index":8,"type":"Message","text":"Hi","from":{"participantId":2,"type":"Agent"}}"#);
        let failure = Reply::read(r#"{"statusCode":2,"chatEnded":true}"#).unwrap();
        for (expect, answer) in [
            (Expect::Started, r#"{"statusCode":0,"secureKey":"k"}"#),
            (Expect::End, r#"{"statusCode":0,"chatEnded":true}"#),
            (Expect::Nothing, r#"{"statusCode":0}"#),
            (
                Expect::Event { kind: EventType::TypingStarted, text: None },
                r#"{"statusCode":0,"messages":[]}"#,
            ),
            (
                Expect::Event { kind: EventType::PushUrl, text: Some("u".into()) },
                r#"{"statusCode":0,"messages":[{"type":"PushUrl","text":"u","from":{"participantId":1,"type":"Client"}}]}"#,
            ),
        ] {
            assert!(expect.is_met(&own, &Reply::read(answer).unwrap()), "{expect:?}");
            assert!(expect.is_met(&own, &failure), "{expect:?}");
            assert!(!expect.is_met(&own, &push), "{expect:?}");
        }
    }
}
