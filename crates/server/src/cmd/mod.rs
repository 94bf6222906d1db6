//! The commands: what may be typed, and which file carries it out. This is the only list of them.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::folder_report::print;
use crate::item;

mod bind;
mod check;
mod config;
mod declare;
mod delete;
mod get;
mod inspect;
mod list;
mod manual;
mod publish;
mod purge;
mod serve;
mod show;
mod stats;
mod subscribe;
mod user;

/// Where the native door listens unless told otherwise.
pub(crate) const ADDRESS_DEFAULT: &str = "127.0.0.1:7530";

/// How long tasks that outlive their broker may take to notice.
const STRAGGLERS_TIME_MAX: Duration = Duration::from_millis(500);

const COMMON_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the broker, or failed; the reason is on stderr
  2  wrong usage";

/// A message broker in one small binary: durable queues and topics.
#[derive(Debug, Parser)]
#[command(name = "courant", version, after_help = COMMON_EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Pub(publish::Publish),
    Sub(subscribe::Subscribe),
    Get(get::Get),
    Declare(declare::Declare),
    Delete(delete::Delete),
    Bind(bind::Bind),
    /// Take a binding back; it names what bind named
    Unbind(bind::Bind),
    Purge(purge::Purge),
    #[command(name = "ls", visible_alias = "list")]
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
    Check(check::Check),
    Inspect(inspect::Inspect),
    Config(config::Configuration),
    User(user::User),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Carries out one command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    cli.command.check().unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Serve(serve) => run_broker(serve.run()),
        Command::Pub(publish) => run_client(publish.run()),
        Command::Sub(subscribe) => run_client(subscribe.run()),
        Command::Get(get) => run_client(get.run()),
        Command::Declare(declare) => run_client(declare.run()),
        Command::Delete(delete) => run_client(delete.run()),
        Command::Bind(bind) => run_client(bind.bind()),
        Command::Unbind(bind) => run_client(bind.unbind()),
        Command::Purge(purge) => run_client(purge.run()),
        Command::List(list) => run_client(list.run()),
        Command::Show(show) => run_client(show.run()),
        Command::Stats(stats) => run_client(stats.run()),
        Command::Check(check) => check.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Config(config) => config.run(),
        Command::User(user) => user.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}

impl Command {
    /// What can only be wrong together, where the parser alone does not see it.
    fn check(&self) -> Result<(), clap::Error> {
        match self {
            Self::Pub(publish) => publish.check(),
            Self::Sub(subscribe) => subscribe.check(),
            Self::Delete(delete) => delete.check(),
            Self::List(list) => list.check(),
            Self::Man(man) => man.check(),
            _ => Ok(()),
        }
    }
}

/// Says on stdout what was done: `declared queue:orders`, or the same as a JSON object.
fn told(json: bool, words: &[(&str, &str)]) -> anyhow::Result<()> {
    if json {
        let members = words.iter().map(|(key, value)| (*key, item::json(key, value)));
        return print(&format!("{}\n", item::object(members)));
    }
    let words: Vec<String> = words.iter().map(|(key, value)| format!("{key} {value}")).collect();
    print(&format!("{}\n", words.join(" ")))
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
        assert_exit_codes(&mut command);
    }

    fn assert_exit_codes(command: &mut clap::Command) {
        for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help")
        {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Exit codes"), "{}: {help}", command.get_name());
            assert_exit_codes(command);
        }
    }

    #[test]
    fn wrong_usage_exits_with_two() {
        for line in [
            "courant pub",
            "courant pub orders body",
            "courant pub queue:",
            "courant pub namespace:x body",
            "courant pub queue:q body --key k",
            "courant pub exchange:x body --declare",
            "courant show q",
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
            "courant declare",
            "courant declare orders",
            "courant declare queue queue:orders",
            "courant declare queue orders --expires 10",
            "courant declare queue orders --max-length 0",
            "courant declare queue orders --overflow drop",
            "courant declare exchange x --kind tree",
            "courant declare subscriber events",
            "courant delete orders",
            "courant delete topic:t --if-empty",
            "courant delete queue:q --subscriber s",
            "courant bind exchange:x",
            "courant unbind queue:q exchange:x",
            "courant purge topic:t",
            "courant get topic:t",
            "courant get queue:q --count 0",
            "courant ls",
            "courant ls messages",
            "courant ls queues queue:q",
            "courant ls bindings orders",
            "courant pub queue:q body --ttl 10",
            "courant ls queues --namespace ",
            "courant stats --watch 0",
            "courant completions tcsh",
            "courant man frobnicate",
            "courant frobnicate",
        ] {
            let outcome = Cli::try_parse_from(line.split(' '))
                .map(|cli| cli.command.check().map_err(|error| error.exit_code()));
            let code = match outcome {
                Ok(Err(code)) => code,
                Ok(Ok(())) => 0,
                Err(error) => error.exit_code(),
            };
            assert_eq!(code, 2, "{line}");
        }
    }
}
