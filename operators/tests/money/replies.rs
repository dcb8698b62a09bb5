//! A balance of 1000, an impression at 2, and an account system that echoes the 2 with a scale of 3 as
//! 2000: in production a failed collection was once put back as 2000, and the balance became 2998.

use crate::machine::*;
use proptest::prelude::*;
use weir_operators::deduct::{Deduct, accounts};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self, Original};
use weir_proto::{
    Billing, Charge, Crossings, EntryKind, EventKind, Guid, Minute, NewEvent, Outcome, Record, RefuseReason,
};

const ADVERTISER: u64 = 36;

pub struct Bank {
    pub deduct: Machine<Deduct>,
    keys: u32,
}

impl Bank {
    /// With an account of so many units in EUR.
    pub fn new(units: i128, zone: &str) -> Self {
        let mut bank = Bank { deduct: deduct(Minute::of_ms(T0)), keys: 0 };
        let open = rpc::OpenAccount {
            balance: Some(money(units * UNIT, "EUR")),
            time_zone: zone.to_owned(),
            ..rpc::OpenAccount::default()
        };
        assert_eq!(bank.command(Action::Open(open)), Outcome::Charged);
        bank
    }

    /// Decides a command under a new key.
    pub fn command(&mut self, action: Action) -> Outcome {
        self.keys += 1;
        let outputs = self.deduct.feed(record(&command(ADVERTISER, &format!("k{}", self.keys), T0, action)));
        match Record::decode(&outputs.last().unwrap().1).unwrap() {
            Record::Answer(answer) => answer.outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn event(&mut self, event: &NewEvent<'_>) -> Vec<Output> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.deduct.feed(Input::Record(bytes))
    }

    pub fn balance(&mut self) -> i128 {
        accounts(self.deduct.store()).unwrap()[&ADVERTISER].balance
    }
}

/// An event of the advertiser in campaign 3.
pub fn event(guid: &str, kind: EventKind, billing: Billing, bid_micros: u64) -> NewEvent<'_> {
    NewEvent {
        guid: Guid::parse(guid).unwrap(),
        event_time_ms: T0,
        ingest_time_ms: T0,
        kind,
        user_id: "u",
        ip: [10, 0, 0, 1].into(),
        ua: "",
        ad_id: 1,
        campaign_id: 3,
        advertiser_id: ADVERTISER,
        slot: "",
        region: "",
        channel: "",
        app_version: "",
        bid_micros,
        billing,
        origin: None,
        reported: false,
        currency: None,
    }
}

pub fn charge(outputs: &[Output]) -> Charge<'_> {
    match Record::decode(&outputs[0].1).unwrap() {
        Record::Charge(charge) => charge,
        other => panic!("{other:?}"),
    }
}

/// As the job takes it from its log.
pub fn original(charge: &Charge<'_>) -> Option<Original> {
    Some(Original {
        id: "charges/1/0/1".to_owned(),
        amount: Some(money(charge.amount.0, "EUR")),
        event_time_ms: charge.event_time_ms,
        ad_id: charge.ad_id,
        campaign_id: charge.campaign_id,
        guid: charge.guid.to_string(),
    })
}

/// The impression at 2 units was charged.
fn charged() -> (Bank, Option<Original>) {
    let mut bank = Bank::new(1_000, "");
    let outputs = bank.event(&event("impression", EventKind::Impression, Billing::Cpm, 2_000_000_000));
    let original = original(&charge(&outputs));
    assert_eq!(bank.balance(), 998 * UNIT);
    (bank, original)
}

fn reply(original: &Option<Original>, status: Status, amount: i64, scale: u32, code: &str) -> Action {
    Action::Reply(rpc::Reply {
        message_id: "charges/1/0/1".to_owned(),
        status: status.into(),
        amount,
        scale,
        currency_code: code.to_owned(),
        reason: "as it came".to_owned(),
        original: original.clone(),
    })
}

