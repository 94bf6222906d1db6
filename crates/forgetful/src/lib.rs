//! A folder that forgets what was not synced, for tests of power cuts: never shipped.
//!
//! A process works in it as in any other folder; on command ([`Mount::cut`]) it is as it may be
//! after the power failed. What a sync has answered is there for ever; of everything else a legal
//! part is kept, chosen by the caller's numbers: of a write any of its blocks, of a change of
//! length or of a name the change or not. It can also hold syncs back, to be a slow disk, and
//! have a capacity, to be a full one.
//!
//! Reading order: [`contents`] is one file, [`volume`] the folder, both without any I/O; [`mount`]
//! shows it to the operating system through FUSE.

pub mod contents;
pub mod mount;
pub mod volume;

pub use mount::Mount;
pub use volume::{Forgotten, Keep, Volume};
