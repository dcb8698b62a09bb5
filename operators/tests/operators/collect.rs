//! Collect: every kind of bad line has its reason, and nothing is lost.

use weir_operators::clock::LOOKAHEAD;
use weir_operators::collect::{Collect, Line, Piece, Refusal, TimeSource};
use weir_operators::{DROPPED, MAIN, Outbox, Rules};
use weir_proto::rpc::IngestEvent;
use weir_proto::{Batch, DropReason, Minute, Producer, Record, StageId, Topic};
use weir_state::TaskMeta;

const GOOD: &str = r#"{"guid":"01KDWFZY7JAJ06BJH5MKP4EFSR","event_time_ms":1767261599986,"kind":"click","user_id":"u22d8","ip":"22.186.217.44","ua":"Mozilla/5.0","ad_id":1000028503,"campaign_id":100285,"advertiser_id":36,"slot":"article_sidebar","region":"FR-IDF","channel":"partner","app_version":"8.18.6","bid_micros":544880,"billing":"cpc"}"#;

fn outbox() -> Outbox {
    let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    Outbox::resume(&TaskMeta::new(task, &[Topic::Raw, Topic::Dropped], 1, 0))
}

/// Takes lines in; how many were handed on, and the details of those dropped.
fn collect(lines: &[Vec<u8>], time: TimeSource) -> (u32, Vec<(String, Vec<u8>)>) {
    let (mut out, mut collect) = (outbox(), Collect::default());
    if let TimeSource::Wall(now) = time {
        collect.clock.0 = now;
    }
    let placed: Vec<_> = lines.iter().enumerate().map(|(i, l)| (i as u64, &l[..])).collect();
    let mut at = 0;
    while at < placed.len() {
        let taken = collect.slice(Piece::whole(&placed[at..]), time, 1, &Rules::default(), &mut out);
        at += taken.lines;
        if collect.tick_is_due() {
            collect.last_tick = Minute::of_ms(collect.clock.0);
        } else {
            assert_eq!(at, placed.len(), "only a tick ends a slice early");
        }
    }
    let (mut passed, mut dropped) = (0, Vec::new());
    for batch in out.take() {
        match batch.output {
            MAIN => passed += batch.count,
            DROPPED => {
                for record in Batch::open(&batch.bytes).unwrap() {
                    let Record::Dropped(d) = Record::decode(record.unwrap().bytes).unwrap() else { panic!() };
                    dropped.push((format!("{}: {}", d.reason.name(), d.detail), d.raw.to_vec()));
                }
            }
            _ => unreachable!(),
        }
    }
    (passed, dropped)
}

#[test]
fn a_good_line_passes_with_unknown_fields_and_escapes() {
    let more = GOOD
        .replace("\"ua\":\"Mozilla/5.0\"", "\"ua\":\"Moz\\u0069lla \\\"x\\\"\",\"new_field\":{\"a\":[1]}");
    let brackets = GOOD.replace("Mozilla", &"[{\\\"".repeat(50));
    assert_eq!(collect(&[GOOD.into(), more.into(), brackets.into()], TimeSource::Events), (3, vec![]));
}

