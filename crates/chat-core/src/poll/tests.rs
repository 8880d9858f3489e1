use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn good() -> PollInput {
    PollInput::Answered { class: PollClass::Good, retry_after: None }
}

fn failed(class: PollClass) -> PollInput {
    PollInput::Answered { class, retry_after: None }
}

fn events(actions: Vec<PollAction>) -> Vec<PollEvent> {
    actions
        .into_iter()
        .filter_map(|action| match action {
            PollAction::Publish(event) => Some(event),
            PollAction::PollNow => None,
        })
        .collect()
}

/// A loop that runs over a connection, with its first poll under way.
fn running(policy: PollPolicy, now: Instant) -> Poll {
    let mut poll = Poll::new(policy, 1);
    assert_eq!(poll.handle(now, PollInput::Released), []);
    assert_eq!(
        poll.handle(now, PollInput::Start),
        [PollAction::Publish(PollEvent::PollingStarted), PollAction::PollNow]
    );
    poll
}

/// Answers the poll that is under way at once, and waits for the next; gives how long that took.
fn beat(poll: &mut Poll, now: &mut Instant, answer: PollInput) -> Duration {
    let begun = *now;
    poll.handle(*now, answer);
    loop {
        *now = poll.deadline().unwrap();
        if poll.handle(*now, PollInput::Tick).contains(&PollAction::PollNow) {
            return *now - begun;
        }
    }
}

fn about(expected: Duration, actual: Duration) -> bool {
    actual >= expected.mul_f64(0.9) && actual <= expected.mul_f64(1.1)
}

#[test]
fn two_polls_never_run_at_once() {
    let now = Instant::now();
    let mut poll = running(PollPolicy::default(), now);
    assert_eq!(*poll.manual(now).unwrap_err().kind(), ErrorKind::PollRunning);
    assert_eq!(poll.handle(now + 60 * SECOND, PollInput::Tick), []);
    assert_eq!(poll.deadline(), None);
}

#[test]
fn the_interval_runs_from_start_to_start_and_varies_by_a_tenth() {
    let start = Instant::now();
    let mut poll = running(PollPolicy::default().with_active(SECOND, Duration::ZERO), start);
    let mut seen = Vec::new();
    for round in 0..10 {
        let begun = start + round * 3 * SECOND;
        poll.begun = Some(begun);
        poll.handle(begun + 2 * SECOND, good());
        let next = poll.deadline().unwrap();
        assert!(about(3 * SECOND, next - begun), "a slow answer does not stretch it");
        seen.push(next - begun);
        poll.handle(next, PollInput::Tick);
    }
    seen.dedup();
    assert!(seen.len() > 5, "a fleet is spread");
}

#[test]
fn a_message_makes_the_next_polls_come_soon_and_silence_makes_them_rare() {
    let mut now = Instant::now();
    let start = now;
    let mut poll = running(PollPolicy::default(), now);
    while now < start + 9 * SECOND {
        assert!(about(SECOND, beat(&mut poll, &mut now, good())));
    }
    beat(&mut poll, &mut now, good());
    while now < start + 55 * SECOND {
        assert!(about(3 * SECOND, beat(&mut poll, &mut now, good())));
    }
    let mut last = Duration::ZERO;
    while now < start + 130 * SECOND {
        last = beat(&mut poll, &mut now, good());
        assert!(last <= seconds(5.5));
    }
    assert!(about(5 * SECOND, last));
    // Somebody says something: what was far off comes nearer.
    poll.handle(now, good());
    poll.handle(now + SECOND / 2, PollInput::Activity);
    assert!(about(SECOND, poll.deadline().unwrap() - now));
}

#[test]
fn no_interval_is_longer_than_a_third_of_the_budget() {
    let mut now = Instant::now();
    let slow = PollPolicy::default()
        .with_interval(Some(3_600 * SECOND))
        .with_idle(Duration::MAX, Duration::ZERO)
        .with_backoff_cap(Duration::MAX)
        .with_budget(Some(45 * SECOND));
    let mut poll = running(slow, now);
    for answer in [good(), failed(PollClass::NoAnswer), failed(PollClass::Other), good()] {
        for _ in 0..5 {
            assert!(beat(&mut poll, &mut now, answer) <= seconds(16.5));
        }
    }
}

