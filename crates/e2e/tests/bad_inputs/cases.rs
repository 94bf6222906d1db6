//! The table of bad inputs: a name, the bytes, what has to come back.

/// Whether the connection goes on after the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It does: a PING gets its PONG.
    Open,
    /// The server closes it.
    Closed,
}

/// One bad input.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether CONNECT comes first.
    pub(crate) login: bool,
    pub(crate) input: Vec<u8>,
    /// The beginnings of the reply lines, all of them and in order. Alternatives are split by `|`.
    pub(crate) replies: Vec<&'static str>,
    pub(crate) end: End,
}

const NOT_CONNECTED: &str = "ERR 108 not-connected ";
pub(crate) const BAD_JSON: &str = "ERR 106 bad-json ";
const UNKNOWN_VERB: &str = "ERR 101 unknown-verb ";
pub(crate) const MISSING: &str = "ERR 102 missing-field ";
pub(crate) const BAD_OPTION: &str = "ERR 103 bad-option ";
const BAD_SIZE: &str = "ERR 104 bad-size ";
const BAD_NAME: &str = "ERR 200 bad-name ";
const NOT_UTF8: &str = "ERR 116 not-utf8 ";
const BAD_HANDLE: &str = "ERR 107 bad-handle ";
const TOO_LONG: &str = "ERR 100 line-too-long ";

fn case(name: &'static str, input: impl Into<Vec<u8>>, reply: &'static str, end: End) -> Case {
    Case { name, login: true, input: input.into(), replies: vec![reply], end }
}

/// Before CONNECT; the connection closes.
pub(crate) fn stranger(name: &'static str, input: impl Into<Vec<u8>>, reply: &'static str) -> Case {
    Case { login: false, ..case(name, input, reply, End::Closed) }
}

/// A command that is refused and nothing else; the connection goes on.
pub(crate) fn refused(name: &'static str, input: impl Into<Vec<u8>>, reply: &'static str) -> Case {
    case(name, input, reply, End::Open)
}

/// Commands in one write, each with a reply of its own; the connection goes on.
pub(crate) fn sequence(name: &'static str, input: &str, replies: &[&'static str]) -> Case {
    let (input, replies) = (input.as_bytes().to_vec(), replies.to_vec());
    Case { name, login: true, input, replies, end: End::Open }
}

/// Framing is lost; the connection closes.
fn fatal(name: &'static str, input: impl Into<Vec<u8>>, reply: &'static str) -> Case {
    case(name, input, reply, End::Closed)
}

/// All that are judged by what comes back at once. `queue:bad` exists.
pub(crate) fn table() -> Vec<Case> {
    let mut all = before_connect();
    all.extend(connecting());
    all.extend(framing());
    all.extend(commands());
    all.extend(names());
    all.extend(options());
    all.extend(handles());
    all.extend(pipelines());
    all.extend(crate::exchanges::table());
    all.extend(crate::policies::table());
    all
}

fn before_connect() -> Vec<Case> {
    vec![
        stranger("publish before connect", "PUB queue:bad 1\nx\n", NOT_CONNECTED),
        stranger("subscribe before connect", "SUB queue:bad\n", NOT_CONNECTED),
        stranger("ping before connect", "PING\n", NOT_CONNECTED),
        stranger("an ack before connect", "ACK msg_id:1.1\n", NOT_CONNECTED),
        stranger("a web browser", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "ERR 1"),
        stranger("another protocol in text", "HELO example.org\n", "ERR 1"),
        stranger("high bytes before connect", b"\xfe\xff\xc0\xc1\n".as_slice(), "ERR 1"),
        stranger("a line too long before connect", vec![b'a'; 5000], TOO_LONG),
        stranger("an endless line before connect", vec![b'a'; 300_000], TOO_LONG),
        stranger("a huge size before connect", "PUB queue:bad 16777216\n", "ERR 1|ERR 400"),
    ]
}

