//! The mirror: copies of accepted requests, posted to another endpoint, such as a Weir that is being tried out.
//!
//! Best effort: copies wait in a small queue in memory, and one thread posts them. What does not fit, or comes while
//! the switch `mirror` is off or its breaker open, is dropped and counted. Nobody waits for it.

#[cfg(test)]
mod tests;

use crate::config;
use crate::deliver::{Answer, agent, classify};
use crate::error::JobError;
use crate::metrics;
use crate::switches::Switch;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The most that waits, in bytes.
const QUEUE: usize = 16 << 20;
/// What a copy takes beside its body, about: many small ones must be bounded, too.
const OVERHEAD: usize = 512;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An endpoint that takes longer is not worth waiting for.
const SLOW: Duration = Duration::from_secs(1);

struct Copied {
    content_type: String,
    body: Bytes,
}

impl Copied {
    fn size(&self) -> usize {
        self.body.len() + OVERHEAD
    }
}

struct Shared {
    switch: Arc<Switch>,
    waiting: AtomicUsize,
    is_stopping: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        metrics::mirrored("sent");
    }

    fn dropped(&self, why: &'static str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        metrics::mirrored(why);
    }
}

/// The mirror. What still waits when it is dropped is not sent any more.
pub struct Mirror {
    shared: Arc<Shared>,
    queue: Sender<Copied>,
    /// Of 100 requests.
    share: u64,
    offered: AtomicU64,
}

impl Mirror {
    /// Starts its thread.
    pub fn start(options: &config::Mirror, switch: Arc<Switch>) -> Result<Self, JobError> {
        let (queue, waiting) = channel();
        let shared = Arc::new(Shared {
            switch,
            waiting: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let (own, url, agent) = (shared.clone(), options.url.clone(), agent(TIMEOUT));
        // Nobody waits for it: a request may hang.
        std::thread::Builder::new()
            .name("mirror".to_owned())
            .spawn(move || work(&own, &waiting, &agent, &url))
            .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))?;
        Ok(Mirror { shared, queue, share: options.share.into(), offered: AtomicU64::new(0) })
    }

    /// A request was accepted: its share of them is copied. Does not wait.
    pub fn offer(&self, content_type: &str, body: &Bytes) {
        let number = self.offered.fetch_add(1, Ordering::Relaxed);
        if !is_chosen(number, self.share) {
            return;
        }
        if !self.shared.switch.lets() {
            return self.shared.dropped("off");
        }
        let copied = Copied { content_type: content_type.to_owned(), body: body.clone() };
        let size = copied.size();
        let before = self.shared.waiting.fetch_add(size, Ordering::AcqRel);
        if before.saturating_add(size) > QUEUE || self.queue.send(copied).is_err() {
            self.shared.waiting.fetch_sub(size, Ordering::AcqRel);
            self.shared.dropped("full");
        }
    }

    /// Since the start of the process: copies that the endpoint has taken, and copies that were dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.sent.load(Ordering::Relaxed), self.shared.dropped.load(Ordering::Relaxed))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
    }
}

/// Of any 100 requests in a row as many as asked for, spread evenly.
fn is_chosen(number: u64, share: u64) -> bool {
    let (n, chosen) = (number % 100, |before: u64| before * share / 100);
    chosen(n) != chosen(n + 1)
}

fn work(shared: &Shared, waiting: &Receiver<Copied>, agent: &ureq::Agent, url: &str) {
    while let Ok(copied) = waiting.recv() {
        if shared.is_stopping.load(Ordering::Acquire) {
            return;
        }
        match shared.switch.admit() {
            true => post(shared, &copied, agent, url),
            false => shared.dropped("off"),
        }
        // Only now: the body is in memory until then.
        shared.waiting.fetch_sub(copied.size(), Ordering::AcqRel);
    }
}

fn post(shared: &Shared, copied: &Copied, agent: &ureq::Agent, url: &str) {
    let begun = Instant::now();
    let request = agent.post(url).header("Content-Type", &copied.content_type);
    let failed = match request.send(&copied.body[..]) {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => match classify(answer.status().as_u16(), format!("it answers {}", answer.status())) {
            Answer::Failed(reason) => Some(reason),
            // It works, and does not like the copy.
            Answer::Accepted | Answer::Refused(_) => None,
        },
        Err(error) => Some(error.to_string()),
    };
    let took = begun.elapsed();
    match failed {
        Some(reason) => {
            shared.dropped("failed");
            shared.switch.failed(&reason);
        }
        None if took >= SLOW => {
            shared.sent();
            shared.switch.failed(&format!("it has taken {} ms to answer", took.as_millis()));
        }
        None => {
            shared.sent();
            shared.switch.worked();
        }
    }
}
