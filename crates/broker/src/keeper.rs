//! What ends a broker when nobody uses it any more.

use crate::reader::Reader;
use crate::upkeep::Bell;
use std::sync::Arc;

/// Held by whoever uses a broker. When the last one goes, its threads end and the log is closed.
pub(crate) struct Keeper {
    reader: Arc<Reader>,
    bell: Arc<Bell>,
}

impl Keeper {
    pub(crate) fn new(reader: Arc<Reader>, bell: Arc<Bell>) -> Self {
        Self { reader, bell }
    }

    /// Ends the threads.
    pub(crate) fn close(&self) {
        self.bell.close();
        self.reader.close();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}
