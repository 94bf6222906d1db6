//! Other brokers under the same load in the same run, where they are installed: started with no
//! persistence, which the live path does not have either.

use std::path::Path;

use anyhow::Result;

use crate::dialect::{Dialect, NATS, REDIS};
use crate::server::Server;

/// A broker that may be installed.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// What it speaks.
    pub dialect: Dialect,
    arguments: fn(u16, &Path) -> Vec<String>,
}

/// All that are known.
pub const PEERS: &[Peer] = &[
    Peer { dialect: NATS, arguments: |port, _| words(&format!("--addr 127.0.0.1 --port {port}")) },
    Peer {
        dialect: REDIS,
        arguments: |port, folder| {
            let folder = folder.display();
            let mut words = words(&format!("--port {port} --appendonly no --dir {folder} --save"));
            words.push(String::new());
            words
        },
    },
];

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

impl Peer {
    /// Starts it; `None` where it is not installed.
    pub fn start(&self) -> Result<Option<Server>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path);
        if !folders.any(|folder| folder.join(self.dialect.name).is_file()) {
            return Ok(None);
        }
        Server::peer(self.dialect.name, self.arguments).map(Some)
    }
}
