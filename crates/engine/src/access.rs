//! Who may do what: one pure question that every operation below every door asks.
//!
//! A [`Principal`] holds grants: operations on the names that a [`Pattern`] matches, in one
//! namespace or in all. What no grant names is refused. Nothing is allocated by asking.

use crate::name::{Name, NameError};
use std::fmt;
use std::sync::Arc;

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

/// Which names a grant is about, made ready for matching. Segments are split by `.`; a segment
/// `#` is zero or more segments; within a segment `*` is any text without a dot. A pattern that
/// begins with a wildcard does not match names that begin with `$`, but for `#` alone, which is
/// every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Without two `#` in a row.
    segments: Box<[Box<str>]>,
}

impl Pattern {
    /// Every name.
    pub fn every() -> Self {
        Self { segments: Box::from([Box::from("#")]) }
    }

    /// Checks a pattern as somebody wrote it: as long as a name, and of the same characters.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut segments: Vec<Box<str>> = Vec::new();
        for segment in Name::check(text.as_bytes())?.split('.') {
            if segment != "#" || segments.last().is_none_or(|last| &**last != "#") {
                segments.push(Box::from(segment));
            }
        }
        Ok(Self { segments: segments.into() })
    }

    /// Whether it is every name.
    pub fn is_every(&self) -> bool {
        matches!(&*self.segments, [only] if &**only == "#")
    }

    /// Whether a name matches. Takes at most the product of the two lengths.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_every() {
            return true;
        }
        if name.starts_with('$') && self.segments[0].starts_with(['#', '*']) {
            return false;
        }
        // Where they part, the last `#` takes one segment more: an earlier one need not be asked
        // again, since what came between matched as early as it could.
        let (mut wanted, mut given) = (0, Some(name));
        let mut retry: Option<(usize, Option<&str>)> = None;
        loop {
            match (self.segments.get(wanted), given) {
                (Some(segment), _) if &**segment == "#" => {
                    wanted += 1;
                    retry = Some((wanted, given));
                    continue;
                }
                (Some(segment), Some(rest)) => {
                    let (first, rest) = split_first(rest);
                    if segment_matches(segment.as_bytes(), first.as_bytes()) {
                        (wanted, given) = (wanted + 1, rest);
                        continue;
                    }
                }
                (None, None) => return true,
                (Some(_), None) | (None, Some(_)) => {}
            }
            let Some((after, Some(from))) = retry else { return false };
            let (_, rest) = split_first(from);
            retry = Some((after, rest));
            (wanted, given) = (after, rest);
        }
    }
}

/// The first segment of a name, and the rest if there is one.
fn split_first(name: &str) -> (&str, Option<&str>) {
    match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    }
}

/// Whether one segment matches, where `*` is any text.
fn segment_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut taken) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while taken < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, taken));
            }
            Some(byte) if *byte == text[taken] => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (at, taken) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// Permission for operations on names that match a pattern, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The namespace; `None` means every one.
    pub namespace: Option<Name>,
    /// Which names.
    pub pattern: Pattern,
    /// What is permitted.
    pub operations: Operations,
}

impl Grant {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|only| only.as_str() == namespace)
    }
}

/// How somebody came to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is this process.
    Process,
    /// By coming while no credential existed.
    Anonymous,
    /// By a credential, of which this is a digest.
    Credential([u8; 32]),
}

/// Somebody who was authenticated, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub name: String,
    /// Everything that is permitted; what no grant names is refused.
    pub grants: Arc<[Grant]>,
    /// How that one came to be trusted.
    pub origin: Origin,
}

impl Principal {
    /// Somebody who may do everything, everywhere: the embedded user, and every client as long
    /// as no credential exists.
    pub fn unrestricted(name: &str) -> Self {
        let all = Grant { namespace: None, pattern: Pattern::every(), operations: Operations::ALL };
        Self { name: name.to_owned(), grants: Arc::from([all]), origin: Origin::Process }
    }

    /// The same one, who may do nothing any more.
    #[must_use]
    pub fn stripped(&self) -> Self {
        Self { grants: Arc::from([]), ..self.clone() }
    }

