//! What came out: the records of the topics `charges` and `dropped`, as `weir tap` prints them.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::process::{Weir, weir};

/// Billionths of a currency unit, printed as a JSON number or as a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Nanos(pub i128);

/// A record of `charges`: an event that came as far as the money.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Charge {
    /// The id of the event.
    pub guid: String,
    /// Who pays.
    pub advertiser_id: u64,
    /// What for.
    pub campaign_id: u64,
    /// `charged` or `refused`.
    pub outcome: String,
    /// Why it was refused.
    #[serde(default)]
    pub reason: Option<String>,
    /// What was paid, or what was asked for in vain.
    pub amount_nanos: Nanos,
    /// The balance of the advertiser right after this record.
    #[serde(default)]
    pub balance_after_nanos: Option<Nanos>,
    /// When the event happened.
    pub event_time_ms: i64,
}

impl Charge {
    /// True when money moved.
    pub fn is_charged(&self) -> bool {
        self.outcome == "charged"
    }
}

/// A record of `dropped`: an event that did not come as far as the money.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropped {
    /// The id of the event, if it had one.
    pub guid: Option<String>,
    /// The stage that dropped it.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// The first bytes of the line.
    #[serde(default)]
    pub raw: Option<String>,
}

/// All that a job has decided so far.
#[derive(Clone, Debug, Default)]
pub struct Taps {
    /// The topic `charges`: in recorded order for each advertiser.
    pub charges: Vec<Charge>,
    /// The topic `dropped`.
    pub dropped: Vec<Dropped>,
}

impl Taps {
    /// Reads both topics from their start to their present end.
    #[track_caller]
    pub fn read(data_dir: &Path) -> Self {
        Self { charges: records(tap("charges", data_dir)), dropped: records(tap("dropped", data_dir)) }
    }

    /// The records of `charges` and `dropped` together.
    pub fn len(&self) -> usize {
        self.charges.len() + self.dropped.len()
    }

    /// True when nothing was decided yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All that stands in a topic now, one JSON object a line.
#[track_caller]
pub fn tap(topic: &str, data_dir: &Path) -> BufReader<File> {
    let output = start_tap(topic, data_dir).wait_for_output();
    BufReader::new(output.unwrap_or_else(|done| panic!("weir tap {topic} failed: {done:?}")))
}

/// The number of records that stand in a topic now; none when it cannot be read (yet).
pub fn count(topic: &str, data_dir: &Path) -> Option<usize> {
    let mut output = start_tap(topic, data_dir).wait_for_output().ok()?;
    let mut chunk = vec![0; 1 << 16];
    let mut lines = 0;
    loop {
        let length = output.read(&mut chunk).unwrap();
        if length == 0 {
            return Some(lines);
        }
        lines += chunk[..length].iter().filter(|b| **b == b'\n').count();
    }
}

/// Lines of which it is decided what becomes of them.
pub fn billed(data_dir: &Path) -> usize {
    ["charges", "dropped"].into_iter().filter_map(|topic| count(topic, data_dir)).sum()
}

fn start_tap(topic: &str, data_dir: &Path) -> Weir {
    let mut command = weir();
    command.args(["tap", topic, "--from", "start", "--until", "end"]);
    command.args(["--format", "jsonl", "--unmasked", "--data-dir"]);
    Weir::start(command.arg(data_dir))
}

/// What a tap printed, parsed.
#[track_caller]
pub fn records<T: de::DeserializeOwned>(lines: impl BufRead) -> Vec<T> {
    let parse = |line: std::io::Result<String>| {
        let line = line.unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("tap printed {line:?}: {e}"))
    };
    lines.lines().map(parse).collect()
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Nanos;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of nanos")
            }

            fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Nanos, E> {
                Ok(Nanos(nanos.into()))
            }

            fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<Nanos, E> {
                Ok(Nanos(nanos.into()))
            }

            fn visit_str<E: de::Error>(self, nanos: &str) -> Result<Nanos, E> {
                nanos.parse().map(Nanos).map_err(E::custom)
            }
        }
        from.deserialize_any(NumberOrText)
    }
}
