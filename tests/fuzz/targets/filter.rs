//! Filters: whatever the expression and whatever the record, there is an answer or an error. The input is an
//! expression, a line feed, and the bytes of a record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use weir_pipeline::tap::{Filter, Personal, Row};
use weir_proto::{MessageId, Producer, Provenance, Record, StageId, Topic};

static CHARGE: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::json!({
        "advertiser_id": u64::MAX, "outcome": "refused", "reason": null, "amount_nanos": i64::MIN,
        "balance_after_nanos": "-99999999999999999999", "event_time_ms": i64::MAX, "guid": "é\u{0}",
        "provenance": { "offset": 0, "stage": "deduct" },
    })
});

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (source, rest) = data.split_at(at);
    let Ok(source) = std::str::from_utf8(source) else { return };
    let rest = rest.get(1..).unwrap_or_default();
    let topic = topic_of(rest);
    let Ok(filter) = Filter::new(topic, source) else { return };
    let _ = filter.accepts(&CHARGE);
    let _ = filter.accepts(&serde_json::json!({}));
    if let Ok(record) = Record::decode(rest) {
        let producer = Producer { stage: StageId::Deduct, partition: 1, generation: 1 };
        let place = Provenance { position: 7, index: u32::MAX };
        let id = MessageId { topic: topic.of(1), partition: 1, offset: u64::MAX };
        let row = Row::at(&id, producer, place, &record, &Personal::Plain).value();
        // The same record is never both wanted and not.
        let verdict = |wanted: Result<bool, _>| wanted.ok();
        assert_eq!(verdict(filter.accepts(&row)), verdict(filter.accepts(&row)));
    }
});

/// The topic in which records of this kind stand.
fn topic_of(record: &[u8]) -> Topic {
    match record.first() {
        Some(1) => Topic::Raw,
        Some(5) => Topic::Dropped,
        Some(11 | 15) => Topic::Notices,
        Some(14) => Topic::Adjustments,
        Some(8) => Topic::Retry,
        Some(9) => Topic::Dead,
        Some(12) => Topic::Judged,
        Some(13) => Topic::Answers,
        _ => Topic::Charges,
    }
}
