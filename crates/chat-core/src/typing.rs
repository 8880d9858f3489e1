//! Owns typing indications: ours, throttled and stopped by themselves; the others', expiring. No I/O.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{command::TypingSignal, event::TypingUpdate, message::Participant};

/// How [`OwnTyping`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypingPolicy {
    /// "Types" is sent at most once in this time.
    pub repeat_every: Duration,
    /// After the last key, "stopped" is sent when this has passed.
    pub stop_after: Duration,
    /// A changed preview text is sent at most once in this time.
    pub preview_every: Duration,
    /// After a stop, or a message, the next "types" is sent at once, whatever `repeat_every` says. For transports that
    /// can express a stop.
    pub restart_at_once: bool,
}

impl Default for TypingPolicy {
    /// Every 10 s, stopped after 5 s, previews every 2 s.
    fn default() -> Self {
        Self {
            repeat_every: Duration::from_secs(10),
            stop_after: Duration::from_secs(5),
            preview_every: Duration::from_secs(2),
            restart_at_once: false,
        }
    }
}

/// What the driver must do about our own typing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypingAction {
    /// Send it; a failure is of no consequence.
    Send(TypingSignal),
    /// Tell the readers: we type, or stopped.
    Own {
        /// Types now, or stopped.
        on: bool,
    },
}

/// Our own typing.
///
/// "Types" goes out at once (a start that comes too soon after the last is put off, not refused) and is repeated while typing goes on.
#[derive(Debug)]
pub struct OwnTyping {
    policy: TypingPolicy,
    on: bool,
    /// Started by hand: goes on until stopped by hand.
    by_hand: bool,
    /// "Types" went out since typing began.
    signalled: bool,
    last: Option<Instant>,
    stop_at: Option<Instant>,
    preview: Option<Arc<str>>,
    sent_preview: Option<Arc<str>>,
}

impl OwnTyping {
    /// Not typing.
    pub const fn new(policy: TypingPolicy) -> Self {
        Self {
            policy,
            on: false,
            by_hand: false,
            signalled: false,
            last: None,
            stop_at: None,
            preview: None,
            sent_preview: None,
        }
    }

    /// A key was pressed (or the caller says "types" again): starts by itself, stops by itself.
    pub fn key(&mut self, now: Instant, preview: Option<Arc<str>>) -> Vec<TypingAction> {
        let mut out = Vec::new();
        // A countdown that has run out meanwhile ends that typing first.
        self.run(now, &mut out);
        self.begin(preview, &mut out);
        self.stop_at = (!self.by_hand).then(|| now + self.policy.stop_after);
        self.run(now, &mut out);
        out
    }

    /// Types from now on, until told otherwise.
    pub fn start(&mut self, now: Instant, preview: Option<Arc<str>>) -> Vec<TypingAction> {
        let mut out = Vec::new();
        self.run(now, &mut out);
        self.begin(preview, &mut out);
        self.by_hand = true;
        self.stop_at = None;
        self.run(now, &mut out);
        out
    }

    /// Types no more.
    pub fn stop(&mut self, _now: Instant) -> Vec<TypingAction> {
        let mut out = Vec::new();
        self.end(true, &mut out);
        out
    }

    /// A message of ours leaves: that ends typing, without a signal of its own.
    pub fn message_sent(&mut self, _now: Instant) -> Vec<TypingAction> {
        let mut out = Vec::new();
        self.end(false, &mut out);
        out
    }

    /// [`deadline`](Self::deadline) has come.
    pub fn tick(&mut self, now: Instant) -> Vec<TypingAction> {
        let mut out = Vec::new();
        self.run(now, &mut out);
        out
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        if !self.on {
            return None;
        }
        [self.stop_at, self.signal_at()].into_iter().flatten().min()
    }

    /// When the next "types" is due; `None` for at once.
    fn signal_at(&self) -> Option<Instant> {
        let last = self.last?;
        let repeat = last + self.policy.repeat_every;
        let news = self.preview.is_some() && self.preview != self.sent_preview;
        Some(if news { repeat.min(last + self.policy.preview_every) } else { repeat })
    }

    fn begin(&mut self, preview: Option<Arc<str>>, out: &mut Vec<TypingAction>) {
        self.preview = preview;
        if !std::mem::replace(&mut self.on, true) {
            out.push(TypingAction::Own { on: true });
        }
    }

    fn run(&mut self, now: Instant, out: &mut Vec<TypingAction>) {
        if !self.on {
            return;
        }
        if self.stop_at.is_some_and(|at| at <= now) {
            return self.end(true, out);
        }
        if self.signal_at().is_none_or(|at| at <= now) {
            self.signalled = true;
            self.last = Some(now);
            self.sent_preview = self.preview.clone();
            out.push(TypingAction::Send(TypingSignal { on: true, preview: self.preview.clone() }));
        }
    }

