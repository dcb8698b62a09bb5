//! Records of topics: whatever is read says the same when it is written again.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use weir_fuzz::{again, assert_shown, told};
use weir_proto::{Dropped, Guid, Record};

fuzz_target!(|data: &[u8]| -> Corpus {
    let tick = Record::tick_of(data);
    let Ok(record) = Record::decode(data) else {
        assert_eq!(tick, None);
        return Corpus::Keep;
    };
    assert_eq!(tick.is_some(), matches!(record, Record::Tick(_)));
    if let Record::Command(command) = &record
        && command.read().is_err()
    {
        return Corpus::Keep;
    }
    if let Record::Event(event) = &record {
        assert_shown(&event.guid());
        assert_eq!(event.bytes(), data);
        // An amount is in the currency that stands there, or it is not read at all.
        assert_eq!(event.currency().is_some(), data[1] & 64 != 0);
    }
    if let Record::Charge(charge) = &record {
        assert_shown(&charge.guid);
        assert!(charge.taken() == charge.amount || charge.taken().0 == 0);
        let _ = charge.day();
    }
    let (before, bytes) = (told(&record), again(&record));
    if is_longer_than_written(&record) {
        return Corpus::Keep;
    }
    let read = Record::decode(&bytes).expect("what is written can be read");
    assert_eq!(told(&read), before);
    // What is written has one form only.
    assert_eq!(again(&read), bytes);
    Corpus::Keep
});

/// Whether it holds more text than its encoder would write: that is cut.
fn is_longer_than_written(record: &Record<'_>) -> bool {
    let guid = |guid: &Guid<'_>| matches!(guid, Guid::Text(text) if text.len() > Guid::MAX_LEN);
    match record {
        Record::Event(event) => event.ua().len() > weir_proto::NewEvent::MAX_UA,
        Record::Dropped(dropped) => {
            dropped.detail.len() > 1024
                || dropped.raw.len() > Dropped::MAX_RAW
                || dropped.event.is_some_and(|e| e.ua().len() > weir_proto::NewEvent::MAX_UA)
        }
        Record::Retry(letter) | Record::Dead(letter) => letter.reason.len() > 1024 || guid(&letter.guid),
        _ => false,
    }
}
