//! What people and files write as text: ids, times, names, amounts. What is shown reads as what it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_fuzz::assert_shown;
use weir_proto::{Billing, Currency, Guid, MessageId, Minute, Nanos, StageId, Topic};

fuzz_target!(|text: &str| {
    match Guid::parse(text) {
        Some(guid) => {
            assert_eq!(guid.to_string(), text);
            assert_shown(&guid);
            let _ = guid.minute();
        }
        None => assert!(text.is_empty() || text.len() > Guid::MAX_LEN),
    }
    if let Some(id) = MessageId::parse(text) {
        // It is part of keys: there is one way to write it.
        assert_eq!(id.to_string(), text);
    }
    if let Ok(minute) = text.parse::<Minute>() {
        assert_eq!(minute.to_string().parse(), Ok(minute));
        assert_eq!(Minute::of_ms(minute.start_ms()), minute);
    }
    if let Some(currency) = Currency::parse(text) {
        assert_eq!(currency.to_string(), text);
    }
    if let Ok(amount) = text.parse::<Nanos>() {
        assert_eq!(amount.to_string().parse(), Ok(amount));
        // By another way: all digits as one number.
        let (units, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits: i128 = format!("{units}{decimals:0<9}").parse().expect("digits");
        assert_eq!(amount, Nanos(digits));
        let wire = amount.to_wire(Currency::default()).expect("it fits");
        assert_eq!(wire.read(), Some((amount, Currency::default())));
    }
    assert!(Billing::from_name(text).is_none_or(|b| b.name() == text));
    assert!(StageId::from_name(text).is_none_or(|s| s.name() == text));
    assert!(Topic::from_name(text).is_none_or(|t| t.name() == text));
});
