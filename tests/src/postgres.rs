//! A PostgreSQL server of a test's own: a cluster in a temporary directory, on a port that was free.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::LIMIT;
use crate::scratch::free_port;

const POLL: Duration = Duration::from_millis(50);
/// The server refuses to run as root: then it runs as the user of Debian's package.
const USER: &str = "postgres";

/// A cluster with the database `weir`; dropping it ends the server.
pub struct Postgres {
    // The home of the cluster must be open to another user than the one who runs the tests.
    home: TempDir,
    bin: PathBuf,
    port: u16,
    as_user: Option<(u32, u32)>,
}

impl Postgres {
    /// Makes a cluster; does not start it.
    #[track_caller]
    pub fn stopped() -> Self {
        let home = tempfile::Builder::new().prefix("weir-postgres-").tempdir().unwrap();
        let is_root = stdout(Command::new("id").arg("-u")) == "0";
        let number = |of: &str| -> u32 { stdout(Command::new("id").args([of, USER])).parse().unwrap() };
        let as_user = is_root.then(|| (number("-u"), number("-g")));
        if let Some((user, group)) = as_user {
            chown(home.path(), Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self { home, bin: binaries(), port: free_port(), as_user };
        let data = this.data();
        let initdb = ["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"];
        this.run("initdb", &initdb);
        this
    }

    /// The same, started, with its database.
    #[track_caller]
    pub fn started() -> Self {
        let this = Self::stopped();
        this.start();
        this.create();
        this
    }

    /// Makes the database.
    #[track_caller]
    pub fn create(&self) {
        self.sql_in("postgres", "CREATE DATABASE weir");
    }

    fn data(&self) -> String {
        self.home.path().join("data").to_str().unwrap().to_owned()
    }

    /// Starts the server, or starts it again.
    #[track_caller]
    pub fn start(&self) {
        let home = self.home.path().to_str().unwrap();
        let options = format!("-h 127.0.0.1 -p {} -k {home}", self.port);
        let log = format!("{home}/server.log");
        // After a kill the old server's socket and memory may be there a moment longer.
        let deadline = Instant::now() + LIMIT;
        while !self.try_run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not start: {said}");
            std::thread::sleep(POLL);
        }
    }

    /// Stops the server; whoever is connected is thrown out.
    #[track_caller]
    pub fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "fast", "stop"]);
    }

    /// Ends the server with `kill -9`, and waits until its other processes have noticed.
    #[track_caller]
    pub fn kill9(&self) {
        let pid = fs::read_to_string(format!("{}/postmaster.pid", self.data())).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(500));
    }

    /// Where it is, for a user.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/weir", self.port)
    }

    /// What a statement answers in the database `weir`: columns with `|` between them, one row a line.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        self.sql_in("weir", statement)
    }

    #[track_caller]
    fn sql_in(&self, database: &str, statement: &str) -> String {
        let output = self.psql(database, statement);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{statement}: {said}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// What the server says to a statement that it must refuse.
    #[track_caller]
    pub fn refusal(&self, statement: &str) -> String {
        let output = self.psql("weir", statement);
        assert!(!output.status.success(), "not refused: {statement}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What a statement answers that may fail, as long as the server is there.
    pub fn number(&self, statement: &str) -> Option<u64> {
        let output = self.psql("weir", statement);
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }

    fn psql(&self, database: &str, statement: &str) -> Output {
        let port = self.port.to_string();
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
        psql.args(["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", database, "-c", statement]);
        psql.stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    fn run(&self, program: &str, args: &[&str]) {
        assert!(self.try_run(program, args), "{program} {args:?} failed");
    }

    fn try_run(&self, program: &str, args: &[&str]) -> bool {
        let program = self.bin.join(program);
        let mut command = match self.as_user {
            Some(_) => {
                let mut runuser = Command::new("runuser");
                runuser.args(["-u", USER, "--"]).arg(program);
                runuser
            }
            None => Command::new(program),
        };
        // The server inherits what it is started with: none of it may keep the test waiting.
        let command = command.args(args).current_dir(self.home.path());
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may not run at all.
        let _ = self.try_run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }
}

/// Debian keeps each version's programs in a directory of its own; the newest one counts.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let has_server = |path: &PathBuf| path.join("initdb").exists();
    let all = versions.map(|version| version.path().join("bin")).filter(has_server);
    all.max()
        .unwrap_or_else(|| panic!("no PostgreSQL in /usr/lib/postgresql: run tests/run.sh, or install it"))
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}
