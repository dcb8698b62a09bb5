//! The long-running job: its configuration, its restarts, and waiting for it to catch up.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ask::{ask_json, patience_for, wait_at_most};
use crate::input::Input;
use crate::process::{Done, Weir, weir};
use crate::scratch::{Scratch, free_port};
use crate::taps::{Taps, count};

const CATCH_UP: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// Of what a job has said, so many lines are shown when a test fails.
const LAST_LINES: usize = 30;
/// How long a job may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(30);

/// A job that follows files, and its lives one after the other.
pub struct LongRun {
    config: PathBuf,
    data_dir: PathBuf,
    accounts: String,
    metrics: u16,
    control: Option<u16>,
    ingest: Option<(u16, u16)>,
    weir: Option<Weir>,
    lines: Vec<String>,
}

impl LongRun {
    /// Writes the configuration of a job with these sources; does not start it.
    pub fn new(scratch: &Scratch, sources: &[PathBuf], accounts: &str) -> Self {
        Self::named(scratch, "", sources, accounts)
    }

    /// The same for one of several jobs.
    pub fn named(scratch: &Scratch, name: &str, sources: &[PathBuf], accounts: &str) -> Self {
        let metrics = free_port();
        let data_dir = scratch.path(&format!("{name}data"));
        let accounts_file = scratch.write(&format!("{name}accounts.csv"), accounts);
        let sources: String = sources.iter().map(|path| format!("[[source]]\npath = {path:?}\n\n")).collect();
        let config = format!(
            "data_dir = {data_dir:?}\npartitions = 4\nthreads = 2\n\n{sources}\
             [accounts]\nfile = {accounts_file:?}\n\n\
             [listen]\nmetrics = \"127.0.0.1:{metrics}\"\ncontrol = \"off\"\n"
        );
        Self {
            config: scratch.write(&format!("{name}weir.toml"), config),
            data_dir,
            accounts: accounts.to_owned(),
            metrics,
            control: None,
            ingest: None,
            weir: None,
            lines: Vec::new(),
        }
    }

    /// Leaves the accounts to another job.
    pub fn without_accounts(&self) {
        let config = std::fs::read_to_string(&self.config).unwrap();
        let (before, accounts) = config.split_once("[accounts]\n").unwrap();
        let (_, after) = accounts.split_once('\n').unwrap();
        std::fs::write(&self.config, before.to_owned() + after).unwrap();
    }

