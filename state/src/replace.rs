//! Small files that are written as a whole.

use crate::failpoints;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What its owner alone may read and write.
pub const PRIVATE: u32 = 0o600;
/// What everybody may read whom the umask lets.
pub const PUBLIC: u32 = 0o666;

/// Writes a file anew, durably: even after a crash there is all of it, or what was there before. `mode` is that of a new
/// one. `step` names the failpoints around the moment in which it gets its name.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32, step: Option<&'static str>) -> io::Result<()> {
    let temporary = beside(path, ".new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let rename = || fs::rename(&temporary, path).and_then(|()| File::open(folder)?.sync_all());
    match step {
        Some(step) => failpoints::io(step, rename),
        None => rename(),
    }
}

/// The path of a file beside another one, whose name ends in this.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_and_keeps_who_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::write(beside(&path, ".new"), "what a crash has left").unwrap();
        replace_file(&path, b"one", PRIVATE, None).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"one".to_vec(), 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace_file(&path, b"two", PRIVATE, None).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"two".to_vec(), 0o640));
        assert!(!beside(&path, ".new").exists());
        replace_file(&folder.path().join("gone").join("key"), b"", PUBLIC, None).unwrap_err();
    }
}
