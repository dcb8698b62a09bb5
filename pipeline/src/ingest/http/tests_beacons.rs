//! Beacons: where they lead, what is recorded, and what is not.

use super::*;
use crate::config::Ingest;
use crate::ingest::NotTaken;
use crate::ingest::testing::{Bench, NOW, peer};
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use std::time::Duration;
use tower::ServiceExt;

const LANDING: &str = "https://shop.example.com/shoes?size=43";

async fn ask(bench: &Bench, request: Request<Body>) -> (u16, HeaderMap, Vec<u8>) {
    let (parts, body) = beacons(bench.front.clone()).oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, body.to_vec())
}

fn get(uri: &str) -> Request<Body> {
    let mut request = Request::get(uri).header("user-agent", "Mozilla/5.0").body(Body::empty()).unwrap();
    request.extensions_mut().insert(peer("192.0.2.7"));
    request
}

async fn fetch(bench: &Bench, uri: &str) -> (u16, HeaderMap, Vec<u8>) {
    ask(bench, get(uri)).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn bench() -> Bench {
    Bench::new(Ingest::default())
}

/// A token of which one character is another.
fn forged(token: &str) -> String {
    let other = if &token[30..31] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..30], &token[31..])
}

#[tokio::test]
async fn a_click_is_recorded_and_led_to_its_landing_page() {
    let bench = bench();
    let uri = format!("/c?t={}", bench.token("cpc", "u9"));
    let (status, headers, _) = fetch(&bench, &uri).await;
    assert_eq!(
        (status, header(&headers, "location"), header(&headers, "weir-event")),
        (302, LANDING, "accepted")
    );
    assert!(header(&headers, "cache-control").starts_with("no-store"));
    for (name, value) in [
        ("pragma", "no-cache"),
        ("access-control-allow-origin", "*"),
        ("timing-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(header(&headers, name), value);
    }
    let seen = bench.last(|e| {
        let texts = (e.user_id().to_owned(), e.ua().to_owned(), e.slot().to_owned());
        (e.guid().to_string(), texts, e.ip().to_string(), e.event_time_ms(), e.bid_micros())
    });
    let texts = ("u9".to_owned(), "Mozilla/5.0".to_owned(), "top".to_owned());
    assert_eq!(seen, ("ad-1".to_owned(), texts, "192.0.2.7".to_owned(), NOW, 540_000));
    let (status, headers, _) = fetch(&bench, &uri).await;
    assert_eq!((status, header(&headers, "weir-event")), (302, "duplicate"), "it is clicked again");
    assert_eq!(bench.on_disk(), ["click ad-1"]);
}

#[tokio::test]
async fn nothing_but_the_credential_says_where_a_click_leads() {
    let bench = bench();
    let token = bench.token("cpc", "u9");
    for more in
        ["&url=http://evil.example", "&landing_url=//evil.example", "&redirect=http://evil.example#", "&r=x"]
    {
        let (status, headers, _) = fetch(&bench, &format!("/c?t={token}{more}")).await;
        assert_eq!((status, header(&headers, "location")), (302, LANDING));
    }
    let forged = forged(&token);
    for uri in [
        "/c?url=http://evil.example".to_owned(),
        "/c".to_owned(),
        "/c?t=".to_owned(),
        "/c?t=http://evil.example".to_owned(),
        format!("/c?t={token}&t={token}"),
        format!("/c?t={forged}&url=http://evil.example"),
        "/c?t=${CREDENTIAL}".replace("${", "%24%7B"),
    ] {
        let (status, headers, body) = fetch(&bench, &uri).await;
        assert_eq!((status, header(&headers, "location")), (400, ""), "{uri}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["error"]["field"], "t", "{uri}");
    }
    let bad = bench.on_disk().iter().filter(|record| *record == "dropped bad_credential").count();
    assert_eq!(bad, 2, "forged ones are seen");
}

#[tokio::test]
async fn an_expired_click_still_gets_to_its_page() {
    let bench = bench();
    let token = bench.token("cpc", "u9");
    bench.sleep_ms(2 * 3_600_000);
    let (status, headers, _) = fetch(&bench, &format!("/c?t={token}")).await;
    assert_eq!(
        (status, header(&headers, "location"), header(&headers, "weir-event")),
        (302, LANDING, "dropped")
    );
    let (status, headers, _) = fetch(&bench, &format!("/i.gif?t={token}")).await;
    assert_eq!((status, header(&headers, "weir-event")), (200, "dropped"));
    assert_eq!(bench.on_disk(), ["dropped expired_credential", "dropped expired_credential"]);
}

#[tokio::test]
async fn who_clicks_is_not_held_up_by_what_cannot_be_recorded() {
    let bench = Bench::new(Ingest { high_records: 100, total_events_s: 2, burst_s: 1, ..Ingest::default() });
    let token = bench.token("cpc", "u9");
    let (click, pixel) = (format!("/c?t={token}"), format!("/i.gif?t={token}"));
    let not_recorded = async |status: u16| {
        let (found, headers, _) = fetch(&bench, &click).await;
        assert_eq!((found, header(&headers, "location")), (302, LANDING));
        assert_eq!(header(&headers, "weir-event"), "not-recorded");
        let (found, headers, _) = fetch(&bench, &pixel).await;
        assert_eq!((found, header(&headers, "weir-event")), (status, "not-recorded"));
        assert!(header(&headers, "retry-after").parse::<u64>().unwrap() >= 1);
    };
    bench.wait_behind(200);
    not_recorded(503).await;
    bench.wait_behind(0);
    let why = "the disk is gone".to_owned();
    *bench.kept.refuses.lock().unwrap() = Some(NotTaken::Away { retry_after: Duration::from_secs(2), why });
    not_recorded(503).await;
    *bench.kept.refuses.lock().unwrap() = None;
    not_recorded(429).await;
    assert!(bench.on_disk().is_empty());
    assert_eq!(crate::ingest::meter::status(&bench.front, None).unrecorded_clicks, 3);
}

#[tokio::test]
async fn looking_ahead_counts_nothing() {
    let bench = bench();
    let token = bench.token("cpc", "u9");
    let (click, pixel) = (format!("/c?t={token}"), format!("/i.gif?t={token}"));
    let headers = [("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("x-moz", "prefetch")];
    for (name, value) in headers {
        let mut ahead = get(&click);
        ahead.headers_mut().insert(name, value.parse().unwrap());
        let (status, headers, _) = ask(&bench, ahead).await;
        assert_eq!((status, header(&headers, "location")), (503, ""), "the real click is to come here");
        let mut ahead = get(&pixel);
        ahead.headers_mut().insert(name, value.parse().unwrap());
        let (status, headers, _) = ask(&bench, ahead).await;
        assert_eq!((status, header(&headers, "weir-event")), (200, "not-recorded"));
    }
    let mut head = get(&click);
    *head.method_mut() = axum::http::Method::HEAD;
    let (status, headers, _) = ask(&bench, head).await;
    assert_eq!(
        (status, header(&headers, "location"), header(&headers, "weir-event")),
        (302, LANDING, "not-recorded")
    );
    assert!(bench.on_disk().is_empty());
}

#[tokio::test]
async fn an_impression_is_a_pixel() {
    let bench = bench();
    let (status, headers, body) = fetch(&bench, &format!("/i.gif?t={}", bench.token("cpc", "u9"))).await;
    assert_eq!((status, header(&headers, "content-type"), body.len()), (200, "image/gif", 43));
    assert_eq!(&body[..6], b"GIF89a");
    fetch(&bench, &format!("/i.gif?t={}", bench.token("cpm", "u9"))).await;
    fetch(&bench, &format!("/c?t={}", bench.token("cpm", "u9"))).await;
    assert_eq!(bench.on_disk(), ["impression ad-1/i", "impression ad-1", "click ad-1/c"]);
    let (status, headers, _) = fetch(&bench, "/i.gif?t=nonsense").await;
    assert_eq!((status, header(&headers, "weir-event")), (400, "dropped"));
}

#[tokio::test]
async fn a_notice_bills_at_most_what_its_credential_says_and_once() {
    let bench = bench();
    let token = bench.token("cpm", "");
    let win = |more: &str| format!("/win?t={token}&imp=1&{more}");
    let (status, headers, body) = fetch(&bench, &win("bid=b1&price=0.52")).await;
    assert_eq!(
        (status, header(&headers, "weir-event")),
        (204, "accepted"),
        "{}",
        String::from_utf8_lossy(&body)
    );
    assert_eq!(
        bench.last(|e| (e.guid().to_string(), e.bid_micros(), e.is_reported())),
        ("ad-1".to_owned(), 520_000, true)
    );
    let (_, headers, _) = fetch(&bench, &win("bid=b2&price=0.1")).await;
    assert_eq!(header(&headers, "weir-event"), "duplicate", "another auction is made up");
    let (status, headers, _) = fetch(&bench, &win("bid=b1&price=AUDIT")).await;
    assert_eq!((status, header(&headers, "weir-event")), (204, "dropped"));
    for (more, field) in [
        ("bid=b1&price=0.541", "price"),
        ("bid=b1&price=1e3", "price"),
        ("bid=b1&price=-1", "price"),
        ("bid=b1", "price"),
        ("price=0.1", "bid"),
        ("bid=b1&price=0.1&mult=x", "mult"),
        ("bid=b1&price=0.1&mult=1.5", "mult"),
        ("bid=b1&price=$%7BAUCTION_PRICE%7D", "price"),
    ] {
        let (status, _, body) = fetch(&bench, &win(more)).await;
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, json["error"]["field"].as_str()), (400, Some(field)), "{more}: {json}");
    }
    let (status, _, body) =
        fetch(&bench, &win("bid=b1&price=0.1").replace(&token, &bench.token("cpc", ""))).await;
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, json["error"]["field"].as_str()), (400, Some("t")));
    assert_eq!(bench.on_disk(), ["impression ad-1", "dropped not_a_bill"]);
}