#[test]
fn every_bad_line_is_dropped_with_its_reason_and_first_bytes() {
    let change = |from: &str, to: &str| GOOD.replacen(from, to, 1).into_bytes();
    let mut not_utf8 = GOOD.as_bytes().to_vec();
    not_utf8[GOOD.find("Mozilla").unwrap()] = 0xff;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"[warn] upstream timed out".to_vec(), "malformed: not a JSON object"),
        (vec![b'['; 200_000], "malformed: not a JSON object"),
        (
            change("{\"guid\"", &format!("{{\"x\":{},\"guid\"", "[".repeat(200_000))),
            "malformed: nested deeper than 32",
        ),
        (GOOD.as_bytes()[..200].to_vec(), "malformed: "),
        (not_utf8, "malformed: "),
        (vec![b'x'; 10 << 20], "malformed: the line is longer than 1048576 bytes"),
        (change("\"guid\":\"01KDWFZY7JAJ06BJH5MKP4EFSR\",", ""), "malformed: missing field `guid`"),
        (change("01KDWFZY7JAJ06BJH5MKP4EFSR", ""), "malformed: guid must have 1 to 255 bytes"),
        (change(":544880", ":-5"), "malformed: "),
        (change(":544880", ":18446744073709551616"), "malformed: "),
        (change(":544880", ":1.5"), "malformed: "),
        (change(":544880", ":\"free\""), "malformed: "),
        (
            change("\"click\"", "\"hover\""),
            "malformed: kind is \"hover\", not click, impression, action, sale, sale_reversal or burl",
        ),
        (change("\"cpc\"", "\"cpx\""), "malformed: billing is \"cpx\", not cpc, cpm, cpa or cps"),
        (change("22.186.217.44", "22.186.217.444"), "malformed: ip \"22.186.217.444\" is not an address"),
        (change("u22d8", &"u".repeat(300)), "malformed: user_id is longer than 255 bytes"),
        (change("1767261599986", "0"), "malformed: event_time_ms 0 is absurdly far off"),
        (
            change("1767261599986", "9767261599986"),
            "malformed: event_time_ms 9767261599986 is absurdly far off",
        ),
        (change("1767261599986", "18446744073709551615"), "malformed: event_time_ms 18446744073709551615"),
        (
            change("1767261599986", "1767061599986"),
            "too_late: event_time_ms 1767061599986 is more than 1440 minutes old",
        ),
    ];
    for time in [TimeSource::Events, TimeSource::Wall(1_767_261_600_000)] {
        let mut lines: Vec<Vec<u8>> = vec![GOOD.into()];
        lines.extend(cases.iter().map(|(line, _)| line.clone()));
        lines.push(GOOD.into());
        let (passed, dropped) = collect(&lines, time);
        assert_eq!(passed, 2);
        assert_eq!(dropped.len(), cases.len());
        for ((detail, raw), (line, expected)) in dropped.iter().zip(&cases) {
            assert!(detail.starts_with(expected), "{detail} is not {expected}");
            assert_eq!(raw[..], line[..line.len().min(512)]);
        }
    }
}

#[test]
fn a_new_minute_ends_the_slice_before_its_first_line() {
    let at = |ms: u64| GOOD.replace("1767261599986", &ms.to_string()).into_bytes();
    let lines: Vec<Vec<u8>> =
        [1, 2, 60_000, 60_001, 59_000].iter().map(|d| at(1_767_261_600_000 + d)).collect();
    let placed: Vec<_> = lines.iter().enumerate().map(|(i, l)| (i as u64, &l[..])).collect();
    let (mut out, mut collect) = (outbox(), Collect::default());
    let mut step = |from: usize| {
        let taken =
            collect.slice(Piece::whole(&placed[from..]), TimeSource::Events, 1, &Rules::default(), &mut out);
        let due = collect.tick_is_due();
        collect.last_tick = Minute::of_ms(collect.clock.0);
        (taken.lines, due)
    };
    assert_eq!(step(0), (0, true));
    assert_eq!(step(0), (2, true));
    assert_eq!(step(2), (3, false));
}

/// What comes out, and where the ticks stand, if `own` lines are given at a time, or more where so few do not do.
fn in_pieces(lines: &[Vec<u8>], own: usize) -> (Vec<Vec<u8>>, Vec<(usize, Minute)>) {
    let placed: Vec<_> = lines.iter().enumerate().map(|(i, l)| (i as u64, &l[..])).collect();
    let (mut out, mut collect) = (outbox(), Collect::default());
    let (mut at, mut size, mut ticks) = (0, own, Vec::new());
    while at < placed.len() {
        let rest = &placed[at..];
        let is_last = size + LOOKAHEAD >= rest.len();
        let (lines, own) = if is_last { (rest, rest.len()) } else { (&rest[..size + LOOKAHEAD], size) };
        let piece = Piece { lines, own, is_last };
        let taken = collect.slice(piece, TimeSource::Events, 1, &Rules::default(), &mut out);
        at += taken.lines;
        size = if taken.lines == 0 { 2 * size } else { size.min(own) };
        if collect.tick_is_due() {
            collect.last_tick = Minute::of_ms(collect.clock.0);
            ticks.push((at, collect.last_tick));
        }
    }
    (out.take().into_iter().map(|batch| batch.bytes.to_vec()).collect(), ticks)
}

