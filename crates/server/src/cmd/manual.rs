//! `courant completions` and `courant man`: what a packager installs beside the binary, made from
//! the same table of commands that the parser reads.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::{COMMON_EXIT_CODES, Cli};
use crate::folder_report::unless_left;

const NAME: &str = "courant";

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(courant completions bash)
  courant completions zsh > ~/.zfunc/_courant
";

const MAN_HELP: &str = "\
Examples:
  courant man | man -l -
  courant man declare queue | man -l -
  courant man --dir /usr/local/share/man/man1
";

/// Print what completes the commands in a shell
#[derive(Debug, Args)]
#[command(after_help = format!("{COMPLETIONS_HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of courant or of one of its commands
#[derive(Debug, Args)]
#[command(after_help = format!("{MAN_HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Man {
    /// The command, with its parts as words
    command: Vec<String>,

    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Completions {
    /// Prints them.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut text);
        put(&text)
    }
}

impl Man {
    /// What can only be wrong together: there is no such command.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.page().is_some() {
            return Ok(());
        }
        let words = self.command.join(" ");
        Err(super::usage("man", &format!("there is no command \"courant {words}\"")))
    }

    /// Prints it, or writes them all.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if let Some(folder) = &self.dir {
            return clap_mangen::generate_to(built(), folder)
                .with_context(|| format!("cannot write into {}", folder.display()));
        }
        let mut text = Vec::new();
        let page = self.page().context("there is no such command")?;
        Page::new(page).render(&mut text).context("cannot make the page")?;
        put(&text)
    }

    fn page(&self) -> Option<clap::Command> {
        let mut command = built();
        let mut name = NAME.to_owned();
        for word in &self.command {
            command = command.find_subcommand(word)?.clone();
            name = format!("{name}-{}", command.get_name());
        }
        Some(command.display_name(name))
    }
}

fn built() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn put(text: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    unless_left(out.write_all(text).and_then(|()| out.flush()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        for words in [&[][..], &["pub"], &["declare", "queue"], &["ls"]] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let man = Man { command: words.clone(), dir: None };
            let page = man.page().unwrap();
            let mut text = Vec::new();
            Page::new(page).render(&mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let title = [NAME.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join("\\-");
            assert!(text.contains(&title), "{title}: {text}");
            assert!(text.contains("Exit codes"), "{text}");
        }
        assert!(Man { command: vec!["nothing".to_owned()], dir: None }.check().is_err());
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("purge") && text.contains("max-length"), "{shell}");
        }
    }
}
