//! What is said in the words of the text protocol, whatever door it comes through: DECLARE, DELETE,
//! BIND, UNBIND, PURGE, LIST and STATS. The text door takes them from its lines, the binary door
//! from its frames of one line.

use crate::item;
use crate::refusal::Refused;
use courant::{Refusal, Session};
use courant_wire::text::{Command, Destination, DestinationKind, Line, reply};

/// A session, and what it is answered in lines.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) session: Session,
    /// Replies that are not on their way yet.
    pub(crate) replies: Vec<u8>,
    /// Whether a command without a token gets an OK.
    pub(crate) is_verbose: bool,
}

impl Words {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, replies: Vec::new(), is_verbose: true }
    }

    /// Does one of those commands, waiting where it has to; any other is passed over. What there is
    /// to say is in the replies, unless it is refused.
    pub(crate) async fn carry_out(&mut self, command: &Command<'_>) -> Result<(), Refused> {
        let req = command.req();
        match command {
            Command::Declare { destination, options } => self.declare(destination, options).await,
            Command::Delete { destination, options } => self.delete(destination, options).await,
            Command::Bind { source, target, options } => {
                self.bind((source, target), options, true).await
            }
            Command::Unbind { source, target, options } => {
                self.bind((source, target), options, false).await
            }
            Command::Purge { destination, .. } => self.purge(destination, req).await,
            Command::List { what, of, options } => self.list(*what, of.as_ref(), options),
            Command::Stats { destination, .. } => self.stats(destination.as_ref(), req),
            _ => Ok(()),
        }
    }

    pub(crate) fn write_ok(&mut self, req: Option<&[u8]>) {
        match req {
            Some(req) => reply::ok_req(&mut self.replies, req),
            None if self.is_verbose => reply::ok(&mut self.replies),
            None => {}
        }
    }

    /// A command that asks for more than a quota allows is told which.
    pub(crate) fn naming_quota(&self, refused: Refused) -> Refused {
        if refused.refusal != Refusal::NamespaceQuota {
            return refused;
        }
        let used_up = self.session.used_up();
        Refused::about(refused.refusal, used_up.as_deref().unwrap_or("names"))
    }

    fn stats(
        &mut self,
        destination: Option<&Destination<'_>>,
        req: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let Some(destination) = destination else {
            let stats = self.session.stats().map_err(|refusal| Refused::about(refusal, "STATS"))?;
            let mut line = Line::ok(&mut self.replies, req);
            for (name, value) in stats.iter() {
                line = line.number(name, value);
            }
            line.end();
            return Ok(());
        };
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        let refused = |refusal| Refused::at(destination.kind, refusal, name);
        if destination.kind == DestinationKind::Queue {
            let queue = self.session.queue(name).map_err(refused)?;
            item::queue(Line::ok(&mut self.replies, req), &queue).end();
        } else {
            let exchange = self.session.exchange(name).map_err(refused)?;
            item::exchange(Line::ok(&mut self.replies, req), &exchange).end();
        }
        Ok(())
    }
}

/// Refuses a command with an option that the broker does not have.
pub(crate) fn check_options(command: &Command<'_>) -> Result<(), Refused> {
    match command.options().first_unsupported() {
        Some(key) => Err(Refused::about(Refusal::NotSupported, &format!("{}:", key.name()))),
        None => Ok(()),
    }
}
