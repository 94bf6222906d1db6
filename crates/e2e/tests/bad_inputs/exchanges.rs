//! Bad exchanges and bindings: kinds, options, patterns, filters, weights, circles.

use crate::cases::{BAD_OPTION, Case, MISSING, refused, sequence};

const NO_EXCHANGE: &str = "ERR 203 no-such-exchange ";
const OTHERWISE: &str = "ERR 205 declared-otherwise ";

pub(crate) fn table() -> Vec<Case> {
    let mut all = declaring();
    all.extend(publishing());
    all.extend(binding());
    all.extend(patterns());
    all.extend(filters());
    all.extend(circles());
    all
}

/// A line for each number, or a part of one.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn declaring() -> Vec<Case> {
    vec![
        sequence(
            "an exchange of another kind",
            "DECLARE exchange:x.kind kind:fanout\nDECLARE exchange:x.kind kind:topic\n",
            &["OK", OTHERWISE],
        ),
        sequence(
            "an exchange that is suddenly internal",
            "DECLARE exchange:x.in\nDECLARE exchange:x.in internal:yes\n",
            &["OK", OTHERWISE],
        ),
        sequence(
            "an exchange with another alternate",
            "DECLARE exchange:x.a\nDECLARE exchange:x.b\nDECLARE exchange:x.b alternate:x.a\n",
            &["OK", "OK", OTHERWISE],
        ),
        refused(
            "an alternate that is not there",
            "DECLARE exchange:x.c alternate:no\n",
            NO_EXCHANGE,
        ),
        refused("its own alternate", "DECLARE exchange:x.d alternate:x.d\n", NO_EXCHANGE),
        refused("an exchange perhaps internal", "DECLARE exchange:x.e internal:1\n", BAD_OPTION),
        refused("an exchange with a length", "DECLARE exchange:x.f max_length:5\n", "ERR 1"),
        refused("a queue with a kind", "DECLARE queue:x.g kind:topic\n", "ERR 1"),
        refused("an exchange to delete that is not there", "DELETE exchange:none\n", NO_EXCHANGE),
        refused("a topic to delete that is not there", "DELETE topic:none\n", "ERR 202 "),
        sequence(
            "an exchange in use to delete if unused",
            "DECLARE exchange:x.used\nBIND exchange:x.used queue:good key:k\n\
             DELETE exchange:x.used if_unused:yes\n",
            &["OK", "OK", "ERR 213 exchange-in-use "],
        ),
        refused("a subscriber of nobody to delete", "DELETE topic:t name:nobody\n", "ERR 215 "),
    ]
}

fn publishing() -> Vec<Case> {
    vec![
        sequence(
            "a message to an internal exchange",
            "DECLARE exchange:x.internal internal:yes\nPUB exchange:x.internal key:k 1\nx\n",
            &["OK", "ERR 214 exchange-internal "],
        ),
        refused(
            "a message to an exchange that is not there",
            "PUB exchange:no 1\nx\n",
            NO_EXCHANGE,
        ),
        refused("a message perhaps mandatory", "PUB queue:bad mandatory:1 1\nx\n", BAD_OPTION),
        sequence(
            "a mandatory message to nobody comes back",
            "DECLARE exchange:x.void\nPUB exchange:x.void key:k mandatory:yes req:r 2\nhi\n",
            &["OK", "RETURN exchange:x.void ", "hi", "OK "],
        ),
        sequence(
            "a message to nobody that is not mandatory",
            "DECLARE exchange:x.void\nPUB exchange:x.void key:k 2\nhi\n",
            &["OK", "OK "],
        ),
        refused("a header without a name", "PUB queue:bad h:=v 1\nx\n", "ERR 103 |ERR 116 "),
        refused("a whole number that is none", "PUB queue:bad hi:a=1.5 1\nx\n", BAD_OPTION),
        refused(
            "a whole number above 64 bits",
            "PUB queue:bad hi:a=9223372036854775808 1\nx\n",
            BAD_OPTION,
        ),
        refused("neither yes nor no in a header", "PUB queue:bad hb:a=maybe 1\nx\n", BAD_OPTION),
        refused("nothing with a value", "PUB queue:bad hn:a=5 1\nx\n", BAD_OPTION),
    ]
}

