//! Users and roles: the two lists of a file that are no plain options.
//!
//! They are in files only, because a command line is seen by everybody on the machine. Their
//! columns are two tables, as options are. No credential is ever part of a fault or shown.

use std::path::Path;

use courant::{AccessOptions, RoleOptions, UserOptions};

use super::fault::Fault;
use super::node::Node;

/// How a value is written, and where it is kept.
pub(super) enum Cell<T> {
    /// Text.
    Text(fn(&mut T) -> &mut String),
    /// Text, or nothing.
    Maybe(fn(&mut T) -> &mut Option<String>),
    /// A list of text.
    List(fn(&mut T) -> &mut Vec<String>),
}

/// One key of an entry.
pub(super) struct Column<T> {
    /// The key.
    pub(super) name: &'static str,
    /// How it is written.
    pub(super) cell: Cell<T>,
    /// What it is, in one sentence.
    #[cfg_attr(not(test), allow(dead_code))] // the page is made from it
    pub(super) about: &'static str,
}

/// Keys of `[[users]]`.
pub(super) const USERS: &[Column<UserOptions>] = &[
    Column {
        name: "name",
        cell: Cell::Text(|user| &mut user.name),
        about: "What the user is called at login; needed, and unique",
    },
    Column {
        name: "password_hash",
        cell: Cell::Maybe(|user| &mut user.password_hash),
        about: "What `courant user hash` makes of the password",
    },
    Column {
        name: "token_hashes",
        cell: Cell::List(|user| &mut user.token_hashes),
        about: "What `courant user token` says beside each token",
    },
    Column {
        name: "roles",
        cell: Cell::List(|user| &mut user.roles),
        about: "Names of roles: what the user may do",
    },
];

/// Keys of `[[roles]]`.
pub(super) const ROLES: &[Column<RoleOptions>] = &[
    Column {
        name: "name",
        cell: Cell::Text(|role| &mut role.name),
        about: "What users name it by; needed, and unique",
    },
    Column {
        name: "namespace",
        cell: Cell::Maybe(|role| &mut role.namespace),
        about: "The only namespace that it is about; every one if it is missing",
    },
    Column {
        name: "publish",
        cell: Cell::List(|role| &mut role.publish),
        about: "Patterns of names to publish to",
    },
    Column {
        name: "consume",
        cell: Cell::List(|role| &mut role.consume),
        about: "Patterns of names to read from",
    },
    Column {
        name: "configure",
        cell: Cell::List(|role| &mut role.configure),
        about: "Patterns of names to declare, bind, purge and delete",
    },
    Column {
        name: "inspect",
        cell: Cell::List(|role| &mut role.inspect),
        about: "Patterns of names whose counts and options may be looked at",
    },
];

/// The names of the two lists.
pub(super) const LISTS: [&str; 2] = ["users", "roles"];

/// Takes one of the lists out of a file.
pub(super) fn take(
    access: &mut AccessOptions,
    list: &str,
    node: &Node,
    path: &Path,
    faults: &mut Vec<Fault>,
) {
    let mut entries = Entries { list, path, faults };
    if list == "users" {
        access.users = entries.all(node, USERS);
    } else {
        access.roles = entries.all(node, ROLES);
    }
}

struct Entries<'a> {
    list: &'a str,
    path: &'a Path,
    faults: &'a mut Vec<Fault>,
}

