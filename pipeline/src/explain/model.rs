//! What is told of an event.

use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use weir_proto::{Minute, Nanos};

/// All that is known of a guid.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The event.
    pub guid: String,
    /// The generation whose outcomes count.
    pub published: u32,
    /// Each line with this guid that was taken in.
    pub copies: Vec<Copy>,
    /// Lines that could not be read and hold the guid's text.
    pub unread: Vec<Unread>,
    /// What was posted when other generations were published, as in the topic.
    pub adjustments: Vec<Value>,
    /// What was looked through.
    pub searched: Vec<Searched>,
}

/// A stretch of a topic that was looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Searched {
    /// The partition of `raw`.
    pub partition: u32,
    /// The first offset.
    pub from: u64,
    /// The offset behind the last.
    pub to: u64,
    /// The oldest offset that is kept.
    pub oldest: u64,
}

/// One line that was taken in.
#[derive(Debug, Serialize)]
pub struct Copy {
    /// Where the line stands, if that is still known.
    pub line: Option<Line>,
    /// The record of `raw`.
    pub raw: Value,
    /// The minute of the pipeline in which it was taken in: it ended with this tick.
    #[serde(serialize_with = "rfc3339")]
    pub before_tick: Option<Minute>,
    /// The fingerprint of the rules that collect had.
    pub rules: Option<String>,
    /// What became of it, in the published generation first and then in those where it was something else.
    pub lives: Vec<Life>,
}

/// A line that could not be read.
#[derive(Debug, Serialize)]
pub struct Unread {
    /// Where the line stands, if that is still known.
    pub line: Option<Line>,
    /// The record of `dropped`.
    pub record: Value,
}

/// A line of an input file.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The file: where it is now, or where it was last seen.
    pub path: Option<PathBuf>,
    /// The line's first byte; of what came in over the network, its record in the spool.
    pub byte: u64,
    /// Whether it came in over the network: the path is then that of the spool.
    pub is_spooled: bool,
    /// Its length, if the file is still there.
    pub bytes: Option<usize>,
    /// The line itself, or how long it is if it may not be shown.
    pub text: Option<String>,
    /// Why it cannot be shown.
    pub problem: Option<String>,
}

/// What became of a copy in one generation.
#[derive(Debug, PartialEq, Serialize)]
pub struct Life {
    /// The generation.
    pub generation: u32,
    /// `published`, `candidate`, `superseded` …
    pub standing: &'static str,
    /// What each stage decided, in flow order.
    pub steps: Vec<Step>,
}

/// What a stage decided.
#[derive(Debug, PartialEq, Serialize)]
pub struct Step {
    /// The stage.
    pub stage: &'static str,
    /// Its partition.
    pub partition: u16,
    /// The generation whose task it was.
    pub generation: u32,
    /// The fingerprint of its rules.
    pub rules: String,
    /// What it decided.
    pub decision: Decision,
    /// The reason of a drop or a refusal.
    pub reason: Option<&'static str>,
    /// The rule that decided, in words, with its limits.
    pub rule: String,
    /// The minute of the pipeline in which it was decided: it ended with this tick.
    #[serde(serialize_with = "rfc3339")]
    pub before_tick: Option<Minute>,
    /// The record that was made, as in its topic; its provenance names the place.
    pub record: Option<Value>,
    /// The balance before, of a charge or a refusal.
    pub balance_before_nanos: Option<Nanos>,
    /// The earlier decision about the same guid: the record that a repeat is a repeat of.
    pub earlier: Option<Value>,
    /// What it waits for.
    pub waits: Option<Waits>,
}

/// What a stage can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Handed on.
    Passed,
    /// Dropped.
    Dropped,
    /// Charged.
    Charged,
    /// Refused.
    Refused,
    /// Not decided yet.
    Waits,
    /// Decided, but the record is past its retention.
    NotKept,
}

/// Between which places an undecided event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// The next place that the stage will read, by its newest commit on disk.
    pub position: u64,
    /// The end of its input.
    pub end: u64,
}

fn rfc3339<S: serde::Serializer>(minute: &Option<Minute>, s: S) -> Result<S::Ok, S::Error> {
    match minute {
        Some(minute) => s.collect_str(minute),
        None => s.serialize_none(),
    }
}
