//! Owns the comparison: what one conversation looks like over each transport. It knows nothing of ids and times, which differ.

use std::collections::BTreeSet;

use chat_core::{Capability, Role};
use serde_json::{Value, json};

use super::stage::Way;

/// What a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// Files.
    Files,
    /// A place where something is missing.
    Gap,
    /// Anything else.
    Other,
}

/// A row of the display view as people see it, whatever its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The role of who said it, if that is known.
    pub(super) role: Option<Role>,
    /// What it holds.
    pub(super) kind: Kind,
    /// The text, or the names of the files.
    pub(super) what: String,
}

/// What was shown over one transport.
#[derive(Debug)]
pub(super) struct Side {
    /// Which.
    pub(super) way: Way,
    /// The display view at the end.
    pub(super) shown: Vec<Shown>,
    /// What the transport cannot do, and the script asked for.
    pub(super) left_out: BTreeSet<Capability>,
}

/// What the comparison says.
#[derive(Debug)]
pub(super) struct Comparison {
    rows: usize,
    differences: Vec<String>,
    left_out: Vec<(Way, BTreeSet<Capability>)>,
}

impl Comparison {
    /// Compares each with the first. What one of them is not able to show is left out of all.
    pub(super) fn new(mut sides: Vec<Side>) -> Self {
        let denied = |need| sides.iter().any(|side| side.left_out.contains(&need));
        if denied(Capability::Upload) || denied(Capability::Download) {
            for side in &mut sides {
                side.shown.retain(|shown| shown.kind != Kind::Files);
            }
        }
        let mut differences = Vec::new();
        if let [first, others @ ..] = &sides[..] {
            for other in others {
                differences.extend(difference(first, other));
            }
        }
        Self {
            rows: sides.iter().map(|side| side.shown.len()).max().unwrap_or_default(),
            differences,
            left_out: sides.into_iter().map(|side| (side.way, side.left_out)).collect(),
        }
    }

    /// Whether all show the same.
    pub(super) const fn equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// As the last of the JSON Lines.
    pub(super) fn json(&self) -> Value {
        let left_out: serde_json::Map<String, Value> =
            self.left_out.iter().map(|(way, needs)| (way.id().to_owned(), json!(needs))).collect();
        json!({
            "event": "comparison", "ok": self.equal(), "rows": self.rows,
            "differences": self.differences, "left_out": left_out,
        })
    }

    /// For people: what was left out over each, and whether the rest is equal.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .left_out
            .iter()
            .filter(|(_, needs)| !needs.is_empty())
            .map(|(way, needs)| {
                let needs: Vec<_> = needs.iter().map(ToString::to_string).collect();
                format!("left out over {}, which cannot do it: {}", way.name(), needs.join(", "))
            })
            .collect();
        lines.push(if self.equal() {
            let (rows, ways) = (self.rows, self.left_out.len());
            format!("the same over all {ways}: {rows} rows, equal in role, kind and text or file name")
        } else {
            format!("not the same over all: {}", self.differences.join("; "))
        });
        lines
    }
}

/// The first row in which two differ.
fn difference(one: &Side, other: &Side) -> Option<String> {
    let length = one.shown.len().max(other.shown.len());
    let at = (0..length).find(|at| one.shown.get(*at) != other.shown.get(*at))?;
    let told = |side: &Side| match side.shown.get(at) {
        Some(Shown { role, kind, what }) => {
            let role = role.as_ref().map_or_else(|| "nobody".to_owned(), |role| format!("{role:?}"));
            format!("{role} {kind:?} {what:?} over {}", side.way.name())
        }
        None => format!("nothing over {}", side.way.name()),
    };
    Some(format!("row {} is {}, and {}", at + 1, told(one), told(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[file]";

    fn side(way: Way, shown: &[&str], left_out: &[Capability]) -> Side {
        let shown = shown
            .iter()
            .map(|what| Shown {
                role: Some(Role::Agent),
                kind: if *what == FILE { Kind::Files } else { Kind::Text },
                what: (*what).to_owned(),
            })
            .collect();
        Side { way, shown, left_out: left_out.iter().copied().collect() }
    }

    fn compared(one: &[&str], other: &[&str], left_out: &[Capability]) -> Comparison {
        Comparison::new(vec![side(Way::Connect, one, &[]), side(Way::Gms, other, left_out)])
    }

    #[test]
    fn the_same_rows_in_the_same_order_are_equal() {
        let comparison = compared(&["a", FILE, "b"], &["a", FILE, "b"], &[Capability::ReadReceipts]);
        assert!(comparison.equal());
        assert_eq!(
            comparison.lines(),
            [
                "left out over Genesys GMS, polling, which cannot do it: read receipts",
                "the same over all 2: 3 rows, equal in role, kind and text or file name",
            ]
        );
        assert_eq!(comparison.json()["left_out"], json!({ "connect": [], "gms": ["read_receipts"] }));
    }

    #[test]
    fn another_text_order_role_or_number_is_told_with_its_row() {
        for other in [&["a", "c"][..], &["b", "a"], &["a"], &["a", "b", "b"]] {
            let comparison = compared(&["a", "b"], other, &[]);
            assert!(!comparison.equal(), "{other:?}");
        }
        let mut shown = side(Way::Gms, &["a", "b"], &[]);
        shown.shown[1].role = Some(Role::Bot);
        let comparison = Comparison::new(vec![side(Way::Connect, &["a", "b"], &[]), shown]);
        assert_eq!(
            comparison.lines(),
            ["not the same over all: row 2 is Agent Text \"b\" over Amazon Connect, \
              and Bot Text \"b\" over Genesys GMS, polling"]
        );
    }

    #[test]
    fn files_are_compared_only_if_all_have_them() {
        assert!(compared(&["a", FILE, "b"], &["a", "b"], &[Capability::Download]).equal());
        assert!(!compared(&["a", FILE, "b"], &["a", "b"], &[]).equal());
    }
}
