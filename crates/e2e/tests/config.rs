//! The configuration of the real binary: each source, which wins, what stops the start, and SIGHUP
//! while traffic runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use courant_e2e::binary;
use courant_e2e::cli::{self, Ended, Running};
use courant_e2e::client::{Client, ClientError};
use courant_e2e::server::{Launch, Server};
use rustix::process::Signal;

/// How long a reload may take, on a loaded machine.
const RELOADED_WITHIN: Duration = Duration::from_secs(30);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path as text").to_owned()
    }

    /// Starts a broker with more arguments.
    fn start(&self, arguments: &[&str]) -> Server {
        let launch = Launch::new(&self.data()).expect("the binary");
        launch.arguments(arguments).start().expect("the broker starts")
    }
}

/// Runs `courant` with variables.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(binary::path().expect("the binary"));
    command.args(arguments).envs(variables.iter().copied());
    cli::start_command(command).and_then(Running::end).expect("it ends")
}

/// (value, origin) of a key, as `config show --json` says.
fn shown(lines: &str, key: &str) -> (String, String) {
    let mut objects = lines.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line).expect("one JSON object a line")
    });
    let object = objects.find(|object| object["key"] == key).expect("the key is shown");
    let text = |name: &str| object[name].as_str().expect("text").to_owned();
    (text("value"), text("from"))
}