#[test]
fn a_request_for_patience_is_obeyed_within_the_budget() {
    let now = Instant::now();
    for (told, class) in [(20, PollClass::Other), (20, PollClass::Exception)] {
        let mut poll = running(PollPolicy::default(), now);
        poll.handle(now, PollInput::Answered { class, retry_after: Some(told * SECOND) });
        poll.handle(now, PollInput::Activity);
        let next = poll.deadline().unwrap() - now;
        assert!(next >= told * SECOND && next <= told * SECOND * 11 / 10, "{next:?}");
    }
    let mut poll = running(PollPolicy::default().with_budget(Some(45 * SECOND)), now);
    let patience = PollInput::Answered { class: PollClass::Other, retry_after: Some(Duration::MAX) };
    poll.handle(now, patience);
    poll.handle(poll.deadline().unwrap(), PollInput::Tick);
    assert!(poll.begun.unwrap() - now <= 33 * SECOND, "the chat is not given up for it");
}

#[test]
fn the_count_to_the_limit_keeps_its_pace_and_an_offline_server_is_asked_less_often() {
    let mut now = Instant::now();
    let mut poll = running(PollPolicy::default(), now);
    for _ in 1..=5 {
        assert!(about(3 * SECOND, beat(&mut poll, &mut now, failed(PollClass::Exception))));
    }
    assert!(about(10 * SECOND, beat(&mut poll, &mut now, failed(PollClass::Exception))));
    assert!(beat(&mut poll, &mut now, good()) < 4 * SECOND, "good again");
}

#[test]
fn without_an_answer_the_interval_doubles() {
    let mut now = Instant::now();
    let mut poll = running(PollPolicy::default(), now);
    for expected in [3, 6, 10, 10] {
        assert!(about(expected * SECOND, beat(&mut poll, &mut now, failed(PollClass::NoAnswer))));
    }
}

#[test]
fn the_risk_is_told_once_until_the_next_good_answer_of_any_kind() {
    let start = Instant::now();
    let policy = PollPolicy::default().with_budget(Some(45 * SECOND));
    for recovery in [good(), PollInput::Served] {
        let mut now = start;
        let mut poll = running(policy.clone(), now);
        poll.handle(now, good());
        let mut told = Vec::new();
        while now < start + 300 * SECOND {
            now = poll.deadline().unwrap();
            let actions = poll.handle(now, PollInput::Tick);
            if actions.contains(&PollAction::Publish(PollEvent::BudgetAtRisk)) {
                told.push(now - start);
            }
            poll.handle(now, failed(PollClass::NoAnswer));
        }
        assert_eq!(told, [30 * SECOND]);
        if recovery == good() {
            poll.manual(now).unwrap();
        }
        poll.handle(now, recovery);
        poll.handle(now, PollInput::Stop);
        assert_eq!(poll.deadline(), Some(now + 30 * SECOND), "even if nobody polls");
    }
}

#[test]
fn the_systems_hint_shortens_a_wait_for_the_network_and_no_other() {
    let now = Instant::now();
    let soon = now + SECOND / 100;
    for (answer, polls) in [
        (failed(PollClass::NoAnswer), true),
        (failed(PollClass::Other), true),
        (PollInput::Answered { class: PollClass::Other, retry_after: Some(SECOND) }, false),
        (good(), false),
    ] {
        let mut poll = running(PollPolicy::default(), now);
        assert_eq!(poll.handle(soon, PollInput::NetworkUp), [], "one is under way");
        poll.handle(now, answer);
        let expected = if polls { vec![PollAction::PollNow] } else { vec![] };
        assert_eq!(poll.handle(soon, PollInput::NetworkUp), expected);
    }
}

