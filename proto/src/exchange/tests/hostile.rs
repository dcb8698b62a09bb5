//! Messages that something other than this crate has written.

use super::generators::record;
use super::samples::{KINDS, sample};
use super::{from_message, message, read, to_message};
use crate::exchange::{ExchangeError, FieldFault};
use crate::record::{Record, RecordError};
use crate::rpc;
use crate::rpc::record::Kind;
use proptest::prelude::*;
use prost::Message;

/// What comes of a message; a record, if any, is one that can be read and comes back.
fn taken(message: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let mut bytes = Vec::new();
    from_message(message, &mut bytes)?;
    Record::decode(&bytes).unwrap();
    read(&bytes);
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..20u8) {
        let _ = taken(&bytes);
        // With the frame of a record of each kind, so that more is reached.
        let mut framed = vec![kind << 3 | 2];
        crate::bytes::put_varint(&mut framed, bytes.len() as u64);
        framed.extend_from_slice(&bytes);
        let _ = taken(&framed);
    }

    #[test]
    fn a_changed_message_is_a_record_or_an_error(
        bytes in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut changed = message(&bytes);
        changes.into_iter().for_each(|(at, value)| {
            let at = at.index(changed.len());
            changed[at] = value;
        });
        let _ = taken(&changed);
    }

    #[test]
    fn a_cut_message_is_an_error(bytes in record(), at in any::<prop::sample::Index>()) {
        let message = message(&bytes);
        prop_assert!(taken(&message[..at.index(message.len())]).is_err());
    }
}

#[test]
fn a_message_is_cut_nowhere() {
    for kind in KINDS {
        let message = message(&sample(kind));
        assert_eq!(taken(&message), Ok(sample(kind)));
        assert_eq!(taken(b""), Err(ExchangeError::Empty));
        for len in 1..message.len() {
            assert_eq!(taken(&message[..len]), Err(ExchangeError::Damaged { message: "record" }), "{len}");
        }
    }
}

/// The error of the message of a record that was changed.
fn error(kind: u8, change: impl FnOnce(&mut Kind)) -> ExchangeError {
    let mut changed = read(&sample(kind));
    change(&mut changed);
    taken(&rpc::Record { kind: Some(changed) }.encode_to_vec()).unwrap_err()
}

macro_rules! error_of {
    ($number:literal, $kind:ident, |$message:ident| $change:expr) => {
        error($number, |kind| {
            let Kind::$kind($message) = kind else { panic!("{kind:?}") };
            $change;
        })
    };
}

fn fault(message: &'static str, field: u32, fault: FieldFault) -> ExchangeError {
    ExchangeError::Field { message, field, fault }
}

#[test]
fn what_no_record_can_be_without_is_asked_for() {
    let missing = |message, field| fault(message, field, FieldFault::Missing);
    assert_eq!(error_of!(1, Event, |e| e.guid.clear()), missing("event", 1));
    assert_eq!(error_of!(1, Event, |e| e.kind = 0), missing("event", 4));
    assert_eq!(error_of!(1, Event, |e| e.ip.clear()), missing("event", 6));
    assert_eq!(error_of!(1, Event, |e| e.billing = 0), missing("event", 16));
    assert_eq!(error_of!(10, Charge, |c| c.guid.clear()), missing("charge", 1));
    assert_eq!(error_of!(10, Charge, |c| c.outcome = 0), missing("charge", 2));
    assert_eq!(error_of!(10, Charge, |c| c.kind = 0), missing("charge", 3));
    assert_eq!(error_of!(10, Charge, |c| c.amount = None), missing("charge", 9));
    assert_eq!(error_of!(10, Charge, |c| c.balance_after = None), missing("charge", 10));
    assert_eq!(error_of!(5, Dropped, |d| d.stage = 0), missing("dropped event", 1));
    assert_eq!(error_of!(5, Dropped, |d| d.reason = 0), missing("dropped event", 2));
    assert_eq!(error_of!(5, Dropped, |d| d.event = Some(rpc::Event::default())), missing("event", 1));
    assert_eq!(error_of!(11, Notice, |n| n.kind = 0), missing("notice", 1));
    assert_eq!(error_of!(11, Notice, |n| n.balance = None), missing("notice", 4));
    assert_eq!(error_of!(14, Adjustment, |a| a.kind = 0), missing("adjustment", 1));
    assert_eq!(error_of!(14, Adjustment, |a| a.before = None), missing("adjustment", 8));
    assert_eq!(error_of!(8, Letter, |l| l.message_id.clear()), missing("letter", 1));
    assert_eq!(error_of!(8, Letter, |l| l.fate = 0), missing("letter", 2));
    assert_eq!(error_of!(13, Answer, |a| a.outcome = 0), missing("answer", 4));
    assert_eq!(error_of!(13, Answer, |a| a.balance_after = None), missing("answer", 7));
}