/// Waits until the broker has logged `part` so many times.
fn wait_logged(server: &Server, part: &str, times: usize) -> String {
    let deadline = Instant::now() + RELOADED_WITHIN;
    loop {
        let log = server.stderr();
        if log.matches(part).count() >= times {
            return log;
        }
        assert!(Instant::now() < deadline, "{part:?} is not in the log {times} times:\n{log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_later_source_wins() {
    let folder = Folder::new();
    let file = folder.file(
        "courant.toml",
        "data = \"of-the-file\"\n[native]\nping_every = \"1s\"\nhandshake_within = \"2s\"\n",
    );
    let arguments = ["config", "show", "--json", "--data", "of-the-flag"];
    let variables = [
        ("COURANT_CONFIG", file.as_str()),
        ("COURANT_DATA", "of-the-environment"),
        ("COURANT_NATIVE_PING_EVERY", "3s"),
    ];
    let lines = run(&arguments, &variables).success().unwrap();
    for (key, value, origin) in [
        ("data", "of-the-flag", "flag --data"),
        ("native.ping_every", "3s", "environment COURANT_NATIVE_PING_EVERY"),
        ("native.handshake_within", "2s", file.as_str()),
        ("log.level", "info", "default"),
    ] {
        assert_eq!(shown(&lines, key), (value.to_owned(), origin.to_owned()));
    }
    let table = run(&["config", "show", "--config", &file], &[]).success().unwrap();
    assert!(table.contains("of-the-file"), "{table}");
}

/// One connection at a time, by each source and in each format: the broker does it, not only says.
#[test]
fn every_source_reaches_the_broker() {
    let folder = Folder::new();
    let toml = folder.file("a.toml", "native = { connections_max = \"${MOST:-1}\" }");
    let json = folder.file("a.json", "{\"native\": {\"connections_max\": 1}}");
    let yaml = folder.file("a.yaml", "native:\n  connections_max: 1\n");
    for arguments in [
        &["--config", &toml][..],
        &["--config", &json],
        &["--config", &yaml],
        &["--native-connections-max", "1"],
    ] {
        refuses_a_second(&folder.start(arguments));
    }
    let launch = Launch::new(&folder.data()).unwrap();
    refuses_a_second(&launch.with("COURANT_NATIVE_CONNECTIONS_MAX", &1).start().unwrap());
}

fn refuses_a_second(server: &Server) {
    let address = server.address().expect("ready");
    let first = Client::connect(address).expect("the only connection");
    let second = Client::connect(address);
    assert!(matches!(second, Err(ClientError::Refused(_))), "{second:?}");
    drop(first);
}

#[test]
fn no_file_is_read_that_is_not_named() {
    let folder = Folder::new();
    folder.file("courant.toml", "data = \"silently\"");
    let mut command = Command::new(binary::path().unwrap());
    command.args(["config", "show"]).current_dir(folder.0.path());
    let table = cli::start_command(command).and_then(Running::end).unwrap().success().unwrap();
    assert!(!table.contains("silently"), "{table}");
}

#[test]
fn faults_stop_the_start_and_are_all_named() {
    let folder = Folder::new();
    let file = folder.file(
        "courant.yaml",
        "nativ: {}\nnative: {adress: x, ping_every: 15}\ndata: ${NOBODY_HAS_SET_THIS}\n",
    );
    for command in
        [&["serve", "--config"][..], &["config", "check"], &["config", "show", "--config"]]
    {
        let arguments = [command, &[file.as_str()]].concat();
        let ended = run(&arguments, &[("COURANT_DATA", folder.data().to_str().unwrap())]);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        for part in [
            "courant.yaml: native.adress is no known key; did you mean native.address?",
            "nativ is no known key",
            "native.ping_every = 15: allowed is a time from 10ms to 1h",
            "data: the variable NOBODY_HAS_SET_THIS is not set",
        ] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
        assert_eq!(ended.stdout, "", "{ended:?}");
    }
    assert!(!folder.data().exists(), "nothing was begun");
}

#[test]
fn wrong_flags_are_wrong_usage_and_wrong_variables_are_not() {
    for arguments in [["serve", "--log", "loud"], ["serve", "--native-ping-every", "15"]] {
        let ended = run(&arguments, &[]);
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains("allowed is"), "{ended:?}");
    }
    let ended = run(&["serve"], &[("COURANT_LOG_LEVEL", "loud")]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("environment COURANT_LOG_LEVEL: log.level = loud"), "{ended:?}");
}

#[test]
fn a_right_file_is_said_to_be_right() {
    let folder = Folder::new();
    let file = folder.file("a.json", "{\"log\": {\"level\": \"warn\"}}");
    let said = run(&["config", "check", &file], &[]).success().unwrap();
    assert!(said.contains("a.json is right"), "{said}");
}

#[test]
fn a_certificate_that_is_named_is_opened() {
    let folder = Folder::new();
    let (certificate, key) = certify(&folder);
    let tls = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    let file = folder.file("courant.toml", &tls);
    run(&["config", "check", &file], &[]).success().unwrap();
    std::fs::write(&key, "no key").unwrap();
    let ended = run(&["config", "check", &file], &[]);
    assert_eq!((ended.code(), &ended.stdout[..]), (Some(1), ""), "{ended:?}");
    assert!(ended.stderr.contains("key.pem"), "{}", ended.stderr);
}

/// What was imported is a file that a broker starts with.
#[test]
fn a_polestar_hub_becomes_a_broker() {
    let folder = Folder::new();
    let hub = folder.file(
        "config.json",
        r#"{"ip": "${HUB:-127.0.0.1}", "port": 24353, "QueueSize": 10, "readTimeout": 30000}"#,
    );
    let toml = run(&["config", "import", "polestar", &hub], &[]).success().unwrap();
    assert!(toml.contains("QueueSize = 10: "), "{toml}");
    let file = folder.file("courant.toml", &toml);
    let lines = run(&["config", "show", "--json", "--config", &file], &[]).success().unwrap();
    assert_eq!(shown(&lines, "native.address"), ("127.0.0.1:24353".to_owned(), file.clone()));
    folder.start(&["--config", &file]).stop().unwrap();
    let ended = run(&["config", "import", "polestar", &folder.file("c.json", "{\"ip\": 1}")], &[]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the required key port is missing"), "{ended:?}");
}

#[test]
fn logs_in_json_have_an_object_a_line() {
    let folder = Folder::new();
    let server = folder.start(&["--log-format", "json"]);
    let log = server.stop().unwrap().stderr;
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let opened = lines.iter().find(|line| line["message"] == "opened").expect("a line");
    assert_eq!(opened["level"], "INFO", "{opened}");
    assert!(opened["timestamp"].is_string() && opened["ms"].is_number(), "{opened}");
}

/// A publisher works all the time: it keeps its connection and every confirm.
#[test]
fn a_reload_changes_what_it_can_while_traffic_runs() {
    let folder = Folder::new();
    let file = folder.file("courant.toml", "[log]\nlevel = \"error\"\n");
    let server = folder.start(&["--config", &file]);
    let address = server.address().unwrap();
    Client::connect(address).unwrap().line("DECLARE queue:q").unwrap();
    let is_over = AtomicBool::new(false);
    let confirmed = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut client = Client::connect(address).unwrap();
            let mut confirmed = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.publish("queue:q", confirmed.to_string().as_bytes()).unwrap();
                confirmed += 1;
            }
            confirmed
        });
        reload_in_every_way(&server, Path::new(&file));
        is_over.store(true, Ordering::Relaxed);
        publisher.join().expect("the publisher was never disturbed")
    });
    let mut client = Client::connect(address).unwrap();
    client.line("SUB queue:q sub_id:s credit:1000").unwrap();
    for number in 0..confirmed.min(500) {
        assert_eq!(client.message().unwrap().body, number.to_string().as_bytes());
    }
    drop(client);
    server.stop().unwrap();
}

