//! Several workers share the partitions of a job, and die, stand still and come back as they please.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_tests::{
    Input, LongRun, Rng, Scratch, Taps, Traffic, Weir, ask, ask_json, assert_same_where_certain,
    assert_sound, count, cuts, metric, records, weir,
};

use super::{Kafka, SHARES, assert_audited, billed, embedded, wait_until};

const WORKERS: usize = 3;
const PARTITIONS: usize = 16;
/// After how long of silence a worker loses its partitions.
pub(super) const SESSION: Duration = Duration::from_secs(6);
/// Kills and pauses in each share of the events.
const TROUBLES: usize = 4;

/// Workers of one group, and what they are fed.
pub(super) struct Group {
    pub(super) workers: Vec<LongRun>,
    pub(super) traffic: Traffic,
    pub(super) scratch: Scratch,
}

impl Group {
    /// With minutes of event time.
    pub(super) fn begin(kafka: &Kafka, workers: usize) -> Self {
        Self::begin_at(kafka, workers, "events", &["--rate", "50"])
    }

    pub(super) fn begin_at(kafka: &Kafka, workers: usize, clock: &str, times: &[&str]) -> Self {
        let group = Self::start(kafka, workers, clock, times, |_| "session_timeout = \"6s\"".to_owned());
        group.wait_for_shares(|held, least| held.iter().all(|held| *held >= least))
    }

    /// Workers that do not have their partitions yet; `section` is what each of them has in `[group]` beside its number.
    pub(super) fn start(
        kafka: &Kafka,
        workers: usize,
        clock: &str,
        times: &[&str],
        section: impl Fn(usize) -> String,
    ) -> Self {
        let scratch = Scratch::new(&kafka.prefix);
        let options = ["--events", "30000", "--users", "3000", "--advertisers", "60", "--seed", "7"];
        let options = [&options[..], &["--malformed-rate", "0"], times].concat();
        let traffic = Traffic::generate(&scratch, &options, SHARES, 0);
        let (files, depot) = (traffic.feed.files(), scratch.path("depot"));
        std::fs::create_dir_all(&depot).unwrap();
        let worker = |number: usize| {
            let own: Vec<_> = files.iter().skip(number).step_by(workers).cloned().collect();
            let job = LongRun::named(&scratch, &format!("worker-{number}-"), &own, &traffic.accounts);
            job.set_partitions(PARTITIONS as u32);
            if number > 0 {
                job.without_accounts();
            }
            job.configure(&format!(
                "\n[time]\nclock = {clock:?}\n{}\n[checkpoints]\nremote = \"file://{}\"\n\n[group]\nworker = {number}\n{}\n",
                kafka.section(),
                depot.display(),
                section(number)
            ));
            job
        };
        let mut group = Group { workers: (0..workers).map(worker).collect(), traffic, scratch };
        for worker in &mut group.workers {
            worker.open_control();
            worker.start();
        }
        group.workers.iter_mut().for_each(LongRun::wait_until_up);
        group
    }

    /// Waits until all partitions are somebody's, as it should be, and the accounts are open. What should be is told of the
    /// partitions that each worker has, and a fair share.
    pub(super) fn wait_for_shares(mut self, is_right: impl Fn(&[usize], usize) -> bool) -> Self {
        let accounts = self.traffic.accounts.lines().count() - 1;
        wait_until("all partitions to be somebody's, and the accounts open", || {
            self.workers.iter_mut().for_each(LongRun::assert_alive);
            let (held, least) = (self.held(), PARTITIONS / self.workers.len());
            count("answers", self.workers[0].data_dir()).is_some_and(|answers| answers >= accounts)
                && held.iter().sum::<usize>() == PARTITIONS
                && is_right(&held, least)
        });
        self
    }

