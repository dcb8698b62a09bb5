//! The address of the ledger database: what is wrong with it is told without its password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::ledger::parse_url;

const SECRET: &str = "pA55-w0rd!";

fuzz_target!(|text: &str| {
    // An input may have come to know it.
    if text.contains(&SECRET[..4]) {
        return;
    }
    // The first question mark of the text stands for a password.
    let url = text.replacen('?', SECRET, 1);
    match parse_url(&url) {
        Ok(config) => assert!(config.get_dbname().is_some() && config.get_connect_timeout().is_some()),
        Err(said) => assert!(!said.contains(SECRET), "{said}"),
    }
    let _ = parse_url(text);
});
