//! Filters of a headers exchange, found by the headers of a message.
//!
//! A binding's key is a filter in writing: a mode (u8), then the headers it wants in rising order,
//! each as the length of its name (u16), name, type (u8), length of its value (u16), value. Equal
//! filters are equal bytes.
//!
//! Two values are equal if type and value are, but whole numbers and floats are compared by value;
//! a wanted `Null` is satisfied by any header of that name. Names that begin with `x-` are looked
//! at by the modes *with x* only.
//!
//! A filter that wants any of its headers is filed under each of them; one that wants all, under
//! the first that has a value, and is looked at as a whole when that one occurs. So a message costs
//! what its own headers find, not what is bound.

use crate::exchange::{Endpoint, Key};
use crate::message::{Header, Value};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// Longest filter in writing.
pub const FILTER_BYTES_MAX: usize = 8192;

/// How much of a filter has to be satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum HeaderMode {
    /// Every header but those that begin with `x-`.
    All = 1,
    /// One of them.
    Any = 2,
    /// Every header.
    AllWithX = 3,
    /// One of all.
    AnyWithX = 4,
}

impl HeaderMode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::AllWithX => "all-with-x",
            Self::AnyWithX => "any-with-x",
        }
    }

    /// The mode that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        (1..=4).filter_map(Self::from_number).find(|mode| mode.word() == word)
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::All, Self::Any, Self::AllWithX, Self::AnyWithX]
            .into_iter()
            .find(|mode| *mode as u8 == number)
    }

    fn looks_at(self, name: &str) -> bool {
        self >= Self::AllWithX || !name.starts_with("x-")
    }

    fn wants_all(self) -> bool {
        matches!(self, Self::All | Self::AllWithX)
    }
}

/// What a binding of a headers exchange wants.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderFilter<'a> {
    /// How much of it has to be satisfied.
    pub mode: HeaderMode,
    /// The headers, in any order.
    pub headers: Vec<Header<'a>>,
}

impl<'a> HeaderFilter<'a> {
    /// The filter in writing: the key of a binding. `None` if it is longer than
    /// [`FILTER_BYTES_MAX`], or a header is not a number.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut each = Vec::new();
        for header in &self.headers {
            let mut entry = Vec::new();
            let mut value = Vec::new();
            let kind = put_value(&header.value, &mut value)?;
            entry.extend_from_slice(&u16::try_from(header.name.len()).ok()?.to_le_bytes());
            entry.extend_from_slice(header.name.as_bytes());
            entry.push(kind);
            entry.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
            entry.extend_from_slice(&value);
            each.push(entry);
        }
        each.sort_unstable();
        each.dedup();
        let bytes = [vec![self.mode as u8], each.concat()].concat();
        (bytes.len() <= FILTER_BYTES_MAX).then_some(bytes)
    }

    /// Reads what [`Self::encode`] wrote; `None` if the bytes are something else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (mode, mut rest) = bytes.split_first()?;
        if bytes.len() > FILTER_BYTES_MAX {
            return None;
        }
        let mode = HeaderMode::from_number(*mode)?;
        let mut headers = Vec::new();
        let mut last: &[u8] = &[];
        while !rest.is_empty() {
            let begin = rest;
            let (name, behind) = split_name(rest)?;
            let (kind, behind) = behind.split_first()?;
            let (value, behind) = split_sized(behind)?;
            let entry = &begin[..begin.len() - behind.len()];
            if entry <= last {
                return None;
            }
            (last, rest) = (entry, behind);
            headers.push(Header { name, value: value_of(*kind, value)? });
        }
        Some(Self { mode, headers })
    }

    /// Whether a message with these headers satisfies it.
    pub fn matches(&self, given: &[Header<'_>]) -> bool {
        let mut wanted = self.headers.iter().filter(|header| self.mode.looks_at(header.name));
        let is_given = |wanted: &Header<'_>| {
            given.iter().any(|header| header.name == wanted.name && meets(header, wanted))
        };
        if self.mode.wants_all() { wanted.all(is_given) } else { wanted.any(is_given) }
    }
}

fn meets(given: &Header<'_>, wanted: &Header<'_>) -> bool {
    match wanted.value {
        Value::Null => true,
        value => equal(value, given.value),
    }
}

fn equal(a: Value<'_>, b: Value<'_>) -> bool {
    match (plain(a), plain(b)) {
        // What is no whole number is equal bit by bit; NaN is equal to nothing.
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() && !a.is_nan(),
        (a, b) => a == b,
    }
}

/// A float that is a whole number as that.
fn plain(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Float(float) => whole(float).map_or(value, Value::Int),
        _ => value,
    }
}

fn whole(float: f64) -> Option<i64> {
    // −2⁶³ and 2⁶³ are floats; everything whole from the first up to before the second fits.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let fits = float.fract() == 0.0 && (-LIMIT..LIMIT).contains(&float);
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    fits.then_some(float as i64)
}