fn binding() -> Vec<Case> {
    let long = format!("BIND exchange:x.bind queue:good key:{}\n", "k".repeat(2000));
    vec![
        refused("a binding without a target", "BIND exchange:x.bind\n", MISSING),
        refused("a binding between queues", "BIND queue:bad queue:good\n", BAD_OPTION),
        refused("a binding to a topic", "BIND exchange:none topic:t\n", "ERR 103 |ERR 203 "),
        refused("a binding from nowhere", "BIND exchange:none queue:good key:k\n", NO_EXCHANGE),
        refused("a binding from no topic", "BIND topic:none queue:good\n", "ERR 20"),
        sequence(
            "bindings to what is not there",
            "DECLARE exchange:x.bind\nBIND exchange:x.bind queue:none key:k\n\
             BIND exchange:x.bind exchange:none key:k\n",
            &["OK", "ERR 201 ", NO_EXCHANGE],
        ),
        sequence(
            "a binding taken back that never was",
            "DECLARE exchange:x.bind\nUNBIND exchange:x.bind queue:good key:never\n",
            &["OK", "ERR 209 no-such-binding "],
        ),
        sequence(
            "a binding twice is one",
            "DECLARE exchange:x.twice\nBIND exchange:x.twice queue:good key:k\n\
             BIND exchange:x.twice queue:good key:k\nPUB exchange:x.twice key:k 1\nx\n",
            &["OK", "OK", "OK", "OK msg_id:"],
        ),
        sequence(
            "a key of 2,000 bytes",
            &format!("DECLARE exchange:x.bind\n{long}"),
            &["OK", "OK|ERR 212 |ERR 103 "],
        ),
        sequence(
            "weights out of range",
            "DECLARE exchange:x.hash kind:hash\nBIND exchange:x.hash queue:good weight:0\n\
             BIND exchange:x.hash queue:good weight:1001\n\
             BIND exchange:x.hash queue:good weight:-1\n\
             BIND exchange:x.hash queue:good weight:heavy\n",
            &["OK", "ERR 1|ERR 212 ", "ERR 1|ERR 212 ", BAD_OPTION, BAD_OPTION],
        ),
    ]
}

fn patterns() -> Vec<Case> {
    let deep = "%23.".repeat(120) + "%23";
    let key = "a.".repeat(120) + "a";
    let many = lines(500, |n| format!("BIND exchange:x.many queue:good key:*.%23.{n}.%23\n"));
    let all_done = [&["OK"; 501][..], &["OK "]].concat();
    vec![
        sequence(
            "a pattern of many #, and a long key",
            &format!(
                "DECLARE exchange:x.deep kind:topic\nBIND exchange:x.deep queue:good key:{deep}\n\
                 PUB exchange:x.deep key:{key} 1\nx\n"
            ),
            &["OK", "OK|ERR 212 ", "OK "],
        ),
        sequence(
            "five hundred patterns that overlap",
            &format!(
                "DECLARE exchange:x.many kind:topic\n{many}PUB exchange:x.many key:a.b.c 1\nx\n"
            ),
            &all_done,
        ),
        sequence(
            "a > that is not at the end is a segment like any other, or refused",
            "DECLARE exchange:x.gt kind:topic\nBIND exchange:x.gt queue:good key:a.>.b\n",
            &["OK", "OK|ERR 212 "],
        ),
        sequence(
            "empty segments",
            "DECLARE exchange:x.dots kind:topic\nBIND exchange:x.dots queue:good key:..\n\
             PUB exchange:x.dots key:.. 1\nx\nPUB exchange:x.dots key:... 1\nx\n",
            &["OK", "OK", "OK msg_id:", "OK "],
        ),
        sequence(
            "wildcards in a key are letters",
            "DECLARE exchange:x.plain kind:topic\nBIND exchange:x.plain queue:good key:only.this\n\
             PUB exchange:x.plain key:*.%23 mandatory:yes 1\nx\n",
            &["OK", "OK", "RETURN exchange:x.plain ", "x", "OK "],
        ),
        sequence(
            "a wildcard at the front does not see what begins with $",
            "DECLARE exchange:x.sys kind:topic\nBIND exchange:x.sys queue:good key:%23\n\
             PUB exchange:x.sys key:$sys.a mandatory:yes 1\nx\n",
            &["OK", "OK", "RETURN exchange:x.sys ", "x", "OK "],
        ),
        sequence(
            "a key of any bytes",
            "DECLARE exchange:x.bytes kind:topic\nBIND exchange:x.bytes queue:good key:%FF.*\n\
             PUB exchange:x.bytes key:%FF.%00 1\nx\n",
            &["OK", "OK|ERR 116 |ERR 212 ", "OK |ERR 116 "],
        ),
        sequence(
            "regular expressions are text",
            "DECLARE exchange:x.re kind:topic\nBIND exchange:x.re queue:good key:(a+)+b\n\
             PUB exchange:x.re key:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa mandatory:yes 1\nx\n",
            &["OK", "OK", "RETURN exchange:x.re ", "x", "OK "],
        ),
    ]
}

