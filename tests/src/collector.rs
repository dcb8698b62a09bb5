//! A client of ingest that goes on whatever happens: it sends events over several connections of HTTP and gRPC, sends
//! again what was not answered, repeats some of the rest on purpose, and keeps its own list.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ad::Ad;
use crate::doors::{Answer, Door, GrpcDoor, HttpDoor};
use crate::list::{List, Sent};
use crate::process::LIMIT;
use crate::scratch::Rng;

/// Events of a worker are numbered from a multiple of this on.
const NUMBERS: u32 = 400_000;
/// One accepted event in so many is sent again.
const REPEAT_EVERY: u64 = 16;
/// How long to wait before what was lost is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// How much is sent, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections of HTTP.
    pub http: u32,
    /// Streams of gRPC.
    pub grpc: u32,
    /// Events a request.
    pub batch: usize,
    /// The rest between two requests of a connection.
    pub rest: Duration,
    /// How long at most to wait when told to try again later.
    pub patience: Duration,
    /// The first of its connections is number so many of the test, if there is another client.
    pub first: u32,
    /// A bearer token.
    pub token: Option<String>,
    /// Whether some of what was accepted is sent again.
    pub repeats: bool,
}

impl Default for Load {
    fn default() -> Self {
        let (rest, patience) = (Duration::from_millis(10), Duration::from_secs(10));
        Self { http: 3, grpc: 2, batch: 50, rest, patience, first: 0, token: None, repeats: true }
    }
}

#[derive(Default)]
struct Shared {
    is_ending: AtomicBool,
    acknowledged: AtomicUsize,
    offered: AtomicUsize,
    rejected: Mutex<BTreeMap<String, usize>>,
    lost: Mutex<BTreeMap<String, usize>>,
    odd: Mutex<Vec<String>>,
}

/// A client at work.
pub struct Collector {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Vec<Sent>>>,
}

impl Collector {
    /// Starts to send to the ports of HTTP and gRPC.
    pub fn start((http, grpc): (u16, u16), load: Load) -> Self {
        let shared = Arc::<Shared>::default();
        let token = || load.token.clone();
        let doors = (0..load.http).map(|n| Box::new(HttpDoor::new(http, token(), n)) as Box<dyn Door>);
        let doors =
            doors.chain((0..load.grpc).map(|_| Box::new(GrpcDoor::new(grpc, token())) as Box<dyn Door>));
        let work = |(number, door): (u32, Box<dyn Door>)| {
            let worker = Worker {
                door,
                load: load.clone(),
                shared: shared.clone(),
                numbers: number * NUMBERS..(number + 1) * NUMBERS,
                sent: Vec::new(),
                again: VecDeque::new(),
                rng: Rng::new(number.into()),
            };
            std::thread::spawn(move || worker.run())
        };
        let workers = (load.first..).zip(doors).map(work).collect();
        Self { shared, workers }
    }

