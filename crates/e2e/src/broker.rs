//! One broker of a test: a folder of its own, the real binary on it, and what a test does to both.
//! It can be ended and started again on the same folder, by `kill -9` or in order.
//!
//! Only tests use it: what does not work as it should panics, and says what was asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cli::{self, Ended, Running};
use crate::client::{Client, Message};
use crate::server::{Exit, Launch, Server};
use crate::watch::wait_until;

/// How long anything may take that has to come true, on a loaded machine.
const UNTIL: Duration = Duration::from_secs(30);

/// A folder and the broker on it; both go when it is dropped.
#[derive(Debug)]
pub struct Broker {
    server: Option<Server>,
    launch: Launch,
    folder: tempfile::TempDir,
}

impl Broker {
    /// Starts one in a folder of its own.
    pub fn start() -> Self {
        Self::launched(|launch| launch)
    }

    /// As [`Broker::start`], launched in another way: with arguments, variables, ….
    pub fn launched(change: impl FnOnce(Launch) -> Launch) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let launch = change(Launch::new(&folder.path().join("data")).expect("the binary"));
        let server = Some(launch.start().expect("the broker starts"));
        Self { server, launch, folder }
    }

    /// The process; a broker that was ended and not started again has none.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the broker runs")
    }

    /// The address of its native door.
    pub fn address(&self) -> SocketAddr {
        self.server().address().expect("ready")
    }

    /// A folder for whatever a test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with the broker's data.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// `kill -9`, and a start on the same folder.
    pub fn kill(&mut self) {
        self.server.take().expect("the broker runs").kill().expect("a kill");
        self.start_again();
    }

    /// As [`Broker::kill`], and away for so long.
    pub fn kill_for(&mut self, pause: Duration) {
        self.server.take().expect("the broker runs").kill().expect("a kill");
        std::thread::sleep(pause);
        self.start_again();
    }

    /// An orderly stop, and a start on the same folder.
    pub fn restart(&mut self) {
        self.server.take().expect("the broker runs").stop().expect("an orderly stop");
        self.start_again();
    }

    /// An orderly stop within this time, without a start.
    pub fn terminate(&mut self, within: Duration) -> Exit {
        self.server.take().expect("the broker runs").terminate(within).expect("it ends")
    }

    /// Starts it after [`Broker::terminate`].
    pub fn start_again(&mut self) {
        self.server = Some(self.launch.start().expect("the broker starts again"));
    }

    /// A connection that is logged in.
    pub fn client(&self) -> Client {
        Client::connect(self.address()).expect("a connection")
    }

    /// Runs `courant` with these arguments against it, to the end.
    pub fn run(&self, arguments: &(impl Arguments + ?Sized)) -> Ended {
        cli::run(self.address(), &arguments.words()).expect("it ends")
    }

    /// As [`Broker::run`], with something on stdin.
    pub fn run_with(&self, arguments: &(impl Arguments + ?Sized), input: &str) -> Ended {
        cli::run_with(self.address(), &arguments.words(), input.as_bytes()).expect("it ends")
    }

    /// Starts `courant` with these arguments.
    pub fn begin(&self, arguments: &(impl Arguments + ?Sized)) -> Running {
        cli::start(self.address(), &arguments.words()).expect("it starts")
    }

    /// Runs a line of a shell in which `courant` is the binary under test, to the end.
    pub fn shell(&self, line: &str) -> Ended {
        cli::shell(self.address(), line, self.folder()).and_then(Running::end).expect("it ends")
    }

    /// Runs `courant`; it has to end with 0. What it printed.
    pub fn done(&self, arguments: &(impl Arguments + ?Sized)) -> String {
        let ended = self.run(arguments).success();
        ended.unwrap_or_else(|error| panic!("{:?}: {error:#}", arguments.words()))
    }

    /// As [`Broker::done`]: the lines of JSON that it printed.
    pub fn json(&self, arguments: &(impl Arguments + ?Sized)) -> Vec<Value> {
        let out = self.done(arguments);
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Runs `courant`; it has to be refused with this number and name, and to print nothing. What
    /// it said on stderr.
    pub fn refused(&self, arguments: &(impl Arguments + ?Sized), refusal: &str) -> String {
        let ended = self.run(arguments);
        let line = arguments.words();
        assert_eq!(ended.code(), Some(1), "{line:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{line:?}");
        assert!(ended.stderr.contains(refusal), "{line:?}: {}", ended.stderr);
        ended.stderr
    }
}

/// Arguments of a command line.
pub trait Arguments {
    /// One by one.
    fn words(&self) -> Vec<&str>;
}

/// Split at spaces; there is no quoting.
impl Arguments for str {
    fn words(&self) -> Vec<&str> {
        self.split(' ').collect()
    }
}

impl Arguments for String {
    fn words(&self) -> Vec<&str> {
        self.as_str().words()
    }
}

impl Arguments for [&str] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl<const N: usize> Arguments for [&str; N] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

/// Asks again and again until the answer is yes. That it never is fails the test.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    assert!(wait_until(UNTIL, &mut is_so).is_some(), "not within {UNTIL:?}: {what}");
}

/// The bodies of messages, as text.
pub fn bodies(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}