    /// Any worker knows of all others.
    pub(super) fn assert_status(&self) {
        for worker in &self.workers {
            let control = format!("http://127.0.0.1:{}", worker.control_port());
            let done = Weir::start(weir().args(["status", "--json", "--control", &control])).wait().ok();
            let status: Value = serde_json::from_str(&done.stdout).unwrap();
            let tasks = status["tasks"].as_array().unwrap();
            let of = |stage: &str| tasks.iter().filter(|task| task["stage"] == stage).count();
            assert_eq!((of("deduct"), of("collect")), (PARTITIONS, self.workers.len()), "{status}");
            let workers = status["workers"].as_array().unwrap();
            let held: usize =
                workers.iter().map(|worker| worker["partitions"].as_array().unwrap().len()).sum();
            assert_eq!((workers.len(), held), (self.workers.len(), PARTITIONS), "{status}");
        }
    }

    /// How many partitions each worker has, and has opened.
    pub(super) fn held(&self) -> Vec<usize> {
        let of = |worker: &LongRun| metric(worker.metrics_port(), "weir_group_partitions").unwrap_or(0.0);
        self.workers.iter().map(|worker| of(worker) as usize).collect()
    }

    /// The partitions that workers told of in `notices`, in the order of that topic's partitions.
    fn told_of(&self) -> Vec<u64> {
        let words =
            ["tap", "notices", "--until", "end", "--format", "jsonl", "--where", "notice == \"takeover\""];
        let told: Vec<Value> = records(ask(self.data_dir(), &words).ok().stdout.as_bytes());
        let number = |of: &Value, field: &str| of[field].as_u64().unwrap();
        for takeover in &told {
            let (worker, provenance) = (number(takeover, "worker"), &takeover["provenance"]);
            assert_eq!(
                (&provenance["stage"], number(provenance, "input_partition")),
                (&"takeovers".into(), worker)
            );
            assert!(worker < self.workers.len() as u64, "{takeover}");
        }
        told.iter().map(|takeover| number(takeover, "taken_partition")).collect()
    }

    /// Writes all shares, with something done meanwhile, until all is billed.
    pub(super) fn bill(&mut self, mut meanwhile: impl FnMut(&mut [LongRun])) {
        for share in 0..SHARES {
            let writer = self.traffic.feed.write(share);
            meanwhile(&mut self.workers);
            writer.join().unwrap();
        }
        let lines = self.traffic.lines.len();
        wait_until("all to be billed", || {
            self.workers.iter_mut().for_each(LongRun::assert_alive);
            billed(self.data_dir()) >= lines
        });
    }

    /// Each worker answers for all of them, as of the newest minute that all have uploaded.
    fn assert_all_answer(&self) {
        let [first, last] = [0, WORKERS - 1].map(|worker| self.workers[worker].data_dir());
        let all_of = |words: &[&str]| -> Value {
            let mut answers = [Value::Null, Value::Null];
            wait_until(&format!("the same answer to {words:?}"), || {
                answers = [first, last].map(|worker| ask_json(worker, words));
                answers[0] == answers[1]
            });
            let [answer, _] = answers;
            answer
        };
        let of_stage = |stage| all_of(&["offsets", "--stage", stage]).as_array().unwrap().len();
        assert_eq!((of_stage("deduct"), of_stage("collect")), (PARTITIONS, WORKERS));
        let accounts = self.traffic.accounts.lines().count() - 1;
        let report = all_of(&["report"]);
        assert!(report["charged"].as_u64() > Some(0), "{report}");
        assert_eq!(report["accounts"], accounts, "{report}");
        assert_eq!(all_of(&["account", "list"]).as_array().unwrap().len(), accounts);
        let audit = all_of(&["audit"]);
        assert_eq!(audit["ok"], true, "{audit}");
        let sums = audit["minutes"].as_array().unwrap();
        assert!(sums.last().is_some_and(|sum| sum["accepted"].as_u64() > Some(0)), "{audit}");
        let to = audit["to"].as_str().unwrap();
        let minutes = cuts(last);
        let from = minutes.iter().rev().filter(|minute| minute.as_str() < to).nth(2).unwrap();
        let cut = all_of(&["checkpoints", "show", from]);
        let folding = cut["tasks"].as_array().unwrap().iter().filter(|task| task["stage"] != "collect");
        assert_eq!(folding.count(), 4 * PARTITIONS, "{cut}");
        assert_eq!(all_of(&["audit", "--from", from, "--to", to])["ok"], true);
        assert_eq!(ask_json::<Value>(last, &["replay", "--from", from, "--to", to])["result"], "identical");
        // A line that the first worker has taken in.
        let line: Value = serde_json::from_str(&self.traffic.lines[0]).unwrap();
        for worker in [first, last] {
            // Each masks users with a key of its own.
            let story: Value = ask_json(worker, &["explain", line["guid"].as_str().unwrap()]);
            let copy = &story["copies"][0];
            assert_eq!(copy["line"]["bytes"], self.traffic.lines[0].trim_end().len(), "{story}");
            let steps = copy["lives"][0]["steps"].as_array().unwrap();
            let decision = steps.last().unwrap()["decision"].as_str().unwrap();
            assert!(["charged", "refused", "dropped"].contains(&decision), "{story}");
        }
    }