#[test]
fn what_does_not_fit_a_record_is_refused() {
    let too_long = |message, field| fault(message, field, FieldFault::Length);
    assert_eq!(error_of!(1, Event, |e| e.guid = "x".repeat(256)), too_long("event", 1));
    assert_eq!(error_of!(1, Event, |e| e.user_id = "x".repeat(256)), too_long("event", 5));
    assert_eq!(error_of!(1, Event, |e| e.ua = "x".repeat(2049)), too_long("event", 7));
    assert_eq!(error_of!(10, Charge, |c| c.original_guid = "x".repeat(256)), too_long("charge", 13));
    assert_eq!(error_of!(5, Dropped, |d| d.detail = "x".repeat(1025)), too_long("dropped event", 3));
    assert_eq!(error_of!(5, Dropped, |d| d.raw = vec![0; 513]), too_long("dropped event", 4));
    assert_eq!(error_of!(8, Letter, |l| l.reason = "x".repeat(1025)), too_long("letter", 9));
    assert_eq!(error_of!(13, Answer, |a| a.key = "x".repeat(256)), too_long("answer", 1));
    let out_of_range = fault("takeover", 1, FieldFault::Range);
    assert_eq!(error_of!(15, Takeover, |t| t.worker = 65_536), out_of_range);
    let out_of_range = fault("charge", 12, FieldFault::Range);
    assert_eq!(error_of!(10, Charge, |c| c.utc_offset_minutes = 32_768), out_of_range);
    let too_large = [&b"\x12\x06\x08"[..], &[0xff, 0xff, 0xff, 0xff, 0x10]].concat();
    assert_eq!(taken(&too_large), Err(fault("tick", 1, FieldFault::Range)));
}

#[test]
fn what_means_nothing_is_refused() {
    assert_eq!(error_of!(1, Event, |e| e.ip = "10.0.0".to_owned()), fault("event", 6, FieldFault::Address));
    assert_eq!(
        error_of!(1, Event, |e| e.currency = "eur".to_owned()),
        fault("event", 17, FieldFault::Currency)
    );
    let id = "charges/1/03/1";
    assert_eq!(
        error_of!(8, Letter, |l| l.message_id = id.to_owned()),
        fault("letter", 1, FieldFault::MessageId)
    );
    let value = |message, field, value| ExchangeError::Value { message, field, value };
    assert_eq!(error_of!(1, Event, |e| e.kind = 6), value("event", 4, 6));
    assert_eq!(error_of!(1, Event, |e| e.kind = -1), value("event", 4, -1));
    assert_eq!(error_of!(10, Charge, |c| c.outcome = 257), value("charge", 2, 257));
    assert_eq!(error_of!(10, Charge, |c| c.crossings.push(7)), value("charge", 11, 7));
    // A text that is not UTF-8, a number in place of a text, a text in place of a number.
    assert_eq!(taken(b"\x0a\x03\x0a\x01\xff"), Err(fault("event", 1, FieldFault::Text)));
    assert_eq!(taken(b"\x0a\x02\x08\x01"), Err(fault("event", 1, FieldFault::Type)));
    assert_eq!(taken(b"\x0a\x02\x12\x00"), Err(fault("event", 2, FieldFault::Type)));
    // A number of eight bytes, a group.
    assert_eq!(taken(b"\x0a\x09\x11\0\0\0\0\0\0\0\0"), Err(fault("event", 2, FieldFault::Type)));
    assert_eq!(taken(b"\x0a\x02\x13\x14"), Err(fault("event", 2, FieldFault::Type)));
    // A field without a number; a number of more than 64 bits.
    assert_eq!(taken(b"\x0a\x02\x00\x00"), Err(ExchangeError::Damaged { message: "event" }));
    assert_eq!(
        taken(&[&b"\x12\x0b\x08"[..], &[0xff; 10]].concat()),
        Err(ExchangeError::Damaged { message: "tick" })
    );
}