fn connecting() -> Vec<Case> {
    let deep = format!("CONNECT {}\n", "{\"version\":".repeat(300));
    let brackets = format!("CONNECT {{\"version\":{}\n", "[".repeat(3000));
    vec![
        stranger("connect with half an object", "CONNECT {\"version\":\n", BAD_JSON),
        stranger("connect with an array", "CONNECT []\n", BAD_JSON),
        stranger("connect with a word", "CONNECT hello\n", BAD_JSON),
        stranger("connect with two objects", "CONNECT {} {}\n", BAD_JSON),
        stranger("connect with an unknown field", "CONNECT {\"colour\":1}\n", BAD_JSON),
        stranger("connect with a number for a string", "CONNECT {\"version\":1}\n", BAD_JSON),
        stranger(
            "connect with bad utf-8",
            b"CONNECT {\"client_id\":\"\xff\"}\n".as_slice(),
            BAD_JSON,
        ),
        stranger("connect nested deeply", deep, BAD_JSON),
        stranger("connect with many brackets", brackets, BAD_JSON),
        stranger(
            "an unknown version",
            "CONNECT {\"version\":\"9.9\"}\n",
            "ERR 110 unknown-version ",
        ),
        stranger("a user without a password", "CONNECT {\"user\":\"u\"}\n", "ERR 106 |ERR 301 "),
        refused("connect twice", "CONNECT {}\n", "ERR 109 already-connected "),
        Case {
            name: "only newlines, then connect",
            login: false,
            input: [b"\n\r\n".repeat(20_000).as_slice(), b"CONNECT {}\n"].concat(),
            replies: vec!["OK"],
            end: End::Open,
        },
    ]
}

fn framing() -> Vec<Case> {
    vec![
        fatal("a line of 4097 bytes", line_of(4097), TOO_LONG),
        refused("a line of 4096 bytes, which is allowed", line_of(4096), UNKNOWN_VERB),
        fatal("a line that never ends", vec![b'P'; 200_000], TOO_LONG),
        fatal("a publish without a size", "PUB queue:bad\n", BAD_SIZE),
        fatal("a publish without anything", "PUB\n", BAD_SIZE),
        fatal("a size that is a word", "PUB queue:bad abc\n", BAD_SIZE),
        fatal("a negative size", "PUB queue:bad -5\nhello\n", BAD_SIZE),
        fatal("a size with a sign", "PUB queue:bad +5\nhello\n", BAD_SIZE),
        fatal("a size in hexadecimal", "PUB queue:bad 0x10\n", BAD_SIZE),
        fatal("a fractional size", "PUB queue:bad 1.5\n", BAD_SIZE),
        fatal("a size of 16 MiB and one", "PUB queue:bad 16777217\n", "ERR 400 message-too-large "),
        fatal(
            "a size above 64 bits",
            "PUB queue:bad 99999999999999999999999\n",
            "ERR 400 message-too-large ",
        ),
        fatal("a body longer than its size", "PUB queue:bad 2\nhello\n", "ERR 105 body-not-ended "),
        fatal("a body of none that is one", "PUB queue:bad 0\nx\n", "ERR 105 body-not-ended "),
        fatal(
            "a size that counts characters",
            "PUB queue:bad 5\nh\u{e9}llo\n",
            "ERR 105 body-not-ended ",
        ),
    ]
}

/// A line of so many bytes, and its end.
fn line_of(bytes: usize) -> Vec<u8> {
    let mut line = vec![b'x'; bytes];
    line.push(b'\n');
    line
}

fn commands() -> Vec<Case> {
    vec![
        refused("an unknown verb", "PUBB queue:bad\n", UNKNOWN_VERB),
        refused("a verb of control characters", b"\x01\x02\x03\n".as_slice(), UNKNOWN_VERB),
        refused("a verb of nul bytes", b"\0\0\0\0\n".as_slice(), UNKNOWN_VERB),
        refused("a verb that is not utf-8", b"\xff\xfe\xfd\n".as_slice(), UNKNOWN_VERB),
        refused("tabs instead of spaces", "PUB\tqueue:bad\t1\n", UNKNOWN_VERB),
        refused("carriage returns as line ends", "PING\rPING\r\n", UNKNOWN_VERB),
        refused("a publish without a destination", "PUB 1\nx\n", MISSING),
        refused("a subscribe without a destination", "SUB\n", MISSING),
        refused("a declare of nothing", "DECLARE\n", MISSING),
        refused("an ack of nothing", "ACK\n", MISSING),
        refused("an extend of nothing", "EXTEND ms:5\n", MISSING),
        refused("a credit without a number", "CREDIT sub_id:none\n", MISSING),
        refused("an unsub of nothing", "UNSUB\n", MISSING),
        refused("an unsub of a stranger", "UNSUB sub_id:none\n", "ERR 500 no-such-subscription "),
        refused("a credit for nobody", "CREDIT sub_id:none n:1\n", "ERR 500 no-such-subscription "),
        refused("a queue that is not there", "PUB queue:none 1\nx\n", "ERR 201 no-such-queue "),
        refused("a topic that is not there", "SUB topic:none\n", "ERR 202 no-such-topic "),
        refused("an exchange that is not there", "SUB exchange:none\n", "ERR 203 |ERR 113 "),
        refused("a get from an empty queue", "GET queue:bad\n", "ERR 402 nothing-waiting "),
        refused("a binding of nothing", "BIND exchange:a queue:bad\n", "ERR 113 |ERR 203 "),
    ]
}

