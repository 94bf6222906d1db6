//! Patterns of a topic exchange, found by the key of a message.
//!
//! A pattern is segments split by `.`: `*` stands for any one, `#` for zero or more, `>` at the end
//! for one or more (it is `*.#`). A pattern that begins with one of them never matches a key that
//! begins with `$`. An empty key has no segments.
//!
//! Patterns that mean the same stand in the same place: in a run of wildcards the stars come first
//! and one `#` stands for all, so a node behind `#` has literal children only. A change costs the
//! length of its pattern. A match walks the key once and keeps the nodes it may be in; a node
//! behind a `#` stays among them from there on, and no node is there twice.

use crate::exchange::Endpoint;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Literal(&'a [u8]),
    One,
    Any,
}

/// Endpoints by pattern.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<[u8]>, Node<T>, FixedState>,
    one: Option<Box<Node<T>>>,
    any: Option<Box<Node<T>>>,
    /// What the pattern that ends here leads to, and how often: `a.>` and `a.*.#` are one pattern.
    ends: BTreeMap<T, u32>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::default(), one: None, any: None, ends: BTreeMap::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.any.is_none() && self.ends.is_empty()
    }
}

/// The steps of a pattern, runs of wildcards in their one form.
fn steps(pattern: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    if pattern.is_empty() {
        return steps;
    }
    let mut ends_run = false;
    let mut segments = pattern.split(|byte| *byte == b'.').peekable();
    let put = |step: Step<'_>, steps: &mut Vec<_>, ends_run: &mut bool| match step {
        Step::Any => *ends_run = true,
        Step::One => steps.push(Step::One),
        Step::Literal(_) => {
            if std::mem::take(ends_run) {
                steps.push(Step::Any);
            }
        }
    };
    while let Some(segment) = segments.next() {
        match segment {
            b"#" => put(Step::Any, &mut steps, &mut ends_run),
            b"*" => put(Step::One, &mut steps, &mut ends_run),
            b">" if segments.peek().is_none() => {
                put(Step::One, &mut steps, &mut ends_run);
                put(Step::Any, &mut steps, &mut ends_run);
            }
            literal => {
                put(Step::Literal(literal), &mut steps, &mut ends_run);
                steps.push(Step::Literal(literal));
            }
        }
    }
    if ends_run {
        steps.push(Step::Any);
    }
    steps
}

/// The first segment of a pattern if that is a literal.
pub(crate) fn first_literal(pattern: &[u8]) -> Option<&[u8]> {
    match steps(pattern).first() {
        None => Some(b""),
        Some(Step::Literal(literal)) => Some(literal),
        Some(Step::One | Step::Any) => None,
    }
}

/// The first segment of a key.
pub(crate) fn first_segment(key: &[u8]) -> &[u8] {
    key.split(|byte| *byte == b'.').next().unwrap_or_default()
}

impl<T: Endpoint> Trie<T> {
    /// Adds an endpoint behind a pattern.
    pub(crate) fn add(&mut self, pattern: &[u8], end: T) {
        let mut node = &mut self.root;
        for step in steps(pattern) {
            node = match step {
                Step::Literal(literal) => node.literals.entry(literal.into()).or_default(),
                Step::One => node.one.get_or_insert_default(),
                Step::Any => node.any.get_or_insert_default(),
            };
        }
        *node.ends.entry(end).or_insert(0) += 1;
    }

    /// Takes that back.
    pub(crate) fn remove(&mut self, pattern: &[u8], end: T) {
        remove(&mut self.root, &steps(pattern), end);
    }

    /// Adds the endpoints of every pattern that matches the key, perhaps more than once each.
    pub(crate) fn find(&self, key: &[u8], found: &mut Vec<T>) {
        let mut matching = Matching::default();
        let root = &self.root;
        if key.first() == Some(&b'$') {
            let mut segments = key.split(|byte| *byte == b'.');
            let first = segments.next().unwrap_or_default();
            if let Some(node) = root.literals.get(first) {
                matching.enter(node);
                segments.for_each(|segment| matching.advance(segment));
            }
        } else {
            matching.enter(root);
            if !key.is_empty() {
                key.split(|byte| *byte == b'.').for_each(|segment| matching.advance(segment));
            }
        }
        for node in matching.now.iter().chain(&matching.staying) {
            found.extend(node.ends.keys());
        }
    }
}

