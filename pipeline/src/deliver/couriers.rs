//! The threads that wait for the account system, so that no thread of the scheduler ever does.

use super::http::Client;
use super::message::Line;
use super::replies::{Inbox, TakeIn, heed};
use super::split::{Answer, settle};
use crate::config::Deliver;
use crate::error::JobError;
use crate::source::collect::now_ms;
use crate::switches::Switch;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Requests under way, at most.
const THREADS: usize = 2;

type Wake = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// Where the answers to a batch come in: one for each line, and when, in ms since the epoch.
#[derive(Debug, Default)]
pub struct Reply(Mutex<Option<(Vec<Answer>, u64)>>);

impl Reply {
    /// Whether they are there.
    pub fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes them.
    pub fn take(&self) -> Option<(Vec<Answer>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, answers: Vec<Answer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((answers, now_ms()));
    }
}

struct Order {
    lines: Vec<Line>,
    reply: Arc<Reply>,
}

/// Takes batches to the account system. Each task has at most one under way, which bounds what waits here.
#[derive(Clone)]
pub struct Couriers {
    orders: Sender<Order>,
    wake: Wake,
    inbox: Arc<Inbox>,
}

impl Couriers {
    /// Starts the threads. They end by themselves when no task is left; nobody waits for them, as a
    /// request may hang, and what it carries is sent again at the next start.
    pub fn start(options: &Deliver, switch: &Arc<Switch>) -> Result<Self, JobError> {
        let (orders, waiting) = channel();
        let (waiting, client) = (Arc::new(Mutex::new(waiting)), Arc::new(Client::new(options)));
        let (wake, inbox) = (Wake::default(), Arc::<Inbox>::default());
        for _ in 0..THREADS {
            let (waiting, client) = (waiting.clone(), client.clone());
            let (wake, inbox, switch) = (wake.clone(), inbox.clone(), switch.clone());
            std::thread::Builder::new()
                .name("deliver".to_owned())
                .spawn(move || carry(&waiting, &client, &switch, &wake, &inbox))
                .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))?;
        }
        Ok(Couriers { orders, wake, inbox })
    }

    /// Calls `wake` whenever an answer has come.
    pub fn on_answer(&self, wake: impl Fn() + Send + Sync + 'static) {
        // Only the job asks for it, once.
        let _ = self.wake.set(Box::new(wake));
    }

    /// Takes in what the account system says of single records.
    pub fn on_reply(&self, take_in: TakeIn) {
        // Only the job asks for it, once.
        let _ = self.inbox.set(take_in);
    }

    /// Has a batch carried.
    pub fn send(&self, lines: Vec<Line>) -> Arc<Reply> {
        let reply = Arc::new(Reply::default());
        // The threads live as long as there is someone to send.
        let _ = self.orders.send(Order { lines, reply: reply.clone() });
        reply
    }
}

fn carry(waiting: &Mutex<Receiver<Order>>, client: &Client, switch: &Switch, wake: &Wake, inbox: &Inbox) {
    loop {
        let order = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { lines, reply }) = order else { return };
        let mut said = Vec::new();
        let mut answers = settle(&lines, &mut |part| {
            let (answer, replies) = client.post(part);
            said.extend(replies);
            answer
        });
        judge(switch, &answers);
        heed(&lines, &mut answers, &said, inbox);
        reply.put(answers);
        if let Some(wake) = wake.get() {
            wake();
        }
    }
}

/// Tells the switch whether the account system works: what it says of single records does not count. One that is slow
/// runs into the timeout of requests, which is a failure.
fn judge(switch: &Switch, answers: &[Answer]) {
    match answers.iter().find(|answer| !matches!(answer, Answer::Failed(_))).or(answers.first()) {
        Some(Answer::Failed(reason)) => switch.failed(reason),
        _ => switch.worked(),
    }
}
