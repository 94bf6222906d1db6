//! One Rust file, taken apart once for all rules: tokens, functions, declared names, modules,
//! paths, and the lines that are test code.
//!
//! Calls are found among tokens, not in the syntax tree, so that macros hide nothing. Names are
//! taken from declarations only, so that what others named does not count against us.

mod visit;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token; a group is its two delimiters.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// First line, from 1.
    pub(crate) line: usize,
    last_line: usize,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From its signature to its closing brace.
    pub(crate) lines: usize,
}

/// A name that the file declares.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// `mod x;`
#[derive(Debug)]
pub(crate) struct ModuleFile {
    /// The inline modules around it.
    pub(crate) within: Vec<String>,
    pub(crate) name: String,
    /// `#[path = "..."]`
    pub(crate) path: Option<String>,
    pub(crate) is_test: bool,
}

/// A path as written, such as `std::time::Instant::now`; imports are expanded to one path a name.
#[derive(Debug)]
pub(crate) struct PathUse {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl PathUse {
    /// Whether these segments stand together anywhere in the path.
    pub(crate) fn has(&self, wanted: &[&str]) -> bool {
        self.segments.windows(wanted.len()).any(|window| window == wanted)
    }
}

/// A parsed file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
    pub(crate) names: Vec<Name>,
    pub(crate) modules: Vec<ModuleFile>,
    pub(crate) paths: Vec<PathUse>,
    /// The whole file is test code: by its place, or because a test module declares it.
    pub(crate) is_test: bool,
    test_lines: Vec<(usize, usize)>,
}

impl SourceFile {
    /// Takes a file apart; fails if it is not Rust.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let syntax = syn::parse_file(text).with_context(|| format!("{path} does not parse"))?;
        let stream: TokenStream = without_shebang(text)
            .parse()
            .map_err(|error| anyhow::anyhow!("{path} is not made of Rust tokens: {error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut file = Self {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            paths: paths(&tokens),
            tokens,
            functions: Vec::new(),
            names: Vec::new(),
            modules: Vec::new(),
            is_test: ["tests", "benches", "examples"]
                .iter()
                .any(|folder| path.split('/').any(|part| part == *folder)),
            test_lines: Vec::new(),
        };
        visit::visit(&mut file, &syntax);
        Ok(file)
    }

    /// The folder of its crate in `crates/`.
    pub(crate) fn crate_folder(&self) -> &str {
        self.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or("")
    }

    /// The last part of the path.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the line is test code.
    pub(crate) fn in_test(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|&(first, last)| (first..=last).contains(&line))
    }

    /// Lines that hold code: not blank, not a comment, and outside test modules.
    pub(crate) fn code_lines(&self) -> usize {
        let mut holds_code = vec![false; self.lines.len() + 1];
        for token in &self.tokens {
            for line in token.line..=token.last_line {
                if let Some(flag) = holds_code.get_mut(line) {
                    *flag = true;
                }
            }
        }
        let numbered = self.lines.iter().enumerate().map(|(index, line)| (index + 1, line));
        numbered
            .filter(|(number, line)| {
                // Documentation is tokens too.
                let is_text = line.trim().is_empty() || line.trim_start().starts_with("//");
                let is_test_module =
                    self.test_lines.iter().any(|&(first, last)| (first..=last).contains(number));
                holds_code[*number] && !is_text && !is_test_module
            })
            .count()
    }

    /// Whether the line, or the comment line above it, says `// <word>: ...`.
    pub(crate) fn has_remark(&self, line: usize, word: &str) -> bool {
        let wanted = format!("// {word}: ");
        let at = |number: usize| self.lines.get(number.wrapping_sub(1)).map(String::as_str);
        let here = at(line).is_some_and(|text| text.contains(&wanted));
        let above = at(line.wrapping_sub(1)).is_some_and(|text| text.trim().starts_with(&wanted));
        here || above
    }

    /// The lines where these tokens follow one another.
    pub(crate) fn find<'a>(&'a self, wanted: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        let windows = self.tokens.windows(wanted.len());
        windows
            .filter(move |window| {
                window.iter().zip(wanted).all(|(token, text)| token.text == *text)
            })
            .map(|window| window[0].line)
    }
}

fn without_shebang(text: &str) -> &str {
    if text.starts_with("#!") && !text.starts_with("#![") {
        return text.split_once('\n').map_or("", |(_, rest)| rest);
    }
    text
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let span = tree.span();
        let (line, last_line) = (span.start().line, span.end().line);
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                into.push(Token { text: open.to_owned(), line, last_line: line });
                flatten(group.stream(), into);
                into.push(Token { text: close.to_owned(), line: last_line, last_line });
            }
            tree => into.push(Token { text: tree.to_string(), line, last_line }),
        }
    }
}

fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let is_name = |index: usize| text(index).starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_joint = |index: usize| text(index) == ":" && text(index + 1) == ":";
    let mut paths = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if !is_name(index) {
            index += 1;
            continue;
        }
        let line = tokens[index].line;
        let mut segments = vec![text(index).to_owned()];
        index += 1;
        while is_joint(index) && is_name(index + 2) {
            segments.push(text(index + 2).to_owned());
            index += 3;
        }
        paths.push(PathUse { segments, line });
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r"//! Title.
use a::{b::c, d as e};

/// Doc.
pub fn one(first: u8) -> u8 {
    // why
    let inside = first;
    call!(std::time::Instant::now());

    inside
}

mod child;

#[cfg(test)]
mod tests {
    fn two() {
        x.unwrap();
    }
}
";

    fn sample() -> SourceFile {
        SourceFile::parse("crates/engine/src/sample.rs", SAMPLE).unwrap()
    }

    #[test]
    fn code_lines_leave_out_blank_comments_and_tests() {
        assert_eq!(sample().code_lines(), 7);
    }

    #[test]
    fn functions_are_measured_from_signature_to_brace() {
        let file = sample();
        let one = &file.functions[0];
        assert_eq!((one.name.as_str(), one.line, one.lines), ("one", 5, 7));
    }

    #[test]
    fn paths_are_found_inside_macros_and_in_import_trees() {
        let file = sample();
        assert!(file.paths.iter().any(|path| path.has(&["Instant", "now"]) && path.line == 8));
        assert!(file.paths.iter().any(|path| path.segments == ["a", "b", "c"]));
        assert!(file.paths.iter().any(|path| path.segments == ["a", "d"]));
    }

    #[test]
    fn test_code_is_known_by_its_attribute() {
        let file = sample();
        let line = file.find(&[".", "unwrap", "("]).next().unwrap();
        assert!(file.in_test(line) && !file.in_test(7));
    }

    #[test]
    fn declared_names_and_modules_are_listed() {
        let file = sample();
        let names: Vec<_> = file.names.iter().map(|name| name.text.as_str()).collect();
        assert_eq!(names, ["one", "first", "inside", "child", "tests", "two"]);
        assert_eq!(file.modules[0].name, "child");
    }
}
