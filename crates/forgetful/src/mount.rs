//! The folder as the operating system sees it, through FUSE, without a page cache: what a process
//! wrote is in the [`Volume`], what it synced is certain there.
//!
//! Needs `/dev/fuse` and the right to mount; [`why_not`] says what is missing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use crate::volume::{Forgotten, Keep, Volume};

/// Nothing is remembered by the kernel: a cut changes everything behind its back.
const TTL: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;

/// Why folders can't be mounted here; `None` if they can.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount".to_owned());
    }
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    opened.err().map(|error| format!("/dev/fuse cannot be opened: {error}"))
}

/// What a sync does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syncs {
    /// Makes certain what it should, at once.
    #[default]
    Kept,
    /// Is answered only after [`Mount::release`].
    Held,
    /// Lies: is answered, and nothing is certain.
    Ignored,
    /// Lies about names only.
    NamesIgnored,
}

#[derive(Debug)]
struct Held {
    file: u64,
    mark: u64,
    reply: ReplyEmpty,
}

#[derive(Debug)]
struct Shared {
    volume: Volume,
    syncs: Syncs,
    held: Vec<Held>,
    /// Syncs asked for.
    asked: u64,
}

impl Shared {
    fn release(&mut self) {
        for Held { file, mark, reply } in std::mem::take(&mut self.held) {
            if file == Volume::ROOT {
                self.volume.sync_names();
            } else {
                self.volume.sync_to(file, mark);
            }
            reply.ok();
        }
    }
}

/// A mounted folder; unmounted when it is dropped.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    shared: Arc<Mutex<Shared>>,
    session: Option<BackgroundSession>,
}

