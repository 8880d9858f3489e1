//! Owns which receipts go out, and when: few, never twice, for the newest message. No I/O.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{
    command::{ReceiptKind, ReceiptSignal},
    ids::MessageId,
};

/// How [`Receipts`] behave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiptPolicy {
    /// Send receipts at all.
    pub enabled: bool,
    /// Receipts are collected for this long, and the newest is sent at its end.
    pub window: Duration,
    /// A delivered receipt is held back for this long: reading overtakes it.
    pub delivered_delay: Duration,
}

impl Default for ReceiptPolicy {
    /// On, 5 s, 300 ms.
    fn default() -> Self {
        Self { enabled: true, window: Duration::from_secs(5), delivered_delay: Duration::from_millis(300) }
    }
}

/// The receipt machine. `P` is the order of messages in the transcript; a message's order must not change.
///
/// A window opens with the first mark (for a delivered one after its delay) and lasts [`window`](ReceiptPolicy::window). At its
/// end at most one `read` goes out, for the newest message read, and at most one `delivered`, for the newest message
/// delivered if that is newer. So 50 messages read within one window make one call: `read` for the newest. Readers take it for
/// "everything up to here". Source: protocol notes of Connect, section 9.3.
#[derive(Debug)]
pub struct Receipts<P = u64> {
    policy: ReceiptPolicy,
    /// Delivered, but perhaps about to be read.
    held: VecDeque<(Instant, Mark<P>)>,
    read: Lane<P>,
    delivered: Lane<P>,
    window_end: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Mark<P> {
    message: MessageId,
    position: P,
    retried: bool,
}

/// One kind of receipt.
#[derive(Debug)]
struct Lane<P> {
    pending: Option<Mark<P>>,
    sent: Option<Mark<P>>,
    /// Up to where nothing is left to say.
    done: Option<P>,
    /// What `done` was before `sent` went out.
    before: Option<P>,
}

impl<P: Ord + Clone> Lane<P> {
    const fn new() -> Self {
        Self { pending: None, sent: None, done: None, before: None }
    }

    fn covers(&self, position: &P) -> bool {
        self.done.as_ref().is_some_and(|done| done >= position)
    }

    fn raise(&mut self, position: &P) {
        if !self.covers(position) {
            self.done = Some(position.clone());
        }
    }

    fn offer(&mut self, mark: Mark<P>) {
        if self.pending.as_ref().is_none_or(|pending| pending.position < mark.position) {
            self.pending = Some(mark);
        }
    }

    fn take(&mut self) -> Option<Mark<P>> {
        let mark = self.pending.take()?;
        if self.covers(&mark.position) {
            return None;
        }
        self.before = self.done.replace(mark.position.clone());
        self.sent = Some(mark.clone());
        Some(mark)
    }

    /// The newest one sent failed: says whether it is to go out once more.
    fn failed(&mut self, message: &MessageId) -> bool {
        let Some(mark) = self.sent.take_if(|sent| sent.message == *message) else { return false };
        let newest = self.done.as_ref() == Some(&mark.position) && self.pending.is_none();
        if mark.retried || !newest {
            return false;
        }
        self.done = self.before.take();
        self.pending = Some(Mark { retried: true, ..mark });
        true
    }
}

/// More delivered messages than this within the delay count at once.
const HELD: usize = 64;

impl<P: Ord + Clone> Receipts<P> {
    /// Nothing sent yet.
    pub const fn new(policy: ReceiptPolicy) -> Self {
        Self { policy, held: VecDeque::new(), read: Lane::new(), delivered: Lane::new(), window_end: None }
    }

    /// Switches receipts on or off. Off drops what waits.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.policy.enabled = enabled;
        if !enabled {
            self.held.clear();
            self.read.pending = None;
            self.delivered.pending = None;
            self.window_end = None;
        }
    }

    /// The message at `position` was delivered or read here; a message of the others, with an id. Returns what to send now
    /// (nothing, unless the window is empty).
    pub fn mark(
        &mut self,
        now: Instant,
        message: &MessageId,
        kind: ReceiptKind,
        position: P,
    ) -> Vec<ReceiptSignal> {
        let lane = match kind {
            ReceiptKind::Delivered => &self.delivered,
            ReceiptKind::Read => &self.read,
        };
        if !self.policy.enabled || lane.covers(&position) || self.read.covers(&position) {
            return Vec::new();
        }
        let mark = Mark { message: message.clone(), position, retried: false };
        match kind {
            ReceiptKind::Read => {
                self.read.offer(mark);
                self.open_window(now);
            }
            ReceiptKind::Delivered => {
                self.held.push_back((now + self.policy.delivered_delay, mark));
                if self.held.len() > HELD
                    && let Some((_, oldest)) = self.held.pop_front()
                {
                    self.delivered.offer(oldest);
                    self.open_window(now);
                }
            }
        }
        self.tick(now)
    }

    /// A receipt of ours for the message at `position` stands in the vendor's transcript already (sent by an earlier
    /// process or another tab).
    pub fn known(&mut self, kind: ReceiptKind, position: &P) {
        match kind {
            ReceiptKind::Delivered => self.delivered.raise(position),
            ReceiptKind::Read => self.read.raise(position),
        }
    }

    /// A signal could not be sent: it goes out once more with the next window, unless a newer one does.
    pub fn failed(&mut self, now: Instant, signal: &ReceiptSignal) {
        let lane = match signal.kind {
            ReceiptKind::Delivered => &mut self.delivered,
            ReceiptKind::Read => &mut self.read,
        };
        if self.policy.enabled && lane.failed(&signal.message) {
            self.open_window(now);
        }
    }

