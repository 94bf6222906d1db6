//! `courant serve`: the broker, until a signal ends it.
//!
//! Stdout gets one line for each door once it is ready, and one that shows what to type next; all
//! else is log, on stderr.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use courant::Opened;

use crate::assemble::Assembly;
use crate::config::{Environment, Flags, Sources};
use crate::log::Log;
use crate::reload::Reload;
use crate::signals::{Hangups, Signals};

const HELP: &str = "\
Options are taken from their defaults, then the file, then the environment, then
flags; the later wins (docs/config.md). SIGHUP reads them again.

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
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    /// Serves until a signal comes.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let sources = Sources { flags: self.flags, environment: Environment::read() };
        let config = sources.load().context("the configuration is wrong")?;
        let settings = config.settings.clone();
        let log = Log::start(settings.log_level, settings.log_format)?;
        let (mut signals, mut hangups) = (Signals::listen()?, Hangups::listen()?);
        for (slip, meant) in sources.environment.slips() {
            tracing::warn!("the variable {slip} means nothing here; did you mean {meant}?");
        }
        let assembly = tokio::select! {
            started = Assembly::start(&settings) => started?,
            () = signals.wait() => return Ok(()),
        };
        report(&settings.data, assembly.broker().opened());
        announce(assembly.native_address());
        let mut reload = Reload::new(sources, config, log);
        loop {
            tokio::select! {
                () = signals.wait() => break,
                () = hangups.wait() => reload.run(&assembly),
            }
        }
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
}
