//! Jobs whose log is that of Apache Kafka: against the brokers that the variable `KAFKA_BROKERS` names, of the cluster in
//! `KAFKA_DIR` (see `deploy/kafka.sh`). Without them each test says that it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod consumer;
mod coordinators;
mod generations;
mod group;
mod nodes;
mod spool;
mod topics;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::{
    Fed, Group, LongRun, PATIENCE, Rng, SESSION, Shape, Taps, ask, ask_json, assert_same_where_certain,
    assert_sound, checkout, count, cuts, generations, start_ask, wait_at_most,
};

/// For how long a broker is away.
const AWAY: Duration = Duration::from_secs(4);
/// How long a rewind may take.
const LONG: Duration = Duration::from_secs(60);

/// Topics of one test.
struct Kafka {
    brokers: String,
    prefix: String,
    /// On how many brokers each of them is.
    replication: usize,
}

impl Kafka {
    /// None if there is no Kafka.
    fn of(test: &str) -> Option<Self> {
        let Ok(brokers) = std::env::var("KAFKA_BROKERS") else {
            eprintln!("skipped: {test}, since KAFKA_BROKERS names no brokers of Kafka");
            return None;
        };
        Some(Kafka { brokers, prefix: format!("{test}-{}", std::process::id()), replication: 1 })
    }

    /// What `[log]` is to say.
    fn section(&self) -> String {
        let Self { brokers, prefix, replication } = self;
        // More than half.
        let min_insync = replication / 2 + 1;
        format!(
            "\n[log]\nkind = \"kafka\"\n\n[log.kafka]\nbrokers = {brokers:?}\nprefix = {prefix:?}\n\
             replication = {replication}\nmin_insync = {min_insync}\n"
        )
    }

    /// Workers with minutes of event time, between whom Kafka decides.
    fn group(&self, workers: usize) -> Group {
        self.group_of(workers, "events", &["--rate", "50"])
    }

    fn group_of(&self, workers: usize, clock: &str, times: &[&str]) -> Group {
        let section = format!("session_timeout = \"{}s\"", SESSION.as_secs());
        let group = self.start_group(workers, clock, times, |_| section.clone());
        group.wait_for_shares(|held, least| held.iter().all(|held| *held >= least))
    }

    /// Workers that do not have their partitions yet.
    fn start_group(
        &self,
        workers: usize,
        clock: &str,
        times: &[&str],
        section: impl Fn(usize) -> String,
    ) -> Group {
        let traffic = [&["--events", "30000", "--users", "3000", "--advertisers", "60"], times].concat();
        let (name, log) = (&self.prefix, &self.section());
        Group::start(&Shape { name, log, workers, clock, traffic: &traffic }, section)
    }

    /// What one of Kafka's own tools prints.
    fn tool(&self, class: &str, args: &[&str]) -> String {
        let mut command = script();
        command.args([
            "tool",
            &format!("org.apache.kafka.tools.{class}"),
            "--bootstrap-server",
            &self.brokers,
        ]);
        let done = command.args(args).output().unwrap();
        assert!(done.status.success(), "{class} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

fn script() -> Command {
    Command::new(checkout("deploy/kafka.sh"))
}

/// The same events through the embedded log.
fn embedded() -> Taps {
    Fed::embedded("kafka-embedded", 7)
}

#[test]
fn what_is_billed_is_the_same_as_with_the_embedded_log() {
    let Some(kafka) = Kafka::of("kafka-same") else { return };
    let expected = embedded();
    let mut fed = Fed::begin("kafka-same", &kafka.section(), 7);
    let (input, taps) = fed.run(|_, _| {});
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
    assert_audited(fed.job.data_dir());
}

#[test]
fn kills_of_the_job_lose_and_double_nothing() {
    let Some(kafka) = Kafka::of("kafka-kills") else { return };
    let expected = embedded();
    let mut fed = Fed::begin("kafka-kills", &kafka.section(), 7);
    let mut rng = Rng::new(11);
    let (input, taps) = fed.run(|job, _| {
        for _ in 0..2 {
            kill_at_random(job, &mut rng);
        }
    });
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
    assert_audited(fed.job.data_dir());
}

#[test]
fn a_broker_that_is_killed_is_waited_for() {
    let Some(kafka) = Kafka::of("kafka-broker") else { return };
    let Ok(dir) = std::env::var("KAFKA_DIR") else {
        eprintln!(
            "skipped: a_broker_that_is_killed_is_waited_for, since KAFKA_DIR names no cluster of deploy/kafka.sh"
        );
        return;
    };
    let expected = embedded();
    let mut fed = Fed::begin("kafka-broker", &kafka.section(), 7);
    let (input, taps) = fed.run(|job, share| {
        if share == 2 {
            node(&dir, "kill");
            std::thread::sleep(AWAY);
            job.assert_alive();
            node(&dir, "start");
        }
    });
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

#[test]
fn a_rewind_changes_nothing() {
    let Some(kafka) = Kafka::of("kafka-rewind") else { return };
    let mut fed = Fed::begin("kafka-rewind", &kafka.section(), 7);
    let mut rewinding = None;
    fed.run(|job, share| match share {
        2 => {
            let all = cuts(job.data_dir());
            let words = ["rewind", "--to", &all[all.len() / 2], "--stage", "anti-fraud", "--apply", "--json"];
            rewinding = Some(start_ask(job.data_dir(), &words));
        }
        // It is published at a tick: some must be left.
        5 => {
            let said = rewinding.take().unwrap().wait_at_most(LONG).ok().stdout;
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["difference"]["by_advertiser"], serde_json::json!({}), "{said}");
        }
        _ => {}
    });
    let published = generations(fed.job.data_dir()).into_iter().find(|g| g.is(&["published"])).unwrap();
    assert_eq!(published.id, 2, "{published:?}");
    let report: Value = ask_json(fed.job.data_dir(), &["report"]);
    assert_eq!(
        (&report["conserved"], &report["events"]),
        (&Value::Bool(true), &fed.traffic.lines.len().into())
    );
    assert_eq!(count("adjustments", fed.job.data_dir()), Some(0));
}

/// Ends a job with `kill -9` within a moment, and starts it again.
fn kill_at_random(job: &mut LongRun, rng: &mut Rng) {
    std::thread::sleep(Duration::from_millis(1_500).mul_f64(rng.share()));
    job.kill9();
    job.start();
}

#[track_caller]
fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_at_most(PATIENCE, what, is_so);
}

fn assert_audited(dir: &Path) {
    ask(dir, &["audit"]).ok();
}

fn node(dir: &str, what: &str) {
    let done = script().args([what, "1", "--dir", dir]).status().unwrap();
    assert!(done.success(), "deploy/kafka.sh {what} 1");
}
