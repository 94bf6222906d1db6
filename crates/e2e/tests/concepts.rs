//! The pages of `docs/concepts/`, played: what they show is what comes.
//!
//! A block marked `door` is what somebody types at the text door, and what comes back:
//!
//! - `> LINE` is typed. `> ! kill -9` kills the broker and starts it again, and all connections
//!   with it; `> ! wait MS` lets time pass.
//! - Any other line has to come next. Replies have their order and messages have theirs; which
//!   comes first is not asked, since the broker does not promise it. `…` stands for what is
//!   different every time, or not worth showing; a typed `…` is the handle of the last message.
//! - A word after `door` names the connection; each is there until the end of the page. CONNECT is
//!   typed for it, unless the block begins with one.
//!
//! A block marked `sh` is a line for a shell, run to its end. A page has its own broker.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use courant_e2e::client::Client;
use courant_e2e::server::Server;
use courant_e2e::{binary, cli};

/// Lines of a page.
const LINES_MAX: usize = 100;

/// One block of a page.
#[derive(Debug, PartialEq)]
struct Block {
    /// Where it begins, counted from 1.
    line: usize,
    kind: Kind,
    lines: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Door(String),
    Shell,
}

fn pages() -> Vec<PathBuf> {
    let folder = binary::workspace().join("docs/concepts");
    let entries = std::fs::read_dir(&folder).expect("docs/concepts");
    let mut pages: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Option<Block>> = None;
    for (line, text) in (1..).zip(page.lines()) {
        match (text.strip_prefix("```"), &mut open) {
            (Some(marked), None) => {
                let mut words = marked.split_whitespace();
                let kind = match words.next() {
                    Some("door") => Some(Kind::Door(words.next().unwrap_or_default().to_owned())),
                    Some("sh") => Some(Kind::Shell),
                    _ => None,
                };
                open = Some(kind.map(|kind| Block { line, kind, lines: Vec::new() }));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().flatten()),
            (None, Some(Some(block))) => block.lines.push(text.to_owned()),
            (None, _) => {}
        }
    }
    blocks
}

/// A connection; replies, and what comes without being asked for, each in its order.
struct Talk {
    client: Client,
    replies: VecDeque<String>,
    events: VecDeque<String>,
    /// The body of a message is next.
    is_in_body: bool,
}

impl Talk {
    fn new(client: Client) -> Self {
        let (replies, events) = (VecDeque::new(), VecDeque::new());
        Self { client, replies, events, is_in_body: false }
    }

    fn line(&mut self) -> Result<String> {
        let line = String::from_utf8(self.client.raw_line()?)?;
        Ok(line.strip_suffix('\n').context("a line end")?.to_owned())
    }

    /// The next line of the kind that is shown.
    fn next(&mut self, shown: &str) -> Result<String> {
        let wants_event = self.is_in_body || is_event(shown);
        self.is_in_body = !self.is_in_body && shown.starts_with("MSG ");
        loop {
            let queue = if wants_event { &mut self.events } else { &mut self.replies };
            if let Some(line) = queue.pop_front() {
                return Ok(line);
            }
            let line = self.line()?;
            if line.starts_with("MSG ") {
                let body = self.line()?;
                self.events.extend([line, body]);
            } else if is_event(&line) {
                self.events.push_back(line);
            } else {
                self.replies.push_back(line);
            }
        }
    }
}

fn is_event(line: &str) -> bool {
    ["MSG ", "CANCEL ", "BLOCKED ", "UNBLOCKED"].iter().any(|start| line.starts_with(start))
}

/// What a page has at hand while it is played.
struct Play {
    folder: tempfile::TempDir,
    server: Option<Server>,
    clients: BTreeMap<String, Talk>,
    handle: String,
}

