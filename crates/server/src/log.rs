//! Lines of the log, on stderr. How much is written can be changed while the broker runs.

use std::io::{self, IsTerminal};

use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// The log of this process.
#[derive(Debug)]
pub(crate) struct Log {
    level: Handle<LevelFilter, Registry>,
}

impl Log {
    /// Begins to write.
    pub(crate) fn start(level: LevelFilter, format: LogFormat) -> anyhow::Result<Self> {
        let (filter, level) = reload::Layer::new(level);
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))?;
        Ok(Self { level })
    }

    /// Writes so much from now on.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        // It fails only after the log itself is gone, when there is nobody to tell.
        let _ = self.level.modify(|filter| *filter = level);
    }
}
