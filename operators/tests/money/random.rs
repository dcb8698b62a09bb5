//! Random runs against the ledger.

use crate::asked::asked;
use crate::ledger::Ledger;
use crate::machine::{Input, Machine, Output, UNIT, command, deduct, money, post_process, record};
use crate::steps::{CODES, Made, Step, ZONES, step};
use proptest::test_runner::{Config, TestRunner};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_operators::deduct::{Deduct, accounts};
use weir_operators::post_process::{PostProcess, ledger};
use weir_proto::rpc::command::Action;
use weir_proto::{Command, Minute, Record, rpc};

const CASES: u32 = 220;
const STEPS: std::ops::Range<usize> = 920..1_000;

struct Run {
    deduct: Machine<Deduct>,
    post: Machine<PostProcess>,
    ledger: Ledger,
    events: Vec<Made>,
    commands: Vec<rpc::Command>,
}

impl Run {
    /// Three accounts opened by command, one by the accounts file; the fifth is not open yet.
    fn new(start: Minute) -> Self {
        let ledger = Ledger { now: start, ..Ledger::default() };
        let (deduct, post) = (deduct(start), post_process(start));
        let mut run = Run { deduct, post, ledger, events: vec![], commands: vec![] };
        let file = rpc::OpenAccount {
            balance: Some(money(90 * UNIT, CODES[3])),
            daily_budget: Some(money(30 * UNIT, CODES[3])),
            brought_forward: true,
            ..rpc::OpenAccount::default()
        };
        run.command(command(4, Command::ACCOUNTS_FILE, 0, Action::Open(file)));
        for advertiser in 1..4 {
            let (code, zone) = (CODES[advertiser - 1], ZONES[advertiser - 1].to_owned());
            let open = rpc::OpenAccount {
                balance: Some(money(60 * UNIT, code)),
                time_zone: zone,
                daily_budget: (advertiser == 2).then(|| money(25 * UNIT, code)),
                credit_line: (advertiser == 3).then(|| money(UNIT, code)),
                low_balance: vec![money(20 * UNIT, code), money(UNIT, code)],
                brought_forward: false,
            };
            run.command(command(advertiser as u64, "open", start.start_ms(), Action::Open(open)));
        }
        run
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.deduct.feed(input);
        for (_, bytes) in &outputs {
            if let Record::Charge(charge) = Record::decode(bytes).unwrap() {
                let notices = self.post.feed(Input::Record(bytes.clone()));
                assert_eq!(notices.len(), charge.crossings.0.count_ones() as usize, "{charge:?}");
            }
        }
        outputs
    }

    fn event(&mut self, made: Made) {
        let bytes = made.bytes();
        let outputs = self.feed(Input::Record(bytes.clone()));
        let Record::Event(event) = Record::decode(&bytes).unwrap() else { panic!() };
        self.ledger.event(&event, &outputs);
        self.events.push(made);
    }

    fn command(&mut self, command: rpc::Command) {
        let outputs = self.feed(record(&command));
        self.ledger.command(&command, &outputs);
        self.commands.push(command);
    }

    fn again(&mut self, pick: u16, other: bool) {
        if pick.is_multiple_of(2) && !self.events.is_empty() {
            let mut made = self.events[usize::from(pick) % self.events.len()].clone();
            made.bid += u64::from(other);
            self.event(made);
        } else {
            let mut command = self.commands[usize::from(pick) % self.commands.len()].clone();
            command.time_ms = self.ledger.now.start_ms();
            if other {
                command.action = Some(Action::TopUp(money(UNIT + i128::from(pick), "EUR")));
            }
            self.command(command);
        }
    }

    fn step(&mut self, number: usize, step: &Step) {
        match step {
            Step::Event { .. } => self.event(Made::of(step, &self.ledger).unwrap()),
            Step::Command { .. } => self.command(asked(step, &format!("k{number}"), &self.ledger).unwrap()),
            Step::Again { pick, other } => self.again(*pick, *other),
            Step::Tick { minutes, crash } => {
                let now = Minute(self.ledger.now.0 + minutes);
                let outputs = self.feed(Input::Tick(now));
                if *crash {
                    self.crash(None);
                }
                self.ledger.tick(now, &outputs);
                // A tick ends its turn.
                self.deduct.commit();
            }
            Step::Commit => self.check_stores(),
            Step::Crash { commit } => self.crash(*commit),
        }
    }

    fn crash(&mut self, commit: Option<usize>) {
        self.deduct.crash(commit);
        self.post.crash(commit);
    }

    /// What is on disk is what the ledger says.
    fn check_stores(&mut self) {
        let held = accounts(self.deduct.store()).unwrap();
        let balances = held.iter().map(|(id, a)| (*id, a.balance)).collect();
        let expected = self.ledger.accounts.iter().map(|(id, a)| (*id, a.balance));
        assert_eq!(expected.collect::<std::collections::BTreeMap<_, _>>(), balances);
        for (id, account) in &held {
            assert_eq!(account.arrears, self.ledger.arrears(*id), "arrears of {id}");
        }
        let books = ledger(self.post.store()).unwrap();
        assert_eq!(books.len(), self.ledger.books.len());
        for (id, (net, lost, refused)) in &self.ledger.books {
            // However the books sort what was moved, it nets to the sum of the charges.
            let entry = serde_json::to_value(&books[id]).unwrap();
            let sum = |name: &str| i128::from(entry[name].as_i64().unwrap_or(0));
            let gained = sum("opened") + sum("deposited") + sum("credited");
            let moved = sum("charged") + sum("withdrawn") - gained;
            assert_eq!((moved, sum("lost")), (*net, *lost), "advertiser {id}: {entry}");
            let by_reason = entry["refused"].as_array().unwrap().iter();
            assert_eq!(by_reason.map(|n| n.as_u64().unwrap()).sum::<u64>(), *refused);
        }
    }
}

/// Friday before clocks go forward in Berlin and before they go back; the same in New York.
const STARTS: [&str; 4] =
    ["2026-03-27T10:00Z", "2026-10-23T21:30Z", "2026-03-06T04:10Z", "2026-10-30T23:59Z"];

#[test]
fn no_nano_is_lost_or_made_whatever_comes_in_whatever_order() {
    let operations = AtomicUsize::new(0);
    let config = Config { failure_persistence: None, max_shrink_iters: 600, ..Config::with_cases(CASES) };
    let runs = (0..STARTS.len(), proptest::collection::vec(step(), STEPS));
    let result = TestRunner::new(config).run(&runs, |(start, steps)| {
        let mut run = Run::new(STARTS[start].parse().unwrap());
        for (number, step) in steps.iter().enumerate() {
            run.step(number, step);
            operations.fetch_add(1, Ordering::Relaxed);
        }
        run.crash(None);
        run.check_stores();
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(operations.into_inner() >= 100_000);
}
