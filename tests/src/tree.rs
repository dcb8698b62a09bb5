//! What stands in a directory, so that two moments can be compared; and damage done to it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};

/// The files below a directory with length and hash; empty when there is none.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&bytes);
            all.insert(path, (bytes.len() as u64, hash));
        }
    }
    all
}

/// Copies a directory with all that stands in it.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy_tree(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

/// Flips one bit in the middle of a file. Other names of the same file keep what stood there.
pub fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = path.with_extension("flipped");
    std::fs::write(&damaged, bytes).unwrap();
    std::fs::rename(&damaged, path).unwrap();
}
