//! `POST /v1/events`: what is answered to which body.

use super::*;
use crate::config::Ingest;
use crate::ingest::testing::{Bench, NOW, line, peer};
use crate::ingest::{Intake, NotTaken, Spool, SpoolOptions};
use axum::body::Body;
use axum::http::{Request, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;
use tower::ServiceExt;

/// The status, the headers and the JSON of an answer.
async fn ask(bench: &Bench, request: Request<Body>) -> (u16, axum::http::HeaderMap, Value) {
    let response: Response<Body> = events(bench.front.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/events").body(body.into()).unwrap()
}

async fn send(bench: &Bench, body: impl Into<Body>) -> (u16, Value) {
    let (status, _, json) = ask(bench, post(body)).await;
    (status, json)
}

fn bench() -> Bench {
    Bench::new(Ingest::default())
}

#[tokio::test]
async fn each_event_is_answered() {
    let bench = bench();
    let (status, json) = send(&bench, format!("[{}, {}]", line("a"), line("b"))).await;
    assert_eq!((status, json["accepted"].as_u64()), (200, Some(2)));
    assert_eq!(json["events"][1], serde_json::json!({"index": 1, "guid": "b", "status": "accepted"}));
    let body = format!("{}\n{}\nnonsense\n", line("b"), line("c"));
    let request = Request::post("/v1/events").header("content-type", "application/x-ndjson; charset=utf-8");
    let (status, headers, json) = ask(&bench, request.body(Body::from(body)).unwrap()).await;
    assert_eq!(status, 207);
    assert_eq!(headers["cache-control"].to_str().unwrap().split(',').next(), Some("no-store"));
    let counts = ["accepted", "duplicate", "refused"].map(|name| json[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(json["events"][0]["status"], "duplicate");
    assert_eq!(
        json["events"][2],
        serde_json::json!({
            "index": 2, "guid": null, "status": "refused", "code": "malformed", "field": null,
            "message": "not a JSON object"
        })
    );
    assert_eq!(bench.on_disk(), ["click a", "click b", "click c"]);
    assert_eq!(send(&bench, "[]").await.0, 200);
}

#[tokio::test]
async fn what_is_refused_names_its_field() {
    let bench = bench();
    let change = |from: &str, to: &str| line("a").replacen(from, to, 1);
    let deep = format!("{{\"x\":{},\"guid\"", "[".repeat(100_000));
    let cases = [
        (change(":540000", ":\"free\""), "malformed", "bid_micros"),
        (change(":540000", ":-1"), "malformed", "bid_micros"),
        (change(":540000", ":18446744073709551616"), "malformed", "bid_micros"),
        (change(":540000", ":1e400"), "malformed", "bid_micros"),
        (change(":7,", ":[7],"), "malformed", "ad_id"),
        (change("\"guid\":\"a\"", "\"guid\":7"), "malformed", "guid"),
        (change("\"guid\":\"a\",", ""), "malformed", "guid"),
        (change("\"ad_id\":7,", ""), "malformed", "ad_id"),
        (change("\"kind\":\"click\",", ""), "malformed", "kind"),
        (change("192.0.2.7", "somewhere"), "malformed", "ip"),
        (change("\"click\"", "\"hover\""), "malformed", "kind"),
        (change("\"cpc\"", "\"cpx\""), "malformed", "billing"),
        (change("\"a\"", "\"cpt/1\""), "malformed", "guid"),
        (change("u1", &"u".repeat(256)), "malformed", "user_id"),
        (change(&NOW.to_string(), "0"), "malformed", "event_time_ms"),
        (change(&NOW.to_string(), &(NOW + 3_600_000).to_string()), "malformed", "event_time_ms"),
        (change(&NOW.to_string(), &(NOW - 90_000_000).to_string()), "too_late", "event_time_ms"),
        (change("\"click\"", "\"lurl\""), "not_a_bill", "kind"),
        (change("{\"guid\"", &deep), "malformed", ""),
        (line("a")[..50].to_owned(), "malformed", "kind"),
    ];
    for (body, code, field) in &cases {
        let (status, json) = send(&bench, body.clone()).await;
        let event = &json["events"][0];
        let found = (status, event["code"].as_str().unwrap(), event["field"].as_str().unwrap_or_default());
        assert_eq!(found, (422, *code, *field), "{}: {event}", &body[..body.len().min(200)]);
    }
    let mut not_utf8 = line("a").into_bytes();
    *not_utf8.iter_mut().find(|byte| **byte == b'M').unwrap() = 0xff;
    let (status, json) = send(&bench, not_utf8).await;
    assert_eq!((status, json["refused"].as_u64()), (422, Some(1)));
    assert!(bench.on_disk().is_empty());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_not_taken_at_all() {
    let bench = bench();
    let truncated = format!("[{}, {}", line("a"), &line("b")[..40]);
    for body in ["", "  \n", "null", "\"x\"", truncated.as_str(), "[,]"] {
        let (status, json) = send(&bench, body.to_owned()).await;
        assert_eq!((status, json["error"]["code"].as_str()), (400, Some("unreadable")), "{body}: {json}");
    }
    let broken = futures_util::stream::iter([Ok("[".to_owned()), Err(std::io::Error::other("reset"))]);
    assert_eq!(send(&bench, Body::from_stream(broken)).await.0, 400);
    assert!(bench.on_disk().is_empty());
}

#[tokio::test]
async fn sizes_are_limited() {
    let bench = Bench::new(Ingest { max_request_kb: 4, max_events: 3, ..Ingest::default() });
    let four = vec![line("a"); 4].join("\n");
    let announced = post(" ".repeat(5000));
    let streamed = futures_util::stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(" ".repeat(1000))));
    for request in [post(four), announced, post(Body::from_stream(streamed)), packed(&" ".repeat(4097))] {
        let (status, _, json) = ask(&bench, request).await;
        assert_eq!((status, json["error"]["code"].as_str()), (413, Some("too_large")), "{json}");
    }
    assert_eq!(send(&bench, line("a")).await.0, 200);
}

fn packed(text: &str) -> Request<Body> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    let body = Body::from(packer.finish().unwrap());
    Request::post("/v1/events").header("content-encoding", "gzip").body(body).unwrap()
}

#[tokio::test]
async fn bodies_may_be_packed() {
    let bench = bench();
    assert_eq!(ask(&bench, packed(&line("a"))).await.0, 200);
    let as_said = |encoding: &str| Request::post("/v1/events").header("content-encoding", encoding);
    for encoding in ["gzip", "br", "zstd"] {
        let (status, _, json) = ask(&bench, as_said(encoding).body(line("b").into()).unwrap()).await;
        assert_eq!(status, 400, "{json}");
    }
    assert_eq!(ask(&bench, as_said("identity").body(line("b").into()).unwrap()).await.0, 200);
    assert_eq!(bench.on_disk(), ["click a", "click b"]);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let bench = Bench::new(Ingest { request_timeout: Duration::from_millis(100), ..Ingest::default() });
    let drops = futures_util::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>("["), n + 1))
    });
    let (status, json) = send(&bench, Body::from_stream(drops)).await;
    assert_eq!((status, json["error"]["code"].as_str()), (408, Some("too_slow")));
    assert_eq!(bench.front.memory.used_bytes(), 0, "it has given its memory back");
}

