//! What the rules let through: one table, each with its reason, and a ratchet.
//!
//! An exception that matches nothing fails, and one for an amount fails when the amount has shrunk:
//! the table can only become shorter and its figures smaller, unless somebody writes a reason.

use super::Finding;

/// One thing let through.
pub(super) struct Exception {
    rule: &'static str,
    path: &'static str,
    /// The finding's item, or empty for all of the file.
    item: &'static str,
    /// The amount let through, for rules about an amount.
    at_most: Option<usize>,
    reason: &'static str,
}

pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "arrow",
        path: "crates/server/Cargo.toml",
        item: "wire",
        at_most: None,
        reason: "`courant pub` and `sub` speak the text protocol until there is a client crate",
    },
    Exception {
        rule: "arrow",
        path: "crates/bench/Cargo.toml",
        item: "engine",
        at_most: None,
        reason: "the engine's own cost is measured without a broker around it",
    },
    Exception {
        rule: "arrow",
        path: "crates/bench/Cargo.toml",
        item: "broker",
        at_most: None,
        reason: "hot paths are measured in process",
    },
    Exception {
        rule: "columns",
        path: "crates/engine/src/refusal.rs",
        item: "",
        at_most: None,
        reason: "the catalogue is one table, and reads as one when a row is a line",
    },
    Exception {
        rule: "spawn",
        path: "crates/storage/src/pipeline.rs",
        item: "",
        at_most: None,
        reason: "the log thread: one per store, owned by it and joined by close",
    },
    Exception {
        rule: "spawn",
        path: "crates/storage/src/wal/filler.rs",
        item: "",
        at_most: None,
        reason: "the filler thread: one per log, keeps zeros ahead of the writing point",
    },
    Exception {
        rule: "clock",
        path: "crates/storage/src/pipeline.rs",
        item: "",
        at_most: None,
        reason: "the log thread waits for real time: 5 ms to write, 50 ms to sync",
    },
];

/// Takes out what is let through; adds what is wrong with the table.
pub(super) fn apply(table: &[Exception], findings: Vec<Finding>) -> Vec<Finding> {
    // What each exception let through: nothing yet, or the largest amount.
    let mut used: Vec<Option<usize>> = vec![None; table.len()];
    let mut left = Vec::new();
    for finding in findings {
        let matching = table.iter().position(|exception| exception.matches(&finding));
        let Some(index) = matching else {
            left.push(finding);
            continue;
        };
        let amount = finding.amount.unwrap_or_default();
        used[index] = used[index].max(Some(amount));
        if table[index].at_most.is_some_and(|limit| amount > limit) {
            left.push(finding);
        }
    }
    for (exception, used) in table.iter().zip(used) {
        let fault = match (used, exception.at_most) {
            (None, _) => "nothing needs this exception any more: remove it".to_owned(),
            (Some(amount), Some(limit)) if amount < limit => {
                format!("it shrank to {amount}: lower the exception's {limit} to that")
            }
            _ => String::new(),
        };
        if !fault.is_empty() {
            left.push(exception.fault(&fault));
        }
        if exception.reason.trim().is_empty() {
            left.push(exception.fault("this exception has no reason: give one or remove it"));
        }
    }
    left
}

impl Exception {
    fn matches(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.path == finding.path
            && (self.item.is_empty() || self.item == finding.item)
    }

    fn fault(&self, what: &str) -> Finding {
        let message = format!(
            "{what} (exception for rule `{}`, `{}`, in crates/xtask/src/tidy/exceptions.rs)",
            self.rule, self.item
        );
        Finding::new("exception", self.path, 1, self.item, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(at_most: Option<usize>) -> Exception {
        Exception { rule: "lines", path: "a.rs", item: "", at_most, reason: "generated" }
    }

    fn finding(amount: usize) -> Finding {
        Finding::new("lines", "a.rs", 1, "", String::new()).amount(amount)
    }

    #[test]
    fn a_matching_exception_lets_through_and_others_stay() {
        let other = Finding::new("lines", "b.rs", 1, "", String::new());
        let left = apply(&[exception(None)], vec![finding(900), other.clone()]);
        assert_eq!(left, [other]);
    }

    #[test]
    fn an_exception_nobody_needs_fails() {
        assert_eq!(apply(&[exception(None)], vec![])[0].rule, "exception");
    }

    #[test]
    fn an_amount_may_neither_grow_nor_leave_slack() {
        assert!(apply(&[exception(Some(900))], vec![finding(900)]).is_empty());
        assert_eq!(apply(&[exception(Some(900))], vec![finding(901)])[0].rule, "lines");
        assert_eq!(apply(&[exception(Some(900))], vec![finding(899)])[0].rule, "exception");
        assert!(apply(&[exception(Some(900))], vec![finding(850), finding(900)]).is_empty());
    }

    #[test]
    fn an_exception_without_a_reason_fails() {
        let bare = Exception { reason: " ", ..exception(None) };
        assert_eq!(apply(&[bare], vec![finding(900)])[0].rule, "exception");
    }
}