#[test]
fn a_failed_reply_that_echoes_2000_at_scale_3_never_makes_998_into_2998() {
    let (mut bank, original) = charged();
    for (amount, scale, is_same) in [
        (2_000, 3, true),
        (2, 0, true),
        (2_000_000_000, 9, true),
        (2_000_000_000_000, 12, true),
        (2_000, 0, false),
        (2, 3, false),
        (-2_000, 3, false),
        (2_000_000_000_001, 12, false),
        (0, 0, false),
        (i64::MAX, 0, false),
        (2_000, u32::MAX, false),
    ] {
        use Status::*;
        for status in [Failed, Failed, InsufficientFunds, Accepted] {
            let outcome = bank.command(reply(&original, status, amount, scale, "EUR"));
            let other = Outcome::Refused(RefuseReason::OtherAmount);
            assert_eq!(outcome, if is_same { Outcome::Charged } else { other }, "{amount} at {scale}");
            assert_eq!(bank.balance(), 998 * UNIT, "{status:?} {amount} at {scale}");
        }
        if !is_same {
            let outcome = bank.command(reply(&original, Reverse, amount, scale, "EUR"));
            assert_eq!(outcome, Outcome::Refused(RefuseReason::OtherAmount), "{amount} at {scale}");
        }
        let foreign = bank.command(reply(&original, Reverse, 2_000, 3, "USD"));
        assert_eq!(foreign, Outcome::Refused(RefuseReason::OtherAmount));
        assert_eq!(bank.balance(), 998 * UNIT);
    }
    assert_eq!(bank.command(reply(&original, Status::Reverse, 2_000, 3, "EUR")), Outcome::Charged);
    assert_eq!(bank.balance(), 1_000 * UNIT);
    let again = bank.command(reply(&original, Status::Reverse, 2_000, 3, "EUR"));
    assert_eq!(again, Outcome::Refused(RefuseReason::AlreadyRefunded));
    assert_eq!(bank.balance(), 1_000 * UNIT);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn replies_in_any_order_put_back_what_is_reversed_once_and_nothing_else(
        replies in proptest::collection::vec((0..4usize, 0..6usize), 1..25),
        crashes in any::<u32>(),
    ) {
        let (mut bank, original) = charged();
        let mut is_reversed = false;
        for (at, (status, shape)) in replies.into_iter().enumerate() {
            let status =
                [Status::Failed, Status::InsufficientFunds, Status::Accepted, Status::Reverse][status];
            let (amount, scale) =
                [(2_000, 3), (2, 0), (2_000, 0), (2, 3), (20, 1), (2_000_000, 6)][shape];
            let is_same = !matches!(shape, 2 | 3);
            let outcome = bank.command(reply(&original, status, amount, scale, "EUR"));
            let expected = match status {
                _ if !is_same => Outcome::Refused(RefuseReason::OtherAmount),
                Status::Reverse if is_reversed => Outcome::Refused(RefuseReason::AlreadyRefunded),
                _ => Outcome::Charged,
            };
            prop_assert_eq!(outcome, expected);
            is_reversed |= is_same && status == Status::Reverse;
            if crashes & 1 << at != 0 {
                bank.deduct.crash(Some(0));
            }
            prop_assert_eq!(bank.balance(), if is_reversed { 1_000 } else { 998 } * UNIT);
        }
    }
}

#[test]
fn what_is_collected_after_all_or_given_back_is_owed_no_more() {
    let (mut bank, original) = charged();
    let owed = |bank: &mut Bank| accounts(bank.deduct.store()).unwrap()[&ADVERTISER].arrears;
    let say = |bank: &mut Bank, status| bank.command(reply(&original, status, 2_000, 3, "EUR"));
    say(&mut bank, Status::InsufficientFunds);
    say(&mut bank, Status::InsufficientFunds);
    assert_eq!(owed(&mut bank), 2 * UNIT);
    say(&mut bank, Status::Accepted);
    say(&mut bank, Status::Accepted);
    assert_eq!(owed(&mut bank), 0);
    say(&mut bank, Status::InsufficientFunds);
    let half = rpc::Refund {
        guid: original.clone().unwrap().guid,
        amount: Some(money(UNIT / 2, "EUR")),
        original: original.clone(),
        ..rpc::Refund::default()
    };
    assert_eq!(bank.command(Action::Refund(half)), Outcome::Charged);
    assert_eq!(owed(&mut bank), 2 * UNIT - UNIT / 2);
    say(&mut bank, Status::Accepted);
    assert_eq!((owed(&mut bank), bank.balance()), (0, 998 * UNIT + UNIT / 2));
}

#[test]
fn a_higher_credit_line_resumes_what_ran_dry() {
    let mut bank = Bank::new(1, "");
    let click = |bank: &mut Bank, guid| bank.event(&event(guid, EventKind::Click, Billing::Cpc, 2_000_000));
    assert_eq!(charge(&click(&mut bank, "a")).crossings, Crossings::EXHAUSTED);
    let line = |bank: &mut Bank, units| {
        let action = Action::CreditLine(money(units * UNIT, "EUR"));
        let outputs = bank.deduct.feed(record(&command(ADVERTISER, &format!("line-{units}"), T0, action)));
        outputs.iter().find_map(|(_, bytes)| match Record::decode(bytes).unwrap() {
            Record::Charge(c) => Some((c.kind, c.amount.0, c.crossings)),
            _ => None,
        })
    };
    assert_eq!(line(&mut bank, 0), None);
    assert_eq!(line(&mut bank, 5), Some((EntryKind::CreditLine, 0, Crossings::RESUMED)));
    assert_eq!(line(&mut bank, 6), None, "told once");
    assert_eq!(charge(&click(&mut bank, "b")).outcome, Outcome::Charged);
}