#[test]
fn a_loop_that_runs_knows_when_sending_is_in_vain() {
    let now = Instant::now();
    for (answers, cut_off) in [
        (&[PollClass::NoAnswer][..], true),
        (&[PollClass::Exception, PollClass::Exception], true),
        (&[PollClass::Exception, PollClass::Other], false),
        (&[PollClass::NoAnswer, PollClass::Good], false),
    ] {
        let mut poll = running(PollPolicy::default().with_exception_limit(1), now);
        for class in answers {
            poll.handle(now, failed(*class));
            let _ = poll.manual(now);
        }
        assert_eq!(poll.is_cut_off(), cut_off, "{answers:?}");
        poll.handle(now, PollInput::Stop);
        assert!(!poll.is_cut_off(), "nobody would notice the return");
    }
}

#[test]
fn nothing_is_asked_while_no_connection_stands() {
    let now = Instant::now();
    let mut poll = Poll::new(PollPolicy::default().with_budget(Some(45 * SECOND)), 1);
    assert_eq!(events(poll.handle(now, PollInput::Start)), [PollEvent::PollingStarted]);
    assert_eq!(*poll.manual(now).unwrap_err().kind(), ErrorKind::Network);
    assert_eq!(poll.handle(now, PollInput::Released), [PollAction::PollNow]);
    assert_eq!(poll.handle(now, PollInput::Held), []);
    assert_eq!(poll.deadline(), None);
    assert_eq!(poll.handle(now + 60 * SECOND, PollInput::Tick), []);
    assert_eq!(poll.handle(now, failed(PollClass::NoAnswer)), [], "of the connection that is gone");
    assert_eq!(poll.handle(now + 60 * SECOND, PollInput::Released), [PollAction::PollNow]);
}

#[test]
fn a_poll_that_outlives_the_loop_still_counts_but_is_the_last() {
    let now = Instant::now();
    let mut poll = running(PollPolicy::default(), now);
    poll.handle(now, PollInput::Stop);
    assert_eq!(
        events(poll.handle(now, failed(PollClass::NoAnswer))),
        [PollEvent::ConnectionPending, PollEvent::Disconnected]
    );
    assert_eq!(poll.deadline(), None);
}

#[test]
fn what_a_push_connection_reports_is_counted_without_a_loop() {
    let now = Instant::now();
    let mut poll = Poll::new(PollPolicy::default().with_exception_limit(0), 1);
    assert_eq!(
        events(poll.handle(now, PollInput::Heard(PollClass::Exception))),
        [PollEvent::ConnectionPending, PollEvent::ServerWentOffline]
    );
    assert_eq!(poll.deadline(), None);
    // The polling connection that takes over brings the good news.
    poll.handle(now, PollInput::Released);
    poll.handle(now, PollInput::Start);
    assert_eq!(
        events(poll.handle(now, good())),
        [PollEvent::ServerBackOnline, PollEvent::ConnectionRestored]
    );
}

#[test]
fn no_option_makes_the_arithmetic_overflow() {
    let now = Instant::now();
    let huge = PollPolicy::default()
        .with_interval(Some(Duration::MAX))
        .with_active(Duration::MAX, Duration::MAX)
        .with_idle(Duration::MAX, Duration::MAX)
        .with_backoff_cap(Duration::MAX)
        .with_retry_after_cap(Duration::MAX)
        .with_budget(Some(Duration::MAX))
        .with_warn_after(Duration::MAX);
    let tiny = PollPolicy::default()
        .with_interval(Some(Duration::ZERO))
        .with_active(Duration::ZERO, Duration::ZERO)
        .with_idle(Duration::ZERO, Duration::ZERO)
        .with_backoff_cap(Duration::ZERO)
        .with_retry_after_cap(Duration::ZERO)
        .with_budget(Some(Duration::ZERO))
        .with_warn_after(Duration::ZERO);
    for policy in [huge, tiny] {
        let mut poll = running(policy, now);
        let mut at = now;
        for class in [PollClass::Good, PollClass::NoAnswer, PollClass::Exception, PollClass::Other] {
            for retry_after in [None, Some(Duration::MAX), Some(Duration::ZERO)] {
                poll.handle(at, PollInput::Answered { class, retry_after });
                poll.handle(at, PollInput::Activity);
                while poll.next.is_some() {
                    let next = poll.deadline().unwrap();
                    assert!(next >= at);
                    at = next;
                    poll.handle(at, PollInput::Tick);
                }
            }
        }
        assert!(at > now, "never a busy loop");
    }
}