    /// Sends the job a signal such as `STOP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.weir.as_ref().unwrap().signal(name);
    }

    /// Appends sections to the configuration.
    pub fn configure(&self, sections: &str) {
        let config = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, config + sections).unwrap();
    }

    /// Sets the number of partitions, before the first start.
    pub fn set_partitions(&self, partitions: u32) {
        self.reconfigure("partitions = 4\n", &format!("partitions = {partitions}\n"));
    }

    /// Turns the control service on.
    pub fn open_control(&mut self) {
        let port = free_port();
        self.reconfigure("control = \"off\"", &format!("control = \"127.0.0.1:{port}\""));
        self.control = Some(port);
    }

    /// Takes events in over HTTP and gRPC, with these keys of `[ingest]`.
    pub fn open_ingest(&mut self, keys: &str) {
        let (http, grpc) = (free_port(), free_port());
        let listen = format!("[listen]\nhttp = \"127.0.0.1:{http}\"\ngrpc = \"127.0.0.1:{grpc}\"\n");
        self.reconfigure("[listen]\n", &listen);
        self.configure(&format!("\n[ingest]\n{keys}\n"));
        self.ingest = Some((http, grpc));
    }

    /// Limits the connections to a port from one address.
    pub fn limit_connections(&self, most: usize) {
        self.reconfigure("[listen]\n", &format!("[listen]\nmax_connections_per_address = {most}\n"));
    }

    /// The ports of HTTP and gRPC.
    #[track_caller]
    pub fn ingest_ports(&self) -> (u16, u16) {
        self.ingest.unwrap()
    }

    /// What the running job has said so far.
    #[track_caller]
    pub fn said(&self) -> String {
        self.weir.as_ref().unwrap().said()
    }

    /// The most memory that the running job has had resident, in MiB.
    #[track_caller]
    pub fn peak_memory_mb(&self) -> u64 {
        self.weir.as_ref().unwrap().peak_memory_mb()
    }

    /// Changes the configuration, for the next start.
    #[track_caller]
    pub fn reconfigure(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(&self.config).unwrap();
        assert!(config.contains(from), "no {from:?} in {config}");
        std::fs::write(&self.config, config.replace(from, to)).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where the job keeps everything.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The port of `/metrics`.
    pub fn metrics_port(&self) -> u16 {
        self.metrics
    }

    /// The port of the control service, which is on.
    #[track_caller]
    pub fn control_port(&self) -> u16 {
        self.control.unwrap()
    }

    /// Starts the job, or starts it again.
    pub fn start(&mut self) {
        let mut command = weir();
        command.arg("run").arg("--config").arg(&self.config);
        self.weir = Some(Weir::start(&mut command));
    }

    /// Asks the job to stop with a signal such as `TERM`, once it is up, and expects that it does.
    #[track_caller]
    pub fn stop(&mut self, signal: &str) -> Done {
        self.wait_until_up();
        let weir = self.weir.take().unwrap();
        weir.signal(signal);
        let limit = weir.age() + STOP;
        weir.wait_at_most(limit).ok()
    }

    /// Ends the job with `kill -9`.
    #[track_caller]
    pub fn kill9(&mut self) {
        let done = self.weir.take().unwrap().kill9();
        assert_eq!(done.code, None, "it had ended before the kill: {}", done.stderr);
    }

    /// Tells that the job is to find these lines from now on; the test writes them itself.
    pub fn expect(&mut self, lines: &[String]) {
        self.lines.extend_from_slice(lines);
    }

    /// Waits until each expected line has led to a record, and fails when more records appear.
    #[track_caller]
    pub fn settle(&mut self) {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            self.assert_alive();
            let records = self.records();
            if records == self.lines.len() {
                return;
            }
            let expected = self.lines.len();
            assert!(records < expected, "{records} records of {expected} lines");
            assert!(Instant::now() < deadline, "{records} records of {expected} lines after {CATCH_UP:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until at least so many lines have led to a record.
    #[track_caller]
    pub fn wait_for_lines(&mut self, lines: usize) {
        let deadline = Instant::now() + CATCH_UP;
        while self.records() < lines {
            self.assert_alive();
            assert!(Instant::now() < deadline, "{} records of {lines} lines", self.records());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until so many lines are taken in.
    #[track_caller]
    pub fn wait_until_taken(&mut self, lines: usize) {
        let taken = || count("raw", &self.data_dir).unwrap_or(0);
        wait_at_most(CATCH_UP + patience_for(lines), "all lines to be taken in", || taken() >= lines);
        assert_eq!(taken(), lines, "more was taken in than there is");
    }

    /// Stops the job once so many lines are billed; what it reports then.
    #[track_caller]
    pub fn finish(&mut self, lines: usize) -> Value {
        let deadline = Instant::now() + CATCH_UP + patience_for(lines);
        loop {
            self.wait_until_taken(lines);
            std::thread::sleep(3 * POLL);
            self.stop("TERM");
            let report: Value = ask_json(&self.data_dir, &["report", "--top", "1000"]);
            if report["conserved"] == true && report["events"] == lines {
                return report;
            }
            assert!(Instant::now() < deadline, "not all is billed: {report}");
            self.start();
        }
    }

    /// All expected lines and what came of them, for the audit.
    #[track_caller]
    pub fn result(&self) -> (Input, Taps) {
        let input = Input::of(&self.lines, &self.accounts);
        (input, Taps::read(&self.data_dir))
    }

    /// Waits until the job answers. One that has only just begun to start is ended by a signal like any
    /// other process.
    #[track_caller]
    pub fn wait_until_up(&mut self) {
        let deadline = Instant::now() + CATCH_UP;
        let is_up = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let (http, grpc) = self.ingest.unzip();
        let ports = [Some(self.metrics), self.control, http, grpc];
        while !ports.into_iter().flatten().all(is_up) {
            self.assert_alive();
            assert!(Instant::now() < deadline, "not up after {CATCH_UP:?}");
            std::thread::sleep(POLL);
        }
        std::thread::sleep(POLL);
    }

    fn records(&self) -> usize {
        let of = |topic| count(topic, &self.data_dir).unwrap_or(0);
        of("charges") + of("dropped")
    }

    /// Whether the job has not ended by itself.
    #[track_caller]
    pub fn is_alive(&mut self) -> bool {
        self.weir.as_mut().unwrap().is_alive()
    }

    /// How the job ended, which it does by itself.
    #[track_caller]
    pub fn ended(&mut self) -> Done {
        self.weir.take().unwrap().wait()
    }

    /// Fails if the job has ended by itself.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if !self.is_alive() {
            panic!("the job ended by itself: {:?}", self.ended());
        }
    }
}

impl Drop for LongRun {
    fn drop(&mut self) {
        if let Some(weir) = self.weir.as_ref().filter(|_| std::thread::panicking()) {
            let said = weir.said();
            let last: Vec<&str> = said.lines().rev().take(LAST_LINES).collect();
            eprintln!("The job of {} said last:", self.config.display());
            last.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
