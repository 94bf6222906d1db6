//! A folder that was damaged: it opens or it is refused.
//!
//! Input: a byte that chooses the folder, then edits of 6 bytes: file, operation, place (3), value.

#![no_main]

use courant::testing::replayed_hash;
use courant_storage::sim::SimDisk;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

type Folder = BTreeMap<String, Vec<u8>>;

/// Folders of earlier versions: the fixtures.
static FOLDERS: LazyLock<Vec<Folder>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/broker/tests/fixtures");
    let mut folders: Vec<_> = read(&fixtures).into_iter().map(|entry| entry.path()).collect();
    folders.sort();
    folders.iter().map(|folder| files(folder)).collect()
});

fn read(folder: &Path) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("entry")).collect()
}

fn files(folder: &Path) -> Folder {
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("a name");
        (name, std::fs::read(entry.path()).expect("a file"))
    };
    read(folder).into_iter().map(file).collect()
}

fn edit(folder: &mut Folder, edit: [u8; 6]) {
    let [file, operation, place @ .., value] = edit;
    let nth = usize::from(file) % folder.len().max(1);
    let Some(bytes) = folder.values_mut().nth(nth) else { return };
    let place = u32::from_le_bytes([place[0], place[1], place[2], 0]);
    let place = usize::try_from(place).expect("32 bits") % (bytes.len() + 1);
    match operation % 6 {
        0 => bytes.get_mut(place).into_iter().for_each(|byte| *byte = value),
        1 => bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << (value % 8)),
        2 => bytes.truncate(place),
        3 => bytes.iter_mut().skip(place).take(usize::from(value) * 16).for_each(|byte| *byte = 0),
        4 => bytes.resize(bytes.len() + usize::from(value), 0),
        _ => {
            let name = folder.keys().nth(nth).cloned().unwrap_or_default();
            folder.remove(&name);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&chosen, edits)) = input.split_first() else { return };
    let mut folder = FOLDERS[usize::from(chosen) % FOLDERS.len()].clone();
    let (edits, _) = edits.as_chunks::<6>();
    for &change in edits.iter().take(16) {
        edit(&mut folder, change);
    }
    let _ = replayed_hash(SimDisk::of(folder).mount());
});
