//! OpenRTB billing notices, and what servers report, from their lines to the balance.

use crate::machine::{Input, T0, UNIT};
use crate::replies::Bank;
use weir_operators::collect::{Collect, Piece, TimeSource};
use weir_operators::{DROPPED, MAIN, Outbox, Rules};
use weir_proto::{Batch, Outcome, Producer, Record, StageId, Topic};
use weir_state::TaskMeta;

/// Takes one line in: the event, or why there is none.
fn collect(line: &str) -> Result<Vec<u8>, String> {
    let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    let mut out = Outbox::resume(&TaskMeta::new(task, &[Topic::Raw, Topic::Dropped], 1, 0));
    let mut collect = Collect::default();
    collect.clock.0 = T0;
    collect.slice(
        Piece::whole(&[(0, line.as_bytes())]),
        TimeSource::Wall(T0),
        T0,
        &Rules::default(),
        &mut out,
    );
    let batch = out.take().pop().unwrap();
    let record = Batch::open(&batch.bytes).unwrap().next().unwrap().unwrap();
    match (batch.output, Record::decode(record.bytes).unwrap()) {
        (MAIN, Record::Event(event)) => Ok(event.bytes().to_vec()),
        (DROPPED, Record::Dropped(d)) => Err(format!("{}: {}", d.reason.name(), d.detail)),
        other => panic!("{other:?}"),
    }
}

