//! The collector, asked over a connection.

use super::*;
use crate::config::Ingest;
use crate::ingest::testing::{Bench, NOW};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use weir_proto::rpc::IngestEvent;
use weir_proto::rpc::collector_client::CollectorClient;

async fn serve(bench: &Bench) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_routes(routes(bench.front.clone()).await.unwrap());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn event(guid: &str) -> IngestEvent {
    IngestEvent {
        guid: guid.to_owned(),
        event_time_ms: NOW,
        kind: "click".to_owned(),
        user_id: "u1".to_owned(),
        ip: "192.0.2.7".to_owned(),
        ua: "Mozilla/5.0".to_owned(),
        ad_id: 7,
        campaign_id: 100_285,
        advertiser_id: 36,
        bid_micros: Some(540_000),
        billing: "cpc".to_owned(),
        ..IngestEvent::default()
    }
}

fn batch(batch_id: u64, guids: &[&str]) -> CollectRequest {
    CollectRequest { batch_id, events: guids.iter().map(|guid| event(guid)).collect() }
}

#[tokio::test]
async fn each_event_of_a_batch_is_answered() {
    let bench = Bench::new(Ingest::default());
    let channel = serve(&bench).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client =
            CollectorClient::new(channel.clone()).send_compressed(encoding).accept_compressed(encoding);
        let mut request = batch(7, &["a"]);
        request.events.push(IngestEvent { ip: "somewhere".to_owned(), ..event("b") });
        request.events.push(IngestEvent { guid: String::new(), ..event("") });
        let answer = client.clone().collect(request).await.unwrap().into_inner();
        let seen: Vec<_> = answer.results.iter().map(|r| (r.code.as_str(), r.field.as_str())).collect();
        assert_eq!((answer.batch_id, seen), (7, vec![("", ""), ("malformed", "ip"), ("malformed", "guid")]));
        let first = answer.results[0].status();
        let is_first = encoding == CompressionEncoding::Gzip;
        assert_eq!(first == event_result::Status::Accepted, is_first);
        assert_eq!(first == event_result::Status::Duplicate, !is_first);
    }
    let token = bench.token("cpm", "u9");
    let carrying = IngestEvent {
        credential: token.clone(),
        kind: "impression".to_owned(),
        event_time_ms: NOW,
        ip: "192.0.2.7".to_owned(),
        ua: "x".to_owned(),
        ..IngestEvent::default()
    };
    let beside = IngestEvent { ad_id: 8, ..carrying.clone() };
    let request = CollectRequest { batch_id: 8, events: vec![carrying, beside] };
    let answer = CollectorClient::new(channel).collect(request).await.unwrap().into_inner();
    assert_eq!(answer.results[0].status(), event_result::Status::Accepted);
    assert_eq!(answer.results[1].field, "ad_id");
    assert_eq!(bench.on_disk(), ["click a", "impression ad-1"]);
}

#[tokio::test]
async fn batches_of_a_stream_are_answered_in_order() {
    let bench = Bench::new(Ingest::default());
    let mut client = CollectorClient::new(serve(&bench).await);
    let sent: Vec<CollectRequest> = (0..100).map(|n| batch(n, &[&format!("g{n}"), "same"])).collect();
    let mut answers = client.collect_stream(futures_util::stream::iter(sent)).await.unwrap().into_inner();
    let mut next = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!((answer.batch_id, answer.results.len()), (next, 2));
        next += 1;
    }
    assert_eq!((next, bench.on_disk().len()), (100, 101));
}

#[tokio::test]
async fn limits_say_when_to_try_again() {
    let bench = Bench::new(Ingest { total_events_s: 2, burst_s: 1, max_request_kb: 64, ..Ingest::default() });
    let mut client = CollectorClient::new(serve(&bench).await);
    let sent = futures_util::stream::iter([batch(1, &["a", "b"]), batch(2, &["c", "d"]), batch(3, &["e"])]);
    let mut answers = client.collect_stream(sent).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().batch_id, 1);
    let refused = answers.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
    assert!(refused.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert_eq!(answers.message().await.unwrap(), None, "the stream has ended");
    assert_eq!(client.collect(batch(4, &["x"; 3])).await.unwrap_err().code(), Code::OutOfRange);
    let large = IngestEvent { ua: "x".repeat(100_000), ..event("y") };
    let request = CollectRequest { batch_id: 5, events: vec![large] };
    assert_eq!(client.collect(request).await.unwrap_err().code(), Code::OutOfRange);
    bench.front.stop();
    assert_eq!(client.collect(batch(6, &["z"])).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn without_memory_nothing_is_read_and_later_it_is() {
    let bench = Bench::new(Ingest { memory_mb: 1, max_request_kb: 512, ..Ingest::default() });
    let mut client = CollectorClient::new(serve(&bench).await);
    let mut others = bench.front.memory.room();
    assert!(others.grow_to(1 << 20).await);
    let refused = client.collect(batch(1, &["a"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "2");
    let sent = futures_util::stream::iter([batch(2, &["b"])]);
    let mut answers = client.collect_stream(sent).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::ResourceExhausted);
    drop(others);
    assert_eq!(client.collect(batch(3, &["c"])).await.unwrap().into_inner().results.len(), 1);
    // The largest of requests, of events without anything: they take more than all of it.
    let empty = CollectRequest { batch_id: 4, events: vec![IngestEvent::default(); 10_000] };
    assert_eq!(client.collect(empty).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(bench.on_disk(), ["click c"]);
    assert_eq!(bench.front.memory.used_bytes(), 0);
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline() {
    let bench = Bench::new(Ingest::default());
    let mut client = CollectorClient::new(serve(&bench).await);
    let mut request = Request::new(futures_util::stream::pending());
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let ended = match client.collect_stream(request).await {
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    };
    assert!(matches!(ended.code(), Code::DeadlineExceeded | Code::Cancelled), "{ended}");
}

#[tokio::test]
async fn it_tells_of_its_health() {
    let bench = Bench::new(Ingest::default());
    let mut client = HealthClient::new(serve(&bench).await);
    let service = "weir.v1.Collector".to_owned();
    let answer = client.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
}
