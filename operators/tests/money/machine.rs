//! An operator with its store, as a task drives it: what was fed since the last commit is fed again after
//! a crash, and has to come out byte by byte as before.

use std::sync::Arc;
use weir_operators::deduct::Deduct;
use weir_operators::post_process::PostProcess;
use weir_operators::{Operator, Outbox, Rules};
use weir_proto::rpc::{self, command::Action};
use weir_proto::{Batch, Command, Currency, Minute, Nanos, Producer, Record, StageId, Topic};
use weir_state::{Commit, Durability, Shared, Store, TaskMeta};

/// 2026-03-27T10:00Z, a Friday. In Berlin clocks go forward on the Sunday.
pub const T0: u64 = 1_774_605_600_000;
pub const UNIT: i128 = Nanos::PER_UNIT;

#[derive(Clone, Debug)]
pub enum Input {
    Record(Vec<u8>),
    Tick(Minute),
}

/// Which output, and the record.
pub type Output = (usize, Vec<u8>);

pub struct Machine<O> {
    store: Store,
    operator: O,
    out: Outbox,
    load: fn(&Store, Minute) -> O,
    position: u64,
    now: Minute,
    /// Where it stood at the last commit.
    committed: (TaskMeta, u64, Minute),
    since: Vec<(Input, Vec<Output>)>,
    commits: u64,
    /// Last: a store that is closed when its directory is gone waits a second for it.
    _dir: tempfile::TempDir,
}

impl<O: Operator> Machine<O> {
    fn new(stage: StageId, outputs: &[Topic], now: Minute, load: fn(&Store, Minute) -> O) -> Self {
        // In memory where that can be had: a run opens hundreds of stores.
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let store = Store::open(dir.path(), &Shared::new(1 << 20)).unwrap();
        let meta = TaskMeta::new(Producer { stage, partition: 0, generation: 1 }, outputs, 1, 0);
        let (operator, out) = (load(&store, now), Outbox::resume(&meta));
        let committed = (meta, 0, now);
        Machine {
            _dir: dir,
            store,
            operator,
            out,
            load,
            position: 0,
            now,
            committed,
            since: vec![],
            commits: 0,
        }
    }

    fn fold(&mut self, input: &Input) -> Vec<Output> {
        self.position += 1;
        self.out.at(self.position);
        match input {
            Input::Record(bytes) => {
                self.operator.fold(&self.store, Record::decode(bytes).unwrap(), &mut self.out).unwrap();
            }
            Input::Tick(now) => {
                self.now = *now;
                self.operator.tick(&self.store, *now, &mut self.out).unwrap();
            }
        }
        let mut records = Vec::new();
        for batch in self.out.take() {
            let all = Batch::open(&batch.bytes).unwrap().map(Result::unwrap);
            records.extend(all.map(|record| (batch.output, record.bytes.to_vec())));
        }
        records
    }

    pub fn feed(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.fold(&input);
        self.since.push((input, outputs.clone()));
        outputs
    }

    pub fn commit(&mut self) {
        self.commits += 1;
        let mut commit = Commit::new(self.commits);
        self.operator.stage(&self.store, &mut commit).unwrap();
        self.store.commit(commit, Durability::FromLog).unwrap();
        self.out.save(&mut self.committed.0);
        (self.committed.1, self.committed.2) = (self.position, self.now);
        self.committed.0.position = self.position;
        self.since.clear();
    }

    /// All that was not committed is lost, and done again; `commit_behind` so many inputs there is a
    /// commit that there was not the first time.
    pub fn crash(&mut self, commit_behind: Option<usize>) {
        self.operator = (self.load)(&self.store, self.committed.2);
        self.out = Outbox::resume(&self.committed.0);
        (self.position, self.now) = (self.committed.1, self.committed.2);
        for (at, (input, before)) in std::mem::take(&mut self.since).into_iter().enumerate() {
            if commit_behind == Some(at) {
                self.commit();
            }
            assert_eq!(self.feed(input), before, "what came out after a crash");
        }
    }

    /// What a reader of the store sees; commits.
    pub fn store(&mut self) -> &Store {
        self.commit();
        &self.store
    }
}

pub fn deduct(now: Minute) -> Machine<Deduct> {
    let outputs = [Topic::Charges, Topic::Dropped, Topic::Answers];
    Machine::new(StageId::Deduct, &outputs, now, |store, now| {
        Deduct::load(store, Arc::new(Rules::default()), now).unwrap()
    })
}

pub fn post_process(now: Minute) -> Machine<PostProcess> {
    Machine::new(StageId::PostProcess, &[Topic::Notices], now, |store, _| PostProcess::load(store).unwrap())
}

pub fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

pub fn money(nanos: i128, code: &str) -> rpc::Money {
    Nanos(nanos).to_wire(currency(code)).unwrap()
}

pub fn command(advertiser_id: u64, key: &str, time_ms: u64, action: Action) -> rpc::Command {
    rpc::Command { key: key.to_owned(), advertiser_id, time_ms, action: Some(action) }
}

pub fn record(command: &rpc::Command) -> Input {
    Input::Record(Command::encode(command))
}