fn retry_after(headers: &axum::http::HeaderMap) -> u64 {
    headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_sends_more_than_he_may_is_told_when_to_try_again() {
    let bench = Bench::new(Ingest { address_events_s: 2, burst_s: 2, ..Ingest::default() });
    let from = |address: &str| {
        let mut request = post(vec![line("a"); 3].join("\n"));
        request.extensions_mut().insert(peer(address));
        request
    };
    assert_eq!(ask(&bench, from("192.0.2.1")).await.0, 200);
    let (status, headers, json) = ask(&bench, from("192.0.2.1")).await;
    assert_eq!((status, json["error"]["code"].as_str(), retry_after(&headers)), (429, Some("limited"), 1));
    assert_eq!(ask(&bench, from("192.0.2.2")).await.0, 200, "others go on");
    let mut five = post(vec![line("a"); 5].join("\n"));
    five.extensions_mut().insert(peer("192.0.2.3"));
    assert_eq!(ask(&bench, five).await.0, 413, "so many never fit");
}

#[tokio::test]
async fn a_system_with_too_much_to_do_refuses() {
    let bench = Bench::new(Ingest { high_records: 100, ..Ingest::default() });
    bench.wait_behind(100);
    assert_eq!(send(&bench, line("a")).await.0, 200, "it is only slowed");
    bench.wait_behind(125);
    let (status, headers, json) = ask(&bench, post(line("b"))).await;
    assert_eq!((status, json["error"]["code"].as_str(), retry_after(&headers)), (503, Some("overloaded"), 5));
    bench.wait_behind(50);
    assert_eq!(send(&bench, line("b")).await.0, 503, "until most of it is gone");
    bench.wait_behind(49);
    assert_eq!(send(&bench, line("b")).await.0, 200);
}

#[tokio::test]
async fn a_spool_that_takes_nothing_is_told() {
    let bench = bench();
    let full = NotTaken::Full { retry_after: Duration::from_secs(2) };
    let away = NotTaken::Away { retry_after: Duration::from_secs(2), why: "the disk is gone".to_owned() };
    for (refuses, code) in [(full, "overloaded"), (away, "overloaded"), (NotTaken::Stopping, "stopping")] {
        *bench.kept.refuses.lock().unwrap() = Some(refuses);
        let (status, headers, json) = ask(&bench, post(line("a"))).await;
        assert_eq!((status, json["error"]["code"].as_str()), (503, Some(code)));
        assert!(retry_after(&headers) >= 1);
    }
    bench.front.stop();
    assert_eq!(send(&bench, line("a")).await.1["error"]["code"], "stopping");
}

#[tokio::test]
async fn memory_is_bounded() {
    let bench = Bench::new(Ingest { memory_mb: 1, max_request_kb: 1024, ..Ingest::default() });
    let mut held = bench.front.memory.room();
    assert!(held.grow_to(900 << 10).await);
    let (status, json) = send(&bench, format!("{}{}", line("a"), " ".repeat(600 << 10))).await;
    assert_eq!((status, json["error"]["code"].as_str()), (503, Some("overloaded")), "{json}");
    drop(held);
    assert_eq!(send(&bench, line("a")).await.0, 200);
}

#[tokio::test]
async fn a_credential_stands_for_what_it_binds() {
    let bench = bench();
    let carrying = |token: &str, kind: &str, more: &str| {
        format!(
            r#"{{"credential":"{token}","event_time_ms":{NOW},"kind":"{kind}","ip":"192.0.2.7","ua":"x"{more}}}"#
        )
    };
    let token = bench.token("cpc", "u9");
    let (status, json) = send(&bench, carrying(&token, "click", "")).await;
    assert_eq!((status, json["events"][0]["guid"].as_str()), (200, Some("ad-1")));
    let bound = bench.last(|e| (e.user_id().to_owned(), e.ad_id(), e.advertiser_id(), e.bid_micros()));
    assert_eq!(bound, ("u9".to_owned(), 7, 36, 540_000));
    assert_eq!(send(&bench, carrying(&token, "click", "")).await.1["duplicate"], 1, "it is replayed");
    assert_eq!(send(&bench, carrying(&token, "impression", "")).await.1["events"][0]["guid"], "ad-1/i");
    let beside = [
        (r#","guid":"b""#, "guid"),
        (r#","ad_id":8"#, "ad_id"),
        (r#","user_id":"v""#, "user_id"),
        (r#","bid_micros":1"#, "bid_micros"),
        (r#","billing":"cpm""#, "billing"),
        (r#","advertiser_id":1"#, "advertiser_id"),
        (r#","campaign_id":1"#, "campaign_id"),
        (r#","slot":"x""#, "slot"),
    ];
    for (more, field) in beside {
        let (status, json) = send(&bench, carrying(&token, "click", more)).await;
        let event = &json["events"][0];
        assert_eq!(
            (status, event["code"].as_str(), event["field"].as_str()),
            (422, Some("malformed"), Some(field))
        );
    }
    assert_eq!(send(&bench, carrying(&token, "action", "")).await.1["events"][0]["field"], "credential");
    let forged = token.replacen(&token[20..21], if &token[20..21] == "A" { "B" } else { "A" }, 1);
    let (status, json) = send(&bench, carrying(&forged, "click", "")).await;
    assert_eq!((status, json["events"][0]["code"].as_str()), (422, Some("bad_credential")));
    bench.sleep_ms(2 * 3_600_000);
    let (_, json) = send(&bench, carrying(&token, "click", "")).await;
    assert_eq!(json["events"][0]["code"], "expired_credential");
    let kept = ["click ad-1", "impression ad-1/i", "dropped bad_credential", "dropped expired_credential"];
    assert_eq!(bench.on_disk(), kept);
}

#[tokio::test]
async fn browsers_may_send() {
    let bench = bench();
    let request = Request::options("/v1/events").header("origin", "https://pages.example");
    let (status, headers, _) = ask(&bench, request.body(Body::empty()).unwrap()).await;
    assert_eq!((status, headers["access-control-allow-origin"].as_bytes()), (204, &b"*"[..]));
    assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    let (status, ..) = ask(&bench, Request::get("/v1/events").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn an_answer_of_a_real_spool_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(SpoolOptions::of(dir.path().join("spool"))).unwrap());
    let (intake, thread) = Intake::open(spool.clone(), Duration::from_secs(60), 1000).unwrap();
    let bench = bench();
    let front = Front::new(
        Ingest::default(),
        intake,
        bench.front.credentials.clone(),
        weir_operators::Rules::default(),
        crate::clock::SourceClock::Set(Arc::new(NOW.into())),
    );
    let front = Arc::new(front);
    let response =
        events(front.clone()).oneshot(post(format!("{}\n{}", line("a"), line("b")))).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!((spool.watermark(), front.backlog().records), (2, 2));
    drop(front);
    thread.join();
}

#[tokio::test]
async fn memory_is_held_for_whoever_has_gone_away() {
    let bench = bench();
    bench.kept.hangs.store(true, std::sync::atomic::Ordering::Release);
    let asked = tokio::time::timeout(Duration::from_millis(100), send(&bench, line("a"))).await;
    assert!(asked.is_err() && bench.front.memory.used_bytes() > 0);
    bench.kept.hangs.store(false, std::sync::atomic::Ordering::Release);
    while bench.front.memory.used_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.on_disk(), ["click a"]);
}
