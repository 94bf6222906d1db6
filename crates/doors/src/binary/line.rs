//! LINE: a command of the text protocol, carried out as there; its lines come back as frames.

use super::talk::Talk;
use crate::refusal::Refused;
use crate::words::check_options;
use courant_wire::binary::reply;
use courant_wire::text::Command;

impl Talk {
    /// Carries out a line and adds its replies.
    pub(super) async fn line(&mut self, req: u32, command: &Command<'_>) -> Result<(), Refused> {
        self.words.replies.clear();
        check_options(command)?;
        let done = self.words.carry_out(command).await;
        let done = done.map_err(|refused| self.words.naming_quota(refused));
        let mut lines = std::mem::take(&mut self.words.replies);
        if done.is_ok() && req != 0 {
            for line in lines.split(|byte| *byte == b'\n') {
                if let Some(fields) = line.strip_prefix(b"ITEM ") {
                    reply::item(&mut self.replies, req, fields);
                } else if let Some(fields) = line.strip_prefix(b"OK") {
                    reply::ok(&mut self.replies, req, 0, fields.trim_ascii_start());
                }
            }
        }
        lines.clear();
        self.words.replies = lines;
        done
    }
}
