//! Beacons against a running job: a credential is charged once and leads to its own page only, whatever stands beside
//! it; forged, altered, expired and replayed ones have their answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::Code;
use weir_tests::rpc::{CollectRequest, IngestEvent, IssueRequest, IssueResponse, Rpc, event};
use weir_tests::{Ad, Reply, Target, now_ms, wait_for};

const PAGE: &str = "https://shop.example/landing?campaign=7&x=%20y";
const AGENT: &[(&str, &str)] = &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0")];

/// A job, and a connection to have credentials issued over.
struct Beacons {
    target: Target,
    runtime: Runtime,
    issued: u64,
}

impl Beacons {
    fn start(name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Beacons { target: Target::start(name, ""), runtime, issued: 0 }
    }

    #[track_caller]
    fn issue(&mut self, change: impl FnOnce(&mut IssueRequest)) -> Result<IssueResponse, tonic::Status> {
        self.issued += 1;
        let mut request = IssueRequest {
            advertiser_id: 1,
            campaign_id: 7,
            ad_id: 1_000 + self.issued,
            billing: "cpc".into(),
            bid_micros: 250_000,
            user_id: format!("u{}", self.issued),
            landing_url: PAGE.into(),
            ..IssueRequest::default()
        };
        change(&mut request);
        let port = self.target.ports().1;
        self.runtime.block_on(async { Rpc::connect(port, None).await?.issue(request).await })
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Reply {
        self.target.job.assert_alive();
        self.target.connect().get(path, AGENT).unwrap()
    }

    /// What a click or an impression led to: status, what became of it, and the page.
    #[track_caller]
    fn click(&mut self, path: &str) -> (u16, String, Option<String>) {
        let reply = self.get(path);
        let event = reply.header("weir-event").unwrap_or("").to_owned();
        assert!(reply.header("cache-control").is_some_and(|c| c.contains("no-store")), "{reply:?}");
        (reply.status, event, reply.header("location").map(ToOwned::to_owned))
    }
}

fn leads(event: &str) -> (u16, String, Option<String>) {
    (302, event.to_owned(), Some(PAGE.to_owned()))
}

#[test]
fn a_click_is_charged_once_and_leads_to_its_page() {
    let mut beacons = Beacons::start("beacons");
    let IssueResponse { token, guid, expires_ms } = beacons.issue(|_| {}).unwrap();
    assert!(expires_ms > now_ms() as u64);
    beacons.target.expect(&guid);
    assert_eq!(beacons.click(&format!("/c?t={token}")), leads("accepted"));
    for beside in ["", "&url=https://evil.example", "&u=//evil.example", "&price=0", "&advertiser_id=9", "#x"]
    {
        assert_eq!(beacons.click(&format!("/c?t={token}{beside}")), leads("duplicate"), "{beside}");
    }
    // Its impression is another event, which is not what is paid for.
    assert_eq!(beacons.click(&format!("/i.gif?t={token}")), (200, "accepted".into(), None));
    let pixel = beacons.get(&format!("/i.gif?t={token}"));
    assert_eq!((pixel.body.len(), pixel.header("content-type")), (43, Some("image/gif")));
    // The event that it stands for, sent by a server, is the same one.
    let port = beacons.target.ports().1;
    let events = vec![IngestEvent {
        kind: "click".into(),
        event_time_ms: now_ms() as u64,
        ip: "20.30.40.50".into(),
        ua: AGENT[0].1.into(),
        credential: token,
        ..IngestEvent::default()
    }];
    let sent = beacons.runtime.block_on(async {
        Rpc::connect(port, None).await?.collect(CollectRequest { batch_id: 5, events }).await
    });
    let sent = sent.unwrap();
    assert_eq!((sent.batch_id, sent.results[0].status), (5, 2), "a duplicate: {sent:?}");
    // By reference it is shorter, and as good.
    let short = beacons.issue(|r| r.by_reference = true).unwrap();
    beacons.target.expect(&short.guid);
    assert_eq!(beacons.click(&format!("/c?t={}", short.token)), leads("accepted"));
    let dropped = beacons.target.end();
    let reasons: Vec<&str> = dropped.iter().map(|d| d.reason.as_str()).collect();
    assert_eq!(reasons, ["not_billable"], "the impression of a click");
    assert_eq!(dropped[0].guid.as_deref(), Some(format!("{guid}/i").as_str()));
}

#[test]
fn what_is_no_credential_leads_nowhere() {
    let mut beacons = Beacons::start("beacons-forged");
    let IssueResponse { token, guid, .. } = beacons.issue(|_| {}).unwrap();
    let mut forged = 0;
    let mut bytes = token.clone().into_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 12) {
        let before = bytes[at];
        bytes[at] = if before == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes.clone()).unwrap();
        bytes[at] = before;
        let (status, event, page) = beacons.click(&format!("/c?t={altered}"));
        assert_eq!((status, event.as_str(), page), (400, "dropped", None), "altered at {at}");
        forged += 1;
    }
    let cut = &token[..token.len() - 1];
    let long = format!("{token}AAAA");
    let padded = format!("{token}=");
    for text in [
        cut,
        &long,
        &padded,
        "x",
        "AAAA",
        &"A".repeat(10_000),
        "%00",
        "%0d%0aLocation:%20https://evil.example",
    ] {
        for path in ["/c?t=", "/i.gif?t=", "/c?url=https://evil.example&t="] {
            let reply = beacons.get(&format!("{path}{text}"));
            assert!((400..500).contains(&reply.status), "{reply:?} for {path}{text}");
            assert!(reply.header("location").is_none() && !reply.text().contains("evil"), "{reply:?}");
        }
    }
    for path in [
        "/c",
        "/c?t=",
        "/c?url=https://evil.example",
        &format!("/c?t={token}&t={token}"),
        "/win",
        &format!("/win?t={token}&price=$%7BAUCTION_PRICE%7D&bid=b&imp=1"),
        &format!("/win?t={token}&price=-1&bid=b&imp=1"),
        &format!("/win?t={token}&price=1e99999&bid=b&imp=1"),
    ] {
        let reply = beacons.get(path);
        assert_eq!((reply.status, reply.header("location")), (400, None), "{path}");
        assert!(reply.json()["error"]["message"].is_string(), "{path}");
    }
    // Where a credential leads is looked at when it is issued.
    for page in [
        "javascript:alert(1)",
        "//evil.example",
        "/here",
        "ftp://x.example/",
        "https://a\r\nb: c",
        "https://",
    ] {
        let refused = beacons.issue(|r| r.landing_url = page.into()).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{page}: {refused:?}");
    }
    // After all of this the right one is as good as before.
    beacons.target.expect(&guid);
    assert_eq!(beacons.click(&format!("/c?t={token}")), leads("accepted"));
    beacons.target.is_well();
    let dropped = beacons.target.end();
    assert!(dropped.len() >= forged && dropped.iter().all(|d| d.reason == "bad_credential"), "{dropped:?}");
}

