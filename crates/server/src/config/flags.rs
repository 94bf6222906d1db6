//! The flags of `courant serve`, made from the table of options.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::OPTIONS;
use super::field::Field;
use super::options::{FILE_VARIABLE, Row};
use super::settings::Settings;

/// What was typed, as it was typed: values by row of [`OPTIONS`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// The file that was named.
    pub(super) file: Option<PathBuf>,
    /// (row, value)
    pub(super) values: Vec<(usize, String)>,
}

const FILE: &str = "config";

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!(
                "A file with options: .toml, .json or .yaml; none is read unless it is named \
                 [env: {FILE_VARIABLE}]"
            ));
        OPTIONS.iter().fold(command.arg(file), |command, option| command.arg(flag(option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(option: &'static Row) -> Arg {
    let about = option.about;
    let (default, variable) = (option.default_shown(), option.variable());
    let allowed = option.field.allowed();
    let check = move |typed: String| match option.field.set(&mut Settings::default(), &typed) {
        Ok(()) => Ok(typed),
        Err(_) => Err(format!("allowed is {}", option.field.allowed())),
    };
    let arg = Arg::new(option.key)
        .long(option.flag())
        .value_name(option.field.value_name())
        .value_parser(clap::builder::StringValueParser::new().try_map(check))
        .help(format!("{about}: {allowed} [default: {default}] [env: {variable}]"));
    let arg = match option.field {
        Field::Switch(_) => arg.num_args(0..=1).require_equals(true).default_missing_value("yes"),
        _ => arg,
    };
    let arg = match option.section() {
        "" => arg,
        section => arg.help_heading(format!("Options of [{section}]")),
    };
    match option.alias {
        Some(alias) => arg.visible_alias(alias),
        None => arg,
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(FILE).cloned();
        let typed = OPTIONS.iter().enumerate().filter_map(|(index, option)| {
            matches.get_one::<String>(option.key).map(|text| (index, text.clone()))
        });
        self.values = typed.collect();
        Ok(())
    }
}