fn reload_in_every_way(server: &Server, file: &Path) {
    let reload = |text: &str| {
        std::fs::write(file, text).expect("the file");
        server.signal(Signal::HUP).expect("a signal");
    };
    reload("[log]\nlevel = \"info\"\n");
    let log = wait_logged(server, "configuration: read again", 1);
    assert!(log.contains("log.level: error -> info"), "{log}");
    // Half of it is right, and none of it is taken.
    reload("[log]\nlevel = \"trace\"\n[native]\nadress = \"x\"\n");
    let log = wait_logged(server, "configuration: nothing was changed", 1);
    assert!(log.contains("did you mean native.address?"), "{log}");
    assert!(!log.contains("trace"), "{log}");
    reload("data = \"/elsewhere\"\n[log]\nlevel = \"info\"\n");
    let log = wait_logged(server, "configuration: read again", 2);
    assert!(!log.contains("/elsewhere"), "a flag says where the data is: {log}");
    reload("[log]\nlevel = \"info\"\n[memory]\ncache_bytes = \"1 MiB\"\n");
    wait_logged(server, "memory.cache_bytes: 32 MiB -> 1 MiB needs a restart", 1);
    std::fs::remove_file(file).expect("the file");
    server.signal(Signal::HUP).expect("a signal");
    wait_logged(server, "configuration: nothing was changed", 2);
    // It becomes quieter, and says so.
    reload("[log]\nlevel = \"error\"\n");
    wait_logged(server, "log.level: info -> error", 1);
}

#[test]
fn a_hangup_without_a_file_ends_nothing() {
    let folder = Folder::new();
    let server = folder.start(&[]);
    server.signal(Signal::HUP).unwrap();
    wait_logged(&server, "configuration: read again", 1);
    Client::connect(server.address().unwrap()).expect("it serves");
    server.stop().unwrap();
}

/// Runs `courant` with something on stdin.
fn run_with(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(binary::path().expect("the binary"));
    command.args(arguments);
    let mut running = cli::start_command(command).expect("it starts");
    running.feed(input.as_bytes()).expect("it reads");
    running.end().and_then(Ended::success).expect("status 0")
}

fn log_in(address: SocketAddr, user: &str, password: &str) -> Result<Client, ClientError> {
    let mut client = Client::raw(address)?;
    let login =
        format!("CONNECT {{\"version\":\"1.0\",\"user\":\"{user}\",\"password\":\"{password}\"}}");
    client.line(&login)?;
    Ok(client)
}

fn number<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> u32 {
    match outcome {
        Err(ClientError::Refused(refused)) => refused.number,
        other => panic!("no refusal: {other:?}"),
    }
}

