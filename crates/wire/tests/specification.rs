//! `docs/doors/text.md` says what the tables say: every verb has its place, every option its row.
//! The same of `docs/doors/binary.md` and the numbers of frames and properties.

use courant_wire::Limits;
use courant_wire::binary::{CommandKind, ReplyKind, Tag};
use courant_wire::text::{Key, OPTIONS, OptionSpec, Verb};

const PAGE: &str = include_str!("../../../docs/doors/text.md");
const BINARY: &str = include_str!("../../../docs/doors/binary.md");

fn row(spec: &OptionSpec) -> String {
    let verbs: Vec<_> =
        BY_NAME.iter().filter(|verb| spec.is_for(**verb)).map(|v| v.name()).collect();
    let verbs = if spec.key == Key::Req { "all but PONG".to_owned() } else { verbs.join(", ") };
    let repeats = if spec.repeats { " …" } else { "" };
    format!("| `{}:`{repeats} | {verbs} | {} | {} |", spec.name, spec.wants, spec.support.name())
}

const BY_NAME: [Verb; 15] = [
    Verb::Pub,
    Verb::Sub,
    Verb::Unsub,
    Verb::Ack,
    Verb::Nack,
    Verb::Reject,
    Verb::Extend,
    Verb::Credit,
    Verb::Declare,
    Verb::Delete,
    Verb::Bind,
    Verb::Unbind,
    Verb::Get,
    Verb::Purge,
    Verb::List,
];

#[test]
fn every_option_has_its_row() {
    let rows: Vec<_> = OPTIONS.iter().map(row).collect();
    assert!(PAGE.contains(&rows.join("\n")), "the table should be:\n{}", rows.join("\n"));
}

#[test]
fn every_verb_has_its_place() {
    let titles: Vec<_> = PAGE.lines().filter(|line| line.starts_with("### ")).collect();
    for verb in Verb::ALL {
        let word = |title: &&str| {
            title.split(|c: char| !c.is_ascii_uppercase()).any(|word| word == verb.name())
        };
        assert!(titles.iter().any(word), "{verb}");
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let limits = Limits::DEFAULT;
    assert!(PAGE.contains("| 4,096 bytes | closes |") && limits.line_bytes_max == 4096);
    assert!(PAGE.contains("(16,777,216 bytes)") && limits.body_bytes_max == 16_777_216);
    assert!(PAGE.contains(&format!("| headers of a message | {} |", limits.headers_max)));
    assert!(PAGE.contains("| 64 KiB |") && limits.headers_bytes_max == 64 * 1024);
    assert!(PAGE.contains("| 256 KiB | |") && limits.reply_line_bytes_max == 256 * 1024);
}

#[test]
fn every_frame_and_property_has_its_row() {
    let commands = CommandKind::ALL.iter().map(|kind| (kind.number(), kind.name()));
    let replies = ReplyKind::ALL.iter().map(|kind| (kind.number(), kind.name()));
    let mut rows: Vec<_> = commands
        .chain(replies)
        .map(|(number, name)| format!("| `{number:#04x}` | {name} |"))
        .collect();
    rows.extend(Tag::ALL.map(|tag| format!("| {} | {} |", tag.number(), tag.name())));
    for row in &rows {
        let there = BINARY.lines().filter(|line| line.starts_with(row)).count();
        assert_eq!(there, 1, "{row}");
    }
    let upper = |word: &str| word.trim().starts_with(|c: char| c.is_ascii_uppercase());
    let frames = BINARY
        .lines()
        .filter(|line| line.starts_with("| `0x"))
        .filter(|line| line.split('|').nth(2).is_some_and(upper));
    assert_eq!(frames.count(), CommandKind::ALL.len() + ReplyKind::ALL.len());
}

#[test]
fn limits_of_frames_are_those_of_the_code() {
    let limits = Limits::DEFAULT;
    assert!(BINARY.contains("16 MiB and 128 KiB"));
    assert_eq!(limits.frame_bytes_max, 16 * 1024 * 1024 + 128 * 1024);
    assert!(BINARY.contains("17 MiB") && limits.reply_frame_bytes_max == 17 * 1024 * 1024);
    assert!(BINARY.contains("1 to 8,192 (117)") && courant_wire::BATCH_MAX == 8192);
}
