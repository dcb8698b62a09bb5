//! `weir tap` as analysts use it: by time, filtered, masked, in other formats, and in several sittings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::{Ad, Dataset, Done, Job, LongRun, Scratch, Weir, accounts_csv, now_ms, weir};

/// 2026-03-10T08:00:00Z.
const START_MS: i64 = 1_773_129_600_000;
const MINUTES: u32 = 6;
const A_MINUTE: u32 = 50;
/// Of each minute's events: one of a bot, and one that is not billable.
const BOT: u32 = 7;
const NOT_BILLABLE: u32 = 8;

#[test]
fn a_time_cuts_every_topic_where_its_minute_begins() {
    let scratch = Scratch::new("tap-times");
    let data = finished(&scratch, "data");
    for topic in ["raw", "clean", "judged", "charges", "dropped", "notices"] {
        let all = tap(&data, topic, &["--ticks"]);
        let parts = [
            tap(&data, topic, &["--ticks", "--until", "2026-03-10T08:02"]),
            tap(
                &data,
                topic,
                &["--ticks", "--from", "2026-03-10T08:02:00Z", "--until", "2026-03-10T10:04:59+02:00"],
            ),
            tap(&data, topic, &["--ticks", "--from", "2026-03-10T08:04"]),
        ];
        assert_eq!(parts, minutes(&all), "{topic}");
        assert_eq!(
            tap(&data, topic, &["--ticks", "--from", "2026-03-10"]),
            all,
            "{topic}: before the first tick"
        );
        assert_eq!(
            tap(&data, topic, &["--ticks", "--until", "2027-01-01T00:00Z"]),
            all,
            "{topic}: after the last"
        );
        assert!(tap(&data, topic, &["--from", "2027-01-01T00:00Z"]).is_empty(), "{topic}");
        assert!(tap(&data, topic, &["--until", "2026-03-10T00:00"]).is_empty(), "{topic}");
    }
    // One task writes to `raw`, so there minutes are those of the events.
    let times = ["--from", "2026-03-10T08:02", "--until", "2026-03-10T08:04"];
    let wanted = (2..4).flat_map(|m| (0..A_MINUTE).map(move |n| ad(m, n).guid));
    let found = tap(&data, "raw", &times);
    let found: BTreeSet<_> = found.iter().map(|row| row["guid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, wanted.collect());
}

/// The records before 08:02, before 08:04, and the rest, by the ticks before them in their partition.
fn minutes(all: &[Value]) -> [Vec<Value>; 3] {
    let mut parts = [const { Vec::new() }; 3];
    let mut clocks = [0; 4];
    for row in all {
        let clock = &mut clocks[row["provenance"]["partition"].as_u64().unwrap() as usize];
        *clock = row["tick_time_ms"].as_i64().unwrap_or(0).max(*clock);
        let at = [2, 4].iter().filter(|minute| *clock >= START_MS + *minute * 60_000).count();
        parts[at].push(row.clone());
    }
    parts
}

#[test]
fn offsets_and_a_limit_cut_a_partition() {
    let scratch = Scratch::new("tap-offsets");
    let data = finished(&scratch, "data");
    let all = tap(&data, "raw", &["--partition", "1"]);
    let offset = |row: &Value| row["provenance"]["offset"].as_u64().unwrap();
    let middle: Vec<_> = all.iter().filter(|r| (10..20).contains(&offset(r))).cloned().collect();
    assert!(!middle.is_empty());
    assert_eq!(tap(&data, "raw", &["--partition", "1", "--from", "10", "--until", "20"]), middle);
    assert_eq!(tap(&data, "raw", &["--partition", "1", "--limit", "5"]), all[..5]);
    assert_eq!(run(&data, "raw", &["--limit", "5"]).ok().stdout.lines().count(), 5, "ends without --until");
    let few = run(&data, "charges", &["--limit", "100000"]).ok();
    assert_eq!(few.stdout.lines().count(), tap(&data, "charges", &[]).len(), "no more are waited for");
    assert!(tap(&data, "raw", &["--from", "end"]).is_empty());
}

#[test]
fn a_filter_picks_records() {
    let scratch = Scratch::new("tap-where");
    let data = finished(&scratch, "data");
    let all = tap(&data, "charges", &[]);
    let refused = tap(&data, "charges", &["--where", "advertiser_id == 2 && outcome == \"refused\""]);
    let by_hand = all.iter().filter(|r| r["advertiser_id"] == 2 && r["outcome"] == "refused");
    assert_eq!(refused, by_hand.cloned().collect::<Vec<_>>());
    assert!(!refused.is_empty() && refused.len() < all.len());
    let cheap = tap(&data, "charges", &["--where", "amount_nanos > 1000000 && provenance.offset > 100"]);
    assert!(!cheap.is_empty() && cheap.iter().all(|r| r["provenance"]["offset"].as_u64() > Some(100)));
    let raw = tap(&data, "dropped", &["--where", "user_id.startsWith('u:') || raw != null"]);
    assert_eq!(raw.len(), tap(&data, "dropped", &[]).len(), "what a record does not have is null");
    for (wrong, said) in [
        ("advertiser_id ==", "column 17"),
        ("advertizer_id == 2", "advertizer_id"),
        ("advertiser_id + 1", "true or false"),
        ("advertiser_id > 'x'", "example"),
    ] {
        run(&data, "charges", &["--until", "end", "--where", wrong]).refused(&[2], &["--where", said]);
    }
}

#[test]
fn csv_and_tables_have_a_header_and_the_same_columns_in_every_line() {
    let scratch = Scratch::new("tap-formats");
    let data = finished(&scratch, "data");
    for topic in ["raw", "clean", "judged", "charges", "dropped", "notices"] {
        let records = tap(&data, topic, &[]).len();
        let csv = run(&data, topic, &["--until", "end", "--format", "csv"]).ok().stdout;
        assert_eq!(csv.lines().count(), records + 1, "{topic}");
        assert!(csv.starts_with("partition,offset,"), "{csv}");
    }
    let csv = run(&data, "charges", &["--until", "end", "--format", "csv"]).ok().stdout;
    let columns = csv.lines().map(|l| l.split(',').count()).collect::<BTreeSet<_>>();
    assert_eq!(columns.len(), 1, "{columns:?}");
    assert!(csv.lines().next().unwrap().contains(",amount_nanos,"));
    let table = run(&data, "charges", &["--limit", "9", "--format", "table"]).ok().stdout;
    let first = table.lines().nth(1).unwrap();
    assert!(first.contains("2026-03-10T08:0") && first.contains(" 0.250000000 "), "{table}");
    let at = table.lines().next().unwrap().find("outcome").unwrap();
    assert!(table.lines().skip(1).all(|l| l[at..].starts_with("charged") || l[at..].starts_with("refused")));
}

#[test]
fn people_are_masked_unless_one_may_see_them() {
    let scratch = Scratch::new("tap-masks");
    let data = finished(&scratch, "data");
    let [masked, plain] = [&[][..], &["--unmasked"]].map(|more| tap(&data, "raw", more));
    let mut seen = BTreeSet::new();
    for (masked, plain) in masked.iter().zip(&plain) {
        let [user, ip] = ["user_id", "ip"].map(|name| masked[name].as_str().unwrap());
        assert!(user.starts_with("u:") && user.len() == 18 && ip.starts_with("ip:") && ip.len() == 19);
        assert!(plain["user_id"].as_str().unwrap().starts_with("u0000"));
        seen.insert((user.to_owned(), plain["user_id"].to_string()));
    }
    assert_eq!(seen.len(), plain.len(), "one mask for each user");
    let mask_of = |row: &Value| (row["guid"].to_string(), row["user_id"].to_string());
    let raw: BTreeSet<_> = masked.iter().map(mask_of).collect();
    let clean: BTreeSet<_> = tap(&data, "clean", &[]).iter().map(mask_of).collect();
    assert!(clean.is_subset(&raw), "the same mask in every topic");
    let text = run(&data, "dropped", &["--until", "end"]).ok().stdout;
    assert!(text.contains("bytes, masked>") && !text.contains("secret"), "{text}");
    assert!(run(&data, "dropped", &["--until", "end", "--unmasked"]).ok().stdout.contains("secret"));

    std::fs::remove_file(data.join("mask.key")).unwrap();
    let once = run(&data, "raw", &["--until", "end"]).ok();
    assert!(once.stderr.contains("mask.key") && !once.stdout.contains("u0000"), "{}", once.stderr);
    assert_ne!(once.stdout, run(&data, "raw", &["--until", "end"]).ok().stdout, "a key for each tap");
    assert!(!data.join("mask.key").exists(), "a tap writes nothing there");
    run(&data, "raw", &["--until", "end", "--unmasked"]).refused(&[1], &["mask.key", "--unmasked"]);
}

#[test]
fn a_tap_goes_on_where_it_was() {
    let scratch = Scratch::new("tap-resume");
    let data = finished(&scratch, "data");
    let file = scratch.path("tap.position");
    let name = file.to_str().unwrap();
    let mut sittings = Vec::new();
    for _ in 0..100 {
        let rows = tap(&data, "charges", &["--limit", "17", "--resume", name]);
        if rows.is_empty() {
            break;
        }
        sittings.extend(rows);
    }
    assert_eq!(sittings, tap(&data, "charges", &[]));
    let by_time = scratch.path("times.position");
    let times = ["--from", "2026-03-10T08:02", "--until", "2026-03-10T08:04"];
    let in_parts = [&times[..], &["--limit", "30", "--resume", by_time.to_str().unwrap()]].concat();
    let mut parts = tap(&data, "charges", &in_parts);
    parts.extend(tap(&data, "charges", &in_parts));
    parts.extend(tap(&data, "charges", &in_parts));
    parts.extend(tap(&data, "charges", &in_parts));
    assert_eq!(parts, tap(&data, "charges", &times), "the window stays what it was");

    let other = finished(&scratch, "other");
    run(&other, "charges", &["--resume", name]).refused(&[2], &["tap.position", "--resume"]);
    run(&data, "dropped", &["--resume", name]).refused(&[2], &["tap.position", "charges", "dropped"]);
    std::fs::write(&file, "{}").unwrap();
    run(&data, "charges", &["--resume", name]).refused(&[2], &["tap.position"]);
}

#[test]
fn a_following_tap_survives_its_end() {
    let scratch = Scratch::new("tap-follow");
    let log = scratch.write("front.log", "");
    let csv = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &csv);
    job.start();
    let file = scratch.path("tap.position");
    let mut printed = String::new();
    let mut written = String::new();
    for sitting in 0..3_u32 {
        let more: Vec<_> = (0..100).map(|n| Ad::click(100 * sitting + n, now_ms()).line()).collect();
        written += &more.concat();
        std::fs::write(&log, &written).unwrap();
        job.expect(&more);
        job.settle();
        let mut command = weir();
        command.args(["tap", "charges", "--follow", "--format", "jsonl", "--resume"]).arg(&file);
        let follower = Weir::start(command.arg("--data-dir").arg(job.data_dir()));
        wait_for_lines(&follower, 100);
        if sitting == 1 {
            follower.signal("TERM");
            printed += &follower.wait().ok().stdout;
        } else {
            // The position is written right behind the records.
            std::thread::sleep(Duration::from_secs(1));
            printed += &follower.kill9().stdout;
        }
    }
    job.stop("TERM");
    let mut followed: Vec<_> = printed.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect();
    let place = |row: &Value| {
        let number = |name: &str| row["provenance"][name].as_u64().unwrap();
        (number("partition"), number("offset"))
    };
    followed.sort_by_key(place);
    assert_eq!(followed, tap(job.data_dir(), "charges", &[]), "without gaps and repeats");
}

/// A finished job over some minutes with 4 partitions.
fn finished(scratch: &Scratch, name: &str) -> PathBuf {
    let events = (0..MINUTES).flat_map(|m| (0..A_MINUTE).map(move |n| ad(m, n).line()));
    let mut lines: Vec<String> = events.collect();
    lines.insert(3, "{\"user_id\": \"secret\"}\n".to_owned());
    let plenty = 1_000_000_000;
    let csv = accounts_csv(&[(1, plenty, plenty), (2, plenty, 3_000_000), (3, plenty, plenty)]);
    let dataset = Dataset::of(scratch, &lines, &csv);
    let job = Job::new(&dataset, scratch.path(name)).partitions(4);
    job.run();
    job.data_dir
}

/// Event `n` of a minute.
fn ad(minute: u32, n: u32) -> Ad {
    let time = START_MS + i64::from(minute) * 60_000 + i64::from(n) * 1_000;
    let click = Ad::click(minute * A_MINUTE + n, time).paid_by(u64::from(n % 3) + 1);
    match n {
        BOT => Ad { ua: "Googlebot/2.1".into(), ..click },
        NOT_BILLABLE => Ad { billing: "cpm".into(), ..click },
        _ => click,
    }
}

fn run(data: &Path, topic: &str, more: &[&str]) -> Done {
    let mut command = weir();
    command.args(["tap", topic, "--data-dir"]).arg(data).args(more);
    Weir::start(&mut command).wait()
}

/// What stands in a topic now.
#[track_caller]
fn tap(data: &Path, topic: &str, more: &[&str]) -> Vec<Value> {
    let until: &[&str] = if more.contains(&"--until") { &[] } else { &["--until", "end"] };
    let done = run(data, topic, &[more, until].concat()).ok();
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for_lines(tap: &Weir, lines: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while tap.printed().lines().count() < lines {
        assert!(Instant::now() < deadline, "waited in vain for {lines} lines");
        std::thread::sleep(Duration::from_millis(50));
    }
}
