//! The one table of options. Everything that can be set is a row here and nowhere else.
//!
//! A row's key gives its other names: `native.ping_every` is the flag `--native-ping-every` and the
//! variable `COURANT_NATIVE_PING_EVERY`. Defaults are those of [`Settings::default`].

use std::time::Duration;

use super::environment::PREFIX;
use super::field::Field;
use super::{Fault, Origin, Settings};

/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "COURANT_CONFIG";

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// With SIGHUP.
    Reload,
    /// With a restart only.
    Restart,
}

/// One option.
pub(crate) struct Row {
    /// Its place in a file, section and name.
    pub(crate) key: &'static str,
    /// A shorter flag that means the same.
    pub(crate) alias: Option<&'static str>,
    /// Its type, and where its value is kept.
    pub(crate) field: Field,
    /// When a new value takes effect.
    pub(crate) change: Change,
    /// What it is, in one sentence.
    pub(crate) about: &'static str,
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// All options, by section.
pub(crate) const OPTIONS: &[Row] = &[
    Row {
        key: "data",
        alias: None,
        field: Field::Path(|settings| &mut settings.data),
        change: Change::Restart,
        about: "The data folder; it is made if it is not there",
    },
    Row {
        key: "log.level",
        alias: Some("log"),
        field: Field::Level(|settings| &mut settings.log_level),
        change: Change::Reload,
        about: "What is logged to stderr",
    },
    Row {
        key: "log.format",
        alias: None,
        field: Field::Format(|settings| &mut settings.log_format),
        change: Change::Restart,
        about: "How it is logged: for eyes, or one JSON object a line",
    },
    Row {
        key: "native.address",
        alias: Some("native"),
        field: Field::Address(|settings| &mut settings.native_address),
        change: Change::Restart,
        about: "Where the native door listens; port 0 takes a free one and says which",
    },
    Row {
        key: "native.connections_max",
        alias: None,
        field: Field::Count(|settings| &mut settings.native_connections_max, 1, 1_000_000),
        change: Change::Restart,
        about: "Connections of the native door at a time; more are refused",
    },
    Row {
        key: "native.connections_per_source_max",
        alias: None,
        field: Field::Count(
            |settings| &mut settings.native_connections_per_source_max,
            1,
            1_000_000,
        ),
        change: Change::Reload,
        about: "Connections of one address at a time; of IPv6, of one network of 64 bits",
    },
    Row {
        key: "native.unauthenticated_per_source_max",
        alias: None,
        field: Field::Count(
            |settings| &mut settings.native_unauthenticated_per_source_max,
            1,
            1_000_000,
        ),
        change: Change::Reload,
        about: "Those of them whose CONNECT was not accepted yet",
    },
    Row {
        key: "native.handshake_within",
        alias: None,
        field: Field::Time(
            |settings| &mut settings.native_handshake_within,
            MS.saturating_mul(10),
            HOUR,
        ),
        change: Change::Restart,
        about: "How long a connection may take to send CONNECT before it is closed",
    },
    Row {
        key: "native.ping_every",
        alias: None,
        field: Field::Time(|settings| &mut settings.native_ping_every, MS.saturating_mul(10), HOUR),
        change: Change::Restart,
        about: "A connection that is quiet for so long is pinged; after twice that it is closed",
    },
    Row {
        key: "native.tls_required",
        alias: None,
        field: Field::Switch(|settings| &mut settings.native_tls_required),
        change: Change::Reload,
        about: "Whether clients without TLS are refused; with a certificate both are let in",
    },
    Row {
        key: "tls.certificate",
        alias: None,
        field: Field::MaybePath(|settings| &mut settings.tls_certificate),
        change: Change::Reload,
        about: "The broker's certificate in PEM, and those that it was signed with",
    },
    Row {
        key: "tls.key",
        alias: None,
        field: Field::MaybePath(|settings| &mut settings.tls_key),
        change: Change::Reload,
        about: "The key of the certificate, in PEM",
    },
    Row {
        key: "storage.segment_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.storage_segment_bytes, 64 * KIB, 1 << 30),
        change: Change::Restart,
        about: "Size of a segment of the log; space comes back in segments",
    },
    Row {
        key: "memory.cache_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.memory_cache_bytes, 0, TIB),
        change: Change::Restart,
        about: "How much of the log's end stays in memory to deliver from; the rest is read back",
    },
    Row {
        key: "memory.in_flight_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.memory_in_flight_bytes, MIB, 256 * MIB),
        change: Change::Restart,
        about: "What may wait for its commit before publishers wait",
    },
    Row {
        key: "memory.outboxes_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.memory_outboxes_bytes, MIB, TIB),
        change: Change::Restart,
        about: "What may wait for all clients together before each may have only a little",
    },
    Row {
        key: "memory.transient_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.memory_transient_bytes, MIB, TIB),
        change: Change::Restart,
        about: "Transient messages in all queues together; more are refused",
    },
    Row {
        key: "memory.chunk_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.memory_chunk_bytes, MIB, TIB),
        change: Change::Restart,
        about: "What the places of long queues take in memory; the rest stays on disk",
    },
    Row {
        key: "limits.sessions_per_namespace_max",
        alias: None,
        field: Field::Count(
            |settings| &mut settings.limits_sessions_per_namespace_max,
            0,
            1_000_000,
        ),
        change: Change::Reload,
        about: "Sessions in one namespace at a time; more are refused",
    },
    Row {
        key: "limits.sessions_per_user_max",
        alias: None,
        field: Field::Count(|settings| &mut settings.limits_sessions_per_user_max, 1, 1_000_000),
        change: Change::Reload,
        about: "Sessions of one user at a time, in all namespaces together",
    },
    Row {
        key: "limits.queues_per_namespace_max",
        alias: None,
        field: Field::Count(|settings| &mut settings.limits_queues_per_namespace_max, 1, 1_000_000),
        change: Change::Reload,
        about: "Queues in one namespace; more are refused, and none is removed",
    },
    Row {
        key: "limits.exchanges_per_namespace_max",
        alias: None,
        field: Field::Count(
            |settings| &mut settings.limits_exchanges_per_namespace_max,
            0,
            1_000_000,
        ),
        change: Change::Reload,
        about: "Exchanges and topics in one namespace",
    },
    Row {
        key: "limits.bindings_per_namespace_max",
        alias: None,
        field: Field::Count(
            |settings| &mut settings.limits_bindings_per_namespace_max,
            0,
            1_000_000_000,
        ),
        change: Change::Reload,
        about: "Bindings in one namespace",
    },
    Row {
        key: "limits.memory_per_connection_max_bytes",
        alias: None,
        field: Field::Bytes(
            |settings| &mut settings.limits_memory_per_connection_max_bytes,
            4 * MIB,
            TIB,
        ),
        change: Change::Reload,
        about: "What may be held in memory for one connection before it is closed",
    },
    Row {
        key: "limits.memory_per_namespace_max_bytes",
        alias: None,
        field: Field::Bytes(
            |settings| &mut settings.limits_memory_per_namespace_max_bytes,
            MIB,
            TIB,
        ),
        change: Change::Reload,
        about: "What may be held in memory for one namespace before transient messages are refused",
    },
    Row {
        key: "limits.memory_max_bytes",
        alias: None,
        field: Field::Share(|settings| &mut settings.limits_memory_max_bytes, MIB, TIB),
        change: Change::Reload,
        about: "Memory of the broker above which nothing can be published; consumers go on",
    },
    Row {
        key: "limits.disk_free_min_bytes",
        alias: None,
        field: Field::Bytes(|settings| &mut settings.limits_disk_free_min_bytes, 0, 1024 * TIB),
        change: Change::Reload,
        about: "Free bytes of the data's volume below which no durable message can be published",
    },
];

impl Row {
    /// Its flag, without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// Its variable.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Its section; empty for the options that stand before all sections.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// The default as text.
    pub(crate) fn default_text(&self) -> String {
        self.field.text(&mut Settings::default())
    }

