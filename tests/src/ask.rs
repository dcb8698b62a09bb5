//! Asking `weir` about a data directory: the commands that look at generations and cuts, or change them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::process::{Done, Weir, weir};

/// How long something may take that takes a moment.
const LONG: Duration = Duration::from_secs(60);

/// How long it may take servers and workers to get on.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long an event may take on the average.
const EACH: Duration = Duration::from_micros(200);
/// How long to wait before it is looked again, at the least.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    wait_at_most(LONG, what, is_so);
}

/// Waits until something is so, but not longer than this. It is not looked for more than half of the time.
#[track_caller]
pub fn wait_at_most(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    loop {
        let looked = Instant::now();
        if is_so() {
            return;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(looked.elapsed().max(LOOK));
    }
}

/// How much longer what becomes of so many lines may take.
pub fn patience_for(lines: usize) -> Duration {
    EACH * u32::try_from(lines).unwrap()
}

/// Starts `weir` with these words for a data directory.
pub fn start_ask(data_dir: &Path, words: &[&str]) -> Weir {
    Weir::start(weir().args(words).arg("--data-dir").arg(data_dir))
}

/// The same to its end, however it ends; a panic is no way to end.
#[track_caller]
pub fn ask(data_dir: &Path, words: &[&str]) -> Done {
    let done = start_ask(data_dir, words).wait();
    assert!(!done.stderr.contains("panicked"), "{words:?}: {}", done.stderr);
    done
}

/// The JSON that the same prints when it ends well.
#[track_caller]
pub fn ask_json<T: DeserializeOwned>(data_dir: &Path, words: &[&str]) -> T {
    let words = [words, &["--json"]].concat();
    let done = ask(data_dir, &words).ok();
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{words:?} printed {}: {e}", done.stdout))
}

/// A line of `weir generation list`.
#[derive(Clone, Debug, Deserialize)]
pub struct Generation {
    /// Counted from 1.
    pub id: u32,
    /// `candidate`, `promoting`, `published`, `superseded` or `dropped`.
    pub standing: String,
    /// Whose line it goes back to.
    pub base: u32,
    /// Whose order it follows.
    pub recorded: u32,
    /// The minute from which on it differs, in RFC 3339.
    pub cut: Option<String>,
    /// The first stage that it runs.
    pub from_stage: String,
    /// The tick at which it took over, in RFC 3339.
    pub promoted_at: Option<String>,
    /// What its tasks have left to read.
    pub lag: u64,
}

impl Generation {
    /// Whether it has one of these standings.
    pub fn is(&self, standings: &[&str]) -> bool {
        standings.contains(&self.standing.as_str())
    }
}

/// All generations, exactly one of which counts.
#[track_caller]
pub fn generations(data_dir: &Path) -> Vec<Generation> {
    let all: Vec<Generation> = ask_json(data_dir, &["generation", "list"]);
    let counting = all.iter().filter(|g| g.is(&["published", "promoting"])).count();
    assert_eq!(counting, 1, "one generation is the published one: {all:?}");
    all
}

#[derive(Deserialize)]
struct Cut {
    minute: String,
    complete: bool,
}

/// The minutes of the complete cuts, in order.
#[track_caller]
pub fn cuts(data_dir: &Path) -> Vec<String> {
    let all: Vec<Cut> = ask_json(data_dir, &["checkpoints"]);
    all.into_iter().filter(|c| c.complete).map(|c| c.minute).collect()
}

/// Minutes since 1970 of a time such as `2026-01-01T10:05:00Z`.
pub fn minutes_of(time: &str) -> u32 {
    let part = |range: std::ops::Range<usize>| -> u32 { time[range].parse().unwrap() };
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    // Counted from the first of March, so that the leap day is the last one.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    days * 1_440 + part(11..13) * 60 + part(14..16)
}