#[test]
fn an_expired_credential_is_dropped_and_still_leads_to_its_page() {
    let mut beacons = Beacons::start("beacons-expired");
    let short = beacons.issue(|r| r.lifetime_s = 1).unwrap();
    let path = format!("/c?t={}", short.token);
    wait_for("it to expire", || now_ms() as u64 > short.expires_ms + 1000);
    assert_eq!(beacons.click(&path), leads("dropped"));
    assert_eq!(beacons.click(&path), leads("dropped"));
    let event = |credential: &str| IngestEvent {
        kind: "click".into(),
        event_time_ms: now_ms() as u64,
        ip: "20.30.40.50".into(),
        ua: "Mozilla/5.0".into(),
        credential: credential.into(),
        ..IngestEvent::default()
    };
    let (port, events) = (beacons.target.ports().1, vec![event(&short.token), event("forged")]);
    let sent = beacons.runtime.block_on(async {
        Rpc::connect(port, None).await?.collect(CollectRequest { batch_id: 1, events }).await
    });
    let codes: Vec<String> = sent.unwrap().results.into_iter().map(|result| result.code).collect();
    assert_eq!(codes, ["expired_credential", "bad_credential"]);
    beacons.target.is_well();
    let mut reasons: Vec<String> = beacons.target.end().into_iter().map(|d| d.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["bad_credential", "expired_credential", "expired_credential", "expired_credential"]);
}

#[test]
fn grpc_that_is_wrong_is_refused() {
    /// A request whose events are whatever these bytes are.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Anything {
        #[prost(bytes = "vec", repeated, tag = "2")]
        events: Vec<Vec<u8>>,
    }
    let mut beacons = Beacons::start("grpc-wrong");
    let good = event(&beacons.target.next_good());
    let whole = prost::Message::encode_to_vec(&good);
    let port = beacons.target.ports().1;
    let send = |events: Vec<Vec<u8>>| async move {
        let mut rpc = Rpc::connect(port, None).await?;
        let answer: Result<weir_tests::rpc::CollectResponse, _> =
            rpc.unary("/weir.v1.Collector/Collect", Anything { events }).await;
        answer
    };
    // What it is called is a matter of tonic; that it is not taken in is ours.
    for wrong in
        [&whole[..whole.len() - 3], &whole[..1], &[0xff; 40][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]]
    {
        let answer = beacons.runtime.block_on(send(vec![whole.clone(), wrong.to_vec()]));
        let code = answer.unwrap_err().code();
        assert!(matches!(code, Code::Internal | Code::InvalidArgument | Code::Unknown), "{code:?}");
        beacons.target.is_well();
    }
    let too_large = beacons.runtime.block_on(send(vec![vec![0; 9 << 20]])).unwrap_err();
    assert!(matches!(too_large.code(), Code::OutOfRange | Code::ResourceExhausted), "{too_large:?}");
    let (first, second) = beacons.runtime.block_on(async {
        (send(vec![whole.clone()]).await.unwrap(), send(vec![whole.clone()]).await.unwrap())
    });
    assert_eq!((first.results[0].status, second.results[0].status), (1, 2));
    // A method that is not there, and a stream that is cut off in the middle.
    let unknown = beacons.runtime.block_on(async {
        Rpc::connect(port, None)
            .await?
            .unary::<_, IssueResponse>("/weir.v1.Collector/Erase", good.clone())
            .await
    });
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    let next = beacons.target.next_good();
    beacons.runtime.block_on(async {
        let mut rpc = Rpc::connect(port, None).await.unwrap();
        let batch = CollectRequest { batch_id: 1, events: vec![event(&next)] };
        let open = tokio_stream::StreamExt::chain(tokio_stream::once(batch), tokio_stream::pending());
        let mut answers = rpc.stream(open).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.message()).await.unwrap();
        assert_eq!(answer.unwrap().unwrap().results[0].status, 1);
    });
    beacons.target.is_well();
    let bad = IngestEvent { kind: "tap".into(), ..event(&Ad::click(1_000_000, now_ms())) };
    let refused = beacons.runtime.block_on(async {
        Rpc::connect(port, None).await?.collect(CollectRequest { batch_id: 1, events: vec![bad] }).await
    });
    let refused = refused.unwrap().results.remove(0);
    assert_eq!((refused.status, refused.code.as_str(), refused.field.as_str()), (3, "malformed", "kind"));
    assert!(beacons.target.end().is_empty());
}
