//! The progress bar of a finite run.

use crate::source::collect::CollectProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Shows how much of the input was taken in, with rate and time left, while it lives.
pub(super) struct Progress {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Of input files; hidden unless stderr is a terminal, which the library finds out by itself.
    pub(super) fn start(inputs: &[PathBuf], collected: Arc<CollectProgress>) -> Self {
        let total = inputs.iter().filter_map(|p| std::fs::metadata(p).ok()).map(|m| m.len()).sum();
        let bar = ProgressBar::new(total);
        let template = "{bar:40} {percent:>3} % {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                bar.set_position(collected.bytes.load(Ordering::Relaxed).min(total));
                std::thread::sleep(Duration::from_millis(50));
            }
            bar.finish_and_clear();
        });
        Progress { stop, thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The bar is only for show.
            let _ = thread.join();
        }
    }
}

/// A bar of minutes, for what runs from one tick to another; hidden unless stderr is a terminal.
pub(super) fn minutes_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = format!("{what} {{bar:40}} {{msg}} ({{elapsed}}, {{eta}} left)");
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A bar of so many things; hidden unless stderr is a terminal.
pub(super) fn count_bar(what: &str, count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{what} {{bar:40}} {{human_pos}} of {{human_len}} ({{per_sec}}, {{eta}} left)");
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A counter of records; hidden unless stderr is a terminal.
pub(super) fn records_spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let template = format!("{what} {{human_pos}} records ({{per_sec}})");
    bar.set_style(
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}
