//! The outbox over a store, killed at any point: what was stored is sent once, in order, or reported as failed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use chat_core::{
    Delivery, Error, ErrorKind, Outbox, OutboxAction, OutboxInput, OutboxPolicy, OutgoingBody, Sent,
    StoredBody, StoredSend, Text,
};
use proptest::prelude::*;
use tokio::time::Instant;

const SETTLE: Duration = Duration::from_secs(10);

/// What fate does next. When it has run out, all goes well.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Good,
    /// The process dies before the step has an effect outside.
    DieBefore,
    /// The process dies after the effect, before it hears of it.
    DieAfter,
    /// The step fails without an effect.
    FailBefore,
    /// The step has its effect, but the answer is lost.
    FailAfter,
}

/// What outlives the process.
struct World {
    idempotent: bool,
    now: Instant,
    stored: Vec<StoredSend>,
    was_stored: BTreeSet<String>,
    /// Token, text and when it can be seen, in order of arrival.
    vendor: Vec<(String, String, Instant)>,
    reported_failed: BTreeSet<String>,
    fates: std::vec::IntoIter<Fate>,
    echo_delays: fastrand::Rng,
}

impl World {
    fn fate(&mut self) -> Fate {
        self.fates.next().unwrap_or(Fate::Good)
    }

    /// One process: from what is stored until nothing is left to do (`true`) or it dies.
    fn run(&mut self, messages: &mut VecDeque<String>) -> bool {
        let mut policy = OutboxPolicy::default();
        policy.durable = true;
        policy.idempotent = self.idempotent;
        policy.settle_within = SETTLE;
        let mut outbox = Outbox::new(policy, 1);
        let mut tokens = BTreeMap::new();
        for send in &self.stored {
            let StoredBody::Text(text) = &send.body else { unreachable!("only texts are sent here") };
            tokens.insert(send.token.clone(), text.body.to_string());
        }
        let mut actions: VecDeque<_> = outbox.restore(self.now, self.stored.clone()).into();
        actions.extend(outbox.handle(self.now, OutboxInput::Released));
        loop {
            let Some(action) = actions.pop_front() else {
                if let Some(text) = messages.pop_front() {
                    let body = OutgoingBody::Text(Text::plain(text.clone()));
                    let (token, more) = outbox.push(self.now, body).expect("there is room");
                    tokens.insert(token, text);
                    actions.extend(more);
                } else if let Some(at) = outbox.deadline() {
                    self.now = self.now.max(at);
                    actions.extend(outbox.handle(self.now, OutboxInput::Tick));
                } else {
                    assert!(outbox.is_empty(), "it would wait for ever");
                    return true;
                }
                continue;
            };
            let input = match action {
                OutboxAction::Persist { version } => {
                    let fate = self.fate();
                    if matches!(fate, Fate::DieBefore) {
                        return false;
                    }
                    if matches!(fate, Fate::FailBefore) {
                        let error = Error::new(ErrorKind::StoreUnavailable, "");
                        OutboxInput::StoreFailed { version, error }
                    } else {
                        self.stored = outbox.stored();
                        self.was_stored.extend(self.stored.iter().map(|send| tokens[&send.token].clone()));
                        if matches!(fate, Fate::DieAfter) {
                            return false;
                        }
                        OutboxInput::Saved { version }
                    }
                }
                OutboxAction::Send(outgoing) => {
                    let fate = self.fate();
                    if matches!(fate, Fate::DieBefore) {
                        return false;
                    }
                    let (token, attempt) = (outgoing.token, outgoing.attempt);
                    if !matches!(fate, Fate::FailBefore) {
                        let known = self.vendor.iter().any(|(other, ..)| other == token.as_str());
                        if !(known && self.idempotent) {
                            let seen = self.now + SETTLE.mul_f64(self.echo_delays.f64());
                            self.vendor.push((token.as_str().into(), tokens[&token].clone(), seen));
                        }
                    }
                    match fate {
                        Fate::DieAfter => return false,
                        Fate::Good => OutboxInput::Acked { token, attempt, sent: Sent::default() },
                        _ => OutboxInput::Failed {
                            token,
                            attempt,
                            error: Error::new(ErrorKind::Timeout, "").with_delivery(Delivery::Unknown),
                        },
                    }
                }
                OutboxAction::Settle { token, .. } => {
                    let found = self
                        .vendor
                        .iter()
                        .any(|(other, _, seen)| other == token.as_str() && *seen <= self.now);
                    OutboxInput::SettleDone { token, found }
                }
                OutboxAction::Done { token, result } => {
                    if result.is_err() {
                        self.reported_failed.insert(tokens[&token].clone());
                    }
                    continue;
                }
                _ => continue,
            };
            actions.extend(outbox.handle(self.now, input));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_stored_is_sent_once_in_order_or_reported_as_failed(
        idempotent in any::<bool>(),
        fates in prop::collection::vec(
            prop_oneof![
                4 => Just(Fate::Good),
                1 => Just(Fate::DieBefore),
                1 => Just(Fate::DieAfter),
                1 => Just(Fate::FailBefore),
                1 => Just(Fate::FailAfter),
            ],
            0..40,
        ),
        seed in any::<u64>(),
    ) {
        let mut world = World {
            idempotent,
            now: Instant::now(),
            stored: Vec::new(),
            was_stored: BTreeSet::new(),
            vendor: Vec::new(),
            reported_failed: BTreeSet::new(),
            fates: fates.into_iter(),
            echo_delays: fastrand::Rng::with_seed(seed),
        };
        let mut messages: VecDeque<_> = (0..6).map(|number| number.to_string()).collect();
        while !world.run(&mut messages) {}
        let arrived: Vec<_> = world.vendor.iter().map(|(_, text, _)| text.clone()).collect();
        let mut once = arrived.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(&arrived, &once, "in order, and none twice");
        for text in &world.was_stored {
            prop_assert!(
                arrived.contains(text) || world.reported_failed.contains(text),
                "{} was stored and is nowhere", text
            );
        }
        for text in &arrived {
            prop_assert!(world.was_stored.contains(text), "{text} left before it was stored");
        }
    }
}

/// Files cannot be sent again by another process: they are reported, not forgotten, and not sent as something else.
#[test]
fn a_file_of_an_earlier_process_is_reported_as_failed() {
    let now = Instant::now();
    let mut before = Outbox::new(OutboxPolicy::default(), 1);
    let file = chat_core::Upload::from_bytes("notes.txt", "text/plain", "abc");
    let (token, _) = before.push(now, OutgoingBody::File(file)).unwrap();
    let (text, _) = before.push(now, OutgoingBody::Text(Text::plain("after"))).unwrap();
    let json = serde_json::to_string(&before.stored()).unwrap();
    let mut after = Outbox::new(OutboxPolicy::default(), 1);
    let actions = after.restore(now, serde_json::from_str(&json).unwrap());
    assert!(actions.iter().any(|action| matches!(
        action,
        OutboxAction::Done { token: failed, result: Err(error) }
            if *failed == token && *error.kind() == ErrorKind::Io && error.delivery() == Delivery::NotSent
    )));
    assert_eq!(*after.retry(now, &token).unwrap_err().kind(), ErrorKind::Io);
    let actions = after.handle(now, OutboxInput::Released);
    assert!(matches!(&actions[..], [.., OutboxAction::Send(outgoing)] if outgoing.token == text));
}

#[test]
fn what_waits_too_long_expires_but_what_has_left_does_not() {
    let now = Instant::now();
    let mut policy = OutboxPolicy::default();
    policy.ttl = Some(Duration::from_secs(60));
    let mut outbox = Outbox::new(policy, 1);
    outbox.handle(now, OutboxInput::Released);
    let push = |outbox: &mut Outbox| outbox.push(now, OutgoingBody::Text(Text::plain("x"))).unwrap().0;
    let first = push(&mut outbox);
    let second = push(&mut outbox);
    assert_eq!(outbox.deadline(), Some(now + Duration::from_secs(60)));
    let actions = outbox.handle(now + Duration::from_secs(60), OutboxInput::Tick);
    let done: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            OutboxAction::Done { token, result: Err(error) } => Some((token, error.kind())),
            _ => None,
        })
        .collect();
    assert_eq!(done, [(&second, &ErrorKind::Expired)]);
    assert_eq!(outbox.unsettled(), Some(&first));
}