    /// The default as a word of a sentence.
    pub(crate) fn default_shown(&self) -> String {
        Some(self.default_text()).filter(|text| !text.is_empty()).unwrap_or("none".to_owned())
    }

    /// That a value is none for it.
    pub(super) fn fault(&self, origin: &Origin, value: &str) -> Fault {
        Fault::Value {
            place: origin.to_string(),
            key: self.key.to_owned(),
            value: value.to_owned(),
            allowed: self.field.allowed(),
        }
    }
}

/// Every key that a file may have.
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.key).chain(super::people::LISTS)
}

/// Whether some key begins with it and a dot.
pub(super) fn is_section(name: &str) -> bool {
    OPTIONS.iter().any(|option| option.section() == name && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::super::people::{self, Cell, Column};
    use super::*;

    /// The page `docs/config.md`.
    fn page() -> String {
        let mut page = String::from(HEAD);
        let mut section = None;
        for option in OPTIONS {
            if section != Some(option.section()) {
                section = Some(option.section());
                let title = match option.section() {
                    "" => "Before all sections".to_owned(),
                    name => format!("`[{name}]`"),
                };
                let columns = "| key | default | allowed | new value | what it is |\n\
                               |---|---|---|---|---|";
                let _ = write!(page, "\n### {title}\n\n{columns}\n");
            }
            let (_, name) = option.key.split_once('.').unwrap_or(("", option.key));
            let change = match option.change {
                Change::Reload => "SIGHUP",
                Change::Restart => "restart",
            };
            let (default, allowed) = (option.default_shown(), option.field.allowed());
            let about = option.about;
            let _ = writeln!(page, "| `{name}` | `{default}` | {allowed} | {change} | {about} |");
        }
        page.push_str(PEOPLE);
        columns(&mut page, "users", people::USERS);
        columns(&mut page, "roles", people::ROLES);
        page
    }

    fn columns<T>(page: &mut String, list: &str, columns: &[Column<T>]) {
        let _ = write!(page, "\n### `[[{list}]]`\n\n| key | value | what it is |\n|---|---|---|\n");
        for Column { name, cell, about } in columns {
            let value = match cell {
                Cell::Text(_) | Cell::Maybe(_) => "text",
                Cell::List(_) => "a list of text",
            };
            let _ = writeln!(page, "| `{name}` | {value} | {about} |");
        }
    }

    const PEOPLE: &str = "\n## Users and roles\n\nTwo lists that only a file has. A new list takes \
        effect with SIGHUP: sessions may at once do what their user may do now, and are closed \
        where the credential that they came with is gone. Without users everybody on this machine \
        may do everything, and nobody else anything.\n";

    const HEAD: &str = include_str!("page.md");

    #[test]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md");
        if std::env::var_os("COURANT_WRITE").is_some() {
            std::fs::write(path, page()).expect("docs/config.md is writable");
        }
        let there = std::fs::read_to_string(path).expect("docs/config.md exists");
        assert_eq!(there, page(), "run `cargo xtask fix` to write docs/config.md again");
    }

    #[test]
    fn names_differ_and_sections_stand_together() {
        let mut flags = BTreeSet::new();
        let mut variables = BTreeSet::new();
        for option in OPTIONS {
            assert!(flags.insert(option.flag()), "{}", option.key);
            assert!(variables.insert(option.variable()), "{}", option.key);
            assert!(option.alias.is_none_or(|alias| flags.insert(alias.to_owned())));
        }
        let mut sections: Vec<_> = OPTIONS.iter().map(Row::section).collect();
        sections.dedup();
        let count = sections.len();
        assert_eq!(sections.into_iter().collect::<BTreeSet<_>>().len(), count);
    }

    #[test]
    fn defaults_are_allowed_and_shown_as_they_are_read() {
        let usual = Settings::default();
        for option in OPTIONS {
            let mut settings = usual.clone();
            assert_eq!(option.field.set(&mut settings, &option.default_text()), Ok(()));
            assert_eq!(format!("{settings:?}"), format!("{usual:?}"), "{}", option.key);
        }
    }
}