fn names() -> Vec<Case> {
    let long = format!("DECLARE queue:{}\n", "n".repeat(256));
    let escaped = format!("DECLARE queue:{}\n", "%41".repeat(256));
    let stars = format!("DECLARE queue:{}\n", "\u{2605}".repeat(86));
    vec![
        refused("a name of 256 bytes", long, BAD_NAME),
        refused("a name of 256 escapes", escaped, BAD_NAME),
        refused("a name of 258 bytes in 86 characters", stars, BAD_NAME),
        refused("a control character in a name", "DECLARE queue:a%07b\n", BAD_NAME),
        refused(
            "a raw control character in a name",
            b"DECLARE queue:a\x07b\n".as_slice(),
            BAD_NAME,
        ),
        refused("a nul byte in a name", b"DECLARE queue:a\0b\n".as_slice(), BAD_NAME),
        refused("a line end in a name", "DECLARE queue:a%0Ab\n", BAD_NAME),
        refused(
            "a name that is not utf-8",
            b"DECLARE queue:\xff\xfe\n".as_slice(),
            "ERR 200 |ERR 116 ",
        ),
        refused("an escaped name that is not utf-8", "DECLARE queue:%FF\n", "ERR 200 |ERR 116 "),
        refused("half an escape in a name", "DECLARE queue:a%4\n", "ERR 200 |ERR 103 "),
        refused("an escape without digits in a name", "PUB queue:%zz 1\nx\n", "ERR 200 |ERR 103 "),
        refused("an empty name", "PUB queue: 1\nx\n", BAD_OPTION),
        refused("a destination of no kind", "PUB stack:bad 1\nx\n", BAD_OPTION),
        refused("a destination without a colon", "PUB bad 1\nx\n", BAD_OPTION),
        refused("a name that climbs up and is none", "PUB queue:../../etc 1\nx\n", "ERR 201 "),
    ]
}

fn options() -> Vec<Case> {
    let headers = format!("PUB queue:bad{} 1\nx\n", " h:a=".repeat(257));
    let token = format!("PUB queue:bad req:{} 1\nx\n", "t".repeat(65));
    vec![
        refused("an unknown option", "PUB queue:bad colour:red 1\nx\n", BAD_OPTION),
        refused("an option of another verb", "PUB queue:bad credit:5 1\nx\n", BAD_OPTION),
        refused("an option without a value", "PUB queue:bad durable: 1\nx\n", BAD_OPTION),
        refused("a word that is no option", "SUB queue:bad please\n", BAD_OPTION),
        refused("an option given twice", "PUB queue:bad req:a req:b 1\nx\n", BAD_OPTION),
        refused("a number that is none", "SUB queue:bad credit:many\n", BAD_OPTION),
        refused("a number that is too large", "SUB queue:bad credit:4294967296\n", BAD_OPTION),
        refused("a negative number", "SUB queue:bad credit:-1\n", BAD_OPTION),
        refused("a count of none", "GET queue:bad count:0\n", BAD_OPTION),
        refused("a count that is too large", "GET queue:bad count:1025\n", BAD_OPTION),
        refused("a kind of exchange that is none", "DECLARE exchange:e kind:odd\n", BAD_OPTION),
        refused("a confirm of another verb", "PUB queue:bad confirm:synced 1\nx\n", BAD_OPTION),
        refused("live from a queue", "SUB queue:bad mode:live\n", BAD_OPTION),
        refused("live with a name", "SUB topic:t mode:live name:n\n", BAD_OPTION),
        refused("a key for a queue", "PUB queue:bad key:k 1\nx\n", BAD_OPTION),
        refused("a header without a value", "PUB queue:bad h:name 1\nx\n", BAD_OPTION),
        refused("an escape without digits", "PUB queue:bad h:a=%zz 1\nx\n", BAD_OPTION),
        refused("257 headers", headers, "ERR 114 headers-too-large "),
        refused("a token of 65 characters", token, BAD_OPTION),
        refused("an option that is not utf-8", b"SUB queue:bad name:\xff\n".as_slice(), NOT_UTF8),
        refused(
            "a control character among the options",
            b"SUB queue:bad\x07 credit:\x01\n".as_slice(),
            "ERR 103 |ERR 200 |ERR 116 ",
        ),
        refused("a priority, which comes later", "PUB queue:bad priority:5 1\nx\n", "ERR 113 "),
        refused("a dedup key, which comes later", "PUB queue:bad dedup:k 1\nx\n", "ERR 113 "),
    ]
}

