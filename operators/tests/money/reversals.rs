//! Sales that are reversed.

use crate::machine::{UNIT, money};
use crate::replies::{Bank, charge, event, original};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self};
use weir_proto::{Billing, Currency, EventKind, NewEvent, Origin, Outcome, RefuseReason};

fn terms(billing: &str) -> Action {
    Action::Campaign(rpc::Campaign {
        campaign_id: 3,
        billing: billing.to_owned(),
        basis_points: 333,
        ..rpc::Campaign::default()
    })
}

fn of<'a>(kind: EventKind, guid: &'a str, origin: &'a str, sale_micros: u64) -> NewEvent<'a> {
    NewEvent { origin: Some(Origin { guid: origin, sale_micros }), ..event(guid, kind, Billing::Cps, 0) }
}

/// A sale of 10 units and a micro was charged: 3.33 %.
fn sold() -> Bank {
    let mut bank = Bank::new(1_000, "");
    assert_eq!(bank.command(terms("cps")), Outcome::Charged);
    bank.event(&event("click", EventKind::Click, Billing::Cps, 0));
    let outputs = bank.event(&of(EventKind::Sale, "sale", "click", 10_000_001));
    assert_eq!((charge(&outputs).outcome, charge(&outputs).amount.0), (Outcome::Charged, 333_000_033));
    bank
}

#[test]
fn a_sale_reversed_in_parts_has_cost_nothing() {
    let mut bank = sold();
    for (guid, micros) in [("a", 1), ("b", 3_333_333), ("c", 6_666_667)] {
        let outputs = bank.event(&of(EventKind::SaleReversal, guid, "sale", micros));
        assert_eq!(charge(&outputs).outcome, Outcome::Charged, "{guid}");
    }
    assert_eq!(bank.balance(), 1_000 * UNIT);
    for micros in [1, u64::MAX] {
        let guid = format!("more-{micros}");
        let outputs = bank.event(&of(EventKind::SaleReversal, &guid, "sale", micros));
        assert_eq!(charge(&outputs).outcome, Outcome::Refused(RefuseReason::AboveOriginal));
    }
}

#[test]
fn a_sale_is_reversed_whatever_its_campaign_has_become_since() {
    let mut bank = sold();
    assert_eq!(bank.command(terms("cpc")), Outcome::Charged);
    let outputs = bank.event(&of(EventKind::SaleReversal, "a", "sale", 10_000_001));
    assert_eq!(charge(&outputs).outcome, Outcome::Charged);
    assert_eq!(bank.balance(), 1_000 * UNIT);
}

#[test]
fn a_reversal_in_another_currency_gives_nothing_back() {
    let mut bank = sold();
    let foreign =
        NewEvent { currency: Currency::parse("USD"), ..of(EventKind::SaleReversal, "a", "sale", 10_000_001) };
    let outputs = bank.event(&foreign);
    assert_eq!(charge(&outputs).outcome, Outcome::Refused(RefuseReason::OtherCurrency));
    assert_eq!(bank.balance(), 1_000 * UNIT - 333_000_033);
}

#[test]
fn what_a_reversal_gave_back_is_not_refunded_again() {
    let mut bank = sold();
    let outputs = bank.event(&of(EventKind::SaleReversal, "a", "sale", 5_000_000));
    let back = -charge(&outputs).amount.0;
    let outputs = bank.event(&event("other", EventKind::Click, Billing::Cps, 0));
    let mut whole = original(&charge(&outputs)).unwrap();
    (whole.guid, whole.amount) = ("sale".to_owned(), Some(money(333_000_033, "EUR")));
    let refund = |amount: Option<i128>| {
        Action::Refund(rpc::Refund {
            guid: "sale".to_owned(),
            amount: amount.map(|a| money(a, "EUR")),
            original: Some(whole.clone()),
            ..rpc::Refund::default()
        })
    };
    let above = bank.command(refund(Some(333_000_033 - back + 1)));
    assert_eq!(above, Outcome::Refused(RefuseReason::AboveOriginal));
    assert_eq!(bank.command(refund(None)), Outcome::Charged);
    assert_eq!(bank.balance(), 1_000 * UNIT);
    let outputs = bank.event(&of(EventKind::SaleReversal, "b", "sale", 1));
    assert_eq!(charge(&outputs).outcome, Outcome::Refused(RefuseReason::AlreadyRefunded));
    assert_eq!(bank.command(refund(None)), Outcome::Refused(RefuseReason::AlreadyRefunded));
}
