//! The control service as any gRPC client sees it: health, reflection, status.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use weir_tests::{Ad, LongRun, Scratch, accounts_csv, ask_json, now_ms};

const SERVICE: &str = "weir.v1.Control";

#[test]
fn it_tells_its_health_and_describes_itself() {
    let scratch = Scratch::new("control");
    let line = Ad::click(1, now_ms()).line();
    let log = scratch.write("front.log", &line);
    let accounts = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &accounts);
    job.open_control();
    job.expect(&[line]);
    job.start();
    job.settle();
    let announced = std::fs::read_to_string(job.data_dir().join("control.address")).unwrap();
    let address = announced.lines().next().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (serving, services) = runtime.block_on(look(address));
    assert_eq!(serving, ServingStatus::Serving);
    assert!(services.iter().any(|s| s == SERVICE), "{services:?}");
    let offsets: Vec<serde_json::Value> = ask_json(job.data_dir(), &["offsets"]);
    let read = offsets.iter().filter(|o| o["stage"] == "post-process" && o["lag"] == 0);
    assert_eq!(read.count(), 4, "{offsets:?}");
    job.stop("TERM");
}

async fn look(address: String) -> (ServingStatus, Vec<String>) {
    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let answer = health.check(HealthCheckRequest { service: SERVICE.to_owned() }).await.unwrap();
    let serving = answer.into_inner().status();
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::once(ask)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    (serving, list.service.into_iter().map(|s| s.name).collect())
}