    pub(super) fn stop(&mut self) {
        self.workers.iter_mut().for_each(|worker| _ = worker.stop("TERM"));
    }

    /// The directory of a worker, by which all partitions are found.
    pub(super) fn data_dir(&self) -> &Path {
        self.workers[0].data_dir()
    }

    pub(super) fn results(&mut self) -> (Input, Taps) {
        self.stop();
        (self.input(), Taps::read(self.data_dir()))
    }

    pub(super) fn input(&self) -> Input {
        Input::of(&self.traffic.lines, &self.traffic.accounts)
    }
}

/// Kills and pauses of workers at random.
pub(super) struct Troubles {
    rng: Rng,
    /// How many there were.
    pub(super) made: usize,
}

impl Troubles {
    pub(super) fn new() -> Self {
        Troubles { rng: Rng::new(23), made: 0 }
    }

    /// Some, one after the other.
    pub(super) fn make(&mut self, workers: &mut [LongRun]) {
        for _ in 0..TROUBLES {
            let nth = self.rng.bits() as usize % workers.len();
            let worker = &mut workers[nth];
            std::thread::sleep(Duration::from_millis(400).mul_f64(self.rng.share()));
            self.made += 1;
            // Now and then it is away for so long that others get its partitions.
            let is_long = self.made.is_multiple_of(5);
            let away = if is_long { SESSION + Duration::from_secs(3) } else { Duration::from_millis(300) };
            if self.made.is_multiple_of(2) {
                worker.kill9();
                std::thread::sleep(away);
                worker.start();
            } else {
                worker.signal("STOP");
                std::thread::sleep(away);
                worker.signal("CONT");
            }
        }
    }
}

#[test]
fn three_workers_bill_what_one_job_bills() {
    let Some(kafka) = Kafka::of("kafka-group") else { return };
    let expected = embedded();
    let mut group = Group::begin(&kafka, WORKERS);
    group.assert_status();
    group.bill(|_| {});
    group.assert_all_answer();
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

#[test]
fn workers_that_die_and_stand_still_lose_and_double_nothing() {
    let Some(kafka) = Kafka::of("kafka-troubles") else { return };
    let expected = embedded();
    let mut group = Group::begin(&kafka, WORKERS);
    let mut troubles = Troubles::new();
    group.bill(|workers| troubles.make(workers));
    assert!(troubles.made >= 20);
    assert_audited(group.data_dir());
    let told_of = group.told_of();
    // Each came to a worker at the start, and some to others since.
    assert_eq!(BTreeSet::from_iter(&told_of).len(), PARTITIONS, "{told_of:?}");
    assert!(told_of.len() > PARTITIONS, "{told_of:?}");
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}
