//! `courant check` and `courant inspect` on folders of the real binary: whole, in use, damaged.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use courant_e2e::binary;
use courant_e2e::cli::{self, Ended};
use courant_e2e::client::Client;
use courant_e2e::server::Server;

/// A folder with three messages in a queue, of a broker that was stopped.
fn stopped() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(folder.path()).expect("the broker starts");
    let mut client = Client::connect(server.address().expect("ready")).expect("a connection");
    client.line("DECLARE queue:orders").expect("a queue");
    for number in 1..=3 {
        let body = format!("order number {number}");
        client.publish("queue:orders", body.as_bytes()).expect("a confirm");
    }
    drop(client);
    server.stop().expect("an orderly stop");
    folder
}

fn courant(arguments: &[&str], folder: &Path) -> Ended {
    let mut command = Command::new(binary::path().expect("the binary"));
    command.args(arguments).arg(folder);
    cli::start_command(command).expect("it starts").end().expect("it ends")
}

fn segment(folder: &Path) -> PathBuf {
    let names = std::fs::read_dir(folder).expect("the folder");
    let mut names: Vec<_> = names.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names.retain(|name| name.extension().is_some_and(|suffix| suffix == "segment"));
    names.first().expect("a segment").clone()
}

/// Flips a bit of the first place where `text` stands, `behind` bytes from its start.
fn flip(file: &Path, text: &[u8], behind: i64) -> u64 {
    let bytes = std::fs::read(file).expect("the file");
    let at = bytes.windows(text.len()).position(|window| window == text).expect("the text");
    let at = usize::try_from(i64::try_from(at).expect("small") + behind).expect("in the file");
    let file = OpenOptions::new().write(true).open(file).expect("the file");
    file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("a write");
    at as u64
}

/// Sizes depend on how often the log was idle.
fn without_sizes(text: &str) -> String {
    let mut out = text.to_owned();
    for (at, _) in text.match_indices(" KiB") {
        out.replace_range(at - 3..at, "#.#");
    }
    out
}

#[test]
fn a_whole_folder_is_said_to_be_whole() {
    let folder = stopped();
    let ended = courant(&["check"], folder.path());
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        without_sizes(&ended.stdout),
        "log       1 segment, #.# KiB, 5 records, closed in order\n\
         snapshot  none\n\
         queues    1 queue, 3 messages\n\
         \n\
         whole: nothing is damaged\n"
    );
    let shown = courant(&["inspect"], folder.path()).success().expect("it is shown");
    assert_eq!(
        without_sizes(&shown),
        "segment                               used  live     dead  \
         frames   first seq    last seq\n\
         0000000000000001-00000001.segment  #.# KiB  69 B  #.# KiB       \
         5  4294967296  4294967300\n\
         \n\
         lane  origin    last seq\n\
         0          0  4294967300\n\
         \n\
         queue   messages  bytes   oldest  policies\n\
         orders         3   69 B  4000002\n\
         \n\
         snapshot: none\n"
    );
    let records = courant(&["inspect", "--records"], folder.path()).success().expect("a list");
    let last = records.lines().rev().find(|line| line.contains("published")).expect("a message");
    assert!(last.contains("0 4294967300 exchange=0 stamp-ms="), "{records}");
    assert!(last.ends_with("queues=0 body=23"), "{records}");
}

#[test]
fn a_folder_in_use_and_no_folder_are_refused() {
    let folder = stopped();
    let server = Server::start(folder.path()).expect("the broker starts");
    let ended = courant(&["check"], folder.path());
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("is in use: stop its broker first"), "{}", ended.stderr);
    server.stop().expect("an orderly stop");
    let ended = courant(&["check"], &folder.path().join("nowhere"));
    assert_eq!(ended.code(), Some(1));
    assert!(!folder.path().join("nowhere").exists(), "a check makes no folder");
    let empty = tempfile::tempdir().expect("a temporary directory");
    let ended = courant(&["inspect"], empty.path());
    assert!(ended.stderr.contains("holds no log"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(empty.path()).expect("the folder").count(), 0);
}