#[tokio::test]
async fn whoever_is_not_named_is_told_apart_by_address_and_agent() {
    let bench = Bench::new(Ingest {
        trusted_proxies: vec![crate::config::Network("192.0.2.0/24".parse().unwrap())],
        ..Ingest::default()
    });
    let mut users = Vec::new();
    for (guid, forwarded, ua) in [
        ("a", "198.51.100.1", "x"),
        ("b", "203.0.113.9, 198.51.100.1", "x"),
        ("c", "198.51.100.2", "x"),
        ("d", "198.51.100.1", "y"),
    ] {
        let mut request = get(&format!("/c?t={}", bench.token_for(guid, "cpc", "")));
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        request.headers_mut().insert("user-agent", ua.parse().unwrap());
        ask(&bench, request).await;
        users.push(bench.last(|e| (e.user_id().to_owned(), e.ip().to_string())));
    }
    assert_eq!(users[0], users[1], "what the client says himself is not believed");
    assert_eq!(users[0].1, "198.51.100.1");
    assert!(users[0].0.starts_with("anon-") && users[0].0 != users[2].0 && users[0].0 != users[3].0);
    let mut spoofed = get(&format!("/c?t={}", bench.token_for("e", "cpc", "")));
    spoofed.extensions_mut().insert(peer("203.0.113.5"));
    spoofed.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
    ask(&bench, spoofed).await;
    assert_eq!(bench.last(|e| e.ip().to_string()), "203.0.113.5");
}

#[tokio::test]
async fn other_methods_and_preflights() {
    let bench = bench();
    for path in ["/c", "/i.gif", "/win"] {
        let request = |method: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(ask(&bench, request("POST")).await.0, 405);
        let (status, headers, _) = ask(&bench, request("OPTIONS")).await;
        assert_eq!((status, header(&headers, "access-control-allow-origin")), (204, "*"));
    }
}