impl Entries<'_> {
    fn all<T: Default>(&mut self, node: &Node, columns: &[Column<T>]) -> Vec<T> {
        let Node::List(nodes) = node else {
            let key = self.list.to_owned();
            self.wrong(key, node.kind(), "a list of tables, written [[…]] in TOML");
            return Vec::new();
        };
        let numbered = nodes.iter().enumerate();
        numbered.map(|(index, node)| self.one(index, node, columns)).collect()
    }

    fn one<T: Default>(&mut self, index: usize, node: &Node, columns: &[Column<T>]) -> T {
        let mut entry = T::default();
        let place = format!("{}[{index}]", self.list);
        let Node::Table(table) = node else {
            self.wrong(place, node.kind(), "a table");
            return entry;
        };
        for (name, node) in table {
            let key = format!("{place}.{name}");
            if let Some(column) = columns.iter().find(|column| column.name == name) {
                self.cell(&mut entry, column, key, node);
            } else {
                let known = columns.iter().map(|column| format!("{place}.{}", column.name));
                let known: Vec<String> = known.collect();
                let known = known.iter().map(String::as_str);
                self.faults.push(Fault::unknown(self.path.display().to_string(), &key, known));
            }
        }
        entry
    }

    fn cell<T>(&mut self, entry: &mut T, column: &Column<T>, key: String, node: &Node) {
        match (&column.cell, node) {
            (Cell::Text(at), Node::Text(text)) => at(entry).clone_from(text),
            (Cell::Maybe(at), Node::Text(text)) => *at(entry) = Some(text.clone()),
            (Cell::List(at), Node::List(nodes)) => {
                let texts = nodes.iter().map(|node| match node {
                    Node::Text(text) => Some(text.clone()),
                    _ => None,
                });
                match texts.collect() {
                    Some(texts) => *at(entry) = texts,
                    None => self.wrong(key, "a list with something else in it", "a list of text"),
                }
            }
            (Cell::List(_), _) => self.wrong(key, node.kind(), "a list of text"),
            (Cell::Text(_) | Cell::Maybe(_), _) => self.wrong(key, node.kind(), "text"),
        }
    }

    fn wrong(&mut self, key: String, what: &str, allowed: &str) {
        let place = self.path.display().to_string();
        let (value, allowed) = (what.to_owned(), allowed.to_owned());
        self.faults.push(Fault::Value { place, key, value, allowed });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, check};

    fn checked(content: &str) -> Result<courant::AccessOptions, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, content).unwrap();
        let environment = Environment::of(&[("HASH", &"ab".repeat(32))]);
        let checked = check(&path, &environment).map(|config| config.settings.access);
        checked.map_err(|faults| faults.to_string())
    }

    #[test]
    fn users_and_roles_are_taken() {
        let access = checked(
            "users:\n- {name: shop, token_hashes: ['${HASH}'], roles: [orders]}\n\
             roles:\n- {name: orders, namespace: /, publish: [orders.*], inspect: ['#']}\n",
        );
        let access = access.unwrap();
        assert_eq!(access.users[0].name, "shop");
        assert_eq!(access.users[0].token_hashes, ["ab".repeat(32)]);
        assert_eq!(access.users[0].roles, ["orders"]);
        assert_eq!(access.roles[0].namespace.as_deref(), Some("/"));
        assert_eq!(access.roles[0].publish, ["orders.*"]);
        assert_eq!(access.roles[0].consume, [""; 0]);
    }

    #[test]
    fn faults_name_the_entry_and_no_credential() {
        for (content, part) in [
            ("users: {name: a}", "users = a table: allowed is a list of tables"),
            ("users: [a]", "users[0] = text: allowed is a table"),
            ("users: [{nme: a}]", "users[0].nme is no known key; did you mean users[0].name?"),
            ("roles: [{name: 5}]", "roles[0].name = a number: allowed is text"),
            ("roles: [{name: r, publish: x}]", "publish = text: allowed is a list of text"),
            ("users: [{name: u, token_hashes: [53cret]}]", "token hash 1 of the user"),
            ("users: [{name: u, password_hash: 53cret}]", "the password hash of the user"),
            ("users: [{name: u, password_hash: [53cret]}]", "= a list: allowed is text"),
            ("users: [{name: u, roles: [r]}]", "neither a password hash nor"),
        ] {
            let faults = checked(content).unwrap_err();
            assert!(faults.contains(part), "{content}: {faults}");
            assert!(!faults.contains("53cret"), "{faults}");
        }
    }
}
