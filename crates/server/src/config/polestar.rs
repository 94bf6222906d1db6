//! Polestar's JSON files as a file of ours.
//!
//! A hub's file becomes options. Publishers and consumers are clients and have no options of a
//! broker: what they need is written as commands, in comments. No key is dropped without a word:
//! each is taken, or named with the reason why it is not. Names of keys are compared without case,
//! as Polestar does. `${VAR}` stays as it is, because our files know it too.

use std::fmt::Write as _;
use std::path::Path;

use super::fault::nearest;
use super::node::Node;
use super::{Fault, file};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Hub,
    Publisher,
    Consumer,
}

/// What becomes of a key.
#[derive(Clone, Copy)]
enum Fate {
    /// It is needed, and taken.
    Needed,
    /// It is taken where it is there.
    Taken,
    /// It is not taken.
    Left(&'static str),
}

use Fate::{Left, Needed, Taken};

const PER_QUEUE: &str = "queues have no common limit here: max_length, when one is declared";
const NO_WORKERS: &str = "it has no effect: messages are handed over where they arrive";
const NO_DIAL: &str = "the broker dials nobody: consumers connect to it";
const NO_WRITE: &str = "a slow reader is held by its outbox, memory.outboxes_bytes, not by a time";
const IN_CLIENT: &str = "a matter of the client here";
const OVERFLOW: &str = "a policy of each queue here: overflow, when one is declared";

const HUB: &[(&str, Fate)] = &[
    ("ip", Needed),
    ("port", Needed),
    ("readTimeout", Taken),
    ("queueSize", Left(PER_QUEUE)),
    ("workerCount", Left(NO_WORKERS)),
    ("dialTimeout", Left(NO_DIAL)),
    ("writeTimeout", Left(NO_WRITE)),
    ("maxRetries", Left("attempts are counted for each queue: max_attempts, when one is declared")),
    ("clientQueueSize", Left(PER_QUEUE)),
    ("clientWorkerCount", Left(NO_WORKERS)),
    ("clientDialTimeout", Left(NO_DIAL)),
    ("clientWriteTimeout", Left(NO_WRITE)),
    ("clientMaxRetries", Left(NO_DIAL)),
    ("clientQueueFullBehaviour", Left(OVERFLOW)),
];

const PUBLISHER: &[(&str, Fate)] = &[
    ("address", Needed),
    ("port", Taken),
    ("queueSize", Left(IN_CLIENT)),
    ("dialTimeout", Left(IN_CLIENT)),
    ("writeTimeout", Left(IN_CLIENT)),
    ("maxRetries", Left(IN_CLIENT)),
    ("queueFullBehaviour", Left(IN_CLIENT)),
];

const CONSUMER: &[(&str, Fate)] = &[
    ("name", Needed),
    ("hubAddress", Needed),
    ("hubPort", Needed),
    ("topics", Needed),
    ("address", Left(NO_DIAL)),
    ("port", Left(NO_DIAL)),
    ("queueSize", Left("what waits here is bounded by --credit, and the rest stays in the broker")),
    ("dialTimeout", Left(IN_CLIENT)),
    ("writeTimeout", Left(IN_CLIENT)),
    ("maxRetries", Left(IN_CLIENT)),
    ("queueFullBehaviour", Left(OVERFLOW)),
];

/// Port of a hub, where a publisher does not say.
const PORT_DEFAULT: &str = "24353";

/// Why a file can't be imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// It can't be read.
    #[error("{0}")]
    File(#[from] Fault),
    /// It has none of the keys that say whose it is.
    #[error("no hub's file (ip), no consumer's (hubAddress) and no publisher's (address)")]
    Nobody,
    /// A key is missing that its role can't do without.
    #[error("the required key {0} is missing")]
    Missing(&'static str),
    /// A key has a value that means nothing.
    #[error("{key}: {what} where {expected} is expected")]
    Value {
        /// The key.
        key: &'static str,
        /// What is there.
        what: &'static str,
        /// What should be.
        expected: &'static str,
    },
}

/// The file at `path`, as the text of a file in TOML.
pub(crate) fn import(path: &Path) -> Result<String, ImportError> {
    let keys = Keys(file::read(path)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let role = keys.role().ok_or(ImportError::Nobody)?;
    let known = match role {
        Role::Hub => HUB,
        Role::Publisher => PUBLISHER,
        Role::Consumer => CONSUMER,
    };
    for (key, fate) in known {
        if matches!(fate, Needed) && keys.get(key).is_none() {
            return Err(ImportError::Missing(key));
        }
    }
    let mut text = format!("# Made from {} by `courant config import polestar`.\n", shown(&name));
    let also_left = match role {
        Role::Hub => hub(&keys, &mut text)?,
        Role::Publisher => {
            publisher(&keys, &mut text)?;
            None
        }
        Role::Consumer => {
            consumer(&keys, &mut text)?;
            None
        }
    };
    left(&keys, known, also_left, &mut text);
    Ok(text)
}

struct Keys(Vec<(String, Node)>);

impl Keys {
    fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, node)| node)
    }

