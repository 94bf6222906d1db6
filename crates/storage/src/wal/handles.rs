//! The files of full segments that were read a short while ago: a bounded number is held open.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::File;
use crate::wal::segment::Segment;

const HELD_MAX: usize = 64;

/// Segments whose files are held, the one that was read last at the end.
#[derive(Default)]
pub(crate) struct Handles {
    held: Mutex<VecDeque<Arc<Segment>>>,
}

impl Handles {
    /// The file of a segment. The one that was not read for the longest time may be let go: whoever
    /// has it still can go on to read it.
    pub(crate) fn file(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn File>> {
        if segment.sealed_at().is_none() {
            return segment.file();
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let file = segment.file()?;
        if let Some(at) = held.iter().rposition(|other| Arc::ptr_eq(other, segment)) {
            held.remove(at);
        }
        // Also one that was let go meanwhile, by the log when it had done with it.
        segment.hold(Arc::clone(&file));
        held.push_back(Arc::clone(segment));
        if held.len() > HELD_MAX
            && let Some(oldest) = held.pop_front()
        {
            oldest.release();
        }
        Ok(file)
    }

    /// Lets the file of a segment go that was removed, so that its space is free.
    pub(crate) fn forget(&self, segment: &Arc<Segment>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|other| !Arc::ptr_eq(other, segment));
        segment.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;
    use crate::wal::segment::SegmentHeader;

    #[test]
    fn a_file_that_the_log_let_go_is_opened_once_and_held_again() {
        let disk = SimDisk::new().mount();
        disk.create_log("a").unwrap();
        let header = SegmentHeader { id: 1, generation: 1, salt: 1 };
        let segment = Arc::new(Segment::new(&disk, &header, "a".into()));
        segment.seal(1_024);
        let handles = Handles::default();
        handles.file(&segment).unwrap();
        segment.release();
        let again = handles.file(&segment).unwrap();
        assert!(Arc::ptr_eq(&again, &handles.file(&segment).unwrap()));
    }
}