#[test]
fn however_a_slice_is_cut_the_same_comes_out() {
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..60 {
        let (mut ms, mut lines) = (1_767_261_600_000, Vec::new());
        while lines.len() < 400 {
            let line = |ms: u64| GOOD.replace("1767261599986", &ms.to_string()).into_bytes();
            ms += random(2_000);
            match random(40) {
                // A gap that the others follow, one that they do not, and lines that say nothing about it.
                0 => ms += random(30) * 3_600_000,
                1 => lines.push(line(ms + random(30) * 3_600_000)),
                2 => lines.extend((0..random(60)).map(|_| b"{}".to_vec())),
                _ => lines.push(line(ms)),
            }
        }
        let whole = in_pieces(&lines, lines.len());
        for own in [1, 3, 20, 150] {
            assert!(in_pieces(&lines, own) == whole, "{own} lines at a time");
        }
    }
}

#[test]
fn a_message_is_read_as_the_line_with_the_same_fields() {
    let message = IngestEvent {
        guid: "01KDWFZY7JAJ06BJH5MKP4EFSR".into(),
        event_time_ms: 1_767_261_599_986,
        kind: "click".into(),
        user_id: "u22d8".into(),
        ip: "22.186.217.44".into(),
        ua: "Mozilla/5.0".into(),
        ad_id: 1_000_028_503,
        campaign_id: 100_285,
        advertiser_id: 36,
        slot: "article_sidebar".into(),
        region: "FR-IDF".into(),
        channel: "partner".into(),
        app_version: "8.18.6".into(),
        bid_micros: Some(544_880),
        billing: "cpc".into(),
        ..IngestEvent::default()
    };
    let record = |line: Result<Line<'_>, Refusal>| {
        let mut bytes = Vec::new();
        line.unwrap().event(1).unwrap().encode(&mut bytes);
        bytes
    };
    assert_eq!(record(Line::of_message(&message)), record(Line::parse(GOOD.as_bytes())));
    let refused = |m: IngestEvent| Line::of_message(&m).and_then(|l| l.event(1).map(|_| ())).unwrap_err();
    let missing = refused(IngestEvent { guid: String::new(), ..message.clone() });
    assert_eq!((missing.field, missing.message.as_str()), (Some("guid"), "missing field `guid`"));
    let burl = IngestEvent { kind: "burl".into(), bid_id: "b".into(), imp_id: "1".into(), ..message.clone() };
    assert_eq!(refused(burl.clone()).field, Some("auction_price"));
    let audit = refused(IngestEvent { auction_price: "AUDIT".into(), ..burl });
    assert_eq!((audit.reason, audit.field), (DropReason::NotABill, Some("auction_price")));
}

#[test]
fn the_field_of_broken_json_is_that_whose_value_is_read() {
    let field = |line: &str| Line::parse(line.as_bytes()).err().and_then(|refusal| refusal.field);
    let change = |from: &str, to: &str| GOOD.replacen(from, to, 1);
    assert_eq!(field(&change(":544880", ":\"free\"")), Some("bid_micros"));
    assert_eq!(field(&change("\"Mozilla/5.0\"", "7")), Some("ua"));
    assert_eq!(field(&change("\"kind\":\"click\",", "")), Some("kind"));
    assert_eq!(field(&change("{\"guid\"", "{\"other\":tru,\"guid\"")), None);
    assert_eq!(field("{\"ua\":\"a \\\"ad_id\\\": x"), Some("ua"));
    assert_eq!(field("{"), None);
}