    fn role(&self) -> Option<Role> {
        let roles =
            [("ip", Role::Hub), ("hubAddress", Role::Consumer), ("address", Role::Publisher)];
        roles.into_iter().find(|(key, _)| self.get(key).is_some()).map(|(_, role)| role)
    }

    /// A plain value as text; empty if it is not there.
    fn plain(&self, key: &'static str) -> Result<String, ImportError> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(node @ (Node::Text(_) | Node::Whole(_))) => Ok(node.to_text()),
            Some(other) => {
                let expected = "text or a number";
                Err(ImportError::Value { key, what: other.kind(), expected })
            }
        }
    }
}

/// Writes a hub's options; a key that turned out not to fit, and why.
fn hub(
    keys: &Keys,
    text: &mut String,
) -> Result<Option<(&'static str, &'static str)>, ImportError> {
    let address = joined(&keys.plain("ip")?, &keys.plain("port")?);
    let _ = write!(text, "\n[native]\n# ip and port\naddress = {}\n", quoted(&address));
    if !address.starts_with("127.") && !address.starts_with("[::1]") {
        text.push_str(
            "# Other machines are let in only where there are users: see docs/config.md.\n",
        );
    }
    match keys.get("readTimeout") {
        None => Ok(None),
        Some(Node::Whole(ms)) if (20..=7_200_000).contains(ms) => {
            text.push_str("# readTimeout: a silent connection is closed after twice this\n");
            let _ = writeln!(text, "ping_every = \"{}ms\"", ms / 2);
            Ok(None)
        }
        Some(_) => Ok(Some(("readTimeout", "it is no number of milliseconds from 20 to 7200000"))),
    }
}

fn publisher(keys: &Keys, text: &mut String) -> Result<(), ImportError> {
    let port = keys.plain("port")?;
    let port = if port.is_empty() { PORT_DEFAULT } else { port.as_str() };
    let address = joined(&keys.plain("address")?, port);
    text.push_str("# A publisher has no options of a broker. It publishes with:\n#\n");
    let _ = writeln!(text, "#   courant pub topic:NAME BODY --addr {}", shown(&address));
    Ok(())
}

fn consumer(keys: &Keys, text: &mut String) -> Result<(), ImportError> {
    let address = joined(&keys.plain("hubAddress")?, &keys.plain("hubPort")?);
    let name = keys.plain("name")?;
    let (address, name) = (shown(&address), shown(&name));
    let expected = "a list of text";
    let topics = match keys.get("topics") {
        Some(Node::List(topics)) => topics.as_slice(),
        other => {
            let what = other.map_or("nothing", Node::kind);
            return Err(ImportError::Value { key: "topics", what, expected });
        }
    };
    text.push_str("# A consumer has no options of a broker. It reads with:\n#\n");
    for topic in topics {
        let Node::Text(topic) = topic else {
            return Err(ImportError::Value { key: "topics", what: topic.kind(), expected });
        };
        let typed = shown(topic);
        if topic.contains('*') {
            let _ = writeln!(
                text,
                "#   {typed} is a pattern: bind a queue to an exchange of the kind topic with it"
            );
        } else {
            let _ = writeln!(text, "#   courant sub topic:{typed} --name {name} --addr {address}");
        }
    }
    Ok(())
}

/// Names every key that was not taken.
fn left(
    keys: &Keys,
    known: &[(&str, Fate)],
    also: Option<(&'static str, &'static str)>,
    text: &mut String,
) {
    let mut lines = String::new();
    for (name, node) in &keys.0 {
        let row = known.iter().find(|(key, _)| name.eq_ignore_ascii_case(key));
        let reason = match row {
            Some((key, _)) if also.is_some_and(|(left, _)| left == *key) => {
                also.map_or("", |(_, reason)| reason).to_owned()
            }
            Some((_, Left(reason))) => (*reason).to_owned(),
            Some((_, Needed | Taken)) => continue,
            None => match nearest(name, known.iter().map(|(key, _)| *key)) {
                Some(meant) => format!("no key of Polestar; perhaps {meant} was meant"),
                None => "no key of Polestar".to_owned(),
            },
        };
        let value = match node {
            Node::List(_) | Node::Table(_) | Node::Null => node.kind().to_owned(),
            plain => plain.to_text(),
        };
        let _ = writeln!(lines, "#   {} = {}: {reason}", shown(name), shown(&value));
    }
    if !lines.is_empty() {
        let _ = write!(text, "\n# Not taken:\n{lines}");
    }
}