    /// Answers so far that an event is on disk.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Acquire)
    }

    /// Events in all requests so far.
    pub fn offered(&self) -> usize {
        self.shared.offered.load(Ordering::Acquire)
    }

    /// Waits until so many more events were acknowledged.
    #[track_caller]
    pub fn wait_for(&self, more: usize) {
        let (before, deadline) = (self.acknowledged(), Instant::now() + LIMIT);
        while self.acknowledged() < before + more {
            assert!(
                Instant::now() < deadline,
                "no {more} events were acknowledged in {LIMIT:?}: {:?}",
                self.shared.lost
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How often a status was answered that means that nothing was taken in.
    pub fn rejected(&self, status: &str) -> usize {
        self.shared.rejected.lock().unwrap().get(status).copied().unwrap_or(0)
    }

    /// Sends nothing new any more, and all that was not answered until it is.
    #[track_caller]
    pub fn finish(self) -> List {
        self.shared.is_ending.store(true, Ordering::Release);
        let sent = self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        List {
            sent,
            offered: self.shared.offered.load(Ordering::Acquire),
            rejected: std::mem::take(&mut *self.shared.rejected.lock().unwrap()),
            lost: std::mem::take(&mut *self.shared.lost.lock().unwrap()),
            odd: std::mem::take(&mut *self.shared.odd.lock().unwrap()),
        }
    }
}

/// What sends over one connection after the other.
struct Worker {
    door: Box<dyn Door>,
    load: Load,
    shared: Arc<Shared>,
    /// Those of its events to come.
    numbers: Range<u32>,
    sent: Vec<Sent>,
    /// What is to be sent again.
    again: VecDeque<usize>,
    rng: Rng,
}

impl Worker {
    fn run(mut self) -> Vec<Sent> {
        let mut ended = None;
        loop {
            let is_ending = self.shared.is_ending.load(Ordering::Acquire);
            if is_ending && self.again.is_empty() {
                return self.sent;
            }
            let since = *ended.get_or_insert_with(Instant::now);
            if !is_ending {
                ended = None;
            }
            assert!(since.elapsed() < LIMIT, "{} events are not answered", self.again.len());
            self.turn(is_ending);
            if !is_ending {
                std::thread::sleep(self.load.rest);
            }
        }
    }

    fn turn(&mut self, is_ending: bool) {
        let batches: Vec<Vec<usize>> = (0..self.door.width()).map(|_| self.batch(is_ending)).collect();
        let ads: Vec<Vec<Ad>> =
            batches.iter().map(|batch| batch.iter().map(|at| self.sent[*at].ad()).collect()).collect();
        self.shared.offered.fetch_add(batches.iter().map(Vec::len).sum(), Ordering::AcqRel);
        let mut wait = Duration::ZERO;
        for (batch, answer) in batches.iter().zip(self.door.send(&ads)) {
            wait = wait.max(self.answered(batch, answer));
        }
        std::thread::sleep(wait);
    }

    /// What was not answered comes first.
    fn batch(&mut self, is_ending: bool) -> Vec<usize> {
        let again = self.load.batch.min(self.again.len());
        let mut batch: Vec<usize> = self.again.drain(..again).collect();
        while !is_ending && batch.len() < self.load.batch {
            batch.push(self.sent.len());
            self.sent.push(Sent::new(self.numbers.next().unwrap()));
        }
        batch
    }

    /// Writes an answer down; how long to wait for the next try.
    fn answered(&mut self, batch: &[usize], answer: Answer) -> Duration {
        let wait = match answer {
            Answer::Told(told) => {
                assert_eq!(told.len(), batch.len(), "an answer for each event");
                for (at, told) in batch.iter().zip(told) {
                    let sent = &mut self.sent[*at];
                    let is_first = !sent.is_acknowledged();
                    sent.told(&told);
                    if sent.is_acknowledged() {
                        self.shared.acknowledged.fetch_add(1, Ordering::AcqRel);
                        if self.load.repeats && is_first && self.rng.bits().is_multiple_of(REPEAT_EVERY) {
                            self.again.push_back(*at);
                        }
                    }
                }
                return Duration::ZERO;
            }
            Answer::Rejected { status, retry_after } => {
                if retry_after.is_none() {
                    self.shared.odd.lock().unwrap().push(format!("{status} does not say when to try again"));
                }
                *self.shared.rejected.lock().unwrap().entry(status).or_default() += 1;
                retry_after.unwrap_or(AGAIN).min(self.load.patience)
            }
            Answer::Behind => {
                batch.iter().for_each(|at| self.sent[*at].unanswered());
                AGAIN
            }
            Answer::Lost(why) => {
                *self.shared.lost.lock().unwrap().entry(why).or_default() += 1;
                batch.iter().for_each(|at| self.sent[*at].unanswered());
                AGAIN
            }
            Answer::Odd(why) => {
                self.shared.odd.lock().unwrap().push(why);
                AGAIN
            }
        };
        self.again.extend(batch);
        wait
    }
}
