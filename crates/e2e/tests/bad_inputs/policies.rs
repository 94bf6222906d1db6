//! Bad policies of queues: limits out of range, and queues that are full, private or in use.

use crate::cases::{BAD_OPTION, Case, MISSING, refused, sequence};

const NO_QUEUE: &str = "ERR 201 no-such-queue ";
const OTHERWISE: &str = "ERR 205 declared-otherwise ";
const RANGE: &str = "ERR 208 bad-policy |ERR 103 bad-option ";
const FULL: &str = "ERR 403 queue-full ";

pub(crate) fn table() -> Vec<Case> {
    let mut all = ranges();
    all.extend(differences());
    all.extend(limits());
    all.extend(deleting());
    all.extend(asking());
    all.extend(credit());
    all
}

fn ranges() -> Vec<Case> {
    vec![
        refused("a length that is a word", "DECLARE queue:p max_length:many\n", BAD_OPTION),
        refused("a negative length", "DECLARE queue:p max_length:-1\n", BAD_OPTION),
        refused("a length of none", "DECLARE queue:p max_length:0\n", RANGE),
        refused("bytes of none", "DECLARE queue:p max_bytes:0\n", RANGE),
        refused(
            "a length above 64 bits",
            "DECLARE queue:p max_length:18446744073709551616\n",
            RANGE,
        ),
        refused("messages of no byte", "DECLARE queue:p max_message_bytes:0\n", RANGE),
        refused("messages above 32 bits", "DECLARE queue:p max_message_bytes:4294967296\n", RANGE),
        refused("an overflow that is none", "DECLARE queue:p overflow:explode\n", BAD_OPTION),
        refused("no attempt at all", "DECLARE queue:p max_attempts:0\n", RANGE),
        refused("attempts above 16 bits", "DECLARE queue:p max_attempts:65536\n", RANGE),
        refused("a life of no time", "DECLARE queue:p expires:0\n", RANGE),
        refused("a life of for ever", "DECLARE queue:p expires:18446744073709551615\n", RANGE),
        refused(
            "messages that live for ever and a day",
            "DECLARE queue:p message_ttl:18446744073709551615\n",
            RANGE,
        ),
        refused("a visibility of a year", "DECLARE queue:p visibility:31536000000\n", RANGE),
        refused("perhaps exclusive", "DECLARE queue:p exclusive:1\n", BAD_OPTION),
        refused(
            "exclusive and durable",
            "DECLARE queue:p exclusive:yes durable:yes\n",
            "ERR 208 |ERR 103 ",
        ),
        refused("an option twice", "DECLARE queue:p max_length:5 max_length:6\n", BAD_OPTION),
        refused("a reserved name", "DECLARE queue:$mine\n", "ERR 210 reserved-name "),
        refused("a name of nothing for an exchange", "DECLARE exchange:\n", BAD_OPTION),
        refused("a time to live that is a word", "PUB queue:bad ttl:soon 1\nx\n", BAD_OPTION),
        refused("a negative time to live", "PUB queue:bad ttl:-1 1\nx\n", BAD_OPTION),
        refused(
            "a time to live above 64 bits",
            "PUB queue:bad ttl:99999999999999999999 1\nx\n",
            BAD_OPTION,
        ),
    ]
}

fn differences() -> Vec<Case> {
    let first = "DECLARE queue:p.all max_length:5 max_bytes:500 overflow:reject max_attempts:3\n";
    let then = |name, options: &str| {
        sequence(name, &format!("{first}DECLARE queue:p.all {options}\n"), &["OK", OTHERWISE])
    };
    vec![
        then("declared with another length", "max_length:6 max_bytes:500 max_attempts:3"),
        then("declared with other bytes", "max_length:5 max_bytes:501 max_attempts:3"),
        then(
            "declared with another overflow",
            "max_length:5 max_bytes:500 max_attempts:3 overflow:drop-oldest",
        ),
        then("declared with other attempts", "max_length:5 max_bytes:500 max_attempts:4"),
        then("declared without its limits", "visibility:30000"),
        then("declared with a life", "max_length:5 max_bytes:500 max_attempts:3 expires:60000"),
    ]
}

