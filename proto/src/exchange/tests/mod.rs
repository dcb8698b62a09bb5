//! Every record comes back from its message as it was.

mod fields;
mod generators;
mod hostile;
mod samples;

use super::{from_message, to_message};
use crate::money::{Currency, Nanos};
use crate::record::Record;
use crate::rpc;
use generators::record;
use proptest::prelude::*;
use prost::Message;
use rpc::record::Kind;
use samples::sample;

/// The message of a record, after it was seen that the record comes back from it.
fn message(bytes: &[u8]) -> Vec<u8> {
    // What was there before is replaced.
    let (mut message, mut back) = (b"before".to_vec(), b"before".to_vec());
    to_message(bytes, &mut message).unwrap();
    from_message(&message, &mut back).unwrap();
    assert_eq!(back, bytes);
    message
}

/// The same, as any client reads it.
fn read(bytes: &[u8]) -> Kind {
    rpc::Record::decode(&message(bytes)[..]).unwrap().kind.unwrap()
}

/// Whether each amount of a record is one that `Money` holds.
fn amounts_fit(bytes: &[u8]) -> bool {
    let amounts = match Record::decode(bytes).unwrap() {
        Record::Charge(charge) => vec![charge.amount, charge.balance_after],
        Record::Notice(notice) => vec![notice.balance],
        Record::Adjustment(adjustment) => vec![adjustment.before, adjustment.after],
        Record::Retry(letter) | Record::Dead(letter) => vec![letter.at_stake],
        Record::Answer(answer) => vec![answer.amount, answer.balance_after],
        _ => vec![],
    };
    amounts.into_iter().all(|amount: Nanos| amount.to_wire(Currency::default()).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_written_comes_back(bytes in record()) {
        let message = message(&bytes);
        let read = rpc::Record::decode(&message[..]).unwrap();
        prop_assert_eq!(matches!(&read.kind, Some(Kind::Opaque(_))), !amounts_fit(&bytes));
        // The generated types write it the same, to the byte.
        prop_assert_eq!(read.encode_to_vec(), message);
    }

    #[test]
    fn whatever_can_be_read_comes_back(
        bytes in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bytes;
        // Near the front, where everything is that is not text.
        let near = bytes.len().min(128);
        changes.into_iter().for_each(|(at, value)| bytes[at.index(near)] = value);
        if Record::decode(&bytes).is_ok() {
            read(&bytes);
        } else {
            prop_assert!(to_message(&bytes, &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn what_cannot_be_told_goes_as_it_stands() {
    fn changed(kind: u8, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = sample(kind);
        change(&mut bytes);
        bytes
    }
    let not_utf8 = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() = 0xff;
    let records = [
        // The user agent, and one that is too long for the encoder.
        changed(1, not_utf8),
        changed(1, |bytes| {
            let longer = u16::from_le_bytes([bytes[8], bytes[9]]) + 3000;
            bytes[8..10].copy_from_slice(&longer.to_le_bytes());
            bytes.extend_from_slice(&[b'x'; 3000]);
        }),
        // The kind of an impression, which the flags say; a number beside a guid that is text.
        changed(1, |bytes| bytes[10] = 1),
        changed(1, |bytes| bytes[64] ^= 1),
        changed(2, |bytes| bytes[1] = 1),
        changed(5, not_utf8),
        // A byte of no meaning; a crossing of no name; the original.
        changed(10, |bytes| bytes[7] = 1),
        changed(10, |bytes| bytes[88] = 64),
        changed(10, not_utf8),
        changed(11, |bytes| bytes[7] = 1),
        changed(15, |bytes| bytes[1] = 1),
        // An account that is not the command's; a field that the command does not have; a command that is none.
        changed(12, |bytes| bytes[8] ^= 1),
        changed(12, |bytes| bytes[2] = 1),
        changed(12, |bytes| bytes.truncate(bytes.len() - 1)),
        changed(13, not_utf8),
        changed(13, |bytes| bytes[2] = 2),
        changed(14, not_utf8),
        changed(8, not_utf8),
        changed(9, |bytes| bytes[5] = 1),
    ];
    for bytes in records {
        assert_eq!(read(&bytes), Kind::Opaque(bytes));
    }
    // A command goes as it stands anyway.
    let with_more = changed(12, |bytes| bytes.extend_from_slice(b"\xf8\x07\x01"));
    assert!(matches!(read(&with_more), Kind::Command(_)));
}

#[test]
fn what_is_no_record_has_no_message() {
    for bytes in [&b""[..], &[0; 80], &[3; 80], &[2, 0, 0, 0, 1]] {
        assert_eq!(
            to_message(bytes, &mut Vec::new()).unwrap_err(),
            Record::decode(bytes).map(|_| ()).unwrap_err()
        );
    }
}
