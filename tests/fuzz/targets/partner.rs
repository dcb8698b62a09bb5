//! What a partner has counted, days and shares. Each line adds up exactly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::books::share::Share;
use weir_pipeline::books::{Day, partner};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(day) = text.parse::<Day>() {
            assert_eq!(day.to_string(), text);
        }
        if let Ok(share) = text.parse::<Share>() {
            assert_eq!(share.to_string().parse(), Ok(share));
        }
    }
    let Ok(once) = partner::parse(data) else { return };
    assert_eq!(once.days().is_none(), once.figures.is_empty());
    for (key, figure) in &once.figures {
        assert!(figure.count >= 0);
        assert_eq!(key.kind.is_some(), !once.kinds.is_empty());
    }
    // A partner that sends every line twice has counted double.
    let header = data.iter().position(|b| *b == b'\n').map_or(data.len(), |at| at + 1);
    let is_plain = !data.contains(&b'"') && !data.contains(&b'\r') && data.ends_with(b"\n");
    if let (true, Ok(twice)) = (is_plain, partner::parse(&[data, &data[header..]].concat())) {
        assert_eq!(twice.figures.len(), once.figures.len());
        for (key, figure) in &once.figures {
            let double = twice.figures[key];
            assert_eq!((double.count, double.amount_nanos.0), (figure.count * 2, figure.amount_nanos.0 * 2));
        }
    }
});