    fn end(&mut self, tell: bool, out: &mut Vec<TypingAction>) {
        if !std::mem::take(&mut self.on) {
            return;
        }
        if std::mem::take(&mut self.signalled) && tell {
            out.push(TypingAction::Send(TypingSignal { on: false, preview: None }));
        }
        out.push(TypingAction::Own { on: false });
        self.by_hand = false;
        self.stop_at = None;
        self.preview = None;
        self.sent_preview = None;
        if self.policy.restart_at_once {
            self.last = None;
        }
    }
}

/// What readers are told about the others' typing, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypingEvent {
    /// Types now.
    Started {
        /// Who.
        who: Participant,
        /// The text so far, if the vendor shows it.
        preview: Option<Arc<str>>,
    },
    /// The text so far has changed.
    Preview {
        /// Who.
        who: Participant,
        /// The text so far.
        preview: Option<Arc<str>>,
    },
    /// Types no more.
    Stopped {
        /// Who.
        who: Participant,
    },
}

/// The others' typing.
#[derive(Debug)]
pub struct OthersTyping {
    expires_after: Duration,
    typing: Vec<Typist>,
}

#[derive(Debug)]
struct Typist {
    who: Participant,
    preview: Option<Arc<str>>,
    until: Instant,
}

/// More than this many typing at once is spam: the oldest makes room.
const TYPISTS: usize = 64;

impl OthersTyping {
    /// Nobody types. An indication is over after `expires_after`
    /// ([`Capabilities::typing_expires_after`](crate::Capabilities::typing_expires_after)).
    pub const fn new(expires_after: Duration) -> Self {
        Self { expires_after, typing: Vec::new() }
    }

    /// Sets when an indication is over, for those that come from now on.
    pub const fn set_expires_after(&mut self, expires_after: Duration) {
        self.expires_after = expires_after;
    }

    /// Somebody types, or stopped. Our own typing (from another tab) is ignored.
    pub fn update(&mut self, now: Instant, update: &TypingUpdate) -> Vec<TypingEvent> {
        let mut out = self.tick(now);
        let TypingUpdate { who, own, on, preview, .. } = update;
        if *own {
            return out;
        }
        let until = now + self.expires_after;
        let known = self.typing.iter_mut().find(|typist| same(&typist.who, who));
        match (on, known) {
            (true, Some(typist)) => {
                typist.until = until;
                if preview.is_some() && typist.preview != *preview {
                    typist.preview.clone_from(preview);
                    out.push(TypingEvent::Preview { who: typist.who.clone(), preview: preview.clone() });
                }
            }
            (true, None) => {
                if self.typing.len() >= TYPISTS {
                    out.push(TypingEvent::Stopped { who: self.typing.remove(0).who });
                }
                self.typing.push(Typist { who: who.clone(), preview: preview.clone(), until });
                out.push(TypingEvent::Started { who: who.clone(), preview: preview.clone() });
            }
            (false, _) => out.extend(self.over(who)),
        }
        out
    }

    /// A message of `who` arrived, or `who` left: typing is over.
    pub fn over(&mut self, who: &Participant) -> Vec<TypingEvent> {
        self.end_if(|typist| same(&typist.who, who))
    }

    /// The chat is over, or nothing is known of it any more: nobody types.
    pub fn clear(&mut self) -> Vec<TypingEvent> {
        self.end_if(|_| true)
    }

    /// Who types, in order of their starting.
    pub fn typing(&self) -> impl Iterator<Item = &Participant> {
        self.typing.iter().map(|typist| &typist.who)
    }

    /// [`deadline`](Self::deadline) has come.
    pub fn tick(&mut self, now: Instant) -> Vec<TypingEvent> {
        self.end_if(|typist| typist.until <= now)
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        self.typing.iter().map(|typist| typist.until).min()
    }

    fn end_if(&mut self, over: impl Fn(&Typist) -> bool) -> Vec<TypingEvent> {
        self.typing
            .extract_if(.., |typist| over(typist))
            .map(|typist| TypingEvent::Stopped { who: typist.who })
            .collect()
    }
}