fn line(rest: &str) -> String {
    format!(r#"{{"event_time_ms":{T0},"ad_id":1,"campaign_id":3,"advertiser_id":36,{rest}}}"#)
}

fn notice(kind: &str, bid: &str, imp: &str, price: &str, more: &str) -> String {
    line(&format!(r#""kind":"{kind}","bid_id":"{bid}","imp_id":"{imp}","auction_price":"{price}"{more}"#))
}

/// What an event of a line came to: charged so much, or dropped for a reason.
fn bill(bank: &mut Bank, line: &str) -> Result<i128, String> {
    let outputs = bank.deduct.feed(Input::Record(collect(line)?));
    match Record::decode(&outputs[0].1).unwrap() {
        Record::Charge(c) if c.outcome == Outcome::Charged => Ok(c.amount.0),
        Record::Dropped(d) => Err(d.reason.name().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_billing_notice_is_charged_once_for_each_bid_and_impression() {
    let mut bank = Bank::new(1_000, "");
    let mut bill = |bid, imp, price, more| bill(&mut bank, &notice("burl", bid, imp, price, more));
    assert_eq!(bill("b1", "1", "0.52", ""), Ok(520_000));
    assert_eq!(bill("b1", "1", "0.52", ""), Err("duplicate".to_owned()));
    assert_eq!(bill("b1", "1", "0.60", ""), Err("duplicate".to_owned()), "whatever it says now");
    assert_eq!(bill("b1", "2", "0.52", ""), Ok(520_000));
    assert_eq!(bill("b2", "1", "2.5", r#","auction_multiplier":"30.3""#), Ok(75_750_000));
    assert_eq!(bill("b3", "1", "0.000000003", r#","auction_multiplier":"500""#), Ok(2), "half to even");
    assert_eq!(bill("b4", "1", "0", ""), Ok(0));
    // What a bid and an impression of it are called may hold what stands between them.
    assert_eq!(bill("b5:1", "2", "1", ""), Ok(1_000_000));
    assert_eq!(bill("b5", "1:2", "1", ""), Ok(1_000_000));
    assert_eq!(bill("b5%3A1", "2", "1", ""), Ok(1_000_000));
    assert_eq!(bank.balance(), 1_000 * UNIT - 520_000 * 2 - 75_750_000 - 2 - 3_000_000);
}

#[test]
fn tests_and_notices_of_who_won_never_bill() {
    for (kind, price, more) in [
        ("burl", "AUDIT", ""),
        ("burl", "1", r#","auction_multiplier":"AUDIT""#),
        ("nurl", "1", ""),
        ("lurl", "1", ""),
        ("nurl", "AUDIT", ""),
    ] {
        let dropped = collect(&notice(kind, "b", "1", price, more)).unwrap_err();
        assert!(dropped.starts_with("not_a_bill: "), "{kind} {price}: {dropped}");
    }
    for (price, more) in [
        ("${AUCTION_PRICE}", ""),
        ("", ""),
        ("-0.5", ""),
        ("1e3", ""),
        ("audit", ""),
        ("0.0000000001", ""),
        ("1000000001", ""),
        ("1", r#","auction_multiplier":"${AUCTION_MULTIPLIER}""#),
        ("1", r#","auction_multiplier":"-1""#),
    ] {
        let dropped = collect(&notice("burl", "b", "1", price, more)).unwrap_err();
        assert!(dropped.starts_with("malformed: auction_"), "{price} {more}: {dropped}");
    }
    for missing in ["bid_id", "imp_id", "auction_price"] {
        let line = notice("burl", "b", "1", "1", "").replace(missing, "x");
        assert_eq!(collect(&line).unwrap_err(), format!("malformed: missing field `{missing}`"));
    }
}

#[test]
fn what_a_server_reports_names_its_click_or_sale_and_its_amount() {
    for (kind, fields, problem) in [
        ("action", r#""click_guid":"c""#, None),
        ("sale", r#""click_guid":"c","sale_micros":5"#, None),
        ("sale_reversal", r#""sale_guid":"s","sale_micros":5"#, None),
        ("action", r#""sale_guid":"s""#, Some("missing field `click_guid`")),
        ("sale", r#""sale_guid":"s","sale_micros":5"#, Some("missing field `click_guid`")),
        ("sale_reversal", r#""click_guid":"c","sale_micros":5"#, Some("missing field `sale_guid`")),
        ("action", r#""click_guid":"""#, Some("click_guid must have 1 to 255 bytes")),
        ("sale", r#""click_guid":"c""#, Some("sale_micros must be 1 to")),
        ("sale", r#""click_guid":"c","sale_micros":0"#, Some("sale_micros must be 1 to")),
        ("sale", r#""click_guid":"c","sale_micros":1000000000000001"#, Some("sale_micros must be 1 to")),
        ("sale_reversal", r#""sale_guid":"s""#, Some("sale_micros must be 1 to")),
        ("sale", r#""click_guid":"c","sale_micros":5,"currency":"eur""#, Some("currency is \"eur\"")),
    ] {
        let line = line(&format!(r#""kind":"{kind}","guid":"g","billing":"cps",{fields}"#));
        match (collect(&line), problem) {
            (Ok(_), None) => {}
            (Err(dropped), Some(problem)) => {
                assert!(dropped.starts_with(&format!("malformed: {problem}")), "{line}: {dropped}");
            }
            (other, _) => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn only_what_a_user_did_needs_a_user() {
    let user = [("ip", "10.0.0.1"), ("ua", "Mozilla"), ("user_id", "u")];
    for kind in ["click", "impression"] {
        for missing in [None, Some("ip"), Some("ua"), Some("user_id")] {
            let there = user.iter().filter(|(name, _)| Some(*name) != missing);
            let fields: String = there.map(|(name, value)| format!(r#","{name}":"{value}""#)).collect();
            let line = line(&format!(r#""kind":"{kind}","guid":"g","billing":"cpc","bid_micros":5{fields}"#));
            let problem = missing.map(|name| format!("malformed: missing field `{name}`"));
            assert_eq!(collect(&line).err(), problem, "{line}");
        }
    }
    assert!(collect(&notice("burl", "b", "1", "1", "")).is_ok());
}

#[test]
fn no_event_takes_the_place_of_what_the_job_names_itself() {
    let mut bank = Bank::new(1_000, "");
    for guid in ["burl:b1:1", "cpt/3/1767225600000/0", "cpd/3/1767225600000/0"] {
        let rest = r#""kind":"click","user_id":"u","ip":"1.2.3.4","user_agent":"Mozilla/5.0","billing":"cpc","bid_micros":1"#;
        let said = bill(&mut bank, &line(&format!(r#"{rest},"guid":"{guid}""#))).unwrap_err();
        assert!(said.starts_with("malformed: a guid that begins with"), "{said}");
    }
    assert_eq!(bill(&mut bank, &notice("burl", "b1", "1", "0.52", "")), Ok(520_000));
}
