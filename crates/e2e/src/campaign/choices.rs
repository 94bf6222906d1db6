//! What a command line chooses of a plan, whatever ends the runs.

use super::Plan;

/// What all campaigns can be told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Choices {
    /// Repeats the plan of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Publishers at once, in each directory
    #[arg(long, default_value_t = Plan::default().publishers)]
    publishers: u32,
    /// Consumers that share one queue, in each directory
    #[arg(long, default_value_t = Plan::default().consumers)]
    consumers: u32,
    /// Data directories, and so brokers, at once
    #[arg(long, default_value_t = Plan::default().directories)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    directories: u32,
    /// One run in so many ends by SIGTERM
    #[arg(long, default_value_t = Plan::default().stops)]
    stops: u32,
    /// One run in so many ends at a named step on the way to the disk; 0: none
    #[arg(long, default_value_t = Plan::default().points)]
    points: u32,
    /// One line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

impl Choices {
    /// The plan: so many starts, without power cuts, nothing wrong on purpose.
    pub fn plan(&self, cycles: u32) -> Plan {
        Plan {
            cycles,
            seed: self.seed.unwrap_or_else(|| u64::from(std::process::id())),
            publishers: self.publishers,
            consumers: self.consumers,
            directories: self.directories,
            stops: self.stops,
            points: self.points,
            power: false,
            wrong: None,
        }
    }
}