#[test]
fn a_damaged_body_is_named_with_its_message_and_queue() {
    let folder = stopped();
    let file = segment(folder.path());
    let at = flip(&file, b"order number 2", 3);
    let ended = courant(&["check"], folder.path());
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stdout.contains("message 4000003 of queue orders"), "{}", ended.stdout);
    assert!(ended.stdout.contains("queue orders: 1 of 3 messages cannot be read:\n    4000003"));
    let json = courant(&["check", "--json"], folder.path()).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let damage = &json["damage"][0];
    assert_eq!((&damage["what"], &damage["at_start"]), (&"body".into(), &"parked".into()));
    assert_eq!(damage["message"], "4000003");
    let (offset, bytes) = (damage["offset"].as_u64(), damage["bytes"].as_u64());
    let (offset, bytes) = (offset.expect("a number"), bytes.expect("a number"));
    assert!((offset..offset + bytes).contains(&at), "{json}");
    assert_eq!(json["whole"], false);
}

#[test]
fn a_damaged_head_is_refused_by_both_at_the_same_place() {
    let folder = stopped();
    let file = segment(folder.path());
    // The seq of the frame of the second message.
    flip(&file, b"order number 2", -48);
    let ended = courant(&["check"], folder.path());
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stdout.contains("1 record is missing"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("between 4000002 and 4000004 may be missing"),
        "{}",
        ended.stdout
    );
    let line = ended.stdout.lines().find(|line| line.contains(", offset ")).expect("a place");
    let (place, _) = line.split_once(':').expect("a sentence");
    let (name, offset) = place.split_once(", offset ").expect("an offset");
    let refused = Server::start(folder.path()).expect_err("the broker refuses");
    let refused = format!("{refused:#}");
    assert!(refused.contains(&format!("{name} is rotten at {offset}")), "{place}: {refused}");
}

#[test]
fn quarantine_leaves_everything_but_the_damaged_record() {
    let folder = stopped();
    flip(&segment(folder.path()), b"order number 2", -48);
    let ended = courant(&["check", "--quarantine"], folder.path());
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.ends_with("whole: nothing is damaged\n"), "{}", ended.stdout);
    let aside = folder.path().join("quarantine-1");
    let page = std::fs::read_to_string(aside.join("what-this-is.txt")).expect("the page");
    assert!(page.contains("lane 0: what is between 4294967298 and 4294967300"), "{page}");
    let server = Server::start(folder.path()).expect("the broker starts");
    let mut client = Client::connect(server.address().expect("ready")).expect("a connection");
    client.line("SUB queue:orders sub_id:s credit:10").expect("a subscription");
    for expected in ["order number 1", "order number 3"] {
        let message = client.message().expect("a message");
        assert_eq!(String::from_utf8_lossy(&message.body), expected);
    }
    drop(client);
    server.stop().expect("an orderly stop");
    let ended = courant(&["check", "--quarantine"], folder.path());
    assert_eq!(ended.code(), Some(0));
    assert!(!folder.path().join("quarantine-2").exists(), "there was nothing to set aside");
}

#[test]
fn both_copies_of_the_manifest_are_made_anew() {
    let folder = stopped();
    for name in ["manifest", "manifest.2"] {
        flip(&folder.path().join(name), b"courman", 20);
    }
    Server::start(folder.path()).expect_err("the broker refuses");
    let ended = courant(&["check"], folder.path());
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stdout.contains("manifest.2, offset 0: the list of segments"));
    let ended = courant(&["check", "--quarantine"], folder.path());
    assert_eq!(ended.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.ends_with("whole: nothing is damaged\n"), "{}", ended.stdout);
    Server::start(folder.path()).expect("the broker starts").stop().expect("an orderly stop");
}