    /// Whether the operation on that name is permitted.
    pub fn may(&self, operation: Operation, namespace: &Name, name: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.operations.has(operation)
                && grant.covers(namespace.as_str())
                && grant.pattern.matches(name)
        })
    }

    /// Whether a session may begin in a namespace: something in it is permitted.
    pub fn may_enter(&self, namespace: &str) -> bool {
        self.grants.iter().any(|grant| grant.covers(namespace))
    }

    /// Whether a namespace of that name may be made: everything in it may be configured.
    pub fn may_make(&self, namespace: &str) -> bool {
        self.may_with_all(Operation::Configure, namespace)
    }

    /// Whether one grant permits the operation on every name of a namespace.
    pub fn may_with_all(&self, operation: Operation, namespace: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.operations.has(operation) && grant.covers(namespace) && grant.pattern.is_every()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).expect("a pattern").matches(name)
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("#", "a.b", true),
            ("#", "$session.1", true),
            ("#.a", "$x.a", false),
            ("*", "$x", false),
            ("$q.#", "$q.1.2", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#.c", "a.c", true),
            ("a.#.c", "a.b.b.c", true),
            ("a.#.c", "a.b.b.d", false),
            ("a.#.c.#.d", "a.c.x.c.y.d", true),
            ("a.#.c.#.d", "a.x.d.c", false),
            ("#.b", "a.b.b", true),
            ("*.b", "a.b", true),
            ("a", "ab", false),
            ("#.#.#", "x", true),
            ("orders-*", "orders-eu", true),
            ("orders-*", "orders-", true),
            ("orders-*", "orders-eu.x", false),
            ("events/*", "events/worker", true),
            ("*-*-x", "a-b-c-x", true),
            ("*-*-x", "a-x", false),
            ("a*", "a", true),
            ("*a", "ba.a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// What the fast way says is what the definition says, for all short patterns and names.
    #[test]
    fn matching_is_as_defined() {
        fn defined(pattern: &[&str], name: &[&str]) -> bool {
            match (pattern.split_first(), name.split_first()) {
                (None, None) => true,
                (Some((&"#", rest)), _) => (0..=name.len()).any(|n| defined(rest, &name[n..])),
                (Some((&"*", rest)), Some((_, left))) => defined(rest, left),
                (Some((segment, rest)), Some((first, left))) => {
                    segment == first && defined(rest, left)
                }
                _ => false,
            }
        }
        fn all<'a>(letters: &[&'a str], most: usize) -> Vec<Vec<&'a str>> {
            let mut lists: Vec<Vec<&str>> = letters.iter().map(|letter| vec![*letter]).collect();
            let mut from = 0;
            for _ in 1..most {
                let to = lists.len();
                for i in from..to {
                    for letter in letters {
                        let mut longer = lists[i].clone();
                        longer.push(letter);
                        lists.push(longer);
                    }
                }
                from = to;
            }
            lists
        }
        for pattern in all(&["a", "b", "*", "#"], 5) {
            let compiled = Pattern::new(&pattern.join(".")).expect("a pattern");
            for name in all(&["a", "b"], 5) {
                let text = name.join(".");
                assert_eq!(compiled.matches(&text), defined(&pattern, &name), "{compiled} {text}");
            }
        }
    }

    #[test]
    fn nothing_is_permitted_that_no_grant_names() {
        let here = Name::new(b"/").expect("a name");
        let there = Name::new(b"other").expect("a name");
        let grant = Grant {
            namespace: Some(here.clone()),
            pattern: Pattern::new("orders.*").expect("a pattern"),
            operations: Operations::NONE.with(Operation::Consume),
        };
        let (name, grants) = ("r".to_owned(), Arc::from([grant]));
        let reader = Principal { name, grants, origin: Origin::Process };
        assert!(reader.may(Operation::Consume, &here, "orders.eu"));
        assert!(!reader.may(Operation::Publish, &here, "orders.eu"));
        assert!(!reader.may(Operation::Consume, &there, "orders.eu"));
        assert!(!reader.may(Operation::Consume, &here, "orders"));
        assert!(reader.may_enter("/") && !reader.may_enter("other"));
        assert!(!reader.may_make("/"));
        assert!(!reader.stripped().may(Operation::Consume, &here, "orders.eu"));
        assert!(Principal::unrestricted("p").may_make("any"));
    }
}
