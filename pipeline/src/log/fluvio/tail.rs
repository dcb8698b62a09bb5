//! Receiving: a thread for each SPU asks it for what is new in the partitions that it leads. Whoever appends says how far; what
//! others append is found when all are asked again.

use super::answer::{self, Place};
use super::calls::tell;
use super::fetch::{FETCH_BYTES, Fetcher};
use crate::log::LogError;
use crate::log::remote::{Gather, MOST, Tail, Wake};
use fluvio_protocol::link::ErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often all partitions are looked at.
const ROUND: Duration = Duration::from_millis(50);
/// How long to wait where there should be more, and is not yet.
const SOON: Duration = Duration::from_millis(5);
/// How long to wait before an SPU that is away is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// Partitions that are asked for at once: the server takes the number of bytes for each.
const AT_ONCE: usize = 16;

type Key = (String, u32);
type Due = (Key, Arc<Followed>);

/// A partition that is followed.
struct Followed {
    tail: Arc<Tail>,
    /// The end offset that somebody knows of.
    wanted: AtomicU64,
    /// Bytes to ask for.
    bytes: AtomicI32,
}

/// What an SPU says.
enum Answer {
    /// Whether anything came.
    Received(bool),
    /// The same, and what is wrong with some of the partitions for the moment.
    Partly(bool, String),
    /// It does not answer.
    Silent(String),
}

/// What the threads and the log share.
pub(super) struct Shared {
    fetcher: Arc<Fetcher>,
    followed: RwLock<BTreeMap<Key, Arc<Followed>>>,
    /// By the addresses of SPUs.
    threads: Mutex<HashMap<String, JoinHandle<()>>>,
    hinted: Mutex<u64>,
    hint: Condvar,
    failure: OnceLock<LogError>,
    closing: AtomicBool,
    wake: Wake,
}

/// Receives what is appended, by whomever.
pub(super) struct Tailer {
    shared: Arc<Shared>,
    most_bytes: u64,
}

impl Tailer {
    /// Keeps so many bytes of each partition.
    pub(super) fn new(fetcher: Arc<Fetcher>, most_bytes: u64, wake: Wake) -> Self {
        let shared = Shared {
            fetcher,
            followed: RwLock::default(),
            threads: Mutex::default(),
            hinted: Mutex::default(),
            hint: Condvar::new(),
            failure: OnceLock::new(),
            closing: AtomicBool::new(false),
            wake,
        };
        Tailer { shared: Arc::new(shared), most_bytes }
    }

    /// Takes it that a partition has grown.
    pub(super) fn hints(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Receives what is appended to a partition from an offset on.
    pub(super) fn add(&self, topic: &str, partition: u32, end: u64) -> Result<Arc<Tail>, LogError> {
        let leader = self.shared.fetcher.leaders.of(topic, partition)?;
        let tail = Arc::new(Tail::new(end, self.most_bytes));
        let followed =
            Followed { tail: tail.clone(), wanted: AtomicU64::new(end), bytes: AtomicI32::new(FETCH_BYTES) };
        let mut all = self.shared.followed.write().unwrap_or_else(PoisonError::into_inner);
        all.insert((topic.to_owned(), partition), Arc::new(followed));
        drop(all);
        self.shared.attend(&leader)?;
        Ok(tail)
    }

    /// Does not receive it any more, if it did.
    pub(super) fn leave(&self, topic: &str, partition: u32) {
        let mut all = self.shared.followed.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(topic.to_owned(), partition));
    }

    pub(super) fn failure(&self) -> Option<LogError> {
        self.shared.failure.get().cloned()
    }
}