impl Mount {
    /// Mounts an empty folder at `point`, which is made if it is not there.
    pub fn new(point: &Path, capacity: Option<u64>) -> io::Result<Self> {
        fs::create_dir_all(point)?;
        let volume = Volume::new(capacity);
        let shared = Shared { volume, syncs: Syncs::Kept, held: Vec::new(), asked: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let mut mount = Self { point: point.to_owned(), shared, session: None };
        mount.begin()?;
        Ok(mount)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// What syncs do from now on. To hold none any more lets go those that are held.
    pub fn set_syncs(&self, syncs: Syncs) {
        let mut shared = lock(&self.shared);
        shared.syncs = syncs;
        if syncs != Syncs::Held {
            shared.release();
        }
    }

    /// Lets go the syncs that are held; later ones are held again.
    pub fn release(&self) {
        lock(&self.shared).release();
    }

    /// Syncs that wait to be let go.
    pub fn held(&self) -> usize {
        lock(&self.shared).held.len()
    }

    /// Syncs asked for since the beginning.
    pub fn syncs_asked(&self) -> u64 {
        lock(&self.shared).asked
    }

    /// The power fails: unmounts, forgets, mounts again. No process may have a file open.
    pub fn cut(
        &mut self,
        keep: Keep,
        tear: usize,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> io::Result<Forgotten> {
        self.end()?;
        let forgotten = lock(&self.shared).volume.cut(keep, tear, below);
        self.begin()?;
        Ok(forgotten)
    }

    /// Copies the folder as it is into another one.
    pub fn copy_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let shared = lock(&self.shared);
        for (name, file) in shared.volume.names() {
            fs::write(folder.join(name), shared.volume.bytes(file)?)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
        config.n_threads = Some(2);
        let folder = Folder(Arc::clone(&self.shared));
        self.session = Some(fuser::spawn_mount(folder, &self.point, &config)?);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        lock(&self.shared).release();
        match self.session.take() {
            Some(session) => session.umount_and_join(),
            None => Ok(()),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Folder(Arc<Mutex<Shared>>);

impl Folder {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.0)
    }

    fn sync(&self, file: u64, reply: ReplyEmpty) {
        let mut shared = self.lock();
        shared.asked += 1;
        let mark = shared.volume.mark(file);
        let is_name = file == Volume::ROOT;
        match shared.syncs {
            Syncs::Held => shared.held.push(Held { file, mark, reply }),
            Syncs::Ignored => reply.ok(),
            Syncs::NamesIgnored if is_name => reply.ok(),
            Syncs::Kept | Syncs::NamesIgnored => {
                if is_name {
                    shared.volume.sync_names();
                } else {
                    shared.volume.sync_to(file, mark);
                }
                reply.ok();
            }
        }
    }

    fn attributes(&self, file: u64) -> Option<FileAttr> {
        attributes(&self.lock().volume, file)
    }

    fn reply(reply: ReplyEmpty, result: Result<(), rustix::io::Errno>) {
        match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }
}

fn attributes(volume: &Volume, file: u64) -> Option<FileAttr> {
    let is_folder = file == Volume::ROOT;
    let size = if is_folder { 0 } else { volume.bytes(file).ok()?.len() as u64 };
    let then = SystemTime::UNIX_EPOCH;
    Some(FileAttr {
        ino: INodeNo(file),
        size,
        blocks: size.div_ceil(u64::from(BLOCK_BYTES)) * u64::from(BLOCK_BYTES / 512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
        perm: if is_folder { 0o755 } else { 0o644 },
        nlink: 1,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from(io::Error::from(error))
}

impl Filesystem for Folder {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let shared = self.lock();
        let found = name.to_str().and_then(|name| shared.volume.find(name));
        match found.and_then(|file| attributes(&shared.volume, file)) {
            Some(found) => reply.entry(&TTL, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, file: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(file.0) {
            Some(found) => reply.attr(&TTL, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        file: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut shared = self.lock();
        let changed = size.map_or(Ok(()), |size| shared.volume.set_length(file.0, size));
        match (changed, attributes(&shared.volume, file.0)) {
            (Err(error), _) => reply.error(errno(error)),
            (Ok(()), Some(found)) => reply.attr(&TTL, &found),
            (Ok(()), None) => reply.error(Errno::ENOENT),
        }
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let Some(name) = name.to_str() else { return reply.error(Errno::EINVAL) };
        let mut shared = self.lock();
        if shared.volume.find(name).is_some() {
            return reply.error(Errno::EEXIST);
        }
        let file = shared.volume.create(name);
        match attributes(&shared.volume, file) {
            Some(made) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&TTL, &made, Generation(0), FileHandle(file), flags);
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn open(&self, _: &Request, file: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.lock().volume.open(file.0) {
            Ok(()) => reply.opened(FileHandle(file.0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.lock().volume.close(file.0);
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let shared = self.lock();
        match shared.volume.bytes(file.0) {
            Ok(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let to = from.saturating_add(size as usize).min(bytes.len());
                reply.data(&bytes[from..to]);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.lock().volume.write(file.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let reserved = self.lock().volume.reserve(file.0, offset.saturating_add(length));
        Self::reply(reply, reserved);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, file: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(file.0, reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(Volume::ROOT, reply);
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(name) = name.to_str() else { return reply.error(Errno::ENOENT) };
        Self::reply(reply, self.lock().volume.unlink(name));
    }

    fn rename(
        &self,
        _: &Request,
        _parent: INodeNo,
        from: &OsStr,
        _new_parent: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        match (from.to_str(), to.to_str()) {
            (Some(from), Some(to)) if flags.is_empty() => {
                Self::reply(reply, self.lock().volume.rename(from, to));
            }
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let shared = self.lock();
        let dots = [(".", Volume::ROOT), ("..", Volume::ROOT)].into_iter();
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, file)) in (1u64..).zip(dots.chain(shared.volume.names())).skip(skip) {
            let is_folder = file == Volume::ROOT;
            let kind = if is_folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(file), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let shared = self.lock();
        let (used, capacity) = shared.volume.usage();
        let total = capacity.unwrap_or(used + (1 << 40)) / u64::from(BLOCK_BYTES);
        let free = total.saturating_sub(used / u64::from(BLOCK_BYTES));
        let files = 1 << 20;
        reply.statfs(total, free, free, files, files, BLOCK_BYTES, 255, BLOCK_BYTES);
    }
}