/// Writes a value in the form in which equal ones are equal bytes; gives its type.
fn put_value(value: &Value<'_>, out: &mut Vec<u8>) -> Option<u8> {
    Some(match plain(*value) {
        Value::Null => 0,
        Value::Bool(value) => {
            out.push(u8::from(value));
            1
        }
        Value::Int(value) => {
            out.extend_from_slice(&value.to_le_bytes());
            2
        }
        Value::Float(value) if value.is_nan() => return None,
        Value::Float(value) => {
            out.extend_from_slice(&value.to_le_bytes());
            3
        }
        Value::Text(value) => {
            out.extend_from_slice(value.as_bytes());
            4
        }
        Value::Bytes(value) => {
            out.extend_from_slice(value);
            5
        }
        Value::Time(value) => {
            out.extend_from_slice(&value.to_le_bytes());
            6
        }
    })
}

fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (name, rest) = split_sized(bytes)?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

fn value_of(kind: u8, bytes: &[u8]) -> Option<Value<'_>> {
    let eight = || <[u8; 8]>::try_from(bytes).ok();
    Some(match (kind, bytes) {
        (0, []) => Value::Null,
        (1, [0]) => Value::Bool(false),
        (1, [1]) => Value::Bool(true),
        (2, _) => Value::Int(i64::from_le_bytes(eight()?)),
        (3, _) => {
            let float = f64::from_le_bytes(eight()?);
            if float.is_nan() || whole(float).is_some() {
                return None;
            }
            Value::Float(float)
        }
        (4, _) => Value::Text(std::str::from_utf8(bytes).ok()?),
        (5, _) => Value::Bytes(bytes),
        (6, _) => Value::Time(u64::from_le_bytes(eight()?)),
        _ => return None,
    })
}

/// Under what a filter is filed: a name, and a value unless its being there is enough.
fn file_under(name: &str, value: Option<&Value<'_>>, out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend_from_slice(name.as_bytes());
    // No name has this byte, so no two headers are filed under the same.
    out.push(0xff);
    let Some(value) = value else { return true };
    let at = out.len();
    out.push(0);
    let kind = put_value(value, out);
    out[at] = kind.unwrap_or(0);
    kind.is_some()
}

/// Endpoints by filter.
#[derive(Debug)]
pub(crate) struct Filters<T> {
    filed: HashMap<Box<[u8]>, BTreeSet<(Key, T)>, FixedState>,
    /// Filters that want nothing and get everything.
    always: BTreeSet<(Key, T)>,
}

impl<T> Default for Filters<T> {
    fn default() -> Self {
        Self { filed: HashMap::default(), always: BTreeSet::new() }
    }
}

impl<T: Endpoint> Filters<T> {
    pub(crate) fn add(&mut self, key: &Key, end: T) {
        let Some(filter) = HeaderFilter::decode(key) else { return };
        for place in places(&filter) {
            self.filed.entry(place).or_default().insert((Key::clone(key), end));
        }
        if wants_nothing(&filter) {
            self.always.insert((Key::clone(key), end));
        }
    }

    pub(crate) fn remove(&mut self, key: &Key, end: T) {
        let Some(filter) = HeaderFilter::decode(key) else { return };
        let entry = (Key::clone(key), end);
        for place in places(&filter) {
            if let Some(there) = self.filed.get_mut(&place) {
                there.remove(&entry);
                if there.is_empty() {
                    self.filed.remove(&place);
                }
            }
        }
        self.always.remove(&entry);
    }

    /// Adds the endpoints of every filter that the headers satisfy, perhaps more than once each.
    pub(crate) fn find(&self, given: &[Header<'_>], found: &mut Vec<T>) {
        found.extend(self.always.iter().map(|(_, end)| *end));
        if self.filed.is_empty() {
            return;
        }
        let mut place = Vec::new();
        for header in given {
            for value in [None, Some(&header.value)] {
                if !file_under(header.name, value, &mut place) {
                    continue;
                }
                for (key, end) in self.filed.get(&place[..]).into_iter().flatten() {
                    if HeaderFilter::decode(key).is_some_and(|filter| filter.matches(given)) {
                        found.push(*end);
                    }
                }
            }
        }
    }
}

fn wants_nothing(filter: &HeaderFilter<'_>) -> bool {
    filter.mode.wants_all() && !filter.headers.iter().any(|h| filter.mode.looks_at(h.name))
}

fn places(filter: &HeaderFilter<'_>) -> Vec<Box<[u8]>> {
    let wanted = filter.headers.iter().filter(|header| filter.mode.looks_at(header.name));
    let place = |header: &Header<'_>| {
        let value = (header.value != Value::Null).then_some(&header.value);
        let mut place = Vec::new();
        file_under(header.name, value, &mut place);
        Box::from(place)
    };
    if filter.mode.wants_all() {
        // The first with a value, else the first.
        let with_value = wanted.clone().find(|header| header.value != Value::Null);
        return with_value.or(wanted.clone().next()).map(place).into_iter().collect();
    }
    wanted.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header<'a>(name: &'a str, value: Value<'a>) -> Header<'a> {
        Header { name, value }
    }