fn limits() -> Vec<Case> {
    vec![
        sequence(
            "one message too many",
            "DECLARE queue:p.one max_length:1 durable:no\nPUB queue:p.one 1\na\n\
             PUB queue:p.one 1\nb\n\
             DELETE queue:p.one\n",
            &["OK", "OK ", FULL, "OK"],
        ),
        sequence(
            "bytes too many",
            &format!(
                "DECLARE queue:p.ten max_bytes:1000 durable:no\nPUB queue:p.ten 5\nabcde\n\
                 PUB queue:p.ten 1200\n{}\nDELETE queue:p.ten\n",
                "x".repeat(1200)
            ),
            &["OK", "OK ", "ERR 40", "OK"],
        ),
        sequence(
            "a message larger than its queue takes",
            "DECLARE queue:p.small max_message_bytes:4 durable:no\n\
             PUB queue:p.small 30\n123456789012345678901234567890\n\
             PUB queue:p.small 4\nabcd\nDELETE queue:p.small\n",
            &["OK", "ERR 404 message-too-large-for-queue ", "OK ", "OK"],
        ),
        sequence(
            "a message for two queues of which one is full",
            "DECLARE exchange:p.x kind:fanout\nDECLARE queue:p.tight max_length:1\n\
             DECLARE queue:p.wide\nBIND exchange:p.x queue:p.tight\n\
             BIND exchange:p.x queue:p.wide\n\
             PUB exchange:p.x 1\na\nPUB exchange:p.x 1\nb\nPUB queue:p.wide 1\nc\n\
             DELETE queue:p.tight\nDELETE queue:p.wide\n",
            &["OK", "OK", "OK", "OK", "OK", "OK msg_id:", FULL, "OK msg_id:", "OK", "OK"],
        ),
        sequence(
            "the oldest make room",
            "DECLARE queue:p.last max_length:2 overflow:drop-oldest durable:no\n\
             PUB queue:p.last 1\na\nPUB queue:p.last 1\nb\nPUB queue:p.last 1\nc\n\
             GET queue:p.last count:5 ack:auto\nDELETE queue:p.last\n",
            &[
                "OK",
                "OK ",
                "OK ",
                "OK ",
                "MSG queue:p.last ",
                "b",
                "MSG queue:p.last ",
                "c",
                "OK count:2",
                "OK",
            ],
        ),
        sequence(
            "a message whose time is over at once",
            "DECLARE queue:p.ttl durable:no\nPUB queue:p.ttl ttl:0 1\na\nGET queue:p.ttl\n\
             DELETE queue:p.ttl\n",
            &["OK", "OK |ERR 103 ", "ERR 402 nothing-waiting ", "OK"],
        ),
    ]
}

fn deleting() -> Vec<Case> {
    vec![
        refused("a queue to delete that is not there", "DELETE queue:none\n", NO_QUEUE),
        sequence(
            "a queue that is not empty, to delete if it is",
            "DECLARE queue:p.holds\nPUB queue:p.holds 1\na\nDELETE queue:p.holds if_empty:yes\n\
             DELETE queue:p.holds\n",
            &["OK", "OK msg_id:", "ERR 206 queue-not-empty ", "OK"],
        ),
        sequence(
            "a queue that is in use, to delete if it is not",
            "DECLARE queue:p.used\nSUB queue:p.used sub_id:u\nDELETE queue:p.used if_unused:yes\n\
             UNSUB sub_id:u\nDELETE queue:p.used if_unused:yes\n",
            &["OK", "OK", "ERR 207 queue-in-use ", "OK", "OK"],
        ),
        sequence(
            "a queue that goes under its subscription",
            "DECLARE queue:p.under\nSUB queue:p.under sub_id:u\nDELETE queue:p.under\n\
             UNSUB sub_id:u\n",
            &["OK", "OK", "CANCEL sub_id:u |OK", "OK|CANCEL sub_id:u ", "OK|ERR 500 "],
        ),
        refused("a purge of nothing", "PURGE\n", MISSING),
        refused("a purge of a topic", "PURGE topic:t\n", "ERR 103 "),
        refused("a purge of a queue that is not there", "PURGE queue:none\n", NO_QUEUE),
        refused("a purge of some", "PURGE queue:bad count:5\n", BAD_OPTION),
    ]
}

fn asking() -> Vec<Case> {
    vec![
        refused(
            "asking for a queue that is not there",
            "DECLARE queue:p.none passive:yes\n",
            NO_QUEUE,
        ),
        refused("perhaps asking", "DECLARE queue:p.none passive:1\n", BAD_OPTION),
        refused("a list of nothing", "LIST\n", "ERR 102 |ERR 103 "),
        refused("a list of everything", "LIST everything\n", "ERR 102 |ERR 103 "),
        refused("a list of a queue", "LIST queue:bad\n", "ERR 102 |ERR 103 "),
        refused("a list of two things", "LIST queues exchanges\n", BAD_OPTION),
        refused("a list of none", "LIST queues count:0\n", BAD_OPTION),
        refused("a list from half an escape", "LIST queues after:%4\n", "ERR 103 |ERR 200 "),
        sequence("a list behind its end", "LIST queues after:~~~\n", &["OK count:0"]),
        refused("counts of a queue that is not there", "STATS queue:none\n", NO_QUEUE),
        refused("counts of a stack", "STATS stack:a\n", BAD_OPTION),
    ]
}

fn credit() -> Vec<Case> {
    vec![
        refused("credit of no number", "CREDIT\n", "ERR 102 |ERR 103 "),
        refused("credit of a word", "CREDIT n:many\n", BAD_OPTION),
        refused("credit above 32 bits", "CREDIT n:4294967296\n", BAD_OPTION),
        refused("credit above all", "CREDIT n:4294967295\n", "OK|ERR 103 |ERR 2"),
        refused("bytes of credit that are a word", "CREDIT bytes:all\n", BAD_OPTION),
        refused("bytes of credit below nothing", "SUB queue:bad credit_bytes:-1\n", BAD_OPTION),
    ]
}