/// `HOST:PORT`; IPv6 in brackets.
fn joined(host: &str, port: &str) -> String {
    if host.contains(':') && !host.starts_with('[') && !host.contains("${") {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// As text in TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// In a comment, where a line end would begin something else.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, OPTIONS, check};
    use super::*;

    fn imported(json: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("polestar.json");
        std::fs::write(&path, json).unwrap();
        import(&path).map_err(|error| error.to_string())
    }

    /// What a key has after the text was read as a file of ours.
    fn value(text: &str, key: &str, environment: &Environment) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("courant.toml");
        std::fs::write(&path, text).unwrap();
        let mut config =
            check(&path, environment).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let option = OPTIONS.iter().find(|option| option.key == key).unwrap();
        option.field.text(&mut config.settings)
    }

    #[test]
    fn a_hubs_file_becomes_ours() {
        let text = imported(
            r#"{"ip": "127.0.0.1", "port": 24353, "QueueSize": 1000000, "workerCount": 100,
                "dialTimeout": 1000, "writeTimeout": 2000, "ReadTimeout": 30000, "maxRetries": 3,
                "clientQueueSize": 1000, "clientWorkerCount": 1, "clientDialTimeout": 1,
                "clientWriteTimeout": 1, "clientMaxRetries": 1, "colour": "red\n[log]"}"#,
        );
        let text = text.unwrap();
        let environment = Environment::default();
        assert_eq!(value(&text, "native.address", &environment), "127.0.0.1:24353");
        assert_eq!(value(&text, "native.ping_every", &environment), "15s");
        for (key, _) in HUB.iter().filter(|(_, fate)| matches!(fate, Left(_))) {
            let is_named = text.to_lowercase().contains(&format!("#   {} = ", key.to_lowercase()));
            assert!(is_named || *key == "clientQueueFullBehaviour", "{key}: {text}");
        }
        assert!(text.contains("#   colour = red [log]: no key of Polestar"), "{text}");
        assert!(text.contains("it has no effect"), "{text}");
    }

    #[test]
    fn variables_stay_and_are_expanded_by_us() {
        let text = imported(r#"{"ip": "${HUB_IP}", "port": "${HUB_PORT}", "readTimeout": "${X}"}"#);
        let text = text.unwrap();
        let environment = Environment::of(&[("HUB_IP", "127.0.0.1"), ("HUB_PORT", "99")]);
        assert_eq!(value(&text, "native.address", &environment), "127.0.0.1:99");
        assert!(text.contains("readTimeout = ${X}: it is no number"), "{text}");
    }

    #[test]
    fn clients_become_commands() {
        let text = imported(
            r#"{"name": "billing", "hubAddress": "hub", "hubPort": 24353, "address": "me",
                "port": 1, "queueSize": 1000, "topics": ["orders", "sensors.*"]}"#,
        );
        let text = text.unwrap();
        assert!(
            text.contains("courant sub topic:orders --name billing --addr hub:24353"),
            "{text}"
        );
        assert!(text.contains("sensors.* is a pattern"), "{text}");
        assert!(text.contains("address = me: the broker dials nobody"), "{text}");
        let text = imported(r#"{"address": "::1", "queueSize": 5, "queueSiz": 5}"#).unwrap();
        assert!(text.contains("--addr [::1]:24353"), "{text}");
        assert!(text.contains("queueSiz = 5: no key of Polestar; perhaps queueSize"), "{text}");
        assert_eq!(value(&text, "data", &Environment::default()), "./courant-data");
    }

    #[test]
    fn a_missing_key_is_named() {
        for (json, part) in [
            (r#"{"ip": "127.0.0.1"}"#, "required key port"),
            (r#"{"hubAddress": "x", "hubPort": 1, "topics": []}"#, "required key name"),
            (r#"{"hubAddress": "x", "name": "n", "hubPort": 1}"#, "required key topics"),
            (r#"{"hubAddress": "x", "name": "n", "hubPort": 1, "topics": 5}"#, "topics: a number"),
            (r#"{"ip": [], "port": 1}"#, "ip: a list where text or a number"),
            ("{}", "no hub's file"),
            ("[", "line 1"),
        ] {
            let error = imported(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
