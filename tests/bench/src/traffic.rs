//! Lines of a generated log, as one partition of sixteen sees them.

use weir_operators::collect::{Collect, Piece, PlacedLine, TimeSource};
use weir_operators::{Outbox, Rules, accounts};
use weir_pipeline::r#gen::{GenArgs, generate};
use weir_proto::{Batch, BatchBuilder, Buffer, Command, Minute, Producer, StageId};
use weir_state::TaskMeta;

/// Partitions of every topic.
pub const PARTITIONS: usize = 16;
/// Records of a turn.
pub const TURN: usize = 4096;

/// A generated log and the accounts that pay for it.
pub struct Traffic {
    pub lines: Vec<Vec<u8>>,
    pub accounts: String,
}

impl Traffic {
    /// Lines for so many turns, the same each time.
    pub fn generate(turns: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        generate(&args(dir.path().to_owned(), turns * TURN)).unwrap();
        let text = std::fs::read(dir.path().join("events-0.ndjson")).unwrap();
        let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
        Traffic { lines, accounts: std::fs::read_to_string(dir.path().join("accounts.csv")).unwrap() }
    }

    /// The lines with their places.
    pub fn placed(&self) -> Vec<PlacedLine<'_>> {
        self.lines.iter().enumerate().map(|(at, line)| (at as u64, &line[..])).collect()
    }

    /// The records of `raw`, all in one partition.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
        let mut out = Outbox::resume(&TaskMeta::new(task, weir_pipeline::flow::COLLECT_WRITES, 1, 0));
        collect(&mut Collect::default(), &self.placed(), &mut out);
        let batches = out.take();
        batches.iter().filter(|b| b.output == weir_operators::MAIN).flat_map(|b| records(&b.bytes)).collect()
    }

    /// The commands that open the accounts.
    pub fn commands(&self) -> Vec<Vec<u8>> {
        accounts::parse(&self.accounts).unwrap().iter().map(|(_, command)| Command::encode(command)).collect()
    }
}

/// Takes lines in as the job does, with the ticks between them.
pub fn collect(collect: &mut Collect, mut lines: &[PlacedLine<'_>], out: &mut Outbox) {
    let rules = Rules::default();
    while !lines.is_empty() {
        let taken = collect.slice(Piece::whole(lines), TimeSource::Events, 0, &rules, out);
        lines = &lines[taken.lines..];
        if let (Some((position, _)), true) = (lines.first(), collect.tick_is_due()) {
            collect.tick(Minute::of_ms(collect.clock.0), *position, out);
        }
    }
}

/// The records of a batch.
pub fn records(batch: &[u8]) -> Vec<Vec<u8>> {
    Batch::open(batch).unwrap().map(|record| record.unwrap().bytes.to_vec()).collect()
}

/// A batch of records.
pub fn batch_of(records: &[Vec<u8>]) -> Buffer {
    let mut builder = BatchBuilder::default();
    for (at, record) in records.iter().enumerate() {
        builder.push(weir_proto::Provenance { position: at as u64, index: 0 }, &[record]);
    }
    builder.take()
}

fn args(out: std::path::PathBuf, events: usize) -> GenArgs {
    GenArgs {
        out,
        events: events as u64,
        seed: 42,
        users: 1_000_000 / PARTITIONS as u32,
        advertisers: 20_000 / PARTITIONS as u32,
        hot_share: None,
        duplicate_rate: 0.02,
        fraud_rate: 0.05,
        bot_rate: 0.03,
        malformed_rate: 0.001,
        rate: 5_000.0 / PARTITIONS as f64,
        disorder: 5.0,
        files: 1,
        start_ms: 1_767_261_600_000,
        follow: false,
        force: false,
    }
}
