//! Users, roles and TLS of the real binary, for its own client, for one in Python, and across
//! SIGHUP and `kill -9`.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use courant_e2e::binary;
use courant_e2e::cli::{self, Ended, Running};
use courant_e2e::client::Client;
use courant_e2e::server::{Launch, Server};
use rustix::process::Signal;

/// How long a reload may take, on a loaded machine.
const RELOADED_WITHIN: Duration = Duration::from_secs(30);

/// One who may do all, and one who may only publish to `orders.*` and consume from `orders.eu`.
struct Ground {
    folder: tempfile::TempDir,
    token: String,
    token_hash: String,
    password_hash: String,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = courant(&["user", "token"], &[], b"").success().unwrap();
        let field = |name: &str| {
            let line = made.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let (token, token_hash) = (field("token:"), field("hash:"));
        let hash = courant(&["user", "hash"], &[], b"correct horse\n").success().unwrap();
        let ground = Self { folder, token, token_hash, password_hash: hash.trim_end().to_owned() };
        ground.certify();
        ground.write(&ground.people("\"orders.*\"", "\"orders.eu\""));
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes another certificate for this machine.
    fn certify(&self) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn people(&self, publish: &str, consume: &str) -> String {
        let (token, password) = (&self.token_hash, &self.password_hash);
        format!(
            "[[users]]\nname = \"shop\"\npassword_hash = '{password}'\nroles = [\"shop\"]\n\
             [[users]]\nname = \"boss\"\ntoken_hashes = [\"{token}\"]\nroles = [\"boss\"]\n\
             [[roles]]\nname = \"shop\"\npublish = [{publish}]\nconsume = [{consume}]\n\
             [[roles]]\nname = \"boss\"\npublish = [\"#\"]\nconsume = [\"#\"]\n\
             configure = [\"#\"]\ninspect = [\"#\"]\n"
        )
    }

    fn write(&self, people: &str) {
        let folder = self.folder.path().display();
        let text = format!(
            "[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n{people}"
        );
        std::fs::write(self.path("courant.toml"), text).unwrap();
    }

    fn launch(&self) -> Launch {
        let file = self.path("courant.toml");
        let launch = Launch::new(&self.path("data")).unwrap();
        launch.arguments(&["--config", file.to_str().unwrap()])
    }

    fn start(&self) -> Server {
        self.launch().start().expect("the broker starts")
    }

    /// The same, for clients with TLS only.
    fn start_sealed(&self) -> Server {
        let launch = self.launch().with("COURANT_NATIVE_TLS_REQUIRED", &true);
        launch.start().expect("the broker starts")
    }

    fn shop(&self, address: SocketAddr, arguments: &[&str], input: &[u8]) -> Ended {
        let ca = self.path("cert.pem");
        let variables = [
            ("COURANT_ADDR", address.to_string()),
            ("COURANT_USER", "shop".to_owned()),
            ("COURANT_PASSWORD", "correct horse".to_owned()),
            ("COURANT_CA", ca.to_str().unwrap().to_owned()),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, of)| (*name, of.as_str())).collect();
        courant(arguments, &variables, input)
    }

    fn boss(&self, address: SocketAddr, arguments: &[&str]) -> Ended {
        let address = address.to_string();
        let variables = [("COURANT_ADDR", address.as_str()), ("COURANT_TOKEN", &self.token)];
        courant(arguments, &variables, b"")
    }

    /// A client of somebody, who spoke CONNECT.
    fn client(address: SocketAddr, login: &str) -> Client {
        let mut client = Client::raw(address).unwrap();
        client.send(format!("CONNECT {login}\n").as_bytes()).unwrap();
        assert_eq!(line(&mut client), "OK");
        client
    }
}