impl Shared {
    /// Says that a partition goes up to an offset.
    pub(super) fn grown(&self, topic: &str, partition: u32, end: u64) {
        let all = self.followed.read().unwrap_or_else(PoisonError::into_inner);
        let Some(followed) = all.get(&(topic.to_owned(), partition)) else { return };
        followed.wanted.fetch_max(end, Ordering::AcqRel);
        drop(all);
        *self.hinted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.hint.notify_all();
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<String, JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that an SPU is asked.
    fn attend(self: &Arc<Self>, leader: &str) -> Result<(), LogError> {
        let mut threads = self.threads();
        if threads.contains_key(leader) || self.closing.load(Ordering::Acquire) {
            return Ok(());
        }
        let (shared, address) = (self.clone(), leader.to_owned());
        let thread = std::thread::Builder::new().name("fluvio-tail".to_owned());
        let thread = thread.spawn(move || shared.receive(&address));
        let thread = thread.map_err(LogError::io("start a thread for", std::path::Path::new("Fluvio")))?;
        threads.insert(leader.to_owned(), thread);
        Ok(())
    }

    /// The partitions that an SPU leads. Those that it does not lead any more find their thread, or their leader.
    fn led_by(self: &Arc<Self>, address: &str) -> Result<Vec<Due>, LogError> {
        let all = self.followed.read().unwrap_or_else(PoisonError::into_inner);
        let (mut own, mut others, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (key, followed) in &*all {
            match self.fetcher.leaders.known(&key.0, key.1) {
                Some(leader) if leader == address => own.push((key.clone(), followed.clone())),
                Some(leader) => others.push(leader),
                None => lost.push((key.clone(), followed.clone())),
            }
        }
        drop(all);
        self.find(&lost)?;
        others.into_iter().try_for_each(|leader| self.attend(&leader))?;
        Ok(own)
    }

    fn receive(self: &Arc<Self>, address: &str) {
        let mut round = None;
        while !self.closing.load(Ordering::Acquire) {
            if let Err(error) = self.receive_some(address, &mut round) {
                let _ = self.failure.set(error);
                self.wake.call();
                return;
            }
        }
    }

    /// Receives what is new, or waits for it.
    fn receive_some(self: &Arc<Self>, address: &str, round: &mut Option<Instant>) -> Result<(), LogError> {
        let hinted = *self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        let all = round.is_none_or(|at| at.elapsed() >= ROUND);
        let mut due = self.led_by(address)?;
        due.retain(|(_, f)| all || f.wanted.load(Ordering::Acquire) > f.tail.end());
        if all {
            *round = Some(Instant::now());
        }
        if due.is_empty() {
            self.wait(hinted, ROUND);
            return Ok(());
        }
        let (mut some, mut wrong) = (false, None);
        for due in due.chunks(AT_ONCE) {
            match self.ask(address, due)? {
                Answer::Received(received) => some |= received,
                Answer::Partly(received, reason) => {
                    some |= received;
                    wrong = Some(reason);
                }
                Answer::Silent(reason) => {
                    wrong = Some(reason);
                    break;
                }
            }
        }
        if some {
            self.wake.call();
        }
        if let Some(reason) = wrong {
            tell(&reason);
            std::thread::sleep(AGAIN);
            return self.look_again(&due);
        }
        if !some && !all {
            self.wait(hinted, SOON);
        }
        Ok(())
    }

    /// Waits for a hint that was not there yet.
    fn wait(&self, seen: u64, most: Duration) {
        let hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was woken looks at everything.
        let _ = self.hint.wait_timeout_while(hinted, most, |hinted| {
            *hinted == seen && !self.closing.load(Ordering::Acquire)
        });
    }

    fn ask(&self, address: &str, due: &[Due]) -> Result<Answer, LogError> {
        let bytes = due.iter().map(|(_, f)| f.bytes.load(Ordering::Relaxed)).max().unwrap_or(FETCH_BYTES);
        let wanted = due.iter().map(|((topic, partition), f)| (&topic[..], *partition, f.tail.end()));
        let request = answer::request(wanted, bytes, self.fetcher.isolation());
        let answer: answer::Response = match self.fetcher.connections.call(address, request) {
            Ok(answer) => answer,
            Err(reason) => return Ok(Answer::Silent(reason)),
        };
        let (mut some, mut wrong) = (false, None);
        let parts = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        for (((topic, partition), followed), part) in due.iter().zip(parts) {
            let (place, end) = (Place { topic, partition: *partition }, followed.tail.end());
            if part.error_code != ErrorCode::None {
                if let Some(error) = place.refused(&part.error_code, end) {
                    return Err(error);
                }
                wrong = Some(format!("partition {partition} of {topic} at {address}: {}", part.error_code));
                continue;
            }
            let (mut gather, mut batches) = (Gather::new(*partition, MOST), Vec::new());
            let to = self.fetcher.readable(&part);
            let read = place.gather(&part.records, (end, to), &mut gather, &mut batches)?;
            batches.into_iter().chain(gather.take()).for_each(|batch| followed.tail.push(batch));
            some |= read.next > end;
            let stands = read.cut && read.next == end;
            let bytes = if stands { place.more_than(bytes, &read)? } else { FETCH_BYTES };
            followed.bytes.store(bytes, Ordering::Relaxed);
        }
        Ok(wrong.map_or(Answer::Received(some), |reason| Answer::Partly(some, reason)))
    }

    /// Asks the controller who leads partitions now. While it is away, too, the last ones are asked again.
    fn look_again(&self, due: &[Due]) -> Result<(), LogError> {
        match self.fetcher.leaders.refresh() {
            Ok(()) => self.find(due),
            Err(_) => Ok(()),
        }
    }

    /// Sees to it that partitions that are still followed have a leader, unless the controller is away.
    fn find(&self, due: &[Due]) -> Result<(), LogError> {
        for (key, _) in due {
            if let Err(error) = self.fetcher.leaders.of(&key.0, key.1) {
                let all = self.followed.read().unwrap_or_else(PoisonError::into_inner);
                if !error.is_away() && all.contains_key(key) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Tailer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.hint.notify_all();
        let threads = std::mem::take(&mut *self.shared.threads());
        for thread in threads.into_values() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