fn handles() -> Vec<Case> {
    vec![
        refused("a handle that is no number", "ACK msg_id:lost\n", BAD_HANDLE),
        refused("a handle with two dots", "ACK msg_id:1.2.3\n", BAD_HANDLE),
        refused("a handle without a lease after its dot", "ACK msg_id:1.\n", BAD_HANDLE),
        refused("a handle with leading zeros", "ACK msg_id:007.1\n", BAD_HANDLE),
        refused("a handle of forty digits", format!("ACK msg_id:{}\n", "z".repeat(40)), BAD_HANDLE),
        refused(
            "a handle above 80 bits",
            format!("NACK msg_id:{}.1\n", "z".repeat(17)),
            BAD_HANDLE,
        ),
        refused("an ack of what was never delivered", "ACK msg_id:zzz.1\n", "ERR 502 not-open "),
        refused("a nack of what was never delivered", "NACK msg_id:zzz.1\n", "ERR 502 not-open "),
        refused(
            "a reject of what was never delivered",
            "REJECT msg_id:zzz.1\n",
            "ERR 502 not-open ",
        ),
        refused(
            "an extend of what was never delivered",
            "EXTEND msg_id:zzz.1\n",
            "ERR 502 not-open ",
        ),
        refused("an ack up to what was never delivered", "ACK upto:zzz.1\n", "ERR 502 not-open "),
        refused(
            "the largest handle",
            format!("ACK msg_id:{}.fzzzzzzzzzzzz\n", "z".repeat(16)),
            "ERR 502 ",
        ),
    ]
}

fn pipelines() -> Vec<Case> {
    let ending = |name, input: &str, replies: &[&'static str]| Case {
        end: End::Closed,
        ..sequence(name, input, replies)
    };
    let many = Case {
        name: "ten thousand unknown verbs in one write",
        login: true,
        input: b"NONSENSE queue:bad\n".repeat(10_000),
        replies: vec![UNKNOWN_VERB; 10_000],
        end: End::Open,
    };
    vec![
        many,
        sequence(
            "garbage after a good command",
            "PUB queue:good 2\nhi\ngarbage and more\nPUB queue:good 2\nho\n",
            &["OK msg_id:", UNKNOWN_VERB, "OK msg_id:"],
        ),
        ending(
            "lost framing after a good command",
            "PUB queue:good 2\nhi\nPUB queue:good x\nPUB queue:good 2\nho\n",
            &["OK msg_id:", BAD_SIZE],
        ),
        sequence(
            "a refused body that looks like commands",
            "PUB queue:good colour:red 15\nQUIT\nPING\nQUIT\n\nPING req:seen\n",
            &[BAD_OPTION, "PONG req:seen"],
        ),
        ending("commands after quit", "QUIT\nPUB queue:good 2\nhi\n", &["OK"]),
        sequence(
            "refusals between confirms keep their places",
            "PUB queue:good 1\na\nACK msg_id:zzz.1\nPUB queue:none 1\nb\nPUB queue:good 1\nc\n",
            &["OK msg_id:", "ERR 502 ", "ERR 201 ", "OK msg_id:"],
        ),
        sequence(
            "a subscription twice",
            "SUB queue:bad sub_id:twice\nSUB queue:bad sub_id:twice\n",
            &["OK", "ERR 501 subscription-exists "],
        ),
        sequence(
            "declared otherwise",
            "DECLARE queue:bad durable:no\n",
            &["ERR 205 declared-otherwise "],
        ),
    ]
}
