//! Who made a record, and from what.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stage of the flow. The numbers are written to disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum StageId {
    /// Takes events in from outside.
    Collect = 1,
    /// Takes account commands in from outside.
    Accounts = 2,
    /// Bots, data centres and floods; hands on by user.
    AntiBrush = 3,
    /// Per-user rules; hands on by advertiser.
    AntiFraud = 4,
    /// Prices, de-duplicates and moves money.
    Deduct = 5,
    /// Keeps the ledger and sends notices.
    PostProcess = 6,
    /// Posts the published outcomes to the account system; not part of the flow.
    Deliver = 7,
    /// Takes commands in from the control interface.
    Commands = 8,
    /// Tells what a worker of a group has taken over; not part of the flow.
    Takeovers = 9,
}

impl StageId {
    /// Every stage, in flow order.
    pub const ALL: [StageId; 9] = [
        StageId::Collect,
        StageId::Accounts,
        StageId::Commands,
        StageId::AntiBrush,
        StageId::AntiFraud,
        StageId::Deduct,
        StageId::PostProcess,
        StageId::Deliver,
        StageId::Takeovers,
    ];

    /// Whether it takes in from outside: what it makes belongs to no generation.
    pub fn is_source(self) -> bool {
        matches!(self, StageId::Collect | StageId::Accounts | StageId::Commands | StageId::Takeovers)
    }

    /// Whether it folds a topic: each generation has tasks of its own of it.
    pub fn folds(self) -> bool {
        !self.is_source() && self != StageId::Deliver
    }

    /// The stage of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The stage with this number on disk.
    pub fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| *s as u8 == n)
    }

    /// The name used in commands, metrics and directories.
    pub fn name(self) -> &'static str {
        match self {
            StageId::Collect => "collect",
            StageId::Accounts => "accounts",
            StageId::Commands => "commands",
            StageId::Takeovers => "takeovers",
            StageId::AntiBrush => "anti-brush",
            StageId::AntiFraud => "anti-fraud",
            StageId::Deduct => "deduct",
            StageId::PostProcess => "post-process",
            StageId::Deliver => "deliver",
        }
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic. The order is written to disk: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Events as collected, keyed by ip.
    Raw,
    /// Events that passed anti-brush, keyed by user.
    Clean,
    /// Events that passed anti-fraud, and account commands, keyed by advertiser.
    Judged,
    /// What was charged and refused, keyed by advertiser.
    Charges,
    /// What was dropped, with its reason.
    Dropped,
    /// What advertisers are told: exhausted accounts, reached budgets; and operators: partitions that were taken over.
    Notices,
    /// Differences to charges of the past, posted when another generation is published. It belongs to
    /// no generation.
    Adjustments,
    /// Records that could not be delivered and are tried again. It belongs to no generation.
    Retry,
    /// Records that are not tried any more, and what was decided about them. It belongs to no generation.
    Dead,
    /// What was decided about commands.
    Answers,
}

impl Topic {
    /// Every topic, in flow order.
    pub const ALL: [Topic; 10] = [
        Topic::Raw,
        Topic::Clean,
        Topic::Judged,
        Topic::Charges,
        Topic::Dropped,
        Topic::Notices,
        Topic::Adjustments,
        Topic::Retry,
        Topic::Dead,
        Topic::Answers,
    ];

    /// The name used in commands and directories.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Raw => "raw",
            Topic::Clean => "clean",
            Topic::Judged => "judged",
            Topic::Charges => "charges",
            Topic::Dropped => "dropped",
            Topic::Notices => "notices",
            Topic::Adjustments => "adjustments",
            Topic::Retry => "retry",
            Topic::Dead => "dead",
            Topic::Answers => "answers",
        }
    }

    /// The topic of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The topic with this number on disk.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u8 == code)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic of one generation. What a generation makes anew goes to topics of its own; `raw` and all
/// that comes from outside belong to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId {
    /// Which topic.
    pub topic: Topic,
    /// Of which generation, counted from 1.
    pub generation: u32,
}

impl Topic {
    /// This topic of a generation.
    pub fn of(self, generation: u32) -> TopicId {
        TopicId { topic: self, generation }
    }
}

impl fmt::Display for TopicId {
    /// `judged` of the first generation, then `judged.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            1 => write!(f, "{}", self.topic),
            n => write!(f, "{}.{n}", self.topic),
        }
    }
}

/// A task whatever its generation: one stage on one input partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The stage.
    pub stage: StageId,
    /// Its input partition.
    pub partition: u16,
}

impl TaskId {
    /// This task in a generation.
    pub fn in_generation(self, generation: u32) -> Producer {
        Producer { stage: self.stage, partition: self.partition, generation }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stage, self.partition)
    }
}

/// The task that appended a batch: one stage on one input partition, in one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Producer {
    /// The stage.
    pub stage: StageId,
    /// Its input partition.
    pub partition: u16,
    /// Its generation.
    pub generation: u32,
}

impl Producer {
    /// The task, whatever its generation.
    pub fn task(self) -> TaskId {
        TaskId { stage: self.stage, partition: self.partition }
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.stage, self.partition, self.generation)
    }
}

/// Where in its producer's input a record comes from. Ordered: a task's outputs to one partition
/// have strictly rising provenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Provenance {
    /// Input position: the offset of the record it was made from.
    pub position: u64,
    /// The how-manieth output of that input record.
    pub index: u32,
}
