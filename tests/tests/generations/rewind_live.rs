//! Rewinds of a job that goes on billing: with the same rules nothing may come out differently, whatever
//! is rewound, how often, and whoever is killed meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::{
    Generation, Input, Line, LongRun, Rng, Scratch, Taps, Traffic, ask, ask_json, assert_sound, count, cuts,
    generations, start_ask, wait_for,
};

const STAGES: [&str; 4] = ["anti-brush", "anti-fraud", "deduct", "post-process"];
const LONG: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

#[test]
fn with_4_partitions_rewinds_change_nothing() {
    rewind_again_and_again("rewinds-4", 4, 41, 10, false);
}

#[test]
fn with_4_partitions_rewinds_under_kills_change_nothing() {
    rewind_again_and_again("rewinds-4-kills", 4, 42, 10, true);
}

#[test]
fn with_16_partitions_rewinds_under_kills_change_nothing() {
    rewind_again_and_again("rewinds-16-kills", 16, 43, 6, true);
}

/// A job with traffic, and what a test knows of it.
struct Rewound {
    job: LongRun,
    traffic: Traffic,
    rng: Rng,
    scratch: Scratch,
    /// Differences that a rewind reported where there can be none.
    false_reports: Vec<String>,
}

fn rewind_again_and_again(name: &str, partitions: u32, seed: u64, rounds: usize, kills: bool) {
    let mut rewound = Rewound::begin(name, partitions, seed, rounds);
    let mut last = None;
    for round in 0..rounds {
        let writer = rewound.traffic.feed.write(round);
        rewound.add_account(round);
        let to = rewound.minute(round, last.as_ref());
        let stage = STAGES[(rewound.rng.bits() % 4) as usize];
        if kills && round % 2 == 1 {
            rewound.rewind_and_kill(&to, stage);
        } else {
            rewound.rewind(&to, stage);
        }
        last = Some(to);
        writer.join().unwrap();
    }
    let published = rewound.take_in_all();
    rewound.assert_nothing_changed(&published);
    assert_eq!(rewound.false_reports, Vec::<String>::new(), "nothing changed, but that was reported");
}

impl Rewound {
    fn begin(name: &str, partitions: u32, seed: u64, rounds: usize) -> Self {
        let scratch = Scratch::new(name);
        let seed_text = seed.to_string();
        let options = ["--events", "36000", "--rate", "50", "--users", "3000", "--advertisers", "60"];
        let options = [&options[..], &["--malformed-rate", "0", "--seed", &seed_text]].concat();
        let traffic = Traffic::generate(&scratch, &options, rounds + 1, 3);
        let mut job = LongRun::new(&scratch, &traffic.feed.files(), &traffic.accounts);
        job.set_partitions(partitions);
        job.open_control();
        job.configure("\n[time]\nclock = \"events\"\n");
        job.start();
        job.wait_until_up();
        Self { job, traffic, rng: Rng::new(seed), scratch, false_reports: Vec::new() }
    }