#[test]
fn amounts_are_of_one_sign_and_in_one_currency() {
    fn changed(change: impl FnOnce(&mut rpc::Money)) -> ExchangeError {
        error_of!(10, Charge, |c| change(c.balance_after.as_mut().unwrap()))
    }
    assert_eq!(changed(|m| m.nanos = 8), fault("charge", 10, FieldFault::Amount));
    assert_eq!(changed(|m| m.nanos = -1_000_000_000), fault("charge", 10, FieldFault::Amount));
    assert_eq!(changed(|m| m.nanos = i32::MIN), fault("charge", 10, FieldFault::Amount));
    assert_eq!(
        changed(|m| m.currency_code = "US".to_owned()),
        fault("amount of money", 1, FieldFault::Currency)
    );
    let other = fault("charge", 10, FieldFault::OtherCurrency);
    assert_eq!(changed(|m| m.currency_code = "USD".to_owned()), other);
    assert_eq!(changed(|m| m.currency_code.clear()), other);
    let none = error_of!(10, Charge, |c| c.amount.as_mut().unwrap().currency_code.clear());
    assert_eq!(none, fault("charge", 9, FieldFault::Currency));
    let named = error_of!(11, Notice, |n| n.balance.as_mut().unwrap().currency_code = "EUR".to_owned());
    assert_eq!(named, fault("notice", 4, FieldFault::OtherCurrency));
}

#[test]
fn what_is_not_known_is_not_passed_over() {
    // Field 16 of a record; field 99 of a tick, of the amount of a notice.
    assert_eq!(taken(b"\x82\x01\x00"), Err(ExchangeError::Unknown { message: "record", field: 16 }));
    assert_eq!(taken(b"\x12\x03\x98\x06\x00"), Err(ExchangeError::Unknown { message: "tick", field: 99 }));
    let amount = b"\x2a\x05\x22\x03\x98\x06\x00";
    assert_eq!(taken(amount), Err(ExchangeError::Unknown { message: "amount of money", field: 99 }));
    let two = [message(&sample(2)), message(&sample(11))].concat();
    assert_eq!(taken(&two), Err(ExchangeError::Twice));
    let opaque =
        |bytes: &[u8]| taken(&rpc::Record { kind: Some(Kind::Opaque(bytes.to_vec())) }.encode_to_vec());
    assert_eq!(opaque(&sample(2)), Ok(sample(2)));
    assert_eq!(opaque(&[77]), Err(ExchangeError::Record(RecordError::Kind(77))));
    assert!(matches!(taken(b"\x42\x01\x0a"), Err(ExchangeError::Command(_))));
}

#[test]
fn what_other_writers_may_do_is_read() {
    let Kind::Charge(charge) = read(&sample(10)) else { panic!("no charge") };
    let framed = |body: &[u8]| {
        let mut framed = vec![3 << 3 | 2];
        crate::bytes::put_varint(&mut framed, body.len() as u64);
        [&framed, body].concat()
    };
    // Fields in another order, with defaults written out, crossings one by one, and of two values the last.
    let crossings = b"\x58\x03\x58\x02";
    let without = rpc::Charge { crossings: vec![], ..charge };
    let body = [&crossings[..], b"\x70\x00\x28\x63", &without.encode_to_vec()].concat();
    assert_eq!(taken(&framed(&body)), Ok(sample(10)));
    // What is left of `out` behind an error is no record.
    let mut out = sample(1);
    assert!(from_message(b"\x0a", &mut out).is_err() && out.is_empty());
    assert!(to_message(b"", &mut out).is_err() && out.is_empty());
}
