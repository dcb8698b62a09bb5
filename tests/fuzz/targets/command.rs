//! Commands and what else comes over the control interface, as protobuf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use weir_proto::rpc::command::Action;
use weir_proto::{Command, Currency, Record, rpc};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 8 {
        1 => stable::<rpc::SubmitRequest>(data),
        2 => stable::<rpc::RewindRequest>(data),
        3 => stable::<rpc::DecideDeadRequest>(data),
        4 => stable::<rpc::StatusResponse>(data),
        5 => stable::<rpc::GenerationsResponse>(data),
        _ => command(data),
    }
});

/// What was read and is written reads the same.
fn stable<M: Message + Default + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(read) = M::decode(data) else { return };
    assert_eq!(M::decode(&read.encode_to_vec()[..]).as_ref(), Ok(&read));
}

fn command(data: &[u8]) {
    let Ok(command) = rpc::Command::decode(data) else { return };
    let _ = command.action_name();
    let record = Command::encode(&command);
    let Ok(Record::Command(read)) = Record::decode(&record) else { panic!("{command:?} cannot be read") };
    assert_eq!(read.advertiser_id(), command.advertiser_id);
    assert_eq!(read.read().as_ref(), Ok(&command));
    for money in amounts(&command) {
        let own = Currency::parse("EUR").expect("a currency");
        let Some((amount, currency)) = money.read_in(own) else { continue };
        // Not a digit is lost, there and back.
        let back = amount.to_wire(currency).expect("it came over the wire");
        assert_eq!((back.units, back.nanos), (money.units, money.nanos));
        assert_eq!(back.read(), Some((amount, currency)));
        assert_eq!(amount.to_string().parse().ok(), (money.units > i64::MIN).then_some(amount));
    }
}

fn amounts(command: &rpc::Command) -> Vec<&rpc::Money> {
    match &command.action {
        Some(Action::Open(o)) => {
            o.balance.iter().chain(&o.daily_budget).chain(&o.credit_line).chain(&o.low_balance).collect()
        }
        Some(Action::TopUp(m) | Action::Withdraw(m) | Action::CreditLine(m)) => vec![m],
        Some(Action::Budget(b)) => b.daily_budget.iter().chain(&b.low_balance).collect(),
        Some(Action::Campaign(c)) => {
            c.price.iter().chain(&c.price_cap).chain(&c.daily_budget).chain(&c.total_budget).collect()
        }
        Some(Action::Refund(r)) => r.amount.iter().collect(),
        _ => Vec::new(),
    }
}
