//! Rows as COPY reads them, one for each kind of outcome.

use super::row::{COLUMNS, Rows};
use crate::deliver::Message;
use weir_proto::{
    Adjustment, AdjustmentKind, Billing, Charge, ChargeRef, Crossings, Currency, EntryKind, Guid, MessageId,
    Nanos, Outcome, Producer, Provenance, RefuseReason, StageId, Topic,
};

fn message(topic: Topic, bytes: Vec<u8>) -> Message {
    Message {
        id: MessageId { topic: topic.of(2), partition: 3, offset: 4 },
        producer: Producer { stage: StageId::Deduct, partition: 3, generation: 2 },
        provenance: Provenance { position: 7, index: 0 },
        bytes,
    }
}

fn charge(kind: EntryKind, outcome: Outcome, amount: i128) -> Message {
    let charge = Charge {
        guid: Guid::Text("a\tb\\N\0"),
        outcome,
        kind,
        billing: kind.is_event().then_some(Billing::Cpc),
        event_time_ms: 1_767_225_599_001,
        ad_id: u64::MAX,
        campaign_id: 5,
        advertiser_id: 36,
        amount: Nanos(amount),
        balance_after: Nanos(-1),
        crossings: Crossings::default(),
        currency: Currency::parse("EUR").unwrap(),
        utc_offset_minutes: 60,
        original: "",
    };
    let (fixed, [guid, _]) = charge.encode();
    message(Topic::Charges, [&fixed[..], guid.as_bytes()].concat())
}

fn columns(message: &Message, concerned: Option<&Message>) -> Vec<String> {
    let mut rows = Rows::default();
    rows.push(message, concerned).unwrap();
    assert_eq!(rows.count(), 1);
    let text = String::from_utf8(rows.into_bytes()).unwrap();
    let columns: Vec<String> = text.strip_suffix('\n').unwrap().split('\t').map(str::to_owned).collect();
    let types = COLUMNS.replace("38, 9", "38");
    assert_eq!(columns.len(), types.split(", ").count());
    columns
}

#[test]
fn every_column_in_its_place() {
    let row = columns(&charge(EntryKind::Click, Outcome::Charged, 1_500_000_001), None).join(" ");
    assert_eq!(
        row,
        "charges/2/3/4 click charged \\N cpc a\\tb\\\\N\u{2400} 36 5 18446744073709551615 1.500000001 EUR \
         -0.000000001 2025-12-31T23:59:59.001Z 2026-01-01 \\N \\N advertiser:36 revenue"
    );
}

#[test]
fn money_goes_the_way_it_goes() {
    let legs = |kind, outcome, amount| columns(&charge(kind, outcome, amount), None)[16..].join(" ");
    for kind in EntryKind::ALL {
        let other = match kind {
            EntryKind::Click | EntryKind::Impression | EntryKind::Action | EntryKind::Sale => "revenue",
            EntryKind::SaleReversal | EntryKind::Period => "revenue",
            EntryKind::Refund | EntryKind::Reversal => "revenue",
            _ => "cash",
        };
        assert_eq!(legs(kind, Outcome::Charged, 5), format!("advertiser:36 {other}"));
        assert_eq!(legs(kind, Outcome::Charged, -5), format!("{other} advertiser:36"));
        assert_eq!(legs(kind, Outcome::Charged, 0), "\\N \\N");
        assert_eq!(legs(kind, Outcome::Refused(RefuseReason::Frozen), 5), "\\N \\N");
    }
}

#[test]
fn an_adjustment_takes_the_difference() {
    let adjustment = Adjustment {
        kind: AdjustmentKind::Change,
        guid: Guid::Text("abc"),
        advertiser_id: 36,
        event_time_ms: 1_767_225_599_001,
        partition: 3,
        original: ChargeRef { generation: 1, offset: 9 },
        new: ChargeRef { generation: 2, offset: 4 },
        before: Nanos(8_000_000_000),
        after: Nanos(5_000_000_000),
        currency: Currency::parse("EUR").unwrap(),
    };
    let (fixed, guid) = adjustment.encode();
    let adjustment = message(Topic::Adjustments, [&fixed[..], guid.as_bytes()].concat());
    let concerned = charge(EntryKind::Click, Outcome::Charged, 5_000_000_000);
    let row = columns(&adjustment, Some(&concerned)).join(" ");
    assert_eq!(
        row,
        "adjustments/2/3/4 adjustment adjusted change cpc abc 36 5 18446744073709551615 -3.000000000 EUR \\N \
         2025-12-31T23:59:59.001Z 2026-01-01 \\N charges/1/3/9 revenue advertiser:36"
    );
    // What the log has let go of is not made up.
    let row = columns(&adjustment, None);
    assert_eq!((&*row[7], &*row[13]), ("\\N", "2025-12-31"));
}