impl Play {
    fn begin() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Some(Server::start(&folder.path().join("data"))?);
        Ok(Self { folder, server, clients: BTreeMap::new(), handle: String::new() })
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("a broker")
    }

    fn play(&mut self, block: &Block) -> Result<()> {
        match &block.kind {
            Kind::Shell => {
                for line in &block.lines {
                    let address = self.server()?.address()?;
                    let running = cli::shell(address, line, self.folder.path())?;
                    running.end()?.success().with_context(|| line.clone())?;
                }
                Ok(())
            }
            Kind::Door(name) => {
                let mut rest = block.lines.iter();
                let typed =
                    rest.as_slice().first().is_some_and(|line| line.starts_with("> CONNECT"));
                if !self.clients.contains_key(name) && !typed {
                    self.connect(name)?;
                }
                rest.try_for_each(|line| self.step(name, line).with_context(|| line.clone()))
            }
        }
    }

    fn connect(&mut self, name: &str) -> Result<()> {
        let client = Client::connect(self.server()?.address()?)?;
        self.clients.insert(name.to_owned(), Talk::new(client));
        Ok(())
    }

    fn step(&mut self, name: &str, line: &str) -> Result<()> {
        if line == "> ! kill -9" {
            self.clients.clear();
            self.server.take().context("a broker")?.kill()?;
            self.server = Some(Server::start(&self.folder.path().join("data"))?);
            return Ok(());
        }
        if let Some(ms) = line.strip_prefix("> ! wait ") {
            std::thread::sleep(Duration::from_millis(ms.parse()?));
            return Ok(());
        }
        if !self.clients.contains_key(name) {
            if line.starts_with("> CONNECT") {
                let client = Client::raw(self.server()?.address()?)?;
                self.clients.insert(name.to_owned(), Talk::new(client));
            } else {
                self.connect(name)?;
            }
        }
        let talk = self.clients.get_mut(name).context("a connection")?;
        if let Some(typed) = line.strip_prefix("> ") {
            let typed = typed.replace('…', &self.handle);
            return Ok(talk.client.send(format!("{typed}\n").as_bytes())?);
        }
        let came = talk.next(line)?;
        ensure!(fits(line, &came), "{came:?} came");
        let mut words = came.split(' ').skip_while(|_| !came.starts_with("MSG "));
        if let Some(handle) = words.find_map(|word| word.strip_prefix("msg_id:")) {
            handle.clone_into(&mut self.handle);
        }
        Ok(())
    }
}

/// Whether a line is the one that is shown; `…` is any text.
fn fits(shown: &str, came: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| came.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        Some(last) => last.is_empty() || rest.is_empty(),
        None => rest.is_empty(),
    }
}

fn play(path: &Path) -> Result<usize> {
    let page = std::fs::read_to_string(path)?;
    let blocks = blocks(&page);
    let mut play = Play::begin()?;
    for block in &blocks {
        play.play(block).with_context(|| format!("in the block of line {}", block.line))?;
    }
    play.server.take().context("a broker")?.stop()?;
    Ok(blocks.len())
}

#[test]
fn what_the_pages_show_is_what_comes() {
    let mut failures = Vec::new();
    for path in pages() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match play(&path) {
            Ok(count) if count > 0 || name == "README.md" => println!("{name}: {count} blocks"),
            Ok(_) => failures.push(format!("{name} shows nothing")),
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_page_is_short() {
    for path in pages() {
        let lines = std::fs::read_to_string(&path).expect("a page").lines().count();
        let is_page = path.file_name().is_some_and(|name| name != "README.md");
        assert!(!is_page || lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

/// A test is named as `file.rs::name`, its file from `crates/`.
fn find_test(named: &str) -> Result<()> {
    let (file, name) = named.split_once("::").context("no `::`")?;
    let path = binary::workspace().join("crates").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if !text.contains(&format!("fn {name}(")) && !text.contains(&format!("\"{name}\"")) {
        bail!("{} has no test {name}", path.display());
    }
    Ok(())
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let path = binary::workspace().join("docs/concepts/README.md");
    let page = std::fs::read_to_string(path).expect("the table");
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cell = line.split('|').nth(2).unwrap_or_default();
        for named in cell.split('`').skip(1).step_by(2) {
            count += 1;
            let found = find_test(named).map_err(|error| anyhow!("{named}: {error:#}"));
            found.expect("a test of that name");
        }
    }
    assert!(count >= 20, "{count} tests are named");
}

#[test]
fn blocks_and_what_fits_them() {
    let page = "a\n```door b\n> PING\nPONG\n```\n```text\nno\n```\n```sh\ntrue\n```\n";
    let found = blocks(page);
    let door = Block {
        line: 2,
        kind: Kind::Door("b".to_owned()),
        lines: vec!["> PING".to_owned(), "PONG".to_owned()],
    };
    assert_eq!(found[0], door);
    assert_eq!((found.len(), &found[1].kind), (2, &Kind::Shell));
    assert!(fits("OK msg_id:…", "OK msg_id:1f") && fits("MSG … 2", "MSG queue:a x:1 2"));
    assert!(!fits("OK", "OK msg_id:1") && !fits("MSG … 2", "MSG queue:a 3"));
    assert!(!fits("OK …", "ERR 1"));
}
