//! The commands: what may be typed, and which file carries it out. This is the only list of them.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

mod check;
mod config;
mod inspect;
mod publish;
mod serve;
mod subscribe;
mod user;

/// Where the native door listens unless told otherwise.
pub(crate) const ADDRESS_DEFAULT: &str = "127.0.0.1:7530";

/// How long tasks that outlive their broker may take to notice.
const STRAGGLERS_TIME_MAX: Duration = Duration::from_millis(500);

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the broker, or failed; the reason is on stderr
  2  wrong usage";

/// A message broker in one small binary: durable queues and topics.
#[derive(Debug, Parser)]
#[command(name = "courant", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Pub(publish::Publish),
    Sub(subscribe::Subscribe),
    Check(check::Check),
    Inspect(inspect::Inspect),
    Config(config::Configuration),
    User(user::User),
}

/// Carries out one command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(serve) => run_broker(serve.run()),
        Command::Pub(publish) => {
            publish.check().unwrap_or_else(|error| error.exit());
            run_client(publish.run())
        }
        Command::Sub(subscribe) => {
            subscribe.check().unwrap_or_else(|error| error.exit());
            run_client(subscribe.run())
        }
        Command::Check(check) => check.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Config(config) => config.run(),
        Command::User(user) => user.run(),
    }
}

/// Wrong usage of a command that the parser alone can't see.
fn usage(command: &str, sentence: &str) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    let kind = ErrorKind::ArgumentConflict;
    match cli.find_subcommand_mut(command) {
        Some(command) => command.error(kind, sentence),
        None => cli.error(kind, sentence),
    }
}

/// Runs a broker on a thread for each core.
fn run_broker(broker: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(broker);
    runtime.shutdown_timeout(STRAGGLERS_TIME_MAX);
    outcome
}

/// Runs a client on this thread alone.
fn run_client(client: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(client);
    // A read of stdin, or a write into a pipe that nobody empties, may never return: it is left
    // behind instead of waited for.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_names_the_exit_codes() {
        let mut command = Cli::command();
        command.build();
        for name in ["serve", "pub", "sub", "check", "inspect", "config", "user"] {
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains("Exit codes"), "{name}: {help}");
        }
    }

    #[test]
    fn wrong_usage_exits_with_two() {
        for line in [
            "courant pub",
            "courant pub orders body",
            "courant pub queue:",
            "courant pub exchange:x body",
            "courant pub queue:a%2 body",
            "courant pub queue:a body --lines",
            "courant pub queue:a body --header novalue",
            "courant pub queue:a body --header =v",
            "courant sub queue:a --count 0",
            "courant sub queue:a --live",
            "courant sub queue:a --name n",
            "courant sub topic:a --live --name n",
            "courant sub topic:a --live --manual-ack",
            "courant serve --native nowhere",
            "courant serve --log loud",
            "courant check",
            "courant inspect --records",
            "courant config",
            "courant config check",
            "courant config show --log loud",
            "courant user",
            "courant user rename",
            "courant frobnicate",
        ] {
            let outcome = Cli::try_parse_from(line.split(' ')).map(|cli| match cli.command {
                Command::Serve(_)
                | Command::Check(_)
                | Command::Inspect(_)
                | Command::Config(_)
                | Command::User(_) => Ok(()),
                Command::Sub(subscribe) => subscribe.check().map_err(|error| error.exit_code()),
                Command::Pub(publish) => publish.check().map_err(|error| error.exit_code()),
            });
            let code = match outcome {
                Ok(Err(code)) => code,
                Ok(Ok(())) => 0,
                Err(error) => error.exit_code(),
            };
            assert_eq!(code, 2, "{line}");
        }
    }
}