/// A connection to a vendor that swallows repeats, then one to a vendor that does not.
#[test]
fn what_may_be_there_is_looked_for_when_repeats_are_not_swallowed_any_more() {
    let mut now = Instant::now();
    let mut policy = OutboxPolicy::default();
    policy.idempotent = true;
    let mut outbox = Outbox::new(policy, 1);
    outbox.handle(now, OutboxInput::Released);
    let (token, _) = outbox.push(now, OutgoingBody::Text(Text::plain("x"))).unwrap();
    let fail =
        |attempt, kind| OutboxInput::Failed { token: token.clone(), attempt, error: Error::new(kind, "") };
    outbox.handle(now, fail(0, ErrorKind::Timeout));
    now = outbox.deadline().unwrap();
    outbox.handle(now, OutboxInput::Tick);
    outbox.set_vendor(false, SETTLE);
    let actions = outbox.handle(now, fail(1, ErrorKind::Network));
    assert!(
        matches!(&actions[..], [.., OutboxAction::Settle { token: asked, .. }] if *asked == token),
        "{actions:?}"
    );
}

/// Whoever sent it was told that it may be sent again: another process must not do so, too.
#[test]
fn what_was_given_up_is_not_sent_by_another_process() {
    let now = Instant::now();
    let mut policy = OutboxPolicy::default();
    policy.idempotent = true;
    let mut before = Outbox::new(policy.clone(), 1);
    before.handle(now, OutboxInput::Released);
    let (token, _) = before.push(now, OutgoingBody::Text(Text::plain("x"))).unwrap();
    before.give_up(now, &token).unwrap();
    let mut after = Outbox::new(policy, 1);
    after.restore(now, before.stored());
    let actions = after.handle(now, OutboxInput::Released);
    assert!(!actions.iter().any(|action| matches!(action, OutboxAction::Send(_))), "{actions:?}");
    assert!(after.retry(now, &token).is_ok(), "it is kept for a retry by hand");
}
