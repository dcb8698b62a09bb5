//! Requests that mean no good, and some that are only wrong: each has a clear answer or is cut off, and the job is none
//! the worse for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use weir_tests::{Ad, Http, Target, now_ms, wait_for};

const LIMITS: &str = "max_request_kb = 64\nmax_events = 100\nrequest_timeout = \"2s\"\nmemory_mb = 4\n";
const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];
const GZIP: &[(&str, &str)] = &[("content-type", "application/json"), ("content-encoding", "gzip")];
/// More than one request may have.
const TOO_MUCH: usize = 1 << 20;

#[test]
fn a_body_that_cannot_be_read_is_told_why() {
    let mut target = Target::start("hostile-bodies", LIMITS);
    let line = Ad::click(1_000_000, now_ms()).line();
    let line = line.trim();
    for body in [
        "",
        " \n\t",
        "no JSON",
        "<events/>",
        "[",
        "[[",
        "]",
        "[1,]",
        "[1] x",
        &line[..0],
        &format!("[{}", line),
    ] {
        target.refuses(body, 400, "unreadable");
    }
    target.refuses("[".repeat(60_000), 400, "unreadable");
    target.refuses(format!("[{}", "{\"a\":[".repeat(9_000)), 400, "unreadable");
    for wrong in [
        "{",
        "{}",
        "null",
        "[]",
        "0",
        "\"\"",
        &line[..line.len() - 1],
        &line.replace("\"guid\":\"", "\"guid\":\"\u{0}"),
        &line.replace("{\"guid\"", "{\"guid\":\"a\",\"guid\""),
        &format!("{{\"deep\":{}0{}}}", "[".repeat(20_000), "]".repeat(20_000)),
        &format!("{{\"deep\":{}0{}}}", "{\"a\":".repeat(9_000), "}".repeat(9_000)),
        &line.replace("}", &format!(",\"more\":{}}}", "[".repeat(50) + &"]".repeat(50))),
    ] {
        target.refuses_with(LINES, wrong, 422, "malformed");
        if wrong.starts_with('{') && wrong.ends_with('}') {
            target.refuses(format!("[{wrong}]"), 422, "malformed");
        }
    }
    target.refuses_with(LINES, b"{\"guid\":\"\xff\xfe\"}", 422, "malformed");
    target.refuses_with(LINES, "x".repeat(60_000), 422, "malformed");
    assert!(target.end().is_empty(), "what was refused is not to be seen");
}

