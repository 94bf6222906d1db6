//! `courant user`: makes what goes into the configuration for a user. Nothing is stored here.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use courant::access::{hash_password, new_token};

const HELP: &str = "\
Examples:
  courant user hash
  printf '%s' \"$PASSWORD\" | courant user hash
  courant user token

Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  wrong usage";

/// A longer line is no password.
const LINE_BYTES_MAX: u64 = 4096;

/// Make the hash of a password, or a token, for the configuration
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct User {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read a password from stdin (its first line) and print its hash
    #[command(after_help = HELP)]
    Hash,
    /// Print a new token, for the client, and its hash, for the configuration
    #[command(after_help = HELP)]
    Token,
}

impl User {
    /// Prints it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let text = match self.what {
            What::Hash => format!("{}\n", hash_password(&read_password()?)?),
            What::Token => {
                let made = new_token()?;
                format!("token: {}\nhash:  {}\n", made.token, made.hash)
            }
        };
        io::stdout().lock().write_all(text.as_bytes()).context("cannot write to stdout")
    }
}

/// The first line of stdin, without its end.
fn read_password() -> anyhow::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        let _ = write!(io::stderr(), "password (it is shown as you type): ");
    }
    let mut first = io::Read::take(stdin.lock(), LINE_BYTES_MAX);
    first.read_line(&mut line).context("cannot read the password")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("no password on stdin");
    }
    Ok(password.to_owned())
}
