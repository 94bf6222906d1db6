//! Storms at the door of a broker with users and a certificate: wrong logins and half handshakes,
//! many at once. A user from elsewhere works on, and may come in, all the while.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use courant_e2e::binary;
use courant_e2e::broker::Broker;
use courant_e2e::cli::{self, Running};
use courant_e2e::client::Client;

use crate::{ANSWER_WITHIN, GROWTH_BYTES_MAX, raise_descriptors};

type Storm = fn(Ipv4Addr, SocketAddr) -> Result<()>;

/// Each has an address of its own.
const STORMS: &[(&str, Storm)] = &[
    ("wrong passwords for many users", many_users),
    ("wrong passwords, all at once", at_once),
    ("wrong tokens", tokens),
    ("a right password among wrong ones", right_among_wrong),
    ("half TLS hellos", half_hellos),
    ("TLS hellos with rubbish behind", rubbish),
    ("handshakes that end at once", ended),
    ("a user without a name and other odd logins", odd_logins),
];

const PASSWORD: &str = "correct horse";

/// Users, a certificate, little patience.
fn file(folder: &std::path::Path) -> Result<String> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    std::fs::write(folder.join("cert.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    let mut command = std::process::Command::new(binary::path()?);
    command.args(["user", "hash"]);
    let mut running = cli::start_command(command)?;
    running.feed(format!("{PASSWORD}\n").as_bytes())?;
    let hash = Running::end(running)?.success()?;
    let (hash, folder) = (hash.trim(), folder.display());
    Ok(format!(
        "[native]\nhandshake_within = \"8s\"\nunauthenticated_per_source_max = 300\n\
         [tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\
         [[users]]\nname = \"good\"\npassword_hash = '{hash}'\nroles = [\"all\"]\n\
         [[users]]\nname = \"late\"\npassword_hash = '{hash}'\nroles = [\"all\"]\n\
         [[roles]]\nname = \"all\"\npublish = [\"#\"]\nconsume = [\"#\"]\nconfigure = [\"#\"]\n\
         inspect = [\"#\"]\n"
    ))
}

fn login(user: &str, password: &str) -> String {
    format!("CONNECT {{\"user\":\"{user}\",\"password\":\"{password}\"}}\n")
}

/// What somebody from there is told to that; the connection is closed then.
fn told(from: Ipv4Addr, address: SocketAddr, what: &[u8]) -> Result<String> {
    let mut client = Client::raw_from(from, address)?;
    // The server may close while it is still being written to.
    let _ = client.send(what);
    let told = client.rest(ANSWER_WITHIN)?;
    Ok(String::from_utf8_lossy(&told).into_owned())
}

fn is_one_of(told: &str, numbers: &[&str]) -> Result<()> {
    let is_one = numbers.iter().any(|number| told.starts_with(&format!("ERR {number} ")));
    ensure!(is_one, "expected one of {numbers:?}, and {told:?} came");
    Ok(())
}

#[test]
fn storms_at_the_door_harm_nobody() {
    raise_descriptors().expect("room for connections");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("courant.toml");
    std::fs::write(&path, file(folder.path()).expect("a file")).expect("it is written");
    let path = path.to_str().expect("a path").to_owned();
    let broker = Broker::launched(|launch| launch.arguments(&["--config", &path]));
    let address = broker.address();
    let mut good = Client::raw(address).expect("a connection");
    good.call(login("good", PASSWORD).as_bytes()).expect("the right password");
    good.line("DECLARE queue:good").expect("a queue");
    let before = broker.server().resident_bytes().expect("VmRSS");
    let failures = std::thread::scope(|scope| {
        let running: Vec<_> = (10u8..)
            .zip(STORMS)
            .map(|(host, (name, storm))| {
                let from = Ipv4Addr::new(127, 0, 0, host);
                (*name, scope.spawn(move || storm(from, address)))
            })
            .collect();
        let mut exchanged = 0;
        while running.iter().any(|(_, storm)| !storm.is_finished()) {
            good.publish("queue:good", b"on").expect("a confirm");
            exchanged += good.drain("good").expect("it is there").len();
        }
        assert!(exchanged > 0, "the good user was served");
        let ended = running.into_iter().map(|(name, storm)| (name, storm.join()));
        let failed = ended.filter_map(|(name, ended)| match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{name}: {error:#}")),
            Err(_) => Some(format!("{name}: it panicked")),
        });
        failed.collect::<Vec<_>>()
    });
    assert!(failures.is_empty(), "{failures:#?}");
    let stderr = broker.server().stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    let after = broker.server().resident_bytes().expect("VmRSS");
    assert!(after < before + GROWTH_BYTES_MAX, "it grew from {before} to {after} bytes");
    let mut late = Client::raw(address).expect("a connection");
    late.call(login("late", PASSWORD).as_bytes()).expect("nobody else is locked out");
}

/// One source is locked out, whomever it guesses for; who was not there is told the same.
fn many_users(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    let mut locked = 0;
    for number in 0..100 {
        let told = told(from, address, login(&format!("user{number}"), "guess").as_bytes())?;
        is_one_of(&told, &["301", "302"])?;
        locked += usize::from(told.starts_with("ERR 302 "));
    }
    ensure!(locked >= 80, "only {locked} of 100 were not looked at");
    Ok(())
}

/// They are hashed few at a time; whoever waits too long is told that.
fn at_once(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..200 {
        let mut client = Client::raw_from(from, address)?;
        client.send(login(&format!("other{number}"), "guess").as_bytes())?;
        all.push(client);
    }
    for mut client in all {
        let told = client.rest(ANSWER_WITHIN)?;
        is_one_of(&String::from_utf8_lossy(&told), &["301", "302", "111"])?;
    }
    Ok(())
}

fn tokens(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    for number in 0..100 {
        let token = format!("CONNECT {{\"token\":\"guess-{number}\"}}\n");
        is_one_of(&told(from, address, token.as_bytes())?, &["301", "302"])?;
    }
    Ok(())
}

/// A source that is locked out is not looked at, even if it knows the password by now.
fn right_among_wrong(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    for _ in 0..6 {
        is_one_of(&told(from, address, login("good", "guess").as_bytes())?, &["301", "302"])?;
    }
    is_one_of(&told(from, address, login("good", PASSWORD).as_bytes())?, &["302"])
}

/// The beginning of a hello that announces 512 bytes.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// They count as strangers, and are closed when their time is up.
fn half_hellos(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..300 {
        let mut client = Client::raw_from(from, address)?;
        client.send(HELLO)?;
        all.push(client);
    }
    is_one_of(&told(from, address, b"")?, &["610"]).context("one more")?;
    for mut client in all {
        client.rest(ANSWER_WITHIN).context("a hello that goes nowhere")?;
    }
    is_one_of(&told(from, address, b"CONNECT\n")?, &["303"]).context("afterwards")
}

fn rubbish(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    let mut random = courant_e2e::random::Random::new(17);
    for _ in 0..100 {
        let mut bytes = HELLO.to_vec();
        random.bytes(600, &mut bytes);
        // An alert, or nothing, and the end.
        let mut client = Client::raw_from(from, address)?;
        let _ = client.send(&bytes);
        client.rest(Duration::from_secs(30))?;
    }
    Ok(())
}

fn ended(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    for length in (0..HELLO.len()).cycle().take(500) {
        let mut client = Client::raw_from(from, address)?;
        client.send(&HELLO[..length])?;
        client.end_output()?;
        client.rest(ANSWER_WITHIN)?;
    }
    Ok(())
}

fn odd_logins(from: Ipv4Addr, address: SocketAddr) -> Result<()> {
    let long = "x".repeat(3000);
    for user in ["", "\\u0000", "../good", "good\\u0000", &long] {
        is_one_of(&told(from, address, login(user, "guess").as_bytes())?, &["301", "302", "106"])?;
    }
    let no_password = b"CONNECT {\"user\":\"good\"}\n";
    is_one_of(&told(from, address, no_password)?, &["301", "302", "303", "106"])?;
    is_one_of(&told(from, address, b"CONNECT\n")?, &["303"])
}