#[test]
fn a_field_that_is_wrong_is_named() {
    let mut target = Target::start("hostile-fields", LIMITS);
    let now = now_ms();
    let line = Ad::click(1_000_000, now).line();
    let value = |name: &str| {
        let parsed: Value = serde_json::from_str(&line).unwrap();
        format!("\"{name}\":{}", parsed[name])
    };
    let day = 24 * 3_600_000;
    let with = |name: &str, to: &str| line.replace(&value(name), &format!("\"{name}\":{to}"));
    for (name, to, code) in [
        ("guid", "5", "malformed"),
        ("guid", "null", "malformed"),
        ("guid", "\"\"", "malformed"),
        ("guid", &format!("{:?}", "g".repeat(256)), "malformed"),
        ("event_time_ms", "\"now\"", "malformed"),
        ("event_time_ms", "-1", "malformed"),
        ("event_time_ms", "1.5", "malformed"),
        ("event_time_ms", "1e400", "malformed"),
        ("event_time_ms", "99999999999999999999999", "malformed"),
        ("event_time_ms", &(now + day).to_string(), "malformed"),
        ("event_time_ms", &(now - 2 * day).to_string(), "too_late"),
        ("kind", "\"tap\"", "malformed"),
        ("kind", "[]", "malformed"),
        ("ip", "\"1.2.3\"", "malformed"),
        ("ip", "{}", "malformed"),
        ("ad_id", "\"7\"", "malformed"),
        ("ad_id", "18446744073709551616", "malformed"),
        ("advertiser_id", "true", "malformed"),
        ("bid_micros", "-5", "malformed"),
        ("bid_micros", "null", "malformed"),
        ("billing", "\"free\"", "malformed"),
        ("user_id", "7", "malformed"),
        ("user_id", &format!("{:?}", "u".repeat(60_000)), "malformed"),
        ("ua", "{\"a\":1}", "malformed"),
    ] {
        let reply = target.refuses_with(LINES, with(name, to), 422, code);
        let event = &reply.json()["events"][0];
        assert_eq!(event["field"], name, "{name}: {to}: {event}");
    }
    // Of several, each has its answer.
    let good = [target.next_good(), target.next_good()];
    let body = format!("[{},{},{}]", good[0].line(), with("ip", "7"), good[1].line());
    let reply = target.connect().post("/v1/events", &[], body.as_bytes()).unwrap();
    let events: Vec<(Value, Value)> = reply.json()["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["status"].clone(), event["guid"].clone()))
        .collect();
    let taken = |ad: &Ad| (Value::from("accepted"), Value::from(ad.guid.as_str()));
    assert_eq!(
        (reply.status, events),
        (207, vec![taken(&good[0]), ("refused".into(), Value::Null), taken(&good[1])])
    );
    assert!(target.end().is_empty());
}

#[test]
fn what_is_too_large_is_refused_before_it_takes_memory() {
    let mut target = Target::start("hostile-sizes", LIMITS);
    let peak = target.job.peak_memory_mb();
    let line = Ad::click(1_000_000, now_ms()).line();
    target.refuses(format!("[{}]", vec!["{}"; 101].join(",")), 413, "too_large");
    target.refuses_with(LINES, line.repeat(101), 413, "too_large");
    // As large as it says, of which all is sent, or nothing.
    target.refuses("[".repeat(TOO_MUCH), 413, "too_large");
    target.refuses_with(LINES, "x".repeat(TOO_MUCH), 413, "too_large");
    let head = |more: &str| format!("POST /v1/events HTTP/1.1\r\nhost: weir.test\r\n{more}\r\n\r\n");
    // A length that no body can have is one of a head that is too large.
    for (length, status) in [("10000000", 413), ("18446744073709551615", 431)] {
        let mut connection = target.connect();
        connection.send(head(&format!("content-length: {length}"))).unwrap();
        assert_eq!(connection.reply().unwrap().status, status, "{length}");
        target.is_well();
    }
    // Nobody knows how large it will be.
    let mut connection = target.connect();
    connection.send(head("transfer-encoding: chunked")).unwrap();
    let chunk = format!("4000\r\n{}\r\n", "y".repeat(0x4000));
    // It may be closed at any time.
    let sent = (0..1_000).take_while(|_| connection.send(&chunk).is_ok()).count();
    assert!(sent < 1_000, "an endless body is read without end");
    target.is_well();
    // Packed.
    for (text, status, code) in [
        (vec![b'['; 50 << 20], 413, "too_large"),
        (vec![b' '; 60 << 10], 400, "unreadable"),
        (line.repeat(101).into_bytes(), 413, "too_large"),
    ] {
        target.refuses_with(GZIP, gzip(&text), status, code);
    }
    let packed = gzip(line.as_bytes());
    for wrong in
        [&packed[..packed.len() / 2], &packed[..3], line.as_bytes(), &[&packed[..], b"tail"].concat()]
    {
        target.refuses_with(GZIP, wrong, 400, "unreadable");
    }
    for encoding in ["br", "gzip, gzip", "zip", "\u{e4}"] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        target.refuses_with(&headers, &line, 400, "unreadable");
    }
    let good = target.next_good();
    let reply = target.connect().post("/v1/events", GZIP, &gzip(good.line().as_bytes())).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let grown = target.job.peak_memory_mb() - peak;
    assert!(grown < 64, "{grown} MiB more were needed");
    assert!(target.end().is_empty());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_no_http_is_cut_off() {
    let mut target = Target::start("hostile-protocol", LIMITS);
    let body = format!("[{}]", Ad::click(1_000_000, now_ms()).line());
    let long = body.len();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (bytes, statuses) in [
        ("GARBAGE\r\n\r\n".to_owned(), &[400][..]),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}........".to_owned(), &[400]),
        ("GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(), &[400, 505]),
        ("GET  /c HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("POST /v1/events HTTP/1.1\r\nhost: x\r\nno header\r\n\r\n".to_owned(), &[400]),
        (format!("GET /c?t={} HTTP/1.1\r\nhost: x\r\n\r\n", "t".repeat(100_000)), &[400, 414, 431]),
        (format!("GET /c HTTP/1.1\r\nhost: x\r\nbig: {}\r\n\r\n", "h".repeat(100_000)), &[400, 431]),
        (format!("GET /c HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(5_000)), &[400, 431]),
        (format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{body}"), &[400]),
        (
            format!(
                "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: {long}\r\n\r\n{body}"
            ),
            &[400],
        ),
        (
            format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{body}"),
            &[400],
        ),
        (format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: zip\r\n\r\n{body}"), &[400, 501]),
    ] {
        let mut connection = target.connect();
        // It may be closed before all is sent.
        let _ = connection.send(&bytes);
        connection.finish();
        let rest = connection.rest();
        let status = rest.get(9..12).and_then(|status| status.parse().ok());
        let is_cut_off = rest.is_empty() || status.is_some_and(|status: u16| statuses.contains(&status));
        assert!(is_cut_off, "{rest:?} for {:?}", &bytes[..bytes.len().min(100)]);
        target.is_well();
    }
    // Both ports understand HTTP/2, and no garbage in it.
    for port in [target.ports().0, target.ports().1] {
        for garbage in ["x".repeat(100), "\0\0\u{8}\u{6}\0\0\0\0\0".to_owned(), "\u{7f}".repeat(70_000)] {
            let mut connection = Http::connect(port).unwrap();
            let _ = connection.send(format!("{preface}{garbage}"));
            connection.finish();
            connection.rest();
            target.is_well();
        }
    }
    assert!(target.end().is_empty());
}

#[test]
fn one_request_cannot_hide_in_another() {
    let mut target = Target::start("hostile-smuggling", LIMITS);
    let hidden = Ad::click(1_000_000, now_ms()).line();
    let inner =
        format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len());
    // With both, the length does not count (RFC 9112, 6.3), and what follows is not another request, or it is closed.
    let mut connection = target.connect();
    let both = "content-length: 4\r\ntransfer-encoding: chunked\r\n";
    let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    connection.send(format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{both}\r\n{chunked}")).unwrap();
    connection.finish();
    let rest = connection.rest();
    assert!(!rest.contains("\"accepted\":1") && rest.matches("HTTP/1.1").count() <= 1, "{rest}");
    target.is_well();
    // Several in a row are answered in order.
    let ads = [target.next_good(), target.next_good(), target.next_good()];
    let mut connection = target.connect();
    let post = |ad: &Ad| {
        let line = ad.line();
        format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{line}", line.len())
    };
    connection.send(ads.iter().map(post).collect::<String>()).unwrap();
    for ad in &ads {
        let reply = connection.reply().unwrap();
        assert_eq!((reply.status, &reply.json()["events"][0]["guid"]), (200, &ad.guid.as_str().into()));
    }
    for (method, target_path, status) in [
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/events", 405),
        ("POST", "/c", 405),
        ("GET", "/", 404),
        ("GET", "/v1/events/../../etc/passwd", 404),
        ("GET", "//evil.example/", 404),
        ("GET", "/c/", 404),
    ] {
        let mut connection = target.connect();
        connection.send(format!("{method} {target_path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        assert_eq!(connection.reply().unwrap().status, status, "{method} {target_path}");
    }
    assert!(target.end().is_empty());
}

#[test]
fn nobody_is_waited_for_without_end() {
    let mut target = Target::start("hostile-slow", LIMITS);
    // A head that never ends, nothing at all, and a body that comes byte by byte.
    let mut head = target.connect();
    head.send("POST /v1/events HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut silent = target.connect();
    let mut body = target.connect();
    body.send("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n[").unwrap();
    let (begun, mut slow) = (Instant::now(), None);
    while begun.elapsed() < Duration::from_secs(45) {
        // A byte of each, until they are cut off.
        let head_is_open = head.send("a").is_ok();
        if slow.is_none() && body.send(" ").is_err() {
            slow = Some(begun.elapsed());
        }
        if !head_is_open && slow.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        target.is_well();
    }
    let rest = body.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert!(slow.is_some_and(|slow| slow >= Duration::from_secs(2)), "{slow:?}");
    assert!(!head.rest().contains("200 OK"));
    silent.rest();
    // One that sends nothing more of its body is told so.
    let mut body = target.connect();
    body.send("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n[").unwrap();
    let reply = body.reply().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (408, &"too_slow".into()));
    // And one that goes away in the middle is forgotten.
    let mut body = target.connect();
    body.send("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n[").unwrap();
    drop(body);
    target.is_well();
    assert!(target.end().is_empty());
}

#[test]
fn idle_connections_are_limited() {
    const MOST: usize = 200;
    let mut target = Target::start_with("hostile-idle", LIMITS, |job, _| job.limit_connections(MOST));
    // Those of whoever looked whether the job is up are gone first.
    wait_for("room for all", || {
        let mut all: Vec<Http> = (0..MOST).map(|_| target.connect()).collect();
        all.iter_mut().all(|connection| connection.get("/healthz", &[]).is_ok())
    });
    let mut open = target.connect();
    wait_for("a connection", || {
        open = target.connect();
        open.get("/healthz", &[]).is_ok()
    });
    let idle: Vec<Http> = (0..1_000).map(|_| target.connect()).collect();
    // What is one too many is closed at once; the others wait.
    target.takes_from(&mut open);
    wait_for("what is too much to be closed", || {
        idle.iter().filter(|c| c.is_closed()).count() > 1_000 - MOST
    });
    target.takes_from(&mut open);
    assert!(idle.iter().filter(|c| c.is_closed()).count() < 1_000 - MOST / 2, "others are closed, too");
    drop(idle);
    wait_for("room for a connection", || target.connect().get("/healthz", &[]).is_ok());
    target.is_well();
    target.takes_from(&mut open);
    assert!(target.end().is_empty());
}
