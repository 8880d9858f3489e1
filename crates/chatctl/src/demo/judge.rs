//! Owns the verdict: what the centre stored against what the reader was shown. It knows nothing of ids, rows or the session.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

/// A message as people see it: who, and what. Both the truth and what was shown come down to this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Said {
    /// The name of who said it; `None` for the customer.
    pub(super) author: Option<String>,
    /// The text, or the names of the files.
    pub(super) what: String,
}

/// A message that the centre stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// What.
    pub(super) said: Said,
    /// It was stored while the network was cut.
    pub(super) while_cut: bool,
}

/// What the comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Messages that the centre stored.
    pub(super) messages: usize,
    /// Messages stored while the network was cut.
    pub(super) stored_while_cut: usize,
    /// Of those, how many were shown.
    pub(super) recovered: usize,
    /// Shown more often than stored: how often too many.
    pub(super) duplicates: usize,
    /// Stored and not shown.
    pub(super) lost: usize,
    /// Whether what was shown stands in the order in which it is stored.
    pub(super) in_order: bool,
    /// What else did not happen as it should.
    pub(super) complaints: Vec<String>,
}

impl Verdict {
    /// Compares `stored`, in the centre's order, with `shown`, in the order in which it stood on the screen at the end.
    pub(super) fn new(stored: &[Stored], shown: &[Said]) -> Self {
        // For each message its places in the truth: the first copy shown is the first one stored.
        let mut places: HashMap<&Said, VecDeque<usize>> = HashMap::new();
        for (place, message) in stored.iter().enumerate() {
            places.entry(&message.said).or_default().push_back(place);
        }
        let mut matched = Vec::with_capacity(shown.len());
        let mut duplicates = 0;
        let mut never_stored = 0;
        for said in shown {
            match places.get_mut(said).map(VecDeque::pop_front) {
                Some(Some(place)) => matched.push(place),
                Some(None) => duplicates += 1,
                None => never_stored += 1,
            }
        }
        let mut complaints = Vec::new();
        if never_stored > 0 {
            complaints.push(format!("shown but never stored: {never_stored}"));
        }
        Self {
            messages: stored.len(),
            stored_while_cut: stored.iter().filter(|message| message.while_cut).count(),
            recovered: matched.iter().filter(|&&place| stored[place].while_cut).count(),
            duplicates,
            lost: stored.len() - matched.len(),
            in_order: matched.is_sorted(),
            complaints,
        }
    }

    /// Whether everything is as it should be.
    pub(super) fn good(&self) -> bool {
        self.duplicates == 0
            && self.lost == 0
            && self.in_order
            && self.complaints.is_empty()
            && self.recovered == self.stored_while_cut
    }

    const fn order(&self) -> &'static str {
        if self.in_order { "ok" } else { "broken" }
    }

    /// The summary as the last of the JSON Lines.
    pub(super) fn json(&self) -> Value {
        json!({
            "event": "summary", "ok": self.good(),
            "messages": self.messages, "stored_while_cut": self.stored_while_cut, "recovered": self.recovered,
            "duplicates": self.duplicates, "lost": self.lost, "order": self.order(),
            "complaints": self.complaints,
        })
    }

    /// The summary in one line.
    pub(super) fn line(&self) -> String {
        let Self { messages, recovered, duplicates, lost, .. } = self;
        let order = self.order();
        format!(
            "messages {messages}, recovered {recovered}, duplicates {duplicates}, lost {lost}, order {order}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(what: &str) -> Said {
        Said { author: Some("Maria".into()), what: what.into() }
    }

    fn stored(texts: &[&str]) -> Vec<Stored> {
        texts.iter().map(|text| Stored { said: said(text), while_cut: text.starts_with('c') }).collect()
    }

    fn verdict(shown: &[&str]) -> Verdict {
        Verdict::new(
            &stored(&["a", "c1", "c2", "z", "z"]),
            &shown.iter().map(|text| said(text)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn what_is_shown_as_it_is_stored_is_good_even_if_two_messages_say_the_same() {
        let verdict = verdict(&["a", "c1", "c2", "z", "z"]);
        assert!(verdict.good(), "{verdict:?}");
        assert_eq!(verdict.line(), "messages 5, recovered 2, duplicates 0, lost 0, order ok");
    }

    #[test]
    fn what_is_missing_is_lost() {
        let verdict = verdict(&["a", "c2", "z"]);
        assert!(!verdict.good());
        assert_eq!(verdict.line(), "messages 5, recovered 1, duplicates 0, lost 2, order ok");
    }

    #[test]
    fn what_is_shown_too_often_is_a_duplicate() {
        let verdict = verdict(&["a", "c1", "c1", "c2", "z", "z", "z"]);
        assert!(!verdict.good());
        assert_eq!(verdict.line(), "messages 5, recovered 2, duplicates 2, lost 0, order ok");
    }

    #[test]
    fn what_changes_places_is_out_of_order() {
        let verdict = verdict(&["a", "c2", "c1", "z", "z"]);
        assert!(!verdict.good());
        assert_eq!(verdict.line(), "messages 5, recovered 2, duplicates 0, lost 0, order broken");
    }

    #[test]
    fn what_nobody_said_or_somebody_else_said_is_bad() {
        assert!(!verdict(&["a", "c1", "c2", "z", "z", "invented"]).good());
        let mut shown: Vec<_> =
            stored(&["a", "c1", "c2", "z", "z"]).into_iter().map(|one| one.said).collect();
        shown[0].author = None;
        let verdict = Verdict::new(&stored(&["a", "c1", "c2", "z", "z"]), &shown);
        assert!(!verdict.good());
        assert_eq!(verdict.lost, 1);
    }
}
