//! `weir audit`: it passes on what is right, and names the place where something is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::{Ad, Dataset, Done, Job, LongRun, Scratch, Weir, accounts_csv, now_ms, weir};

/// 2026-03-10T08:00:00Z.
const START_MS: i64 = 1_773_129_600_000;
const EVENTS: u32 = 6_000;

#[test]
fn a_finished_job_passes_as_a_whole_and_in_parts() {
    let scratch = Scratch::new("audit-passes");
    let data = finished(&scratch);
    let found = audited(&data, &[]);
    assert_eq!((&found["from"], &found["to"]), (&Value::Null, &Value::Null));
    let end = found["minutes"].as_array().unwrap().last().unwrap();
    assert_eq!((&end["accepted"], &end["in_flight"]), (&u64::from(EVENTS + 1).into(), &0.into()));
    let sum = |names: [&str; 3]| names.map(|n| end[n].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(sum(["charged", "refused", "dropped"]), u64::from(EVENTS + 1));
    assert!(found["minutes"].as_array().unwrap().iter().all(|row| row["difference"] == 0));
    for check in ["checksums", "provenance", "completeness", "conservation", "digests"] {
        assert!(found["checks"][check]["checked"].as_u64().unwrap() > 0, "{check}");
    }
    let part = audited(&data, &["--from", "08:02", "--to", "2026-03-10T08:04Z"]);
    assert_eq!(
        (&part["from"], &part["to"]),
        (&"2026-03-10T08:02:00Z".into(), &"2026-03-10T08:04:00Z".into())
    );
    let accepted = part["minutes"].as_array().unwrap().last().unwrap()["accepted"].as_u64().unwrap();
    assert_eq!(accepted, 1_200, "two minutes of 600");
    let text = audit(&data, &[]).ok().stdout;
    assert!(text.contains("difference 0") && text.contains("everything holds"), "{text}");
    audit(&data, &["--from", "08:04", "--to", "08:02"]).refused(&[2], &["--to must be later"]);
    audit(&data, &["--from", "noon"]).refused(&[2], &["no minute"]);
}

#[test]
fn it_passes_after_rewinds() {
    let scratch = Scratch::new("audit-rewinds");
    let data = finished(&scratch);
    let rules = scratch.write("rules.toml", "[anti_brush]\nbots = false\n");
    let rewind = |more: &[&str]| {
        let mut command = weir();
        command.args(["rewind", "--apply", "--data-dir"]).arg(&data).args(more);
        Weir::start(&mut command).wait().ok();
        audited(&data, &[]);
        audited(&data, &["--from", "08:01", "--to", "08:05"]);
    };
    rewind(&["--to", "08:03"]);
    rewind(&["--to", "08:02", "--rules", rules.to_str().unwrap()]);
    rewind(&["--to", "08:04", "--stage", "deduct"]);
}

#[test]
fn a_running_job_is_audited_up_to_its_newest_cut() {
    let scratch = Scratch::new("audit-running");
    let log = scratch.write("front.log", "");
    let csv = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &csv);
    job.start();
    let lines: Vec<_> = (0..500).map(|n| Ad::click(n, now_ms()).line()).collect();
    std::fs::write(&log, lines.concat()).unwrap();
    job.expect(&lines);
    job.settle();
    let done = audit(job.data_dir(), &["--json"]);
    match done.code {
        // Before the first minute has passed there is no cut.
        Some(1) => assert!(done.stderr.contains("no complete cut yet"), "{}", done.stderr),
        _ => assert_eq!(parsed(&done.ok())["ok"], true),
    }
    job.stop("TERM");
    let stopped = audited(job.data_dir(), &[]);
    assert_eq!(stopped["minutes"].as_array().unwrap().last().unwrap()["charged"], 500);
}

