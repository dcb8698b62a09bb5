//! Writes lines when they are due.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use weir_bench::schedule::Schedule;
use weir_bench::watch::Watched;
use weir_proto::Guid;

/// The rest between two writes.
const REST: Duration = Duration::from_millis(1);

/// Writes a log to a growing file.
pub struct Writer {
    log: BufReader<File>,
    to: File,
    watched: Watched,
    /// One line in so many is watched.
    every: u64,
}

/// How well the schedule was kept.
pub struct Written {
    /// How late a line was written at worst. It is part of the latencies, and no fault of the job's.
    pub latest: Duration,
}

impl Writer {
    pub fn open(log: &Path, to: &Path, watched: Watched, every: u64) -> Self {
        let log = BufReader::with_capacity(1 << 20, File::open(log).unwrap());
        let to = OpenOptions::new().append(true).create(true).open(to).unwrap();
        Writer { log, to, watched, every }
    }

    /// Until the last line is written.
    pub fn write_all(mut self, schedule: &Schedule) -> Written {
        let (mut written, mut latest) = (0, Duration::ZERO);
        while written < schedule.lines() {
            let due = schedule.due_by(Instant::now());
            if due > written {
                let lines = self.take(written..due, schedule);
                self.to.write_all(&lines).unwrap();
                latest = latest.max(schedule.due(written).elapsed());
                written = due;
            }
            std::thread::sleep(REST);
        }
        Written { latest }
    }

    /// The next lines of the log; those that are watched are so before they are written.
    fn take(&mut self, numbers: std::ops::Range<u64>, schedule: &Schedule) -> Vec<u8> {
        let mut lines = Vec::new();
        for number in numbers {
            let start = lines.len();
            let read = self.log.read_until(b'\n', &mut lines).unwrap();
            assert!(read > 0, "the log has {number} lines only");
            if number.is_multiple_of(self.every)
                && let Some(guid) = guid_of(&lines[start..])
            {
                self.watched.lock().unwrap().entry(guid).or_insert(schedule.due(number));
            }
        }
        lines
    }
}

/// None of a line that cannot be read.
fn guid_of(line: &[u8]) -> Option<u128> {
    let text = str::from_utf8(line).ok()?.strip_prefix("{\"guid\":\"")?.split('"').next()?;
    match Guid::parse(text)? {
        Guid::Ulid(id) => Some(id),
        Guid::Text(_) => None,
    }
}
