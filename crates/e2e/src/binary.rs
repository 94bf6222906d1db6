//! Where the `courant` under test is. A missing binary is an error, never a skipped test.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The environment variable that names the binary.
pub const VARIABLE: &str = "COURANT_BIN";

/// The environment variable that names a testing build of it.
pub const TESTING_VARIABLE: &str = "COURANT_TESTING_BIN";

/// The path of a testing build: what [`TESTING_VARIABLE`] says.
pub fn testing() -> Result<PathBuf> {
    let named = std::env::var_os(TESTING_VARIABLE).map(PathBuf::from);
    match named {
        Some(named) if named.is_file() => Ok(named),
        Some(named) => bail!("{TESTING_VARIABLE} names {}, which is not there", named.display()),
        None => bail!(
            "{TESTING_VARIABLE} is not set: `cargo xtask test` and the campaigns of `cargo xtask` \
             set it; or build with `cargo build -p courant-server --features testing`"
        ),
    }
}

/// The path of the binary: what [`VARIABLE`] says, else `release/courant` in the target directory
/// that this program was built into.
pub fn path() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        if named.is_file() {
            return Ok(named);
        }
        bail!("{VARIABLE} names {}, which is not there", named.display());
    }
    let target = target_directory();
    let built = target.join("release").join("courant");
    if built.is_file() {
        return Ok(built);
    }
    bail!(
        "the binary under test is missing: {} is not there, and {VARIABLE} is not set; build it \
         with `cargo build --release -p courant-server`",
        built.display()
    )
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map_or_else(PathBuf::new, PathBuf::from)
}

/// The parent of the `debug` or `release` that holds the running program.
fn target_directory() -> PathBuf {
    let running = std::env::current_exe().unwrap_or_default();
    let profile = running
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "debug" || name == "release"));
    match profile.and_then(Path::parent) {
        Some(target) => target.to_path_buf(),
        None => workspace().join("target"),
    }
}
