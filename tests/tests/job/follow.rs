//! The long-running job follows files as they grow, rotate and appear.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::{Ad, LongRun, Scratch, accounts_csv, assert_sound, now_ms};

/// Advertiser 2 runs dry.
const ACCOUNTS: [(u64, i64, i64); 2] =
    [(1, 1_000_000_000_000, 1_000_000_000_000), (2, 5_000_000, 9_000_000_000)];

#[test]
fn a_file_is_followed_while_it_grows_and_rotates() {
    let mut site = Site::new("follow-file", "spool/front.log");
    let log = site.path("spool/front.log");
    site.write(&log, "");
    site.job.start();
    for _ in 0..5 {
        site.append(&log, 100);
        site.job.settle();
    }
    let rotated = site.path("spool/front.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    site.append(&rotated, 50);
    site.append(&log, 200);
    site.job.settle();
    site.append(&rotated, 10);
    site.append(&log, 10);
    site.job.settle();
    site.end();
}

#[test]
fn a_directory_is_followed_with_its_new_and_rotated_files() {
    let mut site = Site::new("follow-dir", "logs");
    site.append(&site.path("logs/a.ndjson"), 300);
    site.job.start();
    site.job.settle();
    site.append(&site.path("logs/b.ndjson"), 200);
    site.append(&site.path("logs/a.ndjson"), 100);
    site.job.settle();
    for rotation in 1..4 {
        let old = site.path(&format!("logs/a-{rotation}.ndjson"));
        std::fs::rename(site.path("logs/a.ndjson"), &old).unwrap();
        site.append(&site.path("logs/a.ndjson"), 100);
        site.append(&old, 20);
        site.job.settle();
    }
    site.end();
}

#[test]
fn a_line_is_taken_when_it_is_complete() {
    let mut site = Site::new("follow-partial", "logs");
    let log = site.path("logs/a.ndjson");
    site.append(&log, 10);
    site.job.start();
    site.job.settle();
    let line = site.ad().line();
    let (begin, end) = line.split_at(line.len() / 2);
    site.write(&log, begin);
    site.append(&site.path("logs/b.ndjson"), 10);
    site.job.settle();
    // Long enough for a job that would take half a line for a whole one.
    std::thread::sleep(Duration::from_millis(1_500));
    site.job.settle();
    site.job.stop("TERM");
    site.job.start();
    site.write(&log, end);
    site.job.expect(&[line]);
    site.append(&log, 10);
    site.job.settle();
    site.end();
}

#[test]
fn what_is_written_and_rotated_while_the_job_is_down_is_found() {
    let mut site = Site::new("follow-down", "logs");
    let log = site.path("logs/a.ndjson");
    site.append(&log, 200);
    site.job.start();
    site.job.settle();
    for rotation in 1..4 {
        match rotation {
            2 => site.job.kill9(),
            _ => drop(site.job.stop("INT")),
        }
        site.append(&log, 50);
        std::fs::rename(&log, site.path(&format!("logs/a-{rotation}.ndjson"))).unwrap();
        site.append(&log, 30);
        site.job.start();
        site.append(&log, 20);
        site.job.settle();
    }
    site.end();
}

#[test]
fn a_new_file_in_place_of_a_deleted_one_is_read_from_its_beginning() {
    let mut site = Site::new("follow-inode", "logs");
    let log = site.path("logs/a.ndjson");
    site.append(&log, 100);
    site.job.start();
    site.job.settle();
    site.job.stop("TERM");
    // Most file systems give the new file the inode of the one just deleted.
    std::fs::remove_file(&log).unwrap();
    site.append(&log, 300);
    site.job.start();
    site.job.settle();
    site.end();
}

#[test]
fn kills_while_files_grow_and_rotate_lose_and_repeat_nothing() {
    let mut site = Site::new("follow-kills", "logs");
    let log = site.path("logs/a.ndjson");
    site.append(&log, 500);
    site.job.start();
    for round in 0..10 {
        for _ in 0..8 {
            site.append(&log, 100);
            site.append(&site.path("logs/b.ndjson"), 50);
            std::thread::sleep(Duration::from_millis(37 + 11 * round));
        }
        if round % 3 == 1 {
            std::fs::rename(&log, site.path(&format!("logs/a-{round}.ndjson"))).unwrap();
        }
        if round == 5 {
            site.job.stop("TERM");
        } else {
            site.job.kill9();
        }
        site.job.start();
    }
    site.job.settle();
    site.end();
}

/// A job, and the front end that writes its logs.
struct Site {
    job: LongRun,
    written: u32,
    scratch: Scratch,
}

impl Site {
    fn new(name: &str, source: &str) -> Self {
        let scratch = Scratch::new(name);
        for dir in ["spool", "logs"] {
            std::fs::create_dir(scratch.path(dir)).unwrap();
        }
        let source = scratch.path(source);
        let job = LongRun::new(&scratch, &[source], &accounts_csv(&ACCOUNTS));
        Self { job, written: 0, scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// The next event: one in three is for the advertiser who runs dry.
    fn ad(&mut self) -> Ad {
        self.written += 1;
        let advertiser = 1 + u64::from(self.written.is_multiple_of(3));
        Ad::click(self.written, now_ms()).paid_by(advertiser)
    }

    /// Appends whole lines, which the job then has to find.
    fn append(&mut self, path: &Path, lines: usize) {
        let lines: Vec<String> = (0..lines).map(|_| self.ad().line()).collect();
        self.write(path, &lines.concat());
        self.job.expect(&lines);
    }

    fn write(&self, path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Stops the job and audits what it did.
    fn end(mut self) {
        self.job.stop("TERM");
        let (input, taps) = self.job.result();
        assert_sound(&input, &taps);
        assert!(taps.dropped.is_empty(), "{:?}", taps.dropped);
    }
}
