//! Records of a topic as JSON.

use super::{Found, Personal};
use serde::Serialize;
use serde_json::{Map, Value, json};
use weir_proto::{
    Adjustment, Answer, Billing, Charge, ChargeRef, Command, Currency, Event, Letter, MessageId, Nanos,
    Outcome, Producer, Provenance, Record, Topic,
};

/// Where a record comes from and stands.
#[derive(Serialize)]
struct Place {
    topic: Topic,
    partition: u32,
    offset: u64,
    #[serde(flatten)]
    producer: Producer2,
    #[serde(flatten)]
    provenance: Provenance,
}

/// The producer under names that do not clash with those of the place.
#[derive(Serialize)]
struct Producer2 {
    stage: &'static str,
    input_partition: u16,
    generation: u32,
}

impl From<Producer> for Producer2 {
    fn from(p: Producer) -> Self {
        Producer2 { stage: p.stage.name(), input_partition: p.partition, generation: p.generation }
    }
}

/// The most written records, spelled out so that a dump of millions is quick.
#[derive(Serialize)]
pub struct ChargeLine {
    guid: String,
    advertiser_id: u64,
    campaign_id: u64,
    ad_id: u64,
    outcome: &'static str,
    reason: Option<&'static str>,
    amount_nanos: Nanos,
    balance_after_nanos: Nanos,
    event_time_ms: u64,
    kind: &'static str,
    billing: Option<&'static str>,
    currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<String>,
    provenance: Place,
}

/// A record ready to be shown.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Row {
    /// A charge or a refusal.
    Charge(Box<ChargeLine>),
    /// Anything else.
    Other(Value),
}

impl Row {
    /// Shows a record of a topic.
    pub fn new(topic: Topic, found: &Found<'_>, personal: &Personal) -> Self {
        let head = &found.head;
        let topic = topic.of(head.producer.generation);
        let id = MessageId { topic, partition: head.partition, offset: found.offset };
        Self::at(&id, head.producer, found.provenance, &found.record, personal)
    }

    /// Shows a record that stands at a place.
    pub fn at(
        id: &MessageId,
        producer: Producer,
        provenance: Provenance,
        record: &Record<'_>,
        personal: &Personal,
    ) -> Self {
        let place = Place {
            topic: id.topic.topic,
            partition: id.partition,
            offset: id.offset,
            producer: producer.into(),
            provenance,
        };
        match record {
            Record::Charge(charge) => Row::Charge(Box::new(charge_line(charge, place))),
            other => Row::Other(value_of(other, place, personal)),
        }
    }

    /// The record as a JSON object.
    pub fn value(&self) -> Value {
        match self {
            // Plain data is always a value.
            Row::Charge(line) => serde_json::to_value(line).unwrap_or_default(),
            Row::Other(value) => value.clone(),
        }
    }
}

fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Charged => ("charged", None),
        Outcome::Refused(reason) => ("refused", Some(reason.name())),
    }
}

fn charge_line(charge: &Charge<'_>, provenance: Place) -> ChargeLine {
    let (outcome, reason) = outcome(charge.outcome);
    ChargeLine {
        guid: charge.guid.to_string(),
        advertiser_id: charge.advertiser_id,
        campaign_id: charge.campaign_id,
        ad_id: charge.ad_id,
        outcome,
        reason,
        amount_nanos: charge.amount,
        balance_after_nanos: charge.balance_after,
        event_time_ms: charge.event_time_ms,
        kind: charge.kind.name(),
        billing: charge.billing.map(Billing::name),
        currency: charge.currency,
        original: (!charge.original.is_empty()).then(|| charge.original.to_owned()),
        provenance,
    }
}

