//! Feeding operators records and looking at what they hand on.

use std::net::IpAddr;
use weir_operators::{Operator, Outbox, Rules};
use weir_proto::*;
use weir_state::{Commit, Durability, Shared, Store, TaskMeta};

pub const T0: u64 = 1_767_261_600_000;
pub const MINUTE: u64 = Minute::MILLIS;

#[derive(Clone, Debug)]
pub struct Sample {
    pub guid: String,
    pub time: u64,
    pub user: String,
    pub ip: IpAddr,
    pub ua: &'static str,
    pub ad: u64,
    pub advertiser: u64,
    pub kind: EventKind,
    pub bid: u64,
    pub billing: Billing,
}

impl Sample {
    pub fn new(guid: &str) -> Self {
        Sample {
            guid: guid.to_owned(),
            time: T0,
            user: "u1".to_owned(),
            ip: "10.0.0.1".parse().unwrap(),
            ua: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
            ad: 1,
            advertiser: 7,
            kind: EventKind::Click,
            bid: 1_000,
            billing: Billing::Cpc,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        NewEvent {
            guid: Guid::parse(&self.guid).unwrap(),
            event_time_ms: self.time,
            ingest_time_ms: self.time,
            kind: self.kind,
            user_id: &self.user,
            ip: self.ip,
            ua: self.ua,
            ad_id: self.ad,
            campaign_id: 1,
            advertiser_id: self.advertiser,
            slot: "s",
            region: "r",
            channel: "c",
            app_version: "1",
            bid_micros: self.bid,
            billing: self.billing,
            origin: None,
            reported: false,
            currency: None,
        }
        .encode(&mut out);
        out
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Dropped(&'static str),
    Charged { amount: i128, balance: i128 },
    Refused { reason: &'static str, balance: i128 },
    Notice(&'static str),
    Nothing,
}

/// An operator on a store of its own, fed one record at a time.
pub struct Bench<O> {
    _dir: tempfile::TempDir,
    pub store: Store,
    pub operator: O,
    pub out: Outbox,
    load: fn(&Store) -> O,
    commits: u64,
}

impl<O: Operator> Bench<O> {
    pub fn new(stage: StageId, outputs: &[Topic], load: fn(&Store) -> O) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Shared::new(1 << 20)).unwrap();
        let task = Producer { stage, partition: 0, generation: 1 };
        let out = Outbox::resume(&TaskMeta::new(task, outputs, 1, 0));
        Bench { operator: load(&store), _dir: dir, store, out, load, commits: 0 }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Fate {
        let record = Record::decode(bytes).unwrap();
        self.operator.fold(&self.store, record, &mut self.out).unwrap();
        let batches = self.out.take();
        assert!(batches.len() <= 1, "a record has one fate");
        batches.first().map_or(Fate::Nothing, |batch| {
            let records: Vec<_> = Batch::open(&batch.bytes).unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len(), 1, "a record has one fate");
            fate(Record::decode(records[0].bytes).unwrap())
        })
    }

    /// Opens an account, or tries to; what is said of the balance, and whether it was said before.
    pub fn open(&mut self, advertiser_id: u64, daily_budget: i128, balance: i128) -> (Option<i128>, bool) {
        let bytes = open_account(advertiser_id, daily_budget, balance);
        self.operator.fold(&self.store, Record::decode(&bytes).unwrap(), &mut self.out).unwrap();
        let (mut brought, mut is_repeated) = (None, false);
        for batch in self.out.take() {
            for record in Batch::open(&batch.bytes).unwrap() {
                match Record::decode(record.unwrap().bytes).unwrap() {
                    Record::Charge(c) if c.kind == EntryKind::BroughtForward => {
                        assert_eq!(c.amount.0, -c.balance_after.0);
                        brought = Some(c.balance_after.0);
                    }
                    Record::Answer(answer) => is_repeated = answer.is_repeated,
                    other => panic!("{other:?}"),
                }
            }
        }
        (brought, is_repeated)
    }

    pub fn event(&mut self, sample: &Sample) -> Fate {
        self.feed(&sample.bytes())
    }

    pub fn tick(&mut self, minute: u32) {
        self.operator.tick(&self.store, Minute(minute), &mut self.out).unwrap();
    }

    pub fn commit(&mut self) {
        self.commits += 1;
        let mut commit = Commit::new(self.commits);
        self.operator.stage(&self.store, &mut commit).unwrap();
        self.store.commit(commit, Durability::Process).unwrap();
    }

    /// Commits, and loads the operator from what is on disk.
    pub fn restart(&mut self) {
        self.commit();
        self.operator = (self.load)(&self.store);
    }
}

fn fate(record: Record<'_>) -> Fate {
    match record {
        Record::Event(_) => Fate::Passed,
        Record::Dropped(d) => Fate::Dropped(d.reason.name()),
        Record::Charge(c) => match c.outcome {
            Outcome::Charged => Fate::Charged { amount: c.amount.0, balance: c.balance_after.0 },
            Outcome::Refused(r) => Fate::Refused { reason: r.name(), balance: c.balance_after.0 },
        },
        Record::Notice(n) => Fate::Notice(n.kind.name()),
        other => panic!("{other:?}"),
    }
}

/// The command of an accounts file's line, with amounts in nanos.
fn open_account(advertiser_id: u64, daily_budget: i128, balance: i128) -> Vec<u8> {
    let money = |amount| Some(Nanos(amount).to_wire(Currency::default()).unwrap());
    let open = rpc::OpenAccount {
        balance: money(balance),
        daily_budget: money(daily_budget),
        brought_forward: true,
        ..rpc::OpenAccount::default()
    };
    let key = Command::ACCOUNTS_FILE.to_owned();
    let action = Some(rpc::command::Action::Open(open));
    Command::encode(&rpc::Command { key, advertiser_id, time_ms: 0, action })
}

pub fn rules() -> Rules {
    Rules::default()
}
