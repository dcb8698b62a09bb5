//! Where an operator's outputs go: batches per topic and partition, with provenance, running
//! numbers and the digest.
//!
//! The digest of a topic is the sum, modulo 2^128, of the XXH3-128 of each record times an odd number
//! made from its partition, running number and provenance. It does not depend on how records fell
//! into batches, and two tasks that appended the same records at the same places have the same digest.

use crate::partition;
use weir_proto::{BatchBuilder, Buffer, Charge, DropReason, Dropped, Event, Minute, Outcome, Producer};
use weir_proto::{Provenance, Record};
use weir_state::{OutputMeta, Tally, TaskMeta};
use xxhash_rust::xxh3::xxh3_128;

/// The output that carries what is handed on; every stage declares it first.
pub const MAIN: usize = 0;
/// The output that carries what is dropped, of stages that drop.
pub const DROPPED: usize = 1;

/// The output that carries what was decided about commands, of deduct.
pub const ANSWERS: usize = 2;

/// Records of one task for one partition, to be appended as one batch.
pub struct OutBatch {
    /// Which of the stage's outputs.
    pub output: usize,
    /// Which partition of it.
    pub partition: u32,
    /// The running number of the first record.
    pub first_seq: u64,
    /// How many records.
    pub count: u32,
    /// The provenance of the last record.
    pub last: Provenance,
    /// The batch.
    pub bytes: Buffer,
}

struct Output {
    batches: Vec<BatchBuilder>,
    first_seq: Vec<u64>,
    meta: OutputMeta,
}

/// Collects the outputs of a task.
pub struct Outbox {
    task: Producer,
    at: Provenance,
    outputs: Vec<Output>,
    tally: Tally,
    scratch: Vec<u8>,
}

impl Outbox {
    /// Goes on where a task stands.
    pub fn resume(meta: &TaskMeta) -> Self {
        let output = |meta: &OutputMeta| Output {
            batches: meta.next_seq.iter().map(|_| BatchBuilder::default()).collect(),
            first_seq: meta.next_seq.clone(),
            meta: meta.clone(),
        };
        Outbox {
            task: meta.task,
            at: Provenance { position: meta.position, index: meta.index },
            outputs: meta.outputs.iter().map(|(_, m)| output(m)).collect(),
            tally: meta.tally.clone(),
            scratch: Vec::new(),
        }
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.outputs[MAIN].batches.len() as u32
    }

    /// What follows comes from the input record at this position. Records that share a position, as
    /// they do where a recorded order is followed, go on counting.
    pub fn at(&mut self, position: u64) {
        if position != self.at.position {
            self.at = Provenance { position, index: 0 };
        }
    }

    /// Counts a record taken in.
    pub fn taken(&mut self) {
        self.tally.taken += 1;
    }

    /// Counts an outcome.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.tally.outcomes[usize::from(outcome.code())] += 1;
    }

    /// Hands a record on, given in parts.
    pub fn emit(&mut self, partition: u32, parts: &[&[u8]]) {
        self.tally.emitted += 1;
        self.push(MAIN, partition, parts);
    }

    /// Hands an outcome on, by advertiser.
    pub fn charge(&mut self, charge: &Charge<'_>) {
        let (fixed, [guid, original]) = charge.encode();
        let to = partition::by_advertiser(charge.advertiser_id, self.partitions());
        self.emit(to, &[&fixed, guid.as_bytes(), original.as_bytes()]);
    }

    /// Answers a command, by advertiser.
    pub fn answer(&mut self, advertiser_id: u64, parts: &[&[u8]]) {
        let to = partition::by_advertiser(advertiser_id, self.partitions());
        self.push(ANSWERS, to, parts);
    }

    /// Drops an event for a reason.
    pub fn drop_event(&mut self, reason: DropReason, event: Event<'_>) {
        self.drop_record(&Dropped::event(self.task.stage, reason, event));
    }

    /// Drops what the record says.
    pub fn drop_record(&mut self, dropped: &Dropped<'_>) {
        self.tally.dropped[dropped.reason as usize] += 1;
        let (fixed, [detail, raw, event]) = dropped.encode();
        // A source reads no partition: it spreads what it drops.
        let partition = match u32::from(self.task.partition) {
            p if p < self.partitions() => p,
            _ => 0,
        };
        self.push(DROPPED, partition, &[&fixed, detail, raw, event]);
    }

    /// Hands a tick on to every partition of every output.
    pub fn tick(&mut self, minute: Minute) {
        for output in 0..self.outputs.len() {
            for partition in 0..self.partitions() {
                self.push(output, partition, &[&Record::encode_tick(minute)]);
            }
        }
    }

    /// A buffer to build a record in; give it back with [`Outbox::put_scratch`].
    pub fn take_scratch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch)
    }

    /// Gives the buffer back.
    pub fn put_scratch(&mut self, scratch: Vec<u8>) {
        self.scratch = scratch;
    }

    fn push(&mut self, output: usize, partition: u32, parts: &[&[u8]]) {
        let Output { batches, meta, .. } = &mut self.outputs[output];
        let record = batches[partition as usize].push(self.at, parts);
        let seq = &mut meta.next_seq[partition as usize];
        meta.digest = meta.digest.wrapping_add(digest_of(record, partition, *seq, self.at));
        *seq += 1;
        self.at.index += 1;
    }

    /// Takes the collected batches.
    pub fn take(&mut self) -> Vec<OutBatch> {
        let mut out = Vec::new();
        for (output, o) in self.outputs.iter_mut().enumerate() {
            for (partition, batch) in o.batches.iter_mut().enumerate().filter(|(_, b)| b.count() > 0) {
                let (count, last) = (batch.count(), batch.last());
                let first_seq = std::mem::replace(&mut o.first_seq[partition], o.meta.next_seq[partition]);
                let bytes = batch.take();
                out.push(OutBatch { output, partition: partition as u32, first_seq, count, last, bytes });
            }
        }
        out
    }

    /// The tally so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Writes running numbers, digests and tally into the task's position. The end offsets of the
    /// topics are the task loop's to fill in.
    pub fn save(&self, meta: &mut TaskMeta) {
        for ((_, saved), output) in meta.outputs.iter_mut().zip(&self.outputs) {
            saved.next_seq.clone_from(&output.meta.next_seq);
            saved.digest = output.meta.digest;
        }
        meta.tally.clone_from(&self.tally);
        meta.index = if self.at.position == meta.position { self.at.index } else { 0 };
    }
}

/// What a record at its place adds to the digest of its topic.
pub fn digest_of(record: &[u8], partition: u32, seq: u64, from: Provenance) -> u128 {
    let place = [seq, u64::from(partition), from.position, u64::from(from.index)];
    xxh3_128(record).wrapping_mul(weight(place))
}

fn weight(place: [u64; 4]) -> u128 {
    let mix = |h: u64, n: &u64| (h ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    u128::from(place.iter().fold(0, mix)) << 1 | 1
}