fn value_of(record: &Record<'_>, place: Place, personal: &Personal) -> Value {
    let mut fields = match record {
        Record::Event(event) => event_fields(event, personal),
        Record::Tick(minute) => object(json!({ "tick": minute.0, "tick_time_ms": minute.start_ms() })),
        Record::Notice(notice) => object(json!({
            "notice": notice.kind.name(),
            "advertiser_id": notice.advertiser_id,
            "balance_nanos": notice.balance,
            "campaign_id": (notice.campaign_id > 0).then_some(notice.campaign_id),
            "event_time_ms": notice.event_time_ms,
        })),
        Record::Takeover(takeover) => object(json!({
            "notice": "takeover",
            "worker": takeover.worker,
            "taken_partition": takeover.partition,
            "took_ms": takeover.took_ms,
            "behind": takeover.behind,
            "event_time_ms": takeover.time_ms,
        })),
        Record::Command(command) => command_fields(command),
        Record::Answer(answer) => answer_fields(answer),
        Record::Adjustment(adjustment) => adjustment_fields(adjustment, place.producer.generation),
        Record::Retry(letter) | Record::Dead(letter) => letter_fields(letter),
        Record::Dropped(dropped) => {
            let mut fields = object(json!({
                "guid": null,
                "stage": dropped.stage.name(),
                "reason": dropped.reason.name(),
                "detail": personal.detail(dropped),
                "raw": personal.raw(dropped),
            }));
            fields.extend(dropped.event.iter().flat_map(|event| event_fields(event, personal)));
            fields
        }
        Record::Charge(_) => Map::new(),
    };
    fields.insert("provenance".to_owned(), serde_json::to_value(place).unwrap_or_default());
    Value::Object(fields)
}

/// The generation whose publication is the reason is that of the task that posted it.
fn adjustment_fields(a: &Adjustment<'_>, published: u32) -> Map<String, Value> {
    let charge = |at: ChargeRef| match at.generation {
        0 => Value::Null,
        generation => json!({ "generation": generation, "partition": a.partition, "offset": at.offset }),
    };
    object(json!({
        "adjustment": a.kind.name(),
        "guid": a.guid.to_string(),
        "advertiser_id": a.advertiser_id,
        "amount_nanos": Nanos(a.after.0.saturating_sub(a.before.0)),
        "before_nanos": a.before,
        "after_nanos": a.after,
        "currency": a.currency,
        "reason": format!("generation {published} was published"),
        "original": charge(a.original),
        "new": charge(a.new),
        "event_time_ms": a.event_time_ms,
    }))
}

/// A command that cannot be read is shown without its content: taps go on.
fn command_fields(command: &Command<'_>) -> Map<String, Value> {
    let mut fields = object(json!({ "command": null, "advertiser_id": command.advertiser_id() }));
    if let Ok(read) = command.read() {
        fields.insert("command".to_owned(), read.action_name().into());
        fields.insert("key".to_owned(), read.key.clone().into());
        fields.insert("time_ms".to_owned(), read.time_ms.into());
    }
    fields
}

fn answer_fields(answer: &Answer<'_>) -> Map<String, Value> {
    let (outcome, reason) = outcome(answer.outcome);
    object(json!({
        "time_ms": answer.time_ms,
        "key": answer.key,
        "advertiser_id": answer.advertiser_id,
        "outcome": outcome,
        "reason": reason,
        "repeated": answer.is_repeated,
        "amount_nanos": answer.amount,
        "balance_after_nanos": answer.balance_after,
        "currency": answer.currency,
    }))
}

fn letter_fields(letter: &Letter<'_>) -> Map<String, Value> {
    object(json!({
        "time_ms": letter.time_ms,
        "fate": letter.fate.name(),
        "id": letter.id.to_string(),
        "guid": letter.guid.to_string(),
        "advertiser_id": letter.advertiser_id,
        "at_stake_nanos": letter.at_stake,
        "attempt": letter.attempt,
        "next_time_ms": (letter.next_time_ms > 0).then_some(letter.next_time_ms),
        "reason": letter.reason,
    }))
}

fn event_fields(event: &Event<'_>, personal: &Personal) -> Map<String, Value> {
    object(json!({
        "guid": event.guid().to_string(),
        "event_time_ms": event.event_time_ms(),
        "ingest_time_ms": event.ingest_time_ms(),
        "kind": event.kind().name(),
        "user_id": personal.user(event),
        "ip": personal.ip(event),
        "ua": (!event.ua().is_empty()).then(|| event.ua()),
        "ad_id": event.ad_id(),
        "campaign_id": event.campaign_id(),
        "advertiser_id": event.advertiser_id(),
        "slot": event.slot(),
        "region": event.region(),
        "channel": event.channel(),
        "app_version": event.app_version(),
        "bid_micros": event.bid_micros(),
        "billing": event.billing().name(),
        "origin_guid": event.origin().map(|o| o.guid),
        "sale_micros": event.origin().map(|o| o.sale_micros).filter(|n| *n > 0),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