    /// [`deadline`](Self::deadline) has come. Returns what to send now.
    pub fn tick(&mut self, now: Instant) -> Vec<ReceiptSignal> {
        while let Some((ready, mark)) = self.held.pop_front_if(|(ready, _)| *ready <= now) {
            self.delivered.offer(mark);
            self.open_window(ready);
        }
        let mut out = Vec::new();
        if self.window_end.is_some_and(|end| end <= now) {
            self.window_end = None;
            if let Some(mark) = self.read.take() {
                out.push(ReceiptSignal { message: mark.message, kind: ReceiptKind::Read });
            }
            if let Some(read) = &self.read.done {
                // Reading implies delivery.
                self.delivered.raise(read);
            }
            if let Some(mark) = self.delivered.take() {
                out.push(ReceiptSignal { message: mark.message, kind: ReceiptKind::Delivered });
            }
        }
        out
    }

    /// When to call [`tick`](Self::tick).
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.held.front().map(|(ready, _)| *ready);
        [held, self.window_end].into_iter().flatten().min()
    }

    fn open_window(&mut self, at: Instant) {
        self.window_end.get_or_insert(at + self.policy.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        format!("m{n}").into()
    }

    fn signal(n: u64, kind: ReceiptKind) -> ReceiptSignal {
        ReceiptSignal { message: id(n), kind }
    }

    /// Runs all deadlines and returns what was sent, with the seconds since `start`.
    fn run(receipts: &mut Receipts, start: Instant) -> Vec<(f64, ReceiptSignal)> {
        let mut sent = Vec::new();
        while let Some(at) = receipts.deadline() {
            sent.extend(receipts.tick(at).into_iter().map(|signal| ((at - start).as_secs_f64(), signal)));
        }
        sent
    }

    #[test]
    fn fifty_messages_read_within_a_window_make_one_call() {
        let start = Instant::now();
        let mut receipts = Receipts::new(ReceiptPolicy::default());
        for n in 0..50 {
            let now = start + Duration::from_millis(n * 90);
            assert_eq!(receipts.mark(now, &id(n), ReceiptKind::Delivered, n), []);
            assert_eq!(receipts.mark(now, &id(n), ReceiptKind::Read, n), []);
        }
        assert_eq!(run(&mut receipts, start), [(5.0, signal(49, ReceiptKind::Read))]);
    }

    #[test]
    fn nothing_is_said_twice() {
        let start = Instant::now();
        let mut receipts = Receipts::new(ReceiptPolicy::default());
        receipts.known(ReceiptKind::Read, &3);
        for n in [5, 3, 5, 4] {
            receipts.mark(start, &id(n), ReceiptKind::Read, n);
        }
        assert_eq!(run(&mut receipts, start), [(5.0, signal(5, ReceiptKind::Read))]);
        for n in [5, 4, 2] {
            receipts.mark(start, &id(n), ReceiptKind::Read, n);
            receipts.mark(start, &id(n), ReceiptKind::Delivered, n);
        }
        assert_eq!(run(&mut receipts, start), [], "read up to there says it all");
    }

    #[test]
    fn delivered_waits_for_read_and_goes_out_where_it_is_newer() {
        let start = Instant::now();
        let mut receipts = Receipts::new(ReceiptPolicy::default());
        receipts.mark(start, &id(1), ReceiptKind::Delivered, 1);
        receipts.mark(start + Duration::from_millis(100), &id(1), ReceiptKind::Read, 1);
        receipts.mark(start + Duration::from_secs(1), &id(2), ReceiptKind::Delivered, 2);
        assert_eq!(
            run(&mut receipts, start),
            [(5.1, signal(1, ReceiptKind::Read)), (5.1, signal(2, ReceiptKind::Delivered))]
        );
        let again = start + Duration::from_secs(60);
        receipts.mark(again, &id(3), ReceiptKind::Delivered, 3);
        assert_eq!(run(&mut receipts, again), [(5.3, signal(3, ReceiptKind::Delivered))]);
    }

    #[test]
    fn a_failed_receipt_goes_out_once_more_unless_a_newer_one_does() {
        let start = Instant::now();
        let mut receipts = Receipts::new(ReceiptPolicy::default());
        let read = |n| signal(n, ReceiptKind::Read);
        receipts.mark(start, &id(1), ReceiptKind::Read, 1);
        assert_eq!(run(&mut receipts, start), [(5.0, read(1))]);
        receipts.failed(start, &read(1));
        assert_eq!(run(&mut receipts, start), [(5.0, read(1))]);
        receipts.failed(start, &read(1));
        assert_eq!(run(&mut receipts, start), [], "once more, not for ever");
        receipts.mark(start, &id(2), ReceiptKind::Read, 2);
        assert_eq!(run(&mut receipts, start), [(5.0, read(2))]);
        receipts.mark(start, &id(3), ReceiptKind::Read, 3);
        receipts.failed(start, &read(2));
        assert_eq!(run(&mut receipts, start), [(5.0, read(3))]);
    }

    #[test]
    fn switched_off_nothing_goes_out() {
        let start = Instant::now();
        let mut receipts = Receipts::new(ReceiptPolicy::default());
        receipts.mark(start, &id(1), ReceiptKind::Read, 1);
        receipts.set_enabled(false);
        receipts.mark(start, &id(2), ReceiptKind::Read, 2);
        assert_eq!(run(&mut receipts, start), []);
    }
}
