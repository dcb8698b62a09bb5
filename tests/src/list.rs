//! The list that a client of ingest keeps: what it sent and what it was told of each event. Afterwards the topics
//! have to agree with it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::ad::Ad;
use crate::ask::{ask, ask_json};
use crate::audit::assert_sound;
use crate::longrun::LongRun;
use crate::scratch::now_ms;
use crate::taps::Taps;

const MOST_FAULTS: usize = 20;

/// What a client was told of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is on disk now.
    Accepted,
    /// It was before.
    Duplicate,
    /// It is wrong: the code.
    Refused(String),
}

/// An event that was sent, once or more often.
#[derive(Clone, Debug)]
pub struct Sent {
    number: u32,
    time_ms: i64,
    accepted: u32,
    duplicate: u32,
    unanswered: u32,
    refused: Vec<String>,
}

impl Sent {
    /// Event number `n` of its test, of now.
    pub fn new(number: u32) -> Self {
        let (accepted, duplicate, unanswered) = (0, 0, 0);
        Self { number, time_ms: now_ms(), accepted, duplicate, unanswered, refused: Vec::new() }
    }

    /// What is sent: mostly what is charged, but something of everything. Advertiser 8 has little money, 9 no account.
    pub fn ad(&self) -> Ad {
        let paid_by = |ad: Ad| ad.paid_by(u64::from(1 + self.number % 7));
        let click = paid_by(Ad::click(self.number, self.time_ms));
        match self.number % 50 {
            7 => Ad {
                ua: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".into(),
                ..click
            },
            8 => click.paid_by(8),
            13 => click.paid_by(9),
            21 => Ad { kind: "tap".into(), ..click },
            33 => Ad { kind: "impression".into(), ..click },
            40.. => paid_by(Ad::impression(self.number, self.time_ms)),
            _ => click,
        }
    }

    /// The accounts of those who pay.
    pub fn accounts() -> Vec<(u64, i64, i64)> {
        let plenty = 1_000_000_000_000;
        (1..=7).map(|id| (id, plenty, plenty)).chain([(8, plenty, 10_000_000)]).collect()
    }

    fn is_wrong(&self) -> bool {
        self.number % 50 == 21
    }

    /// Whether it was answered that it is on disk.
    pub fn is_acknowledged(&self) -> bool {
        self.accepted + self.duplicate > 0
    }

    /// It was answered.
    pub fn told(&mut self, told: &Told) {
        match told {
            Told::Accepted => self.accepted += 1,
            Told::Duplicate => self.duplicate += 1,
            Told::Refused(code) => self.refused.push(code.clone()),
        }
    }

    /// Nobody knows what became of it.
    pub fn unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// What was told and cannot be true together.
    fn contradiction(&self) -> Option<&'static str> {
        match self {
            s if s.is_wrong() && s.is_acknowledged() => Some("it is wrong, and was acknowledged"),
            s if !s.is_wrong() && !s.refused.is_empty() => Some("it is right, and was refused"),
            s if s.refused.iter().any(|code| code != "malformed") => Some("it was refused with another code"),
            s if !s.is_acknowledged() && s.refused.is_empty() => Some("it was never answered"),
            s if s.accepted > 1 => Some("it was accepted more than once"),
            s if s.duplicate > 0 && s.accepted + s.unanswered == 0 => Some("a duplicate of nothing"),
            _ => None,
        }
    }
}

/// All that a client knows.
#[derive(Debug, Default)]
pub struct List {
    /// Each event.
    pub sent: Vec<Sent>,
    /// Events in all requests, as often as each was sent.
    pub offered: usize,
    /// Requests of which nothing was taken in, by status.
    pub rejected: BTreeMap<String, usize>,
    /// Answers that never came, by how the connection was lost.
    pub lost: BTreeMap<String, usize>,
    /// Answers that are not as they should be.
    pub odd: Vec<String>,
}

impl List {
    /// The lines of what was acknowledged.
    pub fn lines(&self) -> Vec<String> {
        self.sent.iter().filter(|sent| sent.is_acknowledged()).map(|sent| sent.ad().line()).collect()
    }

    /// Takes in that of another client.
    pub fn add(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.offered += other.offered;
        self.odd.extend(other.odd);
        for (all, more) in [(&mut self.rejected, other.rejected), (&mut self.lost, other.lost)] {
            more.into_iter().for_each(|(what, n)| *all.entry(what).or_default() += n);
        }
    }

    /// Fails unless each request was answered, and what could not be taken in only with one of these.
    #[track_caller]
    pub fn assert_clean(&self, statuses: &[&str]) {
        assert!(self.odd.is_empty(), "{} odd answers, such as {:?}", self.odd.len(), self.odd[0]);
        assert!(self.lost.is_empty(), "answers lost: {:?}", self.lost);
        let other = self.rejected.keys().find(|status| !statuses.contains(&status.as_str()));
        assert_eq!(other, None, "{:?}", self.rejected);
    }

    /// Events that were answered to be duplicates, though nobody had been told that they were accepted.
    pub fn durable_unanswered(&self) -> usize {
        self.sent.iter().filter(|sent| sent.duplicate > 0 && sent.accepted == 0).count()
    }

    /// Waits until the job has billed what was acknowledged, stops it, and fails unless all of that is in the topics
    /// exactly once, for the right money, and the books agree.
    #[track_caller]
    pub fn assert_billed(&self, job: &mut LongRun) -> Taps {
        job.expect(&self.lines());
        job.settle();
        job.stop("TERM");
        let (input, taps) = job.result();
        self.assert_agrees(&taps);
        assert_sound(&input, &taps);
        let report: Value = ask_json(job.data_dir(), &["report"]);
        assert_eq!((&report["conserved"], &report["events"]), (&true.into(), &taps.len().into()), "{report}");
        ask(job.data_dir(), &["audit"]).ok();
        taps
    }

    /// Fails unless all that was acknowledged is in the topics exactly once and nothing else is: a repeat that was
    /// answered to be a duplicate leaves no trace.
    #[track_caller]
    fn assert_agrees(&self, taps: &Taps) {
        let mut faults: Vec<String> = self.odd.clone();
        let mut records: HashMap<&str, Vec<String>> = HashMap::new();
        for charge in &taps.charges {
            records.entry(&charge.guid).or_default().push(charge.outcome.clone());
        }
        for dropped in &taps.dropped {
            match &dropped.guid {
                Some(guid) => records.entry(guid).or_default().push(dropped.reason.clone()),
                None => faults.push(format!("what was never acknowledged is in `dropped`: {dropped:?}")),
            }
        }
        for sent in &self.sent {
            let became = records.remove(sent.ad().guid.as_str()).unwrap_or_default();
            let told = sent.contradiction();
            let count = usize::from(sent.is_acknowledged());
            if told.is_some() || became.len() != count {
                faults.push(format!(
                    "{}: {count} record expected, there is {became:?}; {sent:?}",
                    told.unwrap_or("")
                ));
            }
        }
        faults.extend(records.into_iter().map(|(guid, became)| format!("{guid} was never sent: {became:?}")));
        let count = faults.len();
        faults.truncate(MOST_FAULTS);
        assert!(faults.is_empty(), "{count} events are not as the client was told:\n{}", faults.join("\n"));
    }
}
