//! What SIGHUP does: the same places are read again, and what can be changed is changed.
//!
//! 1. Everything is read and looked at. One fault, and nothing is changed.
//! 2. What can be changed while the broker runs is changed; nothing of that can fail any more.
//! 3. What was changed is logged, and what needs a restart is named, now and at every later SIGHUP.

use courant::access::Revoked;
use courant::{Access, AccessOptions};
use courant_doors::Certificate;

use crate::assemble::Assembly;
use crate::config::{Change, Config, Fault, Faults, OPTIONS, Row, Sources};
use crate::log::Log;

/// A configuration in force, and where it is read again.
#[derive(Debug)]
pub(crate) struct Reload {
    sources: Sources,
    in_force: Config,
    log: Log,
}

/// What a new configuration differs in: rows, with the old and the new text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    changed: Vec<String>,
    waiting: Vec<String>,
}

impl Reload {
    /// With the configuration that the broker was started with.
    pub(crate) fn new(sources: Sources, in_force: Config, log: Log) -> Self {
        Self { sources, in_force, log }
    }

    /// Everything that can fail.
    fn read(&self) -> Result<(Config, Access, Option<Certificate>), Faults> {
        let new = self.sources.load()?;
        let access = Access::new(new.settings.access.clone());
        let path = self.sources.file().unwrap_or_default();
        let access = access.map_err(|reason| Faults(vec![Fault::Access { path, reason }]))?;
        let certificate = new.settings.certificate();
        let certificate = certificate.map_err(|error| Faults(vec![error.into()]))?;
        Ok((new, access, certificate))
    }

    /// Reads again. Says in the log what became of it.
    pub(crate) fn run(&mut self, assembly: &Assembly) {
        let (new, access, certificate) = match self.read() {
            Ok(read) => read,
            Err(faults) => {
                for fault in &faults.0 {
                    tracing::error!("configuration: {fault}");
                }
                tracing::error!("configuration: nothing was changed");
                return;
            }
        };
        let level = self.in_force.settings.log_level;
        let differences = take(&mut self.in_force, &new);
        // A log that becomes quieter still says that it does.
        self.log.set_level(level.max(self.in_force.settings.log_level));
        if self.in_force.settings.access != new.settings.access {
            self.in_force.settings.access = new.settings.access;
            let Revoked { changed, closed } = assembly.broker().set_access(access);
            let AccessOptions { users, roles } = &self.in_force.settings.access;
            let (users, roles) = (users.len(), roles.len());
            tracing::info!(users, roles, changed, closed, "configuration: users and roles");
            if users == 0 {
                tracing::warn!("configuration: without users everybody on this machine may do all");
            }
        }
        let has_certificate = certificate.is_some();
        match assembly.native().set_tls(certificate, self.in_force.settings.native_tls_required) {
            Ok(()) if has_certificate => tracing::info!("configuration: read the certificate"),
            Ok(()) => {}
            // Reading made sure of a certificate where TLS is required.
            Err(error) => tracing::error!(%error, "configuration: TLS was not changed"),
        }
        assembly.broker().set_limits(self.in_force.settings.limits());
        assembly.native().set_source_caps(self.in_force.settings.native_per_source());
        for line in &differences.changed {
            tracing::info!("configuration: {line}");
        }
        for line in &differences.waiting {
            tracing::warn!("configuration: {line} needs a restart");
        }
        let (changed, waiting) = (differences.changed.len(), differences.waiting.len());
        tracing::info!(changed, waiting, "configuration: read again");
        self.log.set_level(self.in_force.settings.log_level);
    }
}

/// Takes into `in_force` what may be changed while the broker runs.
fn take(in_force: &mut Config, new: &Config) -> Differences {
    let mut differences = Differences::default();
    let mut wanted = new.settings.clone();
    for (index, option) in OPTIONS.iter().enumerate() {
        let Row { key, field, change, .. } = option;
        let (old, new_text) = (field.text(&mut in_force.settings), field.text(&mut wanted));
        if old == new_text {
            continue;
        }
        let line = format!("{key}: {old} -> {new_text}");
        match change {
            Change::Reload if field.set(&mut in_force.settings, &new_text).is_ok() => {
                in_force.origins[index] = new.origins[index].clone();
                differences.changed.push(line);
            }
            Change::Reload | Change::Restart => differences.waiting.push(line),
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn config(variables: &[(&str, &str)]) -> Config {
        let environment = Environment::of(variables);
        Sources { flags: Flags::default(), environment }.load().unwrap()
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named_again() {
        let mut in_force = config(&[]);
        let new = config(&[("COURANT_LOG_LEVEL", "debug"), ("COURANT_DATA", "/elsewhere")]);
        let first = take(&mut in_force, &new);
        assert_eq!(first.changed, ["log.level: info -> debug"]);
        assert_eq!(first.waiting, ["data: ./courant-data -> /elsewhere"]);
        assert_eq!(in_force.settings.log_level, new.settings.log_level);
        let second = take(&mut in_force, &new);
        assert_eq!((second.changed, second.waiting), (vec![], first.waiting));
        assert_eq!(take(&mut in_force, &config(&[])).waiting, [""; 0]);
    }
}
