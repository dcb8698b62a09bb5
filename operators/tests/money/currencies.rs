//! An original in a currency that is not the account's.

use crate::machine::{UNIT, money};
use crate::replies::{Bank, charge, event, original};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self};
use weir_proto::{Billing, EventKind, Outcome, RefuseReason};

#[test]
fn what_was_charged_in_another_currency_is_not_put_to_the_balance() {
    let mut bank = Bank::new(1_000, "");
    let outputs = bank.event(&event("click", EventKind::Click, Billing::Cpc, 2_000_000));
    let mut foreign = original(&charge(&outputs));
    foreign.as_mut().unwrap().amount = Some(money(2 * UNIT, "JPY"));
    let refund = rpc::Refund { original: foreign.clone(), ..rpc::Refund::default() };
    let reply = rpc::Reply {
        status: Status::Reverse.into(),
        amount: 2,
        currency_code: "JPY".to_owned(),
        original: foreign,
        ..rpc::Reply::default()
    };
    for action in [Action::Refund(refund), Action::Reply(reply)] {
        assert_eq!(bank.command(action), Outcome::Refused(RefuseReason::OtherCurrency));
        assert_eq!(bank.balance(), 998 * UNIT);
    }
}
