//! Other brokers under the same load in the same run, where they are installed: each started on
//! loopback, on a port that is free, with its data in a folder of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::amqp::{RABBITMQ, RABBITMQ_DURABLE};
use crate::dialect::{Dialect, MOSQUITTO, NATS, REDIS};
use crate::durable::Durable;
use crate::jetstream::JETSTREAM;
use crate::redis_stream::REDIS_STREAM;
use crate::server::{Server, free_port};

/// What one is started for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Where it is to listen.
    pub port: u16,
    /// Its own, and empty.
    pub folder: &'a Path,
    /// Whether messages are to be kept.
    pub is_durable: bool,
}

/// A broker that may be installed.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// What it speaks.
    pub dialect: Dialect,
    /// How it keeps messages, if it does.
    pub durable: Option<Durable>,
    /// Its program: on the PATH if it is only a name.
    program: &'static str,
    /// What makes it tell its version, in its first line.
    version: &'static [&'static str],
    /// The programs to start, the broker last.
    commands: fn(&Place<'_>) -> Result<Vec<Command>>,
}

/// All that are known.
pub const PEERS: &[Peer] = &[
    Peer {
        dialect: NATS,
        durable: Some(JETSTREAM),
        program: "nats-server",
        version: &["nats-server", "--version"],
        commands: |place| Ok(vec![nats(place)]),
    },
    Peer {
        dialect: REDIS,
        durable: Some(REDIS_STREAM),
        program: "redis-server",
        version: &["redis-server", "--version"],
        commands: |place| Ok(vec![redis(place)]),
    },
    Peer {
        dialect: RABBITMQ,
        durable: Some(RABBITMQ_DURABLE),
        program: RABBITMQ_PROGRAM,
        version: &["dpkg-query", "-W", "rabbitmq-server"],
        commands: rabbitmq,
    },
    Peer {
        dialect: MOSQUITTO,
        durable: None,
        program: "mosquitto",
        version: &["mosquitto", "-h"],
        commands: mosquitto,
    },
];

/// Debian's; the one on the PATH changes to another user first.
const RABBITMQ_PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

fn nats(place: &Place<'_>) -> Command {
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", &place.port.to_string()]);
    if place.is_durable {
        command.arg("--jetstream").arg("--store_dir").arg(place.folder);
    }
    command
}

fn redis(place: &Place<'_>) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &place.port.to_string(), "--save", ""]);
    command.arg("--dir").arg(place.folder);
    let kept = ["--appendonly", "yes", "--appendfsync", "always"];
    command.args(if place.is_durable { &kept[..] } else { &["--appendonly", "no"] });
    command
}

/// With a port mapper of its own: it would start one that outlives it.
fn rabbitmq(place: &Place<'_>) -> Result<Vec<Command>> {
    let folder = place.folder;
    let mapper_port = free_port()?.to_string();
    let mut mapper = Command::new("epmd");
    mapper.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", &mapper_port);
    let settings = format!("listeners.tcp.1 = 127.0.0.1:{}\n", place.port);
    std::fs::write(folder.join("rabbitmq.conf"), settings)?;
    std::fs::write(folder.join("plugins"), "")?;
    let mut broker = Command::new(RABBITMQ_PROGRAM);
    broker
        // Else a shell stays between the broker and us.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("ERL_EPMD_PORT", &mapper_port)
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", "peer@localhost")
        .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
    Ok(vec![mapper, broker])
}

fn mosquitto(place: &Place<'_>) -> Result<Vec<Command>> {
    let settings = place.folder.join("mosquitto.conf");
    // Without a limit of its own it drops what a fast publisher sends.
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n\
         set_tcp_nodelay true\nmax_queued_messages 0\n",
        place.port
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(settings);
    Ok(vec![command])
}

impl Peer {
    /// Whether it is installed.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An absolute path replaces the folder.
        std::env::split_paths(&path).any(|folder| folder.join(self.program).is_file())
    }

    /// What it calls its version.
    pub fn version(&self) -> Result<String> {
        let (program, arguments) = self.version.split_first().context("no program")?;
        let output = Command::new(program).args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" "))
    }

    /// Starts it with its data inside `folder`.
    pub fn start(&self, folder: &Path, is_durable: bool) -> Result<Server> {
        Server::peer(folder, |port, folder| (self.commands)(&Place { port, folder, is_durable }))
            .with_context(|| format!("starting {}", self.dialect.name))
    }
}
