//! Directories, ports, the clock and seeded randomness for tests.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

static ALONE: Mutex<()> = Mutex::new(());

/// A directory for one test, removed at its end; set `WEIR_TESTS_KEEP` to keep it.
///
/// While a test holds one, the others of the same binary wait: a job fills all cores by itself, and
/// several tests measure how long it takes.
pub struct Scratch {
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Scratch {
    /// Waits for the test before and makes an empty directory.
    pub fn new(name: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = artefacts().join("e2e");
        std::fs::create_dir_all(&parent).unwrap();
        let mut dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(parent).unwrap();
        dir.disable_cleanup(std::env::var_os("WEIR_TESTS_KEEP").is_some());
        Self { dir, _alone: alone }
    }

    /// The path of `name` in the directory, whether it exists or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// A file of this checkout. Cargo says at run time where that is: another one may have built this test into the same place.
pub fn checkout(path: &str) -> PathBuf {
    let built = env!("CARGO_MANIFEST_DIR");
    let tests = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| built.to_owned());
    let root = Path::new(&tests).ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    root.unwrap_or_else(|| panic!("{tests} is in no checkout")).join(path)
}

/// The build directory that holds this test: on disk, and with more room than `/tmp` often has.
pub(crate) fn artefacts() -> &'static Path {
    static DIR: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    DIR.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().to_owned()
    })
}

/// A port of 127.0.0.1 that nobody listens on, and that is given to nobody else for some time, in this
/// process or another one. The kernel's own choice may be the same again a moment later, so they are taken
/// from below those it chooses from, in turn.
pub fn free_port() -> u16 {
    use std::io::{Read, Seek, Write};
    let (first, count) = (10_000_u16, 20_000_u16);
    let path = std::env::temp_dir().join("weir-tests.ports");
    let mut turn =
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    turn.lock().unwrap();
    let mut text = String::new();
    turn.read_to_string(&mut text).unwrap();
    let mut next = text.trim().parse().unwrap_or(0) % count;
    let port = loop {
        let port = first + next;
        next = (next + 1) % count;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            break port;
        }
    };
    turn.rewind().unwrap();
    turn.set_len(0).unwrap();
    write!(turn, "{next}").unwrap();
    port
}

/// The wall clock in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_1970.as_millis().try_into().unwrap()
}

/// SplitMix64: the same seed gives the same numbers on every machine.
pub struct Rng(u64);

impl Rng {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
