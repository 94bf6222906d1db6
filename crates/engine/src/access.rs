//! Who may do what: one pure question that every operation below every door asks.

use crate::name::Name;

/// What somebody wants to do with a queue, topic or exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Declare, delete, bind, change.
    Configure = 1,
    /// Publish.
    Publish = 2,
    /// Subscribe, claim, settle.
    Consume = 4,
    /// Look at counts and options.
    Inspect = 8,
}

/// A set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations(u8);

impl Operations {
    /// All operations.
    pub const ALL: Self = Self(0xf);
    /// No operation.
    pub const NONE: Self = Self(0);

    /// The set with one operation more.
    #[must_use]
    pub fn with(self, operation: Operation) -> Self {
        Self(self.0 | operation as u8)
    }

    /// Whether the operation is in the set.
    pub fn has(self, operation: Operation) -> bool {
        self.0 & operation as u8 != 0
    }
}

/// Permission for operations on names that match a pattern, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The namespace; `None` means every one.
    pub namespace: Option<Name>,
    /// `*` is one segment, `#` zero or more; segments are split by `.`.
    pub pattern: String,
    /// What is permitted.
    pub operations: Operations,
}

/// Somebody who was authenticated, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub name: String,
    /// Everything that is permitted; what no grant names is refused.
    pub grants: Vec<Grant>,
}

impl Principal {
    /// Somebody who may do everything, everywhere: the embedded user, and every client as long
    /// as no credential exists.
    pub fn unrestricted(name: &str) -> Self {
        let all = Grant { namespace: None, pattern: "#".to_owned(), operations: Operations::ALL };
        Self { name: name.to_owned(), grants: vec![all] }
    }

    /// Whether the operation on that name is permitted.
    pub fn may(&self, operation: Operation, namespace: &Name, name: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.operations.has(operation)
                && grant.namespace.as_ref().is_none_or(|only| only == namespace)
                && matches(&grant.pattern, name)
        })
    }
}

/// Whether a name matches a pattern. Time is at most the product of the numbers of segments.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern == "#" {
        return true;
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    // `reach[i]`: the first i segments of the pattern match the segments of the name so far.
    let mut reach = vec![false; pattern.len() + 1];
    reach[0] = true;
    skip_hashes(&pattern, &mut reach);
    for segment in name.split('.') {
        let mut next = vec![false; pattern.len() + 1];
        for (i, wanted) in pattern.iter().enumerate() {
            match *wanted {
                "#" => next[i + 1] |= reach[i] || reach[i + 1],
                "*" => next[i + 1] |= reach[i],
                literal => next[i + 1] |= reach[i] && literal == segment,
            }
        }
        skip_hashes(&pattern, &mut next);
        reach = next;
    }
    reach[pattern.len()]
}

fn skip_hashes(pattern: &[&str], reach: &mut [bool]) {
    for (i, wanted) in pattern.iter().enumerate() {
        if *wanted == "#" && reach[i] {
            reach[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("#", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#.c", "a.c", true),
            ("a.#.c", "a.b.b.c", true),
            ("a.#.c", "a.b.b.d", false),
            ("*.b", "a.b", true),
            ("a", "ab", false),
            ("#.#.#", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn nothing_is_permitted_that_no_grant_names() {
        let here = Name::new(b"/").expect("a name");
        let there = Name::new(b"other").expect("a name");
        let reader = Principal {
            name: "r".into(),
            grants: vec![Grant {
                namespace: Some(here.clone()),
                pattern: "orders.*".into(),
                operations: Operations::NONE.with(Operation::Consume),
            }],
        };
        assert!(reader.may(Operation::Consume, &here, "orders.eu"));
        assert!(!reader.may(Operation::Publish, &here, "orders.eu"));
        assert!(!reader.may(Operation::Consume, &there, "orders.eu"));
        assert!(!reader.may(Operation::Consume, &here, "orders"));
    }
}
