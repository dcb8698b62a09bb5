//! Lines that are no events: each goes to `dropped` with its first bytes, and the job goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_tests::{Ad, Dataset, Job, Scratch, Summary, Taps, accounts_csv};

/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
/// `raw` holds the first bytes of a line, of a short line all of them.
const SHORT: usize = 64;
const MEGABYTE: usize = 1 << 20;

#[test]
fn each_bad_line_is_dropped_and_the_good_ones_around_it_are_charged() {
    let bad = bad_lines();
    let mut lines = Vec::new();
    for (n, (_, line)) in (0..).zip(&bad) {
        lines.push(good(n));
        lines.push([line, b"\n".as_slice()].concat());
    }
    lines.push(good(1_000));
    let taps = bill_bytes("bad-lines", &lines.concat());
    assert_eq!(taps.charges.len(), bad.len() + 1);
    assert_eq!(taps.dropped.len(), bad.len(), "{:?}", taps.dropped);
    for (what, line) in &bad {
        assert_in_dropped(&taps, what, line);
    }
}

#[test]
fn times_far_off_are_dropped_and_harm_nobody_else() {
    let off = ["0", "5", "-1", "4102444800000", "253402300800000", "9223372036854775807"];
    let line = |time: &&str| Ad { event_time_ms: (*time).into(), ..Ad::click(9, T) }.line();
    let bad: Vec<String> = off.iter().map(line).collect();
    let mut lines: Vec<Vec<u8>> = (0..50).map(good).collect();
    for (at, line) in bad.iter().enumerate() {
        lines.insert(10 + 5 * at, line.as_bytes().to_vec());
    }
    let taps = bill_bytes("times", &lines.concat());
    assert_eq!(taps.charges.len(), 50, "a wrong clock must not make others late");
    for line in &bad {
        assert_in_dropped(&taps, "a time far off", line.trim_end().as_bytes());
    }
}

#[test]
fn a_line_of_ten_megabytes_is_dropped_by_its_first_bytes() {
    let mut long = br#"{"guid":"01KDWFZY7JAJ06BJH5MKP4EFSR","ua":""#.to_vec();
    long.resize(10 * MEGABYTE, b'x');
    let content = [good(0), long.clone(), b"\n".to_vec(), good(1)].concat();
    let taps = bill_bytes("long-line", &content);
    assert_eq!((taps.charges.len(), taps.dropped.len()), (2, 1));
    assert_in_dropped(&taps, "ten megabytes", &long);
    let kept = taps.dropped[0].raw.as_ref().unwrap().len();
    assert!(kept < MEGABYTE, "{kept} bytes are not the first few");
}

#[test]
fn a_truncated_last_line_is_dropped_and_a_whole_one_without_line_feed_is_charged() {
    let whole = good(1);
    let whole = whole.strip_suffix(b"\n").unwrap();
    let half = &whole[..whole.len() / 2];
    let taps = bill_bytes("truncated", &[&good(0), half].concat());
    assert_eq!((taps.charges.len(), taps.dropped.len()), (1, 1));
    assert_in_dropped(&taps, "a truncated last line", half);
    let taps = bill_bytes("no-line-feed", &[&good(0), whole].concat());
    assert_eq!((taps.charges.len(), taps.dropped.len()), (2, 0));
}

#[test]
fn an_empty_file_is_a_job_of_nothing() {
    let taps = bill_bytes("empty-file", b"");
    assert!(taps.is_empty());
}

/// What each line is, and the line without its line feed.
fn bad_lines() -> Vec<(&'static str, Vec<u8>)> {
    let ad = || Ad::click(0, T);
    let text = |ad: Ad| ad.line().trim_end().as_bytes().to_vec();
    let without = |part: &str| ad().line().trim_end().replacen(part, "", 1).into_bytes();
    let whole = text(ad());
    vec![
        ("no JSON", b"[warn] upstream timed out while reading response header".to_vec()),
        ("another JSON value", b"42".to_vec()),
        ("a list", b"[]".to_vec()),
        ("truncated", whole[..whole.len() - 40].to_vec()),
        ("two lines in one", [whole.clone(), whole.clone()].concat()),
        ("no bid", without("\"bid_micros\":250000,")),
        ("no user", without("\"user_id\":\"u00000000\",")),
        ("an empty guid", text(Ad { guid: String::new(), ..ad() })),
        ("a text as bid", text(ad().priced("\"free\""))),
        ("a negative price", text(ad().priced(-250_000))),
        ("a broken price", text(ad().priced("250000.5"))),
        ("a price beyond 64 bits", text(ad().priced("99999999999999999999"))),
        ("a time that is none", text(Ad { event_time_ms: "\"today\"".into(), ..ad() })),
        ("an unknown kind", text(Ad { kind: "view".into(), ..ad() })),
        ("an unknown billing", text(Ad { billing: "cpx".into(), ..ad() })),
        ("no UTF-8", [&whole[..80], b"\xFF\xFE", &whole[80..]].concat()),
        ("zeros, as after a power failure", vec![0; 200]),
        ("deeply nested", vec![b'['; 200_000]),
    ]
}

fn good(n: u32) -> Vec<u8> {
    Ad::click(10_000 + n, T + i64::from(n)).line().into_bytes()
}

/// Bills the bytes of one file and checks that the counts add up.
#[track_caller]
fn bill_bytes(name: &str, content: &[u8]) -> Taps {
    let scratch = Scratch::new(name);
    let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let dataset = Dataset {
        files: vec![scratch.write("events.ndjson", content)],
        accounts: scratch.write("accounts.csv", plenty),
    };
    let job = Job::new(&dataset, scratch.path("data")).partitions(2);
    let summary = job.run();
    let taps = Taps::read(&job.data_dir);
    assert_adds_up(&summary, &taps);
    assert_eq!(summary, job.run(), "a second start changes nothing");
    taps
}

#[track_caller]
fn assert_adds_up(summary: &Summary, taps: &Taps) {
    assert!(taps.charges.iter().all(|c| c.is_charged()), "{:?}", taps.charges);
    assert_eq!(summary.charged, taps.charges.len() as u64);
    assert_eq!(summary.malformed, taps.dropped.len() as u64);
    assert_eq!(summary.events, taps.len() as u64);
    let paid: i128 = taps.charges.iter().map(|c| c.amount_nanos.0).sum();
    assert_eq!(summary.opening_nanos.0 - paid, summary.closing_nanos.0);
}

#[track_caller]
fn assert_in_dropped(taps: &Taps, what: &str, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let is_it = |raw: &str| line.starts_with(raw) && raw.len() >= line.len().min(SHORT);
    let found = taps.dropped.iter().find(|d| d.raw.as_deref().is_some_and(is_it));
    let found = found.unwrap_or_else(|| panic!("{what} is not in {:?}", taps.dropped));
    assert_eq!(found.reason, "malformed", "{what}");
}
