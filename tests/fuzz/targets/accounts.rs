//! Accounts files: each line is one command, at the place where it stands, with its amounts in full.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use weir_operators::accounts::{HEADER, MORE, parse};
use weir_operators::deduct::zone;
use weir_proto::Nanos;
use weir_proto::rpc::command::Action;

fuzz_target!(|data: &str| {
    // Most inputs would not get past the header.
    for text in [data.to_owned(), format!("{HEADER}{MORE}\n{data}"), format!("{HEADER}\n{data}")] {
        judge(&text);
    }
});

fn judge(text: &str) {
    let Ok(commands) = parse(text) else { return };
    let mut seen = BTreeSet::new();
    for (position, command) in commands {
        assert!(seen.insert(command.advertiser_id));
        let line = text[position as usize..].lines().next().expect("a line stands there");
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        assert_eq!(fields[0].parse(), Ok(command.advertiser_id));
        let Some(Action::Open(open)) = command.action else { panic!("{line} is no account") };
        assert!(zone(&open.time_zone).is_some() && open.brought_forward);
        for (money, field) in [(&open.daily_budget, fields[1]), (&open.balance, fields[2])] {
            let (amount, currency) = money.as_ref().and_then(|m| m.read()).expect("an amount");
            assert_eq!(amount, Nanos::from_micros(field.parse().expect("a number")));
            let named = fields.get(3).copied().filter(|code| !code.is_empty()).unwrap_or("USD");
            assert_eq!(currency.to_string(), named);
        }
    }
}
