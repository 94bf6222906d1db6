//! The binary door from outside: a client in another language, written from the specification, and
//! the real binary, killed in between.

use std::process::Command;

use courant_e2e::broker::Broker;
use courant_e2e::cli::{self, Running};

const CLIENT: &str = include_str!("binary_client.py");

/// Runs the client to its end.
fn python(broker: &Broker, arguments: &[&str]) -> String {
    let address = broker.address();
    let mut command = Command::new("python3");
    command.args(["-c", CLIENT, &address.ip().to_string(), &address.port().to_string()]);
    command.args(arguments);
    let ended = cli::start_command(command).and_then(Running::end).expect("python3");
    assert_eq!(ended.code(), Some(0), "{arguments:?}: {ended:?}");
    ended.stdout
}

#[test]
fn a_client_in_python_gets_back_what_was_confirmed_to_it_over_kills() {
    let mut broker = Broker::start();
    assert_eq!(python(&broker, &["publish", "10000"]), "10000 done\n");
    broker.kill();
    assert_eq!(python(&broker, &["take", "4000", "0"]), "4000 done\n");
    broker.kill();
    assert_eq!(python(&broker, &["take", "6000", "4000"]), "6000 done\n");
    broker.refused("get queue:orders", "402 ");
}