fn filters() -> Vec<Case> {
    let declare = "DECLARE exchange:x.head kind:headers\n";
    let with = |name, rest: &str, replies: &[&'static str]| {
        sequence(name, &format!("{declare}{rest}"), &[&["OK"], replies].concat())
    };
    let wide = lines(100, |n| format!(" h:n{n}=v"));
    vec![
        with(
            "a way to match that is none",
            "BIND exchange:x.head queue:good match:some h:a=b\n",
            &[BAD_OPTION],
        ),
        with(
            "a key for a headers exchange",
            "BIND exchange:x.head queue:good key:k\n",
            &["ERR 1|ERR 212 "],
        ),
        with(
            "a filter that is a hundred wide",
            &format!("BIND exchange:x.head queue:good{wide}\nPUB exchange:x.head h:n1=v 1\nx\n"),
            &["OK|ERR 1|ERR 212 ", "OK "],
        ),
        with(
            "one header twice in a filter",
            "BIND exchange:x.head queue:good h:a=b h:a=c\n",
            &["OK|ERR 1|ERR 212 "],
        ),
        with(
            "text is no number",
            "BIND exchange:x.head queue:good hi:a=5\n\
             PUB exchange:x.head h:a=5 mandatory:yes 1\nx\n",
            &["OK", "RETURN exchange:x.head ", "x", "OK "],
        ),
        with("live behind headers", "SUB exchange:x.head mode:live\n", &["ERR 113 |ERR 103 "]),
        sequence(
            "live behind a hash",
            "DECLARE exchange:x.lot kind:hash\n\
             SUB exchange:x.lot mode:live\n",
            &["OK", "ERR 113 |ERR 103 "],
        ),
        refused(
            "a filter of nothing known",
            "BIND exchange:x.head queue:good hx:a=b\n",
            BAD_OPTION,
        ),
    ]
}

fn circles() -> Vec<Case> {
    let ring = lines(20, |n| format!("DECLARE exchange:x.ring{n} kind:fanout\n"));
    let bound = lines(20, |n| format!("BIND exchange:x.ring{n} exchange:x.ring{}\n", (n + 1) % 20));
    let done = [&["OK"; 41][..], &["OK msg_id:"]].concat();
    vec![
        sequence(
            "an exchange bound to itself",
            "DECLARE exchange:x.self kind:fanout\nBIND exchange:x.self exchange:x.self\n\
             PUB exchange:x.self mandatory:yes 1\nx\n",
            &["OK", "OK", "RETURN exchange:x.self ", "x", "OK "],
        ),
        sequence(
            "a circle of twenty exchanges gives one message",
            &format!("{ring}{bound}BIND exchange:x.ring7 queue:good\nPUB exchange:x.ring3 1\nx\n"),
            &done,
        ),
        sequence(
            "an alternate that leads back",
            "DECLARE exchange:x.one kind:fanout\nDECLARE exchange:x.two alternate:x.one\n\
             BIND exchange:x.one exchange:x.two\nPUB exchange:x.two key:k mandatory:yes 1\nx\n",
            &["OK", "OK", "OK", "RETURN exchange:x.two ", "x", "OK "],
        ),
        sequence(
            "an exchange that goes while it is an alternate",
            "DECLARE exchange:x.gone\nDECLARE exchange:x.left alternate:x.gone\n\
             DELETE exchange:x.gone\nPUB exchange:x.left key:k 1\nx\n",
            &["OK", "OK", "OK|ERR 213 ", "OK "],
        ),
    ]
}
