//! `courant config`: what is in force and why, and whether a file is right, without a broker.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use courant::AccessOptions;
use serde_json::json;

use crate::config::{self, Change, Config, Environment, Flags, OPTIONS, Sources};
use crate::folder_report::{plural, print, size};
use crate::table::{Align, Table};

const HELP: &str = "\
docs/config.md says what the options are and how a file is written.

Exit codes:
  0  done; what was looked at is right
  1  something is wrong with it; every fault is on stderr
  2  wrong usage";

/// Look at the configuration of a broker
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Configuration {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the values that `courant serve` with the same flags would have, and where each is from
    #[command(after_help = HELP)]
    Show(Show),
    /// Say whether a file is right, with the certificate and key that it names
    #[command(after_help = HELP)]
    Check(Check),
    /// Write another broker's configuration as a file of ours, to stdout
    #[command(subcommand, after_help = HELP)]
    Import(Import),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// A JSON file of a Polestar hub, publisher or consumer; keys that are not taken are named
    #[command(after_help = HELP)]
    Polestar(Check),
}

#[derive(Debug, Args)]
struct Show {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
struct Check {
    /// A file that ends in .toml, .json, .yaml or .yml
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Configuration {
    /// Looks, and prints.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let environment = Environment::read();
        match self.command {
            Command::Show(show) => {
                let sources = Sources { flags: show.flags, environment };
                let config = sources.load().context("the configuration is wrong")?;
                print(&if show.json { lines(&config) } else { table(&config) })
            }
            Command::Check(check) => {
                let wrong = "the configuration is wrong";
                let config = config::check(&check.file, &environment).context(wrong)?;
                config.settings.certificate().context(wrong)?;
                print(&format!("{} is right\n", check.file.display()))
            }
            Command::Import(Import::Polestar(Check { file })) => {
                let text = config::polestar::import(&file)
                    .with_context(|| format!("cannot import {}", file.display()))?;
                print(&text)
            }
        }
    }
}

/// (key, value, origin) of every option.
fn rows(config: &Config) -> impl Iterator<Item = (&'static config::Row, String, String)> {
    let mut settings = config.settings.clone();
    let rows = OPTIONS.iter().zip(&config.origins);
    rows.map(move |(option, origin)| (option, option.field.text(&mut settings), origin.to_string()))
}

fn lines(config: &Config) -> String {
    let mut settings = config.settings.clone();
    let lines = rows(config).map(|(option, value, origin)| {
        let reload = option.change == Change::Reload;
        let mut row = json!({"key": option.key, "value": value, "from": origin, "reload": reload});
        if let Some(bytes) = option.field.part_bytes(&mut settings) {
            row["bytes"] = json!(bytes);
        }
        row.to_string()
    });
    let AccessOptions { users, roles } = &config.settings.access;
    let users = users.iter().map(|user| {
        let (has_password, tokens) = (user.password_hash.is_some(), user.token_hashes.len());
        json!({"user": user.name, "roles": user.roles, "has_password": has_password,
            "tokens": tokens})
        .to_string()
    });
    let roles = roles.iter().map(|role| {
        json!({"role": role.name, "namespace": role.namespace, "publish": role.publish,
            "consume": role.consume, "configure": role.configure, "inspect": role.inspect})
        .to_string()
    });
    lines.chain(users).chain(roles).map(|line| line + "\n").collect()
}

fn list(name: &str, items: &[String]) -> String {
    if items.is_empty() { format!("{name} none") } else { format!("{name} {}", items.join(", ")) }
}

fn table(config: &Config) -> String {
    let mut settings = config.settings.clone();
    let rows = rows(config).map(|(option, mut value, origin)| {
        if let Some(bytes) = option.field.part_bytes(&mut settings) {
            let _ = write!(value, " ({} here)", size(bytes));
        }
        [option.key.to_owned(), value, origin]
    });
    let mut text = String::new();
    Table::plain(&[Align::Left; 3]).write(&mut text, &rows.collect::<Vec<_>>());
    let AccessOptions { users, roles } = &config.settings.access;
    for user in users {
        let password = if user.password_hash.is_some() { "a password" } else { "no password" };
        let (name, tokens) =
            (&user.name, plural(user.token_hashes.len() as u64, "token", "tokens"));
        let _ = writeln!(text, "user {name}: {}; {password}, {tokens}", list("roles", &user.roles));
    }
    for role in roles {
        let namespace = role.namespace.as_deref().unwrap_or("all");
        let lists = [
            list("publish", &role.publish),
            list("consume", &role.consume),
            list("configure", &role.configure),
            list("inspect", &role.inspect),
        ];
        let _ = writeln!(text, "role {}: namespace {namespace}; {}", role.name, lists.join("; "));
    }
    text
}
