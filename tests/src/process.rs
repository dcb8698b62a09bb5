//! Starting the `weir` binary, waiting for it with a deadline, and ending it.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::scratch::{artefacts, checkout};

/// How long a process may take before the test that waits for it fails.
pub const LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(2);

/// A call of `weir`, to be completed with arguments.
pub fn weir() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BINARY.get_or_init(binary))
}

/// The binary beside this test's, or the one that `WEIR_BIN` names.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_BIN") {
        return path.into();
    }
    let path = artefacts().join("weir");
    let built = std::fs::metadata(&path).and_then(|m| m.modified());
    let Ok(built) = built else {
        panic!("{path:?} is missing: run `cargo build --release`, or tests/run.sh");
    };
    for member in ["proto", "state", "operators", "pipeline"] {
        refuse_newer_source(&checkout(member).join("src"), built);
    }
    path
}

/// `cargo test` builds the libraries but not the binary, and a test of yesterday's binary is none.
fn refuse_newer_source(dir: &Path, built: SystemTime) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            refuse_newer_source(&path, built);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let newer = entry.metadata().unwrap().modified().unwrap() > built;
            assert!(!newer, "{path:?} is newer than the binary: run `cargo build --release` first");
        }
    }
}

/// What a process left behind.
#[derive(Debug)]
pub struct Done {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// How it ended, in words: the exit code or the signal.
    pub status: String,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Done {
    /// Fails, with what the process said, unless it ended with exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        let Self { status, stderr, stdout, .. } = &self;
        assert_eq!(self.code, Some(0), "weir ended with {status}; it said:\n{stderr}\n{stdout}");
        self
    }

    /// Fails unless the process ended with one of `codes` and said each of `phrases`, in any case.
    #[track_caller]
    pub fn refused(&self, codes: &[i32], phrases: &[&str]) {
        let code = self.code.unwrap_or(-1);
        let said = self.stderr.to_lowercase();
        assert!(codes.contains(&code), "exit code {code}, not {codes:?}; {said}");
        for phrase in phrases {
            assert!(said.contains(&phrase.to_lowercase()), "no {phrase:?} in: {said}");
        }
        assert!(!said.contains("panicked"), "an error is no panic: {said}");
    }
}

/// A running `weir`; dropping it kills it.
pub struct Weir {
    child: Child,
    stdout: File,
    stderr: File,
    started: Instant,
}

impl Weir {
    /// Starts `command`. Its output goes to files without a name, so that it never waits for us.
    pub fn start(command: &mut Command) -> Self {
        let stdout = tempfile::tempfile_in(artefacts()).unwrap();
        let stderr = tempfile::tempfile_in(artefacts()).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { child, stdout, stderr, started: Instant::now() }
    }

    /// True while the process has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The time since its start.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the end; fails when it takes longer than [`LIMIT`].
    #[track_caller]
    pub fn wait(self) -> Done {
        self.wait_at_most(LIMIT)
    }

    /// Waits for the end; fails when the process gets older than `limit`.
    #[track_caller]
    pub fn wait_at_most(mut self, limit: Duration) -> Done {
        self.wait_for_exit(limit);
        self.done()
    }

    /// Like [`Weir::wait`], for output too long for a string: the file with standard output when
    /// the exit code is 0.
    #[track_caller]
    pub fn wait_for_output(mut self) -> Result<File, Done> {
        self.wait_for_exit(LIMIT);
        if self.child.wait().unwrap().success() {
            let mut output = self.stdout.try_clone().unwrap();
            output.rewind().unwrap();
            return Ok(output);
        }
        Err(self.done())
    }

    /// What has been printed on standard output so far.
    pub fn printed(&self) -> String {
        so_far(&self.stdout)
    }

    /// What has been printed on standard error so far.
    pub fn said(&self) -> String {
        so_far(&self.stderr)
    }

    /// The most memory that it has had resident, in MiB.
    #[track_caller]
    pub fn peak_memory_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Ends the process with `kill -9`, without any warning to it.
    pub fn kill9(mut self) -> Done {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.done()
    }

    #[track_caller]
    fn wait_for_exit(&mut self, limit: Duration) {
        while self.is_alive() {
            if self.started.elapsed() > limit {
                self.child.kill().unwrap();
                let said = text(&mut self.stderr);
                panic!("still running after {limit:?}; it said:\n{said}");
            }
            std::thread::sleep(POLL);
        }
    }

    fn done(&mut self) -> Done {
        let status = self.child.wait().unwrap();
        Done {
            code: status.code(),
            status: status.to_string(),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
            took: self.started.elapsed(),
        }
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended long ago, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file position is shared with the process that writes, so this reads elsewhere.
fn so_far(file: &File) -> String {
    let bytes = std::fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
