//! `courant serve`: the broker, until a signal ends it.
//!
//! Stdout gets one line for each door once it is ready, and one that shows what to type next; all
//! else is log, on stderr.

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use courant::{Opened, Options};
use tracing_subscriber::filter::LevelFilter;

use crate::assemble::Assembly;
use crate::signals::Signals;

const HELP: &str = "\
SIGTERM and SIGINT let sessions finish what they have begun, seal the log and
end within 10 seconds.

Exit codes:
  0  ended by a signal, everything in order
  1  could not start, or could not close the data folder cleanly; the reason
     is on stderr
  2  wrong usage";

/// Run a broker
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Serve {
    /// The data folder; it is made if it is not there
    #[arg(long, value_name = "DIR", env = "COURANT_DATA", default_value = "./courant-data")]
    data: PathBuf,

    /// Where the native door listens; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR", value_parser = resolve)]
    #[arg(default_value = super::ADDRESS_DEFAULT)]
    native: SocketAddr,

    /// What is logged to stderr: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "COURANT_LOG", default_value = "info")]
    log: LevelFilter,

    /// Size of the log's segments, which tests want small
    #[arg(long, value_name = "BYTES", env = "COURANT_SEGMENT_BYTES", hide = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX))]
    segment_bytes: Option<u64>,
}

const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

fn resolve(typed: &str) -> Result<SocketAddr, String> {
    let mut found = typed.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

impl Serve {
    fn options(&self) -> Options {
        let usual = Options::default();
        Options { segment_bytes: self.segment_bytes.unwrap_or(usual.segment_bytes), ..usual }
    }

    /// Serves until a signal comes.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        tracing_subscriber::fmt()
            .with_max_level(self.log)
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .try_init()
            .map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))?;
        let mut signals = Signals::listen()?;
        let assembly = tokio::select! {
            started = Assembly::start(&self.data, self.options(), self.native) => started?,
            () = signals.wait() => return Ok(()),
        };
        report(&self.data, assembly.broker().opened());
        announce(assembly.native_address());
        signals.wait().await;
        tracing::info!("closing");
        assembly.stop().await.context("could not end cleanly")?;
        tracing::info!("closed");
        Ok(())
    }
}

/// Logs what the folder held, and what it did not hold any more.
fn report(data: &Path, opened: &Opened) {
    let Opened { records, messages, ready, has_snapshot, ms, term, log } = opened;
    let data = data.display();
    tracing::info!(%data, has_snapshot, records, messages, ready, term, ms, "opened");
    let Some(log) = log else {
        return;
    };
    if !log.clean {
        tracing::warn!("the last run was cut short; all that it confirmed is here");
    }
    if let Some(torn) = &log.torn {
        let (file, offset, bytes) = (&torn.file, torn.offset, torn.bytes);
        tracing::warn!(file, offset, bytes, "dropped an unfinished, unconfirmed end of the log");
    }
    for body in &log.rotten_bodies {
        tracing::error!(?body, "a message is damaged");
    }
    if log.rotten_bodies_count > 0 {
        tracing::error!(count = log.rotten_bodies_count, "damaged messages in the log");
    }
}

/// Nobody reading stdout is no reason not to serve.
fn announce(native: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(announcement(native).as_bytes()).and_then(|()| stdout.flush());
}

fn announcement(native: SocketAddr) -> String {
    let address = native.to_string();
    let option = if address == super::ADDRESS_DEFAULT {
        String::new()
    } else {
        format!(" --addr {address}")
    };
    format!(
        "native door ready on {native} (text)\n\
         try: courant pub queue:hello \"first message\" --declare{option}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_next_reaches_the_door() {
        for (native, typed) in [
            ("127.0.0.1:7530", "--declare\n"),
            ("127.0.0.1:4000", "--declare --addr 127.0.0.1:4000\n"),
            ("[::1]:7530", "--declare --addr [::1]:7530\n"),
        ] {
            let text = announcement(native.parse().unwrap());
            assert!(text.starts_with(&format!("native door ready on {native} (text)\n")), "{text}");
            assert!(text.ends_with(typed), "{text}");
        }
    }

    #[test]
    fn addresses_may_be_names() {
        assert_eq!(resolve("127.0.0.1:0").unwrap().port(), 0);
        assert_eq!(resolve("localhost:7530").unwrap().port(), 7530);
        assert!(resolve("127.0.0.1").is_err());
    }
}
