//! Appending, in order and without gaps. Of each partition one stretch is under way at a time, as one part of one request; it
//! counts when all replicas have it. Until then it is sent again, and what follows it waits, so that whatever was lost of an
//! answer or a request, a partition has nothing of a producer before it has all that comes before that.

use super::answer::Place;
use super::calls::tell;
use super::fetch::{Fetcher, UNSETTLED};
use super::options::FluvioOptions;
use super::queues::{Job, Key, Part, Pending, Queues};
use super::{record, tail};
use crate::log::remote::Deliveries;
use crate::log::{LogError, NewBatch};
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::RecordSet;
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::produce::{
    DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest, PartitionProduceResponse,
    ProduceResponse,
};
use metrics::counter;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use weir_proto::TopicId;

pub(crate) const RESENT: &str = "weir_fluvio_resent_batches_total";

/// How many SPUs are sent to at once.
const THREADS: usize = 6;
/// How long what is under way has to get there when the log is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// Appends to topics.
pub(super) struct Appender {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queues: Queues,
    fetcher: Arc<Fetcher>,
    deliveries: Arc<Deliveries>,
    tails: Arc<tail::Shared>,
    timeout: Duration,
}

impl Appender {
    pub(super) fn open(
        options: &FluvioOptions,
        fetcher: Arc<Fetcher>,
        deliveries: Arc<Deliveries>,
        tails: Arc<tail::Shared>,
    ) -> Result<Self, LogError> {
        let (queues, timeout) = (Queues::default(), options.timeout);
        let shared = Arc::new(Shared { queues, fetcher, deliveries, tails, timeout });
        let threads = (0..THREADS).map(|_| {
            let sending = shared.clone();
            let thread = std::thread::Builder::new().name("fluvio-append".to_owned());
            thread.spawn(move || sending.send_all())
        });
        let threads = threads.collect::<Result<_, _>>();
        let threads = threads.map_err(LogError::io("start a thread for", std::path::Path::new("Fluvio")))?;
        Ok(Appender { shared, threads })
    }

    /// Sends a batch; its ticket.
    pub(super) fn append(
        &self,
        id: TopicId,
        topic: &str,
        partition: u32,
        batch: &NewBatch,
    ) -> Result<u64, LogError> {
        let batches = record::encode(batch)?;
        self.shared.queues.wait_for_room(|| self.shared.deliveries.failure())?;
        let (ticket, name) = self.shared.deliveries.begin(id, partition);
        self.shared.queues.push((topic.to_owned(), partition), Pending::new(name, batches));
        Ok(ticket)
    }
}

impl Shared {
    fn send_all(&self) {
        while let Some(job) = self.queues.take(&self.fetcher.leaders) {
            match job {
                Job::Look(key) => match self.fetcher.leaders.of(&key.0, key.1) {
                    Ok(_) => self.queues.found(&key),
                    Err(error) => self.settle(key, Vec::new(), Err(error)),
                },
                Job::Send { leader, parts } => self.send(&leader, parts),
            }
        }
    }

    fn send(&self, leader: &str, parts: Vec<Part>) {
        let (parts, waiting) = self.without_unsettled(leader, parts);
        let answer = match parts.is_empty() {
            true => Ok(ProduceResponse::default()),
            false => self.fetcher.connections.call(leader, self.request(&parts)),
        };
        let away = |reason: &str, topic: &str| LogError::FluvioAway {
            what: "append to",
            topic: Some(topic.to_owned()),
            reason: reason.to_owned(),
        };
        let mut answers = answer.map(|a| a.responses.into_iter().flat_map(|topic| topic.partitions));
        let mut results = Vec::new();
        for part in parts {
            let result = match &mut answers {
                Err(reason) => Err(away(reason, &part.key.0)),
                Ok(answers) => match answers.next() {
                    Some(answer) => self.take_answer(&part, &answer),
                    None => Err(away("its leader says nothing of it", &part.key.0)),
                },
            };
            results.push((part, result));
        }
        results.extend(waiting.into_iter().map(|(part, reason)| {
            let error = away(&reason, &part.key.0);
            (part, Err(error))
        }));
        // Who leads what is asked before anything is sent again.
        if results.iter().any(|(_, result)| result.is_err()) {
            let _ = self.fetcher.leaders.refresh();
        }
        self.queues.free(leader);
        results.into_iter().for_each(|(part, result)| self.settle(part.key, part.batches, result));
    }

    /// What was sent before and is written without being acknowledged is not sent again before it is: else each try would
    /// make the partition longer while a replica is away.
    fn without_unsettled(&self, leader: &str, parts: Vec<Part>) -> (Vec<Part>, Vec<(Part, String)>) {
        let (mut now, mut waiting) = (Vec::new(), Vec::new());
        // Of an SPU that does not answer nothing more is asked: each time is a long one.
        let mut silent: Option<String> = None;
        for part in parts {
            let place = Place { topic: &part.key.0, partition: part.key.1 };
            match &silent {
                _ if part.tries == 0 => now.push(part),
                Some(reason) => waiting.push((part, reason.clone())),
                None => match self.fetcher.settled(leader, place) {
                    Ok(true) => {
                        counter!(RESENT).increment(part.batches.len() as u64);
                        now.push(part);
                    }
                    Ok(false) => waiting.push((part, UNSETTLED.to_owned())),
                    Err(reason) => {
                        silent = Some(reason.clone());
                        waiting.push((part, reason));
                    }
                },
            }
        }
        (now, waiting)
    }

    fn request(&self, parts: &[Part]) -> DefaultProduceRequest {
        let topics = parts.iter().map(|Part { key: (topic, partition), batches, .. }| {
            let batches = batches.iter().flat_map(|pending| pending.batches.iter().cloned()).collect();
            let partition =
                DefaultPartitionRequest { partition_index: *partition, records: RecordSet { batches } };
            DefaultTopicRequest { name: topic.clone(), partitions: vec![partition], ..Default::default() }
        });
        DefaultProduceRequest {
            isolation: Isolation::ReadCommitted,
            // Of each partition; it should answer before nobody waits any more.
            timeout: self.timeout / 2,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    /// Tells of what has got there.
    fn take_answer(&self, part: &Part, answer: &PartitionProduceResponse) -> Result<(), LogError> {
        let (what, topic) = ("append to", Some(part.key.0.clone()));
        match &answer.error_code {
            ErrorCode::None => {
                let mut end = answer.base_offset.unsigned_abs();
                for pending in &part.batches {
                    end += pending.records;
                    self.deliveries.delivered(pending.name, end);
                }
                self.tails.grown(&part.key.0, part.key.1, end);
                Ok(())
            }
            code @ (ErrorCode::MessageTooLarge
            | ErrorCode::PermissionDenied
            | ErrorCode::CompressionError) => Err(LogError::Fluvio { what, topic, reason: code.to_string() }),
            code => Err(LogError::FluvioAway { what, topic, reason: code.to_string() }),
        }
    }

    /// A stretch is done with, is to be sent again, or can never be sent.
    fn settle(&self, key: Key, batches: Vec<Pending>, result: Result<(), LogError>) {
        match result {
            Ok(()) => self.queues.done(&key, &batches),
            Err(error) if error.is_away() => {
                tell(&error.to_string());
                self.queues.again(&key, batches);
            }
            Err(error) => {
                self.queues.close(Duration::ZERO);
                self.deliveries.failed(error);
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        // What is not there by then is appended again by the next start.
        self.shared.queues.close(CLOSING);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