/// By id if both have one, else by role and, as far as told, name.
fn same(a: &Participant, b: &Participant) -> bool {
    match (&a.id, &b.id) {
        (Some(a), Some(b)) => a == b,
        _ => a.role == b.role && (a.name == b.name || a.name.is_none() || b.name.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Role;

    const SECOND: Duration = Duration::from_secs(1);

    fn send(on: bool) -> TypingAction {
        TypingAction::Send(TypingSignal { on, preview: None })
    }

    fn own(on: bool) -> TypingAction {
        TypingAction::Own { on }
    }

    /// Presses keys at these tenths of a second and runs all deadlines; what happened, with its tenth of a second.
    fn keys(policy: TypingPolicy, presses: &[u64]) -> Vec<(u128, TypingAction)> {
        let start = Instant::now();
        let mut typing = OwnTyping::new(policy);
        let mut seen = Vec::new();
        let mut presses = presses.iter().map(|tenths| start + Duration::from_millis(tenths * 100)).peekable();
        loop {
            let deadline = typing.deadline();
            let (at, actions) = match (presses.peek().copied(), deadline) {
                (Some(press), deadline) if deadline.is_none_or(|at| press < at) => {
                    presses.next();
                    (press, typing.key(press, None))
                }
                (_, Some(at)) => (at, typing.tick(at)),
                _ => return seen,
            };
            seen.extend(actions.into_iter().map(|action| ((at - start).as_millis() / 100, action)));
        }
    }

    #[test]
    fn keys_start_it_and_a_pause_stops_it() {
        let seen = keys(TypingPolicy::default(), &[0, 2, 4, 20]);
        assert_eq!(seen, [(0, own(true)), (0, send(true)), (70, send(false)), (70, own(false))]);
    }

    #[test]
    fn long_typing_is_repeated_every_ten_seconds_at_most() {
        let presses: Vec<_> = (0..250).collect();
        let seen = keys(TypingPolicy::default(), &presses);
        let signals: Vec<_> = seen.into_iter().filter(|(_, action)| *action == send(true)).collect();
        assert_eq!(signals, [(0, send(true)), (100, send(true)), (200, send(true))]);
    }

    #[test]
    fn a_new_start_too_soon_is_put_off_not_refused() {
        // Stops at 5 s, starts again at 6 s: the signal follows when ten seconds have passed.
        let seen = keys(TypingPolicy::default(), &[0, 60, 90]);
        assert_eq!(
            seen,
            [
                (0, own(true)),
                (0, send(true)),
                (50, send(false)),
                (50, own(false)),
                (60, own(true)),
                (100, send(true)),
                (140, send(false)),
                (140, own(false))
            ]
        );
        let at_once = TypingPolicy { restart_at_once: true, ..TypingPolicy::default() };
        assert!(keys(at_once, &[0, 60]).contains(&(60, send(true))));
    }

    #[test]
    fn by_hand_it_goes_on_until_stopped_and_a_message_ends_it_silently() {
        let start = Instant::now();
        let mut typing = OwnTyping::new(TypingPolicy::default());
        assert_eq!(typing.stop(start), []);
        assert_eq!(typing.start(start, None), [own(true), send(true)]);
        assert_eq!(typing.start(start + SECOND, None), [], "dropped, no error");
        assert_eq!(typing.deadline(), Some(start + 10 * SECOND));
        assert_eq!(typing.tick(start + 10 * SECOND), [send(true)]);
        assert_eq!(typing.stop(start + 11 * SECOND), [send(false), own(false)]);
        typing.start(start + 30 * SECOND, None);
        assert_eq!(typing.message_sent(start + 31 * SECOND), [own(false)]);
        assert_eq!(typing.deadline(), None);
    }

    #[test]
    fn the_newest_preview_arrives() {
        let start = Instant::now();
        let mut typing = OwnTyping::new(TypingPolicy::default());
        let preview = |text: &str| TypingAction::Send(TypingSignal { on: true, preview: Some(text.into()) });
        assert_eq!(typing.key(start, Some("h".into())), [own(true), preview("h")]);
        assert_eq!(typing.key(start + SECOND / 2, Some("he".into())), []);
        assert_eq!(typing.key(start + SECOND, Some("hel".into())), []);
        assert_eq!(typing.deadline(), Some(start + 2 * SECOND));
        assert_eq!(typing.tick(start + 2 * SECOND), [preview("hel")]);
    }

    fn typist(id: &str) -> Participant {
        Participant::new(Role::Agent).with_id(id)
    }

    fn update(id: &str, on: bool) -> TypingUpdate {
        TypingUpdate { who: typist(id), own: false, on, preview: None, item: None }
    }

    #[test]
    fn each_participant_expires_alone_and_events_come_once() {
        let start = Instant::now();
        let mut typing = OthersTyping::new(12 * SECOND);
        let started = |id| TypingEvent::Started { who: typist(id), preview: None };
        let stopped = |id| TypingEvent::Stopped { who: typist(id) };
        assert_eq!(typing.update(start, &update("a", true)), [started("a")]);
        assert_eq!(typing.update(start + SECOND, &update("b", true)), [started("b")]);
        assert_eq!(typing.update(start + 2 * SECOND, &update("b", true)), []);
        assert_eq!(typing.deadline(), Some(start + 12 * SECOND));
        assert_eq!(typing.tick(start + 12 * SECOND), [stopped("a")]);
        assert_eq!(typing.over(&typist("a")), []);
        assert_eq!(typing.over(&typist("b")), [stopped("b")], "a message ends it");
        assert_eq!(typing.update(start, &update("b", false)), []);
        assert_eq!(typing.deadline(), None);
    }

    #[test]
    fn own_typing_from_another_tab_is_not_shown() {
        let mut typing = OthersTyping::new(SECOND);
        assert_eq!(typing.update(Instant::now(), &TypingUpdate { own: true, ..update("me", true) }), []);
        assert_eq!(typing.typing().count(), 0);
    }

    #[test]
    fn a_message_without_an_id_ends_the_typing_of_its_role() {
        let mut typing = OthersTyping::new(SECOND);
        typing.update(Instant::now(), &update("a", true));
        assert_eq!(typing.over(&Participant::new(Role::Customer)), []);
        assert_eq!(typing.over(&Participant::new(Role::Agent)).len(), 1);
    }
}
