//! `${VAR}`, `${VAR:-x}` and `${file:PATH}` in the text values of a file.
//!
//! It is done after parsing, so that no value can change what the rest of the file means, and once:
//! what was put in is not looked at again. A variable that is empty counts as missing only where
//! there is something to say instead. `$${` stands for `${`; any other `$` is itself.

use std::path::Path;

use super::environment::Environment;
use super::fault::Fault;
use super::file;
use super::node::Node;

/// Expands every text value of a file's tables.
pub(super) fn all(
    table: &mut [(String, Node)],
    path: &Path,
    environment: &Environment,
    faults: &mut Vec<Fault>,
) {
    for (name, node) in table {
        inside(node, name, path, environment, faults);
    }
}

fn inside(
    node: &mut Node,
    key: &str,
    path: &Path,
    environment: &Environment,
    faults: &mut Vec<Fault>,
) {
    match node {
        Node::Text(text) => match expanded(text, environment) {
            Ok(whole) => *text = whole,
            Err(reason) => {
                faults.push(Fault::Expansion {
                    path: path.to_owned(),
                    key: key.to_owned(),
                    reason,
                });
            }
        },
        Node::List(list) => {
            for (index, node) in list.iter_mut().enumerate() {
                inside(node, &format!("{key}[{index}]"), path, environment, faults);
            }
        }
        Node::Table(table) => {
            for (name, node) in table {
                inside(node, &format!("{key}.{name}"), path, environment, faults);
            }
        }
        Node::Null | Node::Switch(_) | Node::Whole(_) | Node::Real(_) => {}
    }
}

/// One value; the error is a sentence.
pub(super) fn expanded(text: &str, environment: &Environment) -> Result<String, String> {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        whole.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or("${ has no }; write $${ for the two characters alone")?;
        whole.push_str(&one(&inner[..end], environment)?);
        rest = &inner[end + 1..];
    }
    whole.push_str(rest);
    Ok(whole)
}

/// What stands between the braces.
fn one(inner: &str, environment: &Environment) -> Result<String, String> {
    if let Some(path) = inner.strip_prefix("file:") {
        let text = file::text(Path::new(path)).map_err(|fault| fault.to_string())?;
        return Ok(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').to_owned());
    }
    let (name, instead) = match inner.split_once(":-") {
        Some((name, instead)) => (name, Some(instead)),
        None => (inner, None),
    };
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return Err(format!(
            "${{{inner}}} is neither ${{VAR}} nor ${{VAR:-x}} nor ${{file:PATH}}; \
             write $${{ for the two characters alone"
        ));
    }
    let value = environment.text(name).map_err(|fault| fault.to_string())?;
    let value = value.filter(|value| !value.is_empty() || instead.is_none());
    let value = value.or(instead).map(str::to_owned);
    value.ok_or_else(|| {
        format!("the variable {name} is not set; ${{{name}:-x}} has a value instead")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once_and_nothing_else_is_touched() {
        let environment =
            Environment::of(&[("A", "one"), ("EMPTY", ""), ("NESTED", "${A}"), ("Q", "\"\n")]);
        for (text, whole) in [
            ("", ""),
            ("plain", "plain"),
            ("$argon2id$v=19$x", "$argon2id$v=19$x"),
            ("${A}", "one"),
            ("<${A}${A}>", "<oneone>"),
            ("${A:-two}", "one"),
            ("${NONE:-two}", "two"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${NESTED}", "${A}"),
            ("${Q}", "\"\n"),
            ("$${A}", "${A}"),
            ("a$$b$", "a$$b$"),
            ("größe ${A} }", "größe one }"),
        ] {
            assert_eq!(expanded(text, &environment).as_deref(), Ok(whole), "{text}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        let environment = Environment::default();
        for (text, part) in [
            ("${NONE}", "NONE is not set"),
            ("${NONE", "has no }"),
            ("${}", "neither"),
            ("${1A}", "neither"),
            ("${A B}", "neither"),
            ("${file:/nowhere/at/all}", "/nowhere/at/all"),
        ] {
            let reason = expanded(text, &environment).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn a_file_is_taken_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "pa\nss\n").unwrap();
        let text = format!("<${{file:{}}}>", path.display());
        assert_eq!(expanded(&text, &Environment::default()).as_deref(), Ok("<pa\nss>"));
    }
}
