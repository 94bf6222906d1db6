//! Small file systems of their own, mounted for a test and unmounted when it ends. Only root can.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use courant_forgetful::Mount;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// What a volume is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Memory.
    Tmpfs,
    /// A file with ext4 in it.
    Ext4,
    /// The folder that forgets; here for its exact count of what is free.
    Forgetful,
}

/// Why volumes can't be mounted here; `None` if they can.
pub fn why_not(kind: Kind) -> Option<String> {
    if kind == Kind::Forgetful {
        return courant_forgetful::mount::why_not();
    }
    (!rustix::process::geteuid().is_root()).then(|| "only root may mount".to_owned())
}

/// A mounted volume.
#[derive(Debug)]
pub struct Volume {
    point: PathBuf,
    forgetful: Option<Mount>,
}

impl Volume {
    /// Mounts an empty volume of `bytes` in `folder`.
    pub fn new(kind: Kind, bytes: u64, folder: &Path) -> Result<Self> {
        let point = folder.join("volume");
        fs::create_dir_all(&point)?;
        let mut forgetful = None;
        match kind {
            Kind::Tmpfs => {
                let size = std::ffi::CString::new(format!("size={bytes}"))?;
                let flags = MountFlags::empty();
                mount("courant-volume", &point, "tmpfs", flags, Some(&*size)).context("mount")?;
            }
            Kind::Ext4 => {
                let image = folder.join("volume.ext4");
                File::create(&image)?.set_len(bytes)?;
                run(Command::new("mkfs.ext4").arg("-q").arg("-F").arg(&image))?;
                run(Command::new("mount").arg("-o").arg("loop").arg(&image).arg(&point))?;
            }
            Kind::Forgetful => forgetful = Some(Mount::new(&point, Some(bytes))?),
        }
        Ok(Self { point, forgetful })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// The folder for data; in one that forgets, which has no other, the volume itself.
    pub fn data(&self) -> PathBuf {
        if self.forgetful.is_some() { self.point.clone() } else { self.point.join("data") }
    }

    /// Bytes that are free.
    pub fn free(&self) -> Result<u64> {
        let space = rustix::fs::statvfs(&self.point)?;
        Ok(space.f_bavail * space.f_frsize)
    }

    /// Writes a file beside the data until nothing is free.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for bytes in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0xbb; bytes]).is_ok() {}
        }
        Ok(())
    }

    /// Removes that file.
    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.point.join("ballast")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.forgetful.is_none() {
            let _ = unmount(&self.point, UnmountFlags::DETACH);
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
