//! `courant user`: makes what goes into the configuration for a user. Nothing is stored here.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use courant::access::{hash_password, new_token};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

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
const LINE_BYTES_MAX: usize = 4096;

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

/// The first line of stdin, without its end. A terminal does not show what is typed.
fn read_password() -> anyhow::Result<String> {
    let stdin = io::stdin();
    let silence = if stdin.is_terminal() { Some(Silence::begin()?) } else { None };
    let interrupt = silence.as_ref().map(Silence::interrupt);
    if silence.is_some() {
        let _ = write!(io::stderr(), "password: ");
    }
    let line = read_line(&mut stdin.lock(), interrupt);
    if silence.is_some() {
        // The line end that was typed was not shown either.
        let _ = writeln!(io::stderr());
    }
    drop(silence);
    let line = line.context("cannot read the password")?;
    if line.last().is_some_and(|last| Some(*last) == interrupt) {
        bail!("interrupted");
    }
    let line = String::from_utf8(line).context("the password is not UTF-8")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("no password on stdin");
    }
    Ok(password.to_owned())
}

/// What comes up to the end of a line, or up to `end`.
fn read_line(input: &mut impl BufRead, end: Option<u8>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.len() < LINE_BYTES_MAX {
        let come = input.fill_buf()?;
        let is_end = |byte: &u8| *byte == b'\n' || Some(*byte) == end;
        let found = come.iter().position(is_end);
        let count = found.map_or(come.len(), |at| at + 1);
        line.extend_from_slice(&come[..count]);
        let is_over = found.is_some() || count == 0;
        input.consume(count);
        if is_over {
            break;
        }
    }
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped. No key sends a signal
/// meanwhile, which would end the process and leave the terminal so: the one that interrupts
/// (Ctrl-C) ends the line instead, and is its last byte.
struct Silence(Termios);

impl Silence {
    fn begin() -> anyhow::Result<Self> {
        let cannot = "cannot keep the terminal from showing the password";
        let before = tcgetattr(io::stdin()).context(cannot)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] =
            before.special_codes[SpecialCodeIndex::VINTR];
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).context(cannot)?;
        Ok(Self(before))
    }

    /// What the key that interrupts types.
    fn interrupt(&self) -> u8 {
        self.0.special_codes[SpecialCodeIndex::VINTR]
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing else can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
