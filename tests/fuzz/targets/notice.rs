//! The parameters of `/win`: what is read is what stands there once, substituted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::fuzzing;

fuzz_target!(|query: &str| {
    let Ok(notice) = fuzzing::notice(query) else { return };
    let needed = [&notice.token, &notice.price, &notice.bid, &notice.imp];
    assert!(needed.iter().all(|value| !value.is_empty()));
    assert!(needed.iter().chain([&&notice.mult]).all(|value| !value.contains("${")));
    // Whatever stands behind it changes nothing.
    let more = format!("{query}&url=http://evil.example&T=x");
    assert_eq!(fuzzing::notice(&more).as_ref(), Ok(&notice));
    let twice = format!("{query}&t=other");
    assert!(fuzzing::notice(&twice).is_err());
});