fn remove<T: Endpoint>(node: &mut Node<T>, steps: &[Step<'_>], end: T) {
    let Some((step, rest)) = steps.split_first() else {
        if let Some(count) = node.ends.get_mut(&end) {
            *count -= 1;
            if *count == 0 {
                node.ends.remove(&end);
            }
        }
        return;
    };
    match step {
        Step::Literal(literal) => {
            if let Some(next) = node.literals.get_mut(*literal) {
                remove(next, rest, end);
                if next.is_empty() {
                    node.literals.remove(*literal);
                }
            }
        }
        Step::One => remove_from(&mut node.one, rest, end),
        Step::Any => remove_from(&mut node.any, rest, end),
    }
}

fn remove_from<T: Endpoint>(slot: &mut Option<Box<Node<T>>>, rest: &[Step<'_>], end: T) {
    if let Some(next) = slot {
        remove(next, rest, end);
        if next.is_empty() {
            *slot = None;
        }
    }
}

/// Where a match is after some segments of the key.
struct Matching<'t, T> {
    now: Vec<&'t Node<T>>,
    next: Vec<&'t Node<T>>,
    /// Nodes behind a `#`: whatever comes, the match is still there.
    staying: Vec<&'t Node<T>>,
    /// Their addresses.
    is_staying: HashSet<usize, FixedState>,
}

impl<T> Default for Matching<'_, T> {
    fn default() -> Self {
        let (now, next, staying) = (Vec::new(), Vec::new(), Vec::new());
        Self { now, next, staying, is_staying: HashSet::default() }
    }
}

impl<'t, T> Matching<'t, T> {
    fn enter(&mut self, node: &'t Node<T>) {
        self.now.push(node);
        self.stay(node);
    }

    fn stay(&mut self, node: &'t Node<T>) {
        if let Some(any) = &node.any
            && self.is_staying.insert(std::ptr::from_ref::<Node<T>>(any).addr())
        {
            self.staying.push(any);
        }
    }

    fn advance(&mut self, segment: &[u8]) {
        self.next.clear();
        for node in self.now.iter().chain(&self.staying) {
            self.next.extend(node.literals.get(segment));
            self.next.extend(node.one.as_deref());
        }
        std::mem::swap(&mut self.now, &mut self.next);
        for at in 0..self.now.len() {
            self.stay(self.now[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Straight from the words of the definition.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((&">", [])), rest) => rest.is_some(),
            (Some((&"#", rest)), None) => matches(rest, key),
            (Some((&"#", rest)), Some((_, tail))) => matches(rest, key) || matches(pattern, tail),
            (Some((&"*", rest)), Some((_, tail))) => matches(rest, tail),
            (Some((literal, rest)), Some((segment, tail))) => {
                literal == segment && matches(rest, tail)
            }
            (Some(_), None) => false,
        }
    }

    fn split(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }

    fn naive(pattern: &str, key: &str) -> bool {
        let first = pattern.split('.').next().unwrap_or_default();
        let is_wild = first == "*" || first == "#" || pattern == ">";
        !(is_wild && key.starts_with('$')) && matches(&split(pattern), &split(key))
    }

    #[test]
    fn patterns_by_hand() {
        for (pattern, key, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.", true),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            (">", "", false),
            (">.a", ">.a", true),
            ("#", "", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("#.#", "a", true),
            ("#.*.#", "", false),
            ("#.a.#.a.#", "a", false),
            ("#.a.#.a.#", "x.a.a", true),
            ("#", "$sys", false),
            ("*.a", "$sys.a", false),
            (">", "$sys", false),
            ("$sys.#", "$sys.a", true),
            ("$sys.*", "$sys.a", true),
            ("a.#", "a.$b", true),
        ] {
            let mut trie = Trie::default();
            trie.add(pattern.as_bytes(), 1u32);
            let mut found = Vec::new();
            trie.find(key.as_bytes(), &mut found);
            assert_eq!(!found.is_empty(), expected, "{pattern} {key}");
            assert_eq!(naive(pattern, key), expected, "the test itself: {pattern} {key}");
            trie.remove(pattern.as_bytes(), 1);
            assert!(trie.root.is_empty(), "{pattern} left something behind");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["a", "b", "", "*", "#", ">", "$s", "aa"]);
        prop::collection::vec(word, 0..6).prop_map(|words| words.join("."))
    }

    fn key() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["a", "b", "", "$s", "aa", "c", ">"]);
        prop::collection::vec(word, 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Patterns come and go; what a key finds is what a look at each of them says.
        #[test]
        fn a_trie_finds_what_a_look_at_every_pattern_finds(
            changes in prop::collection::vec((pattern(), 0..4u32, any::<bool>()), 0..24),
            keys in prop::collection::vec(key(), 1..12),
        ) {
            let mut trie = Trie::default();
            let mut all: BTreeSet<(String, u32)> = BTreeSet::new();
            for (pattern, end, is_added) in changes {
                if is_added && all.insert((pattern.clone(), end)) {
                    trie.add(pattern.as_bytes(), end);
                } else if !is_added && all.remove(&(pattern.clone(), end)) {
                    trie.remove(pattern.as_bytes(), end);
                }
            }
            for key in keys {
                let mut found = Vec::new();
                trie.find(key.as_bytes(), &mut found);
                let found: BTreeSet<u32> = found.into_iter().collect();
                let matching = all.iter().filter(|(pattern, _)| naive(pattern, &key));
                let expected: BTreeSet<u32> = matching.map(|(_, end)| *end).collect();
                prop_assert_eq!(found, expected, "{:?} in {:?}", key, all);
            }
            for (pattern, end) in &all {
                trie.remove(pattern.as_bytes(), *end);
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
