//! Commands of the control interface: what is found to make sense says what it promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use weir_operators::deduct::zone;
use weir_pipeline::fuzzing::check_command;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Money};
use weir_proto::{Command, Currency, Guid, MessageId, Nanos, Record};

fuzz_target!(|data: &[u8]| {
    let Ok(command) = rpc::Command::decode(data) else { return };
    if check_command(&command).is_err() {
        return;
    }
    assert!((1..=Command::MAX_KEY).contains(&command.key.len()) && command.advertiser_id > 0);
    assert_ne!(command.key, Command::ACCOUNTS_FILE);
    let record = Command::encode(&command);
    assert!(record.len() <= 16 << 10);
    assert!(matches!(Record::decode(&record), Ok(Record::Command(_))));
    let amount = |money: &Money| money.read_in(Currency::default()).expect("it was checked").0;
    match command.action.expect("it was checked") {
        Action::Open(open) => {
            assert!(amount(&open.balance.expect("it was checked")) >= Nanos::ZERO);
            assert!(zone(&open.time_zone).is_some());
        }
        Action::TopUp(money) | Action::Withdraw(money) => assert!(amount(&money) > Nanos::ZERO),
        Action::CreditLine(money) => assert!(amount(&money) >= Nanos::ZERO),
        Action::Refund(refund) => {
            assert!(Guid::parse(&refund.guid).is_some());
            assert!(refund.amount.is_none_or(|money| amount(&money) > Nanos::ZERO));
        }
        Action::Reply(reply) => {
            let id = MessageId::parse(&reply.message_id).expect("it was checked");
            assert_eq!(id.to_string(), reply.message_id);
        }
        Action::Campaign(campaign) => assert!(campaign.basis_points <= 10_000),
        Action::Freeze(_) | Action::Budget(_) => {}
    }
});