fn courant(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Ended {
    let mut command = Command::new(binary::path().expect("the binary"));
    command.args(arguments).envs(variables.iter().copied());
    let mut running = cli::start_command(command).unwrap();
    running.feed(input).unwrap();
    running.end().unwrap()
}

fn line(client: &mut Client) -> String {
    String::from_utf8(client.raw_line().unwrap()).unwrap().trim_end().to_owned()
}

fn ask(client: &mut Client, command: &str) -> String {
    client.send(command.as_bytes()).unwrap();
    line(client)
}

fn reload(server: &Server) {
    let times = server.stderr().matches("read again").count();
    server.signal(Signal::HUP).unwrap();
    let deadline = Instant::now() + RELOADED_WITHIN;
    while server.stderr().matches("read again").count() <= times {
        assert!(Instant::now() < deadline, "no reload:\n{}", server.stderr());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_command_line_logs_in_over_tls() {
    let ground = Ground::new();
    let server = ground.start();
    let address = server.address().unwrap();
    let declared = ground.boss(address, &["pub", "queue:orders.eu", "one", "--declare"]);
    declared.success().unwrap();
    ground.shop(address, &["pub", "queue:orders.eu", "two"], b"").success().unwrap();
    let body = "x".repeat(1_000_000);
    let big = format!("{body}\n{body}\n");
    let sent = ground.shop(address, &["pub", "queue:orders.eu", "--lines"], big.as_bytes());
    sent.success().unwrap();
    server.kill().unwrap();
    let server = ground.start_sealed();
    let address = server.address().unwrap();
    let got = ground.shop(address, &["sub", "queue:orders.eu", "--count", "4"], b"");
    let got = got.success().unwrap();
    let lengths: Vec<_> = got.lines().map(str::len).collect();
    assert!(lengths.iter().filter(|length| **length >= 1_000_000).count() == 2, "{lengths:?}");
    let denied = ground.shop(address, &["pub", "queue:stock", "no"], b"");
    assert_eq!(denied.code(), Some(1));
    assert!(denied.stderr.contains("refused: 300 not-allowed"), "{}", denied.stderr);
    let clear = ground.boss(address, &["pub", "queue:orders.eu", "no"]);
    assert!(clear.stderr.contains("refused: 305 tls-required"), "{}", clear.stderr);
}

#[test]
fn whoever_is_not_known_is_told_and_slowed_down() {
    let ground = Ground::new();
    let server = ground.start();
    let address = server.address().unwrap();
    let told = |login: &str| {
        let mut client = Client::raw(address).unwrap();
        ask(&mut client, &format!("CONNECT {login}\n"))
    };
    assert!(told("").starts_with("ERR 303 credentials-required "));
    let wrong = "{\"user\":\"shop\",\"password\":\"guess\"}";
    for _ in 0..5 {
        assert!(told(wrong).starts_with("ERR 301 bad-credentials "));
    }
    let right = "{\"user\":\"shop\",\"password\":\"correct horse\"}";
    assert!(told(right).starts_with("ERR 302 locked-out "));
    let deadline = Instant::now() + RELOADED_WITHIN;
    while told(right) != "OK" {
        assert!(Instant::now() < deadline, "locked out for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn other_machines_are_let_in_once_there_are_users() {
    let ground = Ground::new();
    let server = ground.launch().native("0.0.0.0:0").start().expect("the broker starts");
    let port = server.address().unwrap().port();
    // The address by which others would come, if this machine has one.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_ok()
        && let Ok(own) = socket.local_addr()
        && own.ip() != IpAddr::from([0, 0, 0, 0])
    {
        let login = format!("{{\"token\":\"{}\"}}", ground.token);
        Ground::client(SocketAddr::new(own.ip(), port), &login);
        // Without users again, nobody comes in from there.
        ground.write("");
        reload(&server);
        let mut client = Client::raw(SocketAddr::new(own.ip(), port)).unwrap();
        let told = ask(&mut client, "CONNECT\n");
        assert!(told.starts_with("ERR 303 credentials-required "), "{told}");
    }
    drop(server);
    ground.write("");
    assert!(ground.launch().native("0.0.0.0:0").start().is_err(), "everybody everywhere");
}

#[test]
fn access_is_taken_back_while_it_is_used() {
    let ground = Ground::new();
    let server = ground.start();
    let address = server.address().unwrap();
    let mut boss = Ground::client(address, &format!("{{\"token\":\"{}\"}}", ground.token));
    for queue in ["orders.eu", "orders.us"] {
        assert_eq!(ask(&mut boss, &format!("DECLARE queue:{queue}\n")), "OK");
    }
    let mut shop = Ground::client(address, "{\"user\":\"shop\",\"password\":\"correct horse\"}");
    assert_eq!(ask(&mut shop, "SUB queue:orders.eu sub_id:s\n"), "OK");
    assert!(ask(&mut boss, "PUB queue:orders.eu 3\none\n").starts_with("OK "));
    let message = line(&mut shop);
    let handle = message.split(' ').find_map(|word| word.strip_prefix("msg_id:"));
    let handle = handle.unwrap().to_owned();
    assert_eq!(line(&mut shop), "one");
    assert!(ask(&mut shop, "PUB queue:orders.us 3\ntwo\n").starts_with("OK "));
    let denied = ask(&mut shop, "SUB queue:orders.us\n");
    assert!(denied.starts_with("ERR 300 not-allowed ") && denied.contains("orders.us"), "{denied}");
    // The certificate changes with it; nobody is thrown out by that.
    ground.certify();
    ground.write(&ground.people("", "\"orders.us\""));
    reload(&server);
    assert_eq!(line(&mut shop), "CANCEL sub_id:s reason:not_allowed");
    assert!(ask(&mut shop, &format!("ACK msg_id:{handle}\n")).starts_with("ERR 502 not-open "));
    let denied = ask(&mut shop, "PUB queue:orders.us 3\ntwo\n");
    assert!(denied.starts_with("ERR 300 not-allowed "), "{denied}");
    assert_eq!(ask(&mut shop, "SUB queue:orders.us sub_id:t\n"), "OK");
    assert!(line(&mut shop).starts_with("MSG queue:orders.us sub_id:t "));
    assert_eq!(line(&mut shop), "two");
    assert_eq!(ask(&mut boss, "PING\n"), "PONG");
    ground.shop(address, &["pub", "queue:orders.us", "new certificate"], b"");
    let people = ground.people("", "");
    ground.write(&people.replace("\"shop\"", "\"other\""));
    reload(&server);
    assert_eq!(line(&mut shop), "CANCEL sub_id:t reason:not_allowed");
    let told = line(&mut shop);
    assert!(told.starts_with("ERR 304 access-revoked "), "{told}");
    let count = ask(&mut boss, "GET queue:orders.us req:1\n");
    assert!(
        count.starts_with("MSG queue:orders.us req:1 ") && count.contains("attempt:2"),
        "{count}"
    );
}

/// Another implementation of TLS, of another language.
#[test]
fn a_client_in_python_talks_tls() {
    let ground = Ground::new();
    let server = ground.start_sealed();
    let address = server.address().unwrap();
    let script = "\
import json, socket, ssl, sys
host, port, ca, token = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    plain = socket.create_connection((host, port), 20)
    with context.wrap_socket(plain, server_hostname='localhost') as s:
        f = s.makefile('rwb')
        def say(data):
            f.write(data); f.flush()
            return f.readline().decode().rstrip()
        assert say(b'CONNECT ' + json.dumps({'token': token}).encode() + b'\\n') == 'OK'
        assert say(b'DECLARE queue:orders.py durable:no\\n') == 'OK'
        body = bytes(range(256)) * 8192
        for i in range(3):
            assert say(b'PUB queue:orders.py %d\\n%s\\n' % (len(body), body)).startswith('OK ')
        assert say(b'SUB queue:orders.py sub_id:s ack:auto\\n') == 'OK'
        for i in range(3):
            head = f.readline().decode().split()
            assert head[0] == 'MSG' and int(head[-1]) == len(body), head
            assert f.read(len(body) + 1) == body + b'\\n'
        assert say(b'QUIT\\n') == 'OK'
        assert f.readline() == b''
    print(s.version() or version.name)
";
    let ended = python(script, &ground.path("cert.pem"), address, &ground.token);
    let said = ended.success().unwrap();
    assert_eq!(said.lines().count(), 2, "{said}");
}

fn python(script: &str, ca: &Path, address: SocketAddr, token: &str) -> Ended {
    let mut command = Command::new("python3");
    command.args(["-c", script, &address.ip().to_string(), &address.port().to_string()]);
    command.arg(ca).arg(token);
    cli::start_command(command).and_then(Running::end).expect("python3")
}
