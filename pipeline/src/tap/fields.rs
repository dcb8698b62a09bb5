//! The fields of each topic's records: columns, and what a filter may ask for.

use weir_proto::Topic;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// Nanos of the currency unit.
    Money,
    /// Milliseconds since 1970.
    Time,
    /// A text.
    Text,
    /// True or false.
    Flag,
}

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Field { name, kind }
    }
}

use Kind::{Flag, Money, Number, Text, Time};

const EVENT: &[Field] = &[
    Field::new("event_time_ms", Time),
    Field::new("kind", Text),
    Field::new("guid", Text),
    Field::new("user_id", Text),
    Field::new("ip", Text),
    Field::new("ad_id", Number),
    Field::new("campaign_id", Number),
    Field::new("advertiser_id", Number),
    Field::new("billing", Text),
    Field::new("bid_micros", Number),
    Field::new("origin_guid", Text),
    Field::new("sale_micros", Number),
    Field::new("slot", Text),
    Field::new("region", Text),
    Field::new("channel", Text),
    Field::new("app_version", Text),
    Field::new("ingest_time_ms", Time),
    Field::new("ua", Text),
];

const ACCOUNT: &[Field] = &[
    Field::new("command", Text),
    Field::new("key", Text),
    Field::new("time_ms", Time),
    Field::new("daily_budget_nanos", Money),
    Field::new("balance_nanos", Money),
];

const CHARGE: &[Field] = &[
    Field::new("event_time_ms", Time),
    Field::new("kind", Text),
    Field::new("guid", Text),
    Field::new("ad_id", Number),
    Field::new("campaign_id", Number),
    Field::new("advertiser_id", Number),
    Field::new("billing", Text),
    Field::new("outcome", Text),
    Field::new("reason", Text),
    Field::new("amount_nanos", Money),
    Field::new("balance_after_nanos", Money),
    Field::new("currency", Text),
    Field::new("original", Text),
];

const ANSWER: &[Field] = &[
    Field::new("time_ms", Time),
    Field::new("key", Text),
    Field::new("advertiser_id", Number),
    Field::new("outcome", Text),
    Field::new("reason", Text),
    Field::new("repeated", Flag),
    Field::new("amount_nanos", Money),
    Field::new("balance_after_nanos", Money),
    Field::new("currency", Text),
];

const DROPPED: &[Field] = &[
    Field::new("stage", Text),
    Field::new("reason", Text),
    Field::new("detail", Text),
    Field::new("raw", Text),
];

const NOTICE: &[Field] = &[
    Field::new("event_time_ms", Time),
    Field::new("notice", Text),
    Field::new("advertiser_id", Number),
    Field::new("campaign_id", Number),
    Field::new("balance_nanos", Money),
    Field::new("worker", Number),
    Field::new("taken_partition", Number),
    Field::new("took_ms", Number),
    Field::new("behind", Number),
];

const ADJUSTMENT: &[Field] = &[
    Field::new("event_time_ms", Time),
    Field::new("adjustment", Text),
    Field::new("guid", Text),
    Field::new("advertiser_id", Number),
    Field::new("amount_nanos", Money),
    Field::new("before_nanos", Money),
    Field::new("after_nanos", Money),
    Field::new("currency", Text),
    Field::new("reason", Text),
];

const LETTER: &[Field] = &[
    Field::new("time_ms", Time),
    Field::new("fate", Text),
    Field::new("id", Text),
    Field::new("guid", Text),
    Field::new("advertiser_id", Number),
    Field::new("at_stake_nanos", Money),
    Field::new("attempt", Number),
    Field::new("next_time_ms", Time),
    Field::new("reason", Text),
];

/// Where a record stands; in JSON within `provenance`.
pub const PLACE: [Field; 2] = [Field::new("partition", Number), Field::new("offset", Number)];

/// The fields of ticks.
pub const TICK: [Field; 2] = [Field::new("tick", Number), Field::new("tick_time_ms", Time)];

/// Every field of a topic's records, `provenance` and ticks left out.
pub fn fields(topic: Topic) -> Vec<Field> {
    match topic {
        Topic::Raw | Topic::Clean => EVENT.to_vec(),
        Topic::Judged => [EVENT, ACCOUNT].concat(),
        Topic::Charges => CHARGE.to_vec(),
        Topic::Dropped => [DROPPED, EVENT].concat(),
        Topic::Notices => NOTICE.to_vec(),
        Topic::Adjustments => ADJUSTMENT.to_vec(),
        Topic::Retry | Topic::Dead => LETTER.to_vec(),
        Topic::Answers => ANSWER.to_vec(),
    }
}

/// The fields that a person wants to see first.
pub fn table_fields(topic: Topic) -> Vec<Field> {
    let names: &[&str] = match topic {
        Topic::Raw | Topic::Clean => {
            &["event_time_ms", "kind", "user_id", "ip", "ad_id", "advertiser_id", "billing", "bid_micros"]
        }
        Topic::Judged => &[
            "event_time_ms",
            "kind",
            "user_id",
            "ad_id",
            "advertiser_id",
            "bid_micros",
            "command",
            "balance_nanos",
        ],
        Topic::Charges => &[
            "event_time_ms",
            "kind",
            "advertiser_id",
            "ad_id",
            "outcome",
            "reason",
            "amount_nanos",
            "balance_after_nanos",
        ],
        Topic::Dropped => &["event_time_ms", "stage", "reason", "kind", "user_id", "ip", "ad_id", "detail"],
        Topic::Notices => {
            &["event_time_ms", "notice", "advertiser_id", "balance_nanos", "worker", "taken_partition"]
        }
        Topic::Answers => {
            &["time_ms", "key", "advertiser_id", "outcome", "reason", "amount_nanos", "balance_after_nanos"]
        }
        Topic::Adjustments => &["event_time_ms", "adjustment", "advertiser_id", "amount_nanos", "reason"],
        Topic::Retry => {
            &["time_ms", "id", "advertiser_id", "at_stake_nanos", "attempt", "next_time_ms", "reason"]
        }
        Topic::Dead => &["time_ms", "fate", "id", "advertiser_id", "at_stake_nanos", "attempt", "reason"],
    };
    let all = fields(topic);
    names.iter().filter_map(|name| all.iter().find(|f| f.name == *name)).copied().collect()
}

/// Whether records of a topic tell of people.
pub fn is_personal(topic: Topic) -> bool {
    fields(topic).iter().any(|f| f.name == "user_id")
}