    #[test]
    fn values_by_hand() {
        for (wanted, given, expected) in [
            (Value::Int(5), Value::Int(5), true),
            (Value::Int(5), Value::Float(5.0), true),
            (Value::Float(5.0), Value::Int(5), true),
            (Value::Float(0.5), Value::Float(0.5), true),
            (Value::Float(-0.0), Value::Int(0), true),
            (Value::Int(5), Value::Text("5"), false),
            (Value::Int(1), Value::Bool(true), false),
            (Value::Int(5), Value::Time(5), false),
            (Value::Text("a"), Value::Bytes(b"a"), false),
            (Value::Null, Value::Text("whatever"), true),
            (Value::Text("a"), Value::Null, false),
            (Value::Float(9_223_372_036_854_775_808.0), Value::Int(i64::MAX), false),
            (Value::Float(f64::INFINITY), Value::Float(f64::INFINITY), true),
        ] {
            let filter = HeaderFilter { mode: HeaderMode::All, headers: vec![header("h", wanted)] };
            let given = [header("h", given)];
            assert_eq!(filter.matches(&given), expected, "{wanted:?} {given:?}");
            let mut filters = Filters::default();
            filters.add(&filter.encode().expect("short").into(), 1u32);
            let mut found = Vec::new();
            filters.find(&given, &mut found);
            assert_eq!(!found.is_empty(), expected, "{wanted:?} {given:?}");
        }
    }

    #[test]
    fn names_with_x_count_where_the_mode_says_so() {
        let headers = vec![header("x-a", Value::Int(1)), header("b", Value::Int(2))];
        let only_b = [header("b", Value::Int(2))];
        let only_x = [header("x-a", Value::Int(1))];
        for (mode, with_b, with_x) in [
            (HeaderMode::All, true, false),
            (HeaderMode::Any, true, false),
            (HeaderMode::AllWithX, false, false),
            (HeaderMode::AnyWithX, true, true),
        ] {
            let filter = HeaderFilter { mode, headers: headers.clone() };
            assert_eq!((filter.matches(&only_b), filter.matches(&only_x)), (with_b, with_x));
        }
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop::sample::select(vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(1),
            Value::Int(2),
            Value::Float(1.0),
            Value::Float(1.5),
            Value::Float(f64::NAN),
            Value::Text("1"),
            Value::Bytes(b"1"),
            Value::Time(1),
        ])
    }

    fn headers(most: usize) -> impl Strategy<Value = Vec<Header<'static>>> {
        let name = prop::sample::select(vec!["a", "b", "x-a", "c"]);
        prop::collection::vec((name, value()), 0..most)
            .prop_map(|all| all.into_iter().map(|(name, value)| Header { name, value }).collect())
    }

    fn filter() -> impl Strategy<Value = HeaderFilter<'static>> {
        (1..=4u8, headers(4)).prop_map(|(mode, headers)| {
            let mode = HeaderMode::from_number(mode).expect("one of four");
            HeaderFilter { mode, headers }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn filters_find_what_a_look_at_every_filter_finds(
            changes in prop::collection::vec((filter(), 0..3u32, any::<bool>()), 0..16),
            given in headers(5),
        ) {
            let mut filters = Filters::default();
            let mut all: BTreeSet<(Key, u32)> = BTreeSet::new();
            for (filter, end, is_added) in &changes {
                let Some(key) = filter.encode() else { continue };
                prop_assert!(HeaderFilter::decode(&key).is_some());
                let key = Key::from(key);
                if *is_added && all.insert((Key::clone(&key), *end)) {
                    filters.add(&key, *end);
                } else if !*is_added && all.remove(&(Key::clone(&key), *end)) {
                    filters.remove(&key, *end);
                }
            }
            let mut found = Vec::new();
            filters.find(&given, &mut found);
            let found: BTreeSet<u32> = found.into_iter().collect();
            let matches = |key: &Key| HeaderFilter::decode(key).is_some_and(|f| f.matches(&given));
            let matching = all.iter().filter(|(key, _)| matches(key));
            let expected: BTreeSet<u32> = matching.map(|(_, end)| *end).collect();
            prop_assert_eq!(found, expected);
            for (key, end) in &all {
                filters.remove(key, *end);
            }
            prop_assert!(filters.filed.is_empty() && filters.always.is_empty());
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..40), mode in 1..5u8) {
            let mut filters = Filters::default();
            for key in [Key::from(&bytes[..]), [&[mode], &bytes[..]].concat().into()] {
                if let Some(filter) = HeaderFilter::decode(&key) {
                    let again = filter.encode();
                    prop_assert_eq!(again.as_deref(), Some(&key[..]));
                }
                filters.add(&key, 1u32);
            }
        }
    }
}
