//! A file of the configuration: its ending says how it is written.

use std::io::Read;
use std::path::Path;

use super::FILE_BYTES_MAX;
use super::fault::Fault;
use super::node::Node;

/// Lists and tables inside each other, at most.
const DEPTH_MAX: usize = 64;

/// Reads and parses a file. What its keys mean is not asked.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Node)>, Fault> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let parse = match ending {
        "toml" => |text: &str| toml::from_str(text).map_err(|error| error.to_string()),
        "json" => |text: &str| serde_json::from_str(text).map_err(|error| error.to_string()),
        "yaml" | "yml" => yaml,
        _ => return Err(Fault::Extension { path: path.to_owned() }),
    };
    let text = text(path)?;
    let syntax = |reason: String| Fault::Syntax {
        path: path.to_owned(),
        reason: reason.trim_end().to_owned(),
    };
    match parse(&text).map_err(syntax)? {
        Node::Table(table) => Ok(table),
        Node::Null => Ok(Vec::new()),
        other => Err(syntax(format!("keys with values are expected, not {}", other.kind()))),
    }
}

/// The parser's work grows with the square of the depth, so that is looked at first. Brackets in
/// text count too; nobody opens so many and closes none.
fn yaml(text: &str) -> Result<Node, String> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX} levels (recursion)"));
        }
    }
    yaml_serde::from_str(text).map_err(|error| error.to_string())
}

/// A file as text, at most so long as one may be.
pub(super) fn text(path: &Path) -> Result<String, Fault> {
    let failed = |reason| Fault::File { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::TooLong { path: path.to_owned() });
    }
    Ok(text)
}
