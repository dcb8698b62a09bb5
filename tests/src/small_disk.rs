//! A disk that becomes full soon.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file system in memory; unmounted at the end.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB; says that the test is skipped if that is not allowed here.
    pub fn mount(path: PathBuf, mb: u32) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mb}m"), "tmpfs"]).arg(&path);
        let why = match mount.output() {
            Ok(output) if output.status.success() => return Some(Self { path }),
            Ok(Output { stderr, .. }) => String::from_utf8_lossy(&stderr).trim().to_owned(),
            Err(e) => e.to_string(),
        };
        // Past the capture of test output, which would hide it.
        let said = format!("skipped the test of a full disk: {why}\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it large.
    pub fn enlarge(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=2g"]).arg(&self.path);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: it goes even while a process that failed to end has files open. If it stays, the
        // directory around it cannot be removed, and nothing else happens.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
