//! Anti-brush and anti-fraud: each rule at its limit, and the order of the checks.

use crate::common::*;
use std::sync::Arc;
use weir_operators::anti_brush::{AntiBrush, Lists};
use weir_operators::anti_fraud::AntiFraud;
use weir_operators::bots::BotList;
use weir_operators::networks::Networks;
use weir_proto::{Billing, EventKind, Minute, StageId, Topic};

fn anti_brush() -> Bench<AntiBrush> {
    Bench::new(StageId::AntiBrush, &[Topic::Clean, Topic::Dropped], |store| {
        let networks = Networks::parse("test", "192.0.2.0/24\n").unwrap();
        let lists = Lists { bots: BotList::builtin().unwrap(), networks };
        AntiBrush::load(store, Arc::new(rules()), Arc::new(lists), Minute::of_ms(T0)).unwrap()
    })
}

fn anti_fraud() -> Bench<AntiFraud> {
    Bench::new(StageId::AntiFraud, &[Topic::Judged, Topic::Dropped], |store| {
        AntiFraud::load(store, Arc::new(rules()), Minute::of_ms(T0)).unwrap()
    })
}

#[test]
fn the_eleventh_of_an_ip_and_ad_in_a_minute_is_a_flood_whatever_else_comes() {
    let mut bench = anti_brush();
    for i in 0..10 {
        assert_eq!(bench.event(&Sample::new(&format!("g{i}"))), Fate::Passed);
        bench.restart();
    }
    let sample = Sample::new("g10");
    assert_eq!(bench.event(&sample), Fate::Dropped("flood"));
    assert_eq!(bench.event(&Sample { ad: 2, ..sample.clone() }), Fate::Passed);
    assert_eq!(bench.event(&Sample { ip: "10.0.0.2".parse().unwrap(), ..sample.clone() }), Fate::Passed);
    assert_eq!(bench.event(&Sample { time: T0 + MINUTE, ..sample.clone() }), Fate::Passed);
    assert_eq!(bench.event(&sample), Fate::Dropped("flood"));
}

#[test]
fn bots_and_data_centres_are_dropped_first_and_count_in_no_window() {
    let mut bench = anti_brush();
    let bot = Sample {
        ua: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ..Sample::new("b")
    };
    let centre = Sample { ip: "192.0.2.9".parse().unwrap(), ..Sample::new("c") };
    for _ in 0..20 {
        assert_eq!(bench.event(&bot), Fate::Dropped("bot"));
        assert_eq!(bench.event(&centre), Fate::Dropped("datacenter"));
    }
    assert_eq!(bench.event(&Sample::new("g")), Fate::Passed);
}

#[test]
fn what_comes_too_late_is_dropped_before_anything_is_counted() {
    let mut bench = anti_brush();
    bench.tick(Minute::of_ms(T0).0 + 24 * 60 + 1);
    let bot = Sample { ua: "curl/8", ..Sample::new("b") };
    assert_eq!(bench.event(&bot), Fate::Dropped("too_late"));
    let mut bench = anti_fraud();
    bench.tick(Minute::of_ms(T0).0 + 24 * 60);
    assert_eq!(bench.event(&Sample::new("a")), Fate::Passed);
    bench.tick(Minute::of_ms(T0).0 + 24 * 60 + 1);
    assert_eq!(bench.event(&Sample::new("b")), Fate::Dropped("too_late"));
}

#[test]
fn the_eleventh_event_of_a_user_on_an_ad_is_dropped_and_its_guid_stays_so() {
    let mut bench = anti_fraud();
    for i in 0..10 {
        assert_eq!(bench.event(&Sample::new(&format!("g{i}"))), Fate::Passed);
    }
    let excess = Sample::new("g10");
    assert_eq!(bench.event(&excess), Fate::Dropped("user_ad_rate"));
    bench.restart();
    // Wherever its time is moved to, the verdict on a guid is the first one.
    assert_eq!(bench.event(&Sample { time: T0 + 5 * MINUTE, ..excess }), Fate::Dropped("user_ad_rate"));
    assert_eq!(bench.event(&Sample { time: T0 + 5 * MINUTE, ..Sample::new("g11") }), Fate::Passed);
}

#[test]
fn a_repeated_guid_is_counted_once() {
    let mut bench = anti_fraud();
    for _ in 0..50 {
        assert_eq!(bench.event(&Sample::new("same")), Fate::Passed);
    }
    for i in 0..9 {
        assert_eq!(bench.event(&Sample::new(&format!("g{i}"))), Fate::Passed);
    }
    assert_eq!(bench.event(&Sample::new("one more")), Fate::Dropped("user_ad_rate"));
}

#[test]
fn the_hundred_and_first_click_of_a_user_is_dropped_and_impressions_do_not_count() {
    let mut bench = anti_fraud();
    for i in 0..120 {
        // Spread over the minute, so that no ten seconds see more than 50 ads.
        let time = T0 + (i % 6) * 10_000;
        let ad = 1_000 + i;
        let view = Sample {
            kind: EventKind::Impression,
            billing: Billing::Cpm,
            time,
            ad,
            ..Sample::new(&format!("v{i}"))
        };
        assert_eq!(bench.event(&view), Fate::Passed);
        let click = Sample { time, ad, ..Sample::new(&format!("c{i}")) };
        let expected = if i < 100 { Fate::Passed } else { Fate::Dropped("user_click_rate") };
        assert_eq!(bench.event(&click), expected, "{i}");
        if i % 25 == 0 {
            bench.restart();
        }
    }
}

#[test]
fn the_fifty_first_ad_of_a_user_in_ten_seconds_is_dropped_and_the_first_fifty_go_on() {
    let mut bench = anti_fraud();
    let view = |ad: u64, n: u64, time: u64| Sample {
        kind: EventKind::Impression,
        billing: Billing::Cpm,
        ad,
        time,
        ..Sample::new(&format!("{ad}-{n}"))
    };
    for ad in 0..50 {
        assert_eq!(bench.event(&view(ad, 0, T0)), Fate::Passed);
    }
    for n in 1..3 {
        assert_eq!(bench.event(&view(50, n, T0)), Fate::Dropped("user_ad_spread"), "an excess ad stays one");
        assert_eq!(bench.event(&view(49, n, T0)), Fate::Passed, "a counted ad may go on");
    }
    assert_eq!(bench.event(&view(51, 0, T0 + 10_000)), Fate::Passed, "ten seconds later all begins anew");
}