    /// Another account every second round.
    fn add_account(&mut self, round: usize) {
        if round % 2 == 1
            && let Some(line) = self.traffic.late_accounts.get(round / 2)
        {
            let path = self.scratch.path("accounts.csv");
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
    }

    /// A minute to go back to: any, or one before or behind that of the last rewind.
    fn minute(&mut self, round: usize, last: Option<&String>) -> String {
        let deadline = Instant::now() + LONG;
        let mut all = cuts(self.job.data_dir());
        while all.len() < 2 {
            assert!(Instant::now() < deadline, "no cuts: {all:?}");
            std::thread::sleep(POLL);
            all = cuts(self.job.data_dir());
        }
        let those: Vec<&String> = match (round % 3, last) {
            (1, Some(last)) => all.iter().filter(|m| *m < last).collect(),
            (2, Some(last)) => all.iter().filter(|m| *m > last).collect(),
            _ => Vec::new(),
        };
        let those = if those.is_empty() { all.iter().collect() } else { those };
        those[(self.rng.bits() % those.len() as u64) as usize].clone()
    }

    fn rewind(&mut self, to: &str, stage: &str) {
        let words = ["rewind", "--to", to, "--stage", stage, "--apply"];
        let said: Value = ask_json(self.job.data_dir(), &words);
        if said["difference"]["by_advertiser"] != serde_json::json!({}) {
            let (cut, total) = (&said["cut"], &said["difference"]["total"]);
            self.false_reports.push(format!("a rewind to {cut} reports {total}"));
        }
        assert!(said["published_at"].is_string(), "{said}");
        let all = generations(self.job.data_dir());
        let newest = all.last().unwrap();
        assert!(newest.is(&["published"]) && newest.from_stage == stage, "{all:?}");
    }

    /// The job is killed while it rewinds. What is left of that is promoted or dropped.
    fn rewind_and_kill(&mut self, to: &str, stage: &str) {
        let words = ["rewind", "--to", to, "--stage", stage, "--apply"];
        let rewinding = start_ask(self.job.data_dir(), &words);
        std::thread::sleep(Duration::from_millis(1_500).mul_f64(self.rng.share()));
        self.job.kill9();
        let done = rewinding.wait_at_most(LONG);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        self.job.start();
        self.job.wait_until_up();
        let left: Vec<Generation> = generations(self.job.data_dir());
        for candidate in left.iter().filter(|g| g.is(&["candidate"])) {
            let id = candidate.id.to_string();
            match self.rng.share() < 0.5 {
                true => self.promote(&id),
                false => drop(ask(self.job.data_dir(), &["generation", "drop", &id]).ok()),
            }
        }
        let settled = || !generations(self.job.data_dir()).iter().any(|g| g.is(&["promoting"]));
        wait_for("the promotion to be settled", settled);
    }

    /// Until it has caught up that is refused.
    fn promote(&mut self, id: &str) {
        let deadline = Instant::now() + LONG;
        loop {
            let done = ask(self.job.data_dir(), &["generation", "promote", id]);
            if done.code == Some(0) {
                return;
            }
            done.refused(&[2], &["wait until it has caught up"]);
            assert!(Instant::now() < deadline, "it does not catch up: {}", done.stderr);
            std::thread::sleep(POLL);
        }
    }

    /// Writes the last share, waits until all lines are billed, and stops the job.
    fn take_in_all(&mut self) -> Vec<Generation> {
        self.traffic.feed.write_last().join().unwrap();
        self.job.finish(self.traffic.lines.len());
        generations(self.job.data_dir())
    }

    fn assert_nothing_changed(&self, all: &[Generation]) {
        let dir = self.job.data_dir();
        assert_eq!(count("adjustments", dir), Some(0), "adjustments of nothing");
        let lines = Line::all(dir, all);
        let rewinds: Vec<_> = all.iter().filter(|g| g.id > 1 && g.is(&["published", "superseded"])).collect();
        assert!(rewinds.len() > 2, "too little was rewound: {all:?}");
        for g in rewinds {
            lines[&g.id].assert_repeats(&lines[&g.recorded], g);
        }
        let published = all.iter().find(|g| g.is(&["published"])).unwrap();
        let taps = lines[&published.id].taps();
        assert_books(&ask_json(dir, &["report"]), &taps, self.traffic.lines.len());
        assert_late_accounts(&taps);
        let (input, taps) = without_late(&self.traffic, taps);
        assert_sound(&input, &taps);
    }
}

fn assert_books(report: &Value, taps: &Taps, lines: usize) {
    assert_eq!(report["conserved"], true, "{report}");
    assert_eq!(report["events"], lines, "{report}");
    let charged: i128 = taps.charges.iter().filter(|c| c.is_charged()).map(|c| c.amount_nanos.0).sum();
    let nanos = |name: &str| i128::from(report[name].as_i64().unwrap());
    assert_eq!(nanos("charged_nanos"), charged, "{report}");
    assert_eq!(nanos("opening_nanos") - nanos("closing_nanos"), charged, "{report}");
}

/// An advertiser is unknown until the account is opened, and never afterwards.
fn assert_late_accounts(taps: &Taps) {
    let mut known: BTreeMap<u64, bool> = BTreeMap::new();
    for charge in taps.charges.iter().filter(|c| Traffic::is_late(c.advertiser_id)) {
        let known = known.entry(charge.advertiser_id).or_default();
        let unknown = charge.reason.as_deref() == Some("unknown_account");
        assert!(charge.is_charged() || unknown, "{charge:?}");
        assert!(!(*known && unknown), "unknown after it was opened: {charge:?}");
        *known |= charge.is_charged();
    }
    assert!(!known.is_empty() && known.values().all(|known| *known), "never opened: {known:?}");
}

/// The late advertisers have nothing in common with the others: the audit, which does not know when an
/// account was opened, does not see them.
fn without_late(traffic: &Traffic, mut taps: Taps) -> (Input, Taps) {
    taps.charges.retain(|c| !Traffic::is_late(c.advertiser_id));
    let is_late = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        Traffic::is_late(event["advertiser_id"].as_u64().unwrap())
    };
    let lines: Vec<String> = traffic.lines.iter().filter(|line| !is_late(line)).cloned().collect();
    (Input::of(&lines, &traffic.accounts), taps)
}