/// Users come from the file and secrets from beside it; a reload takes access at once, and others
/// notice nothing.
#[test]
fn users_and_roles_are_reloaded() {
    const ROLES: &str = "[[roles]]\nname = \"all\"\npublish = [\"#\"]\nconsume = [\"#\"]\n\
                         configure = [\"#\"]\n[[roles]]\nname = \"reads\"\nconsume = [\"#\"]\n";
    let folder = Folder::new();
    let hash = folder.file("hash", &run_with(&["user", "hash"], "geheim\n"));
    let user = |name: &str, role: &str| {
        format!(
            "[[users]]\nname = \"{name}\"\npassword_hash = \"${{file:{hash}}}\"\n\
             roles = [\"{role}\"]\n"
        )
    };
    let both = [user("stays", "all"), user("goes", "all"), ROLES.to_owned()].concat();
    let file = folder.file("courant.toml", &both);
    let table = run(&["config", "show", "--config", &file], &[]).success().unwrap();
    assert!(table.contains("user goes: roles all; a password, 0 tokens"), "{table}");
    assert!(!table.contains("argon2"), "{table}");
    let server = folder.start(&["--config", &file]);
    let address = server.address().unwrap();
    assert_eq!(number(Client::connect(address)), 303);
    assert_eq!(number(log_in(address, "goes", "falsch")), 301);
    let mut stays = log_in(address, "stays", "geheim").unwrap();
    let mut goes = log_in(address, "goes", "geheim").unwrap();
    stays.line("DECLARE queue:q").unwrap();
    goes.publish("queue:q", b"1").unwrap();
    let reload = |text: String, times: usize| {
        std::fs::write(&file, text).unwrap();
        server.signal(Signal::HUP).unwrap();
        wait_logged(&server, "configuration: read again", times)
    };
    reload([user("stays", "all"), user("goes", "reads"), ROLES.to_owned()].concat(), 1);
    assert_eq!(number(goes.publish("queue:q", b"2")), 300);
    reload([user("stays", "all"), ROLES.to_owned()].concat(), 2);
    assert_eq!(number(goes.line("PING")), 304);
    stays.publish("queue:q", b"3").unwrap();
    // A role that is not there: nothing changes.
    std::fs::write(&file, user("goes", "none")).unwrap();
    server.signal(Signal::HUP).unwrap();
    let log = wait_logged(&server, "nothing was changed", 1);
    assert!(log.contains("the role \"none\", which does not exist"), "{log}");
    stays.publish("queue:q", b"4").unwrap();
    assert!(!log.contains("argon2"), "{log}");
    server.stop().unwrap();
}

/// A new certificate for this machine in place of whatever the two files had.
fn certify(folder: &Folder) -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    (folder.file("cert.pem", &made.cert.pem()), folder.file("key.pem", &key))
}

/// The certificate is replaced while a client in the clear goes on; a broken one changes nothing.
#[test]
fn certificates_are_reloaded() {
    let folder = Folder::new();
    let (certificate, key) = certify(&folder);
    let first = folder.file("first.pem", &std::fs::read_to_string(&certificate).unwrap());
    let tls = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    let file = folder.file("courant.toml", &tls);
    let server = folder.start(&["--config", &file]);
    let address = server.address().unwrap().to_string();
    let publish = |trusted: &str| {
        let arguments = ["pub", "queue:q", "x", "--declare", "--addr", &address, "--ca", trusted];
        run(&arguments, &[]).code()
    };
    let reload = |text: &str, part: &str| {
        std::fs::write(&file, text).unwrap();
        let times = server.stderr().matches(part).count() + 1;
        server.signal(Signal::HUP).unwrap();
        wait_logged(&server, part, times)
    };
    let mut clear = Client::connect(server.address().unwrap()).unwrap();
    assert_eq!(publish(&first), Some(0));
    certify(&folder);
    reload(&tls, "read the certificate");
    assert_eq!((publish(&first), publish(&certificate)), (Some(1), Some(0)));
    let second = folder.file("second.pem", &std::fs::read_to_string(&certificate).unwrap());
    folder.file("key.pem", "no key");
    reload(&tls, "nothing was changed");
    assert_eq!(publish(&second), Some(0));
    certify(&folder);
    reload(&format!("native.tls_required = true\n{tls}"), "native.tls_required: no -> yes");
    assert_eq!(number(Client::connect(server.address().unwrap())), 305);
    assert_eq!((publish(&second), publish(&certificate)), (Some(1), Some(0)));
    clear.publish("queue:q", b"still here").unwrap();
    server.stop().unwrap();
}

#[test]
fn options_that_do_not_go_together_stop_the_start() {
    let folder = Folder::new();
    let data = folder.data();
    let data = data.to_str().unwrap();
    for (arguments, part) in [
        (&["--native-tls-required"][..], "native.tls_required: it needs tls.certificate"),
        (&["--tls-key", "k"], "tls.certificate: it is needed beside tls.key"),
        (&["--tls-key", "k", "--tls-certificate", "/nowhere"], "cannot read /nowhere"),
    ] {
        let ended = run(&[&["serve", "--data", data], arguments].concat(), &[]);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!folder.data().exists(), "nothing was begun");
}