#[test]
fn a_flipped_byte_is_found_in_its_place() {
    let scratch = Scratch::new("audit-flipped");
    let data = finished(&scratch);
    let path = data.join("log/charges/00000000000000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let frames: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"WFR1").collect();
    let frame = frames[frames.len() / 2];
    let partition = u16::from_le_bytes([bytes[frame + 8], bytes[frame + 9]]);
    let offset = u64::from_le_bytes(bytes[frame + 32..frame + 40].try_into().unwrap());
    bytes[frame + 80] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let found = broken(&data);
    let place = &found["checks"]["checksums"]["problems"][0]["place"];
    assert_eq!(
        (&place["topic"], &place["partition"], &place["offset"]),
        (&"charges".into(), &partition.into(), &offset.into()),
        "{found}"
    );
}

#[test]
fn a_wrong_digest_is_found_in_its_minute() {
    let scratch = Scratch::new("audit-digest");
    let data = finished(&scratch);
    let minute = START_MS / 60_000 + 3;
    let path = data.join(format!("checkpoints/1/{minute}/deduct-2/weir.json"));
    let sealed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let digest = sealed["manifest"]["digests"][0][1].as_str().unwrap();
    let other = format!("{:x}{}", u8::from_str_radix(&digest[..1], 16).unwrap() ^ 1, &digest[1..]);
    let text = std::fs::read_to_string(&path).unwrap().replace(digest, &other);
    // What the file says of itself is right: only the log tells that it is not.
    let compact: String = text.split_whitespace().collect();
    let manifest = compact.split_once("\"manifest\":").unwrap().1.strip_suffix('}').unwrap();
    let sum = crc32c(manifest.as_bytes());
    std::fs::write(&path, format!("{{\"crc32c\":{sum},\"manifest\":{manifest}}}")).unwrap();
    let mut verify = weir();
    verify.args(["checkpoints", "verify", "--data-dir"]).arg(&data);
    Weir::start(&mut verify).wait().ok();

    let found = broken(&data);
    let problems = found["checks"]["digests"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{found}");
    assert_eq!(
        (&problems[0]["task"], &problems[0]["minute"]),
        (&"deduct-2.1".into(), &"2026-03-10T08:03:00Z".into())
    );
}

#[test]
fn a_lost_end_of_the_log_is_found() {
    let scratch = Scratch::new("audit-lost");
    let data = finished(&scratch);
    let path = data.join("log/judged/00000000000000000000.seg");
    let bytes = std::fs::read(&path).unwrap();
    let frames: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"WFR1").collect();
    std::fs::write(&path, &bytes[..frames[frames.len() * 3 / 4]]).unwrap();
    let found = broken(&data);
    assert!(found["checks"]["completeness"]["problems"][0]["problem"].is_string(), "{found}");
}

/// A finished job over ten minutes with 4 partitions.
fn finished(scratch: &Scratch) -> PathBuf {
    let ad = |n: u32| {
        let click = Ad::click(n, START_MS + i64::from(n) * 100).paid_by(u64::from(n % 5) + 1);
        match n % 50 {
            7 => Ad { ua: "Googlebot/2.1".into(), ..click },
            8 => Ad { billing: "cpm".into(), ..click },
            9 => Ad::click(n - 1_000.min(n), START_MS + i64::from(n) * 100),
            _ => click,
        }
    };
    let mut lines: Vec<String> = (0..EVENTS).map(|n| ad(n).line()).collect();
    lines.insert(3, "no event\n".to_owned());
    let plenty = 1_000_000_000;
    let csv =
        accounts_csv(&[(1, plenty, plenty), (2, plenty, 3_000_000), (3, plenty, plenty), (4, 1, plenty)]);
    let dataset = Dataset::of(scratch, &lines, &csv);
    let job = Job::new(&dataset, scratch.path("data")).partitions(4);
    job.run();
    job.data_dir
}

fn audit(data: &Path, more: &[&str]) -> Done {
    let mut command = weir();
    command.args(["audit", "--data-dir"]).arg(data).args(more);
    Weir::start(&mut command).wait()
}

fn parsed(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap()
}

#[track_caller]
fn audited(data: &Path, more: &[&str]) -> Value {
    parsed(&audit(data, &[more, &["--json"]].concat()).ok())
}

/// What an audit finds wrong: it must.
#[track_caller]
fn broken(data: &Path) -> Value {
    let done = audit(data, &["--json"]);
    done.refused(&[3], &[]);
    parsed(&done)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)))
}
