//! What the broker says of one thing: the fields of an OK or of an ITEM, and how people and
//! programs are shown them.
//!
//! What a field is follows from its key alone, never from its value: a queue named `17` stays text.

use courant_wire::text::Fields;
use serde_json::{Value, json};

use crate::folder_report::size;
use crate::quantity::{moment_text, time_text};
use crate::table::Align;

/// The fields of one reply, without their escapes, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    fields: Vec<(String, String)>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Truth,
    Count,
    Bytes,
    Time,
    Moment,
}

/// Keys of numbers that are neither sizes nor times.
const COUNTS: &[&str] = &[
    "ready",
    "open",
    "subscriptions",
    "max_length",
    "max_attempts",
    "credit",
    "count",
    "messages",
    "bindings",
    "queues",
    "exchanges",
    "sessions",
    "weight",
    "attempts",
    "done",
    "left",
];
const TIMES: &[&str] = &["visibility", "expires", "message_ttl", "age", "idle"];
const TRUTHS: &[&str] = &["durable", "exclusive", "auto_delete", "internal", "more"];

impl Kind {
    fn of(key: &str) -> Self {
        if key == "bytes" || key.ends_with("_bytes") {
            Self::Bytes
        } else if TIMES.contains(&key) || key.ends_with("_ms") {
            Self::Time
        } else if key == "since" {
            Self::Moment
        } else if COUNTS.contains(&key) || key.starts_with("left_") {
            Self::Count
        } else if TRUTHS.contains(&key) {
            Self::Truth
        } else {
            Self::Text
        }
    }

    /// The value for a person.
    fn shown(self, value: &str) -> String {
        match (self, value.parse::<u64>()) {
            (Self::Bytes, Ok(bytes)) => size(bytes),
            (Self::Time, Ok(ms)) => time_text(std::time::Duration::from_millis(ms)),
            (Self::Moment, Ok(ms)) => moment_text(ms),
            _ => value.to_owned(),
        }
    }

    /// The value for a program: numbers in their smallest unit.
    fn json(self, value: &str) -> Value {
        match (self, value) {
            (Self::Truth, "yes" | "no") => json!(value == "yes"),
            (Self::Count | Self::Bytes | Self::Time | Self::Moment, _) => {
                value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number))
            }
            _ => json!(value),
        }
    }
}

impl Item {
    /// Takes the fields of a reply. Bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn of(fields: Fields<'_>) -> Self {
        let fields = fields.iter().map(|(key, value)| {
            let mut buffer = Vec::new();
            let bytes = value.bytes(&mut buffer).unwrap_or(value.raw());
            let key = String::from_utf8_lossy(key).into_owned();
            (key, String::from_utf8_lossy(bytes).into_owned())
        });
        Self { fields: fields.collect() }
    }

    /// Says first what it is about, unless the reply says so.
    pub(crate) fn named(mut self, key: &str, name: &str) -> Self {
        if self.get(key).is_none() {
            self.fields.insert(0, (key.to_owned(), name.to_owned()));
        }
        self
    }

    /// Keys and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The first value of a key, for a person.
    pub(crate) fn shown(&self, key: &str) -> Option<String> {
        self.get(key).map(|value| shown(key, value))
    }

    /// One JSON object on one line; what is there several times is an array.
    pub(crate) fn json(&self) -> String {
        object(self.members())
    }

    /// The same as a value.
    pub(crate) fn value(&self) -> Value {
        self.members().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The members of that object.
    pub(crate) fn members(&self) -> Vec<(&str, Value)> {
        let mut fields: Vec<(&str, Value)> = Vec::new();
        for (key, value) in self.iter() {
            let value = Kind::of(key).json(value);
            match fields.iter_mut().find(|(known, _)| *known == key) {
                None => fields.push((key, value)),
                Some((_, Value::Array(values))) => values.push(value),
                Some((_, earlier)) => *earlier = Value::Array(vec![earlier.take(), value]),
            }
        }
        fields
    }
}

/// A JSON object on one line, its members in this order.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let members = members.into_iter().map(|(key, value)| format!("{}:{value}", json!(key)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// A value for a person, with its unit.
pub(crate) fn shown(key: &str, value: &str) -> String {
    Kind::of(key).shown(value)
}

/// A value for a program: numbers in their smallest unit.
pub(crate) fn json(key: &str, value: &str) -> Value {
    Kind::of(key).json(value)
}

/// Where the column of a key is aligned.
pub(crate) fn align(key: &str) -> Align {
    match Kind::of(key) {
        Kind::Text | Kind::Truth | Kind::Moment => Align::Left,
        Kind::Count | Kind::Bytes | Kind::Time => Align::Right,
    }
}

#[cfg(test)]
mod tests {
    use courant_wire::Limits;
    use courant_wire::text::{DecodedReply, Reply, decode_reply};

    use super::*;

    fn item(line: &[u8]) -> Item {
        match decode_reply(line, &Limits::DEFAULT) {
            DecodedReply::Reply { reply: Reply::Ok { fields }, .. } => Item::of(fields),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_of_digits_stays_text() {
        let item = item(b"OK queue:17 ready:17 bytes:2048 durable:no visibility:30000\n");
        assert_eq!(
            item.json(),
            "{\"queue\":\"17\",\"ready\":17,\"bytes\":2048,\"durable\":false,\"visibility\":30000}"
        );
        assert_eq!(item.shown("bytes").as_deref(), Some("2.0 KiB"));
        assert_eq!(item.shown("visibility").as_deref(), Some("30s"));
        assert_eq!(item.shown("nothing"), None);
    }

    #[test]
    fn moments_are_dates_for_people_and_numbers_for_programs() {
        assert_eq!(shown("since", "1763705846000"), "2025-11-21T06:17:26Z");
        assert_eq!(json("since", "1763705846000"), json!(1_763_705_846_000_u64));
    }

    #[test]
    fn escapes_are_gone_and_repetitions_are_arrays() {
        let item = item(b"OK queue:a%20b h:k=v h:l=w\n");
        assert_eq!(item.json(), "{\"queue\":\"a b\",\"h\":[\"k=v\",\"l=w\"]}");
    }
}
